//! Opening a store: reach it, look whether it is fit for what it promises, and
//! read all guards. ⚔ None means a new store, made only when told so; some
//! missing are losses.

mod guards;

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;

use super::checks::{self, Checked};
use super::clocks::Reading;
use super::connect::Connector;
use super::error::OpenError;
use super::link::{Link, read_clock};
use super::options::{Acknowledge, Options};
use super::survey::{Endpoint, Node};
use super::topology::{ask_nodes, owners};
use crate::ids::{STRIPES, StripeNo};
use crate::machine::StoreIdentity;

/// Longest wait for a store that can be opened.
const REACH_TIME_MAX: Duration = Duration::from_secs(10);
/// Longest wait for the rest once some answer.
const REACH_REST_TIME_MAX: Duration = Duration::from_secs(3);
const ATTEMPT_AGAIN_AFTER: Duration = Duration::from_millis(200);
/// Nodes that are asked about the cluster at once: few connections, and a big
/// cluster that hangs is gone through in a few seconds.
const ASKED_AT_ONCE: usize = 8;

/// A store that was reached and looked at.
pub(super) struct Opened {
    pub identity: StoreIdentity,
    pub acknowledge: Acknowledge,
    pub warnings: Vec<String>,
    /// Nodes of the cluster; of a single server that one.
    pub known: Vec<Endpoint>,
    /// What the masters' clocks said.
    pub clocks: Vec<(Endpoint, Reading)>,
    /// The master of each stripe.
    pub owners: Vec<Option<Endpoint>>,
    /// ⚔ Stripes without a guard, of a store that has others.
    pub lost: Vec<StripeNo>,
}

/// The masters at the time of the start, and their stripes.
struct Reached {
    links: BTreeMap<Endpoint, Link>,
    owners: Vec<Option<Endpoint>>,
    /// What keeps the rest, if these are not all.
    cause: Option<String>,
}

/// Why an attempt to open a store failed.
enum Failed {
    /// Waiting does not mend it.
    ForGood(OpenError),
    /// Nobody who matters could be asked.
    Unreached(String),
    /// It was reached, and did not go on.
    Unready(String),
}

impl From<OpenError> for Failed {
    fn from(error: OpenError) -> Self {
        Self::ForGood(error)
    }
}

/// Opens it, or says why not; waits for nodes that start or fail over.
pub(super) async fn open(options: &Options, connector: &Connector) -> Result<Opened, OpenError> {
    let begun = read_clock();
    let seed = |(host, port): &(String, u16)| Endpoint {
        host: host.clone(),
        port: *port,
    };
    let mut known: Vec<Endpoint> = options.address.nodes.iter().map(seed).collect();
    loop {
        let waits_for_all = read_clock().duration_since(begun) < REACH_REST_TIME_MAX;
        let failed = match attempt(options, connector, &mut known, waits_for_all).await {
            Ok(opened) => return Ok(opened),
            Err(failed) => failed,
        };
        let is_over = read_clock().duration_since(begun) > REACH_TIME_MAX;
        match failed {
            Failed::ForGood(error) => return Err(error),
            Failed::Unreached(cause) if is_over => {
                return Err(OpenError::Unreachable {
                    address: options.address.to_string(),
                    cause,
                });
            }
            Failed::Unready(cause) if is_over => return Err(OpenError::Unusable(cause)),
            Failed::Unreached(cause) | Failed::Unready(cause) => {
                // Not worth a line at each attempt: after the last one it is told in
                // the one sentence that the start ends with.
                tracing::debug!(cause, "waiting for the store");
            }
        }
        super::pause(ATTEMPT_AGAIN_AFTER).await;
    }
}

/// `waits_for_all`: it does not go on with some masters only.
async fn attempt(
    options: &Options,
    connector: &Connector,
    known: &mut Vec<Endpoint>,
    waits_for_all: bool,
) -> Result<Opened, Failed> {
    let mut reached = reach(options, connector, known).await?;
    if waits_for_all && let Some(cause) = &reached.cause {
        return Err(Failed::Unready(cause.clone()));
    }
    let (acknowledge, warnings) = reached.check(options).await?;
    let (identity, lost) = reached
        .identity(options, acknowledge, waits_for_all)
        .await?;
    let clocks = reached.links.iter();
    let clocks = clocks.map(|(endpoint, link)| (endpoint.clone(), link.survey.clock));
    Ok(Opened {
        identity,
        acknowledge,
        warnings,
        clocks: clocks.collect(),
        known: known.clone(),
        owners: reached.owners,
        lost,
    })
}

