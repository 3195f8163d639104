//! The server's own clock: for deadlines and for how long things took. What is
//! sold by time goes by the store's clock, never by this one.

use std::time::{Duration, Instant};

/// Now, by the clock that the runtime's timers go by: a test may move it.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Ends at this instant.
pub(crate) fn at(instant: Instant) -> tokio::time::Sleep {
    tokio::time::sleep_until(instant.into())
}

/// Ends after this long.
pub(crate) fn after(duration: Duration) -> tokio::time::Sleep {
    at(later(duration))
}

/// This much later than now. Callers choose durations; one beyond what the
/// clock can tell is as good as a year.
pub(crate) fn later(duration: Duration) -> Instant {
    const YEAR: Duration = Duration::from_hours(365 * 24);
    let now = now();
    now.checked_add(duration).unwrap_or_else(|| now + YEAR)
}
