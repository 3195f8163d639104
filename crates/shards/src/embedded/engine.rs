//! The writer: one thread that has the stripes in memory, applies what queued
//! up, commits it as one row, and only then answers.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::error::OpenError;
use super::figures::Commits;
use super::journal::{Disk, Opened};
use super::row::{Row, StripePart};
use crate::ids::{STRIPES, StripeNo};
use crate::machine::{Changes, Op, Reply, Stamp};
use crate::store::{Clock, Deadline, StoreError};
use crate::time::Millis;

/// Waits between attempts to open the disk again after a failure.
const REOPEN_WAIT_MIN: Duration = Duration::from_millis(50);
const REOPEN_WAIT_MAX: Duration = Duration::from_secs(5);

type Answer = Result<Reply, StoreError>;

/// An operation in the queue.
pub(super) struct Waiting {
    pub stripe: StripeNo,
    pub op: Op,
    pub deadline: Deadline,
    pub answer: oneshot::Sender<Answer>,
}

impl Waiting {
    fn answer(self, answer: Answer) {
        // Whoever asked may be gone; the operation stands all the same.
        let _ = self.answer.send(answer);
    }
}

/// What the writer and the callers share.
pub(super) struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    queue_len_max: usize,
    serving: AtomicBool,
    full: AtomicBool,
    frozen_stripes: AtomicU32,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<Waiting>,
    closed: bool,
}

impl Shared {
    pub(super) fn new(queue_len_max: usize) -> Self {
        Self {
            queue: Mutex::default(),
            wake: Condvar::new(),
            queue_len_max,
            serving: AtomicBool::new(false),
            full: AtomicBool::new(false),
            frozen_stripes: AtomicU32::new(0),
        }
    }

    pub(super) fn serving(&self) -> bool {
        self.serving.load(Ordering::Acquire)
    }

    pub(super) fn full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    pub(super) fn frozen_stripes(&self) -> u32 {
        self.frozen_stripes.load(Ordering::Relaxed)
    }

