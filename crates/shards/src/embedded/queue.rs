//! What waits for the writer, and what callers can see of it.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::store::StoreError;
use crate::waiting::Waiting;

/// What the writer and the callers share.
pub(super) struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    queue_len_max: usize,
    pub(super) serving: AtomicBool,
    pub(super) full: AtomicBool,
    pub(super) frozen_stripes: AtomicU32,
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

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nobody panics while holding it; and a queue is whole at any time.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn opening_again() -> StoreError {
    StoreError::Unavailable("it is being opened again after a failed write".into())
}
