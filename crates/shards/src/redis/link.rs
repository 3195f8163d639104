//! A connection to one master with what was read on it: who the process is, its
//! replicas, its memory, its clock. ⚔ An acknowledgement counts only together
//! with a list of replicas that was read on the same connection, not long ago.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fred::types::Value;

use super::checks;
use super::clocks::Reading;
use super::connect::{Command, Connection, Connector};
use super::fault::Fault;
use super::options::Acknowledge;
use super::script::{Arguments, Incarnation, script};
use super::survey::{Endpoint, Info, Node, Required, parse_nodes, required};
use crate::rules::{Rule, holds};
use crate::time::Millis;

/// How often a node is asked about itself.
pub(super) const SURVEY_EVERY: Duration = Duration::from_millis(500);
/// ⚔ Older than this, what it said acknowledges nothing.
const SURVEY_AGE_MAX: Duration = Duration::from_secs(1);
/// Longest wait for what it says of itself.
const SURVEY_TIME_MAX: Duration = Duration::from_millis(500);
/// How long the node waits for its replicas.
const WAIT_TIME_MAX: Duration = Duration::from_millis(200);
/// Longest wait for a flush, its WAIT included.
const FLUSH_TIME_MAX: Duration = Duration::from_millis(500);

pub(super) struct Link {
    pub endpoint: Endpoint,
    connection: Connection,
    acknowledge: Acknowledge,
    /// ⚔ As read before the first script was sent here.
    pub incarnation: Incarnation,
    pub survey: Survey,
}

/// What a node said of itself.
pub(super) struct Survey {
    pub at: Instant,
    pub info: Info,
    /// Empty of a single server.
    pub nodes: Vec<Node>,
    /// Its cluster serves; a single server does by itself.
    pub is_served: bool,
    pub required: Required,
    pub clock: Reading,
}

/// What became of a flush.
pub(super) struct Flushed {
    /// One for each script.
    pub answers: Vec<Result<Bytes, Fault>>,
    /// Whether they are as durable as promised; if not, why.
    pub acknowledged: Result<(), String>,
}

impl Link {
    /// Connects, reads who is there, and hands it the script.
    pub(super) async fn open(
        connector: &Connector,
        endpoint: &Endpoint,
        acknowledge: Acknowledge,
    ) -> Result<Self, Fault> {
        let connection = connector.connect(endpoint).await?;
        let survey = Survey::read(&connection, endpoint, acknowledge).await?;
        let link = Self {
            endpoint: endpoint.clone(),
            connection,
            acknowledge,
            incarnation: survey.info.incarnation,
            survey,
        };
        let info = &link.survey.info;
        // One that is too old would only say that it cannot read the script.
        if info.is_master && !info.loading && !checks::is_too_old(info) {
            link.load_script().await?;
        }
        Ok(link)
    }

    /// Asks a node for the settings that matter; `None` where it does not say.
    pub(super) async fn settings(&self, names: &[&str]) -> Option<Vec<(String, String)>> {
        let words = std::iter::once("GET").chain(names.iter().copied());
        let command = Command::new("CONFIG", words);
        let answer = self
            .connection
            .ask_one(command, SURVEY_TIME_MAX)
            .await
            .ok()?;
        let flat: Vec<String> = answer.convert().ok()?;
        let pairs = flat.chunks_exact(2);
        Some(
            pairs
                .map(|pair| (pair[0].clone(), pair[1].clone()))
                .collect(),
        )
    }

    pub(super) async fn load_script(&self) -> Result<(), Fault> {
        let command = Command::new("SCRIPT", ["LOAD", script()]);
        self.connection.ask_one(command, FLUSH_TIME_MAX).await?;
        Ok(())
    }

    /// Asks it about itself, if that is due.
    pub(super) async fn keep_up(&mut self) -> Result<(), Fault> {
        if read_clock().duration_since(self.survey.at) < SURVEY_EVERY {
            return Ok(());
        }
        self.survey = Survey::read(&self.connection, &self.endpoint, self.acknowledge).await?;
        Ok(())
    }

    /// It was closed: nothing is sent on it any more.
    pub(super) fn is_over(&self) -> bool {
        self.connection.is_over()
    }

    /// Whether it is the process that it was, and a master.
    pub(super) fn is_itself(&self) -> Result<(), String> {
        let info = &self.survey.info;
        if !info.is_master {
            Err("it is a replica now".to_owned())
        } else if info.loading {
            Err("it is loading its data".to_owned())
        } else if !self.survey.is_served {
            // Known before it is asked: a refusal would end the connection, and
            // take the answers beside it along.
            Err("its cluster is down: CLUSTER INFO says so".to_owned())
        } else if info.incarnation != self.incarnation {
            Err("it is another incarnation now".to_owned())
        } else {
            Ok(())
        }
    }

