//! What a node may say instead of an answer, each provoked on a real server:
//! what callers are told, and what the operator does. In all cases the store
//! serves again by itself once the cause is gone, nothing is done twice, and
//! nobody is told that units are sold out.
//!
//! | the node | callers are told | the operator |
//! |---|---|---|
//! | NOSCRIPT: forgot the script (SCRIPT FLUSH) | nothing: it is sent again | nothing |
//! | LOADING: restarted, reads its data | STORE_UNAVAILABLE | waits |
//! | READONLY: is a replica now | STORE_UNAVAILABLE | of a cluster nothing; alone: names the new master in --store |
//! | CLUSTERDOWN: a master is lost and all slots are required; nobody serves the slot | STORE_UNAVAILABLE; OUTCOME_UNKNOWN for what was under way when it began | sets cluster-require-full-coverage no; brings the master back, assigns the slot |
//! | TRYAGAIN, ASK: the slot is on its way to another node | STORE_UNAVAILABLE | ends the migration |
//! | MOVED: it has arrived there | STORE_UNAVAILABLE, for about a second | nothing |
//! | BUSY: a script of somebody else does not end | STORE_UNAVAILABLE; OUTCOME_UNKNOWN for what was under way when it began | SCRIPT KILL |
//! | OOM: no memory | nothing: the script runs all the same; new reservations get STORE_FULL from 85% on | raises maxmemory |
//! | NOREPLICAS: fewer than min-replicas-to-write | STORE_UNAVAILABLE | brings replicas back |
//! | MISCONF: cannot write to its disk | STORE_UNAVAILABLE | makes room on its disk |
//! | WRONGTYPE: a key was overwritten by hand | DATA_LOSS_SUSPECTED: the stripe is frozen | looks for what happened, then releases it |
//! | NOAUTH, WRONGPASS: another password | STORE_UNAVAILABLE from the next connection on | restarts Holdfast with it, or sets the old one beside it |
//! | NOPERM: a right was withdrawn | STORE_UNAVAILABLE | gives it back |
//! | NOPERM within the script (a command that it uses) | OUTCOME_UNKNOWN, then DATA_LOSS_SUSPECTED if half of it was done | gives it back, then releases the stripe |
//! | closes the connection | OUTCOME_UNKNOWN for what was under way | nothing |
//! | accepts, and never answers | OUTCOME_UNKNOWN for what was under way, then STORE_UNAVAILABLE | brings it back |

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use shards::inventory::{Error, Reserved, Target};
use shards::redis::{Credentials, Options};
use shards::store::{Store, StoreError};

use crate::sale::{Sale, Told, single, single_at};
use crate::server::{Server, eventually};
use crate::servers::{Node, Proxy};

#[tokio::test]
async fn a_forgotten_script_is_sent_again_and_nobody_notices() {
    let node = Node::start();
    let sale = Sale::start(single(&node)).await;
    sale.during(async {
        for _ in 0..10 {
            sale.granted_more(50).await;
            node.ask(&["SCRIPT", "FLUSH"]);
        }
        sale.granted_more(50).await;
    })
    .await;
    assert!(!sale.was_told(|told| *told != Told::Granted));
    sale.settle().await;
}

#[tokio::test]
async fn a_node_that_loads_its_data_is_waited_for() {
    let node = Arc::new(Node::start());
    let sale = Sale::start(single(&node)).await;
    // While it loads it answers every thousand commands or so.
    let keys: Vec<_> = (0..4_000).map(|n| format!("other:{n}")).collect();
    let sets: Vec<_> = keys.iter().map(|key| ["SET", key, "1"]).collect();
    let sets: Vec<_> = sets.iter().map(|words| &words[..]).collect();
    node.connect().unwrap().pipeline(&sets).unwrap();
    sale.during(async {
        sale.granted_more(50).await;
        node.shut_down();
        let restarted = Arc::clone(&node);
        // In microseconds, for each command.
        let slow = node.settings().set("key-load-delay", "400");
        let restart = std::thread::spawn(move || restarted.restart_with(slow));
        sale.told_of("LOADING", |told| told.is_unavailable("LOADING"))
            .await;
        sale.granted_more(50).await;
        restart.join().unwrap();
    })
    .await;
    sale.settle().await;
}

