//! The consistent look: what may be said after reading shards that go on
//! changing meanwhile.
//!
//! All shards are read, then all of them again. If the two readings have equal
//! sent and received counters, and every sent equals its received, then nothing
//! was under way at the instant between them, and nothing moved from that
//! instant until its shard's second reading. So each unit that was free at that
//! instant is in the second sum, or went to another buyer meanwhile: a refusal
//! by the second sum is true up to a lost race. It stays quick under churn, where
//! waiting for an instant at which nothing is free would not.
//!
//! (Every sent equal to its received suffices: the counters are cumulative, so
//! such a reading has the same transfers before it on both sides. That the
//! readings have equal ones follows for all that matters, and costs nothing to
//! ask for.)

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::ids::ShardNo;
#[cfg(doc)]
use crate::machine::Counters;
use crate::machine::Reading;
use crate::rules::{Rule, holds};

/// What a look needs of one shard's reading.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Seen {
    /// Can be bought there.
    pub available: u64,
    /// Held there.
    pub held: u64,
    /// Sent to each other shard, ever.
    pub sent: BTreeMap<ShardNo, u64>,
    /// Received from each other shard, ever.
    pub received: BTreeMap<ShardNo, u64>,
    /// Ever put on sale there, as [`Counters::gained`] tells it.
    pub gained: u64,
}

impl From<&Reading> for Seen {
    fn from(reading: &Reading) -> Self {
        let counters = &reading.counters;
        Self {
            available: counters.available,
            held: counters.held,
            sent: counters.sent.clone(),
            received: counters.received.clone(),
            gained: counters.gained,
        }
    }
}

/// Units on their way; whoever meets them may credit them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Transfer {
    /// Who sent them.
    pub from: ShardNo,
    /// To whom.
    pub to: ShardNo,
    /// What was sent from one to the other, ever.
    pub sent: u64,
}

/// More received than sent, as far as it was seen. Either one was read before
/// the other, or the sender has lost the end of its history: only the sender
/// can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ahead {
    /// Who seems to have sent less.
    pub from: ShardNo,
    /// Who has received more.
    pub to: ShardNo,
    /// What was received by one of the other, ever.
    pub received: u64,
}

/// Two readings of all shards, as far as they have come.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Looking {
    first: Vec<Option<Seen>>,
    second: Vec<Option<Seen>>,
}

impl Looking {
    /// Nothing is read yet.
    #[must_use]
    pub fn new(shards: u8) -> Self {
        let unread = || vec![None; usize::from(shards)];
        let first = unread();
        let second = if holds(Rule::LookReadsTwice) {
            unread()
        } else {
            Vec::new()
        };
        Self { first, second }
    }

    /// The shards to read now, in any order. ⚔ The second reading begins when
    /// the first has ended.
    pub fn unread(&self) -> Vec<ShardNo> {
        let of = |reading: &[Option<Seen>]| -> Vec<ShardNo> {
            (0..)
                .map(ShardNo)
                .zip(reading)
                .filter(|(_, seen)| seen.is_none())
                .map(|(shard, _)| shard)
                .collect()
        };
        let first = of(&self.first);
        if first.is_empty() {
            return of(&self.second);
        }
        first
    }

    /// Takes in what was read of a shard.
    pub fn read(&mut self, shard: ShardNo, seen: Seen) {
        let at = usize::from(shard.0);
        let first_ended = self.first.iter().all(Option::is_some);
        let reading = if first_ended {
            &mut self.second
        } else {
            &mut self.first
        };
        if let Some(place) = reading.get_mut(at) {
            *place = Some(seen);
        }
    }

    /// What was seen, once all is read.
    #[must_use]
    pub fn finish(&self) -> Option<Look> {
        let all = |reading: &[Option<Seen>]| reading.iter().cloned().collect::<Option<Vec<_>>>();
        let first = all(&self.first)?;
        let second = all(&self.second)?;
        if !holds(Rule::LookReadsTwice) {
            return Some(Look::judge(&first, first.clone()));
        }
        Some(Look::judge(&first, second))
    }
}

/// What a look has shown.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Look {
    /// Whether `available` may refuse: nothing was moving.
    pub still: bool,
    /// ⚔ Nor was anything put on sale between the two readings: `available` may
    /// be remembered for a while. Where units keep coming back, it would be
    /// untrue as soon as it is said.
    pub steady: bool,
    /// Available on all shards together.
    pub available: u64,
    /// Held on all shards together.
    pub held: u64,
    /// Each shard, by number, as it was read last.
    pub shards: Vec<Seen>,
    /// What is to be credited before the next look.
    pub under_way: Vec<Transfer>,
    /// Where the sender is to be asked before the next look.
    pub ahead: Vec<Ahead>,
}

impl Look {
    fn judge(first: &[Seen], second: Vec<Seen>) -> Self {
        let moved = first
            .iter()
            .zip(&second)
            .any(|(a, b)| a.sent != b.sent || a.received != b.received);
        let Pairs { under_way, ahead } = Pairs::of(&second);
        let balanced = under_way.is_empty() && ahead.is_empty();
        let still = !moved && balanced || !holds(Rule::LookSeesWhatIsUnderWay);
        let gained = first.iter().zip(&second).any(|(a, b)| a.gained != b.gained);
        let steady = still && (!gained || !holds(Rule::MarksNeedSteadyStock));
        let sums = if holds(Rule::SecondSumDecides) {
            &second[..]
        } else {
            first
        };
        Self {
            still,
            steady,
            available: sums.iter().map(|seen| seen.available).sum(),
            held: sums.iter().map(|seen| seen.held).sum(),
            shards: second,
            under_way,
            ahead,
        }
    }

