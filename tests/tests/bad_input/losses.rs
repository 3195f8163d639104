//! Acknowledged work that is gone from Redis: the stripe that it was on is
//! frozen for all servers, and nothing else is.

use std::collections::BTreeSet;

use e2e::redis::Node;
use e2e::{Failure, Server, Shop, failure, http, item, ok, poll_until};
use proto::v1::{
    GetStatusRequest, GetStockRequest, Item, ListStripesRequest, ReleaseStripeRequest,
    ReservationKey, ReserveOutcome, StockConsistency, Stripe, StripeState,
};
use shards::hash::catalog_stripe;
use shards::ids::ItemId;
use tonic::Code;

use crate::{Row, Store, World, row};

pub(crate) fn rows() -> Vec<Row> {
    vec![
        row("a key of the wrong type in Redis", wrong_type).on(&Store::REDIS),
        row("a missing shard in Redis", missing_shard).on(&Store::REDIS),
        row("a missing guard in Redis", missing_guard).on(&Store::REDIS),
        row("FLUSHALL in Redis", flushed).on(&Store::REDIS),
    ]
}

const STRIPES: usize = 64;

/// The slot of a stripe's keys.
fn slot(stripe: u32) -> u16 {
    u16::try_from(stripe * 256 + 128).expect("a slot")
}

/// Keys as they were.
struct Kept(Vec<(Vec<u8>, Vec<u8>)>);

impl Kept {
    /// A node's keys by this pattern.
    #[track_caller]
    fn of(node: &Node, pattern: &str) -> Self {
        let keys = node.ask(&["KEYS", pattern]);
        let keys = keys.items().iter().map(e2e::redis::Value::bytes);
        let kept: Vec<_> = keys
            .map(|key| {
                let dump = node.ask(&[b"DUMP", &*key]).bytes();
                (key, dump)
            })
            .collect();
        assert!(!kept.is_empty(), "no key is like {pattern}");
        Self(kept)
    }

    /// As they are, but for the names that end so.
    fn without(mut self, end: &str) -> Self {
        self.0.retain(|(key, _)| !key.ends_with(end.as_bytes()));
        self
    }

    fn remove(&self, node: &Node) {
        for (key, _) in &self.0 {
            node.ask(&[b"DEL", &**key]);
        }
    }

    /// Puts them back, whatever is there.
    fn restore(&self, node: &Node) {
        for (key, dump) in &self.0 {
            node.ask(&[b"RESTORE", &**key, b"0", dump, b"REPLACE"]);
        }
    }
}

/// What a check works with: item `it` with a hold of each of many buyers, so
/// that every shard has some, and a stripe of it.
struct Victim {
    held: Vec<ReservationKey>,
    stripe: u32,
}

impl Victim {
    async fn new(world: &mut World) -> Self {
        world.shop.create(item("it"), 100).await;
        let held: Vec<_> = (0..20).map(|_| world.ids.key("it")).collect();
        for key in &held {
            ok(world.shop.reserve(key, 1).await);
        }
        let stripes = stripes(&world.shop, &[], "it").await;
        let stripe = world.ids.one_of(&stripes).stripe;
        Self { held, stripe }
    }

    fn node<'a>(&self, world: &'a World) -> &'a Node {
        world.server.store().node_of_slot(slot(self.stripe))
    }

    /// The keys of its shard.
    fn shard(&self, world: &World) -> Kept {
        Kept::of(
            self.node(world),
            &format!("holdfast:{{{}-*}}:it:*", self.stripe),
        )
    }

    /// All that was acknowledged is there.
    async fn assert_whole(&self, shop: &Shop) {
        for key in &self.held {
            let again = ok(shop.reserve(key, 1).await);
            let told = (again.outcome(), again.replayed);
            assert_eq!(told, (ReserveOutcome::Reserved, true), "{key:?}");
        }
        assert_eq!(shop.units("it").await, [80, 20, 0]);
        shop.assert_sound("it").await;
    }
}

/// Creates an item whose only stripe is none of these.
async fn elsewhere(shop: &Shop, lost: &BTreeSet<u32>) -> String {
    let ids = (0..).map(|number| format!("other-{number}"));
    let fits = |id: &String| {
        let stripe = catalog_stripe(&ItemId::parse(id).expect("an id"));
        !lost.contains(&u32::from(stripe.0))
    };
    let id = ids.into_iter().find(fits).expect("one of many");
    let spec = Item {
        shard_count: 1,
        ..item(&id)
    };
    shop.create(spec, 1_000).await;
    id
}

async fn stripes(shop: &Shop, states: &[StripeState], item_id: &str) -> Vec<Stripe> {
    let request = ListStripesRequest {
        states: states.iter().map(|state| (*state).into()).collect(),
        item_id: item_id.into(),
    };
    ok(shop.admin().list_stripes(request).await).stripes
}

