//! What operators change: settings, and stripes that lost something.

use std::sync::Arc;

use e2e::{Server, Shop, failure, item, ok, poll_until};
use prost_types::FieldMask;
use proto::v1::{
    Item, ItemState, ListStripesRequest, ReleaseStripeRequest, ReserveOutcome, Stripe, StripeState,
    UpdateItemRequest,
};
use shards::embedded::{self, Embedded};
use shards::hash::catalog_stripe;
use shards::ids::ItemId;
use shards::machine::{Op, StripeOp};
use shards::redis::{self, Address, Redis};
use tonic::{Code, Response, Status};

use crate::{Row, World, row};

pub(crate) fn rows() -> Vec<Row> {
    vec![
        row(
            "update without mask; unknown path; `stock`, `shard_count`, `sell_at_once`; a stale `expected_version`",
            update_badly,
        ),
        row(
            "a limit for an item that never counted its buyers",
            late_limit,
        ),
        row(
            "release a stripe with another freeze's id; without `accept_loss`; without reason",
            release_badly,
        ),
    ]
}

fn update(item: Item, paths: &[&str]) -> UpdateItemRequest {
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    UpdateItemRequest {
        item: Some(item),
        update_mask: Some(FieldMask { paths }),
        expected_version: 0,
        reason: String::new(),
    }
}

async fn send(shop: &Shop, request: UpdateItemRequest) -> Result<Response<Item>, Status> {
    let reply = shop.admin().update_item(request).await?;
    Ok(reply.map(|reply| reply.item.expect("the item")))
}

async fn update_badly(World { shop, mut ids, .. }: World) {
    let before = shop.create(item("it"), 5).await;
    let no_mask = UpdateItemRequest {
        update_mask: None,
        ..update(item("it"), &[])
    };
    failure(send(&shop, no_mask).await).names(&["update_mask"]);
    failure(send(&shop, update(item("it"), &[])).await).names(&["update_mask"]);
    for path in [
        "stock",
        "shard_count",
        "sell_at_once",
        "initial_stock",
        "colour",
        "Hold_ttl",
        "hold_ttl.seconds",
        "item.hold_ttl",
        "item_id",
        "state",
        "version",
        "create_time",
        "*",
        "",
        " ",
        "ü",
    ] {
        let refused = send(&shop, update(item("it"), &["display_name", path, "*"])).await;
        failure(refused).names(&["update_mask.paths[1]", "update_mask.paths[2]"]);
    }
    let renamed = |display_name: &str, expected_version| UpdateItemRequest {
        expected_version,
        ..update(
            Item {
                display_name: display_name.into(),
                ..item("it")
            },
            &["display_name"],
        )
    };
    failure(send(&shop, renamed("One", -1)).await).names(&["expected_version"]);
    failure(send(&shop, renamed(&"x".repeat(257), 0)).await).names(&["item.display_name"]);
    let refused = failure(send(&shop, renamed("One", 2)).await);
    refused.is(Code::FailedPrecondition, "VERSION_MISMATCH");
    assert_eq!(refused.metadata["version"], "1");
    let none = failure(send(&shop, update(item("gone"), &["hold_ttl"])).await);
    none.is(Code::NotFound, "ITEM_NOT_FOUND");

    // Of all that nothing was done; what is right is done once.
    for _ in 0..3 {
        let changed = ok(send(&shop, renamed("One", 1)).await);
        let expected = Item {
            display_name: "One".into(),
            version: 2,
            update_time: changed.update_time,
            ..before.clone()
        };
        assert_eq!(changed, expected);
    }
    let stale = failure(send(&shop, renamed("Two", 1)).await);
    stale.is(Code::FailedPrecondition, "VERSION_MISMATCH");
    assert_eq!(stale.metadata["version"], "2");
    ok(shop.reserve(&ids.key("it"), 5).await);
    assert_eq!(shop.units("it").await, [0, 5, 0]);
}

async fn late_limit(World { shop, mut ids, .. }: World) {
    shop.create(item("it"), 5).await;
    let key = ids.key("it");
    ok(shop.reserve(&key, 3).await);
    let limit = |id: &str, max_units_per_buyer| {
        let item = Item {
            max_units_per_buyer,
            ..item(id)
        };
        update(item, &["max_units_per_buyer"])
    };
    for max in [1, 3, u32::MAX] {
        let refused = failure(send(&shop, limit("it", max)).await);
        refused.is(Code::FailedPrecondition, "LIMIT_NOT_TRACKED");
        assert_eq!(refused.metadata["item_id"], "it");
    }
    assert_eq!(ok(send(&shop, limit("it", 0)).await).version, 1);

    // One that counts may be changed to anything, and still counts.
    let counted = Item {
        max_units_per_buyer: 5,
        ..item("counted")
    };
    shop.create(counted, 5).await;
    let key = ids.key("counted");
    ok(shop.reserve(&key, 3).await);
    ok(send(&shop, limit("counted", 0)).await);
    let changed = ok(send(&shop, limit("counted", 3)).await);
    assert_eq!((changed.state(), changed.version), (ItemState::Open, 3));
    let again = ids.key_of("counted", &key.buyer_id);
    let reply = ok(shop.reserve(&again, 1).await);
    assert_eq!(reply.outcome(), ReserveOutcome::BuyerLimitReached);
    assert_eq!(reply.buyer_units, Some(3));
}

