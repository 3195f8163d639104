//! Slots that go to another node, or to none: what callers are told meanwhile
//! (the table is in `errors`). A stripe whose slot is on its way is not followed
//! there, it waits; and serves from where it arrives.

use shards::ids::StripeNo;
use shards::redis::Acknowledge;
use shards::store::Store;

use crate::sale::{Sale, Told};
use crate::server::{eventually, options};
use crate::servers::{Cluster, Plan};

fn slot(stripe: StripeNo) -> u16 {
    u16::from(stripe.0) * 256 + 128
}

/// A sale whose stripe the test knows, on masters that alone acknowledge.
async fn sale_on(cluster: &Cluster) -> (Sale, u16, usize) {
    let sale = Sale::start(options(cluster, Acknowledge::Local)).await;
    let slot = slot(sale.stripe().await);
    let master = cluster.master_of_slot(slot);
    (sale, slot, master)
}

#[tokio::test]
async fn a_stripe_on_its_way_waits_and_serves_from_where_it_arrives() {
    let cluster = Cluster::start(2, 0);
    let (sale, slot, from) = sale_on(&cluster).await;
    let to = 1 - from;
    sale.during(async {
        sale.granted_more(50).await;
        let step = cluster.begin_move(slot, to);
        // Of the keys that it names some are there.
        sale.told_of("TRYAGAIN", |told| told.is_unavailable("TRYAGAIN"))
            .await;
        while cluster.move_keys(step, 1) > 0 {}
        sale.told_of("ASK", |told| told.is_unavailable("ASK")).await;
        cluster.finish_move(step);
        sale.granted_more(50).await;
    })
    .await;
    assert_eq!(cluster.master_of_slot(slot), to);
    assert!(!sale.was_told(Told::is_unknown), "nothing was begun");
    sale.settle().await;
    assert_eq!(sale.server.store.status().frozen_stripes, 0);
}

/// A server whose routes are old is told MOVED, once.
#[tokio::test]
async fn a_slot_that_went_at_once_is_found_again() {
    let cluster = Cluster::start(2, 0);
    let (sale, slot, from) = sale_on(&cluster).await;
    let to = 1 - from;
    sale.during(async {
        sale.granted_more(50).await;
        cluster.move_slot(slot, to);
        sale.granted_more(50).await;
        // And back, where it was adopted before.
        cluster.move_slot(slot, from);
        sale.granted_more(50).await;
    })
    .await;
    let waits = |told: &Told| *told == Told::Granted || told.is_unavailable("");
    assert!(!sale.was_told(|told| !waits(told)), "nothing was begun");
    sale.settle().await;
    assert_eq!(sale.server.store.status().frozen_stripes, 0);
}

#[tokio::test]
async fn a_slot_that_nobody_serves_is_waited_for() {
    let cluster = Cluster::start(2, 0);
    let (sale, slot, master) = sale_on(&cluster).await;
    let word = slot.to_string();
    sale.during(async {
        sale.granted_more(50).await;
        // Each node forgets it by itself, and gossip may tell it again.
        eventually("a slot of nobody", async || {
            for node in cluster.nodes() {
                // It may know it to be nobody's already.
                let _ = node.command(&["CLUSTER", "DELSLOTS", &word]);
            }
            let unserved = |told: &Told| {
                told.is_unavailable("CLUSTERDOWN") || told.is_unavailable("no master serves")
            };
            let last = sale.told().last().cloned();
            if last.as_ref().is_some_and(unserved) {
                Ok(())
            } else {
                Err(last)
            }
        })
        .await;
        cluster.node(master).ask(&["CLUSTER", "ADDSLOTS", &word]);
        sale.granted_more(50).await;
    })
    .await;
    sale.settle().await;
}

#[tokio::test]
async fn masters_that_stop_for_a_lost_one_are_waited_for() {
    let cluster = Plan::new(3, 0)
        .set("cluster-require-full-coverage", "yes")
        .start();
    let (sale, _, master) = sale_on(&cluster).await;
    let lost = cluster.node((master + 1) % 3);
    sale.during(async {
        sale.granted_more(50).await;
        lost.shut_down();
        // Known before anything is sent, from then on.
        sale.ask_until("being down", |told| told.is_unavailable("cluster is down"))
            .await;
        for _ in 0..100 {
            let told = sale.ask().await;
            assert!(told.is_unavailable("cluster is down"), "{told:?}");
        }
        lost.restart();
        sale.granted_more(50).await;
    })
    .await;
    sale.settle().await;
}

/// An operator who makes a replica master, for maintenance: the old one is a
/// replica from one moment to the next.
#[tokio::test]
async fn a_master_that_hands_over_loses_nothing() {
    let cluster = Cluster::start(3, 1);
    let sale = Sale::start(options(&cluster, Acknowledge::Replicated)).await;
    let slot = slot(sale.stripe().await);
    let master = cluster.master_of_slot(slot);
    sale.during(async {
        sale.granted_more(50).await;
        cluster.failover(3 + master);
        sale.granted_more(50).await;
        cluster.failover(master);
        sale.granted_more(50).await;
    })
    .await;
    sale.settle().await;
    assert_eq!(sale.server.store.status().frozen_stripes, 0);
}