/// A node alone that becomes a replica of one that there is not: it keeps its
/// data, and takes nothing.
#[tokio::test]
async fn a_node_that_became_a_replica_is_not_written_to() {
    let node = Node::start();
    let sale = Sale::start(single(&node)).await;
    sale.during(async {
        sale.granted_more(50).await;
        node.ask(&["REPLICAOF", "127.0.0.1", "1"]);
        // First by what it says, then by knowing so.
        for words in ["READONLY", "it is a replica now"] {
            sale.told_of(words, |told| told.is_unavailable(words)).await;
        }
        node.ask(&["REPLICAOF", "NO", "ONE"]);
        sale.granted_more(50).await;
    })
    .await;
    assert!(!sale.was_told(Told::is_unknown));
    sale.settle().await;
}

#[tokio::test]
async fn a_busy_node_is_waited_for() {
    let node = Node::start();
    node.ask(&["CONFIG", "SET", "busy-reply-threshold", "50"]);
    let sale = Sale::start(single(&node)).await;
    sale.during(async {
        sale.granted_more(50).await;
        let mut endless = node.connect().unwrap();
        endless.send(&["EVAL", "while true do end", "0"]).unwrap();
        sale.told_of("BUSY", |told| told.is_unavailable("BUSY"))
            .await;
        node.ask(&["SCRIPT", "KILL"]);
        sale.granted_more(50).await;
    })
    .await;
    sale.settle().await;
}

#[tokio::test]
async fn a_node_without_memory_still_gives_units_back() {
    let node = Node::start();
    let sale = Sale::start(single(&node)).await;
    let stripe = sale.stripe().await;
    let Server { inventory, .. } = &sale.server;
    node.ask(&["SET", "other", &"x".repeat(4 << 20)]);
    node.ask(&["CONFIG", "SET", "maxmemory", "1mb"]);
    let refused = node.command(&["SET", "another", "x"]).unwrap_err();
    assert!(refused.starts_with("OOM"), "{refused}");
    let asked = AtomicU32::new(1_000);
    let fresh = || asked.fetch_add(1, Ordering::Relaxed);
    eventually("a full store", async || {
        match sale.server.reserve("item", fresh()).await {
            Err(Error::StoreFull) => Ok(()),
            other => Err(other),
        }
    })
    .await;
    let granted = sale.server.reserve("item", 1).await;
    let Ok(Reserved::Granted { receipt, .. }) = granted else {
        panic!("{granted:?}");
    };
    let target = Target::Id(inventory.parse_reservation_id(&receipt.id).unwrap());
    inventory.extend(&target, 3_700_000, None).await.unwrap();
    // Also on a new connection, to a node that must be sent the script first.
    node.ask(&["SCRIPT", "FLUSH"]);
    node.ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    sale.server.serves(stripe).await;
    inventory.cancel(&target, None).await.unwrap();
    node.ask(&["CONFIG", "SET", "maxmemory", "0"]);
    eventually("room", async || {
        let again = sale.server.reserve("item", fresh()).await;
        again.map(|_| ())
    })
    .await;
}

#[tokio::test]
async fn a_node_that_misses_its_replicas_takes_nothing() {
    let node = Node::start();
    let sale = Sale::start(single(&node)).await;
    refuses(&sale, "NOREPLICAS", |wrong| {
        let least = if wrong { "1" } else { "0" };
        node.ask(&["CONFIG", "SET", "min-replicas-to-write", least]);
    })
    .await;
}

