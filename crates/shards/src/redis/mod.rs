//! The store for many machines: Redis or Valkey, a cluster or one server.
//!
//! A stripe's keys lie in one slot; one run of one Lua script carries a batch of
//! operations on it, equal to the state machine's. What queues up for a master
//! while it works is its next pipeline, which ends in one WAIT: only what every
//! replica has that could be elected is an acknowledgement.
//!
//! One thread, with a runtime of its own, has all connections: so batches are as
//! thick as the whole process makes them, and what is remembered of a stripe is
//! remembered once.
//!
//! - `keys`: the names of all keys; `script` (and `lua/`): the script and its two
//!   ends.
//! - `lane`: what waits for a master; `runner`: the task that flushes it, and its
//!   `errands`;
//!   `flush`: what a pipeline carries; `link`, `connect`: the connection under
//!   it; `fault`: what its errors mean.
//! - `listening`: what other servers do there.
//! - `fence`: what is remembered so that a loss is noticed; `clocks`: what time
//!   it is; `survey`: what nodes tell of themselves; `topology`: who serves what.
//! - `open` (with its guards), `checks`: reaching a store, and whether it is fit to
//!   be one.
//! - [`yardstick`]: what a node spends, and the naive way beside it.
//!
//! fred is known to this folder alone.

mod checks;
mod clocks;
mod connect;
mod error;
mod fault;
mod fence;
mod figures;
mod flush;
mod keys;
mod lane;
mod link;
mod listening;
mod open;
mod options;
mod runner;
mod script;
mod shared;
mod survey;
#[cfg(test)]
mod tests;
mod topology;
pub mod yardstick;

use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

pub use error::OpenError;
pub use options::{Acknowledge, Address, Credentials, InvalidAddress, Options, TlsFiles};

use connect::Connector;
use figures::{Flushes, Heard};
use open::Opened;
use shared::{Shared, Time, lock};
use topology::Tasks;

use crate::ids::{STRIPES, StripeNo};
use crate::machine::{Op, StoreIdentity};
use crate::placement::Masters;
use crate::store::{
    Clock, Deadline, Durability, Listener, Pending, Store, StoreError, StoreNode, StoreStatus,
    WallClock,
};
use crate::time::Millis;
use crate::waiting::Waiting;

/// The format that is written to Redis.
const FORMAT: u32 = 1;
/// Longest wait for the first acknowledgement while a store is opened. A master
/// that cannot acknowledge yet, as its replicas are away, is served from later.
const FIRST_ACKNOWLEDGEMENT_TIME_MAX: Duration = Duration::from_secs(1);
/// Between two looks for it.
const FIRST_ACKNOWLEDGEMENT_LOOK_EVERY: Duration = Duration::from_millis(2);

/// A store in Redis or Valkey. Dropping it carries out what is queued.
pub struct Redis {
    shared: Arc<Shared>,
    warnings: Vec<String>,
    close: Mutex<Option<oneshot::Sender<()>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Redis {
    /// Opens a store. Blocks until it is reached; its flushes are counted by the
    /// `metrics` recorder in force on this thread, if any.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(options: Options) -> Result<Self, OpenError> {
        Self::open_at(options, Time::Masters(WallClock::default()))
    }

    /// As [`Self::open`], with a clock that alone says what time it is: for tests
    /// that move time.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open_by(mut options: Options, clock: Box<dyn Clock>) -> Result<Self, OpenError> {
        options.skew_max_ms = u64::from(u32::MAX) * 1_000;
        Self::open_at(options, Time::Given(clock))
    }

    fn open_at(options: Options, time: Time) -> Result<Self, OpenError> {
        let connector = Connector::new(&options).map_err(OpenError::Unusable)?;
        let figures = (Flushes::of_this_recorder(), Heard::of_this_recorder());
        let (tell, told) = mpsc::channel();
        let (close, closed) = oneshot::channel();
        let life = Life {
            options,
            connector,
            time,
            figures,
            tell,
            closed,
        };
        let thread = std::thread::Builder::new()
            .name("store".into())
            .spawn(move || life.run())
            .map_err(OpenError::Thread)?;
        let opened = told.recv().unwrap_or_else(|_| {
            let gone = "its thread ended; the log has the details".to_owned();
            Err(OpenError::Unusable(gone))
        });
        match opened {
            Ok((shared, warnings)) => Ok(Self {
                shared,
                warnings,
                close: Mutex::new(Some(close)),
                thread: Mutex::new(Some(thread)),
            }),
            Err(error) => {
                // It has nothing left to do.
                let _ = thread.join();
                Err(error)
            }
        }
    }
}

/// What is told of a store that was opened: what is shared, and warnings.
type Opening = Result<(Arc<Shared>, Vec<String>), OpenError>;

/// The life of the store's thread.
struct Life {
    options: Options,
    connector: Connector,
    time: Time,
    figures: (Flushes, Heard),
    tell: mpsc::Sender<Opening>,
    closed: oneshot::Receiver<()>,
}

