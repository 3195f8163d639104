//! How far a server's life has come: decided in one place (`run`), followed by
//! all others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

/// A phase. Phases only ever go forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Nothing is served yet.
    Starting,
    /// Everything is served.
    Serving,
    /// Everything is served, but health tells load balancers to go elsewhere.
    Leaving,
    /// No new work is taken; what is under way ends.
    Closing,
    /// What has not ended is cut off.
    Killed,
}

/// The phase, shared by all threads.
#[derive(Clone, Debug)]
pub(crate) struct Lifecycle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    phase: watch::Sender<Phase>,
    /// `phase >= Closing`, apart from it: every call reads this, and reading a
    /// watch takes a lock that all cores would share.
    closing: AtomicBool,
}

impl Lifecycle {
    /// A life at its start.
    pub(crate) fn new() -> Self {
        Self(Arc::new(Shared {
            phase: watch::Sender::new(Phase::Starting),
            closing: AtomicBool::new(false),
        }))
    }

    /// Goes on to a later phase; an earlier one changes nothing.
    pub(crate) fn advance(&self, phase: Phase) {
        if phase >= Phase::Closing {
            self.0.closing.store(true, Ordering::Relaxed);
        }
        self.0.phase.send_if_modified(|now| {
            let later = phase > *now;
            *now = (*now).max(phase);
            later
        });
    }

    /// The phase now.
    pub(crate) fn phase(&self) -> Phase {
        *self.0.phase.borrow()
    }

    /// Whether new work is refused. Cheap: for every call.
    pub(crate) fn is_closing(&self) -> bool {
        self.0.closing.load(Ordering::Relaxed)
    }

    /// Ends when this phase or a later one is reached.
    pub(crate) async fn reached(&self, phase: Phase) {
        let mut changes = self.0.phase.subscribe();
        // The sender lives in `self`, so this ends with the phase only.
        let _ = changes.wait_for(|now| *now >= phase).await;
    }

    /// Tells of every change from now on.
    pub(crate) fn changes(&self) -> watch::Receiver<Phase> {
        self.0.phase.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn phases_only_go_forward() {
        let life = Lifecycle::new();
        life.advance(Phase::Leaving);
        life.advance(Phase::Serving);
        assert_eq!(life.phase(), Phase::Leaving);
        assert!(!life.is_closing());
        life.reached(Phase::Serving).await;
        life.advance(Phase::Killed);
        assert!(life.is_closing());
        life.reached(Phase::Closing).await;
    }
}