async fn frozen(shop: &Shop) -> Vec<Stripe> {
    stripes(shop, &[StripeState::Frozen], "").await
}

/// Waits until these stripes are frozen and nothing else is, by every word of a
/// server.
async fn is_frozen(server: &Server, lost: &BTreeSet<u32>) -> Vec<Stripe> {
    let shop = server.shop();
    let found = poll_until("frozen stripes", async || {
        let found = frozen(&shop).await;
        let numbers: BTreeSet<_> = found.iter().map(|stripe| stripe.stripe).collect();
        (numbers == *lost)
            .then_some(found)
            .ok_or(format!("{numbers:?}"))
    });
    let found = found.await;
    for stripe in &found {
        assert!(stripe.freeze_reason.contains(' '), "{stripe:?}");
        assert!(stripe.freeze_time.is_some(), "{stripe:?}");
    }
    counts(server, lost.len()).await;
    found
}

/// What `GetStatus` and the metrics count; health goes by acknowledgements, of
/// which there are some.
async fn counts(server: &Server, lost: usize) {
    let shop = server.shop();
    let lines = [("serving", STRIPES - lost), ("frozen", lost)]
        .map(|(state, count)| format!("holdfast_stripes{{state=\"{state}\"}} {count}\n"));
    poll_until("the metrics of stripes", async || {
        let page = http(server.http_authority(), "GET", "/metrics").await.body;
        let told = lines.iter().all(|line| page.contains(line));
        told.then_some(()).ok_or(page)
    })
    .await;
    let status = ok(shop.admin().get_status(GetStatusRequest {}).await);
    let count = |n: usize| i64::try_from(n).ok();
    assert_eq!(status.frozen_stripes, count(lost), "{status:?}");
    assert_eq!(status.serving_stripes, count(STRIPES - lost), "{status:?}");
    let health = shop.health_of(&["", "store"]).await;
    for service in ["", "store"] {
        assert_eq!(health[service].as_deref(), Some("SERVING"));
    }
}

/// What a call that needs every shard of `it` is told, once it is an error.
async fn told(shop: &Shop) -> Failure {
    poll_until("a loss that is noticed", async || {
        let request = GetStockRequest {
            item_id: "it".into(),
            consistency: StockConsistency::Strong.into(),
            ..GetStockRequest::default()
        };
        match shop.inventory().get_stock(request).await {
            Ok(reply) => Err(format!("{:?}", reply.get_ref())),
            Err(status) => {
                let failure = Failure::from(&status);
                if failure.reasons == ["STORE_UNAVAILABLE"] {
                    return Err(failure.message);
                }
                failure.is(Code::Unavailable, "DATA_LOSS_SUSPECTED");
                let pushback = status.metadata().get("grpc-retry-pushback-ms");
                assert_eq!(pushback.expect("a pushback"), "-1", "{status:?}");
                Ok(failure)
            }
        }
    })
    .await
}

async fn release(shop: &Shop, stripe: &Stripe) {
    let good = ReleaseStripeRequest {
        stripe: Some(stripe.stripe),
        freeze_id: stripe.freeze_id.clone(),
        accept_loss: true,
        reason: "a test of losses".into(),
    };
    let other = ReleaseStripeRequest {
        freeze_id: "0000000000000001".into(),
        ..good.clone()
    };
    let refused = failure(shop.admin().release_stripe(other).await);
    refused.is(Code::FailedPrecondition, "FREEZE_ID_MISMATCH");
    let released = ok(shop.admin().release_stripe(good).await);
    let now = released.stripe.expect("the stripe");
    assert_eq!(now.state(), StripeState::Serving, "{now:?}");
}

/// Waits until a server knows that all serve again.
async fn is_released(server: &Server) {
    is_frozen(server, &BTreeSet::new()).await;
}

/// Another server over the same store.
async fn second(world: &mut World) -> Shop {
    let shop = world.another_shop().await;
    assert_eq!(shop.units("it").await, [80, 20, 0]);
    shop
}

