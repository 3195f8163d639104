//! What is measured from outside: processors by `/proc`, Redis by its counters.

use std::fs;

use shards::redis::yardstick::{Error, Login, Naive, NaiveRun, Node, Reading, Spent, run_naive};

use super::args::MeterArgs;
use super::control::Control;
use super::process::Watched;
use crate::failure::Failure;

/// Time in which the naive way's connections get going.
const NAIVE_WARM_UP: std::time::Duration = std::time::Duration::from_millis(500);

/// What is to be measured.
pub(super) struct Meters<'a> {
    args: &'a MeterArgs,
    nodes: Vec<Node>,
}

/// What stood on the meters when the measurement began.
pub(super) struct Marks {
    processes: Vec<Watched>,
    readings: Vec<Reading>,
}

/// What was used since.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Used {
    pub(super) processes: Vec<Cpu>,
    pub(super) nodes: Vec<NodeSpent>,
    /// What could not be read, and why.
    pub(super) notes: Vec<String>,
}

/// Processor time of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cpu {
    pub(super) name: String,
    pub(super) pid: u32,
    pub(super) us: u64,
}

/// What a Redis server did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NodeSpent {
    pub(super) address: String,
    pub(super) spent: Spent,
}

impl<'a> Meters<'a> {
    /// Finds everything that was named: what is wrong is said before the load
    /// begins.
    pub(super) async fn open(args: &'a MeterArgs) -> Result<Self, Failure> {
        let password = args.stats_password_file.as_ref().map(|path| {
            let text = fs::read_to_string(path).map_err(|error| {
                Failure::usage(format!(
                    "cannot read the password in {}: {error}",
                    path.display()
                ))
            })?;
            Ok::<_, Failure>(text.trim_end_matches(['\r', '\n']).to_owned())
        });
        let login = Login {
            user: args.stats_user.clone(),
            password: password.transpose()?,
        };
        let nodes = match &args.store_stats {
            Some(url) => Node::parse_all(url, &login)?,
            None => Vec::new(),
        };
        let meters = Self { args, nodes };
        meters.begin().await?;
        Ok(meters)
    }

    /// Reads all meters.
    pub(super) async fn begin(&self) -> Result<Marks, Failure> {
        let mut readings = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            readings.push(node.read().await?);
        }
        let named: Result<Vec<_>, Failure> = self.args.pid.iter().map(Watched::begin).collect();
        Ok(Marks {
            processes: named?.into_iter().chain(Watched::begin_self()).collect(),
            readings,
        })
    }

    /// Reads them again. What cannot be read any more is noted: the rest of the
    /// figures is none the worse.
    pub(super) async fn end(&self, marks: &Marks) -> Used {
        let mut used = Used::default();
        for process in &marks.processes {
            match process.used_us() {
                Some(us) => used.processes.push(Cpu {
                    name: process.name.clone(),
                    pid: process.pid,
                    us,
                }),
                None => used.notes.push(format!(
                    "the process {} ({}) ended while it was measured",
                    process.pid, process.name
                )),
            }
        }
        for (node, before) in self.nodes.iter().zip(&marks.readings) {
            let address = node.authority().to_owned();
            match node.read().await.map(|now| now.since(before)) {
                Ok(Some(spent)) => used.nodes.push(NodeSpent { address, spent }),
                Ok(None) => used.notes.push(format!(
                    "the Redis server {address} was started anew, or its counters were reset, \
                     while it was measured"
                )),
                Err(error) => used.notes.push(error.to_string()),
            }
        }
        used
    }

    /// Measures the other way of selling, if it was asked for.
    pub(super) async fn compare(&self, control: &Control) -> Result<Option<NaiveRun>, Failure> {
        let (Some(_), Some(node)) = (self.args.compare, self.nodes.first()) else {
            return Ok(None);
        };
        if control.is_interrupted() {
            return Ok(None);
        }
        let naive = Naive {
            callers: self.args.naive_callers,
            warm_up: NAIVE_WARM_UP,
            duration: self.args.naive_duration,
        };
        Ok(run_naive(node, &naive, control.interrupted()).await?)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Address { .. } => Self::usage(error.to_string()),
            _ => Self::local(error.to_string()),
        }
    }
}
