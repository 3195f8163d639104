//! What the callers' threads and whoever watches them tell each other while a
//! run lasts.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use super::judge::Answer;
use super::tally::{GRANTED, outcome};

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    WarmUp,
    Measure,
    Stop,
}

/// The state of a run.
#[derive(Debug)]
pub(super) struct Control {
    phase: AtomicU8,
    /// Requests that may still be measured.
    left: AtomicU64,
    /// Somebody wants it to end before its time.
    interrupted: AtomicBool,
    /// What was counted so far, for the eye.
    pub(super) decided: AtomicU64,
    pub(super) granted: AtomicU64,
    pub(super) failed: AtomicU64,
}

impl Control {
    pub(super) fn new(requests_max: u64) -> Self {
        Self {
            phase: AtomicU8::new(Phase::WarmUp as u8),
            left: AtomicU64::new(requests_max),
            interrupted: AtomicBool::new(false),
            decided: AtomicU64::new(0),
            granted: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    pub(super) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::WarmUp,
            1 => Phase::Measure,
            _ => Phase::Stop,
        }
    }

    /// Goes on to `phase`, never back.
    pub(super) fn advance(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::Relaxed);
    }

    /// Ends it before its time, with what was measured.
    pub(super) fn interrupt(&self) {
        self.interrupted.store(true, Ordering::Relaxed);
        self.advance(Phase::Stop);
    }

    pub(super) fn interrupted(&self) -> &AtomicBool {
        &self.interrupted
    }

    pub(super) fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// What a caller may send next, of `size` requests that it would: so many,
    /// and whether they are measured. `None`: it is over.
    pub(super) fn admit(&self, size: usize) -> Option<(usize, bool)> {
        match self.phase() {
            Phase::WarmUp => Some((size, false)),
            Phase::Stop => None,
            Phase::Measure => {
                let wanted = size as u64;
                let take = |left: u64| Some(left - left.min(wanted));
                // Never refused, because `take` never is.
                let (Ok(left) | Err(left)) =
                    self.left
                        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
                let admitted = usize::try_from(left.min(wanted)).unwrap_or(size);
                (admitted > 0).then_some((admitted, true))
            }
        }
    }

    /// Counts answers that are part of the figures.
    pub(super) fn count(&self, answers: &[Answer]) {
        let decided = answers.iter().flatten().count();
        let granted = answers
            .iter()
            .flatten()
            .filter(|reply| outcome(reply) == GRANTED)
            .count();
        let add = |to: &AtomicU64, n: usize| to.fetch_add(n as u64, Ordering::Relaxed);
        add(&self.decided, decided);
        add(&self.granted, granted);
        add(&self.failed, answers.len() - decided);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_out_once_it_is_measured() {
        let control = Control::new(250);
        assert_eq!(control.admit(100), Some((100, false)));
        control.advance(Phase::Measure);
        for expected in [Some((100, true)), Some((100, true)), Some((50, true)), None] {
            assert_eq!(control.admit(100), expected);
        }
    }

    #[test]
    fn an_interrupted_run_does_not_begin_again() {
        let control = Control::new(u64::MAX);
        control.interrupt();
        control.advance(Phase::Measure);
        assert_eq!((control.phase(), control.admit(1)), (Phase::Stop, None));
        assert!(control.is_interrupted());
    }
}
