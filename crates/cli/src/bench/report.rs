//! The figures: what was counted and measured, divided. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use shards::redis::yardstick::{NaiveRun, Spent};

use super::goods::Audit;
use super::meters::{NodeSpent, Used};
use super::tally::{Duplicates, Latency, Mismatches, Tally};
use crate::figures::count;
use crate::time::json_duration;

/// How it was run.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Setup {
    pub(super) seed: u64,
    pub(super) servers: Vec<String>,
    pub(super) mode: &'static str,
    pub(super) callers: u32,
    pub(super) connections: u32,
    pub(super) threads: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) batch_size: Option<u32>,
    pub(super) quantity: u32,
    /// How many of its own, or the name of the one that was given.
    #[serde(flatten)]
    pub(super) sold: Sold,
    pub(super) duplicates_percent: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) buyers: Option<u32>,
    pub(super) warm_up: String,
}

/// What was sold.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Sold {
    Given {
        item_id: String,
    },
    Own {
        items: u32,
        stock: i64,
        shards: u32,
        buyer_limit: u32,
    },
}

/// What a run left behind.
pub(super) struct Evidence<'a> {
    pub(super) setup: Setup,
    pub(super) interrupted: bool,
    pub(super) elapsed: Duration,
    pub(super) tally: &'a Tally,
    pub(super) used: Used,
    /// `None` if it could not be had.
    pub(super) audit: Option<Audit>,
    pub(super) naive: Option<NaiveRun>,
}

/// Everything that is told; the names are those of the JSON.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) sound: bool,
    pub(super) failures: Vec<String>,
    #[serde(flatten)]
    pub(super) setup: Setup,
    pub(super) interrupted: bool,
    pub(super) elapsed: String,
    pub(super) requests: u64,
    pub(super) calls: u64,
    pub(super) outcomes: BTreeMap<&'static str, u64>,
    pub(super) from_cache: u64,
    pub(super) errors: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) requests_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) granted_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) latency_us: Option<Latency>,
    pub(super) duplicates: Duplicates,
    pub(super) mismatches: Mismatches,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) audit: Option<&'static str>,
    pub(super) cpu: Vec<CpuFigures>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) store: Option<StoreFigures>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) naive: Option<NaiveFigures>,
    pub(super) notes: Vec<String>,
}

/// Processor time of a process.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct CpuFigures {
    pub(super) name: String,
    pub(super) pid: u32,
    pub(super) cpu_us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) us_per_request: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) us_per_granted: Option<f64>,
}

/// What the Redis servers did.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct StoreFigures {
    #[serde(flatten)]
    pub(super) sums: Sums,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) script_calls_per_granted: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) script_us_per_granted: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cpu_us_per_granted: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) memory_bytes_per_granted: Option<f64>,
    pub(super) nodes: Vec<NodeFigures>,
}

/// What one Redis server did.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct NodeFigures {
    pub(super) address: String,
    #[serde(flatten)]
    pub(super) sums: Sums,
}

/// What Redis counted.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Sums {
    pub(super) script_calls: u64,
    pub(super) script_us: u64,
    pub(super) cpu_us: u64,
    pub(super) memory_bytes: i64,
}

/// The other way of selling.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct NaiveFigures {
    pub(super) requests: u64,
    pub(super) elapsed: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) requests_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cpu_us_per_request: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) script_us_per_request: Option<f64>,
    /// Its processor time in Redis to Holdfast's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ratio: Option<f64>,
}

