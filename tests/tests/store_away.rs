//! A store in Redis that is away, in part or as a whole, for a while or when a
//! server starts; and what its operators see of it.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests, which may fail them"
)]

use std::net::TcpListener;

use e2e::redis::Node;
use e2e::{
    Ended, Failure, Ids, Server, Setup, Shop, Store, failure, holdfast, http, item, ok, poll_until,
    within,
};
use proto::v1::{GetStatusRequest, GetStatusResponse, Item, ReserveOutcome, StripeState};
use serde_json::{Value, json};
use shards::hash::catalog_stripe;
use shards::ids::ItemId;
use tokio::task::{JoinSet, spawn_blocking};
use tonic::Code;

async fn status(shop: &Shop) -> GetStatusResponse {
    ok(shop.admin().get_status(GetStatusRequest {}).await)
}

/// Waits until so many masters acknowledge, by what the server says.
async fn acknowledge(shop: &Shop, masters: usize) {
    poll_until("masters that acknowledge", async || {
        let status = status(shop).await;
        let count = status
            .nodes
            .iter()
            .filter(|node| node.acknowledging)
            .count();
        (count == masters)
            .then_some(())
            .ok_or(format!("{status:?}"))
    })
    .await;
}

/// Waits until health says this of the store; of the service it says all the
/// time that it serves.
async fn store_is(server: &Server, said: &str) {
    let shop = server.shop();
    poll_until("health of the store", async || {
        let all = shop.health_of(&["", "liveness", "store"]).await;
        for service in ["", "liveness"] {
            assert_eq!(all[service].as_deref(), Some("SERVING"), "{service:?}");
        }
        let store = all["store"].as_deref();
        (store == Some(said))
            .then_some(())
            .ok_or(format!("{store:?}"))
    })
    .await;
    let ready = http(server.http_authority(), "GET", "/readyz").await;
    assert_eq!(ready.status, 200, "{ready:?}");
}

/// Waits until an item sells.
async fn sells(shop: &Shop, ids: &mut Ids) {
    let key = ids.key("it");
    let reply = poll_until("an item that sells", async || shop.reserve(&key, 1).await);
    assert_eq!(reply.await.into_inner().outcome(), ReserveOutcome::Reserved);
}

/// What callers may be told while the store is away: never that something is
/// sold out, or that it is not there.
#[track_caller]
fn assert_away(failure: &Failure) {
    let known = ["STORE_UNAVAILABLE", "OUTCOME_UNKNOWN"];
    let reason = &*failure.reasons[0];
    assert!(known.contains(&reason), "{failure:#?}");
    failure.is(Code::Unavailable, reason);
}

async fn health_goes_by_the_last_master_that_acknowledges(store: Store) {
    let server = store.serve(holdfast!()).await;
    let (shop, mut ids) = (server.shop(), Ids::seeded());
    shop.create(item("it"), 1_000).await;
    sells(&shop, &mut ids).await;
    let nodes = store.nodes();
    acknowledge(&shop, nodes.len()).await;
    let (last, others) = nodes.split_last().unwrap();
    if let Some(one) = others.first() {
        one.kill_9();
        acknowledge(&shop, nodes.len() - 1).await;
        store_is(&server, "SERVING").await;
    }
    let left = nodes.iter().filter(|node| node.is_running());
    left.for_each(Node::kill_9);
    store_is(&server, "NOT_SERVING").await;
    let told = status(&shop).await;
    assert_eq!(
        (told.serving_stripes, told.unavailable_stripes),
        (Some(0), Some(64)),
        "{told:?}"
    );
    assert_away(&failure(shop.reserve(&ids.key("it"), 1).await));

    last.restart();
    for other in others {
        other.restart();
    }
    store_is(&server, "SERVING").await;
    acknowledge(&shop, nodes.len()).await;
    sells(&shop, &mut ids).await;
    shop.assert_sound_soon("it").await;
    assert_eq!(status(&shop).await.frozen_stripes, Some(0));
}

#[tokio::test]
async fn health_goes_by_the_only_redis() {
    health_goes_by_the_last_master_that_acknowledges(durable(Store::redis())).await;
}

#[tokio::test]
async fn health_goes_by_the_last_master_of_a_cluster() {
    health_goes_by_the_last_master_that_acknowledges(durable(Store::cluster())).await;
}

/// The same store, which also keeps what it had acknowledged when it is killed.
fn durable(store: Store) -> Store {
    for node in store.nodes() {
        node.ask(&["CONFIG", "SET", "appendfsync", "always"]);
    }
    store
}

/// A store that hangs holds nobody up who leaves.
#[tokio::test]
async fn a_drain_ends_although_the_store_hangs() {
    let store = Store::redis();
    let setup = Setup::new(holdfast!()).on(&store);
    let setup = setup.args(&["--drain-grace", "0s", "--drain-deadline", "2s"]);
    let mut server = setup.start().await;
    let (shop, mut ids) = (server.shop(), Ids::seeded());
    shop.create(item("it"), 1_000).await;
    let node = &store.nodes()[0];
    node.stop();
    let mut calls = JoinSet::new();
    for _ in 0..20 {
        let (shop, key) = (server.shop(), ids.key("it"));
        calls.spawn(async move { failure(shop.reserve(&key, 1).await) });
    }
    server.sigterm();
    server.assert_clean_exit().await;
    for told in within("calls under way", calls.join_all()).await {
        if told.reasons.is_empty() || told.reasons == ["DRAINING"] {
            continue; // it came too late, or was cut off
        }
        assert_away(&told);
    }
    node.cont();
    let server = server.restart().await;
    sells(&server.shop(), &mut ids).await;
    server.shop().assert_sound_soon("it").await;
}

