//! The contract of one shard, written naively: a list of reservations, every
//! sum made anew, and whatever lapses ends the moment it does. No queues, no
//! counters kept up to date, no budget, nothing put off: what the machine does
//! to be quick must not show.

mod ops;
mod transfer;

use std::collections::BTreeMap;

use super::super::*;
use crate::ids::{Fingerprint, RecordKey, RequestId, ShardKey, ShardNo};
use crate::time::Millis;

const QUARTER_OF_AN_HOUR_MS: u64 = 900_000;

/// All shards of a stripe.
#[derive(Clone, Default)]
pub(super) struct Models(pub BTreeMap<ShardKey, Model>);

#[derive(Clone)]
pub(super) struct Model {
    settings: Settings,
    version: u64,
    me: ShardNo,
    /// What operators stocked, of the ledger.
    supply: Option<u64>,
    sent: BTreeMap<ShardNo, u64>,
    received: BTreeMap<ShardNo, u64>,
    /// The open one.
    claim: Option<Claim>,
    known: Vec<Known>,
    /// Sales whose records are purged.
    forgotten: Vec<(Fingerprint, u64)>,
    discarded: u64,
    gained: u64,
    changes: Vec<(RequestId, StockChange, i64)>,
}

/// What a change may do where it cannot be done as asked.
#[derive(Clone, Copy)]
struct May {
    be_partial: bool,
    be_new: bool,
}

#[derive(Clone)]
struct Known {
    key: RecordKey,
    record: Record,
    returns: Vec<ReturnRecord>,
    /// Its retention has passed, perhaps under settings that are no longer in
    /// force: from then on a sweeper may have taken it.
    may_go: bool,
}

impl Known {
    fn left(&self) -> u64 {
        u64::from(self.record.quantity - self.record.returned)
    }
}

impl Models {
    pub(super) fn of(stripe: &Stripe) -> Self {
        let model = |me: ShardNo, shard: &Shard| {
            let Header {
                settings,
                version,
                counters,
                ..
            } = &shard.header;
            Model {
                sent: counters.sent.clone(),
                received: counters.received.clone(),
                gained: counters.gained,
                ..Model::new(me, *settings, *version, counters.supply)
            }
        };
        Self(
            stripe
                .shards
                .iter()
                .map(|(key, shard)| (key.clone(), model(key.shard, shard)))
                .collect(),
        )
    }

    pub(super) fn apply(
        &mut self,
        at: &ShardKey,
        op: &ShardOp,
        now: Millis,
        full: bool,
    ) -> ShardReply {
        match (op, self.0.get_mut(at)) {
            (ShardOp::Create { .. }, Some(_)) => ShardReply::Created,
            (
                ShardOp::Create {
                    settings,
                    version,
                    supply,
                },
                None,
            ) => {
                let model = Model::new(at.shard, *settings, *version, *supply);
                self.0.insert(at.clone(), model);
                ShardReply::Created
            }
            (ShardOp::Delete, _) => {
                self.0.remove(at);
                ShardReply::Deleted
            }
            (_, None) => ShardReply::Missing,
            (op, Some(model)) => model.apply(op, now, full),
        }
    }

    /// Forgets what a sweeper took, if it might.
    pub(super) fn follow(&mut self, stripe: &Stripe, now: Millis) -> Result<(), String> {
        ensure!(
            self.0.keys().eq(stripe.shards.keys()),
            "the shards are others"
        );
        for (at, model) in &mut self.0 {
            model.lapse(now);
            let records = &stripe.shards[at].records;
            for key in records.keys() {
                ensure!(
                    model.known.iter().any(|k| k.key == *key),
                    "a record of {key:?} came up"
                );
            }
            while let Some(i) = model
                .known
                .iter()
                .position(|k| !records.contains_key(&k.key))
            {
                let known = &model.known[i];
                ensure!(known.may_go, "{:?} was purged before its time", known.key);
                model.forget(i);
            }
        }
        Ok(())
    }
}

