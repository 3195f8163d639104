//! What all lanes of a store share, and what its callers see of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::{Notify, watch};

use super::clocks::{self, Disagree, Reading};
use super::connect::Connector;
use super::fence::Memory;
use super::lane::Lane;
use super::link::read_clock;
use super::options::{Acknowledge, Options};
use super::survey::{Endpoint, Node};
use crate::ids::{STRIPES, StripeNo};
use crate::machine::StoreIdentity;
use crate::placement::Masters;
use crate::store::{Clock, Listeners, StoreError, WallClock};
use crate::time::Millis;
use crate::waiting::Waiting;

pub(super) struct Shared {
    pub options: Options,
    pub connector: Connector,
    pub acknowledge: Acknowledge,
    pub identity: StoreIdentity,
    routes: watch::Sender<Arc<Routes>>,
    stripes: Mutex<Vec<Watched>>,
    sights: Mutex<Sights>,
    time: Mutex<Time>,
    /// Something points to a change of the cluster.
    pub look_again: Notify,
    pub listeners: Listeners,
}

/// Which lane serves each stripe.
pub(super) struct Routes {
    /// In the order of their endpoints.
    pub lanes: Vec<Arc<Lane>>,
    /// By stripe, an index of `lanes`; `None` = nobody.
    pub of_stripe: Vec<Option<usize>>,
}

impl Routes {
    pub(super) fn nowhere() -> Self {
        Self {
            lanes: Vec::new(),
            of_stripe: vec![None; usize::from(STRIPES)],
        }
    }

    pub(super) fn lane(&self, stripe: StripeNo) -> Option<&Arc<Lane>> {
        let index = *self.of_stripe.get(usize::from(stripe.0))?;
        self.lanes.get(index?)
    }
}

/// What this server knows of a stripe.
#[derive(Clone, Default)]
pub(super) struct Watched {
    pub memory: Memory,
    /// ⚔ Set from the moment in which a loss was noticed until the guard is
    /// known to say so to everybody.
    pub suspect: Option<Suspect>,
    pub frozen: bool,
}

/// Why a stripe has to be frozen.
#[derive(Clone, Debug)]
pub(super) struct Suspect {
    pub freeze_id: u64,
    pub reason: String,
    /// There is no guard in which to say it: one must be written.
    pub no_guard: bool,
}

/// What nodes said of the cluster and of the time.
#[derive(Default)]
struct Sights {
    clusters: HashMap<Endpoint, (Instant, Vec<Node>)>,
    clocks: HashMap<Endpoint, Reading>,
}

/// Where the time comes from.
pub(super) enum Time {
    /// The masters' clocks.
    Masters(WallClock),
    /// This one alone.
    Given(Box<dyn Clock>),
}

impl Shared {
    pub(super) fn new(
        options: Options,
        connector: Connector,
        acknowledge: Acknowledge,
        identity: StoreIdentity,
        time: Time,
    ) -> Self {
        Self {
            options,
            connector,
            acknowledge,
            identity,
            routes: watch::Sender::new(Arc::new(Routes::nowhere())),
            stripes: Mutex::new(vec![Watched::default(); usize::from(STRIPES)]),
            sights: Mutex::default(),
            time: Mutex::new(time),
            look_again: Notify::new(),
            listeners: Listeners::default(),
        }
    }

    pub(super) fn routes(&self) -> Arc<Routes> {
        Arc::clone(&self.routes.borrow())
    }

    pub(super) fn set_routes(&self, routes: Routes) {
        self.routes.send_replace(Arc::new(routes));
    }

    /// Tells when they were looked at anew.
    pub(super) fn watch_routes(&self) -> watch::Receiver<Arc<Routes>> {
        self.routes.subscribe()
    }

    /// Hands an operation to the lane of its stripe.
    pub(super) fn push(&self, waiting: Waiting) {
        if let Some(lane) = self.routes().lane(waiting.stripe) {
            return lane.push(waiting);
        }
        let error = format!("no master serves stripe {} at the moment", waiting.stripe);
        waiting.answer(Err(StoreError::Unavailable(error)));
    }

