//! Holds that run out. What is true at the store's time is what every rpc
//! says, whether or not a sweeper came by; the store's time is read from the
//! stock of another item, so that nothing touches the one that is looked at.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests, which may fail them"
)]

use client::Target;
use e2e::{Ids, Instant, Shop, Store, failure, holdfast, instant, item, millis, ok, poll_until};
use proto::v1::{
    ConfirmOutcome, GetStockRequest, Item, Reservation, ReservationKey, ReservationState,
    ReserveOutcome, SalePhase,
};
use tonic::Code;

e2e::on_every_store!(
    a_hold_past_its_deadline_is_expired_at_once_for_every_rpc,
    a_hold_is_held_until_its_deadline_and_not_a_moment_longer,
    a_hold_extended_by_a_day_does_not_keep_others_from_expiring,
    a_late_confirm_takes_the_units_anew_while_there_are_some,
    a_late_confirm_that_finds_no_units_is_lost_for_good,
);

const DAY_MS: u32 = 24 * 60 * 60 * 1000;

/// An item whose holds last this long, and may be made to last two days.
fn short(id: &str, ttl_ms: u32) -> Item {
    Item {
        hold_ttl: Some(millis(ttl_ms)),
        max_hold: Some(millis(2 * DAY_MS)),
        ..item(id)
    }
}

/// An item that nobody buys, for [`store_reaches`].
async fn set_clock(shop: &Shop) {
    shop.create(item("clock"), 0).await;
}

/// Waits until the store's time is this one.
async fn store_reaches(shop: &Shop, time: Instant) {
    poll_until("the store's time", async || {
        let now = instant(shop.stock("clock").await.as_of.as_ref());
        if now >= time {
            Ok(())
        } else {
            Err(format!("{now:?}, not {time:?}"))
        }
    })
    .await;
}

async fn hold(shop: &Shop, key: &ReservationKey, quantity: u32) -> Reservation {
    let reply = ok(shop.reserve(key, quantity).await);
    assert_eq!(reply.outcome(), ReserveOutcome::Reserved);
    reply.reservation.expect("a reservation")
}

fn end(reservation: &Reservation) -> Instant {
    instant(reservation.expire_time.as_ref())
}

async fn a_hold_past_its_deadline_is_expired_at_once_for_every_rpc(store: Store) {
    let server = store.serve(holdfast!()).await;
    let (shop, mut ids) = (server.shop(), Ids::seeded());
    set_clock(&shop).await;
    // One item for each rpc, so that each is the first to look.
    let mut held = Vec::new();
    for id in ["get", "confirm", "stock", "reserve"] {
        shop.create(short(id, 150), 5).await;
        let key = ids.key(id);
        held.push((key.clone(), hold(&shop, &key, 5).await));
    }
    let last = held
        .iter()
        .map(|(_, reservation)| end(reservation))
        .max()
        .unwrap();
    store_reaches(&shop, last).await;

    let by_id = |at: usize| Target::Id(held[at].1.reservation_id.clone());
    let now = ok(shop.reservation(by_id(0)).await).reservation.unwrap();
    assert_eq!(now.state(), ReservationState::Expired);
    assert_eq!((end(&now), now.remaining), (end(&held[0].1), None));

    let refused = failure(shop.confirm(by_id(1)).await);
    refused.is(Code::FailedPrecondition, "RESERVATION_EXPIRED");

    // CACHED, the default, is no excuse: it may be a second old.
    let request = GetStockRequest {
        item_id: "stock".into(),
        ..GetStockRequest::default()
    };
    poll_until("the default stock", async || {
        let stock = ok(shop.inventory().get_stock(request.clone()).await)
            .stock
            .unwrap();
        match (stock.available, stock.held, stock.phase()) {
            (Some(5), Some(0), SalePhase::OnSale) => Ok(()),
            _ if instant(stock.as_of.as_ref()) < last => Err(format!("{stock:?}")),
            _ => panic!("expired holds still counted: {stock:?}"),
        }
    })
    .await;
    assert_eq!(shop.units("stock").await, [5, 0, 0]);

    let reply = ok(shop.reserve(&ids.key("reserve"), 5).await);
    assert_eq!(reply.outcome(), ReserveOutcome::Reserved);

    for id in ["get", "confirm", "stock", "reserve"] {
        shop.assert_sound(id).await;
    }
}

