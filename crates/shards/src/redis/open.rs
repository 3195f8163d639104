//! Opening a store: reach it, look whether it is fit for what it promises, and
//! read all guards. ⚔ None means a new store, made only when told so; some
//! missing are losses.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;

use super::checks::{self, Checked};
use super::clocks::Reading;
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

/// Longest wait for a store that can be opened.
const REACH_TIME_MAX: Duration = Duration::from_secs(10);
/// Longest wait for the rest once some answer.
const REACH_REST_TIME_MAX: Duration = Duration::from_secs(3);
/// What making a guard counts as.
const FRESH_SEQ: u64 = 1;
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

/// What was found of a store's guards.
struct Guards {
    found: BTreeMap<StripeNo, Found>,
    /// Stripes that have none.
    missing: Vec<StripeNo>,
    /// Why some could not be read.
    unread: Option<String>,
}

impl Guards {
    /// Whether somebody has worked with the store.
    fn are_used(&self) -> bool {
        self.found.values().any(|guard| guard.used)
    }
}

/// A guard as it was found.
struct Found {
    identity: StoreIdentity,
    used: bool,
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

    /// Who the store is, by its guards; of a new one, what it is made to be. And
    /// the stripes whose guards are missing.
    async fn identity(
        &mut self,
        options: &Options,
        acknowledge: Acknowledge,
        waits_for_all: bool,
    ) -> Result<(StoreIdentity, Vec<StripeNo>), Failed> {
        let Guards {
            found,
            missing,
            unread,
        } = self.read_all(waits_for_all).await?;
        let address = || options.address.to_string();
        let Some(first) = found.values().next().map(|guard| guard.identity) else {
            if let Some(why) = unread {
                let cause = format!("a part of it knows no store, the rest does not answer: {why}");
                return Err(Failed::Unready(cause));
            }
            if !options.init {
                return Err(OpenError::NoStore { address: address() }.into());
            }
            let identity = self.make(acknowledge, None).await?;
            return Ok((identity, Vec::new()));
        };
        if let Some((stripe, _)) = found.iter().find(|(_, guard)| guard.identity != first) {
            return Err(Failed::ForGood(OpenError::Unusable(format!(
                "stripe {stripe} belongs to another store than the others"
            ))));
        }
        // Nothing was ever done with it: somebody is making it, or was stopped.
        let fresh = found.values().all(|guard| !guard.used);
        if !missing.is_empty() && fresh && holds(Rule::MissingGuardIsALoss) {
            if !options.init {
                return Err(OpenError::HalfMade { address: address() }.into());
            }
            if let Some(why) = unread {
                let cause = format!("it cannot be completely made: {why}");
                return Err(Failed::Unready(cause));
            }
            let identity = self.make(acknowledge, Some(first)).await?;
            return Ok((identity, Vec::new()));
        }
        Ok((first, missing))
    }

    /// All guards, and the stripes that have none. ⚔ Who makes a store writes
    /// every guard before it uses any: one that is still missing when it is read
    /// after another one was seen used is lost, and not about to be written.
    async fn read_all(&self, waits_for_all: bool) -> Result<Guards, Failed> {
        let mut guards = Guards {
            found: BTreeMap::new(),
            missing: StripeNo::all().collect(),
            unread: self.cause.clone(),
        };
        loop {
            let was_used = guards.are_used();
            let mut still = Vec::new();
            for stripe in std::mem::take(&mut guards.missing) {
                let Some(link) = self.link(stripe) else {
                    continue;
                };
                match self.read(link, stripe).await {
                    Ok(Some(guard)) => {
                        guards.found.insert(stripe, guard);
                    }
                    Ok(None) => still.push(stripe),
                    // As one whose master is away: perhaps its slot is on its way.
                    Err(Failed::Unready(why) | Failed::Unreached(why)) => {
                        if waits_for_all {
                            return Err(Failed::Unready(why));
                        }
                        guards.unread = Some(why);
                    }
                    Err(failed) => return Err(failed),
                }
            }
            guards.missing = still;
            if guards.missing.is_empty() || was_used == guards.are_used() {
                return Ok(guards);
            }
        }
    }