    /// What one shard has received from another, as far as it was seen.
    #[must_use]
    pub fn received(&self, by: ShardNo, from: ShardNo) -> u64 {
        let seen = self.shards.get(usize::from(by.0));
        seen.and_then(|seen| seen.received.get(&from))
            .copied()
            .unwrap_or(0)
    }
}

/// Where one reading of all shards shows sent and received to differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pairs {
    /// Sent and not received.
    pub under_way: Vec<Transfer>,
    /// Received and not sent.
    pub ahead: Vec<Ahead>,
}

impl Pairs {
    /// Compares all of them.
    #[must_use]
    pub fn of(shards: &[Seen]) -> Self {
        let mut found = Self::default();
        let numbered = || (0..).map(ShardNo).zip(shards);
        for (from, sender) in numbered() {
            for (to, receiver) in numbered() {
                let sent = sender.sent.get(&to).copied().unwrap_or(0);
                let received = receiver.received.get(&from).copied().unwrap_or(0);
                match sent.cmp(&received) {
                    Ordering::Greater => found.under_way.push(Transfer { from, to, sent }),
                    Ordering::Less => found.ahead.push(Ahead { from, to, received }),
                    Ordering::Equal => {}
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(available: u64, sent: &[(u8, u64)], received: &[(u8, u64)]) -> Seen {
        let map = |pairs: &[(u8, u64)]| {
            pairs
                .iter()
                .map(|(n, units)| (ShardNo(*n), *units))
                .collect()
        };
        Seen {
            available,
            held: 0,
            sent: map(sent),
            received: map(received),
            gained: 0,
        }
    }

    fn look(first: [Seen; 2], second: [Seen; 2]) -> Look {
        let mut looking = Looking::new(2);
        assert_eq!(looking.unread(), [ShardNo(0), ShardNo(1)]);
        for (reading, between) in [(first, true), (second, false)] {
            let [zero, one] = reading;
            looking.read(ShardNo(1), one);
            assert_eq!(looking.unread(), [ShardNo(0)]);
            assert_eq!(looking.finish(), None);
            looking.read(ShardNo(0), zero);
            let all = [ShardNo(0), ShardNo(1)];
            assert_eq!(looking.unread(), if between { &all[..] } else { &[] });
        }
        looking.finish().unwrap()
    }

    #[test]
    fn the_second_sum_counts_once_nothing_moved() {
        let still = || seen(3, &[(1, 4)], &[]);
        let found = look(
            [still(), seen(2, &[], &[(0, 4)])],
            [still(), seen(1, &[], &[(0, 4)])],
        );
        assert!(found.still && found.under_way.is_empty());
        assert_eq!(found.available, 4);
        assert_eq!(found.received(ShardNo(1), ShardNo(0)), 4);
        assert_eq!(found.received(ShardNo(0), ShardNo(1)), 0);
    }

    #[test]
    fn what_was_put_on_sale_meanwhile_is_not_to_be_remembered() {
        let none = || seen(0, &[], &[]);
        let gave_back = || Seen {
            gained: 2,
            ..none()
        };
        let found = look([none(), gave_back()], [none(), gave_back()]);
        assert!(found.still && found.steady);
        // Two came back and were bought: sold out, and yet not for long.
        let found = look([none(), none()], [none(), gave_back()]);
        assert!(found.still && !found.steady);
        assert_eq!(found.available, 0);
        let found = look([none(), seen(0, &[(0, 1)], &[])], [none(), none()]);
        assert!(!found.still && !found.steady);
    }

    #[test]
    fn a_transfer_between_the_readings_is_movement() {
        let found = look(
            [seen(3, &[], &[]), seen(0, &[], &[])],
            [seen(0, &[(1, 3)], &[]), seen(3, &[], &[(0, 3)])],
        );
        assert!(!found.still && found.under_way.is_empty());
    }

    #[test]
    fn what_is_under_way_is_named() {
        let sent = || seen(0, &[(1, 3)], &[]);
        let found = look(
            [sent(), seen(0, &[], &[(0, 1)])],
            [sent(), seen(0, &[], &[(0, 1)])],
        );
        assert!(!found.still);
        let (from, to) = (ShardNo(0), ShardNo(1));
        assert_eq!(found.under_way, [Transfer { from, to, sent: 3 }]);
    }

    #[test]
    fn more_received_than_sent_is_no_standstill_either() {
        let ahead = || seen(0, &[], &[(0, 1)]);
        let found = look([seen(0, &[], &[]), ahead()], [seen(0, &[], &[]), ahead()]);
        assert!(!found.still && found.under_way.is_empty());
        let (from, to, received) = (ShardNo(0), ShardNo(1), 1);
        assert_eq!(found.ahead, [Ahead { from, to, received }]);
    }
}
