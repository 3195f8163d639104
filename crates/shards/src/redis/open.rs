//! Opening a store: reach it, look whether it is fit for what it promises, and
//! read all guards. ⚔ None means a new store, made only when told so; some
//! missing are losses.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;

use super::checks::{self, Checked};
use super::connect::Connector;
use super::error::OpenError;
use super::fault::Fault;
use super::keys;
use super::link::{Link, read_clock};
use super::options::{Acknowledge, Options};
use super::script::{Call, Incarnation, Ran, What};
use super::survey::{Endpoint, Node};
use super::topology::{ask_nodes, owners};
use crate::hash::FingerprintKey;
use crate::ids::{STRIPES, StripeNo};
use crate::machine::{Stamp, StoreIdentity};
use crate::rules::{Rule, holds};
use crate::time::Millis;

/// Longest wait for any node to answer.
const REACH_TIME_MAX: Duration = Duration::from_secs(10);
/// Longest wait for the rest once some answer.
const REACH_REST_TIME_MAX: Duration = Duration::from_secs(3);
/// What making a guard counts as.
const FRESH_SEQ: u64 = 1;
const ATTEMPT_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// A store that was reached and looked at.
pub(super) struct Opened {
    pub identity: StoreIdentity,
    pub acknowledge: Acknowledge,
    pub warnings: Vec<String>,
    /// Nodes of the cluster; of a single server that one.
    pub known: Vec<Endpoint>,
    /// The master of each stripe.
    pub owners: Vec<Option<Endpoint>>,
    /// ⚔ Stripes without a guard, of a store that has others.
    pub lost: Vec<StripeNo>,
}

/// The masters at the time of the start, and their stripes.
struct Reached {
    known: Vec<Endpoint>,
    links: BTreeMap<Endpoint, Link>,
    owners: Vec<Option<Endpoint>>,
}

/// A guard as it was found.
struct Found {
    identity: StoreIdentity,
    used: bool,
}

pub(super) async fn open(options: &Options, connector: &Connector) -> Result<Opened, OpenError> {
    let reached = reach(options, connector).await?;
    for (endpoint, link) in &reached.links {
        let cluster = options.address.cluster;
        if let Some(what) = checks::impossible(endpoint, &link.survey.info, cluster) {
            return Err(OpenError::Unusable(what));
        }
    }
    let (acknowledge, warnings) = reached.check(options).await?;
    let (identity, lost) = reached.identity(options, acknowledge).await?;
    Ok(Opened {
        identity,
        acknowledge,
        warnings,
        known: reached.known,
        owners: reached.owners,
        lost,
    })
}

/// Connects to all masters; goes on with some if the others do not answer.
async fn reach(options: &Options, connector: &Connector) -> Result<Reached, OpenError> {
    let begun = read_clock();
    let mut seeds: Vec<Endpoint> = options
        .address
        .nodes
        .iter()
        .map(|(host, port)| Endpoint {
            host: host.clone(),
            port: *port,
        })
        .collect();
    loop {
        let attempt = attempt(options, connector, &mut seeds).await;
        let passed = read_clock().duration_since(begun);
        match attempt {
            Ok(reached) => {
                let all = reached.owners.iter().all(|owner| {
                    let link = |owner: &Endpoint| reached.links.contains_key(owner);
                    owner.as_ref().is_some_and(link)
                });
                if all || passed > REACH_REST_TIME_MAX {
                    return Ok(reached);
                }
            }
            Err(cause) if passed > REACH_TIME_MAX || is_final(&cause) => {
                return Err(OpenError::Unreachable {
                    address: options.address.to_string(),
                    cause,
                });
            }
            Err(cause) => tracing::info!(cause, "waiting for the store"),
        }
        super::pause(ATTEMPT_AGAIN_AFTER).await;
    }
}

/// Waiting does not mend it.
fn is_final(cause: &str) -> bool {
    ["WRONGPASS", "NOAUTH", "NOPERM"]
        .iter()
        .any(|code| cause.contains(code))
}

