//! The writer: one thread that has the stripes in memory, applies what queued
//! up, commits it as one row, and only then answers.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::cleaner::{Cleaner, Limits};
use super::error::{CommitError, OpenError};
use super::figures::Commits;
use super::journal::{Commit, Disk, Opened};
use super::queue::{Shared, opening_again};
use super::row::{Row, StripePart};
use crate::ids::{STRIPES, StripeNo};
use crate::machine::{Changes, Reply, Stamp};
use crate::store::{Clock, Notice, StoreError, notices};
use crate::time::Millis;
use crate::waiting::Waiting;

/// Waits between attempts to open the disk again after a failure.
const REOPEN_WAIT_MIN: Duration = Duration::from_millis(50);
const REOPEN_WAIT_MAX: Duration = Duration::from_secs(5);

/// The writer's own.
pub(super) struct Engine {
    pub shared: Arc<Shared>,
    pub disk: Box<dyn Disk>,
    pub clock: Box<dyn Clock>,
    pub space: Space,
    pub commits: Commits,
    pub limits: Limits,
    /// Until when nothing is cleaned.
    pub rests_until: Option<Instant>,
}

/// What the writer serves from. All of it follows from the file.
pub(super) struct Serving {
    pub opened: Opened,
    cleaner: Cleaner,
    /// Rows were removed: the file may have pages to give back.
    shrinking: bool,
}

/// Watches the free space of the disk, now and then.
pub(super) struct Space {
    /// Bytes free for us; `None` if the system does not tell.
    pub free_bytes: Box<dyn FnMut() -> Option<u64> + Send>,
    /// Below this much nothing new is taken, so that what ends and what was
    /// promised can still be written.
    pub reserve_bytes: u64,
    pub checked: Option<Instant>,
}

/// How often the disk is looked at between commits.
const DISK_CHECK_EVERY: Duration = Duration::from_secs(1);

impl Space {
    /// Whether it is time to look again.
    fn is_due(&mut self) -> bool {
        #[expect(
            clippy::disallowed_methods,
            reason = "paces the checks; decides nothing"
        )]
        let now = Instant::now();
        let due = self
            .checked
            .is_none_or(|at| now.duration_since(at) >= DISK_CHECK_EVERY);
        if due {
            self.checked = Some(now);
        }
        due
    }

    fn is_short(&mut self) -> bool {
        (self.free_bytes)().is_some_and(|free| free < self.reserve_bytes)
    }
}

impl Engine {
    /// Opens the disk, a first time or again.
    pub(super) fn open(&mut self) -> Result<Serving, OpenError> {
        let opened = self.disk.open()?;
        self.note_frozen(&opened);
        let serving = Serving {
            cleaner: Cleaner::new(self.limits, &opened),
            opened,
            shrinking: true,
        };
        self.shared.serving.store(true, Ordering::Release);
        Ok(serving)
    }

