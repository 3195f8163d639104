//! Reading many reservations of a shard, or what a buyer's Reserve would meet.

use super::ops::ShardReply;
use super::record::{Record, Reservation, State};
use super::shard::{Shard, Turn};
use crate::ids::{Fingerprint, RecordKey, RequestId};
use crate::time::Millis;

/// Records that one listing looks at, at most: what bounds the time that it
/// keeps others waiting, however few of them it answers with.
pub const LIST_LOOKS_MAX: u32 = 1_024;

/// A place between two records of a shard. Bytes to all but the store that made
/// it: each store has an order of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cursor(pub Vec<u8>);

/// Which reservations are listed.
#[derive(Clone, Copy)]
pub(super) struct Listing<'a> {
    pub after: Option<&'a Cursor>,
    pub limit: u32,
    pub buyer: Option<Fingerprint>,
    pub states: &'a [State],
}

impl Turn<'_> {
    pub(super) fn list(&self, listing: Listing<'_>) -> ShardReply {
        self.shard.list(listing, self.now())
    }

    pub(super) fn explain(&mut self, buyer: Fingerprint) -> ShardReply {
        if !self.expire_due() {
            return ShardReply::Again;
        }
        let counted = self.shard.header.settings.counts_buyers;
        let units = self.shard.buyers.get(&buyer).copied().unwrap_or(0);
        ShardReply::Explained {
            reading: self.shard.read(self.now()),
            buyer_units: counted.then_some(units),
            full: self.batch.full,
        }
    }
}

impl Shard {
    fn list(&self, listing: Listing<'_>, now: Millis) -> ShardReply {
        use std::ops::Bound::{Excluded, Unbounded};
        let Listing {
            after,
            limit,
            buyer,
            states,
        } = listing;
        let after = after.and_then(Cursor::record_key);
        let mut rest = self
            .records
            .range((after.map_or(Unbounded, Excluded), Unbounded));
        let mut found = Vec::new();
        let mut last = None;
        for (key, record) in rest.by_ref().take(LIST_LOOKS_MAX as usize) {
            last = Some(*key);
            let asked_for = buyer.is_none_or(|buyer| buyer == key.buyer);
            if let Some(reservation) = self.as_it_is(record, now).filter(|_| asked_for)
                && (states.is_empty() || states.contains(&reservation.record.state))
            {
                found.push((*key, reservation));
                if found.len() >= limit as usize {
                    break;
                }
            }
        }
        ShardReply::Listed {
            reservations: found,
            next: rest.next().and(last).map(Cursor::after),
        }
    }

    /// A reservation as settling it would leave it; `None` if that would purge
    /// it.
    fn as_it_is(&self, record: &Record, now: Millis) -> Option<Reservation> {
        let mut record = *record;
        if record.state == State::Held && now >= record.until {
            record.state = State::Expired;
            record.sorted = false;
        }
        let is_there = self.purge_at(&record).is_none_or(|at| now < at);
        is_there.then(|| self.show(record, now))
    }
}

const REQUEST_LEN: usize = 16;

impl Cursor {
    pub(crate) fn after(key: RecordKey) -> Self {
        Self([&key.request.0[..], &key.buyer.0].concat())
    }

    /// `None`: it was made by another store, or not at all.
    pub(crate) fn record_key(&self) -> Option<RecordKey> {
        let (request, buyer) = self.0.split_at_checked(REQUEST_LEN)?;
        Some(RecordKey {
            request: RequestId(request.try_into().ok()?),
            buyer: Fingerprint(buyer.try_into().ok()?),
        })
    }
}