async fn attempt(
    options: &Options,
    connector: &Connector,
    known: &mut Vec<Endpoint>,
) -> Result<Reached, String> {
    // Read with the strictest look at replicas: what is asked of it is decided
    // when all are known.
    let open = |endpoint: Endpoint| async move {
        let opened = Link::open(connector, &endpoint, Acknowledge::Replicated).await;
        (endpoint, opened)
    };
    if !options.address.cluster {
        let (endpoint, opened) = open(known[0].clone()).await;
        let link = opened.map_err(|fault| fault.to_string())?;
        link_is_master(&link)?;
        return Ok(Reached {
            known: vec![endpoint.clone()],
            owners: vec![Some(endpoint.clone()); usize::from(STRIPES)],
            links: BTreeMap::from([(endpoint, link)]),
        });
    }
    let nodes = ask_any(connector, known).await?;
    for node in nodes.iter().filter(|node| node.known) {
        if !known.contains(&node.endpoint) {
            known.push(node.endpoint.clone());
        }
    }
    let owners = owners(&[nodes]);
    let mut masters: Vec<Endpoint> = owners.iter().flatten().cloned().collect();
    masters.sort_unstable();
    masters.dedup();
    let mut links = BTreeMap::new();
    let mut cause = "no node of the cluster serves slots".to_owned();
    for (endpoint, opened) in join_all(masters.into_iter().map(open)).await {
        match opened.map_err(|fault| fault.to_string()) {
            Ok(link) => match link_is_master(&link) {
                Ok(()) => {
                    links.insert(endpoint, link);
                }
                Err(why) => cause = format!("{endpoint}: {why}"),
            },
            Err(why) => cause = format!("{endpoint}: {why}"),
        }
    }
    if links.is_empty() {
        return Err(cause);
    }
    Ok(Reached {
        known: known.clone(),
        links,
        owners,
    })
}

fn link_is_master(link: &Link) -> Result<(), String> {
    link.is_itself()
        .map_err(|why| format!("{}: {why}", link.endpoint))
}

async fn ask_any(connector: &Connector, known: &[Endpoint]) -> Result<Vec<Node>, String> {
    let mut cause = String::new();
    for endpoint in known {
        let asked = async {
            let connection = connector.connect(endpoint).await?;
            ask_nodes(&connection, endpoint).await
        };
        match asked.await {
            Ok(nodes) => return Ok(nodes),
            // A server alone says so in its own words.
            Err(Fault::NotDone(text) | Fault::Unknown(text))
                if text.contains("cluster support") =>
            {
                return Err(format!(
                    "{endpoint} is not part of a cluster: say redis:// in place of redis-cluster://"
                ));
            }
            Err(fault) => cause = format!("{endpoint}: {fault}"),
        }
    }
    Err(cause)
}

impl Reached {
    /// What an acknowledgement waits for, and what is to be warned of.
    async fn check(&self, options: &Options) -> Result<(Acknowledge, Vec<String>), OpenError> {
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
        Err(OpenError::Unsafe(all_unsafe))
    }

    /// Who the store is, by its guards; of a new one, what it is made to be. And
    /// the stripes whose guards are missing.
    async fn identity(
        &self,
        options: &Options,
        acknowledge: Acknowledge,
    ) -> Result<(StoreIdentity, Vec<StripeNo>), OpenError> {
        let mut found: BTreeMap<StripeNo, Found> = BTreeMap::new();
        let mut missing = Vec::new();
        for stripe in StripeNo::all() {
            let Some(link) = self.link(stripe) else {
                continue;
            };
            match self.read(link, stripe).await? {
                Some(guard) => {
                    found.insert(stripe, guard);
                }
                None => missing.push(stripe),
            }
        }
        let address = || options.address.to_string();
        let Some(first) = found.values().next().map(|guard| guard.identity) else {
            if self.links.len() < self.masters() {
                return Err(OpenError::Unreachable {
                    address: address(),
                    cause: "some masters do not answer, and the others know no store".to_owned(),
                });
            }
            if !options.init {
                return Err(OpenError::NoStore { address: address() });
            }
            let identity = self.make(acknowledge).await?;
            return Ok((identity, Vec::new()));
        };
        if let Some((stripe, _)) = found.iter().find(|(_, guard)| guard.identity != first) {
            return Err(OpenError::Unusable(format!(
                "stripe {stripe} belongs to another store than the others"
            )));
        }
        // Nothing was ever done with it: somebody is making it, or was stopped.
        let fresh = found.values().all(|guard| !guard.used);
        if !missing.is_empty() && fresh && holds(Rule::MissingGuardIsALoss) {
            if !options.init {
                return Err(OpenError::HalfMade { address: address() });
            }
            let identity = self.make(acknowledge).await?;
            return Ok((identity, Vec::new()));
        }
        Ok((first, missing))
    }

