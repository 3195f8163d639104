//! What callers were granted, and what has to become of it: an acknowledged
//! grant is found again, nothing is granted twice, and the sale sells exactly
//! what it has.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Instant;

use futures_util::future::join_all;
use shards::inventory::{AuditLevel, Error, ReadStock, Reserved, Verdict};
use shards::store::StoreError;

use crate::server::{Server, eventually, item, now, tick};
use crate::servers::Cluster;

/// Callers at a time.
const CALLERS: u32 = 8;
/// Replays at a time.
const REPLAYS: usize = 256;

/// An item whose entry and only shard lie on this master.
pub(crate) fn item_on(cluster: &Cluster, master: usize) -> String {
    let is_there = |id: &String| {
        let stripe = shards::hash::catalog_stripe(&item(id));
        let slot = u16::from(stripe.0) * 256 + 128;
        cluster.master_of_slot(slot) == master
    };
    let mut ids = (0..).map(|n| format!("item-{n}"));
    ids.find(is_there).unwrap()
}

/// One request of one unit, and what came of it.
pub(crate) struct Call {
    pub(crate) n: u32,
    pub(crate) begun: Instant,
    pub(crate) ended: Instant,
    pub(crate) answer: Result<Reserved, Error>,
}

impl Call {
    pub(crate) fn is_granted(&self) -> bool {
        matches!(self.answer, Ok(Reserved::Granted { .. }))
    }

    /// Why nobody knows what came of it.
    pub(crate) fn unknown(&self) -> Option<&str> {
        match &self.answer {
            Err(Error::Store(StoreError::OutcomeUnknown(why))) => Some(why),
            _ => None,
        }
    }
}

/// The sale of one item with a single shard, by requests of one unit each that
/// are numbered from 1 on. Whoever asks, and through whichever server, takes
/// the next number.
pub(crate) struct Sale {
    id: String,
    units: u32,
    last: AtomicU32,
    calls: Mutex<Vec<Call>>,
}

impl Sale {
    /// A new item of so many units on this master.
    pub(crate) async fn begin(
        server: &Server,
        cluster: &Cluster,
        master: usize,
        units: u32,
    ) -> Self {
        let id = item_on(cluster, master);
        server.create(&id, u64::from(units), 1).await;
        Self {
            id,
            units,
            last: AtomicU32::new(0),
            calls: Mutex::default(),
        }
    }

    /// One request. Whether it was granted.
    pub(crate) async fn ask(&self, server: &Server) -> bool {
        let n = 1 + self.last.fetch_add(1, Ordering::Relaxed);
        let begun = now();
        let answer = server.reserve(&self.id, n).await;
        let call = Call {
            n,
            begun,
            ended: now(),
            answer,
        };
        let granted = call.is_granted();
        match &call.answer {
            Ok(Reserved::Granted { replayed, .. }) => {
                assert!(!replayed, "request {n} was sent once, and done before");
            }
            Ok(other) => panic!("an answer that is a guess: {other:?}"),
            Err(Error::Store(_)) => {}
            Err(other) => panic!("{other}"),
        }
        self.calls.lock().unwrap().push(call);
        granted
    }

    /// So many at once.
    pub(crate) async fn ask_many(&self, server: &Server, count: usize) -> Vec<bool> {
        join_all((0..count).map(|_| self.ask(server))).await
    }

    /// One after the other until one is granted.
    pub(crate) async fn ask_until_granted(&self, server: &Server) {
        eventually("a grant", async || {
            if self.ask(server).await {
                return Ok(());
            }
            self.panic_if_lost();
            let calls = self.calls.lock().unwrap();
            Err(calls.last().map(|call| format!("{:?}", call.answer)))
        })
        .await;
    }

    /// A number of callers that ask until `stop`.
    pub(crate) async fn load(&self, server: &Server, stop: &AtomicBool) {
        let caller = async |_| {
            while !stop.load(Ordering::Relaxed) {
                if !self.ask(server).await {
                    tick().await;
                }
            }
        };
        join_all((0..CALLERS).map(caller)).await;
    }

