//! Listing reservations, shard by shard, in pages.

use super::pages::{self, PlaceInItem};
use super::types::{ReservationPage, Reservations};
use super::{Error, Gone, Inventory, shards_of, unexpected};
use crate::hash;
use crate::ids::{Fingerprint, RecordKey, ShardNo};
use crate::machine::{Cursor, Entry, Reservation, ShardOp, ShardReply, State};
use crate::store::Deadline;

/// Reservations of a page where the caller did not say, and the most of one.
const PAGE_SIZE_DEFAULT: u32 = 100;
const PAGE_SIZE_MAX: u32 = 1_000;
/// Questions to shards for one page: where few reservations are wanted of many,
/// a page is short rather than late.
const QUESTIONS_MAX: u32 = 16;

/// What one question to a shard has brought.
pub(super) struct Listed {
    pub reservations: Vec<(RecordKey, Reservation)>,
    pub next: Option<Cursor>,
}

impl Inventory {
    /// A page of an item's reservations. Not a snapshot: what exists all the
    /// while is listed at least once, perhaps twice. Pages may be short or
    /// empty before the end. `page_size` 0 means the default; more than the
    /// most is clamped.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a page token of another listing,
    /// [`Error::ItemNotFound`], [`Error::ItemDeleting`], and what the store
    /// says.
    pub async fn list_reservations(
        &self,
        wanted: &Reservations,
        page_size: u32,
        page_token: &str,
        deadline: Deadline,
    ) -> Result<ReservationPage, Error> {
        let entry = self.read_entry(&wanted.item, deadline).await?;
        let buyer = wanted
            .buyer
            .as_ref()
            .map(|buyer| self.fingerprint(&wanted.item, buyer));
        let home = buyer.map(|buyer| hash::home_shard(buyer, shards_of(&entry)));
        let key = &self.identity.fingerprint_key;
        let (life, states) = (entry.generation, &wanted.states);
        let filter = format!("reservations {} {life:?} {buyer:?} {states:?}", entry.item);
        let mut place = if page_token.is_empty() {
            PlaceInItem::start_of(home.unwrap_or(ShardNo::LEDGER))
        } else {
            PlaceInItem::decode(page_token, key, &filter)
                .ok_or_else(|| Error::Invalid(vec![pages::not_from_here()]))?
        };
        let size = match page_size {
            0 => PAGE_SIZE_DEFAULT,
            size => size.min(PAGE_SIZE_MAX),
        };
        let last = home.map_or(shards_of(&entry), |home| home.0 + 1);
        let mut reservations = Vec::new();
        let mut left = size;
        let mut questions = 0;
        while place.shard.0 < last {
            if left == 0 || questions == QUESTIONS_MAX {
                return Ok(ReservationPage {
                    reservations,
                    next_page_token: place.encode(key, &filter),
                });
            }
            questions += 1;
            let list = ShardOp::List {
                after: place.after.take(),
                limit: left,
                buyer,
                states: states.clone(),
            };
            let listed = self.list_shard(&entry, place.shard, list, deadline).await?;
            let found = u32::try_from(listed.reservations.len()).unwrap_or(u32::MAX);
            left = left.saturating_sub(found);
            reservations.extend(
                listed
                    .reservations
                    .into_iter()
                    .map(|(record, reservation)| {
                        self.receipt(&entry, place.shard, record, reservation)
                    }),
            );
            place = match listed.next {
                Some(next) => PlaceInItem {
                    after: Some(next),
                    ..place
                },
                None => PlaceInItem::start_of(ShardNo(place.shard.0 + 1)),
            };
        }
        Ok(ReservationPage {
            reservations,
            next_page_token: String::new(),
        })
    }

    /// Up to `limit` reservations of a buyer, from the shard that has all of
    /// them.
    pub(super) async fn reservations_of(
        &self,
        entry: &Entry,
        buyer: Fingerprint,
        limit: u32,
        deadline: Deadline,
    ) -> Result<Vec<(RecordKey, Reservation)>, Error> {
        let home = hash::home_shard(buyer, shards_of(entry));
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let list = ShardOp::List {
                after,
                limit: limit.saturating_sub(u32::try_from(found.len()).unwrap_or(u32::MAX)),
                buyer: Some(buyer),
                states: Vec::<State>::new(),
            };
            let listed = self.list_shard(entry, home, list, deadline).await?;
            found.extend(listed.reservations);
            match listed.next {
                Some(next) if found.len() < limit as usize => after = Some(next),
                _ => {
                    found.truncate(limit as usize);
                    return Ok(found);
                }
            }
        }
    }

    async fn list_shard(
        &self,
        entry: &Entry,
        shard: ShardNo,
        list: ShardOp,
        deadline: Deadline,
    ) -> Result<Listed, Error> {
        match self.ask_shard(entry, shard, list, deadline).await? {
            Ok(ShardReply::Listed { reservations, next }) => Ok(Listed { reservations, next }),
            Ok(other) => Err(unexpected(&other)),
            Err(Gone) => Err(Error::ItemNotFound(entry.item.clone())),
        }
    }
}
