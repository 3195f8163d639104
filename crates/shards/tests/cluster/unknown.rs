//! Connections that break while something is under way on them.

use std::collections::BTreeSet;
use std::time::Duration;

use shards::inventory::Reserved;

use crate::grants::Sale;
use crate::server::{Server, eventually};
use crate::servers::{Connection, Node, Plan};

/// Requests at a time.
const REQUESTS: usize = 16;
/// Each direction of the link: an answer that has left the node is still far.
const DELAY: Duration = Duration::from_millis(50);
const CUTS: usize = 3;

/// The records of the only item here.
fn records(node: &Node) -> i64 {
    let keys = node.ask(&["KEYS", "holdfast:*:r"]);
    let counts = keys.items().iter().map(|key| {
        let key = key.text();
        node.ask(&["HLEN", &key]).int()
    });
    counts.sum()
}

/// The runs of the script that a node was asked for, with all their arguments,
/// since it was told to tell.
fn runs(node: &Node, mut monitor: Connection) -> Vec<String> {
    let end = "that is all";
    node.ask(&["ECHO", end]);
    let mut runs = Vec::new();
    loop {
        let line = monitor.receive().unwrap().text();
        // After the time and the caller's address.
        let (_, command) = line.split_once("] ").unwrap();
        if command.contains(end) {
            return runs;
        }
        if command.starts_with("\"EVALSHA\"") {
            runs.push(command.to_owned());
        }
    }
}

/// ⚔ A connection breaks when the node has done its work and the answers are
/// still under way. The callers hear that nobody knows, a retry with the same
/// ids tells, and nothing is sent a second time by itself: each run has a number
/// of its own among its arguments, so that two that are equal are one, twice.
#[tokio::test]
async fn what_was_cut_off_is_unknown_and_is_not_sent_again() {
    let cluster = Plan::new(3, 1).proxied().start();
    let server = Server::start(&cluster);
    let sale = Sale::begin(&server, &cluster, 0, 1_000_000).await;
    let (node, proxy) = (cluster.node(0), cluster.proxy(0));
    let mut monitor = node.connect().unwrap();
    monitor.command(&["MONITOR"]).unwrap();
    let mut found = 0;
    for cut in 1..=CUTS {
        sale.ask_until_granted(&server).await;
        proxy.delay(DELAY);
        let before = records(node);
        let asked = sale.of_calls(<[_]>::len);
        let story = async {
            eventually("the work to be done", async || {
                if records(node) > before {
                    Ok(())
                } else {
                    Err(before)
                }
            })
            .await;
            proxy.close();
            proxy.delay(Duration::ZERO);
        };
        tokio::join!(sale.ask_many(&server, REQUESTS), story);
        let unknown: Vec<u32> = sale.of_calls(|calls| {
            let new = calls[asked..].iter();
            let unknown = new.filter(|call| call.unknown().is_some());
            unknown.map(|call| call.n).collect()
        });
        assert!(!unknown.is_empty(), "cut {cut} cut nothing off");
        for n in unknown {
            let again = sale.replay(&server, n).await;
            found += usize::from(matches!(again, Reserved::Granted { replayed: true, .. }));
        }
    }
    assert!(found > 0, "what was done is found again");
    sale.ends_well(&server).await;

    let runs = runs(node, monitor);
    let distinct: BTreeSet<&String> = runs.iter().collect();
    println!("{} runs, {found} of them found again", runs.len());
    assert_eq!(distinct.len(), runs.len(), "a run was sent twice");
}
