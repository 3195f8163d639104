//! What waits for one master. While a flush is under way operations queue up;
//! the whole queue is the next flush. No timer, no linger.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::link::read_clock;
use super::survey::{Endpoint, Required};
use crate::store::StoreError;
use crate::waiting::Waiting;

/// Operations of one flush, at most: bounds how long it keeps the node.
const FLUSH_LEN_MAX: usize = 4_096;

/// An operation in a lane.
pub(super) struct Queued {
    pub waiting: Waiting,
    /// Times that a node did nothing with it, through no fault of its own.
    pub returned: u8,
}

/// What a master has to do, and how it does.
pub(super) struct Lane {
    pub endpoint: Endpoint,
    len_max: usize,
    queue: Mutex<Queue>,
    wake: Notify,
    health: Mutex<Health>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Queued>,
    /// Why nothing can be sent now.
    down: Option<String>,
    closed: bool,
}

/// How a master does, for whoever asks this server.
#[derive(Clone, Debug, Default)]
pub(super) struct Health {
    /// Its last flush was acknowledged.
    pub acknowledging: bool,
    pub version: String,
    pub used_bytes: u64,
    pub max_bytes: u64,
    pub required: Required,
    pub full: bool,
    /// Why its scripts cannot tell other servers anything.
    pub mute: Option<String>,
    /// Why nothing is heard of what other servers do there.
    pub deaf: Option<String>,
}

impl Lane {
    pub(super) fn new(endpoint: Endpoint, len_max: usize) -> Self {
        let wake = Notify::new();
        // There is something to do at once: every stripe's first visit.
        wake.notify_one();
        Self {
            endpoint,
            len_max,
            queue: Mutex::default(),
            wake,
            health: Mutex::default(),
        }
    }

    /// Queues an operation, or answers why not.
    pub(super) fn push(&self, waiting: Waiting) {
        let refusal = {
            let mut queue = self.lock();
            if queue.closed {
                StoreError::Unavailable("its master is being replaced".to_owned())
            } else if let Some(why) = &queue.down {
                StoreError::Unavailable(format!("{}: {why}", self.endpoint))
            } else if queue.waiting.len() >= self.len_max {
                StoreError::Overloaded
            } else {
                queue.waiting.push_back(Queued {
                    waiting,
                    returned: 0,
                });
                if queue.waiting.len() == 1 {
                    self.wake.notify_one();
                }
                return;
            }
        };
        waiting.answer(Err(refusal));
    }

    /// Puts back what nothing was done with, before all that came later.
    pub(super) fn put_back(&self, mut queued: Vec<Queued>) {
        let mut queue = self.lock();
        for mut one in queued.drain(..).rev() {
            one.returned += 1;
            queue.waiting.push_front(one);
        }
        self.wake.notify_one();
    }

    /// The next flush.
    pub(super) fn take(&self) -> Vec<Queued> {
        let mut queue = self.lock();
        let count = queue.waiting.len().min(FLUSH_LEN_MAX);
        let taken = queue.waiting.drain(..count).collect();
        if !queue.waiting.is_empty() {
            self.wake.notify_one();
        }
        taken
    }

    /// Waits for work, or for this long. False once it is closed and empty.
    pub(super) async fn wait(&self, time: Duration) -> bool {
        // Running out of it is as good as being woken.
        let _ = tokio::time::timeout(time, self.wake.notified()).await;
        let queue = self.lock();
        !(queue.closed && queue.waiting.is_empty())
    }

    /// Nothing can be sent: what waits is told, and what comes, until it is up.
    pub(super) fn go_down(&self, why: &str) {
        let refused = {
            let mut queue = self.lock();
            queue.down = Some(why.to_owned());
            std::mem::take(&mut queue.waiting)
        };
        self.health().acknowledging = false;
        for one in refused {
            let error = format!("{}: {why}", self.endpoint);
            one.waiting.answer(Err(StoreError::Unavailable(error)));
        }
    }

    /// It can be reached.
    pub(super) fn come_up(&self) {
        self.lock().down = None;
    }

    pub(super) fn is_down(&self) -> bool {
        self.lock().down.is_some()
    }

    /// No more operations; those that are queued are still carried out.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_one();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// How it does, to be read or changed.
    pub(super) fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nobody panics while holding it; and a queue is whole at any time.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What nobody waits for any more is not sent.
pub(super) fn refuse_overdue(queued: &mut Vec<Queued>) {
    let now = read_clock();
    for one in queued.extract_if(.., |one| one.waiting.is_overdue(now)) {
        one.waiting.answer(Err(StoreError::DeadlineTooShort));
    }
}