/// Somebody may begin with the servers.
#[tokio::test]
async fn a_server_waits_a_while_for_its_store() {
    let store = Store::redis();
    let (first, mut ids) = (store.serve(holdfast!()).await, Ids::seeded());
    first.shop().create(item("it"), 10).await;
    drop(first);
    let node = &store.nodes()[0];
    node.shut_down();
    // Where it will be: whoever comes there now is told nothing, and came.
    let listener = TcpListener::bind(node.socket_address()).unwrap();
    let came = spawn_blocking(move || listener.accept().map(drop));
    let start = Setup::new(holdfast!()).on(&store).start();
    let back = async {
        within("a server that looks for its store", came)
            .await
            .unwrap()
            .unwrap();
        node.restart();
    };
    let (server, ()) = tokio::join!(start, back);
    sells(&server.shop(), &mut ids).await;
    assert_eq!(server.shop().units("it").await, [9, 1, 0]);
}

/// Of a cluster, what is there is served, also by a server that starts then.
#[tokio::test]
async fn a_server_that_starts_while_a_master_is_away_serves_from_the_others() {
    let store = durable(Store::cluster());
    let (first, mut ids) = (store.serve(holdfast!()).await, Ids::seeded());
    let slot = |id: &str| {
        let stripe = catalog_stripe(&ItemId::parse(id).unwrap());
        u16::from(stripe.0) * 256 + 128
    };
    let lost = store.node_of_slot(slot("it"));
    let other = (0..).map(|number| format!("other-{number}"));
    let mut other = other.filter(|id| store.node_of_slot(slot(id)).port() != lost.port());
    let other = other.next().unwrap();
    for id in ["it", &*other] {
        let spec = Item {
            shard_count: 1,
            ..item(id)
        };
        first.shop().create(spec, 10).await;
    }
    drop(first);
    lost.kill_9();
    let server = store.serve(holdfast!()).await;
    let shop = server.shop();
    let reply = ok(shop.reserve(&ids.key(&other), 1).await);
    assert_eq!(reply.outcome(), ReserveOutcome::Reserved);
    assert_away(&failure(shop.reserve(&ids.key("it"), 1).await));
    store_is(&server, "SERVING").await;

    lost.restart();
    sells(&shop, &mut ids).await;
    acknowledge(&shop, 3).await;
    for id in ["it", &other] {
        shop.assert_sound_soon(id).await;
    }
}

/// A command of an operator, and its JSON.
async fn operate(server: &Server, line: &str) -> Value {
    let args: Vec<_> = line.split_whitespace().collect();
    let address = ["--addr", server.address(), "--output", "json"];
    let ended: Ended = holdfast!().run(&[&args[..], &address].concat()).await;
    assert_eq!(ended.code, Some(0), "{line}: {ended:#?}");
    ended.json()
}

#[tokio::test]
async fn operators_find_a_frozen_stripe_and_release_it_by_command() {
    let store = Store::cluster();
    let (server, mut ids) = (store.serve(holdfast!()).await, Ids::seeded());
    server.shop().create(item("it"), 100).await;
    sells(&server.shop(), &mut ids).await;
    let all = operate(&server, "stripes list").await;
    assert_eq!(all["stripes"].as_array().unwrap().len(), 64);
    let of_item = operate(&server, "stripes list --item it").await;
    assert_eq!(of_item["stripes"].as_array().unwrap().len(), 3);

    let node = &store.nodes()[1];
    let guards = node.ask(&["KEYS", "holdfast:*:guard"]);
    node.ask(&[b"DEL".as_slice(), &guards.items()[0].bytes()]);
    let found = poll_until("a frozen stripe", async || {
        let frozen = operate(&server, "stripes list --state frozen").await;
        match &frozen["stripes"].as_array().unwrap()[..] {
            [] => Err("none is frozen"),
            [one] => Ok(one.clone()),
            more => panic!("{more:?}"),
        }
    })
    .await;
    assert_eq!(found["endpoint"], node.address(), "{found}");
    let state = StripeState::Frozen.as_str_name();
    assert_eq!(found["state"], state.trim_start_matches("STRIPE_STATE_"));
    assert_eq!(operate(&server, "status").await["frozen_stripes"], 1);

    let (number, id) = (&found["stripe"], found["freeze_id"].as_str().unwrap());
    let release =
        format!("stripes release {number} --freeze-id {id} --accept-loss --reason test --yes");
    operate(&server, &release).await;
    poll_until("a released stripe", async || {
        let status = operate(&server, "status").await;
        let serving = &status["serving_stripes"];
        (*serving == json!(64)).then_some(()).ok_or(status)
    })
    .await;
    sells(&server.shop(), &mut ids).await;
    server.shop().assert_sound_soon("it").await;
}
