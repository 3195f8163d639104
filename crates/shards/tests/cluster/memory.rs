//! A node whose memory runs full in mid-sale: nothing new is taken well before
//! that, and what is there can still be brought to its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use shards::ids::Quantity;
use shards::inventory::{Error, Inventory, Receipt, Reserved, Return};
use shards::machine::ItemSpec;
use shards::redis::Redis;
use shards::store::{Clock, Store, WallClock};
use shards::time::Millis;

use crate::hand::{single, target};
use crate::server::{Server, eventually, item, request};
use crate::servers::Node;

const ITEM: &str = "shoe";
/// Its holds last for a second, its records for ten minutes more.
const BRIEF: &str = "brief";

fn spec(brief: bool) -> ItemSpec {
    ItemSpec {
        display_name: String::new(),
        shard_count: 1,
        hold_ttl_ms: Some(if brief { 1_000 } else { 3_600_000 }),
        max_hold_ms: Some(7_200_000),
        sell_at_once: false,
        max_units_per_buyer: 0,
        max_units_per_reservation: 0,
        sale_start: None,
        sale_end: None,
        retention_ms: brief.then_some(600_000),
        initial_stock: 1_000,
    }
}

/// The wall clock, and what a test adds to it.
#[derive(Clone, Default)]
struct Ahead(Arc<AtomicU64>, WallClock);

impl Clock for Ahead {
    fn now(&mut self, seen: Millis) -> Millis {
        let ahead = self.0.load(Ordering::Relaxed);
        self.1.now(Millis::default()).plus_ms(ahead).max(seen)
    }
}

/// Allows so many percent of what is in use, until the server knows; whether it
/// calls that nearly full.
async fn allow(node: &Node, server: &Server, percent: u64) -> bool {
    let used: u64 = node.info("used_memory").unwrap().parse().unwrap();
    let allowed = used * percent / 100;
    node.ask(&["CONFIG", "SET", "maxmemory", &allowed.to_string()]);
    eventually("the server to know the bound", async || {
        let status = server.store.status();
        let known = status.nodes[0].max_bytes == allowed;
        known.then_some(()).ok_or(status.nodes)
    })
    .await;
    let warnings = server.store.status().warnings;
    warnings.iter().any(|text| text.contains("nearly full"))
}

/// Nothing new is taken; what was decided is still told.
async fn takes_nothing_new(server: &Server, first: u32) {
    let Server {
        inventory,
        store: _,
    } = server;
    let is_full = |what: &str, answer: Result<String, Error>| {
        assert!(
            matches!(answer, Err(Error::StoreFull)),
            "{what}: {answer:?}"
        );
    };
    let said = server.reserve(ITEM, 9_000 + first).await;
    is_full("reserve", said.map(|said| format!("{said:?}")));
    let made = inventory.create_item(item("new"), spec(false), request(1), None);
    is_full("create", made.await.map(|entry| format!("{entry:?}")));
    let (id, total) = (item(ITEM), 1_000);
    let added = inventory.adjust_stock(&id, 5, false, request(2), None);
    is_full("adjust", added.await.map(|changed| format!("{changed:?}")));
    let set = inventory.set_stock(&id, total + 1, total, request(3), None);
    is_full("set", set.await.map(|changed| format!("{changed:?}")));
    let never = target(ITEM, 9_100 + first);
    let unknown = inventory.cancel(&never, None);
    is_full(
        "cancel",
        unknown.await.map(|receipt| format!("{receipt:?}")),
    );
    let replay = server.reserve(ITEM, first).await;
    assert!(
        matches!(replay, Ok(Reserved::Granted { replayed: true, .. })),
        "{replay:?}"
    );
}

/// Brings four holds to their ends, each another way.
async fn ends_what_is_there(server: &Server, first: u32) {
    let Server {
        inventory,
        store: _,
    } = server;
    let done = |what: &str, answer: Result<Receipt, Error>| {
        assert!(answer.is_ok(), "{what}: {answer:?}");
    };
    let of = |n| target(ITEM, first + n);
    done("extend", inventory.extend(&of(0), 5_400_000, None).await);
    done("confirm", inventory.confirm(&of(1), false, None).await);
    done("cancel", inventory.cancel(&of(2), None).await);
    done("confirm", inventory.confirm(&of(3), false, None).await);
    let back = Return {
        request: request(70),
        quantity: Quantity::new(1).unwrap(),
        discard: false,
    };
    done("return", inventory.return_units(&of(3), &back, None).await);
}

#[tokio::test]
async fn a_full_node_takes_nothing_new_and_ends_what_is_there() {
    let node = Node::start();
    // So much that a client's buffer does not matter.
    node.ask(&["SET", "ballast", &"x".repeat(20_000_000)]);
    let clock = Ahead::default();
    let store = Arc::new(Redis::open_by(single(&node), Box::new(clock.clone())).unwrap());
    let server = Server {
        inventory: Inventory::new(Arc::<Redis>::clone(&store)),
        store,
    };
    for (id, brief) in [(ITEM, false), (BRIEF, true)] {
        let made = server
            .inventory
            .create_item(item(id), spec(brief), request(0), None);
        made.await.unwrap();
    }
    for n in 1..12 {
        for id in [ITEM, BRIEF] {
            let decided = server.reserve_until_decided(id, n).await;
            assert!(matches!(decided, Reserved::Granted { .. }), "{decided:?}");
        }
    }

    let told = allow(&node, &server, 112).await;
    takes_nothing_new(&server, 1).await;
    assert!(told, "the status has to say so");
    ends_what_is_there(&server, 1).await;

    allow(&node, &server, 50).await;
    assert!(
        node.command(&["SET", "more", "x"]).is_err(),
        "Redis itself is full"
    );
    takes_nothing_new(&server, 6).await;
    ends_what_is_there(&server, 6).await;
    for (wait_ms, what) in [(2_000, "expired"), (700_000, "purged")] {
        clock.0.fetch_add(wait_ms, Ordering::Relaxed);
        let swept = server.inventory.sweep().await.unwrap();
        let done = match what {
            "expired" => swept.expired,
            _ => swept.purged,
        };
        assert_eq!((done, swept.failed), (11, 0), "{what}: {swept:?}");
    }
    // Who starts now can end things as well.
    let late = Server::open(single(&node));
    let canceled = late.inventory.cancel(&target(ITEM, 10), None).await;
    assert!(canceled.is_ok(), "{canceled:?}");
    drop(late);
    assert_eq!(server.store.status().frozen_stripes, 0);

    assert!(!allow(&node, &server, 1_000).await);
    let decided = server.reserve_until_decided(ITEM, 9_001).await;
    assert!(matches!(decided, Reserved::Granted { .. }), "{decided:?}");
    let audit = shards::inventory::AuditLevel::Records;
    let audit = server
        .inventory
        .audit(&item(ITEM), audit, None)
        .await
        .unwrap();
    assert_eq!(audit.violations, []);
}
