//! Keys that somebody deleted, or put something else in the place of: that
//! stripe waits for an operator, the others serve, and nobody is told that
//! something is sold out. And stores that are new, or half made.

use std::collections::BTreeSet;
use std::thread;

use shards::ids::{Quantity, StripeNo};
use shards::inventory::{Error, Reserved, Return, StripeHealth};
use shards::machine::ItemSpec;
use shards::redis::{OpenError, Options, Redis};
use shards::store::{Store, StoreError};

use crate::hand::{guard, hears, keys, own_key, single, stripe_of, target, visit_of};
use crate::server::{Server, eventually, item, request};
use crate::servers::{Node, poll};

const SOUND: &str = "sound";

/// What is spoilt: a key of a stripe, or a part of a shard.
const PARTS: [&str; 12] = [
    "guard", "catalog", "index", "h", "r", "t", "a", "b", "e", "s", "d", "u",
];

fn joining(node: &Node) -> Options {
    Options {
        init: false,
        ..single(node)
    }
}

/// An item all of whose keys are there: one shard, some of everything.
async fn stock(server: &Server, id: &str) {
    let spec = ItemSpec {
        display_name: String::new(),
        shard_count: 1,
        hold_ttl_ms: Some(600_000),
        max_hold_ms: None,
        sell_at_once: false,
        max_units_per_buyer: 3,
        max_units_per_reservation: 0,
        sale_start: None,
        sale_end: None,
        retention_ms: None,
        initial_stock: 100,
    };
    let inventory = &server.inventory;
    let made = inventory
        .create_item(item(id), spec, request(0), None)
        .await;
    made.unwrap();
    for n in 1..6 {
        let decided = server.reserve(id, n).await;
        assert!(
            matches!(decided, Ok(Reserved::Granted { .. })),
            "{decided:?}"
        );
    }
    let back = Return {
        request: request(77),
        quantity: Quantity::new(1).unwrap(),
        discard: false,
    };
    let of = |n| target(id, n);
    inventory.confirm(&of(1), false, None).await.unwrap();
    inventory.return_units(&of(1), &back, None).await.unwrap();
    inventory.cancel(&of(2), None).await.unwrap();
    inventory.extend(&of(3), 900_000, None).await.unwrap();
    inventory.cancel(&of(50), None).await.unwrap();
    let item = item(id);
    let more = inventory.adjust_stock(&item, 5, false, request(78), None);
    more.await.unwrap();
}

/// The key of a part of the only shard of an item, or of its stripe.
fn key_of(node: &Node, id: &str, part: &str) -> String {
    let pattern = match part {
        "guard" | "catalog" | "index" => own_key(stripe_of(id), part),
        part => format!("holdfast:{{*}}:{id}:*:0:{part}"),
    };
    let found = keys(node, &pattern);
    assert_eq!(found.len(), 1, "{id}, {part}: {found:?}");
    found.into_iter().next().unwrap()
}

fn put_something_else(node: &Node, key: &str) {
    let is_text = node.ask(&["TYPE", key]).text() == "string";
    node.ask(&["DEL", key]);
    if is_text {
        node.ask(&["RPUSH", key, "what?"]);
    } else {
        node.ask(&["SET", key, "what?"]);
    }
}

/// Uses an item until its stripe says that it is frozen; it must not say
/// anything else about stock or item.
async fn meets_a_freeze(server: &Server, id: &str, part: &str) {
    let what = format!("a freeze of {id}, whose {part} is spoilt");
    eventually(&what, async || {
        let answer = match part {
            // A buyer's path does not touch these.
            "catalog" | "index" => {
                let entry = server.inventory.item(&item(id), None).await;
                entry.map(|entry| format!("{entry:?}"))
            }
            _ => server.reserve(id, 60).await.map(|said| format!("{said:?}")),
        };
        match answer {
            Err(Error::Store(StoreError::Frozen { .. })) => Ok(()),
            Err(error @ (Error::Store(StoreError::Unavailable(_)) | Error::ShardLost { .. })) => {
                Err(error)
            }
            other => panic!("{id}, whose {part} is spoilt: {other:?}"),
        }
    })
    .await;
}

async fn sells(server: &Server, id: &str, n: u32) {
    let decided = server.reserve_until_decided(id, n).await;
    assert!(
        matches!(decided, Reserved::Granted { .. }),
        "{id}: {decided:?}"
    );
}