impl Model {
    fn new(me: ShardNo, settings: Settings, version: u64, supply: Option<u64>) -> Self {
        Self {
            settings,
            version,
            me,
            supply,
            sent: BTreeMap::new(),
            received: BTreeMap::new(),
            claim: None,
            known: Vec::new(),
            forgotten: Vec::new(),
            discarded: 0,
            gained: supply.unwrap_or(0),
            changes: Vec::new(),
        }
    }

    fn apply(&mut self, op: &ShardOp, now: Millis, full: bool) -> ShardReply {
        self.lapse(now);
        match *op {
            ShardOp::Reserve {
                key,
                quantity,
                version,
            } => {
                let reply = self.reserve(key, quantity.get(), version, now, full);
                self.decided(Claimant::Buyer(key), reply)
            }
            ShardOp::Confirm { key, late, version } => {
                let reply = self.confirm(key, late, version, now);
                self.decided(Claimant::Buyer(key), reply)
            }
            ShardOp::Cancel {
                key,
                forbid_unknown,
            } => self.cancel(key, forbid_unknown, now, full),
            ShardOp::Return {
                key,
                request,
                quantity,
                discard,
            } => {
                let quantity = quantity.get();
                self.give_back(
                    key,
                    ReturnRecord {
                        request,
                        quantity,
                        discard,
                    },
                    now,
                )
            }
            ShardOp::Extend { key, hold_for_ms } => self.extend(key, hold_for_ms, now),
            ShardOp::Lookup { key } => match self.find(key, now) {
                Some(i) => ShardReply::Done(self.show(i, now)),
                None => ShardReply::NotFound,
            },
            ShardOp::Change {
                request,
                change,
                gathered,
                version,
            } => {
                let may = May {
                    be_partial: gathered,
                    be_new: !full,
                };
                let reply = self.change(request, change, may, version, now);
                self.decided(Claimant::Operator(request), reply)
            }
            ShardOp::Look => ShardReply::Read(self.read(now)),
            ShardOp::Configure { settings, version } => {
                if version > self.version {
                    (self.settings, self.version) = (settings, version);
                }
                ShardReply::Configured {
                    version: self.version,
                }
            }
            // What they answer depends on what was put off: not of the contract.
            ShardOp::Expire { .. } | ShardOp::Purge { .. } | ShardOp::Inspect { .. }
            // Of support and of a release: stories of their own.
            | ShardOp::List { .. } | ShardOp::Explain { .. } | ShardOp::Reconcile { .. }
            | ShardOp::Accept => ShardReply::Again,
            ShardOp::Create { .. } | ShardOp::Delete => unreachable!("handled above"),
            ShardOp::Claim { claimant } => self.claim(claimant, now),
            ShardOp::Unclaim { claimant } => {
                self.unclaim(claimant);
                ShardReply::Unclaimed
            }
            ShardOp::Lend {
                to,
                wanted,
                received,
                claim,
            } => self.lend(to, wanted, received, claim),
            ShardOp::Credit { from, sent } => self.credit(from, sent),
        }
    }

    fn lapse(&mut self, now: Millis) {
        self.claim.take_if(|open| open.until <= now);
        for i in 0..self.known.len() {
            let record = &mut self.known[i].record;
            if record.state == State::Held && record.until <= now {
                record.state = State::Expired;
                self.gained += u64::from(record.quantity);
            }
            if self.purge_at(i).is_some_and(|at| at <= now) {
                self.known[i].may_go = true;
            }
        }
    }

    fn purge_at(&self, i: usize) -> Option<Millis> {
        let record = &self.known[i].record;
        let keep_ms = if record.quantity == 0 {
            QUARTER_OF_AN_HOUR_MS
        } else {
            self.settings.retention_ms
        };
        (record.state != State::Held).then(|| record.until.plus_ms(keep_ms))
    }

    fn find(&mut self, key: RecordKey, now: Millis) -> Option<usize> {
        let i = self.known.iter().position(|k| k.key == key)?;
        if self.purge_at(i).is_some_and(|at| at <= now) {
            self.forget(i);
            return None;
        }
        Some(i)
    }