#[tokio::test]
async fn a_node_that_cannot_write_its_disk_takes_nothing() {
    let node = Node::start();
    let sale = Sale::start(single(&node)).await;
    let in_the_way = node.dir().join("data/dump.rdb");
    refuses(&sale, "MISCONF", |wrong| {
        if wrong {
            // A snapshot is made beside its place, and cannot get there.
            std::fs::create_dir(&in_the_way).unwrap();
            node.ask(&["CONFIG", "SET", "save", "3600 1000000"]);
        } else {
            std::fs::remove_dir(&in_the_way).unwrap();
        }
        node.ask(&["BGSAVE"]);
        crate::servers::poll("a snapshot", || {
            let status = node.info("rdb_last_bgsave_status")?;
            let done = (status == "err") == wrong;
            if done { Ok(()) } else { Err(status) }
        });
    })
    .await;
}

#[tokio::test]
async fn a_right_that_is_withdrawn_is_missed_before_anything_is_done() {
    let node = with_password();
    let sale = Sale::start(as_user(&node)).await;
    for right in ["evalsha", "info"] {
        refuses(&sale, "NOPERM", |wrong| {
            let sign = if wrong { "-" } else { "+" };
            acl(&node, &[&format!("{sign}{right}")]);
        })
        .await;
    }
}

/// Callers are refused while the cause is there, with its name; status does not
/// say that the node acknowledges; and it serves again afterwards.
async fn refuses(sale: &Sale, code: &str, cause: impl Fn(bool)) {
    sale.during(async {
        sale.granted_more(50).await;
        cause(true);
        eventually(code, async || {
            let status = sale.server.store.status();
            let refused = sale.was_told(|told| told.is_unavailable(code));
            if refused && status.serving_stripes == 0 && !status.acknowledges() {
                Ok(())
            } else {
                Err((sale.told().last().cloned(), status))
            }
        })
        .await;
        cause(false);
        sale.granted_more(50).await;
    })
    .await;
    assert!(!sale.was_told(Told::is_unknown), "nothing was begun");
    sale.settle().await;
}

fn with_password() -> Node {
    let node = Node::start();
    acl(&node, &["reset", "on", ">first", "~holdfast:*", "+@all"]);
    node
}

/// Changes what the user may do that Holdfast is to the node.
fn acl(node: &Node, rules: &[&str]) {
    let words = [&["ACL", "SETUSER", "holdfast"], rules].concat();
    node.ask(&words);
}

/// Whose store is on this node, by its first password.
fn as_user(node: &Node) -> Options {
    Options {
        credentials: Some(Credentials {
            username: Some("holdfast".to_owned()),
            password: "first".to_owned(),
        }),
        ..single(node)
    }
}

/// A change of the password concerns new connections only.
#[tokio::test]
async fn another_password_is_missed_from_the_next_connection_on() {
    let node = with_password();
    let sale = Sale::start(as_user(&node)).await;
    sale.during(async {
        sale.granted_more(50).await;
        acl(&node, &["resetpass", ">second"]);
        sale.granted_more(50).await;
        node.ask(&["CLIENT", "KILL", "USER", "holdfast"]);
        sale.told_of("WRONGPASS", |told| told.is_unavailable("WRONGPASS"))
            .await;
        acl(&node, &[">first"]);
        sale.granted_more(50).await;
    })
    .await;
    for told in sale.told() {
        assert!(!format!("{told:?}").contains("first"), "{told:?}");
    }
    sale.settle().await;
}

#[tokio::test]
async fn a_password_where_there_was_none_is_missed() {
    let node = Node::start();
    let mut admin = node.connect().unwrap();
    let sale = Sale::start(single(&node)).await;
    sale.during(async {
        sale.granted_more(50).await;
        admin
            .command(&["CONFIG", "SET", "requirepass", "new"])
            .unwrap();
        admin
            .command(&["CLIENT", "KILL", "TYPE", "normal"])
            .unwrap();
        sale.told_of("NOAUTH", |told| told.is_unavailable("NOAUTH"))
            .await;
        admin
            .command(&["CONFIG", "SET", "requirepass", ""])
            .unwrap();
        sale.granted_more(50).await;
    })
    .await;
    sale.settle().await;
}

