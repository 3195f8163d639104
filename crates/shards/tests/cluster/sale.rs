//! A sale that goes on while something is wrong with the store: what callers
//! were told, and whether it was the truth.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use futures_util::future::join_all;
use shards::ids::StripeNo;
use shards::inventory::{AuditLevel, Error, Reserved, Verdict};
use shards::redis::{Acknowledge, Address, Options};
use shards::store::StoreError;

use crate::server::{Server, eventually, item, tick};
use crate::servers::Node;

/// Callers at once.
const CALLERS: usize = 8;
/// More than any test sells.
const UNITS: u64 = 1_000_000;
/// The item.
const ID: &str = "item";

/// What a caller was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Granted,
    /// `STORE_UNAVAILABLE`: nothing was done.
    Unavailable(String),
    /// `OUTCOME_UNKNOWN`: maybe.
    Unknown(String),
}

impl Told {
    pub(crate) fn is_unavailable(&self, words: &str) -> bool {
        matches!(self, Self::Unavailable(why) if why.contains(words))
    }

    pub(crate) fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown(_))
    }
}

/// One item of one shard, and requests for a unit of it, each by another buyer.
pub(crate) struct Sale {
    pub(crate) server: Server,
    asked: AtomicU32,
    /// By request, what was told first.
    told: Mutex<BTreeMap<u32, Told>>,
}

/// A server that has its store on one node, which alone acknowledges.
pub(crate) fn single(node: &Node) -> Options {
    single_at(&node.address())
}

pub(crate) fn single_at(address: &str) -> Options {
    Options {
        acknowledge: Some(Acknowledge::Local),
        init: true,
        ..Options::new(Address::parse(&format!("redis://{address}")).unwrap())
    }
}

impl Sale {
    pub(crate) async fn start(options: Options) -> Self {
        let server = Server::open(options);
        server.create(ID, UNITS, 1).await;
        let sale = Self {
            server,
            asked: AtomicU32::new(0),
            told: Mutex::default(),
        };
        assert_eq!(sale.ask().await, Told::Granted);
        sale
    }

    /// The stripe that the item's only shard lies on.
    pub(crate) async fn stripe(&self) -> StripeNo {
        let entry = self.server.inventory.item(&item(ID), None).await;
        entry.unwrap().placement[0]
    }

    /// One more request.
    pub(crate) async fn ask(&self) -> Told {
        let n = 1 + self.asked.fetch_add(1, Ordering::Relaxed);
        let told = match self.server.reserve(ID, n).await {
            Ok(Reserved::Granted { replayed, .. }) => {
                assert!(!replayed, "request {n} is new");
                Told::Granted
            }
            Err(Error::Store(StoreError::Unavailable(why))) => Told::Unavailable(why),
            Err(Error::Store(StoreError::OutcomeUnknown(why))) => Told::Unknown(why),
            // Above all not that it is sold out.
            other => panic!("request {n}: {other:?}"),
        };
        self.told.lock().unwrap().insert(n, told.clone());
        told
    }

    /// Asks until somebody is told this.
    pub(crate) async fn ask_until(&self, what: &str, is_it: impl Fn(&Told) -> bool) {
        eventually(what, async || {
            let told = self.ask().await;
            if is_it(&told) { Ok(()) } else { Err(told) }
        })
        .await;
    }

    /// Asks until a unit is granted.
    pub(crate) async fn ask_until_granted(&self) {
        self.ask_until("a grant", |told| *told == Told::Granted)
            .await;
    }

    /// Many callers while a story is told.
    pub(crate) async fn during(&self, story: impl Future<Output = ()>) {
        let stop = AtomicBool::new(false);
        let caller = async || {
            while !stop.load(Ordering::Relaxed) {
                if self.ask().await != Told::Granted {
                    tick().await;
                }
            }
        };
        let story = async {
            story.await;
            stop.store(true, Ordering::Relaxed);
        };
        tokio::join!(join_all((0..CALLERS).map(|_| caller())), story);
    }

    /// Waits until so many requests more than now have been granted.
    pub(crate) async fn granted_more(&self, count: usize) {
        let granted = || {
            let told = self.told.lock().unwrap();
            told.values().filter(|told| **told == Told::Granted).count()
        };
        let wanted = granted() + count;
        eventually("grants", async || {
            let granted = granted();
            if granted >= wanted {
                Ok(())
            } else {
                Err(granted)
            }
        })
        .await;
    }

    /// Waits until somebody was told this.
    pub(crate) async fn told_of(&self, what: &str, is_it: impl Fn(&Told) -> bool) {
        eventually(what, async || {
            let last = || self.told().last().cloned();
            if self.was_told(&is_it) {
                Ok(())
            } else {
                Err(last())
            }
        })
        .await;
    }

    /// What was told so far.
    pub(crate) fn told(&self) -> Vec<Told> {
        self.told.lock().unwrap().values().cloned().collect()
    }

    /// Whether anybody was told such a thing.
    pub(crate) fn was_told(&self, is_it: impl Fn(&Told) -> bool) -> bool {
        self.told().iter().any(is_it)
    }

    /// ⚔ The end: the store serves, and what callers were told was true. What was
    /// granted is there, what was refused was not done, nothing was done twice.
    pub(crate) async fn settle(&self) {
        let told = self.told.lock().unwrap().clone();
        let all: Vec<_> = told.iter().collect();
        for some in all.chunks(512) {
            let again = some.iter().map(async |(n, told)| {
                let first = eventually("a decision", async || {
                    match self.server.reserve(ID, **n).await {
                        // Counts as one more first time.
                        Err(Error::Store(StoreError::OutcomeUnknown(why))) => Ok(Err(why)),
                        Ok(reserved) => Ok(Ok(reserved)),
                        Err(other) => Err(other),
                    }
                })
                .await;
                let Ok(reserved) = first else {
                    panic!("the store serves: {first:?}");
                };
                let Reserved::Granted { replayed, .. } = reserved else {
                    panic!("request {n}, told {told:?}: {reserved:?}");
                };
                match told {
                    Told::Granted => assert!(replayed, "request {n} was granted, and is gone"),
                    Told::Unavailable(why) => {
                        assert!(!replayed, "request {n} was done in spite of: {why}");
                    }
                    Told::Unknown(_) => {}
                }
            });
            join_all(again).await;
        }
        let id = item(ID);
        let audit = self.server.inventory.audit(&id, AuditLevel::Records, None);
        let audit = audit.await.unwrap();
        assert_eq!(audit.verdict, Verdict::Sound, "{:?}", audit.violations);
        let held: u64 = audit
            .shards
            .iter()
            .map(|shard| shard.reading.counters.held)
            .sum();
        assert_eq!(held, told.len() as u64, "one unit for each request");
        // From now on all of them are granted.
        for told in self.told.lock().unwrap().values_mut() {
            *told = Told::Granted;
        }
    }
}
