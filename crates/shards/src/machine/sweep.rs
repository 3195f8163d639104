//! What ends by itself: holds past their deadline, reservations past their
//! retention. Always in bounded steps.

use super::ops::ShardReply;
use super::record::{Record, State};
use super::shard::{Turn, UNARRIVED_RETENTION_MS};
use crate::ids::RecordKey;
use crate::rules::{Rule, holds};
use crate::time::Millis;

impl Turn<'_> {
    pub(super) fn expire(&mut self, limit: u32) -> ShardReply {
        let (changed, more) = self.within(limit, Self::expire_or_drop_next);
        ShardReply::Swept { changed, more }
    }

    pub(super) fn purge(&mut self, limit: u32) -> ShardReply {
        let (changed, more) = self.within(limit, Self::purge_next);
        ShardReply::Swept { changed, more }
    }

    /// Gives back all that lapsed, as far as the batch's steps go. False if
    /// more is due: then a no would not be true, and the answer is AGAIN.
    pub(super) fn expire_due(&mut self) -> bool {
        let (_, more) = self.within(u32::MAX, Self::expire_next);
        !more || !holds(Rule::AgainBeforeNo)
    }

    /// Runs `step` until nothing is due, `limit` or the batch's budget is used
    /// up; counts the records changed, and says whether more is due.
    fn within(
        &mut self,
        limit: u32,
        step: fn(&mut Self, dry: bool) -> Option<bool>,
    ) -> (u32, bool) {
        let mut changed = 0;
        for _ in 0..limit.min(self.batch.steps_left) {
            match step(self, false) {
                None => return (changed, false),
                Some(live) => changed += u32::from(live),
            }
            self.batch.steps_left -= 1;
        }
        (changed, step(self, true).is_some())
    }

    /// Works off the next due entry of the expiry queues: whether it was live,
    /// or `None` if none is due. `dry`: only tells.
    fn expire_next(&mut self, dry: bool) -> Option<bool> {
        let now = self.now();
        let queues = &mut self.shard.queues;
        if let Some((_, key)) = queues.expiry.front().copied().filter(|(at, _)| *at <= now) {
            if dry {
                return Some(true);
            }
            let (at, _) = queues.expiry.pop_front()?;
            let record = self.shard.records.get(&key).copied();
            let live = record.filter(|r| r.state == State::Held && !r.sorted && r.until == at);
            return Some(live.map(|r| self.expire_one(key, r)).is_some());
        }
        let (_, key) = queues
            .sorted
            .first()
            .copied()
            .filter(|(at, _)| *at <= now)?;
        if dry {
            return Some(true);
        }
        let Some(record) = self.shard.records.get(&key).copied() else {
            // Lost, and the loss accepted: it must not block those behind it.
            self.shard.queues.sorted.pop_first();
            return Some(false);
        };
        self.expire_one(key, record);
        Some(true)
    }

    /// As [`Self::expire_next`]; also drops entries at the head that are stale
    /// before they are due, or long holds that were soon cancelled would fill
    /// the queue. Left to the sweep: it costs a look at the head's record.
    fn expire_or_drop_next(&mut self, dry: bool) -> Option<bool> {
        if let Some(due) = self.expire_next(dry) {
            return Some(due);
        }
        let (at, key) = self.shard.queues.expiry.front().copied()?;
        let record = self.shard.records.get(&key);
        if record.is_some_and(|r| r.state == State::Held && !r.sorted && r.until == at) {
            return None;
        }
        if !dry {
            self.shard.queues.expiry.pop_front();
        }
        Some(false)
    }

    /// The hold's deadline has passed: its end is the deadline, whenever that
    /// was noticed.
    pub(super) fn expire_one(&mut self, key: RecordKey, record: Record) -> Record {
        self.unhold(key.buyer, record.quantity);
        self.end(key, record, State::Expired, record.until)
    }

    fn purge_next(&mut self, dry: bool) -> Option<bool> {
        let now = self.now();
        let retention_ms = self.shard.header.settings.retention_ms;
        let queues = &mut self.shard.queues;
        let due = |(at, _): &(Millis, RecordKey), keep_ms| at.plus_ms(keep_ms) <= now;
        let queue = if queues
            .ended
            .front()
            .is_some_and(|entry| due(entry, retention_ms))
        {
            &mut queues.ended
        } else if queues
            .unarrived
            .front()
            .is_some_and(|entry| due(entry, UNARRIVED_RETENTION_MS))
        {
            &mut queues.unarrived
        } else {
            return None;
        };
        if dry {
            return Some(true);
        }
        let (at, key) = queue.pop_front()?;
        let record = self.shard.records.get(&key).copied();
        let live = record.filter(|r| r.state != State::Held && r.until == at);
        Some(live.map(|r| self.purge_one(key, r)).is_some())
    }

    /// Forgets a reservation and its returns; what was sold stays counted.
    pub(super) fn purge_one(&mut self, key: RecordKey, record: Record) {
        self.touch();
        if record.state == State::Confirmed {
            self.counters().purged_sold += u64::from(record.quantity - record.returned);
        }
        self.shard.records.remove(&key);
        self.changes.records.insert(key);
        if self.shard.returns.remove(&key).is_some() {
            self.changes.returns.insert(key);
        }
    }
}