/// The one refusal that comes in the middle of the work, which a script that
/// fails does not undo.
#[tokio::test]
async fn a_command_that_is_withdrawn_from_the_script_freezes_the_stripe() {
    let node = with_password();
    let sale = Sale::start(as_user(&node)).await;
    let stripe = sale.stripe().await;
    let connections = || {
        let clients = node.ask(&["CLIENT", "LIST"]).text();
        let id = |line: &str| line.split(' ').next().unwrap().to_owned();
        let ours = clients
            .lines()
            .filter(|line| line.contains("user=holdfast"));
        ours.map(id).collect::<Vec<_>>()
    };
    let before = connections();
    acl(&node, &["-rpush"]);
    let told = sale.ask().await;
    assert!(told.is_unknown(), "{told:?}");
    assert_eq!(before, connections(), "it is no reason for another one");
    let frozen = eventually("the stripe to be frozen", async || {
        match sale.server.reserve("item", 1).await {
            Err(Error::Store(StoreError::Frozen { freeze_id, .. })) => Ok(freeze_id),
            other => Err(other),
        }
    })
    .await;
    acl(&node, &["+rpush"]);
    let release = sale.server.inventory.release_stripe(stripe, frozen, None);
    release.await.unwrap();
    let granted = sale.server.reserve_until_decided("item", 1).await;
    assert!(matches!(granted, Reserved::Granted { replayed: true, .. }));
    sale.ask_until_granted().await;
}

#[tokio::test]
async fn a_key_of_another_type_freezes_its_stripe() {
    let node = Node::start();
    let sale = Sale::start(single(&node)).await;
    let stripe = sale.stripe().await;
    let keys = node.ask(&["KEYS", "holdfast:*:item:*:r"]);
    let key = keys.items()[0].text();
    node.ask(&["DEL", &key]);
    node.ask(&["SET", &key, "overwritten by hand"]);
    let freeze_id = eventually("the stripe to be frozen", async || {
        match sale.server.reserve("item", 2).await {
            Err(Error::Store(StoreError::Frozen { freeze_id, .. })) => Ok(freeze_id),
            other => Err(other),
        }
    })
    .await;
    assert_eq!(sale.server.store.status().frozen_stripes, 1);
    // Put right by hand, and released.
    node.ask(&["DEL", &key]);
    eventually("the release", async || {
        let release = sale
            .server
            .inventory
            .release_stripe(stripe, freeze_id, None);
        release.await
    })
    .await;
    sale.server.reserve_until_decided("item", 3).await;
}

#[tokio::test]
async fn what_a_connection_breaks_off_is_unknown_and_done_once_at_most() {
    let node = Node::start();
    let proxy = Proxy::to(node.socket_address());
    let sale = Sale::start(single_at(&proxy.address().to_string())).await;
    // So that there is always something under way.
    proxy.delay(Duration::from_millis(3));
    sale.during(async {
        for _ in 0..10 {
            sale.granted_more(20).await;
            proxy.close();
        }
        sale.granted_more(20).await;
    })
    .await;
    assert!(sale.was_told(Told::is_unknown));
    sale.settle().await;
}

/// It accepts, and holds back all that it is sent; in the end it does all of it,
/// long after callers were answered.
#[tokio::test]
async fn a_node_that_never_answers_is_given_up_and_taken_up_again() {
    let node = Node::start();
    let proxy = Proxy::to(node.socket_address());
    let sale = Sale::start(single_at(&proxy.address().to_string())).await;
    sale.during(async {
        sale.granted_more(50).await;
        proxy.cut();
        sale.told_of("no answer", Told::is_unknown).await;
        sale.told_of("being given up", |told| told.is_unavailable(""))
            .await;
        proxy.heal();
        sale.granted_more(50).await;
    })
    .await;
    sale.settle().await;
}
