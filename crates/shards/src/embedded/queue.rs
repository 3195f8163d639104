//! What waits for the writer, and what callers can see of it.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::store::{Listeners, StoreError};
use crate::time::Millis;
use crate::waiting::Waiting;

/// What the writer and the callers share.
pub(super) struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    queue_len_max: usize,
    pub(super) serving: AtomicBool,
    pub(super) full: AtomicBool,
    pub(super) frozen_stripes: AtomicU32,
    pub(super) listeners: Listeners,
    /// The time of the last batch, and when that was.
    stamped: Mutex<Option<(Millis, Instant)>>,
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
            listeners: Listeners::default(),
            stamped: Mutex::default(),
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

    /// This is the time of a batch that is carried out now.
    pub(super) fn note_time(&self, now: Millis) {
        *self.stamped() = Some((now, read_clock()));
    }

    /// The store's time: that of the last batch, and what passed since. Some
    /// batch is carried out each second.
    pub(super) fn time(&self) -> Option<Millis> {
        let (then, at) = (*self.stamped())?;
        let passed = read_clock().saturating_duration_since(at).as_millis();
        Some(then.plus_ms(u64::try_from(passed).unwrap_or(u64::MAX)))
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

    /// All that queued up since the last time, which is waited for unless
    /// there is something else to do; `None` once closed and empty.
    pub(super) fn take(&self, into: &mut Vec<Waiting>, wait: bool) -> Option<()> {
        let mut queue = self.lock();
        while queue.waiting.is_empty() {
            if queue.closed {
                return None;
            }
            if !wait {
                break;
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
    pub(super) fn pause(&self, time: Duration) -> (Vec<Waiting>, bool) {
        let queue = self.lock();
        let (mut queue, _) = self
            .wake
            .wait_timeout_while(queue, time, |queue| !queue.closed)
            .unwrap_or_else(PoisonError::into_inner);
        (std::mem::take(&mut queue.waiting), queue.closed)
    }

    fn stamped(&self) -> MutexGuard<'_, Option<(Millis, Instant)>> {
        self.stamped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nobody panics while holding it; and a queue is whole at any time.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read_clock() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "what passed since the store's clock was read"
    )]
    Instant::now()
}

pub(super) fn opening_again() -> StoreError {
    StoreError::Unavailable("it is being opened again after a failed write".into())
}
