//! Whole sales, most of them by several servers over one cluster of three masters,
//! callers who send ids to two of them among it: every unit is sold once, whatever
//! dies meanwhile, and however many come back.
//!
//! `buyers` has the callers, who keep a log of what they were told; `judge`
//! holds it against the servers.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests, which may fail them"
)]

mod buyers;
mod judge;

use std::sync::Arc;

use client::{Client, Options, Policy};
use e2e::redis::{Cluster, Plan};
use e2e::{Ids, Server, Setup, Store, holdfast, item, millis, ok, poll_until, within};
use proto::v1::{GetStatusRequest, Item};
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant};

use buyers::{Buyer, Habits, Log, Progress};

/// Callers at the same time, half of them at each server first.
const CALLERS: usize = 200;
/// Connections to each server that they share.
const CONNECTIONS: usize = 8;
/// What is sold.
const ITEM: &str = "sneaker";

/// Clients that ask again, by the same ids, until there is an answer.
fn connect(server: &Server) -> Vec<Client> {
    let options = Options {
        policy: Policy {
            // Longer than anything here may take: no outcome stays unknown.
            deadline: Duration::from_mins(1),
            attempts_max: 1_000,
            backoff_max: Duration::from_millis(250),
            ..Policy::default()
        },
        ..Options::default()
    };
    let client = |_| Client::lazy(server.address(), options.clone()).expect("an address");
    (0..CONNECTIONS).map(client).collect()
}

/// Lets everybody in. Their logs come when they have left.
fn open(
    servers: [&Server; 2],
    habits: Habits,
    ids: &mut Ids,
    progress: &Arc<Progress>,
) -> JoinSet<Log> {
    let clients = servers.map(connect);
    let mut crowd = JoinSet::new();
    for number in 0..CALLERS {
        let mut own = [0, 1].map(|server| clients[server][number % CONNECTIONS].clone());
        if number % 2 == 1 {
            own.reverse();
        }
        let buyer = Buyer::new(own, ids.fork(), habits, Arc::clone(progress));
        crowd.spawn(buyer.buy());
    }
    crowd
}

/// All that buyers were told, once all have left.
async fn all_of(mut crowd: JoinSet<Log>) -> Log {
    let mut all = Log::default();
    while let Some(log) = crowd.join_next().await {
        all.add(log.expect("a buyer"));
    }
    all
}

