//! What a server counts and measures, and its text form for Prometheus.
//!
//! Each server has a recorder of its own, not the process's global one: two
//! servers in one process (tests) do not count into each other. Code counts
//! through handles of the `metrics` facade, made once; labels have few values,
//! all known at build time. Ids are never among them, but those of the few items
//! that are refused most.
//!
//! - `rpcs`: every call, by method and outcome.
//! - `gauges`, `tier1`: what is not counted as it happens but read when asked for.

mod gauges;
mod rpcs;
mod tier1;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use metrics_exporter_prometheus::{
    BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};
use shards::inventory::Inventory;

use crate::connection::Load;
use crate::error::RunError;
use crate::tier1::Tier1;
use gauges::Gauges;

pub(crate) use rpcs::{MethodName, Rpc, Rpcs};

/// Bounds of buckets for durations. A decision takes about the disk's sync, so
/// they begin below a millisecond; what takes longer than 10 s was given up.
const SECONDS: [f64; 14] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// The same for commits: the sync of a fast disk takes 0.1 ms.
const COMMIT_SECONDS: [f64; 16] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];
/// Bounds of buckets for the operations of a commit, up to a full queue.
const OPERATIONS: [f64; 13] = [
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0, 8_192.0, 65_536.0,
];

/// How often measurements are sorted into their buckets; until then each takes
/// 16 bytes.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(1);

/// The figures of one server.
#[derive(Clone, Debug)]
pub(crate) struct Figures(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    recorder: PrometheusRecorder,
    text: PrometheusHandle,
    /// Unset until there is a store to tell of.
    gauges: OnceLock<Gauges>,
}

impl Figures {
    /// Those of a server that has done nothing yet.
    ///
    /// # Errors
    /// Never in a binary that passed its tests.
    pub(crate) fn new() -> Result<Self, RunError> {
        let recorder = recorder().map_err(|error| RunError::Ended {
            part: "the recorder of metrics".to_owned(),
            cause: error.to_string(),
        })?;
        let text = recorder.handle();
        let figures = Self(Arc::new(Shared {
            recorder,
            text,
            gauges: OnceLock::new(),
        }));
        figures.within(gauges::tell_build);
        Ok(figures)
    }

    /// Handles made by `work` on this thread count here.
    pub(crate) fn within<T>(&self, work: impl FnOnce() -> T) -> T {
        metrics::with_local_recorder(&self.0.recorder, work)
    }

    /// From now on there is a store, and workers with connections.
    pub(crate) fn read_from(&self, inventory: Arc<Inventory>, tier1: Arc<Tier1>, loads: Vec<Load>) {
        let gauges = || self.within(|| Gauges::new(inventory, tier1, loads));
        self.0.gauges.get_or_init(gauges);
    }

    /// Everything, in Prometheus' text format.
    pub(crate) fn text(&self) -> String {
        let Some(gauges) = self.0.gauges.get() else {
            return self.0.text.render();
        };
        gauges.read();
        let mut text = self.0.text.render();
        gauges.write_hot_items(&mut text);
        text
    }

    /// Keeps the memory of measurements bounded, for ever: also where nobody
    /// asks for them.
    pub(crate) async fn keep_up(self) {
        let mut ticks = tokio::time::interval(UPKEEP_INTERVAL);
        loop {
            ticks.tick().await;
            self.0.text.run_upkeep();
        }
    }
}

fn recorder() -> Result<PrometheusRecorder, BuildError> {
    let full = |name: &str| Matcher::Full(name.to_owned());
    let commit = "holdfast_store_commit";
    let builder = PrometheusBuilder::new()
        .set_buckets(&SECONDS)?
        .set_buckets_for_metric(full(&format!("{commit}_duration_seconds")), &COMMIT_SECONDS)?
        .set_buckets_for_metric(full(&format!("{commit}_operations")), &OPERATIONS)?;
    Ok(builder.build_recorder())
}
