//! Ends what has lapsed although nobody asks: answers never depend on it, the
//! freed units and bytes do.

use std::sync::Arc;
use std::time::Duration;

use shards::inventory::{Inventory, Swept};
use tokio::time::MissedTickBehavior;

use crate::clock;
use crate::seldom::Seldom;

/// Time from the end of a sweep to the next one, at least.
pub(crate) const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// A store that is away is worth a line a minute.
const COMPLAINT_INTERVAL: Duration = Duration::from_mins(1);

/// Sweeps for ever.
pub(crate) async fn sweep(inventory: Arc<Inventory>, interval: Duration) {
    let mut ticks = tokio::time::interval(interval);
    // A slow sweep must not be followed by several at once.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut complaints = Seldom::every(COMPLAINT_INTERVAL);
    loop {
        ticks.tick().await;
        let started = clock::now();
        let swept = inventory.sweep().await;
        let ended = clock::now();
        let error = match swept {
            Ok(done) => {
                let Swept {
                    expired,
                    purged,
                    resumed,
                    failed,
                } = done;
                if done != Swept::default() {
                    let took = ended.duration_since(started);
                    tracing::debug!(expired, purged, resumed, failed, ?took, "swept");
                }
                if failed == 0 {
                    continue;
                }
                format!("{failed} items could not be swept")
            }
            Err(error) => error.to_string(),
        };
        if let Some(kept_back) = complaints.now(ended) {
            tracing::warn!(error, kept_back, "a sweep failed; the next one goes on");
        }
    }
}
