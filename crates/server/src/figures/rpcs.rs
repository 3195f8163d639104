//! Every call, by method and outcome. Knows words only: what a status is called
//! is gRPC's business.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use metrics::{Counter, Histogram, Unit};

use super::Figures;

const RPCS: &str = "holdfast_rpcs_total";
const DURATION: &str = "holdfast_rpc_duration_seconds";

/// What calls of no known method are counted as: paths are the callers' choice,
/// and would be labels without end.
const UNKNOWN: &str = "unknown";

/// A method of the contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MethodName {
    /// With its package.
    pub(crate) service: String,
    /// Without service.
    pub(crate) method: String,
}

/// The methods of a server by their paths. Each worker has one of its own, so
/// that the locks in it are never waited for; the numbers behind are shared.
#[derive(Clone, Debug)]
pub(crate) struct Rpcs {
    by_path: Arc<HashMap<String, Rpc>>,
    unknown: Rpc,
}

/// A method, ready to count its calls.
#[derive(Clone, Debug)]
pub(crate) struct Rpc(Arc<Handles>);

struct Handles {
    figures: Figures,
    name: MethodName,
    /// Made by the first call: most servers serve a few of the methods, and a
    /// histogram is 17 lines of text.
    duration: OnceLock<Histogram>,
    /// One for each outcome and reason that has been there: few.
    counters: Mutex<Vec<(Outcome, Counter)>>,
}

type Outcome = (&'static str, &'static str);

impl Rpcs {
    /// These methods; counts go on from where other workers' are.
    pub(crate) fn new(figures: &Figures, methods: &[MethodName]) -> Self {
        figures.within(|| {
            metrics::describe_counter!(
                RPCS,
                Unit::Count,
                "Calls answered, by gRPC status and by the reason of the error or the outcome of \
                 Reserve; CANCELLED are those whose caller did not wait."
            );
            metrics::describe_histogram!(
                DURATION,
                Unit::Seconds,
                "Time from a call's headers to its answer; of a stream, to its beginning."
            );
        });
        let rpc = |name: &MethodName| Rpc::new(figures.clone(), name.clone());
        let by_path = methods
            .iter()
            .map(|name| (format!("/{}/{}", name.service, name.method), rpc(name)));
        let unknown = MethodName {
            service: UNKNOWN.to_owned(),
            method: UNKNOWN.to_owned(),
        };
        Self {
            by_path: Arc::new(by_path.collect()),
            unknown: rpc(&unknown),
        }
    }

    /// The method that this path calls.
    pub(crate) fn of(&self, path: &str) -> Rpc {
        self.by_path.get(path).unwrap_or(&self.unknown).clone()
    }
}

impl Rpc {
    fn new(figures: Figures, name: MethodName) -> Self {
        Self(Arc::new(Handles {
            figures,
            name,
            duration: OnceLock::new(),
            counters: Mutex::default(),
        }))
    }

    /// A call of it has ended: `outcome` is the status by its gRPC name,
    /// `reason` says more or is empty.
    pub(crate) fn ended(&self, outcome: &'static str, reason: &'static str, took: Duration) {
        let duration = self.0.duration.get_or_init(|| self.0.make_duration());
        duration.record(took);
        // Nobody panics while holding it, and the list is whole at any time.
        let mut counters = self
            .0
            .counters
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let known = counters
            .iter()
            .find(|(known, _)| *known == (outcome, reason));
        if let Some((_, counter)) = known {
            counter.increment(1);
            return;
        }
        let counter = self.0.make_counter(outcome, reason);
        counter.increment(1);
        counters.push(((outcome, reason), counter));
    }
}

impl Handles {
    fn make_duration(&self) -> Histogram {
        let MethodName { service, method } = self.name.clone();
        self.figures
            .within(|| metrics::histogram!(DURATION, "service" => service, "method" => method))
    }

    fn make_counter(&self, outcome: &'static str, reason: &'static str) -> Counter {
        let MethodName { service, method } = self.name.clone();
        self.figures.within(|| {
            metrics::counter!(
                RPCS,
                "service" => service,
                "method" => method,
                "outcome" => outcome,
                "reason" => reason,
            )
        })
    }
}

impl std::fmt::Debug for Handles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handles")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_method_outcome_and_reason_and_paths_are_no_labels() {
        let figures = Figures::new().unwrap();
        let method = MethodName {
            service: "a.Service".to_owned(),
            method: "Call".to_owned(),
        };
        let workers: [Rpcs; 2] =
            std::array::from_fn(|_| Rpcs::new(&figures, std::slice::from_ref(&method)));
        let took = Duration::from_millis(2);
        for worker in &workers {
            worker.of("/a.Service/Call").ended("OK", "sold_out", took);
            worker.of("/a.Service/Call").ended("OK", "reserved", took);
            worker.of("/some/path").ended("UNIMPLEMENTED", "", took);
        }
        workers[0]
            .of("/a.Service/Call")
            .ended("OK", "reserved", took);
        let text = figures.text();
        let call = r#"service="a.Service",method="Call""#;
        for line in [
            &*format!(r#"holdfast_rpcs_total{{{call},outcome="OK",reason="sold_out"}} 2"#),
            &format!(r#"holdfast_rpcs_total{{{call},outcome="OK",reason="reserved"}} 3"#),
            &format!(r#"holdfast_rpc_duration_seconds_bucket{{{call},le="0.001"}} 0"#),
            &format!(r#"holdfast_rpc_duration_seconds_bucket{{{call},le="0.0025"}} 5"#),
            &format!(r"holdfast_rpc_duration_seconds_count{{{call}}} 5"),
            r#"holdfast_rpcs_total{service="unknown",method="unknown",outcome="UNIMPLEMENTED",reason=""} 2"#,
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in:\n{text}");
        }
        assert!(!text.contains("/some/path"), "{text}");
    }
}