    fn note_frozen(&self, opened: &Opened) {
        let frozen = opened
            .stripes
            .iter()
            .filter(|stripe| stripe.guard.frozen.is_some())
            .count();
        self.shared
            .frozen_stripes
            .store(u32::try_from(frozen).unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    /// Serves until closed.
    pub(super) fn run(mut self, mut serving: Serving) {
        let mut batch = Vec::new();
        while self
            .shared
            .take(&mut batch, !self.can_tidy(&serving))
            .is_some()
        {
            // A panic is a defect in the machine. What it left in memory is
            // not to be trusted, what is on disk is: as after a failed commit.
            let done =
                std::panic::catch_unwind(AssertUnwindSafe(|| self.serve(&mut serving, &mut batch)));
            let failure = match done {
                Ok(Ok(())) => continue,
                Ok(Err(failure)) => failure,
                Err(_) => "an operation panicked; the log has the details".to_owned(),
            };
            tracing::error!(%failure, "a group commit failed; opening the store again");
            for waiting in batch.drain(..) {
                waiting.answer(Err(StoreError::OutcomeUnknown(failure.clone())));
            }
            drop(serving);
            match self.reopen() {
                Some(again) => serving = again,
                None => return,
            }
        }
    }

    /// One group commit. Answers and empties the batch, unless it fails. Where
    /// nothing changed, which is so of an empty batch, there is time to tidy.
    pub(super) fn serve(
        &mut self,
        serving: &mut Serving,
        batch: &mut Vec<Waiting>,
    ) -> Result<(), String> {
        refuse_overdue(batch);
        self.look_at_disk()?;
        let stamp = Stamp {
            now: self.now(&serving.opened),
            full: self.shared.full(),
            freeze_id: rand::random(),
        };
        self.shared.note_time(stamp.now);
        let (replies, changes) = fold(serving, stamp, batch);
        self.note_frozen(&serving.opened);
        let changed = changes.iter().map(values).sum();
        let news = changes.iter().any(|changes| changes.guard);
        let notices: Vec<_> = changes.iter().flat_map(notices).collect();
        if news {
            let cleaned = if self.rests() {
                0
            } else {
                serving.cleaner.beside(changed)
            };
            let begun = Commits::begin();
            serving
                .commit(changes, changed, cleaned)
                .map_err(|error| error.to_string())?;
            self.commits.done(&begun, batch.len());
        }
        self.shared.listeners.tell_own(&notices);
        // ⚔ From here on it is on disk: readings, too, were of what is now.
        for (waiting, reply) in batch.drain(..).zip(replies) {
            waiting.reply(reply);
        }
        if !news && self.can_tidy(serving) {
            serving.tidy().map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Now and then: whether the file is still there, and room beside it.
    fn look_at_disk(&mut self) -> Result<(), String> {
        if self.space.is_due() {
            // A commit into a file that was removed or replaced would succeed,
            // and be gone with this process.
            if !self.disk.is_in_place() {
                return Err(
                    "the store's file was removed or replaced while it was in use".to_owned(),
                );
            }
            let full = self.space.is_short();
            if full != self.shared.full.swap(full, Ordering::Relaxed) {
                tracing::warn!(full, "the disk's free space crossed the reserve");
            }
        }
        Ok(())
    }

    pub(super) fn can_tidy(&self, serving: &Serving) -> bool {
        (serving.shrinking || serving.cleaner.is_due()) && !self.rests()
    }

    fn rests(&self) -> bool {
        #[expect(
            clippy::disallowed_methods,
            reason = "paces the cleaner; decides nothing"
        )]
        self.rests_until.is_some_and(|until| Instant::now() < until)
    }

    /// One time for all stripes, never running backwards.
    fn now(&mut self, opened: &Opened) -> Millis {
        let seen = opened.stripes.iter().map(|stripe| stripe.guard.time).max();
        self.clock.now(seen.unwrap_or_default())
    }

    /// ⚔ After a failed commit nobody knows what is on disk: what is queued is
    /// refused, and the store is read again before it serves again. `None` if
    /// it was closed meanwhile.
    fn reopen(&mut self) -> Option<Serving> {
        self.shared.serving.store(false, Ordering::Release);
        let mut wait = REOPEN_WAIT_MIN;
        loop {
            let (queued, closed) = self.shared.pause(Duration::ZERO);
            refuse(queued);
            if closed {
                return None;
            }
            match self.open() {
                Ok(serving) => {
                    self.space.checked = None;
                    #[expect(
                        clippy::disallowed_methods,
                        reason = "paces the cleaner; decides nothing"
                    )]
                    let now = Instant::now();
                    self.rests_until = Some(now + self.limits.rest);
                    // Of what was not answered, part may be there.
                    self.shared.listeners.tell(&Notice::Missed);
                    tracing::info!("the store is open again");
                    return Some(serving);
                }
                Err(error) => {
                    tracing::error!(%error, retry_in = ?wait, "the store cannot be opened again");
                }
            }
            let (queued, _) = self.shared.pause(wait);
            refuse(queued);
            wait = (wait * 2).min(REOPEN_WAIT_MAX);
        }
    }
}

