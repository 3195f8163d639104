//! The cleaner: keeps the file within about twice what is live. With a commit it
//! moves what is still live of the oldest rows into the new row, and the
//! journal removes those rows in the same transaction.
//!
//! ⚔ *Invariant:* reading the rows from `oldest` on gives the present state.
//! Why it survives the removal of the oldest row, for each key that it names:
//! - A later row names the key too: the later row decides, as before.
//! - No later row does, and it has a value: then that is the present one, and
//!   this commit writes it again.
//! - No later row does, and it is gone (or its whole shard is): no row before
//!   the oldest is left that could bring it back. So tombstones are not moved,
//!   but only the oldest row may be removed, and only as a whole.
//!
//! *Which values are live* is read from the row itself: a value that is not the
//! present one was overwritten. That needs no index of keys, which would cost a
//! fifth of the memory that the records take, and costs a look-up for each value
//! that is cleaned away. A value that is the present one may stand in a later
//! row too. Then it is moved without need; harmless once, but the copies would
//! go round for ever. Records, headers, entries, returns and stock changes never
//! take an earlier value again, so they have no such copies. Guards are in every
//! row: which row has the last is known for each stripe. Buyers' counts go up
//! and down: a pass over the file remembers those that it moved, as many as it
//! may, and the next pass goes on with the buyers after them.
//!
//! *How much is live* is an estimate: so many bytes for each value, added up for
//! each shard that a batch touched.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::error::CommitError;
use super::journal::{Journal, Opened};
use super::row::{Row, ShardPart, StripePart};
use crate::ids::{Fingerprint, STRIPES, ShardKey};
use crate::machine::{Changes, Shard, ShardChanges, Stripe};

/// Bounds; tests have smaller ones.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// What the rows may take, in sixteenths of what is live,
    pub live_16ths: u64,
    /// and beside it: small files are left alone.
    pub small_bytes: u64,
    /// Values looked at in one step while nothing else is to be done: it keeps
    /// whoever comes meanwhile waiting.
    pub step_values: usize,
    /// Values looked at beside a small commit; beside a large one, so many for
    /// each that it changes.
    pub side_values: usize,
    /// Buyers that a pass remembers.
    pub seen_len_max: usize,
    /// How long nothing is cleaned after a failed write, which may have failed
    /// for its size; and a step that fails must not open the store in a circle.
    pub rest: Duration,
}

/// With the eighth of its pages that the file may have unused it is twice what
/// is live.
pub(super) const LIMITS: Limits = Limits {
    live_16ths: 28,
    small_bytes: 1 << 20,
    step_values: 1_024,
    side_values: 256,
    seen_len_max: 1 << 18,
    rest: Duration::from_secs(10),
};

/// Where half of what is looked at is dead, two for each new value would keep
/// the file as it is.
const LOOKED_AT_FOR_EACH_NEW: usize = 3;

/// Bytes that a value takes in a row, about. Too low is noticed: see
/// [`Cleaner::size_max`].
const RECORD_BYTES: u64 = 42;
const RETURN_BYTES: u64 = 44;
const ADJUSTMENT_BYTES: u64 = 24;
const BUYER_BYTES: u64 = 10;
const SHARD_BYTES: u64 = 110;
const ENTRY_BYTES: u64 = 200;
const GUARD_BYTES: u64 = 50;

/// What is known of the file's rows, and how far the cleaner has come. All of
/// it follows from the file: after a failure it is made anew.
pub(super) struct Cleaner {
    limits: Limits,
    /// Bytes of the rows from `oldest` on.
    rows_bytes: u64,
    /// The lowest row that is needed.
    oldest: u64,
    /// Its parts that were not looked at yet, once it was read.
    front: Option<Front>,
    /// Which row has each stripe's guard.
    guard_rows: Vec<u64>,
    /// Bytes of each shard's values, about, and of everything live.
    shards: BTreeMap<ShardKey, u64>,
    live_bytes: u64,
    pass: Pass,
    /// What a pass made of the live values, in sixteenths of their estimate.
    written_16ths: u64,
}

/// The oldest row. Read as a whole: it is no larger than the batch that wrote it.
struct Front {
    bytes: u64,
    parts: Vec<StripePart>,
}

/// One turn over all rows that there were at its beginning.
#[derive(Default)]
struct Pass {
    /// The first row after them.
    end: u64,
    /// Bytes that it wrote.
    written_bytes: u64,
    /// The most that was live meanwhile.
    live_bytes_max: u64,
    /// Buyers that it remembers: from this one on,
    from: Option<Buyer>,
    /// to before this one. Passes go on from one another; that without an end
    /// is the last of a round.
    to: Option<Buyer>,
    seen: BTreeSet<Buyer>,
}

