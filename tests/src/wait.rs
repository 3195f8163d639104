//! Waiting: always for a condition, always with a deadline, and what was seen
//! last is in the message.

use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

/// How long a test waits for anything before it fails. Long, because it only
/// matters when something is broken, and shared machines stall.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Between two looks.
const TICK: Duration = Duration::from_millis(5);

/// Looks until there is an `Ok`; the test fails with the last `Err` when
/// [`PATIENCE`] is over.
pub async fn poll_until<T, E: Display>(
    what: &str,
    mut look: impl AsyncFnMut() -> Result<T, E>,
) -> T {
    let mut last = String::from("nothing");
    let found = tokio::time::timeout(PATIENCE, async {
        loop {
            match look().await {
                Ok(found) => return found,
                Err(seen) => last = seen.to_string(),
            }
            #[expect(
                clippy::disallowed_methods,
                reason = "the pause between two looks, in the one place that looks"
            )]
            tokio::time::sleep(TICK).await;
        }
    });
    let found = found.await;
    found.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}; last seen: {last}"))
}

/// Waits for a future; the test fails when [`PATIENCE`] is over.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(PATIENCE, future).await;
    done.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}