async fn wrong_type(mut world: World) {
    let victim = Victim::new(&mut world).await;
    let lost = BTreeSet::from([victim.stripe]);
    let other = elsewhere(&world.shop, &lost).await;
    let second = second(&mut world).await;
    let shard = victim.shard(&world);
    let node = victim.node(&world);
    shard.remove(node);
    for (key, _) in &shard.0 {
        node.ask(&[b"SADD", &**key, b"something else"]);
    }

    let failure = told(&world.shop).await;
    assert_eq!(failure.metadata["stripe"], victim.stripe.to_string());
    // The other one did not notice it itself, but goes by what is frozen.
    for server in [&world.server, &world.others[0]] {
        let found = is_frozen(server, &lost).await;
        assert_eq!(failure.metadata["freeze_id"], found[0].freeze_id);
    }
    let told_second = told(&second).await;
    assert_eq!(
        told_second.metadata["freeze_id"],
        failure.metadata["freeze_id"]
    );
    for shop in [&world.shop, &second] {
        let reply = ok(shop.reserve(&world.ids.key(&other), 1).await);
        assert_eq!(reply.outcome(), ReserveOutcome::Reserved);
    }

    shard.restore(victim.node(&world));
    let found = frozen(&world.shop).await;
    release(&world.shop, &found[0]).await;
    for server in [&world.server, &world.others[0]] {
        is_released(server).await;
    }
    for shop in [&world.shop, &second] {
        victim.assert_whole(shop).await;
    }
}

async fn missing_shard(mut world: World) {
    let victim = Victim::new(&mut world).await;
    let lost = BTreeSet::from([victim.stripe]);
    let other = elsewhere(&world.shop, &lost).await;
    let shard = victim.shard(&world);
    shard.remove(victim.node(&world));

    let failure = told(&world.shop).await;
    assert_eq!(failure.metadata["stripe"], victim.stripe.to_string());
    let found = is_frozen(&world.server, &lost).await;
    let reply = ok(world.shop.reserve(&world.ids.key(&other), 1).await);
    assert_eq!(reply.outcome(), ReserveOutcome::Reserved);

    // A release does not bring it back: who asks for it next is told again.
    release(&world.shop, &found[0]).await;
    told(&world.shop).await;
    let again = is_frozen(&world.server, &lost).await;
    assert_ne!(again[0].freeze_id, found[0].freeze_id);

    shard.restore(victim.node(&world));
    release(&world.shop, &again[0]).await;
    is_released(&world.server).await;
    victim.assert_whole(&world.shop).await;
}

async fn missing_guard(mut world: World) {
    let victim = Victim::new(&mut world).await;
    let lost = BTreeSet::from([victim.stripe]);
    let other = elsewhere(&world.shop, &lost).await;
    let guard = format!("holdfast:{{{}-*}}:guard", victim.stripe);
    Kept::of(victim.node(&world), &guard).remove(victim.node(&world));

    // Nobody need ask: every stripe is visited.
    let found = is_frozen(&world.server, &lost).await;
    let failure = told(&world.shop).await;
    assert_eq!(failure.metadata["freeze_id"], found[0].freeze_id);
    let reply = ok(world.shop.reserve(&world.ids.key(&other), 1).await);
    assert_eq!(reply.outcome(), ReserveOutcome::Reserved);
    // Frozen for all, also for who comes later.
    let second = world.another_shop().await;
    let frozen_there = frozen(&second).await;
    assert_eq!(frozen_there[0].freeze_id, found[0].freeze_id);

    release(&second, &found[0]).await;
    for server in [&world.server, &world.others[0]] {
        is_released(server).await;
    }
    for shop in [&world.shop, &second] {
        victim.assert_whole(shop).await;
    }
}

async fn flushed(mut world: World) {
    let victim = Victim::new(&mut world).await;
    let all = stripes(&world.shop, &[], "").await;
    let node = victim.node(&world);
    let of_node = all
        .iter()
        .filter(|stripe| stripe.endpoint == node.address());
    let lost: BTreeSet<_> = of_node.map(|stripe| stripe.stripe).collect();
    assert!(lost.contains(&victim.stripe), "{lost:?}");
    // Of a single server all is lost.
    let other = if lost.len() < STRIPES {
        Some(elsewhere(&world.shop, &lost).await)
    } else {
        None
    };
    let kept = Kept::of(victim.node(&world), "*").without(":guard");
    victim.node(&world).ask(&["FLUSHALL"]);

    let found = is_frozen(&world.server, &lost).await;
    let failure = told(&world.shop).await;
    let stripe = failure.metadata["stripe"].parse().expect("a number");
    assert!(lost.contains(&stripe), "{failure:?}");
    if let Some(other) = &other {
        let reply = ok(world.shop.reserve(&world.ids.key(other), 1).await);
        assert_eq!(reply.outcome(), ReserveOutcome::Reserved);
    }
    // A server that starts now makes no store in its place.
    let second = world.another_shop().await;
    assert_eq!(frozen(&second).await.len(), lost.len());

    kept.restore(victim.node(&world));
    for stripe in &found {
        release(&world.shop, stripe).await;
    }
    for server in [&world.server, &world.others[0]] {
        is_released(server).await;
    }
    for shop in [&world.shop, &second] {
        victim.assert_whole(shop).await;
    }
}
