//! The same ids again: at once, later, after everything that can happen.

use client::Target;
use e2e::{Shop, failure, instant, item, millis, ok, poll_until};
use proto::v1::reserve_result::Result as Entry;
use proto::v1::{
    BatchReserveRequest, Item, PauseItemRequest, Reservation, ReservationKey, ReservationState,
    ReserveOutcome, ReserveResponse,
};
use tokio::task::JoinSet;
use tonic::Code;

use crate::streams::{message, next, open};
use crate::{Row, World, row};

pub(crate) fn rows() -> Vec<Row> {
    vec![
        row(
            "same ids, same contents (at once, later, through another server, after a restart, while sold out or paused)",
            same_contents,
        ),
        row(
            "same ids twenty times at once, in one batch, over two streams",
            twenty_times,
        ),
        row("same ids, other quantity", other_quantity),
        row(
            "same request id, another buyer or another item",
            another_request,
        ),
        row("same ids after cancel, expiry or loss", after_the_end),
        row("Cancel by key before the Reserve arrives", cancelled_before),
    ]
}

/// What does not depend on when one asks.
#[track_caller]
fn granted(reply: ReserveResponse) -> Reservation {
    assert_eq!(reply.outcome(), ReserveOutcome::Reserved, "{reply:?}");
    Reservation {
        remaining: None,
        ..reply.reservation.expect("a reservation")
    }
}

async fn replay(shop: &Shop, key: &ReservationKey, quantity: u32) -> Reservation {
    let reply = ok(shop.reserve(key, quantity).await);
    assert!(reply.replayed, "{reply:?}");
    granted(reply)
}

async fn same_contents(mut world: World) {
    world.shop.create(item("it"), 5).await;
    let key = world.ids.key("it");
    let first = ok(world.shop.reserve(&key, 2).await);
    assert!(!first.replayed);
    let first = granted(first);

    let again = world.another_shop().await;
    let (one, two) = tokio::join!(world.shop.reserve(&key, 2), again.reserve(&key, 2));
    for reply in [one, two] {
        let reply = ok(reply);
        assert!(reply.replayed);
        assert_eq!(granted(reply), first);
    }

    let mut world = world.restarted().await;
    assert_eq!(replay(&world.shop, &key, 2).await, first);

    ok(world.shop.reserve(&world.ids.key("it"), 3).await);
    assert_eq!(replay(&world.shop, &key, 2).await, first, "sold out");

    let (item_id, reason) = ("it".into(), String::new());
    ok(world
        .shop
        .admin()
        .pause_item(PauseItemRequest { item_id, reason })
        .await);
    assert_eq!(replay(&world.shop, &key, 2).await, first, "paused");

    ok(world.shop.confirm(Target::Key(key.clone())).await);
    let confirmed = replay(&world.shop, &key, 2).await;
    assert_eq!(confirmed.state(), ReservationState::Confirmed);
    assert_eq!(confirmed.reservation_id, first.reservation_id);
    assert_eq!(world.shop.units("it").await, [0, 3, 2]);
    world.shop.assert_sound("it").await;
}

async fn twenty_times(mut world: World) {
    world.shop.create(item("it"), 100).await;
    let key = world.ids.key("it");
    let mut crowd = JoinSet::new();
    for _ in 0..20 {
        let (shop, key) = (world.shop.clone(), key.clone());
        crowd.spawn(async move { ok(shop.reserve(&key, 2).await) });
    }
    one_grant(crowd.join_all().await);
    assert_eq!(world.shop.units("it").await, [98, 2, 0]);

    let key = world.ids.key("it");
    let requests = vec![Shop::request(&key, 2); 20];
    let reply = world
        .shop
        .inventory()
        .batch_reserve(BatchReserveRequest { requests })
        .await;
    let entries = ok(reply)
        .results
        .into_iter()
        .map(|result| match result.result {
            Some(Entry::Response(response)) => response,
            other => panic!("{other:?}"),
        });
    one_grant(entries.collect());
    assert_eq!(world.shop.units("it").await, [96, 4, 0]);

    let key = world.ids.key("it");
    let mut replies = Vec::new();
    let other = world.another_shop().await;
    let mut two = [open(&world.shop).await, open(&other).await];
    for call_id in 0..10 {
        for (sender, _) in &two {
            let sent = sender.send(message(call_id, Shop::request(&key, 2))).await;
            sent.expect("an open stream");
        }
    }
    for (_, answers) in &mut two {
        for _ in 0..10 {
            match next(answers).await {
                Some((_, Entry::Response(response))) => replies.push(response),
                other => panic!("{other:?}"),
            }
        }
    }
    one_grant(replies);
    assert_eq!(world.shop.units("it").await, [94, 6, 0]);
    world.shop.assert_sound("it").await;
}