async fn frozen(shop: &Shop) -> Vec<Stripe> {
    let request = ListStripesRequest {
        states: vec![StripeState::Frozen.into()],
        item_id: String::new(),
    };
    ok(shop.admin().list_stripes(request).await).stripes
}

/// The store of a server that was killed, opened by the test itself: no call
/// freezes a stripe.
async fn open(server: &Server) -> Arc<dyn shards::store::Store> {
    if let Some(url) = server.store().url() {
        let address = Address::parse(&url).expect("its address");
        let opened = Redis::open(redis::Options::new(address));
        return Arc::new(opened.expect("the store"));
    }
    // The system may take a moment to give the dead process's lock back.
    let dir = server.data_dir();
    let opened = poll_until("the directory is free", async || {
        Embedded::open(embedded::Options::new(dir))
    });
    Arc::new(opened.await)
}

/// Kills the server, freezes the stripe of `it`, and starts it again.
async fn with_a_frozen_stripe(mut world: World) -> (World, Stripe) {
    world.server.kill_9();
    let store = open(&world.server).await;
    let it = catalog_stripe(&ItemId::parse("it").expect("an id"));
    let freeze = StripeOp::Freeze {
        id: 0xabc,
        reason: "its records are missing".into(),
    };
    let done = store.submit(it, Op::Stripe(freeze), None).await;
    done.expect("it is frozen");
    drop(store);
    let world = world.restarted().await;
    let stripes = frozen(&world.shop).await;
    let [stripe] = &stripes[..] else {
        panic!("{stripes:?}");
    };
    assert_eq!(stripe.stripe, u32::from(it.0));
    let stripe = stripe.clone();
    (world, stripe)
}

async fn release_badly(world: World) {
    world.shop.create(item("it"), 5).await;
    let (world, stripe) = with_a_frozen_stripe(world).await;
    let (shop, mut ids) = (world.shop, world.ids);
    assert_eq!(stripe.freeze_reason, "its records are missing");
    let key = ids.key("it");
    // More than other shards have, wherever the buyer's home is.
    let refused = failure(shop.reserve(&key, 5).await);
    refused.is(Code::Unavailable, "DATA_LOSS_SUSPECTED");
    assert_eq!(refused.metadata["freeze_id"], stripe.freeze_id);

    let seq = stripe.acknowledged_seq;
    let good = ReleaseStripeRequest {
        stripe: Some(stripe.stripe),
        freeze_id: stripe.freeze_id.clone(),
        accept_loss: true,
        reason: "checked by hand".into(),
    };
    let release = async |request| shop.admin().release_stripe(request).await;
    failure(release(ReleaseStripeRequest::default()).await).names(&[
        "stripe",
        "freeze_id",
        "accept_loss",
        "reason",
    ]);
    let broken = |edit: fn(&mut ReleaseStripeRequest)| {
        let mut request = good.clone();
        edit(&mut request);
        request
    };
    let table = [
        (broken(|r| r.accept_loss = false), "accept_loss"),
        (broken(|r| r.reason.clear()), "reason"),
        (broken(|r| r.reason = "x".repeat(257)), "reason"),
        (broken(|r| r.stripe = None), "stripe"),
        (broken(|r| r.stripe = Some(64)), "stripe"),
        (broken(|r| r.freeze_id.clear()), "freeze_id"),
        (broken(|r| r.freeze_id.push('0')), "freeze_id"),
    ];
    for (bad, field) in table {
        failure(release(bad).await).names(&[field]);
    }
    let other = broken(|r| r.freeze_id = "ffffffffffffffff".into());
    let refused = failure(release(other).await);
    refused.is(Code::FailedPrecondition, "FREEZE_ID_MISMATCH");
    assert_eq!(refused.metadata["freeze_id"], stripe.freeze_id);
    let mut still = frozen(&shop).await;
    for stripe in &mut still {
        // It is visited meanwhile.
        stripe.acknowledged_seq = seq;
    }
    assert_eq!(still, [stripe]);

    for surplus in [Some(0), None] {
        let reply = ok(release(good.clone()).await);
        assert_eq!(reply.stripe.unwrap().state(), StripeState::Serving);
        assert_eq!(reply.surplus_units, surplus, "0, and then not known");
    }
    let reply = ok(shop.reserve(&key, 5).await);
    assert_eq!(reply.outcome(), ReserveOutcome::Reserved);
    shop.assert_sound("it").await;
}
