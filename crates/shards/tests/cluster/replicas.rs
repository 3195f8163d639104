//! Which replicas an acknowledgement waits for, as they come, die, and are not
//! what they seem.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use shards::redis::{Acknowledge, Credentials};
use shards::store::{Store, StoreNode};

use crate::grants::{Call, Sale};
use crate::server::{Server, eventually, now, options};
use crate::servers::{Cluster, Node, Plan};

/// Requests at a time.
const REQUESTS: usize = 8;
const UNITS: u32 = 1_000_000;
/// Older than this a list acknowledges nothing.
const LIST_AGE_MAX: Duration = Duration::from_secs(1);

/// Each direction of a slow link.
const SLOW: Duration = Duration::from_millis(10);

/// How a master does, as the server says it.
fn status_of(server: &Server, node: &Node) -> Option<StoreNode> {
    let status = server.store.status();
    let mut nodes = status.nodes.into_iter();
    nodes.find(|other| other.endpoint == node.address())
}

/// Waits until the server says that this master needs so many replicas, of
/// which so many are in step.
async fn says(server: &Server, node: &Node, required: u32, in_step: u32) {
    eventually("the replicas needed and in step", async || {
        let status = status_of(server, node);
        let seen = status.map(|node| (node.required_replicas, node.replicas_in_step));
        if seen == Some((required, in_step)) {
            Ok(())
        } else {
            Err(seen)
        }
    })
    .await;
}

/// Whether the cluster calls a node failed, as this master has it.
fn is_failed(cluster: &Cluster, node: usize, by: usize) -> Result<(), String> {
    let view = Cluster::view_of(cluster.node(by))?;
    let member = view.member(cluster.id(node)).ok_or("unknown")?;
    let failed = member.is("fail");
    failed.then_some(()).ok_or(format!("{member:?}"))
}

/// Waits until the server has read the list of this master once more.
async fn lists_anew(server: &Server, node: &Node) {
    // The memory in use is read along, and changes with every visit.
    let memory = || status_of(server, node).map(|node| node.used_bytes);
    for _ in 0..2 {
        let before = memory();
        eventually("a new list", async || {
            if memory() == before {
                Err(before)
            } else {
                Ok(())
            }
        })
        .await;
    }
}

/// Asks a few times; none is granted, and each caller hears that nobody knows.
async fn grants_nothing(sale: &Sale, server: &Server) {
    for _ in 0..3 {
        let granted = sale.ask_many(server, REQUESTS).await;
        assert_eq!(granted, [false; REQUESTS]);
    }
    sale.of_calls(|calls| {
        let last = &calls[calls.len() - 3 * REQUESTS..];
        let unknown = last.iter().filter_map(|call| call.unknown());
        let short = unknown.filter(|why| why.contains("replicas needed"));
        assert!(short.count() > 0, "{:?}", last[0].answer);
    });
}