    pub(super) fn masters(&self) -> Masters {
        let routes = self.routes();
        Masters::by(|stripe| {
            let index = routes.of_stripe[usize::from(stripe.0)].unwrap_or(0);
            u16::try_from(index).unwrap_or(0)
        })
    }

    /// What is known of a stripe, to be read or changed.
    pub(super) fn watched<T>(&self, stripe: StripeNo, with: impl FnOnce(&mut Watched) -> T) -> T {
        let mut stripes = lock(&self.stripes);
        match stripes.get_mut(usize::from(stripe.0)) {
            Some(watched) => with(watched),
            None => with(&mut Watched::default()),
        }
    }

    /// ⚔ Acknowledged work of this stripe must be gone: nothing is served from
    /// it until an operator decides.
    pub(super) fn suspect(&self, stripe: StripeNo, reason: &str, no_guard: bool) {
        self.watched(stripe, |watched| {
            let news = watched.suspect.is_none() && !watched.frozen;
            if news {
                tracing::error!(%stripe, reason, "acknowledged work may be missing: freezing the stripe");
            }
            if watched.suspect.is_none() {
                watched.suspect = Some(Suspect {
                    freeze_id: rand::random(),
                    reason: reason.to_owned(),
                    no_guard,
                });
            }
        });
    }

    /// Those that must be frozen, of these.
    pub(super) fn suspects(&self, of: impl Fn(StripeNo) -> bool) -> BTreeMap<StripeNo, Suspect> {
        let stripes = lock(&self.stripes);
        StripeNo::all()
            .zip(stripes.iter())
            .filter(|(stripe, _)| of(*stripe))
            .filter_map(|(stripe, watched)| Some((stripe, watched.suspect.clone()?)))
            .collect()
    }

    pub(super) fn frozen_stripes(&self) -> Vec<bool> {
        let is_frozen = |watched: &Watched| watched.frozen || watched.suspect.is_some();
        lock(&self.stripes).iter().map(is_frozen).collect()
    }

    /// What a node said of its cluster and its clock.
    pub(super) fn note_sights(&self, from: &Endpoint, at: Instant, nodes: &[Node], clock: Reading) {
        let mut sights = lock(&self.sights);
        sights.clocks.insert(from.clone(), clock);
        if !nodes.is_empty() {
            let sight = (at, nodes.to_owned());
            sights.clusters.insert(from.clone(), sight);
        }
    }

    /// What nodes said of the cluster since `since`; what is older is forgotten.
    pub(super) fn clusters(&self, since: Instant) -> Vec<Vec<Node>> {
        let mut sights = lock(&self.sights);
        sights.clusters.retain(|_, (at, _)| *at >= since);
        let seen = sights.clusters.values();
        seen.map(|(_, nodes)| nodes.clone()).collect()
    }

    /// Forgets the clocks of all but these.
    pub(super) fn keep_clocks(&self, of: &[Arc<Lane>]) {
        let is_one = |endpoint: &Endpoint| of.iter().any(|lane| lane.endpoint == *endpoint);
        lock(&self.sights)
            .clocks
            .retain(|endpoint, _| is_one(endpoint));
    }

    /// The time to stamp a batch with.
    pub(super) fn now(&self) -> Result<Millis, StoreError> {
        let own = match &mut *lock(&self.time) {
            Time::Given(clock) => return Ok(clock.now(Millis::default())),
            Time::Masters(wall) => wall.now(Millis::default()),
        };
        let masters: Vec<_> = lock(&self.sights).clocks.values().copied().collect();
        clocks::median(&masters, own, read_clock(), self.options.skew_max_ms).map_err(
            |Disagree { apart_ms }| {
                StoreError::ClockSkew(format!(
                    "this server's and the master's are {apart_ms} ms apart"
                ))
            },
        )
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nobody panics while holding one.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
