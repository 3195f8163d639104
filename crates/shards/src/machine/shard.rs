//! The state of one shard, and the context in which one operation changes it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::ops::{Claim, Counters, Reading, RecordSums};
use super::record::{Adjustment, Record, Reservation, ReturnRecord, State};
use super::settings::Settings;
use crate::ids::{Fingerprint, RecordKey, RequestId, ShardNo};
use crate::rules::{Rule, holds};
use crate::time::Millis;

/// How long a Cancel that came before its Reserve is remembered: longer than
/// any Reserve can still be under way.
pub const UNARRIVED_RETENTION_MS: u64 = 15 * 60 * 1000;

/// What a shard decides by, without its records.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Header {
    /// Settings in force.
    pub settings: Settings,
    /// Their version.
    pub version: u64,
    /// Units.
    pub counters: Counters,
    /// Changes so far. A reader that finds it unchanged has seen one instant.
    pub revision: u64,
    /// The oldest request that waits for stock to come here.
    pub claim: Option<Claim>,
    /// ⚔ How many records, returns, adjustments and buyers there are: what is
    /// lost of them, by whatever hand, is noticed before anything is decided
    /// without it. Of the queues [`Queues::known`] tells it, since they are
    /// derived where a store does not write them.
    pub sizes: [u64; 4],
}

/// Entries of each part of a shard but its header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Records.
    pub records: u64,
    /// Reservations with returns.
    pub returns: u64,
    /// Stock changes.
    pub adjustments: u64,
    /// Buyers.
    pub buyers: u64,
    /// Entries of each queue: expiry, sorted, ended, unarrived.
    pub queues: [u64; 4],
}

/// One shard of one item.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Shard {
    /// Settings and counters.
    pub header: Header,
    /// Every request that is known.
    pub records: BTreeMap<RecordKey, Record>,
    /// Returns, under the reservation whose units came back.
    pub returns: BTreeMap<RecordKey, Vec<ReturnRecord>>,
    /// Operators' changes of the stock; ledger shard only.
    pub adjustments: BTreeMap<RequestId, Adjustment>,
    /// Units held or bought, where the item counts its buyers. Outlives the
    /// records: purging a sale does not give the buyer another turn.
    pub buyers: BTreeMap<Fingerprint, u64>,
    /// What falls due.
    pub queues: Queues,
}

/// What falls due, in the order in which it does. An entry whose instant is not
/// its record's any more is stale and counts for nothing; so what ends a hold
/// need not search a queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Queues {
    /// Deadlines of holds, never decreasing.
    pub expiry: VecDeque<(Millis, RecordKey)>,
    /// ⚔ Deadlines that came out of order: shorter than one queued before
    /// (settings changed), or extended. Kept apart, so that one hold extended
    /// by a day does not keep the others from expiring. Has no stale entries.
    pub sorted: BTreeSet<(Millis, RecordKey)>,
    /// Ends of reservations, roughly in order.
    pub ended: VecDeque<(Millis, RecordKey)>,
    /// Cancels that came before their Reserve.
    pub unarrived: VecDeque<(Millis, RecordKey)>,
    /// ⚔ How many entries each of these has, in this order.
    pub known: [u64; 4],
}

/// Which parts of a shard an operation changed: what a store has to write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardChanges {
    /// Settings, counters or revision.
    pub header: bool,
    /// Records, written or gone.
    pub records: BTreeSet<RecordKey>,
    /// Lists of returns, written or gone.
    pub returns: BTreeSet<RecordKey>,
    /// Stock changes.
    pub adjustments: BTreeSet<RequestId>,
    /// Buyers' counts, written or gone.
    pub buyers: BTreeSet<Fingerprint>,
    /// Units were put on sale; whether some of them when there were none.
    pub gain: Gain,
}

/// Whether units were put on sale, which makes what others remember untrue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gain {
    /// None were.
    #[default]
    Nothing,
    /// To others that were on sale.
    More,
    /// ⚔ There were none on sale: everybody has to hear of it.
    First,
}

