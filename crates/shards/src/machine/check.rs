//! The invariants of one shard, as code. Property tests run it after every
//! step; an audit of a live system checks the same equations (see
//! [`crate::inventory`]).
//!
//! I3 (one grant for one request), I5 (no grant above the limit then in force)
//! and I6 (a hold leaves HELD once) speak of what happened, not of what is: the
//! property tests check them over the history, I4 (nothing acknowledged is
//! missing) is the stores' own.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::ops::Counters;
use super::record::State;
use super::shard::Shard;
use crate::ids::{Fingerprint, ShardNo};

/// A broken invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which: "I1" to "I8".
    pub invariant: &'static str,
    /// Where, if in one shard.
    pub shard: Option<ShardNo>,
    /// A sentence.
    pub description: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.description)
    }
}

impl Counters {
    /// I1 for one shard: what came in is what is there.
    #[must_use]
    pub fn check_conservation(&self) -> Option<Violation> {
        let sum =
            |units: &BTreeMap<ShardNo, u64>| units.values().map(|n| u128::from(*n)).sum::<u128>();
        let came =
            u128::from(self.supply.unwrap_or(0)) + u128::from(self.surplus) + sum(&self.received);
        let there = u128::from(self.available) + u128::from(self.held) + u128::from(self.sold);
        let went = sum(&self.sent);
        (came != there + went).then(|| Violation {
            invariant: "I1",
            shard: None,
            description: format!(
                "supply, surplus and received are {came} units, but available {}, held {}, sold {} and sent {went} are {}",
                self.available, self.held, self.sold, there + went,
            ),
        })
    }

    /// I8 for one shard: the counters against sums over all records.
    #[must_use]
    pub fn check_recount(&self, held: u64, sold: u64) -> Option<Violation> {
        let explained = sold + self.purged_sold + self.discarded;
        (self.held != held || self.sold != explained).then(|| Violation {
            invariant: "I8",
            shard: None,
            description: format!(
                "the counters say held {} and sold {}, the records {held} and {sold} (with {} purged and {} discarded: {explained})",
                self.held, self.sold, self.purged_sold, self.discarded,
            ),
        })
    }
}

impl Shard {
    /// All that must hold of a shard at rest. Walks every record and queue.
    #[must_use]
    pub fn check(&self) -> Vec<Violation> {
        let (sums, _) = self.recount(None, u32::MAX);
        let counters = &self.header.counters;
        let mut found = Vec::new();
        found.extend(counters.check_conservation());
        found.extend(counters.check_recount(sums.held, sums.sold));
        // I2: the counters are unsigned, so none is negative; arithmetic that
        // would make one so stops the machine (overflow checks are on in every
        // profile).
        self.check_queues(&mut found);
        self.check_purge_queues(&mut found);
        self.check_buyers(&mut found);
        found
    }

    /// I7: each held record has exactly one live entry, and the sorted queue
    /// has no other.
    fn check_queues(&self, found: &mut Vec<Violation>) {
        let mut say = |description| {
            found.push(Violation {
                invariant: "I7",
                shard: None,
                description,
            });
        };
        let queues = &self.queues;
        if !queues.expiry.iter().is_sorted_by_key(|(at, _)| *at) {
            say("the expiry queue is out of order".to_owned());
        }
        let held = |key| self.records.get(key).filter(|r| r.state == State::Held);
        let mut live: BTreeMap<_, u32> = BTreeMap::new();
        // Equal entries are one: working off the first makes the rest stale.
        // There are two when a hold gets the very deadline that a cancelled and
        // purged one of the same ids had.
        for (at, key) in queues.expiry.iter().collect::<BTreeSet<_>>() {
            if held(key).is_some_and(|r| !r.sorted && r.until == *at) {
                *live.entry(*key).or_default() += 1;
            }
        }
        for (at, key) in &queues.sorted {
            if held(key).is_some_and(|r| r.sorted && r.until == *at) {
                *live.entry(*key).or_default() += 1;
            } else {
                say(format!(
                    "the sorted queue has an entry of {key:?} that no hold explains"
                ));
            }
        }
        for (key, record) in self.records.iter().filter(|(_, r)| r.state == State::Held) {
            let entries = live.get(key).copied().unwrap_or(0);
            if entries != 1 {
                say(format!(
                    "the hold {key:?} has {entries} live queue entries: {record:?}"
                ));
            }
        }
    }

    /// Every ended record has an entry that will purge it.
    fn check_purge_queues(&self, found: &mut Vec<Violation>) {
        let ended: BTreeSet<_> = self.queues.ended.iter().copied().collect();
        let unarrived: BTreeSet<_> = self.queues.unarrived.iter().copied().collect();
        for (key, record) in self.records.iter().filter(|(_, r)| r.state != State::Held) {
            let queue = if record.is_unarrived() {
                &unarrived
            } else {
                &ended
            };
            if !queue.contains(&(record.until, *key)) {
                found.push(Violation {
                    invariant: "I7",
                    shard: None,
                    description: format!("the ended record {key:?} would never be purged"),
                });
            }
        }
    }

    /// Buyers' counts cover their records; what is above that was purged.
    fn check_buyers(&self, found: &mut Vec<Violation>) {
        let mut say = |description| {
            found.push(Violation {
                invariant: "I8",
                shard: None,
                description,
            });
        };
        if !self.header.settings.counts_buyers {
            if !self.buyers.is_empty() {
                say("buyers are counted although the item never counts them".to_owned());
            }
            return;
        }
        let mut known: BTreeMap<Fingerprint, u64> = BTreeMap::new();
        for (key, record) in &self.records {
            *known.entry(key.buyer).or_default() += record.buyer_units();
        }
        let mut purged = 0;
        for (buyer, has) in &self.buyers {
            let in_records = known.remove(buyer).unwrap_or(0);
            match has.checked_sub(in_records) {
                Some(rest) => purged += rest,
                None => say(format!(
                    "buyer {buyer:?} counts {has}, but has records of {in_records}"
                )),
            }
        }
        for (buyer, units) in known.into_iter().filter(|(_, units)| *units > 0) {
            say(format!(
                "buyer {buyer:?} has records of {units}, but no count"
            ));
        }
        if purged != self.header.counters.purged_sold {
            say(format!(
                "buyers count {purged} units beyond their records, but {} were purged",
                self.header.counters.purged_sold,
            ));
        }
    }
}
