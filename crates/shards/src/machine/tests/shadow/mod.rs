//! A witness of a history: knows what was asked and what was answered, as the
//! callers do together, and holds the answers against the promises: I3, I5, I6
//! and the truth of every refusal.
//!
//! Units are never forgotten here: every grant there ever was stays in the list.

mod after;
mod stock;
mod transfer;

use std::collections::BTreeMap;

use super::super::*;
use crate::ids::{Fingerprint, RecordKey, RequestId, ShardKey, ShardNo};
use crate::time::Millis;

#[derive(Clone, Default)]
pub(super) struct Shadow(BTreeMap<ShardKey, Seen>);

/// What was seen of one shard.
#[derive(Clone)]
struct Seen {
    settings: Settings,
    version: u64,
    me: ShardNo,
    /// Units that came in, less those taken out or sent on.
    stocked: i128,
    /// What operators stocked.
    total: i128,
    grants: Vec<Grant>,
    discarded: i128,
    is_ledger: bool,
    changes: BTreeMap<RequestId, (StockChange, i64)>,
    sent: BTreeMap<ShardNo, u64>,
    received: BTreeMap<ShardNo, u64>,
    claim: Option<Claim>,
}

/// One grant, or one request that was forbidden.
#[derive(Clone)]
struct Grant {
    key: RecordKey,
    /// As it was last shown.
    record: Record,
    returns: BTreeMap<RequestId, u32>,
    /// Its retention passed at some time.
    may_be_gone: bool,
    /// It was answered that nobody knows it: then it is so for ever.
    gone: bool,
}

impl Grant {
    fn units(&self) -> i128 {
        i128::from(self.record.quantity - self.record.returned)
    }
}

/// An answered question.
pub(super) struct Seal<'a> {
    pub op: &'a ShardOp,
    pub reply: &'a ShardReply,
    pub now: Millis,
    pub full: bool,
}

impl Shadow {
    pub(super) fn of(stripe: &Stripe) -> Self {
        let seen = |me: ShardNo, shard: &Shard| {
            let Header {
                settings,
                version,
                counters,
                ..
            } = &shard.header;
            Seen {
                stocked: counters.available.into(),
                sent: counters.sent.clone(),
                received: counters.received.clone(),
                ..Seen::new(me, *settings, *version, counters.supply)
            }
        };
        Self(
            stripe
                .shards
                .iter()
                .map(|(key, shard)| (key.clone(), seen(key.shard, shard)))
                .collect(),
        )
    }

    pub(super) fn observe(&mut self, at: &ShardKey, seal: &Seal<'_>) -> Result<(), String> {
        match (seal.op, seal.reply) {
            (
                ShardOp::Create {
                    settings,
                    version,
                    supply,
                },
                ShardReply::Created,
            ) => {
                let seen = || Seen::new(at.shard, *settings, *version, *supply);
                self.0.entry(at.clone()).or_insert_with(seen);
                Ok(())
            }
            (ShardOp::Delete, ShardReply::Deleted) => {
                self.0.remove(at);
                Ok(())
            }
            (_, ShardReply::Missing) if !self.0.contains_key(at) => Ok(()),
            _ => match self.0.get_mut(at) {
                Some(seen) => seen
                    .observe(seal)
                    .map_err(|why| format!("{why}: {:?}", seal.reply)),
                None => Err(format!(
                    "a shard that is not there answers {:?}",
                    seal.reply
                )),
            },
        }
    }

    /// Available, held and sold.
    pub(super) fn totals(&self, at: &ShardKey, now: Millis) -> (i128, i128, i128) {
        let seen = &self.0[at];
        (seen.available(now), seen.held(now), seen.sold())
    }
}

impl Seen {
    fn new(me: ShardNo, settings: Settings, version: u64, supply: Option<u64>) -> Self {
        let opening = i128::from(supply.unwrap_or(0));
        Self {
            settings,
            version,
            me,
            stocked: opening,
            total: opening,
            grants: Vec::new(),
            discarded: 0,
            is_ledger: supply.is_some(),
            changes: BTreeMap::new(),
            sent: BTreeMap::new(),
            received: BTreeMap::new(),
            claim: None,
        }
    }