impl Serving {
    /// Makes durable what a batch changed, `changed` values, and lets the
    /// cleaner look at some of the oldest.
    fn commit(
        &mut self,
        mut changes: Vec<Changes>,
        changed: usize,
        cleaned: usize,
    ) -> Result<(), CommitError> {
        let Self {
            opened, cleaner, ..
        } = self;
        let number = opened.next;
        let moved = cleaner.step(
            cleaned,
            number,
            &mut *opened.journal,
            &opened.stripes,
            &mut changes,
        )?;
        let oldest = cleaner.oldest();
        let parts = StripeNo::all()
            .zip(&opened.stripes)
            .zip(&changes)
            .filter_map(|((number, stripe), changes)| StripePart::of(number, stripe, changes));
        let row = Row {
            oldest,
            stripes: parts.collect(),
        };
        let body = row
            .encode(number)
            .map_err(|error| CommitError(error.to_string()))?;
        opened.journal.commit(Commit {
            number,
            body: &body,
            oldest,
        })?;
        self.shrinking |= oldest > opened.oldest;
        opened.oldest = oldest;
        opened.next += 1;
        cleaner.committed(number, body.len(), &changes, [moved, changed]);
        Ok(())
    }

    /// A step of what can wait: cleaning, then making the file shorter.
    fn tidy(&mut self) -> Result<(), CommitError> {
        if self.cleaner.is_due() {
            let none = vec![Changes::default(); usize::from(STRIPES)];
            let values = self.cleaner.alone();
            self.commit(none, 0, values)?;
        } else {
            self.shrinking = self.opened.journal.shrink()?;
        }
        Ok(())
    }
}

/// Applies a batch: each stripe's operations in their order, one instant for all.
fn fold(serving: &mut Serving, stamp: Stamp, batch: &[Waiting]) -> (Vec<Reply>, Vec<Changes>) {
    let mut by_stripe: Vec<Vec<usize>> = (0..STRIPES).map(|_| Vec::new()).collect();
    for (at, waiting) in batch.iter().enumerate() {
        by_stripe[usize::from(waiting.stripe.0)].push(at);
    }
    let mut replies: Vec<Option<Reply>> = batch.iter().map(|_| None).collect();
    let mut all = vec![Changes::default(); by_stripe.len()];
    let stripes = serving.opened.stripes.iter_mut().zip(&mut all);
    for ((stripe, changes), places) in stripes.zip(by_stripe) {
        if places.is_empty() {
            continue;
        }
        let entries = stripe.catalog.len();
        let ops = places.iter().map(|at| &batch[*at].op);
        for (at, reply) in places.iter().zip(stripe.run(stamp, ops, changes)) {
            replies[*at] = Some(reply);
        }
        serving.cleaner.note(stripe, changes, entries);
    }
    (replies.into_iter().flatten().collect(), all)
}

/// How many values these changes are.
fn values(changes: &Changes) -> usize {
    let of_shards = changes.shards.values().map(|shard| {
        usize::from(shard.header)
            + shard.records.len()
            + shard.returns.len()
            + shard.adjustments.len()
            + shard.buyers.len()
    });
    changes.catalog.len() + of_shards.sum::<usize>()
}

/// What nobody waits for any more is not sent.
fn refuse_overdue(batch: &mut Vec<Waiting>) {
    #[expect(
        clippy::disallowed_methods,
        reason = "callers' deadlines are by this clock"
    )]
    let now = Instant::now();
    for waiting in batch.extract_if(.., |waiting| waiting.is_overdue(now)) {
        waiting.answer(Err(StoreError::DeadlineTooShort));
    }
}

fn refuse(queued: Vec<Waiting>) {
    for waiting in queued {
        waiting.answer(Err(opening_again()));
    }
}