/// What all operations of a batch share.
#[derive(Clone, Copy, Debug)]
pub struct Batch {
    /// The one instant of the batch.
    pub now: Millis,
    /// Queue entries it may still work off. Being part of the fold, it bounds
    /// the batch however many operations want to expire something.
    pub steps_left: u32,
    /// The store is nearly full: nothing new may be remembered.
    pub full: bool,
}

/// One operation's turn on one shard.
pub(super) struct Turn<'a> {
    pub shard: &'a mut Shard,
    /// Which shard of its item it is.
    pub me: ShardNo,
    pub changes: &'a mut ShardChanges,
    pub batch: &'a mut Batch,
    /// This operation has already raised the revision.
    pub touched: bool,
}

impl Shard {
    pub(super) fn new(settings: Settings, version: u64, supply: Option<u64>) -> Self {
        let opening = supply.unwrap_or(0);
        let counters = Counters {
            supply,
            available: opening,
            gained: opening,
            ..Counters::default()
        };
        Self::from_header(Header {
            settings,
            version,
            counters,
            revision: 0,
            claim: None,
            sizes: [0; 4],
        })
    }

    /// A shard of which only the header is known yet. A store that reads itself
    /// back adds the records, then calls [`Self::rebuild_queues`].
    #[must_use]
    pub fn from_header(header: Header) -> Self {
        Self {
            header,
            records: BTreeMap::new(),
            returns: BTreeMap::new(),
            adjustments: BTreeMap::new(),
            buyers: BTreeMap::new(),
            queues: Queues::default(),
        }
    }

    /// How many entries its parts have.
    #[must_use]
    pub fn count_entries(&self) -> Sizes {
        let Queues {
            expiry,
            sorted,
            ended,
            unarrived,
            known: _,
        } = &self.queues;
        Sizes {
            records: self.records.len() as u64,
            returns: self.returns.len() as u64,
            adjustments: self.adjustments.len() as u64,
            buyers: self.buyers.len() as u64,
            queues: [expiry.len(), sorted.len(), ended.len(), unarrived.len()].map(|n| n as u64),
        }
    }

    /// How many entries its parts had after the last batch.
    #[must_use]
    pub fn known_entries(&self) -> Sizes {
        let [records, returns, adjustments, buyers] = self.header.sizes;
        Sizes {
            records,
            returns,
            adjustments,
            buyers,
            queues: self.queues.known,
        }
    }

    /// So many have to be there.
    pub(super) fn know_entries(&mut self, sizes: Sizes) {
        let Sizes {
            records,
            returns,
            adjustments,
            buyers,
            queues,
        } = sizes;
        self.header.sizes = [records, returns, adjustments, buyers];
        self.queues.known = queues;
    }

    /// ⚔ Knows what came and went since there were so many, and no more: what
    /// was missing before is still missed, whoever works on the shard meanwhile.
    pub(super) fn note_entries_since(&mut self, before: Sizes) {
        let (known, there) = (self.known_entries(), self.count_entries());
        let now = |known: u64, there: u64, before: u64| (known + there).saturating_sub(before);
        let queues = [0, 1, 2, 3].map(|at| {
            let (known, there) = (known.queues[at], there.queues[at]);
            now(known, there, before.queues[at])
        });
        self.know_entries(Sizes {
            records: now(known.records, there.records, before.records),
            returns: now(known.returns, there.returns, before.returns),
            adjustments: now(known.adjustments, there.adjustments, before.adjustments),
            buyers: now(known.buyers, there.buyers, before.buyers),
            queues,
        });
    }