/// Reads on and on, across the deadline: held before, and free from then on.
async fn a_hold_is_held_until_its_deadline_and_not_a_moment_longer(store: Store) {
    let server = store.serve(holdfast!()).await;
    let (shop, mut ids) = (server.shop(), Ids::seeded());
    shop.create(short("sneaker", 200), 3).await;
    let held = hold(&shop, &ids.key("sneaker"), 2).await;
    assert!(held.remaining.is_some());

    poll_until("the deadline", async || {
        let stock = shop.stock("sneaker").await;
        let as_of = instant(stock.as_of.as_ref());
        let over = as_of >= end(&held);
        let expected = if over { [3, 0] } else { [1, 2] };
        assert_eq!(
            [stock.available, stock.held],
            expected.map(Some),
            "{stock:?} {held:?}"
        );
        assert_eq!(stock.exact, Some(true));
        if over {
            Ok(())
        } else {
            Err(format!("{as_of:?}"))
        }
    })
    .await;
    shop.assert_sound("sneaker").await;
}

async fn a_hold_extended_by_a_day_does_not_keep_others_from_expiring(store: Store) {
    let server = store.serve(holdfast!()).await;
    let (shop, mut ids) = (server.shop(), Ids::seeded());
    set_clock(&shop).await;
    shop.create(short("sneaker", 3_000), 4).await;

    let long = Target::Id(hold(&shop, &ids.key("sneaker"), 1).await.reservation_id);
    let extended = ok(shop.extend(long.clone(), millis(DAY_MS)).await)
        .reservation
        .unwrap();
    let mut others = Vec::new();
    for _ in 0..3 {
        others.push(hold(&shop, &ids.key("sneaker"), 1).await);
    }
    // A shorter extension does not shorten, and does not move it either.
    let again = ok(shop.extend(long.clone(), millis(1)).await)
        .reservation
        .unwrap();
    assert_eq!(end(&again), end(&extended));

    store_reaches(&shop, others.iter().map(end).max().unwrap()).await;
    assert_eq!(shop.units("sneaker").await, [3, 1, 0]);
    for other in others {
        let now = ok(shop.reservation(Target::Id(other.reservation_id)).await);
        assert_eq!(now.reservation.unwrap().state(), ReservationState::Expired);
    }
    let reply = ok(shop.reserve(&ids.key("sneaker"), 3).await);
    assert_eq!(reply.outcome(), ReserveOutcome::Reserved);
    let long = ok(shop.confirm(long).await);
    assert_eq!(long.outcome(), ConfirmOutcome::Confirmed);
    shop.assert_sound("sneaker").await;
}

async fn a_late_confirm_takes_the_units_anew_while_there_are_some(store: Store) {
    let server = store.serve(holdfast!()).await;
    let (shop, mut ids) = (server.shop(), Ids::seeded());
    set_clock(&shop).await;
    shop.create(short("sneaker", 100), 2).await;
    let held = hold(&shop, &ids.key("sneaker"), 2).await;
    let by_id = || Target::Id(held.reservation_id.clone());
    store_reaches(&shop, end(&held)).await;

    // As often as it is sent: what the first one did is what all say.
    for _ in 0..2 {
        let late = ok(shop.reacquire(by_id()).await);
        assert_eq!(late.outcome(), ConfirmOutcome::Reacquired);
        let reservation = late.reservation.unwrap();
        assert_eq!(reservation.state(), ReservationState::Confirmed);
        assert!(reservation.reacquired);
    }
    assert_eq!(
        ok(shop.confirm(by_id()).await).outcome(),
        ConfirmOutcome::Reacquired
    );
    assert_eq!(shop.units("sneaker").await, [0, 0, 2]);
    shop.assert_sound("sneaker").await;
}

async fn a_late_confirm_that_finds_no_units_is_lost_for_good(store: Store) {
    let server = store.serve(holdfast!()).await;
    let (shop, mut ids) = (server.shop(), Ids::seeded());
    set_clock(&shop).await;
    shop.create(short("sneaker", 100), 2).await;
    let key = ids.key("sneaker");
    let held = hold(&shop, &key, 2).await;
    let by_id = || Target::Id(held.reservation_id.clone());
    store_reaches(&shop, end(&held)).await;
    ok(shop.adjust("sneaker", -1, &ids.request()).await);

    for _ in 0..2 {
        let lost = failure(shop.reacquire(by_id()).await);
        lost.is(Code::FailedPrecondition, "RESERVATION_LOST");
    }
    // Stock that comes later does not bring it back.
    ok(shop.adjust("sneaker", 5, &ids.request()).await);
    let lost = failure(shop.reacquire(by_id()).await);
    lost.is(Code::FailedPrecondition, "RESERVATION_LOST");
    let again = ok(shop.reserve(&key, 2).await);
    assert_eq!(again.outcome(), ReserveOutcome::AlreadyEnded);
    assert_eq!(again.reservation.unwrap().state(), ReservationState::Lost);
    assert_eq!(shop.units("sneaker").await, [6, 0, 0]);
    shop.assert_sound("sneaker").await;
}
