//! What is counted of masters: flushes, and who is heard. For whichever recorder
//! of the `metrics` facade is in force where the store is opened; without one it
//! costs nothing.

use std::time::Instant;

use metrics::{Counter, Gauge, Histogram, Unit};

use super::link::read_clock;

const FLUSHES: &str = "holdfast_store_flushes_total";
const OPERATIONS: &str = "holdfast_store_flush_operations";
const DURATION: &str = "holdfast_store_flush_duration_seconds";
const HEARD: &str = "holdfast_store_masters_heard";

/// Handles, looked up once.
#[derive(Clone)]
pub(super) struct Flushes {
    count: Counter,
    operations: Histogram,
    duration: Histogram,
}

/// A flush under way.
pub(super) struct Begun(Instant);

impl Flushes {
    /// Those of the recorder that is in force on this thread now.
    pub(super) fn of_this_recorder() -> Self {
        metrics::describe_counter!(FLUSHES, Unit::Count, "Pipelines sent to masters.");
        metrics::describe_histogram!(
            OPERATIONS,
            Unit::Count,
            "Operations, visits of stripes included, that one pipeline carried."
        );
        metrics::describe_histogram!(
            DURATION,
            Unit::Seconds,
            "Time that a pipeline took, its WAIT for replicas included."
        );
        Self {
            count: metrics::counter!(FLUSHES),
            operations: metrics::histogram!(OPERATIONS),
            duration: metrics::histogram!(DURATION),
        }
    }

    pub(super) fn begin() -> Begun {
        Begun(read_clock())
    }

    /// It is answered, or given up.
    pub(super) fn done(&self, begun: &Begun, operations: usize) {
        self.count.increment(1);
        self.operations.record(operations as f64);
        self.duration.record(begun.0.elapsed());
    }
}

/// How many masters are heard.
#[derive(Clone)]
pub(super) struct Heard(Gauge);

/// One of them, until it is dropped.
pub(super) struct HeardOne(Gauge);

impl Heard {
    /// Those of the recorder that is in force on this thread now.
    pub(super) fn of_this_recorder() -> Self {
        metrics::describe_gauge!(
            HEARD,
            Unit::Count,
            "Masters of which it is heard what other servers do there."
        );
        Self(metrics::gauge!(HEARD))
    }

    pub(super) fn one_more(&self) -> HeardOne {
        self.0.increment(1.0);
        HeardOne(self.0.clone())
    }
}

impl Drop for HeardOne {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}
