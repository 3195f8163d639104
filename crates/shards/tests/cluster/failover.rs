//! Masters that die or hang, under load.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use shards::ids::StripeNo;
use shards::inventory::Reserved;

use crate::server::{Server, eventually, now, tick};
use crate::servers::Cluster;

/// Callers of each item.
const CALLERS: u32 = 8;

/// What callers of one item met.
#[derive(Default)]
struct Met {
    /// Requests that were granted, acknowledged.
    granted: Vec<u32>,
    /// Requests that were answered with an error.
    failed: Vec<u32>,
    /// The longest time between two grants.
    pause: Duration,
}

/// Callers that reserve one unit after the other until `stop`.
async fn load(server: &Server, id: &str, stop: &AtomicBool) -> Met {
    let met = Mutex::new((Met::default(), now()));
    let caller = async |number: u32| {
        for turn in 0.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let n = 1 + turn * CALLERS + number;
            let answer = server.reserve(id, n).await;
            let failed = {
                let (met, last) = &mut *met.lock().unwrap();
                match answer {
                    Ok(Reserved::Granted { .. }) => {
                        met.pause = met.pause.max(last.elapsed());
                        *last = now();
                        met.granted.push(n);
                        false
                    }
                    Ok(other) => panic!("{other:?}"),
                    Err(_) => {
                        met.failed.push(n);
                        true
                    }
                }
            };
            if failed {
                tick().await;
            }
        }
    };
    join_all((0..CALLERS).map(caller)).await;
    met.into_inner().unwrap().0
}

/// One item on each master, under load, while `harm` is done to one of them.
/// The other masters' worst pause, and the time until the lost one serves again.
async fn under_load(harm: impl FnOnce(&Cluster, usize)) -> (Cluster, Duration, Duration) {
    let cluster = Cluster::start(3, 2);
    let server = Server::start(&cluster);
    // An item each whose entry and only shard lie on one master.
    let mut items: BTreeMap<usize, (String, StripeNo)> = BTreeMap::new();
    for n in 0.. {
        let id = format!("item-{n}");
        let stripe = shards::hash::catalog_stripe(&crate::server::item(&id));
        let slot = u16::from(stripe.0) * 256 + 128;
        items
            .entry(cluster.master_of_slot(slot))
            .or_insert((id, stripe));
        if items.len() == 3 {
            break;
        }
    }
    for (id, _) in items.values() {
        server.create(id, 1_000_000, 1).await;
    }
    let victim = *items.keys().next().unwrap();
    let stop = AtomicBool::new(false);
    let mut back = Duration::ZERO;
    let loads = items.values().map(|(id, _)| load(&server, id, &stop));
    let story = async {
        for (id, _) in items.values() {
            eventually("load", async || server.reserve(id, 0).await).await;
        }
        harm(&cluster, victim);
        let harmed = now();
        let (id, stripe) = &items[&victim];
        eventually("the stripe to be away", async || {
            server.visit(*stripe).await.map_or(Ok(()), Err)
        })
        .await;
        server.reserve_until_decided(id, 1_000_000_000).await;
        back = harmed.elapsed();
        stop.store(true, Ordering::Relaxed);
    };
    let (met, ()) = tokio::join!(join_all(loads), story);
    let mut worst = Duration::ZERO;
    for ((master, (id, _)), met) in items.iter().zip(met) {
        assert!(!met.granted.is_empty());
        if *master == victim {
            assert!(!met.failed.is_empty());
        } else {
            assert_eq!(met.failed, [], "calls of other masters must not fail");
            worst = worst.max(met.pause);
        }
        // No acknowledged grant is missing, and none was given twice.
        for some in met.granted.chunks(512) {
            let again = some.iter().map(async |n| {
                let again = server.reserve_until_decided(id, *n).await;
                let found = matches!(again, Reserved::Granted { replayed: true, .. });
                assert!(found, "request {n} of {id} was granted: {again:?}");
            });
            join_all(again).await;
        }
    }
    (cluster, worst, back)
}

#[tokio::test]
async fn a_master_that_dies_stops_no_other() {
    let (_cluster, worst, back) = under_load(|cluster, master| cluster.node(master).kill_9()).await;
    println!("other masters' worst pause {worst:?}; the lost stripes served again after {back:?}");
}

#[tokio::test]
async fn a_master_that_hangs_stops_no_other() {
    let (cluster, worst, back) = under_load(|cluster, master| cluster.node(master).stop()).await;
    println!("other masters' worst pause {worst:?}; the lost stripes served again after {back:?}");
    for node in cluster.nodes() {
        node.cont();
    }
}
