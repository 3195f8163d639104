//! ⚔ A connection never sends anything twice, whatever becomes of it: by commands
//! that, unlike ours, do not mind their being repeated.

use std::time::Duration;

use super::servers::{Cluster, Node, Proxy};
use crate::redis::connect::{Command, Connection, Connector};
use crate::redis::fault::Fault;
use crate::redis::options::{Address, Options};
use crate::redis::survey::Endpoint;

const TIME_MAX: Duration = Duration::from_millis(500);

async fn connect(address: &str) -> Connection {
    let address = Address::parse(&format!("redis://{address}")).unwrap();
    let (host, port) = address.nodes[0].clone();
    let connector = Connector::new(&Options::new(address)).unwrap();
    let connected = connector.connect(&Endpoint { host, port }).await;
    connected.ok().unwrap()
}

/// How many were acknowledged, and how many may have been done.
#[derive(Default)]
struct Counted {
    done: i64,
    unknown: i64,
}

async fn count(connection: &Connection, keys: &[&str], counted: &mut Counted) {
    let commands = keys.iter().map(|key| Command::new("INCR", [*key]));
    let answers = connection.ask(commands.collect(), keys.len(), TIME_MAX);
    for (key, answer) in keys.iter().zip(answers.await) {
        if key.starts_with("counted") {
            match answer {
                Ok(_) => counted.done += 1,
                Err(Fault::Unknown(_)) => counted.unknown += 1,
                // Not even sent.
                Err(Fault::Closed) => {}
                Err(fault) => panic!("{fault:?}"),
            }
        }
    }
}

#[track_caller]
fn check(node: &Node, counted: &Counted) {
    let found = node.ask(&["GET", "counted"]).text().parse::<i64>().unwrap();
    let bounds = counted.done..=counted.done + counted.unknown;
    assert!(bounds.contains(&found), "{found} of {bounds:?}");
    assert!(counted.done > 0 && counted.unknown > 0, "{bounds:?}");
}

#[tokio::test]
async fn on_connections_that_break() {
    let node = Node::start();
    let proxy = Proxy::to(node.socket_address());
    let address = proxy.address().to_string();
    let mut counted = Counted::default();
    for round in 0..30 {
        let connection = connect(&address).await;
        for delay in [0, round % 4] {
            // Broken before, while and after it works on them.
            proxy.delay(Duration::from_millis(delay));
            let asked = count(&connection, &["counted"; 5], &mut counted);
            let breaks = async {
                if delay > 0 {
                    tokio::task::yield_now().await;
                    proxy.close();
                }
            };
            tokio::join!(asked, breaks);
        }
        // Nor later on: it stays broken.
        count(&connection, &["counted"; 5], &mut counted).await;
        proxy.delay(Duration::ZERO);
    }
    check(&node, &counted);
}

/// Broken while nobody asked anything: known at once, and nothing is sent.
#[tokio::test]
async fn what_is_closed_is_known_before_anything_is_sent() {
    let node = Node::start();
    let proxy = Proxy::to(node.socket_address());
    let connection = connect(&proxy.address().to_string()).await;
    assert!(!connection.is_over());
    proxy.close();
    while !connection.is_over() {
        tokio::task::yield_now().await;
    }
    let command = Command::new("INCR", ["counted"]);
    let answers = connection.ask(vec![command], 1, TIME_MAX).await;
    assert_eq!(answers, [Err(Fault::Closed)]);
}

/// The driver closes the connection upon CLUSTERDOWN.
#[tokio::test]
async fn beside_a_slot_that_nobody_serves() {
    let cluster = Cluster::start(1, 0);
    let node = cluster.node(0);
    let (mine, other) = ("counted", "{nobody's}");
    let slot = fred::util::redis_keyslot(other.as_bytes()).to_string();
    node.ask(&["CLUSTER", "DELSLOTS", &slot]);
    let mut counted = Counted::default();
    for keys in [
        &[mine][..],
        &[mine, other, mine],
        &[other, mine],
        &[mine, other],
    ]
    .repeat(10)
    {
        let connection = connect(&node.address()).await;
        count(&connection, keys, &mut counted).await;
        count(&connection, &[mine], &mut counted).await;
    }
    check(node, &counted);
}