    fn held(&self, now: Millis) -> i128 {
        let held = |g: &&Grant| g.record.state == State::Held && now < g.record.until;
        self.grants.iter().filter(held).map(Grant::units).sum()
    }

    fn sold(&self) -> i128 {
        let sold = |g: &&Grant| g.record.state == State::Confirmed;
        self.grants
            .iter()
            .filter(sold)
            .map(Grant::units)
            .sum::<i128>()
            + self.discarded
    }

    fn available(&self, now: Millis) -> i128 {
        self.stocked - self.held(now) - self.sold()
    }

    fn units_of(&self, buyer: Fingerprint, now: Millis) -> i128 {
        let has = |g: &&Grant| match g.record.state {
            State::Held => now < g.record.until,
            state => state == State::Confirmed,
        };
        self.grants
            .iter()
            .filter(|g| g.key.buyer == buyer)
            .filter(has)
            .map(Grant::units)
            .sum()
    }

    fn over_limit(&self, buyer: Fingerprint, quantity: u32, now: Millis) -> bool {
        let Settings {
            counts_buyers,
            max_units_per_buyer: limit,
            ..
        } = self.settings;
        let would_have = self.units_of(buyer, now) + i128::from(quantity);
        counts_buyers && limit > 0 && would_have > i128::from(limit)
    }

    fn short(&self, quantity: u32, now: Millis) -> bool {
        i128::from(quantity) > self.available(now)
    }

    /// State is what is true at the store's time, whatever a sweeper did.
    fn pass_time(&mut self, now: Millis) {
        for grant in &mut self.grants {
            let record = &mut grant.record;
            if record.state == State::Held && now >= record.until {
                record.state = State::Expired;
            }
            let keep_ms = if record.quantity == 0 {
                15 * 60 * 1_000
            } else {
                self.settings.retention_ms
            };
            if record.state != State::Held && record.until.plus_ms(keep_ms) <= now {
                grant.may_be_gone = true;
            }
        }
    }

    fn last(&mut self, key: RecordKey) -> Option<&mut Grant> {
        self.grants.iter_mut().rev().find(|g| g.key == key)
    }

    fn observe(&mut self, seal: &Seal<'_>) -> Result<(), String> {
        self.pass_time(seal.now);
        self.see(seal)?;
        self.hear(seal);
        Ok(())
    }

    fn see(&mut self, seal: &Seal<'_>) -> Result<(), String> {
        match *seal.op {
            ShardOp::Reserve {
                key,
                quantity,
                version,
            } => self.reserved(key, quantity.get(), version, seal),
            ShardOp::Confirm { key, .. }
            | ShardOp::Cancel { key, .. }
            | ShardOp::Return { key, .. }
            | ShardOp::Extend { key, .. }
            | ShardOp::Lookup { key } => self.handled(key, seal),
            ShardOp::Change {
                request, change, ..
            } => self.changed(request, change, seal),
            ShardOp::Claim { claimant } => self.claimed(claimant, seal),
            ShardOp::Lend { to, .. } => self.lent(to, seal),
            ShardOp::Credit { from, sent } => self.credited(from, sent, seal),
            ShardOp::Configure { settings, version } => {
                if version > self.version {
                    (self.settings, self.version) = (settings, version);
                }
                let version = self.version;
                ensure!(
                    *seal.reply == ShardReply::Configured { version },
                    "I have {version}"
                );
                Ok(())
            }
            ShardOp::Look => {
                let ShardReply::Read(reading) = seal.reply else {
                    return Err("a look without a reading".into());
                };
                let free = i128::from(reading.counters.available);
                ensure!(
                    free == self.available(seal.now),
                    "{} are free",
                    self.available(seal.now)
                );
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn push(&mut self, key: RecordKey, record: Record) {
        let record = Record {
            sorted: false,
            ..record
        };
        self.grants.push(Grant {
            key,
            record,
            returns: BTreeMap::new(),
            may_be_gone: false,
            gone: false,
        });
    }
}