/// Spoils every kind of key, each on a stripe of its own.
async fn spoil_each(spoil: impl Fn(&Node, &str)) -> (Node, Vec<(String, &'static str)>) {
    let node = Node::start();
    let (server, other) = (Server::open(single(&node)), Server::open(single(&node)));
    stock(&server, SOUND).await;
    let mut taken = BTreeSet::from([stripe_of(SOUND)]);
    let mut names = (0..).map(|n| format!("item-{n}"));
    let cases: Vec<_> = PARTS
        .iter()
        .map(|part| {
            let name = names.find(|name| taken.insert(stripe_of(name)));
            (name.unwrap(), *part)
        })
        .collect();
    for (id, _) in &cases {
        stock(&server, id).await;
        sells(&other, id, 6).await;
    }
    for (id, part) in &cases {
        spoil(&node, &key_of(&node, id, part));
    }
    for (id, part) in &cases {
        meets_a_freeze(&server, id, part).await;
        let freeze = hears(&server, stripe_of(id)).await;
        assert_eq!(hears(&other, stripe_of(id)).await, freeze, "{part}");
        meets_a_freeze(&other, id, part).await;
    }
    sells(&server, SOUND, 7).await;
    sells(&other, SOUND, 8).await;
    for (id, _) in &cases {
        let key = key_of(&node, id, "guard");
        assert_ne!(node.ask(&["HGET", &key, "frz"]).text(), "");
    }
    for server in [&server, &other] {
        eventually("visits of all stripes", async || {
            let status = server.store.status();
            let counts = (status.frozen_stripes, status.serving_stripes);
            let all = (cases.len(), 64 - cases.len());
            (counts == (u32::try_from(all.0).unwrap(), u32::try_from(all.1).unwrap()))
                .then_some(())
                .ok_or(counts)
        })
        .await;
    }
    drop((server, other));
    // Whoever comes later is told by the guard.
    let later = Server::open(joining(&node));
    for (id, _) in &cases {
        hears(&later, stripe_of(id)).await;
    }
    sells(&later, SOUND, 9).await;
    drop(later);
    (node, cases)
}

/// ⚔ A guard, a catalog, any part of a shard.
#[tokio::test]
async fn what_is_deleted_by_hand_freezes_its_stripe() {
    let (node, cases) = spoil_each(|node, key| {
        node.ask(&["DEL", key]);
    })
    .await;
    // An operator looks, and accepts what is left.
    let server = Server::open(joining(&node));
    for (id, part) in cases {
        let stripe = stripe_of(&id);
        let freeze = hears(&server, stripe).await;
        let released = server
            .inventory
            .release_stripe(stripe, freeze.id, None)
            .await;
        let health = released.unwrap_or_else(|error| panic!("{part}: {error}"));
        assert!(
            matches!(health.stripe.health, StripeHealth::Serving { .. }),
            "{part}: {health:?}"
        );
        match part {
            // There is no such item, or no such shard, any more.
            "catalog" => {
                let entry = server.inventory.item(&item(&id), None).await;
                assert!(matches!(entry, Err(Error::ItemNotFound(_))), "{entry:?}");
            }
            "h" => meets_a_freeze(&server, &id, part).await,
            _ => sells(&server, &id, 61).await,
        }
    }
}

/// ⚔ Keys of another type in the place of these: the script finds out before it
/// writes anything.
#[tokio::test]
async fn what_is_something_else_freezes_its_stripe() {
    let (node, cases) = spoil_each(put_something_else).await;
    for (id, part) in cases {
        if part != "guard" {
            let key = key_of(&node, &id, part);
            let kind = node.ask(&["TYPE", &key]).text();
            let expected = if part == "h" { "list" } else { "string" };
            assert_eq!(kind, expected, "{key} is left to whoever looks");
        }
    }
}

/// ⚔ All of it is gone: everything waits for an operator, and nothing is sold
/// out.
#[tokio::test]
async fn a_flushed_database_freezes_all_stripes() {
    let node = Node::start();
    let (server, other) = (Server::open(single(&node)), Server::open(single(&node)));
    stock(&server, SOUND).await;
    sells(&other, SOUND, 6).await;
    node.ask(&["FLUSHALL"]);
    for server in [&server, &other] {
        meets_a_freeze(server, SOUND, "h").await;
        meets_a_freeze(server, SOUND, "catalog").await;
        eventually("all stripes to be frozen", async || {
            let frozen = server.store.status().frozen_stripes;
            (frozen == 64).then_some(()).ok_or(frozen)
        })
        .await;
    }
    for stripe in StripeNo::all() {
        let freeze = hears(&server, stripe).await;
        assert_eq!(hears(&other, stripe).await, freeze);
    }
    drop((server, other));
    hears(&Server::open(joining(&node)), stripe_of(SOUND)).await;
    node.ask(&["FLUSHALL"]);
    let opened = Redis::open(joining(&node));
    assert!(
        matches!(opened, Err(OpenError::NoStore { .. })),
        "{opened:?}"
    );
}

/// ⚔ A store of which guards are missing, or are no guards, when a server
/// starts.
#[tokio::test]
async fn a_guard_that_is_missing_at_a_start_is_written_as_frozen() {
    let node = Node::start();
    let server = Server::open(single(&node));
    stock(&server, SOUND).await;
    let lost = [0, 1].map(|n| {
        let mut others = StripeNo::all().filter(|stripe| *stripe != stripe_of(SOUND));
        others.nth(n).unwrap()
    });
    drop(server);
    node.ask(&["DEL", &keys(&node, &own_key(lost[0], "guard"))[0]]);
    put_something_else(&node, &keys(&node, &own_key(lost[1], "guard"))[0]);
    let server = Server::open(joining(&node));
    assert_eq!(server.store.status().frozen_stripes, 2, "from the start");
    for stripe in lost {
        hears(&server, stripe).await;
        assert_ne!(guard(&node, stripe, "frz"), "");
    }
    sells(&server, SOUND, 7).await;
    // Also told to make a store: there is one.
    let other = Server::open(single(&node));
    hears(&other, lost[0]).await;
    sells(&other, SOUND, 8).await;
}

/// ⚔ Nobody ever used it: it is being made, or its making was stopped.
#[tokio::test]
async fn a_store_that_is_half_made_is_made_on_purpose_only() {
    let node = Node::start();
    let refused = Redis::open(joining(&node));
    assert!(
        matches!(refused, Err(OpenError::NoStore { .. })),
        "{refused:?}"
    );
    assert!(keys(&node, "*").is_empty());
    drop(Redis::open(single(&node)).unwrap());
    let guards = keys(&node, "holdfast:{*}:guard");
    assert_eq!(guards.len(), 64);
    for (n, key) in guards.iter().enumerate() {
        node.ask(&["HSET", key, "seq", "1"]);
        if n % 2 == 0 {
            node.ask(&["DEL", key]);
        }
    }
    let refused = Redis::open(joining(&node));
    assert!(
        matches!(refused, Err(OpenError::HalfMade { .. })),
        "{refused:?}"
    );
    let server = Server::open(single(&node));
    stock(&server, SOUND).await;
    for stripe in StripeNo::all() {
        server.serves(stripe).await;
    }
    assert_eq!(server.store.status().frozen_stripes, 0);
    drop(server);
    // Another store's guard among them.
    node.ask(&["HSET", &guards[1], "id", &"x".repeat(33)]);
    let refused = Redis::open(single(&node));
    assert!(
        matches!(refused, Err(OpenError::Unusable(_))),
        "{refused:?}"
    );
}

/// Several servers that are all told to make a store, at once: it is one.
#[tokio::test]
async fn servers_that_make_a_store_together_make_one() {
    let node = Node::start();
    let opening: Vec<_> = (0..6)
        .map(|_| {
            let options = single(&node);
            thread::spawn(move || Server::open(options))
        })
        .collect();
    let servers: Vec<_> = opening.into_iter().map(|one| one.join().unwrap()).collect();
    stock(&servers[0], SOUND).await;
    let identity = servers[0].store.identity();
    for server in &servers {
        assert_eq!(server.store.identity(), identity);
        let decided = server.reserve_until_decided(SOUND, 3).await;
        assert!(
            matches!(decided, Reserved::Granted { replayed: true, .. }),
            "{decided:?}"
        );
        for stripe in StripeNo::all() {
            let visit = eventually("a visit", async || visit_of(server.visit(stripe).await)).await;
            assert_eq!(visit.frozen, None);
        }
    }
    poll("one identity", || {
        let ids = StripeNo::all().map(|stripe| guard(&node, stripe, "inc"));
        let ids: BTreeSet<_> = ids.collect();
        (ids.len() == 1).then_some(()).ok_or("several incarnations")
    });
}