    fn masters(&self) -> usize {
        let mut all: Vec<_> = self.owners.iter().collect();
        all.sort_unstable();
        all.dedup();
        all.len()
    }

    fn link(&self, stripe: StripeNo) -> Option<&Link> {
        let owner = self.owners.get(usize::from(stripe.0))?.as_ref()?;
        self.links.get(owner)
    }

    /// Writes all guards. ⚔ The first stripe's decides who the store is: of two
    /// servers that make one at once both go by it.
    async fn make(&self, acknowledge: Acknowledge) -> Result<StoreIdentity, OpenError> {
        let mut identity = StoreIdentity {
            store_id: rand::random(),
            stripes: STRIPES,
            fingerprint_key: FingerprintKey(rand::random()),
        };
        tracing::info!("making a new store");
        for stripe in StripeNo::all() {
            let Some(link) = self.link(stripe) else {
                continue;
            };
            let init = What::Init {
                identity: &identity,
                frozen: None,
            };
            let call = call(link, stripe, identity.store_id, init);
            let flushed = link.run(vec![call.encode()], acknowledge).await;
            let done = flushed.answers.first().is_some_and(Result::is_ok);
            if let Err(why) = flushed.acknowledged.and(if done {
                Ok(())
            } else {
                Err(format!("{:?}", flushed.answers))
            }) {
                return Err(OpenError::Unusable(format!(
                    "stripe {stripe} could not be made: {}: {why}",
                    link.endpoint
                )));
            }
            if stripe.0 == 0
                && let Some(there) = self.read(link, stripe).await?
            {
                identity = there.identity;
            }
        }
        Ok(identity)
    }

    async fn read(&self, link: &Link, stripe: StripeNo) -> Result<Option<Found>, OpenError> {
        let call = call(link, stripe, [0; 16], What::Read);
        let flushed = link.run(vec![call.encode()], Acknowledge::Local).await;
        let unusable = |why: String| {
            OpenError::Unusable(format!(
                "{}, key holdfast:{}: {why}",
                link.endpoint,
                keys::tag(stripe)
            ))
        };
        let answer = match flushed.answers.into_iter().next() {
            Some(Ok(answer)) => answer,
            // No guard is what this is.
            Some(Err(Fault::WrongType(_))) => return Ok(None),
            Some(Err(fault)) => return Err(unusable(fault.to_string())),
            None => return Err(unusable("no answer".to_owned())),
        };
        match call.decode(&answer) {
            Ok(Ran::Guard { identity, seen, .. }) => Ok(Some(Found {
                identity,
                used: seen.seq > FRESH_SEQ,
            })),
            Ok(Ran::NoGuard) => Ok(None),
            Ok(other) => Err(unusable(format!("{other:?}"))),
            Err(garbled) => Err(unusable(format!(
                "{garbled}; perhaps a newer version of Holdfast wrote it"
            ))),
        }
    }
}

fn call<'a>(link: &Link, stripe: StripeNo, store_id: [u8; 16], what: What<'a>) -> Call<'a> {
    let incarnation: Incarnation = link.incarnation;
    Call {
        stripe,
        store_id,
        incarnation,
        known: 0,
        known_releases: 0,
        stamp: Stamp {
            // The master's own time, so that no clock can be wrong about it.
            now: Millis(link.survey.clock.says.0),
            full: false,
            freeze_id: rand::random(),
        },
        skew_max_ms: u64::from(u32::MAX),
        what,
    }
}
