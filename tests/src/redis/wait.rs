//! Waiting without an async runtime; the same rules as in the harness of the
//! servers: a condition, a deadline, and what was seen last in the message.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// How long a test waits for anything before it fails. Long, because it only
/// matters when something is broken, and shared machines stall.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Between two looks.
const TICK: Duration = Duration::from_millis(10);

/// Looks until there is an `Ok`; the test fails with the last `Err` when
/// [`PATIENCE`] is over.
#[track_caller]
pub fn poll<T, E: Display>(what: &str, mut look: impl FnMut() -> Result<T, E>) -> T {
    let deadline = now() + PATIENCE;
    loop {
        match look() {
            Ok(found) => return found,
            Err(seen) if now() >= deadline => {
                panic!("{what}: not within {PATIENCE:?}; last seen: {seen}")
            }
            Err(_) => {}
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "the pause between two looks, in the one place that looks"
        )]
        std::thread::sleep(TICK);
    }
}

/// The clock of deadlines and delays.
pub(super) fn now() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "deadlines and delays of the harness, which no tested code sees"
    )]
    Instant::now()
}
