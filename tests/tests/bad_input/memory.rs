//! Redis whose memory is nearly full, or is full: nothing new is taken, and what
//! was promised goes on.

use client::Target;
use e2e::{Failure, Shop, failure, item, millis, ok, poll_until};
use proto::v1::{
    CreateItemRequest, GetStatusRequest, Item, ReservationKey, ReservationState, ReserveOutcome,
    ReturnUnitsRequest, SetStockRequest,
};
use tonic::Code;

use crate::{Row, Store, World, row};

pub(crate) fn rows() -> Vec<Row> {
    vec![
        row("Redis near its maxmemory", near).on(&Store::REDIS),
        row("Redis above its maxmemory", above).on(&Store::REDIS),
    ]
}

/// So much that the nodes' own ups and downs count for nothing beside it.
const BALLAST_BYTES: usize = 32 << 20;

/// Gives all nodes something to keep.
fn load(world: &World) {
    for node in world.server.store().nodes() {
        // One of the node's own slots, by the name of a key that is there.
        let key = node.ask(&["RANDOMKEY"]).text();
        let tag = key.split_inclusive('}').next().unwrap();
        let end = BALLAST_BYTES.to_string();
        node.ask(&["SETRANGE", &format!("{tag}:ballast"), &end, "x"]);
    }
}

/// Bounds the memory of all nodes to so many percent of what they use; 0 is no
/// bound.
fn bound(world: &World, percent: u64) {
    for node in world.server.store().nodes() {
        let used: u64 = node.info("used_memory").unwrap().parse().unwrap();
        let bytes = (used * percent / 100).to_string();
        node.ask(&["CONFIG", "SET", "maxmemory", &bytes]);
    }
}

/// Waits until the server has read that its store is full, or that it is not.
async fn known(world: &World, full: bool) {
    let shop = world.server.shop();
    poll_until("what the server knows of memory", async || {
        let status = ok(shop.admin().get_status(GetStatusRequest {}).await);
        let warned = status
            .warnings
            .iter()
            .filter(|text| text.contains("nearly full"));
        let nodes = if full { status.nodes.len() } else { 0 };
        let is_known = warned.count() == nodes;
        is_known.then_some(()).ok_or(format!("{status:?}"))
    })
    .await;
}

#[track_caller]
fn refused(failure: &Failure) {
    failure.is(Code::ResourceExhausted, "STORE_FULL");
}

/// What the table of errors lists.
async fn nothing_new(world: &mut World) {
    let World { shop, ids, .. } = world;
    refused(&failure(shop.reserve(&ids.key("it"), 1).await));
    let unknown = Target::Key(ids.key("it"));
    refused(&failure(shop.cancel(unknown).await));
    refused(&failure(shop.adjust("it", 5, &ids.request()).await));
    refused(&failure(shop.adjust("it", -5, &ids.request()).await));
    let set = SetStockRequest {
        item_id: "it".into(),
        total: Some(200),
        expected_total: Some(100),
        request_id: ids.request(),
        ..SetStockRequest::default()
    };
    refused(&failure(shop.admin().set_stock(set).await));
    let create = CreateItemRequest {
        item: Some(item("another")),
        initial_stock: Some(1),
        request_id: ids.request(),
    };
    refused(&failure(shop.admin().create_item(create).await));
}

/// Some holds, and one that soon runs out.
struct Promised {
    held: Vec<ReservationKey>,
    short: ReservationKey,
}

async fn promise(World { shop, ids, .. }: &mut World) -> Promised {
    shop.create(item("it"), 100).await;
    let held: Vec<_> = (0..8).map(|_| ids.key("it")).collect();
    for key in &held {
        ok(shop.reserve(key, 2).await);
    }
    let short = Item {
        hold_ttl: Some(millis(1_000)),
        ..item("short")
    };
    shop.create(short, 10).await;
    let short = ids.key("short");
    ok(shop.reserve(&short, 3).await);
    Promised { held, short }
}

/// Everything that frees something, or was promised; two holds are used up.
async fn goes_on(shop: &Shop, held: &[ReservationKey]) {
    let [sold, given_up] = held else {
        panic!("not two: {held:?}");
    };
    let target = |key: &ReservationKey| Target::Key(key.clone());
    let replay = ok(shop.reserve(sold, 2).await);
    assert!(replay.replayed, "{replay:?}");
    ok(shop.extend(target(sold), millis(400_000)).await);
    ok(shop.confirm(target(sold)).await);
    let back = ReturnUnitsRequest {
        target: Some(target(sold).into()),
        request_id: sold.request_id.clone(),
        quantity: 1,
        discard: false,
    };
    ok(shop.inventory().return_units(back).await);
    let cancelled = ok(shop.cancel(target(given_up)).await);
    let state = cancelled.reservation.unwrap().state();
    assert_eq!(state, ReservationState::Cancelled);
    let again = ok(shop.reserve(given_up, 2).await);
    assert_eq!(again.outcome(), ReserveOutcome::AlreadyEnded);
    shop.assert_sound("it").await;
}

/// The hold that ran out is swept without anybody's asking.
async fn expires(world: &World, promised: &Promised) {
    let expired = async || {
        let reply = ok(world
            .shop
            .reservation(Target::Key(promised.short.clone()))
            .await);
        reply.reservation.unwrap().state()
    };
    poll_until("the end of a hold", async || match expired().await {
        ReservationState::Expired => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    assert_eq!(world.shop.units("short").await, [10, 0, 0]);
    world.shop.assert_sound("short").await;
}

async fn near(mut world: World) {
    let promised = promise(&mut world).await;
    load(&world);
    // 90% of it are used.
    bound(&world, 111);
    known(&world, true).await;
    nothing_new(&mut world).await;
    goes_on(&world.shop, &promised.held[..2]).await;
    expires(&world, &promised).await;
    nothing_new(&mut world).await;

    bound(&world, 0);
    known(&world, false).await;
    let reply = ok(world.shop.reserve(&world.ids.key("it"), 1).await);
    assert_eq!(reply.outcome(), ReserveOutcome::Reserved);
    assert_eq!(world.shop.units("it").await, [86, 13, 1]);
    world.shop.assert_sound("it").await;
}

async fn above(mut world: World) {
    let promised = promise(&mut world).await;
    load(&world);
    bound(&world, 90);
    known(&world, true).await;
    for node in world.server.store().nodes() {
        let key = node.ask(&["RANDOMKEY"]).text();
        let tag = key.split_inclusive('}').next().unwrap();
        let refused = node.command(&["SET", &format!("{tag}:more"), "x"]);
        assert!(refused.unwrap_err().starts_with("OOM"));
    }
    nothing_new(&mut world).await;
    goes_on(&world.shop, &promised.held[2..4]).await;
    expires(&world, &promised).await;
    // Nor does a server that starts now get in the way.
    let second = world.another_shop().await;
    goes_on(&second, &promised.held[4..6]).await;
    refused(&failure(second.reserve(&world.ids.key("it"), 1).await));

    bound(&world, 0);
    known(&world, false).await;
    let reply = ok(world.shop.reserve(&world.ids.key("it"), 1).await);
    assert_eq!(reply.outcome(), ReserveOutcome::Reserved);
    assert_eq!(world.shop.units("it").await, [89, 9, 2]);
    world.shop.assert_sound("it").await;
}
