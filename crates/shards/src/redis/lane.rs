//! What waits for one master. While a flush is under way operations queue up;
//! the whole queue is the next flush. No timer, no linger: an operation waits for
//! those that are asked for at the same time on its thread, and not for others.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;

use tokio::runtime::Handle;
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
    /// Threads that queued something since the last flush.
    waking: Vec<ThreadId>,
    /// Why nothing can be sent now.
    down: Option<String>,
    closed: bool,
}

/// Wakes whoever flushes when it is dropped, and so also when the runtime that
/// had to do it ends.
struct Wake(Arc<Lane>);

impl Drop for Wake {
    fn drop(&mut self) {
        self.0.wake.notify_one();
    }
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
    pub(super) fn push(self: &Arc<Self>, waiting: Waiting) {
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
                // Not one thread for all: it may be busy for long.
                let thread = thread::current().id();
                if !queue.waking.contains(&thread) {
                    queue.waking.push(thread);
                    self.wake_soon();
                }
                return;
            }
        };
        waiting.answer(Err(refusal));
    }

    /// Wakes whoever flushes, once all that is ready on this thread had its turn:
    /// what it asks for goes into the same flush. At once where no runtime runs.
    fn wake_soon(self: &Arc<Self>) {
        let wake = Wake(Arc::clone(self));
        if let Ok(runtime) = Handle::try_current() {
            drop(runtime.spawn(async {
                tokio::task::yield_now().await;
                drop(wake);
            }));
        }
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
        queue.waking.clear();
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

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use tokio::sync::oneshot;
    use tokio::task::JoinSet;

    use super::*;
    use crate::ids::StripeNo;
    use crate::machine::{Op, StripeOp};

    const LONG: Duration = Duration::from_mins(1);

    /// One whose first wake, for the visits, is over.
    async fn lane() -> Arc<Lane> {
        let lane = Lane::new(
            Endpoint {
                host: "127.0.0.1".to_owned(),
                port: 6379,
            },
            100,
        );
        lane.wait(LONG).await;
        Arc::new(lane)
    }

    fn push(lane: &Arc<Lane>) {
        let (answer, _) = oneshot::channel();
        lane.push(Waiting {
            stripe: StripeNo(0),
            op: Op::Stripe(StripeOp::Visit),
            deadline: None,
            answer,
        });
    }

    fn is_woken(wait: impl Future<Output = bool>) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        matches!(pin!(wait).poll(&mut context), Poll::Ready(true))
    }

    #[tokio::test]
    async fn what_is_ready_together_is_flushed_together() {
        let lane = lane().await;
        for _ in 0..3 {
            let mut all = JoinSet::new();
            for _ in 0..10 {
                let lane = Arc::clone(&lane);
                all.spawn(async move {
                    push(&lane);
                    assert!(!is_woken(lane.wait(LONG)), "others are ready");
                });
            }
            lane.wait(LONG).await;
            assert_eq!(lane.take().len(), 10);
            all.join_all().await;
        }
    }

    #[tokio::test]
    async fn a_thread_that_is_busy_keeps_no_other_waiting() {
        let lane = lane().await;
        push(&lane);
        // This one's turn does not end, while the other has none at all.
        thread::scope(|scope| scope.spawn(|| push(&lane)).join().unwrap());
        assert!(is_woken(lane.wait(LONG)));
        assert_eq!(lane.take().len(), 2);
    }

    #[test]
    fn a_runtime_that_ends_wakes_all_the_same() {
        let runtime = || {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            builder.enable_time().build().unwrap()
        };
        let lane = runtime().block_on(async {
            let lane = lane().await;
            push(&lane);
            lane
        });
        assert!(runtime().block_on(async { is_woken(lane.wait(LONG)) }));
    }
}
