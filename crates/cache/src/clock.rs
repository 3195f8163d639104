//! Time as caches need it: coarse milliseconds for deadlines, and the order in
//! which loads and invalidations began.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

/// What caches go by. It stands still until somebody moves it: a task that
/// runs [`Clock::tick_every`], whoever has read a real clock anyway, or a test.
///
/// It is never fast. It is slow by the time since it was last moved: while a
/// task moves it, by up to one tick, the millisecond that is cut off, and
/// whatever the task itself is late.
#[derive(Debug, Default)]
pub struct Clock {
    now_ms: OwnLine,
    began: OwnLine,
}

/// Two cache lines of its own, since processors fetch them in pairs: the time
/// is read by every hit, the order is written by every miss.
#[derive(Debug, Default)]
#[repr(align(128))]
struct OwnLine(AtomicU64);

/// When a load began. Take it *before* the question is asked; what is put with
/// it then counts as that old, and gives way to every invalidation since.
///
/// Tickets of one [`Clock`] are good for all caches that share it: one look at
/// the source may fill several of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    pub(crate) number: u64,
    pub(crate) at_ms: u64,
}

impl Clock {
    /// Milliseconds since the clock was made, as far as it was moved.
    pub fn now_ms(&self) -> u64 {
        self.now_ms.0.load(Ordering::Relaxed)
    }

    /// Moves the clock on to `now_ms`; never back, so that several may move it.
    pub fn advance_to(&self, now_ms: u64) {
        // Most callers of a millisecond only read the line that all hits read.
        if self.now_ms() < now_ms {
            self.now_ms.0.fetch_max(now_ms, Ordering::Relaxed);
        }
    }

    /// Moves the clock for ever, about every `tick` (at least a millisecond).
    /// Runs on tokio's timers.
    ///
    /// Each runtime of a server may run one of these on the same clock: it is
    /// then late only when all runtimes are.
    pub async fn tick_every(&self, tick: Duration) {
        let base_ms = self.now_ms();
        let start = Instant::now();
        let mut ticks = interval(tick.max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            let elapsed_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.advance_to(base_ms.saturating_add(elapsed_ms));
        }
    }

    /// Now, as a load's beginning.
    pub fn ticket(&self) -> Ticket {
        // The time first: a load may count as older than it is, never younger.
        let at_ms = self.now_ms();
        let number = self.next_number();
        Ticket { number, at_ms }
    }

    /// The number of the last thing that began.
    pub(crate) fn last_number(&self) -> u64 {
        self.began.0.load(Ordering::SeqCst)
    }

    /// The number of something that begins now.
    pub(crate) fn next_number(&self) -> u64 {
        // 2^64 of them take centuries.
        self.began.0.fetch_add(1, Ordering::SeqCst) + 1
    }
}