    /// Queues an operation, or says why not.
    pub(super) fn push(&self, waiting: Waiting) -> Result<(), StoreError> {
        let mut queue = self.lock();
        if queue.closed {
            return Err(StoreError::Unavailable("it is being closed".into()));
        }
        if !self.serving() {
            return Err(opening_again());
        }
        if queue.waiting.len() >= self.queue_len_max {
            return Err(StoreError::Overloaded);
        }
        queue.waiting.push(waiting);
        if queue.waiting.len() == 1 {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// No more operations; those that are queued are still carried out.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_one();
    }

    /// All that queued up since the last time; `None` once closed and empty.
    fn take(&self, into: &mut Vec<Waiting>) -> Option<()> {
        let mut queue = self.lock();
        while queue.waiting.is_empty() {
            if queue.closed {
                return None;
            }
            queue = self
                .wake
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::swap(&mut queue.waiting, into);
        Some(())
    }

    /// Waits, unless closed meanwhile; whatever got into the queue is handed
    /// out to be refused.
    fn pause(&self, time: Duration) -> (Vec<Waiting>, bool) {
        let queue = self.lock();
        let (mut queue, _) = self
            .wake
            .wait_timeout_while(queue, time, |queue| !queue.closed)
            .unwrap_or_else(PoisonError::into_inner);
        (std::mem::take(&mut queue.waiting), queue.closed)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nobody panics while holding it; and a queue is whole at any time.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The writer's own.
pub(super) struct Engine {
    pub shared: Arc<Shared>,
    pub disk: Box<dyn Disk>,
    pub clock: Box<dyn Clock>,
    pub space: Space,
    pub commits: Commits,
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
    /// Opens the disk a first time.
    pub(super) fn open(&mut self) -> Result<Opened, OpenError> {
        let opened = self.disk.open()?;
        self.note_opened(&opened);
        Ok(opened)
    }

    fn note_opened(&self, opened: &Opened) {
        self.note_frozen(opened);
        self.shared.serving.store(true, Ordering::Release);
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
    pub(super) fn run(mut self, mut opened: Opened) {
        let mut batch = Vec::new();
        while self.shared.take(&mut batch).is_some() {
            // A panic is a defect in the machine. What it left in memory is
            // not to be trusted, what is on disk is: as after a failed commit.
            let done =
                std::panic::catch_unwind(AssertUnwindSafe(|| self.serve(&mut opened, &mut batch)));
            let failure = match done {
                Ok(Ok(())) => continue,
                Ok(Err(failure)) => failure,
                Err(_) => "an operation panicked; the log has the details".to_owned(),
            };
            tracing::error!(%failure, "a group commit failed; opening the store again");
            for waiting in batch.drain(..) {
                waiting.answer(Err(StoreError::OutcomeUnknown(failure.clone())));
            }
            drop(opened);
            match self.reopen() {
                Some(again) => opened = again,
                None => return,
            }
        }
    }

    /// One group commit. Answers and empties the batch, unless it fails.
    fn serve(&mut self, opened: &mut Opened, batch: &mut Vec<Waiting>) -> Result<(), String> {
        refuse_overdue(batch);
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
        let stamp = Stamp {
            now: self.now(opened),
            full: self.shared.full(),
            freeze_id: rand::random(),
        };
        let (replies, parts) = fold(opened, stamp, batch);
        self.note_frozen(opened);
        if !parts.is_empty() {
            let row = Row {
                oldest: opened.oldest,
                stripes: parts,
            };
            let body = row.encode(opened.next).map_err(|error| error.to_string())?;
            let begun = Commits::begin();
            opened
                .journal
                .commit(opened.next, &body)
                .map_err(|error| error.to_string())?;
            opened.next += 1;
            self.commits.done(&begun, batch.len());
        }
        // ⚔ From here on it is on disk: readings, too, were of what is now.
        for (waiting, reply) in batch.drain(..).zip(replies) {
            let stripe = waiting.stripe;
            waiting.answer(match reply {
                Reply::Frozen(freeze) => Err(StoreError::Frozen {
                    stripe,
                    freeze_id: freeze.id,
                    reason: freeze.reason,
                }),
                reply => Ok(reply),
            });
        }
        Ok(())
    }

    /// One time for all stripes, never running backwards.
    fn now(&mut self, opened: &Opened) -> Millis {
        let seen = opened.stripes.iter().map(|stripe| stripe.guard.time).max();
        self.clock.now(seen.unwrap_or_default())
    }

    /// ⚔ After a failed commit nobody knows what is on disk: what is queued is
    /// refused, and the store is read again before it serves again. `None` if
    /// it was closed meanwhile.
    fn reopen(&mut self) -> Option<Opened> {
        self.shared.serving.store(false, Ordering::Release);
        let mut wait = REOPEN_WAIT_MIN;
        loop {
            let (queued, closed) = self.shared.pause(Duration::ZERO);
            refuse(queued);
            if closed {
                return None;
            }
            match self.disk.open() {
                Ok(opened) => {
                    self.space.checked = None;
                    self.note_opened(&opened);
                    tracing::info!("the store is open again");
                    return Some(opened);
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

/// Applies a batch: each stripe's operations in their order, one instant for all.
fn fold(opened: &mut Opened, stamp: Stamp, batch: &[Waiting]) -> (Vec<Reply>, Vec<StripePart>) {
    let mut by_stripe: Vec<Vec<usize>> = (0..STRIPES).map(|_| Vec::new()).collect();
    for (at, waiting) in batch.iter().enumerate() {
        by_stripe[usize::from(waiting.stripe.0)].push(at);
    }
    let mut replies: Vec<Option<Reply>> = batch.iter().map(|_| None).collect();
    let mut parts = Vec::new();
    for (number, places) in StripeNo::all()
        .zip(by_stripe)
        .filter(|(_, places)| !places.is_empty())
    {
        let stripe = &mut opened.stripes[usize::from(number.0)];
        let mut changes = Changes::default();
        let ops = places.iter().map(|at| &batch[*at].op);
        for (at, reply) in places.iter().zip(stripe.run(stamp, ops, &mut changes)) {
            replies[*at] = Some(reply);
        }
        parts.extend(StripePart::of(number, stripe, &changes));
    }
    (replies.into_iter().flatten().collect(), parts)
}

/// What nobody waits for any more is not sent.
fn refuse_overdue(batch: &mut Vec<Waiting>) {
    #[expect(
        clippy::disallowed_methods,
        reason = "callers' deadlines are by this clock"
    )]
    let now = Instant::now();
    let overdue = |waiting: &mut Waiting| waiting.deadline.is_some_and(|at| at <= now);
    for waiting in batch.extract_if(.., overdue) {
        waiting.answer(Err(StoreError::DeadlineTooShort));
    }
}

fn refuse(queued: Vec<Waiting>) {
    for waiting in queued {
        waiting.answer(Err(opening_again()));
    }
}

fn opening_again() -> StoreError {
    StoreError::Unavailable("it is being opened again after a failed write".into())
}
