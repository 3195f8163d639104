//! Processes that no longer are what they were: a master that others have
//! followed, and one that began a new history under an old connection.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use shards::inventory::Reserved;
use shards::store::Store;

use crate::grants::Sale;
use crate::server::{Server, eventually, now, tick};
use crate::servers::{Cluster, Node, Value};

/// Requests that are sent to a frozen master.
const REQUESTS: usize = 32;
/// Bytes of them that have arrived there: more than a survey has.
const ARRIVED_BYTES: u64 = 2_000;
/// A flush is given up after half a second, so the story is told in less.
const STORY_TIME_MAX: Duration = Duration::from_millis(250);
/// Freezes: what is under way just then decides what a freeze shows.
const FREEZES_MAX: usize = 8;

/// Bytes that wait to be read on connections to this node.
fn unread_bytes(node: &Node) -> u64 {
    let table = fs::read_to_string("/proc/net/tcp").expect("the kernel's table");
    let local = format!(":{:04X}", node.port());
    let unread = table.lines().skip(1).filter_map(|line| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let (_, unread) = words[4].split_once(':')?;
        let is_its = words[1].ends_with(&local) && words[3] == "01";
        is_its.then(|| u64::from_str_radix(unread, 16).expect("a number"))
    });
    unread.max().unwrap_or(0)
}

/// ⚔ A master is frozen, its replica takes over, and the master goes on: before
/// it hears of that it executes what had been sent to it, says success, and all
/// of it vanishes. WAIT is what tells.
#[tokio::test]
async fn what_a_frozen_old_master_executes_is_not_acknowledged() {
    let cluster = Cluster::start(3, 1);
    let server = Server::start(&cluster);
    let (mut master, mut replica) = (0, 3);
    let sale = Sale::begin(&server, &cluster, master, 1_000_000).await;
    for _ in 0..FREEZES_MAX {
        sale.ask_until_granted(&server).await;
        sale.ask_many(&server, REQUESTS).await;
        cluster.node(master).stop();
        let frozen = now();
        let story = async {
            let over = frozen + STORY_TIME_MAX;
            while unread_bytes(cluster.node(master)) < ARRIVED_BYTES && now() < over {
                tick().await;
            }
            let takeover = ["CLUSTER", "FAILOVER", "TAKEOVER"];
            cluster.node(replica).ask(&takeover);
            cluster.node(master).cont();
        };
        tokio::join!(sale.ask_many(&server, REQUESTS), story);
        eventually("the old master's return", async || {
            let view = Cluster::view_of(cluster.node(1))?;
            let old = view.member(cluster.id(master)).ok_or("unknown")?;
            if old.master.as_deref() != Some(cluster.id(replica)) {
                return Err(format!("{old:?}"));
            }
            cluster.check()
        })
        .await;
        sale.ask_until_granted(&server).await;
        sale.is_kept(&server).await;
        if executed_in_vain(&sale, frozen) {
            return sale.ends_well(&server).await;
        }
        (master, replica) = (replica, master);
    }
    panic!("in none of {FREEZES_MAX} freezes it executed something");
}

/// Whether a request that was sent since then was executed, and WAIT said no.
fn executed_in_vain(sale: &Sale, since: Instant) -> bool {
    sale.of_calls(|calls| {
        let since = calls.iter().filter(|call| call.begun >= since);
        let mut unknown = since.filter_map(|call| call.unknown());
        let said_no = |why: &str| why.contains("UNBLOCKED") || why.contains("replicas needed");
        unknown.any(said_no)
    })
}

/// What the guards on a node say: adoption, by whom, serving from when.
fn guards(node: &Node) -> Vec<(u64, Vec<u8>, i64)> {
    let keys = node.ask(&["KEYS", "holdfast:*:guard"]);
    let number = |value: &Value| value.text();
    let guards = keys.items().iter().map(|key| {
        let key = key.text();
        let guard = node.ask(&["HMGET", &key, "n", "inc", "from"]);
        let [n, inc, from] = guard.items() else {
            panic!("{guard:?}")
        };
        let (n, from) = (number(n).parse().unwrap(), number(from).parse().unwrap());
        (n, inc.bytes(), from)
    });
    guards.collect()
}

/// Run id and replication id, 20 bytes each.
fn incarnation(node: &Node) -> Vec<u8> {
    let ids = node.info("run_id").unwrap() + &node.info("master_replid").unwrap();
    data_encoding::HEXLOWER.decode(ids.as_bytes()).unwrap()
}

/// Waits for the moment in which a server has read who a master is.
async fn surveys(server: &Server, node: &Node) {
    // Its memory is read along, and changes with every run.
    let memory = || {
        let status = server.store.status();
        let mut nodes = status.nodes.iter();
        let found = nodes.find(|other| other.endpoint == node.address());
        found.map(|node| node.used_bytes)
    };
    let before = memory();
    eventually("a survey", async || {
        if memory() == before {
            Err(before)
        } else {
            Ok(())
        }
    })
    .await;
}

/// ⚔ A process begins a new history while a server is connected to it, and
/// another server takes its stripes over. The first one still has a connection
/// on which it read the old incarnation: it must read anew, on a new one, and
/// not take the stripes back.
#[tokio::test]
async fn a_server_with_an_old_connection_takes_no_stripe_back() {
    let cluster = Cluster::start(3, 1);
    let node = cluster.node(0);
    let server = Server::start(&cluster);
    let sale = Sale::begin(&server, &cluster, 0, 1_000_000).await;
    let stripes = guards(node);
    assert!(stripes.len() > 20 && stripes.iter().all(|(number, ..)| *number == 1));
    let stop = AtomicBool::new(false);
    let story = async {
        sale.ask_until_granted(&server).await;
        // It looks again in half a second.
        surveys(&server, node).await;
        node.ask(&["DEBUG", "CHANGE-REPL-ID"]);
        let other = Server::start(&cluster);
        let now_it_is = incarnation(node);
        eventually("all stripes to be taken over", async || {
            let guards = guards(node);
            let others = guards.iter().filter(|(_, inc, _)| *inc != now_it_is);
            let others = others.count();
            if others > 0 { Err(others) } else { Ok(()) }
        })
        .await;
        for server in [&server, &other] {
            sale.ask_until_granted(server).await;
        }
        stop.store(true, Ordering::Relaxed);
        now_it_is
    };
    let ((), now_it_is) = tokio::join!(sale.load(&server, &stop), story);
    for (number, by, _) in guards(node) {
        assert_eq!(number, 2, "taken over more than once");
        assert_eq!(by, now_it_is);
    }

    // For a second after that only visits were served.
    let key = node
        .ask(&["KEYS", "holdfast:*:catalog"])
        .items()
        .first()
        .map(Value::text);
    let guard = key.unwrap().replace(":catalog", ":guard");
    let from = node.ask(&["HGET", &guard, "from"]).text();
    let from: i64 = from.parse().unwrap();
    let (mut before, mut after, mut refused) = (0, 0, 0);
    sale.of_calls(|calls| {
        for call in calls {
            match &call.answer {
                Ok(Reserved::Granted { receipt, .. }) => {
                    let at = receipt.reservation.record.granted.0;
                    assert!(at <= from - 1_000 || at >= from, "{} ms early", from - at);
                    if at < from { before += 1 } else { after += 1 }
                }
                Err(error) if error.to_string().contains("a moment ago") => refused += 1,
                _ => {}
            }
        }
    });
    println!("{before} granted before, {refused} refused, {after} granted after");
    assert!(before > 0 && after > 0 && refused > 0);
    sale.ends_well(&server).await;
}