    /// Makes the queues anew from the records, without stale entries: queues
    /// are derived, so a store need not write them.
    pub fn rebuild_queues(&mut self) {
        self.queues = Queues::default();
        let mut by_time: Vec<_> = self
            .records
            .iter()
            .map(|(key, r)| (r.until, *key))
            .collect();
        by_time.sort_unstable();
        for (until, key) in by_time {
            let Some(record) = self.records.get(&key) else {
                continue;
            };
            if record.state != State::Held {
                self.queues.push_ended(key, record);
            } else if record.sorted {
                self.queues.sorted.insert((until, key));
            } else {
                self.queues.expiry.push_back((until, key));
            }
        }
        self.queues.known = self.count_entries().queues;
    }

    /// The reservation of a record, as an answer at `now` shows it.
    pub(super) fn show(&self, record: Record, now: Millis) -> Reservation {
        Reservation {
            record,
            now,
            purge_at: self.purge_at(&record),
        }
    }

    /// From when on this record is not found; `None` while held.
    pub(super) fn purge_at(&self, record: &Record) -> Option<Millis> {
        match record.state {
            State::Held => None,
            _ if record.is_unarrived() => Some(record.until.plus_ms(UNARRIVED_RETENTION_MS)),
            _ => Some(record.until.plus_ms(self.header.settings.retention_ms)),
        }
    }

    pub(super) fn read(&self, now: Millis) -> Box<Reading> {
        Box::new(Reading {
            now,
            counters: self.header.counters.clone(),
            settings: self.header.settings,
            version: self.header.version,
            revision: self.header.revision,
        })
    }

    /// Recounts up to `limit` records after `after`; the second value is where
    /// to go on.
    pub(super) fn recount(
        &self,
        after: Option<RecordKey>,
        limit: u32,
    ) -> (RecordSums, Option<RecordKey>) {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        let mut sums = RecordSums::default();
        let mut last = after;
        let mut rest = self.records.range((from, Unbounded));
        for (key, record) in rest.by_ref().take(limit as usize) {
            sums.records += 1;
            match record.state {
                State::Held => sums.held += u64::from(record.quantity),
                State::Confirmed => sums.sold += u64::from(record.quantity - record.returned),
                State::Cancelled | State::Expired | State::Lost => {}
            }
            last = Some(*key);
        }
        (sums, rest.next().and(last))
    }
}

impl Queues {
    /// Queues a hold's deadline; true if it had to go to the sorted queue.
    fn push_deadline(&mut self, deadline: Millis, key: RecordKey) -> bool {
        let in_order = self.expiry.back().is_none_or(|(last, _)| *last <= deadline);
        if in_order || !holds(Rule::ShorterDeadlinesAreSorted) {
            self.expiry.push_back((deadline, key));
        } else {
            self.sorted.insert((deadline, key));
        }
        !in_order && holds(Rule::ShorterDeadlinesAreSorted)
    }

    /// Queues an ended record for its purge.
    fn push_ended(&mut self, key: RecordKey, record: &Record) {
        let queue = if record.is_unarrived() {
            &mut self.unarrived
        } else {
            &mut self.ended
        };
        queue.push_back((record.until, key));
    }
}