type Buyer = (Fingerprint, ShardKey);

/// How much of a step is left, and what it found.
struct Step {
    left: usize,
    moved: usize,
}

impl Step {
    /// The next value to look at.
    fn next<T>(&mut self, values: &mut Vec<T>) -> Option<T> {
        let left = self.left.checked_sub(1)?;
        let value = values.pop()?;
        self.left = left;
        Some(value)
    }
}

impl Cleaner {
    pub(super) fn new(limits: Limits, opened: &Opened) -> Self {
        let mut cleaner = Self {
            limits,
            rows_bytes: opened.bytes,
            oldest: opened.oldest,
            front: None,
            guard_rows: opened.guard_rows.clone(),
            shards: BTreeMap::new(),
            live_bytes: GUARD_BYTES * u64::from(STRIPES),
            pass: Pass {
                end: opened.next,
                ..Pass::default()
            },
            written_16ths: 0,
        };
        for stripe in &opened.stripes {
            cleaner.live_bytes += ENTRY_BYTES * stripe.catalog.len() as u64;
            for key in stripe.shards.keys() {
                cleaner.weigh(key, stripe);
            }
        }
        cleaner
    }

    /// The lowest row that is needed.
    pub(super) fn oldest(&self) -> u64 {
        self.oldest
    }

    /// Whether there is something to clean.
    pub(super) fn is_due(&self) -> bool {
        self.rows_bytes > self.size_max()
    }

    /// What the rows may take. Where even a whole pass could not get there,
    /// because the estimate is too low or the items are many and small, it is half
    /// more than the pass could do; else the cleaner would never rest.
    fn size_max(&self) -> u64 {
        let sixteenths = self.limits.live_16ths.max(self.written_16ths * 3 / 2);
        self.live_bytes / 16 * sixteenths + self.limits.small_bytes
    }

    /// Values to look at beside a commit that changes so many.
    pub(super) fn beside(&self, changed: usize) -> usize {
        self.limits
            .side_values
            .max(changed * LOOKED_AT_FOR_EACH_NEW)
    }

    /// Values to look at while nothing else is to be done.
    pub(super) fn alone(&self) -> usize {
        self.limits.step_values
    }

    /// Takes note of what a batch changed.
    pub(super) fn note(&mut self, stripe: &Stripe, changes: &Changes, catalog_len_before: usize) {
        self.live_bytes += ENTRY_BYTES * stripe.catalog.len() as u64;
        self.live_bytes -= ENTRY_BYTES * catalog_len_before as u64;
        for key in changes.shards.keys().chain(&changes.deleted) {
            self.weigh(key, stripe);
        }
    }

    fn weigh(&mut self, key: &ShardKey, stripe: &Stripe) {
        let now = stripe.shards.get(key).map(shard_bytes);
        let before = match now {
            Some(now) => self.shards.insert(key.clone(), now),
            None => self.shards.remove(key),
        };
        self.live_bytes += now.unwrap_or(0);
        self.live_bytes -= before.unwrap_or(0);
    }

    /// Looks at up to so many of the oldest values, and adds those that are live
    /// to the changes of the commit that will be row `next`. How many it added.
    pub(super) fn step(
        &mut self,
        values: usize,
        next: u64,
        journal: &mut dyn Journal,
        stripes: &[Stripe],
        changes: &mut [Changes],
    ) -> Result<usize, CommitError> {
        self.pass.live_bytes_max = self.pass.live_bytes_max.max(self.live_bytes);
        let mut step = Step {
            left: values,
            moved: 0,
        };
        while step.left > 0 && self.oldest < next && self.is_due() {
            let mut front = match self.front.take() {
                Some(front) => front,
                None => self.read_front(next, journal)?,
            };
            self.look_at(&mut front, stripes, changes, &mut step);
            if front.parts.is_empty() {
                self.rows_bytes -= front.bytes;
                self.oldest += 1;
            } else {
                self.front = Some(front);
            }
        }
        Ok(step.moved)
    }

    /// Takes note of row `number`: these changes, of which the cleaner added
    /// `moved` values to `changed` others.
    pub(super) fn committed(
        &mut self,
        number: u64,
        bytes: usize,
        changes: &[Changes],
        [moved, changed]: [usize; 2],
    ) {
        let bytes = bytes as u64;
        self.rows_bytes += bytes;
        // A row without values is all the cleaner's.
        let share = (bytes * moved as u64).checked_div((moved + changed) as u64);
        self.pass.written_bytes += share.unwrap_or(bytes);
        for (guard_row, changes) in self.guard_rows.iter_mut().zip(changes) {
            if changes.guard {
                *guard_row = number;
            }
        }
    }