impl Life {
    fn run(self) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        match runtime {
            Ok(runtime) => runtime.block_on(self.live()),
            // Whoever waits is gone only if its thread is.
            Err(error) => drop(self.tell.send(Err(OpenError::Thread(error)))),
        }
    }

    async fn live(self) {
        let Opened {
            identity,
            acknowledge,
            warnings,
            known,
            clocks,
            owners,
            lost,
        } = match open::open(&self.options, &self.connector).await {
            Ok(opened) => opened,
            Err(error) => return drop(self.tell.send(Err(error))),
        };
        for warning in &warnings {
            tracing::warn!("{warning}");
        }
        let shared = Arc::new(Shared::new(
            self.options,
            self.connector,
            acknowledge,
            identity,
            self.time,
        ));
        // Of all of them from the first batch on: one alone would be judged by
        // this machine's own.
        for (endpoint, clock) in clocks {
            shared.note_sights(&endpoint, clock.at, &[], clock);
        }
        for stripe in lost {
            shared.suspect(stripe, "its guard is missing", true);
        }
        let mut tasks = Tasks::new(Arc::clone(&shared), self.figures, known);
        tasks.serve(&owners);
        first_acknowledgement(&shared).await;
        if self.tell.send(Ok((shared, warnings))).is_ok() {
            tasks.run(self.closed).await;
        }
    }
}

/// Waits until some master has acknowledged something, which every stripe's first
/// visit is: whoever opened the store is told that it is open, and must not be
/// told at the same moment that it does not acknowledge.
async fn first_acknowledgement(shared: &Shared) {
    let acknowledged = async {
        let lanes = || shared.routes().lanes.clone();
        while !lanes().iter().any(|lane| lane.health().acknowledging) {
            pause(FIRST_ACKNOWLEDGEMENT_LOOK_EVERY).await;
        }
    };
    // Without one it is open all the same; its status says so.
    let _ = tokio::time::timeout(FIRST_ACKNOWLEDGEMENT_TIME_MAX, acknowledged).await;
}

impl Store for Redis {
    fn submit(&self, stripe: StripeNo, op: Op, deadline: Deadline) -> Pending {
        if stripe.0 >= STRIPES {
            return Pending::refused(StoreError::Unavailable(format!(
                "there is no stripe {stripe}"
            )));
        }
        let (answer, answered) = oneshot::channel();
        self.shared.push(Waiting {
            stripe,
            op,
            deadline,
            answer,
        });
        Pending::queued(answered)
    }

    fn masters(&self) -> Masters {
        self.shared.masters()
    }

    fn identity(&self) -> StoreIdentity {
        self.shared.identity
    }

    fn listen(&self, listener: Arc<dyn Listener>) {
        self.shared.listeners.add(listener);
    }

    fn now(&self) -> Option<Millis> {
        self.shared.now().ok()
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn status(&self) -> StoreStatus {
        let shared = &self.shared;
        let routes = shared.routes();
        let mut warnings = self.warnings.clone();
        let nodes: Vec<StoreNode> = routes
            .lanes
            .iter()
            .map(|lane| {
                let health = lane.health().clone();
                let endpoint = lane.endpoint.to_string();
                if health.full {
                    warnings.push(format!(
                        "the memory of {endpoint} is nearly full: nothing new is taken until there is room"
                    ));
                }
                if health.required.in_step < health.required.replicas {
                    warnings.push(format!(
                        "{endpoint} has {} of {} replicas in step: it acknowledges nothing until they are",
                        health.required.in_step, health.required.replicas
                    ));
                }
                if let Some(why) = &health.mute {
                    warnings.push(format!(
                        "{endpoint} cannot tell other servers what is on sale again, so they refuse for up to two seconds more: {why}"
                    ));
                }
                if let Some(why) = &health.deaf {
                    warnings.push(format!(
                        "nothing is heard of what other servers do at {endpoint}, so what is on sale again may be refused for up to two seconds more: {why}"
                    ));
                }
                StoreNode {
                    endpoint,
                    acknowledging: health.acknowledging,
                    required_replicas: health.required.replicas,
                    replicas_in_step: health.required.in_step,
                    version: health.version,
                    used_bytes: health.used_bytes,
                    max_bytes: health.max_bytes,
                }
            })
            .collect();
        let frozen = shared.frozen_stripes();
        let acknowledges = |stripe: StripeNo| {
            let index = routes.of_stripe[usize::from(stripe.0)];
            index.is_some_and(|index| nodes.get(index).is_some_and(|node| node.acknowledging))
        };
        let count = |is: &dyn Fn(StripeNo) -> bool| {
            u32::try_from(StripeNo::all().filter(|stripe| is(*stripe)).count()).unwrap_or(0)
        };
        let is_frozen = |stripe: StripeNo| frozen[usize::from(stripe.0)];
        StoreStatus {
            kind: if shared.options.address.cluster {
                "redis-cluster"
            } else {
                "redis"
            },
            durability: match shared.acknowledge {
                Acknowledge::Local => Durability::Local,
                Acknowledge::Replicated => Durability::Replicated,
                Acknowledge::ReplicatedStrict => Durability::ReplicatedStrict,
            },
            required_replicas: nodes
                .iter()
                .map(|node| node.required_replicas)
                .min()
                .unwrap_or(0),
            format: FORMAT,
            max_format: FORMAT,
            serving_stripes: count(&|stripe| !is_frozen(stripe) && acknowledges(stripe)),
            unavailable_stripes: count(&|stripe| !is_frozen(stripe) && !acknowledges(stripe)),
            frozen_stripes: count(&is_frozen),
            nodes,
            warnings,
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // Its end is told by this being dropped, too.
        drop(lock(&self.close).take());
        let thread = lock(&self.thread).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the store's thread ended by a panic");
        }
    }
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redis")
            .field("address", &self.shared.options.address)
            .finish_non_exhaustive()
    }
}

/// Lets time pass before the next attempt at something.
async fn pause(time: Duration) {
    #[expect(
        clippy::disallowed_methods,
        reason = "paces attempts; what is waited for is the next attempt's answer"
    )]
    tokio::time::sleep(time).await;
}
