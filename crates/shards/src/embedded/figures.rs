//! What the writer counts: its commits. For whichever recorder of the `metrics`
//! facade is in force where the store is opened; without one it costs nothing.

use std::time::Instant;

use metrics::{Counter, Histogram, Unit};

const COMMITS: &str = "holdfast_store_commits_total";
const OPERATIONS: &str = "holdfast_store_commit_operations";
const DURATION: &str = "holdfast_store_commit_duration_seconds";

/// Handles, looked up once: the writer must not search for them.
pub(super) struct Commits {
    count: Counter,
    operations: Histogram,
    duration: Histogram,
}

/// A commit under way.
pub(super) struct Begun(Instant);

impl Commits {
    /// Those of the recorder that is in force on this thread now.
    pub(super) fn of_this_recorder() -> Self {
        metrics::describe_counter!(COMMITS, Unit::Count, "Group commits that are on disk.");
        metrics::describe_histogram!(
            OPERATIONS,
            Unit::Count,
            "Operations, readings included, that one group commit carried."
        );
        metrics::describe_histogram!(
            DURATION,
            Unit::Seconds,
            "Time that a group commit took to be on disk."
        );
        Self {
            count: metrics::counter!(COMMITS),
            operations: metrics::histogram!(OPERATIONS),
            duration: metrics::histogram!(DURATION),
        }
    }

    /// A commit begins.
    pub(super) fn begin() -> Begun {
        #[expect(
            clippy::disallowed_methods,
            reason = "measures how long a commit takes; decides nothing"
        )]
        Begun(Instant::now())
    }

    /// It is on disk.
    pub(super) fn done(&self, begun: &Begun, operations: usize) {
        self.count.increment(1);
        self.operations.record(operations as f64);
        self.duration.record(begun.0.elapsed());
    }
}