impl Turn<'_> {
    pub(super) fn now(&self) -> Millis {
        self.batch.now
    }

    /// The record as it is now. What lapsed meanwhile is carried out first, so
    /// an answer never depends on whether a sweeper came by.
    pub(super) fn settle(&mut self, key: RecordKey) -> Option<Record> {
        let mut record = *self.shard.records.get(&key)?;
        if record.state == State::Held && self.now() >= record.until {
            record = self.expire_one(key, record);
        }
        if self
            .shard
            .purge_at(&record)
            .is_some_and(|at| self.now() >= at)
        {
            self.purge_one(key, record);
            return None;
        }
        Some(record)
    }

    pub(super) fn show(&self, record: Record) -> Reservation {
        self.shard.show(record, self.now())
    }

    /// The counters, to be changed.
    pub(super) fn counters(&mut self) -> &mut Counters {
        self.touch();
        &mut self.shard.header.counters
    }

    /// Notes that this operation changes the shard.
    pub(super) fn touch(&mut self) {
        if !self.touched {
            self.touched = true;
            self.changes.header = true;
            self.shard.header.revision += 1;
        }
    }

    /// Puts units on sale.
    pub(super) fn gain(&mut self, units: u64) {
        let counters = self.counters();
        let gain = match (units, counters.available) {
            (0, _) => Gain::Nothing,
            (_, 0) => Gain::First,
            _ => Gain::More,
        };
        counters.gain(units);
        self.changes.gain = self.changes.gain.max(gain);
    }

    pub(super) fn put_record(&mut self, key: RecordKey, record: Record) {
        self.touch();
        self.changes.records.insert(key);
        self.shard.records.insert(key, record);
    }

    /// Adds a hold: record and queue entry.
    pub(super) fn put_hold(&mut self, key: RecordKey, mut record: Record) -> Record {
        record.sorted = self.shard.queues.push_deadline(record.until, key);
        self.put_record(key, record);
        record
    }

    /// Moves a hold's deadline.
    pub(super) fn move_deadline(
        &mut self,
        key: RecordKey,
        mut record: Record,
        to: Millis,
    ) -> Record {
        self.drop_sorted(key, &record);
        record.until = to;
        record.sorted = holds(Rule::ExtensionsAreSorted);
        if record.sorted {
            self.shard.queues.sorted.insert((to, key));
        } else {
            self.shard.queues.expiry.push_back((to, key));
        }
        self.put_record(key, record);
        record
    }

    /// Ends a record, or ends it differently: state, time, purge entry.
    pub(super) fn end(
        &mut self,
        key: RecordKey,
        mut record: Record,
        state: State,
        at: Millis,
    ) -> Record {
        self.drop_sorted(key, &record);
        record.state = state;
        record.until = at;
        record.sorted = false;
        self.shard.queues.push_ended(key, &record);
        self.put_record(key, record);
        record
    }

    fn drop_sorted(&mut self, key: RecordKey, record: &Record) {
        if record.sorted {
            self.shard.queues.sorted.remove(&(record.until, key));
        }
    }

    /// Puts units that were held back on sale.
    pub(super) fn unhold(&mut self, buyer: Fingerprint, quantity: u32) {
        let units = u64::from(quantity);
        let counters = self.counters();
        counters.held -= units;
        self.gain(units);
        self.uncount(buyer, units);
    }

    /// Takes units off sale for this buyer.
    pub(super) fn take(&mut self, buyer: Fingerprint, quantity: u32) {
        self.counters().available -= u64::from(quantity);
        let settings = &self.shard.header.settings;
        let limited = settings.max_units_per_buyer > 0;
        if settings.counts_buyers && (limited || holds(Rule::CountedFromCreation)) {
            self.changes.buyers.insert(buyer);
            *self.shard.buyers.entry(buyer).or_default() += u64::from(quantity);
        }
    }

    /// These units are not the buyer's any more.
    pub(super) fn uncount(&mut self, buyer: Fingerprint, units: u64) {
        let std::collections::btree_map::Entry::Occupied(mut count) =
            self.shard.buyers.entry(buyer)
        else {
            return;
        };
        self.changes.buyers.insert(buyer);
        // After a loss that an operator accepted it may know of fewer.
        *count.get_mut() = count.get().saturating_sub(units);
        if *count.get() == 0 {
            count.remove();
        }
    }

    /// Whether `quantity` more would exceed the limit in force; what the buyer has.
    pub(super) fn over_limit(&self, buyer: Fingerprint, quantity: u32) -> Option<u64> {
        let settings = &self.shard.header.settings;
        if !settings.counts_buyers || settings.max_units_per_buyer == 0 {
            return None;
        }
        let has = self.shard.buyers.get(&buyer).copied().unwrap_or(0);
        let would = has + u64::from(quantity);
        (would > u64::from(settings.max_units_per_buyer)).then_some(has)
    }
}