#[expect(clippy::print_stdout, reason = "what a run was like")]
fn report(what: &str, log: &Log, took: Duration) {
    println!("{what}: {} in {took:.1?}", log.summary());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_sell_every_unit_once() {
    const UNITS: u64 = 10_000;
    let mut ids = Ids::seeded();
    let store = Store::cluster();
    let servers = [
        store.serve(holdfast!()).await,
        store.serve(holdfast!()).await,
    ];
    let spec = Item {
        shard_count: 6,
        ..item(ITEM)
    };
    servers[0].shop().create(spec, UNITS.cast_signed()).await;
    let habits = Habits {
        duplicates: 10,
        cancels: 5,
        leaves: 0,
    };

    let (opening, progress) = (Instant::now(), Arc::new(Progress::default()));
    let crowd = open([&servers[0], &servers[1]], habits, &mut ids, &progress);
    let log = all_of(crowd).await;
    report("10,000 units", &log, opening.elapsed());

    // Nothing failed, so that of two equal requests one was the first.
    assert_eq!(log.duplicates_without_a_first, 0);
    for server in &servers {
        judge::judge(server, &log, UNITS).await;
    }
}

/// Units come back all the time, by cancels and by holds that run out, while marks
/// refuse from memory: in the end nobody was turned away for good while there was
/// one.
async fn every_unit_is_sold_at_last(servers: &[Server]) {
    const UNITS: u64 = 1_000;
    let mut ids = Ids::seeded();
    let spec = Item {
        shard_count: 16,
        hold_ttl: Some(millis(300)),
        ..item(ITEM)
    };
    servers[0].shop().create(spec, UNITS.cast_signed()).await;
    let habits = Habits {
        duplicates: 5,
        cancels: 25,
        leaves: 15,
    };

    let (opening, progress) = (Instant::now(), Arc::new(Progress::default()));
    let mut log = Log::default();
    let mut crowds = Vec::new();
    for pair in servers.chunks(2) {
        let pair = [&pair[0], &pair[pair.len() - 1]];
        crowds.push(open(pair, habits, &mut ids, &progress));
    }
    for crowd in crowds {
        log.add(all_of(crowd).await);
    }
    report("1,000 units that come back", &log, opening.elapsed());
    for server in servers {
        judge::judge(server, &log, UNITS).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_servers_over_a_cluster_sell_every_unit_at_last() {
    let store = Store::cluster();
    let mut servers = Vec::new();
    for _ in 0..4 {
        servers.push(store.serve(holdfast!()).await);
    }
    every_unit_is_sold_at_last(&servers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_server_with_an_embedded_store_sells_every_unit_at_last() {
    let server = Store::Embedded.serve(holdfast!()).await;
    every_unit_is_sold_at_last(&[server]).await;
}

/// A master is killed, and a server, one after the other under load.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_sold_twice_when_a_master_and_a_server_are_killed() {
    const UNITS: u64 = 4_000;
    let mut ids = Ids::seeded();
    let store = Store::of_plan(Plan::new(3, 2));
    let Store::Cluster(cluster) = &store else {
        panic!("{store:?}");
    };
    let server = async || {
        Setup::new(holdfast!())
            .on(&store)
            .on_fixed_port()
            .start()
            .await
    };
    let (mut mortal, other) = (server().await, server().await);
    let spec = Item {
        shard_count: 6,
        // Also of those who want to pay while their master is away.
        hold_ttl: Some(millis(2_000)),
        ..item(ITEM)
    };
    other.shop().create(spec, UNITS.cast_signed()).await;
    let status = ok(other.shop().admin().get_status(GetStatusRequest {}).await);
    assert_eq!(status.required_replicas, 2, "{status:?}");
    let habits = Habits {
        duplicates: 10,
        cancels: 5,
        leaves: 5,
    };

    let (opening, progress) = (Instant::now(), Arc::new(Progress::default()));
    let crowd = open([&mortal, &other], habits, &mut ids, &progress);
    let quarter = UNITS / 4;
    within("a quarter of it sold", progress.sold(quarter)).await;
    let victim = usize::try_from(ids.between(0..3)).unwrap();
    let away = kill_a_master(cluster, victim, &other).await;
    within("half of it sold", progress.sold(2 * quarter)).await;
    mortal.kill_9();
    let killed = Instant::now();
    let mortal = mortal.restart().await;
    let restarted = killed.elapsed();
    within("three quarters of it sold", progress.sold(3 * quarter)).await;
    cluster.node(victim).restart();
    let log = all_of(crowd).await;
    report("4,000 units with two deaths", &log, opening.elapsed());
    tell(away, restarted, &progress);

    for server in [&mortal, &other] {
        judge::judge(server, &log, UNITS).await;
    }
}

/// Kills it; how long its stripes were away.
async fn kill_a_master(cluster: &Cluster, victim: usize, server: &Server) -> Duration {
    let shop = server.shop();
    let serving = async || {
        let status = ok(shop.admin().get_status(GetStatusRequest {}).await);
        assert_eq!(status.frozen_stripes, Some(0), "{status:?}");
        status.serving_stripes.expect("a number")
    };
    let killed = Instant::now();
    cluster.node(victim).kill_9();
    poll_until("stripes that are away", async || match serving().await {
        64 => Err("all serve"),
        _ => Ok(()),
    })
    .await;
    poll_until("stripes that serve again", async || match serving().await {
        64 => Ok(()),
        some => Err(format!("{some} serve")),
    })
    .await;
    killed.elapsed()
}

#[expect(clippy::print_stdout, reason = "what a run was like")]
fn tell(away: Duration, restarted: Duration, progress: &Progress) {
    println!(
        "the stripes of the master that was killed served again after {away:.1?}, the server \
         after {restarted:.1?}; longest time without a grant {:.1?}",
        progress.longest_pause()
    );
}