impl Report {
    pub(super) fn new(evidence: Evidence<'_>) -> Self {
        let Evidence {
            setup,
            interrupted,
            elapsed,
            tally,
            used,
            audit,
            naive,
        } = evidence;
        let requests = tally.decided() + tally.failed();
        let granted = tally.granted();
        let own = matches!(setup.sold, Sold::Own { .. });
        let failures = failures(tally, audit.as_ref(), own);
        let cpu = used.processes.into_iter().map(|process| CpuFigures {
            us_per_request: ratio(process.us as f64, requests as f64),
            us_per_granted: ratio(process.us as f64, granted as f64),
            name: process.name,
            pid: process.pid,
            cpu_us: process.us,
        });
        let store = store(&used.nodes, granted);
        let mut notes = used.notes;
        // What Redis did without a single script was not done for these callers.
        let served = store.as_ref().filter(|store| store.sums.script_calls > 0);
        if store.is_some() && served.is_none() {
            notes.push(
                "no script ran on the Redis servers of --store-stats while it was measured: is \
                 that where these servers have their store?"
                    .to_owned(),
            );
        }
        let of_one = served.and_then(|store| store.cpu_us_per_granted);
        Self {
            sound: failures.is_empty(),
            failures,
            setup,
            interrupted,
            elapsed: json_duration(Duration::from_millis(millis(elapsed))),
            requests,
            calls: tally.calls,
            outcomes: tally.outcomes.clone(),
            from_cache: tally.from_cache,
            errors: tally.errors.clone(),
            requests_per_second: ratio(requests as f64, elapsed.as_secs_f64()),
            granted_per_second: ratio(granted as f64, elapsed.as_secs_f64()),
            latency_us: tally.latency_us(),
            duplicates: tally.duplicates,
            mismatches: tally.mismatches,
            audit: audit.as_ref().map(Audit::name),
            cpu: cpu.collect(),
            naive: naive.map(|run| NaiveFigures::new(&run, of_one)),
            store,
            notes,
        }
    }

    /// Reserves that were decided.
    pub(super) fn decided(&self) -> u64 {
        self.outcomes.values().sum()
    }
}

/// Whole milliseconds.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A quotient to three digits, if there is one.
fn ratio(of: f64, to: f64) -> Option<f64> {
    let quotient = (of / to * 1_000.0).round() / 1_000.0;
    quotient.is_finite().then_some(quotient)
}

/// What is wrong, in sentences.
fn failures(tally: &Tally, audit: Option<&Audit>, own: bool) -> Vec<String> {
    let mut failures: Vec<_> = tally
        .mismatches
        .each()
        .into_iter()
        .filter(|(_, n)| *n > 0)
        .map(|(what, n)| format!("{} {what}", count(n)))
        .collect();
    let Some(audit) = audit else {
        return failures;
    };
    if audit.name() == "VIOLATED" {
        failures.push("the audit says VIOLATED".to_owned());
    }
    failures.extend(audit.violations.iter().cloned());
    // Units of an item that others sell, too, say nothing of these callers.
    if let (Some(taken), true) = (audit.taken, own) {
        let (least, unknown) = (tally.units_granted, tally.units_unknown);
        if !(least..=least + unknown).contains(&taken) {
            failures.push(format!(
                "callers were granted {} units, and perhaps {} more; the audit counts {}",
                count(least),
                count(unknown),
                count(taken)
            ));
        }
    }
    failures
}

fn store(nodes: &[NodeSpent], granted: u64) -> Option<StoreFigures> {
    let all = nodes.iter().map(|node| node.spent).reduce(|a, b| a + b)?;
    let each = |sum: f64| ratio(sum, granted as f64);
    Some(StoreFigures {
        script_calls_per_granted: each(all.script_calls as f64),
        script_us_per_granted: each(all.script_us as f64),
        cpu_us_per_granted: each(all.cpu_us as f64),
        memory_bytes_per_granted: each(all.memory_bytes as f64),
        sums: all.into(),
        nodes: nodes
            .iter()
            .map(|node| NodeFigures {
                address: node.address.clone(),
                sums: node.spent.into(),
            })
            .collect(),
    })
}

impl From<Spent> for Sums {
    fn from(spent: Spent) -> Self {
        let Spent {
            script_calls,
            script_us,
            cpu_us,
            memory_bytes,
        } = spent;
        Self {
            script_calls,
            script_us,
            cpu_us,
            memory_bytes,
        }
    }
}

impl NaiveFigures {
    fn new(run: &NaiveRun, of_one_granted: Option<f64>) -> Self {
        let requests = run.requests as f64;
        let cpu_us = run.spent.cpu_us as f64;
        Self {
            requests: run.requests,
            elapsed: json_duration(Duration::from_millis(millis(run.elapsed))),
            requests_per_second: ratio(requests, run.elapsed.as_secs_f64()),
            cpu_us_per_request: ratio(cpu_us, requests),
            script_us_per_request: ratio(run.spent.script_us as f64, requests),
            ratio: of_one_granted.and_then(|of_one| ratio(cpu_us / requests, of_one)),
        }
    }
}

#[cfg(test)]
mod tests;