    fn link(&self, stripe: StripeNo) -> Option<&Link> {
        let owner = self.owners.get(usize::from(stripe.0))?.as_ref()?;
        self.links.get(owner)
    }

    /// Writes all guards. ⚔ The first stripe's decides who the store is: of two
    /// servers that make one at once both go by it. What is there of one that
    /// was half made decides likewise.
    async fn make(
        &mut self,
        acknowledge: Acknowledge,
        begun: Option<StoreIdentity>,
    ) -> Result<StoreIdentity, Failed> {
        let mut identity = begun.unwrap_or_else(|| StoreIdentity {
            store_id: rand::random(),
            stripes: STRIPES,
            fingerprint_key: FingerprintKey(rand::random()),
        });
        tracing::info!("making a new store");
        for stripe in StripeNo::all() {
            self.make_guard(stripe, &identity, acknowledge).await?;
            let Some(link) = self.link(stripe) else {
                continue;
            };
            if stripe.0 == 0
                && let Some(there) = self.read(link, stripe).await?
            {
                identity = there.identity;
            }
        }
        Ok(identity)
    }

    /// Writes one guard, or leaves the one that is there.
    async fn make_guard(
        &mut self,
        stripe: StripeNo,
        identity: &StoreIdentity,
        acknowledge: Acknowledge,
    ) -> Result<(), Failed> {
        let owner = self.owners.get(usize::from(stripe.0));
        let link = owner.and_then(|owner| self.links.get_mut(owner.as_ref()?));
        let Some(link) = link else { return Ok(()) };
        // ⚔ By a list that is old nothing is acknowledged, and so many stripes
        // take a while.
        let kept_up = link.keep_up().await;
        let init = What::Init {
            identity,
            frozen: None,
        };
        let call = call(link, stripe, identity.store_id, init);
        let flushed = link.run(vec![call.encode()], acknowledge).await;
        let ran = match flushed.answers.into_iter().next() {
            Some(answer) => answer.map(|answer| call.decode(&answer)),
            None => Err(Fault::Unknown("no answer".to_owned())),
        };
        let fault = match ran {
            Ok(Ok(Ran::Taken(_))) => flushed.acknowledged.err().map(Fault::Unknown),
            // Another server's first stripe is told from another store by what
            // all others have to be.
            Ok(Ok(Ran::Foreign { .. })) if stripe.0 == 0 => None,
            Ok(Ok(Ran::Foreign { .. })) => {
                return Err(Failed::ForGood(OpenError::Unusable(format!(
                    "stripe {stripe} belongs to another store than the others"
                ))));
            }
            Ok(Ok(other)) => Some(Fault::Unknown(format!("{other:?}"))),
            Ok(Err(garbled)) => Some(Fault::Unknown(garbled.to_string())),
            Err(fault) => Some(kept_up.err().unwrap_or(fault)),
        };
        match fault {
            None => Ok(()),
            Some(fault) => Err(match checks::refused(&link.endpoint, &fault) {
                Some(what) => Failed::ForGood(OpenError::Unusable(what)),
                None => Failed::Unready(format!(
                    "{}: stripe {stripe} could not be made: {fault}",
                    link.endpoint
                )),
            }),
        }
    }

    async fn read(&self, link: &Link, stripe: StripeNo) -> Result<Option<Found>, Failed> {
        let call = call(link, stripe, [0; 16], What::Read);
        let flushed = link.run(vec![call.encode()], Acknowledge::Local).await;
        let about = |why: String| {
            format!(
                "{}, key holdfast:{{{}}}:guard: {why}",
                link.endpoint,
                keys::tag(stripe)
            )
        };
        let unusable = |why| Failed::ForGood(OpenError::Unusable(about(why)));
        let answer = match flushed.answers.into_iter().next() {
            Some(Ok(answer)) => answer,
            // No guard is what this is.
            Some(Err(Fault::WrongType(_))) => return Ok(None),
            Some(Err(fault)) => {
                return Err(match checks::refused(&link.endpoint, &fault) {
                    Some(what) => Failed::ForGood(OpenError::Unusable(what)),
                    None => Failed::Unready(about(fault.to_string())),
                });
            }
            None => return Err(Failed::Unready(about("no answer".to_owned()))),
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