    /// Runs the script several times, as one pipeline that ends in one WAIT.
    pub(super) async fn run(&self, runs: Vec<Arguments>, acknowledge: Acknowledge) -> Flushed {
        let scripts = runs.len();
        let needed = self.survey.required.replicas;
        let waits = acknowledge != Acknowledge::Local;
        let mut commands: Vec<_> = runs.into_iter().map(evalsha).collect();
        if waits {
            let time = WAIT_TIME_MAX.as_millis().to_string();
            commands.push(Command::new("WAIT", [needed.to_string(), time]));
        }
        let mut answers = self.connection.ask(commands, scripts, FLUSH_TIME_MAX).await;
        let counted = if waits { answers.pop() } else { None };
        let acknowledged = if waits {
            let age = || read_clock().duration_since(self.survey.at);
            is_acknowledged(counted, needed, age)
        } else {
            Ok(())
        };
        let bytes = |value: Value| {
            value
                .into_bytes()
                .ok_or_else(|| Fault::Unknown("the script answered with no bytes".to_owned()))
        };
        Flushed {
            answers: answers
                .into_iter()
                .map(|answer| answer.and_then(bytes))
                .collect(),
            acknowledged,
        }
    }
}

/// ⚔ Only if at least as many replicas have it as could be elected, by a list
/// that is not old when the answer is there.
fn is_acknowledged(
    counted: Option<Result<Value, Fault>>,
    needed: u32,
    age: impl FnOnce() -> Duration,
) -> Result<(), String> {
    if !holds(Rule::WaitDecides) {
        return Ok(());
    }
    let counted = match counted {
        Some(Ok(value)) => value.as_u64().unwrap_or(0),
        Some(Err(fault)) => return Err(fault.to_string()),
        None => 0,
    };
    if counted < u64::from(needed) {
        return Err(format!(
            "{counted} of the {needed} replicas needed have it so far"
        ));
    }
    let age = age();
    if age > SURVEY_AGE_MAX && holds(Rule::ListsAreFresh) {
        return Err(format!("its list of replicas is {age:?} old"));
    }
    Ok(())
}

impl Survey {
    async fn read(
        connection: &Connection,
        endpoint: &Endpoint,
        acknowledge: Acknowledge,
    ) -> Result<Self, Fault> {
        let at = read_clock();
        let sections = ["server", "replication", "memory", "persistence", "cluster"];
        let info = Command::new("INFO", sections);
        let time = Command::new("TIME", [""; 0]);
        let asked = vec![info, time];
        let mut answers = connection.ask(asked, 0, SURVEY_TIME_MAX).await.into_iter();
        let mut next = || answers.next().unwrap_or(Ok(Value::Null));
        let info = Info::parse(&text(next()?)).map_err(Fault::NotDone)?;
        let time: Vec<i64> = next()?.convert().unwrap_or_default();
        let &[seconds, micros] = &time[..] else {
            return Err(Fault::NotDone("it does not tell the time".to_owned()));
        };
        let (nodes, is_served) = if info.in_cluster {
            let asked = ["NODES", "INFO"].map(|what| Command::new("CLUSTER", [what]));
            let answers = connection.ask(asked.into(), 0, SURVEY_TIME_MAX).await;
            let mut answers = answers.into_iter();
            let mut next = || answers.next().unwrap_or(Ok(Value::Null));
            let nodes = parse_nodes(&text(next()?), endpoint);
            if !nodes.iter().any(|node| node.is_myself) {
                return Err(Fault::NotDone("it does not list itself".to_owned()));
            }
            (nodes, text(next()?).contains("cluster_state:ok"))
        } else {
            (Vec::new(), true)
        };
        Ok(Self {
            at,
            required: required(acknowledge, &info, &nodes),
            clock: Reading {
                at,
                says: Millis(seconds.saturating_mul(1_000).saturating_add(micros / 1_000)),
            },
            info,
            nodes,
            is_served,
        })
    }
}

/// What nodes know the script by.
static SHA1: LazyLock<String> = LazyLock::new(|| fred::util::sha1_hash(script()));

fn evalsha(run: Arguments) -> Command {
    let Arguments { keys, args } = run;
    let count = keys.len().to_string();
    let head = [Value::from(SHA1.as_str()), Value::from(count)];
    let rest = keys.into_iter().chain(args).map(Value::Bytes);
    Command::new("EVALSHA", head.into_iter().chain(rest))
}

fn text(value: Value) -> String {
    value.into_string().unwrap_or_default()
}

pub(super) fn read_clock() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "ages of what nodes said, and paces; instants of the store come from its clocks"
    )]
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wait_counted_decides_by_a_list_that_is_fresh() {
        let acknowledged = |counted, age_ms| {
            let counted: Option<Result<i64, Fault>> = counted;
            let counted = counted.map(|counted| counted.map(Value::from));
            is_acknowledged(counted, 2, || Duration::from_millis(age_ms))
        };
        for counted in [2, 3] {
            assert_eq!(acknowledged(Some(Ok(counted)), 1_000), Ok(()));
            assert!(acknowledged(Some(Ok(counted)), 1_001).is_err());
        }
        let unblocked = Fault::Unknown("UNBLOCKED force unblock".to_owned());
        for counted in [None, Some(Ok(1)), Some(Ok(-1)), Some(Err(unblocked))] {
            assert!(acknowledged(counted, 0).is_err());
        }
    }
}