    /// What the calls tell, so far.
    pub(crate) fn of_calls<T>(&self, tell: impl FnOnce(&[Call]) -> T) -> T {
        tell(&self.calls.lock().unwrap())
    }

    pub(crate) fn granted(&self) -> usize {
        self.of_calls(|calls| calls.iter().filter(|call| call.is_granted()).count())
    }

    /// A server that says so knows that acknowledged work is gone.
    fn panic_if_lost(&self) {
        self.of_calls(|calls| {
            for call in calls {
                if let Err(lost @ Error::Store(StoreError::Frozen { .. })) = &call.answer {
                    panic!("acknowledged grants are lost: {lost}");
                }
            }
        });
    }

    /// Every acknowledged grant is found again by its ids.
    pub(crate) async fn is_kept(&self, server: &Server) {
        let granted: Vec<u32> = self.of_calls(|calls| {
            let granted = calls.iter().filter(|call| call.is_granted());
            granted.map(|call| call.n).collect()
        });
        assert!(!granted.is_empty());
        let mut lost = Vec::new();
        for some in granted.chunks(REPLAYS) {
            let replays = join_all(some.iter().map(|n| self.replay(server, *n))).await;
            for (n, replay) in some.iter().zip(replays) {
                if !matches!(replay, Reserved::Granted { replayed: true, .. }) {
                    lost.push(*n);
                }
            }
        }
        assert!(
            lost.is_empty(),
            "{} of {} acknowledged grants are lost, such as {:?}",
            lost.len(),
            granted.len(),
            lost[0]
        );
    }

    /// What a request gets when it is sent once more.
    pub(crate) async fn replay(&self, server: &Server, n: u32) -> Reserved {
        eventually("an answer to a replay", async || {
            let answer = server.reserve(&self.id, n).await;
            if let Err(lost @ Error::Store(StoreError::Frozen { .. })) = &answer {
                panic!("acknowledged grants are lost: {lost}");
            }
            answer
        })
        .await
    }

    /// The end of the sale: what was acknowledged is found again, every request
    /// that was ever sent gets one unit at most, and exactly the units that
    /// there were are sold.
    pub(crate) async fn ends_well(&self, server: &Server) {
        self.is_kept(server).await;
        let last = self.last.load(Ordering::Relaxed);
        let all: Vec<u32> = (1..=last).collect();
        let mut names = BTreeSet::new();
        for some in all.chunks(REPLAYS) {
            for reserved in join_all(some.iter().map(|n| self.replay(server, *n))).await {
                let Reserved::Granted { receipt, .. } = reserved else {
                    panic!("there are units enough: {reserved:?}");
                };
                assert_eq!(receipt.reservation.record.quantity, 1);
                names.insert(receipt.id);
            }
        }
        assert_eq!(names.len(), all.len(), "a reservation for each request");
        let rest = self.units - last;
        let reserved = eventually("the last grant", async || {
            server.reserve_units(&self.id, last + 1, rest).await
        });
        let reserved = reserved.await;
        assert!(
            matches!(reserved, Reserved::Granted { .. }),
            "{rest} units are left: {reserved:?}"
        );
        let refused = self.replay(server, last + 2).await;
        let held = u64::from(self.units);
        assert_eq!(refused, Reserved::Short { available: 0, held });

        let id = item(&self.id);
        let stock = eventually("a reading", async || {
            server.inventory.stock(&id, ReadStock::Once, None).await
        });
        let stock = stock.await;
        let audit = eventually("an audit", async || {
            server.inventory.audit(&id, AuditLevel::Records, None).await
        });
        let audit = audit.await;
        assert_eq!((stock.available, stock.held, stock.sold), (0, held, 0));
        assert_eq!(audit.verdict, Verdict::Sound, "{:?}", audit.violations);
    }
}