    fn read_front(&mut self, next: u64, journal: &mut dyn Journal) -> Result<Front, CommitError> {
        if self.oldest >= self.pass.end {
            self.begin_pass(next);
        }
        let body = journal.read(self.oldest)?;
        let row =
            Row::decode(self.oldest, &body).map_err(|damage| CommitError(damage.to_string()))?;
        Ok(Front {
            bytes: body.len() as u64,
            parts: row.stripes,
        })
    }

    fn begin_pass(&mut self, next: u64) {
        let from = self.pass.to.take();
        if from.is_none() {
            self.written_16ths =
                (self.pass.written_bytes * 16).div_ceil(self.pass.live_bytes_max.max(1));
        }
        self.pass = Pass {
            end: next,
            from,
            live_bytes_max: self.live_bytes,
            ..Pass::default()
        };
    }

    /// Works off what is left of the oldest row, as far as the step goes.
    fn look_at(
        &mut self,
        front: &mut Front,
        stripes: &[Stripe],
        changes: &mut [Changes],
        step: &mut Step,
    ) {
        while let Some(part) = front.parts.last_mut() {
            let number = usize::from(part.stripe.0);
            let (stripe, changes) = (&stripes[number], &mut changes[number]);
            if self.guard_rows[number] == self.oldest && !changes.guard {
                changes.guard = true;
                step.moved += 1;
            }
            while let Some((item, entry)) = step.next(&mut part.catalog) {
                if entry.is_some() && entry.as_ref() == stripe.catalog.get(&item) {
                    changes.catalog.insert(item);
                    changes.guard = true;
                    step.moved += 1;
                }
            }
            while let Some((key, values)) = part.shards.last_mut() {
                if step.left == 0 {
                    return;
                }
                if let Some((key, shard)) = stripe.shards.get_key_value(key) {
                    let marks = changes.shards.entry(key.clone()).or_default();
                    let before = step.moved;
                    self.look_at_shard(key, values, shard, marks, step);
                    changes.guard |= step.moved > before;
                    if step.left == 0 {
                        return;
                    }
                }
                part.shards.pop();
            }
            if step.left == 0 {
                return;
            }
            // A part without values is not free either.
            step.left -= 1;
            front.parts.pop();
        }
    }

    fn look_at_shard(
        &mut self,
        key: &ShardKey,
        values: &mut ShardPart,
        shard: &Shard,
        marks: &mut ShardChanges,
        step: &mut Step,
    ) {
        // A value of a new kind must not be forgotten here.
        let ShardPart {
            header,
            records,
            returns,
            adjustments,
            buyers,
        } = values;
        if header.take().is_some_and(|header| header == shard.header) {
            marks.header = true;
            step.moved += 1;
        }
        while let Some((key, record)) = step.next(records) {
            if record.is_some() && record.as_ref() == shard.records.get(&key) {
                marks.records.insert(key);
                step.moved += 1;
            }
        }
        while let Some((key, list)) = step.next(returns) {
            if list.is_some() && list.as_ref() == shard.returns.get(&key) {
                marks.returns.insert(key);
                step.moved += 1;
            }
        }
        while let Some((id, adjustment)) = step.next(adjustments) {
            if adjustment.is_some() && adjustment.as_ref() == shard.adjustments.get(&id) {
                marks.adjustments.insert(id);
                step.moved += 1;
            }
        }
        while let Some((buyer, units)) = step.next(buyers) {
            if units.is_some()
                && units.as_ref() == shard.buyers.get(&buyer)
                && self.pass.is_first(buyer, key, self.limits.seen_len_max)
            {
                marks.buyers.insert(buyer);
                step.moved += 1;
            }
        }
    }
}

impl Pass {
    /// False if this pass has moved the buyer already: then a later row has it.
    fn is_first(&mut self, buyer: Fingerprint, shard: &ShardKey, seen_len_max: usize) -> bool {
        let buyer = (buyer, shard.clone());
        let before = self.from.as_ref().is_some_and(|from| buyer < *from);
        let after = self.to.as_ref().is_some_and(|to| buyer >= *to);
        if before || after {
            return true;
        }
        let first = self.seen.insert(buyer);
        if self.seen.len() > seen_len_max {
            self.to = self.seen.pop_last();
        }
        first
    }
}

/// Bytes that a shard's values take in rows, about.
fn shard_bytes(shard: &Shard) -> u64 {
    let all = |len: usize, bytes: u64| len as u64 * bytes;
    SHARD_BYTES
        + all(shard.records.len(), RECORD_BYTES)
        + all(shard.returns.len(), RETURN_BYTES)
        + all(shard.adjustments.len(), ADJUSTMENT_BYTES)
        + all(shard.buyers.len(), BUYER_BYTES)
}