    fn forget(&mut self, i: usize) {
        let known = self.known.remove(i);
        if known.record.state == State::Confirmed {
            self.forgotten.push((known.key.buyer, known.left()));
        }
    }

    fn show(&self, i: usize, now: Millis) -> Reservation {
        let record = self.known[i].record;
        Reservation {
            record,
            now,
            purge_at: self.purge_at(i),
        }
    }

    fn held(&self) -> u64 {
        self.known
            .iter()
            .filter(|k| k.record.state == State::Held)
            .map(Known::left)
            .sum()
    }

    fn purged_sold(&self) -> u64 {
        self.forgotten.iter().map(|(_, units)| units).sum()
    }

    fn sold(&self) -> u64 {
        let sold = self
            .known
            .iter()
            .filter(|k| k.record.state == State::Confirmed);
        sold.map(Known::left).sum::<u64>() + self.purged_sold() + self.discarded
    }

    fn available(&self) -> u64 {
        let sum = |units: &BTreeMap<ShardNo, u64>| units.values().sum::<u64>();
        let stocked = self.supply.unwrap_or(0) + sum(&self.received) - sum(&self.sent);
        stocked - self.held() - self.sold()
    }

    fn units_of(&self, buyer: Fingerprint) -> u64 {
        let has = |state| matches!(state, State::Held | State::Confirmed);
        let known = self
            .known
            .iter()
            .filter(|k| k.key.buyer == buyer && has(k.record.state));
        let forgotten = self.forgotten.iter().filter(|(of, _)| *of == buyer);
        known.map(Known::left).sum::<u64>() + forgotten.map(|(_, units)| units).sum::<u64>()
    }

    fn read(&self, now: Millis) -> Box<Reading> {
        let some = |units: &BTreeMap<ShardNo, u64>| {
            let some = units.iter().filter(|(_, units)| **units > 0);
            some.map(|(shard, units)| (*shard, *units)).collect()
        };
        Box::new(Reading {
            now,
            counters: Counters {
                supply: self.supply,
                available: self.available(),
                held: self.held(),
                sold: self.sold(),
                discarded: self.discarded,
                purged_sold: self.purged_sold(),
                gained: self.gained,
                surplus: 0,
                sent: some(&self.sent),
                received: some(&self.received),
            },
            settings: self.settings,
            version: self.version,
            revision: 0,
        })
    }

    /// What the buyers' counts must be.
    pub(super) fn buyers(&self) -> BTreeMap<Fingerprint, u64> {
        let known = self.known.iter().map(|k| k.key.buyer);
        let all = known.chain(self.forgotten.iter().map(|(of, _)| *of));
        let counted = all.filter(|_| self.settings.counts_buyers);
        counted
            .map(|buyer| (buyer, self.units_of(buyer)))
            .filter(|(_, units)| *units > 0)
            .collect()
    }

    /// Why this many units cannot be had by this buyer.
    fn refusal(&self, buyer: Fingerprint, quantity: u32) -> Option<ShardReply> {
        let quantity = u64::from(quantity);
        let (units, max) = (self.units_of(buyer), self.settings.max_units_per_buyer);
        if self.settings.counts_buyers && max > 0 && units + quantity > u64::from(max) {
            return Some(ShardReply::OverLimit { units, max });
        }
        let (available, held) = (self.available(), self.held());
        (quantity > available).then_some(ShardReply::Short {
            wanted: quantity,
            available,
            held,
        })
    }

    fn not_selling(&self, now: Millis) -> Option<SaleNow> {
        let Settings {
            selling,
            sale_start,
            sale_end,
            ..
        } = self.settings;
        match (selling, sale_start, sale_end) {
            (Selling::Deleting, ..) => Some(SaleNow::Deleting),
            (Selling::Closed, ..) => Some(SaleNow::Ended),
            (_, _, Some(end)) if now >= end => Some(SaleNow::Ended),
            (Selling::Paused, ..) => Some(SaleNow::Paused),
            (Selling::Open, Some(sale_start), _) if now < sale_start => {
                Some(SaleNow::NotStarted { sale_start })
            }
            (Selling::Open, ..) => None,
        }
    }
}