#[track_caller]
fn one_grant(replies: Vec<ReserveResponse>) {
    assert_eq!(replies.len(), 20);
    assert_eq!(replies.iter().filter(|reply| !reply.replayed).count(), 1);
    let reservations: Vec<_> = replies.into_iter().map(granted).collect();
    for reservation in &reservations {
        assert_eq!(reservation, &reservations[0]);
    }
}

async fn other_quantity(World { shop, mut ids, .. }: World) {
    shop.create(item("it"), 10).await;
    let key = ids.key("it");
    ok(shop.reserve(&key, 2).await);
    // Too many for the stock, and as many as there are: the ids win.
    for quantity in [1, 3, 11] {
        let refused = failure(shop.reserve(&key, quantity).await);
        refused.is(Code::AlreadyExists, "REQUEST_ID_REUSED");
    }
    assert_eq!(shop.units("it").await, [8, 2, 0]);
}

async fn another_request(World { shop, mut ids, .. }: World) {
    shop.create(item("it"), 10).await;
    shop.create(item("other"), 10).await;
    let key = ids.key("it");
    let other_buyer = ReservationKey {
        buyer_id: ids.buyer(),
        ..key.clone()
    };
    let other_item = ReservationKey {
        item_id: "other".into(),
        ..key.clone()
    };
    let mut names = Vec::new();
    for (key, quantity) in [(key, 1), (other_buyer, 2), (other_item, 3)] {
        let reply = ok(shop.reserve(&key, quantity).await);
        assert!(!reply.replayed);
        names.push(granted(reply).reservation_id);
    }
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 3);
    assert_eq!(shop.units("it").await, [7, 3, 0]);
    assert_eq!(shop.units("other").await, [7, 3, 0]);
}

async fn after_the_end(World { shop, mut ids, .. }: World) {
    let short = Item {
        hold_ttl: Some(millis(100)),
        ..item("short")
    };
    shop.create(item("it"), 1).await;
    shop.create(short, 1).await;

    let cancelled = ids.key("it");
    granted(ok(shop.reserve(&cancelled, 1).await));
    ok(shop.cancel(Target::Key(cancelled.clone())).await);
    ended(&shop, &cancelled, ReservationState::Cancelled).await;

    let expired = ids.key("short");
    let held = granted(ok(shop.reserve(&expired, 1).await));
    poll_until("the deadline", async || {
        let as_of = instant(shop.stock("short").await.as_of.as_ref());
        let over = as_of >= instant(held.expire_time.as_ref());
        if over {
            Ok(())
        } else {
            Err(format!("{as_of:?}"))
        }
    })
    .await;
    ended(&shop, &expired, ReservationState::Expired).await;

    ok(shop.adjust("short", -1, &ids.request()).await);
    let lost = failure(shop.reacquire(Target::Key(expired.clone())).await);
    lost.is(Code::FailedPrecondition, "RESERVATION_LOST");
    ok(shop.adjust("short", 1, &ids.request()).await);
    ended(&shop, &expired, ReservationState::Lost).await;

    for item in ["it", "short"] {
        assert_eq!(shop.units(item).await, [1, 0, 0]);
        shop.assert_sound(item).await;
    }
}

/// The same Reserve again is told that it is over, and takes nothing.
async fn ended(shop: &Shop, key: &ReservationKey, state: ReservationState) {
    for _ in 0..2 {
        let again = ok(shop.reserve(key, 1).await);
        assert_eq!(again.outcome(), ReserveOutcome::AlreadyEnded);
        assert_eq!(again.reservation.expect("a reservation").state(), state);
    }
    let [_, held, sold] = shop.units(&key.item_id).await;
    assert_eq!([held, sold], [0, 0]);
}

async fn cancelled_before(World { shop, mut ids, .. }: World) {
    shop.create(item("it"), 5).await;
    let key = ids.key("it");
    for _ in 0..2 {
        let cancelled = ok(shop.cancel(Target::Key(key.clone())).await)
            .reservation
            .unwrap();
        assert_eq!(
            (cancelled.state(), cancelled.quantity),
            (ReservationState::Cancelled, 0)
        );
    }
    // For any quantity: nothing says which one it would have been.
    for quantity in [1, 3, 1_000] {
        let reply = ok(shop.reserve(&key, quantity).await);
        assert_eq!(reply.outcome(), ReserveOutcome::AlreadyEnded);
    }
    assert_eq!(shop.units("it").await, [5, 0, 0]);
    shop.assert_sound("it").await;
}