/// ⚔ WAIT counts heads, not names. A server that replicates by itself can
/// neither be elected nor vote: what it has is not yet safe.
#[tokio::test]
async fn a_replica_that_the_cluster_does_not_list_acknowledges_nothing() {
    let cluster = Cluster::start(3, 1);
    let (master, replica) = (0, 3);
    let server = Server::start(&cluster);
    let sale = Sale::begin(&server, &cluster, master, UNITS).await;
    let node = cluster.node(master);
    says(&server, node, 1, 1).await;
    let plain = Node::start();
    plain.ask(&["REPLICAOF", node.host(), &node.port().to_string()]);
    eventually("the plain one to be attached", async || {
        let link = plain.info("master_link_status")?;
        if link == "up" { Ok(()) } else { Err(link) }
    })
    .await;
    lists_anew(&server, node).await;
    sale.ask_until_granted(&server).await;

    cluster.node(replica).kill_9();
    let killed = now();
    let mut of_them = None;
    let stop = AtomicBool::new(false);
    let story = async {
        eventually("the replica to be failed", async || {
            is_failed(&cluster, replica, master)
        })
        .await;
        // Now none is listed; that is no reason to wait for the other one only.
        lists_anew(&server, node).await;
        let status = status_of(&server, node);
        of_them = status.map(|node| (node.required_replicas, node.replicas_in_step));
        stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(sale.load(&server, &stop), story);
    sale.ask_many(&server, REQUESTS).await;

    // The master is lost, and only the listed one can follow.
    let lost = now();
    node.kill_9();
    drop(plain);
    cluster.node(replica).restart();
    cluster.failover_by(replica, &["TAKEOVER"]);
    node.restart();
    eventually("a whole cluster", async || cluster.check()).await;
    sale.ask_until_granted(&server).await;
    sale.is_kept(&server).await;
    let granted = sale.of_calls(|calls| {
        let mut between = calls
            .iter()
            .filter(|call| call.begun >= killed && call.ended <= lost);
        between.position(Call::is_granted)
    });
    assert_eq!(granted, None, "granted by the one that is not listed");
    assert_eq!(of_them, Some((2, 1)), "needed, and in step");
    sale.ends_well(&server).await;
}

/// ⚔ A master that does its work, but does not say which replicas it has: what
/// was read before may have changed.
#[tokio::test]
async fn a_list_older_than_a_second_acknowledges_nothing() {
    let cluster = Cluster::start(3, 1);
    for node in cluster.nodes() {
        node.ask(&[
            "ACL", "SETUSER", "shop", "on", ">secret", "~*", "&*", "+@all",
        ]);
    }
    let mut options = options(&cluster, Acknowledge::Replicated);
    options.credentials = Some(Credentials {
        username: Some("shop".to_owned()),
        password: "secret".to_owned(),
    });
    let server = Server::open(options);
    let (sale, other) = (
        Sale::begin(&server, &cluster, 0, UNITS).await,
        Sale::begin(&server, &cluster, 1, UNITS).await,
    );
    sale.ask_until_granted(&server).await;

    let node = cluster.node(0);
    node.ask(&["ACL", "SETUSER", "shop", "-cluster|nodes"]);
    let forbidden = now();
    let stop = AtomicBool::new(false);
    let story = async {
        eventually("calls by an old list", async || {
            let old = |call: &&Call| call.begun > forbidden + LIST_AGE_MAX;
            let old = sale.of_calls(|calls| calls.iter().filter(old).count());
            if old < 3 * REQUESTS { Err(old) } else { Ok(()) }
        })
        .await;
        stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(sale.load(&server, &stop), story);
    let granted = sale.of_calls(|calls| {
        let mut old = calls
            .iter()
            .filter(|call| call.begun > forbidden + LIST_AGE_MAX);
        old.position(Call::is_granted)
    });
    assert_eq!(granted, None, "granted by a list that is too old");
    assert!(!status_of(&server, node).unwrap().acknowledging);
    // The others go on.
    assert!(other.ask(&server).await);

    node.ask(&["ACL", "SETUSER", "shop", "+cluster|nodes"]);
    sale.ask_until_granted(&server).await;
    sale.ends_well(&server).await;
}

/// ⚔ A new replica can be elected as soon as it is listed, and has nothing yet;
/// a dead one can until the cluster calls it failed.
#[tokio::test]
async fn a_replica_counts_from_its_listing_until_it_is_called_failed() {
    let mut cluster = Cluster::start(3, 1);
    let server = Server::start(&cluster);
    let (sale, other) = (
        Sale::begin(&server, &cluster, 0, UNITS).await,
        Sale::begin(&server, &cluster, 1, UNITS).await,
    );
    says(&server, cluster.node(0), 1, 1).await;
    sale.ask_until_granted(&server).await;

    // It waits for its data until we say so.
    sync_delay(cluster.node(0), "1000");
    let new = cluster.begin_replica(0);
    let node = cluster.node(0);
    eventually("the new one to be listed", async || {
        let view = Cluster::view_of(node)?;
        let listed = view
            .member(cluster.id(new))
            .and_then(|new| new.master.as_deref());
        if listed == Some(cluster.id(0)) {
            Ok(())
        } else {
            Err(format!("{listed:?}"))
        }
    })
    .await;
    lists_anew(&server, node).await;
    grants_nothing(&sale, &server).await;
    assert!(other.ask(&server).await, "the other masters go on");
    says(&server, node, 2, 1).await;
    let status = server.store.status();
    let said = format!("{} has 1 of 2 replicas in step", node.address());
    assert!(
        status
            .warnings
            .iter()
            .any(|warning| warning.starts_with(&said))
    );
    assert!(!status_of(&server, node).unwrap().acknowledging);
    assert_eq!(status.required_replicas, 1, "the least of all masters");
    sync_delay(node, "0");
    sale.ask_until_granted(&server).await;
    says(&server, node, 2, 2).await;
    assert!(sale.ask(&server).await);

    cluster.node(new).kill_9();
    let killed = now();
    sale.ask_until_granted(&server).await;
    assert_eq!(
        is_failed(&cluster, new, 0),
        Ok(()),
        "granted while it counts"
    );
    let waited = sale.of_calls(|calls| calls.iter().filter(|call| call.begun >= killed).count());
    assert!(waited > 1);
    says(&server, node, 1, 1).await;
    sale.ends_well(&server).await;
}

/// How long new replicas of a master wait for their data.
fn sync_delay(master: &Node, seconds: &str) {
    master.ask(&["CONFIG", "SET", "repl-diskless-sync-delay", seconds]);
}

/// `replicated-strict`: a replica that is called failed counts, until somebody
/// has it forgotten. Only its own master's stripes wait for that.
#[tokio::test]
async fn strict_waits_for_a_dead_replica_until_it_is_forgotten() {
    let mut cluster = Cluster::start(3, 1);
    let new = cluster.add_replica(0);
    let server = Server::open(options(&cluster, Acknowledge::ReplicatedStrict));
    let (sale, other) = (
        Sale::begin(&server, &cluster, 0, UNITS).await,
        Sale::begin(&server, &cluster, 1, UNITS).await,
    );
    let node = cluster.node(0);
    sale.ask_until_granted(&server).await;

    cluster.node(new).kill_9();
    eventually("the replica to be failed", async || {
        is_failed(&cluster, new, 0)
    })
    .await;
    lists_anew(&server, node).await;
    grants_nothing(&sale, &server).await;
    says(&server, node, 2, 1).await;
    assert!(other.ask(&server).await, "the other masters go on");

    cluster.forget(new);
    sale.ask_until_granted(&server).await;
    says(&server, node, 1, 1).await;
    sale.ends_well(&server).await;
    other.ends_well(&server).await;
}

/// A store has a guard for each stripe. Where every answer takes its time, they
/// take longer than a list of replicas counts.
#[tokio::test]
async fn a_store_is_made_over_slow_links() {
    let cluster = Plan::new(3, 1).proxied().start();
    for master in cluster.masters() {
        cluster.proxy(master).delay(SLOW);
    }
    let server = Server::start(&cluster);
    let sale = Sale::begin(&server, &cluster, 0, UNITS).await;
    sale.ask_until_granted(&server).await;
}