/// Connects to all masters; those that answer are enough.
async fn reach(
    options: &Options,
    connector: &Connector,
    known: &mut Vec<Endpoint>,
) -> Result<Reached, Failed> {
    let owners = if options.address.cluster {
        let nodes = ask_any(connector, known).await?;
        for node in nodes.iter().filter(|node| node.known) {
            if !known.contains(&node.endpoint) {
                known.push(node.endpoint.clone());
            }
        }
        owners(&[nodes])
    } else {
        vec![known.first().cloned(); usize::from(STRIPES)]
    };
    let mut masters: Vec<Endpoint> = owners.iter().flatten().cloned().collect();
    masters.sort_unstable();
    masters.dedup();
    // Read with the strictest look at replicas: what is asked of it is decided
    // when all are known.
    let open = |endpoint: Endpoint| async move {
        let opened = Link::open(connector, &endpoint, Acknowledge::Replicated).await;
        (endpoint, opened)
    };
    let mut links = BTreeMap::new();
    let mut refused = None;
    let is_vacant = owners.iter().any(Option::is_none);
    let mut cause = is_vacant.then(|| "some slots are served by no node of the cluster".to_owned());
    for (endpoint, opened) in join_all(masters.into_iter().map(open)).await {
        let link = match opened {
            Ok(link) => link,
            Err(fault) => {
                cause = Some(format!("{endpoint}: {fault}"));
                refused = refused.or(checks::refused(&endpoint, &fault));
                continue;
            }
        };
        let cluster = options.address.cluster;
        if let Some(what) = checks::impossible(&endpoint, &link.survey.info, cluster) {
            return Err(Failed::ForGood(OpenError::Unusable(what)));
        }
        match link.is_itself() {
            Ok(()) => {
                links.insert(endpoint, link);
            }
            Err(why) => cause = Some(format!("{endpoint}: {why}")),
        }
    }
    if links.is_empty() {
        if let Some(what) = refused {
            return Err(Failed::ForGood(OpenError::Unusable(what)));
        }
        let cause = cause.unwrap_or_else(|| "no node of the cluster serves slots".to_owned());
        return Err(Failed::Unreached(cause));
    }
    Ok(Reached {
        links,
        owners,
        cause,
    })
}

/// What some node says of the cluster. Several are asked at once, since one that
/// hangs costs a second.
async fn ask_any(connector: &Connector, known: &[Endpoint]) -> Result<Vec<Node>, Failed> {
    let mut cause = "no node is named".to_owned();
    let mut refused = None;
    for some in known.chunks(ASKED_AT_ONCE) {
        let ask = async |endpoint: &Endpoint| {
            let asked = async {
                let connection = connector.connect(endpoint).await?;
                ask_nodes(&connection, endpoint).await
            };
            (endpoint.clone(), asked.await)
        };
        let mut asked: FuturesUnordered<_> = some.iter().map(ask).collect();
        while let Some((endpoint, answer)) = asked.next().await {
            match answer {
                Ok(nodes) => return Ok(nodes),
                Err(fault) => {
                    cause = format!("{endpoint}: {fault}");
                    refused = refused.or(checks::refused(&endpoint, &fault));
                }
            }
        }
    }
    Err(match refused {
        Some(what) => Failed::ForGood(OpenError::Unusable(what)),
        None => Failed::Unreached(cause),
    })
}

impl Reached {
    /// What an acknowledgement waits for, and what is to be warned of.
    async fn check(&self, options: &Options) -> Result<(Acknowledge, Vec<String>), Failed> {
        let replicas = |link: &Link| {
            let nodes = &link.survey.nodes;
            let me = nodes.iter().find(|node| node.is_myself);
            let listed = me.map(|me| {
                let follows = |node: &&Node| node.follows.as_ref() == Some(&me.id) && !node.failed;
                nodes.iter().filter(follows).count()
            });
            u32::try_from(listed.unwrap_or(link.survey.info.attached.len())).unwrap_or(u32::MAX)
        };
        let everywhere = self.links.values().all(|link| replicas(link) > 0);
        let acknowledge = match options.acknowledge {
            Some(acknowledge) => acknowledge,
            None if options.address.cluster && everywhere => Acknowledge::Replicated,
            None => Acknowledge::Local,
        };
        let mut all_unsafe = Vec::new();
        let mut warnings = Vec::new();
        if acknowledge == Acknowledge::Local {
            warnings.push(
                "an acknowledgement waits for no replica: what a master acknowledged is lost with it"
                    .to_owned(),
            );
        }
        for (endpoint, link) in &self.links {
            let checked = Checked {
                endpoint,
                info: &link.survey.info,
                settings: link.settings(checks::SETTINGS).await,
                replicas: replicas(link),
            };
            let (not_safe, doubtful) = checks::unsafe_settings(&checked, acknowledge);
            all_unsafe.extend(not_safe);
            warnings.extend(doubtful);
        }
        if all_unsafe.is_empty() || options.accept_unsafe {
            warnings.splice(0..0, all_unsafe);
            return Ok((acknowledge, warnings));
        }
        Err(OpenError::Unsafe(all_unsafe).into())
    }
}
