//! A sale over real gRPC: what callers do at the same time never gives a unit
//! twice, and never leaves one lying.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests, which may fail them"
)]

use std::collections::BTreeSet;
use std::sync::Arc;

use client::Target;
use e2e::{Failure, Ids, Server, Shop, Store, holdfast, item, ok};
use proto::v1::reserve_result::Result as Entry;
use proto::v1::{
    BatchReserveRequest, ConfirmOutcome, Item, Reservation, ReservationKey, ReservationState,
    ReserveOutcome, ReserveResponse, ReserveResult,
};
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tonic::Code;

e2e::on_every_store!(
    twenty_equal_reserves_at_once_are_one_grant_and_twenty_equal_answers,
    a_rush_sells_every_unit_once_and_returned_units_again,
    large_requests_that_do_not_fit_leave_every_unit_to_smaller_ones,
    one_buyer_in_many_tabs_gets_no_more_than_the_limit,
    cancel_and_confirm_at_once_end_each_of_a_thousand_holds_exactly_once,
    each_entry_of_a_batch_is_decided_on_its_own,
);

/// Connections that a crowd is spread over.
const CONNECTIONS: usize = 4;

/// Lets everybody reserve at once; the answers are in the order of `asks`.
async fn rush(server: &Server, asks: Vec<(ReservationKey, u32)>) -> Vec<ReserveResponse> {
    let start = Arc::new(Barrier::new(asks.len()));
    let shops: Vec<_> = (0..CONNECTIONS).map(|_| server.shop()).collect();
    let mut crowd = JoinSet::new();
    for (number, (key, quantity)) in asks.into_iter().enumerate() {
        let (shop, start) = (shops[number % CONNECTIONS].clone(), Arc::clone(&start));
        crowd.spawn(async move {
            start.wait().await;
            (number, ok(shop.reserve(&key, quantity).await))
        });
    }
    let mut answers = crowd.join_all().await;
    answers.sort_by_key(|(number, _)| *number);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

/// What does not depend on when one asks.
fn lasting(reply: &ReserveResponse) -> Reservation {
    Reservation {
        remaining: None,
        ..reply.reservation.clone().expect("a reservation")
    }
}

fn count(answers: &[ReserveResponse], outcome: ReserveOutcome) -> usize {
    answers
        .iter()
        .filter(|answer| answer.outcome() == outcome)
        .count()
}

async fn twenty_equal_reserves_at_once_are_one_grant_and_twenty_equal_answers(store: Store) {
    let server = store.serve(holdfast!()).await;
    let (shop, mut ids) = (server.shop(), Ids::seeded());
    shop.create(item("sneaker"), 10).await;
    let key = ids.key("sneaker");

    let answers = rush(&server, vec![(key, 3); 20]).await;

    assert_eq!(count(&answers, ReserveOutcome::Reserved), 20);
    assert_eq!(answers.iter().filter(|answer| !answer.replayed).count(), 1);
    for answer in &answers {
        assert_eq!(lasting(answer), lasting(&answers[0]));
    }
    assert_eq!(shop.units("sneaker").await, [7, 3, 0]);
    shop.assert_sound("sneaker").await;
}

async fn a_rush_sells_every_unit_once_and_returned_units_again(store: Store) {
    const UNITS: usize = 200;
    let server = store.serve(holdfast!()).await;
    let (shop, mut ids) = (server.shop(), Ids::seeded());
    shop.create(item("sneaker"), 200).await;

    let asks: Vec<_> = (0..3 * UNITS).map(|_| (ids.key("sneaker"), 1)).collect();
    let answers = rush(&server, asks.clone()).await;

    let granted: BTreeSet<_> = answers
        .iter()
        .filter(|answer| answer.outcome() == ReserveOutcome::Reserved)
        .map(|answer| lasting(answer).reservation_id)
        .collect();
    assert_eq!(granted.len(), UNITS);
    assert_eq!(count(&answers, ReserveOutcome::SoldOut), 2 * UNITS);
    for no in answers
        .iter()
        .filter(|answer| answer.outcome() == ReserveOutcome::SoldOut)
    {
        assert_eq!(
            (no.available_units, no.held_units),
            (Some(0), Some(200)),
            "{no:?}"
        );
        assert_eq!(no.reservation, None);
    }
    assert_eq!(shop.units("sneaker").await, [0, 200, 0]);

    // Ten come back, and twenty who were refused try again, some of them twice.
    for id in granted.iter().take(10) {
        ok(shop.cancel(Target::Id(id.clone())).await);
    }
    let refused = answers
        .iter()
        .zip(asks)
        .filter(|(answer, _)| answer.reservation.is_none());
    let again: Vec<_> = refused.map(|(_, ask)| ask).take(20).collect();
    let answers = rush(&server, again).await;
    assert_eq!(count(&answers, ReserveOutcome::Reserved), 10);
    assert_eq!(count(&answers, ReserveOutcome::SoldOut), 10);
    assert_eq!(shop.units("sneaker").await, [0, 200, 0]);
    shop.assert_sound("sneaker").await;
}

async fn large_requests_that_do_not_fit_leave_every_unit_to_smaller_ones(store: Store) {
    let server = store.serve(holdfast!()).await;
    let (shop, mut ids) = (server.shop(), Ids::seeded());
    shop.create(item("sneaker"), 100).await;

    let asks: Vec<_> = (0..80)
        .map(|_| {
            (
                ids.key("sneaker"),
                u32::try_from(ids.between(2..8)).unwrap(),
            )
        })
        .collect();
    let answers = rush(&server, asks.clone()).await;

    let mut taken = 0;
    for (answer, (_, quantity)) in answers.iter().zip(asks) {
        match answer.outcome() {
            ReserveOutcome::Reserved => taken += i64::from(quantity),
            ReserveOutcome::NotEnough => {
                let available = answer.available_units.unwrap();
                assert!((1..i64::from(quantity)).contains(&available), "{answer:?}");
            }
            ReserveOutcome::SoldOut => assert_eq!(answer.available_units, Some(0), "{answer:?}"),
            other => panic!("{other:?}: {answer:?}"),
        }
    }
    assert_eq!(shop.units("sneaker").await, [100 - taken, taken, 0]);

    let ones: Vec<_> = (0..100).map(|_| (ids.key("sneaker"), 1)).collect();
    let answers = rush(&server, ones).await;
    let left = usize::try_from(100 - taken).unwrap();
    assert_eq!(count(&answers, ReserveOutcome::Reserved), left);
    assert_eq!(shop.units("sneaker").await, [0, 100, 0]);
    shop.assert_sound("sneaker").await;
}

async fn one_buyer_in_many_tabs_gets_no_more_than_the_limit(store: Store) {
    let server = store.serve(holdfast!()).await;
    let (shop, mut ids) = (server.shop(), Ids::seeded());
    let limited = Item {
        max_units_per_buyer: 3,
        sell_at_once: true,
        ..item("sneaker")
    };
    shop.create(limited, 100).await;
    let buyer = ids.buyer();

    let asks = (0..20)
        .map(|_| (ids.key_of("sneaker", &buyer), 1))
        .collect();
    let answers = rush(&server, asks).await;

    assert_eq!(count(&answers, ReserveOutcome::Reserved), 3);
    for no in answers
        .iter()
        .filter(|answer| answer.outcome() != ReserveOutcome::Reserved)
    {
        assert_eq!(no.outcome(), ReserveOutcome::BuyerLimitReached);
        assert_eq!((no.buyer_units, no.max_units_per_buyer), (Some(3), Some(3)));
    }
    assert_eq!(shop.units("sneaker").await, [97, 0, 3]);
    shop.assert_sound("sneaker").await;
}

/// How one hold ended when Cancel and Confirm ran at the same time.
async fn race(first: Shop, second: Shop, key: ReservationKey) -> ReservationState {
    let held = ok(first.reserve(&key, 1).await);
    assert_eq!(held.outcome(), ReserveOutcome::Reserved);
    let id = lasting(&held).reservation_id;
    let (confirmed, cancelled) = tokio::join!(
        first.confirm(Target::Id(id)),
        second.cancel(Target::Key(key.clone())),
    );
    match (confirmed, cancelled) {
        (Ok(confirmed), Err(refused)) => {
            assert_eq!(confirmed.into_inner().outcome(), ConfirmOutcome::Confirmed);
            Failure::from(&refused).is(Code::FailedPrecondition, "RESERVATION_CONFIRMED");
            ReservationState::Confirmed
        }
        (Err(refused), Ok(cancelled)) => {
            let reservation = cancelled.into_inner().reservation.expect("a reservation");
            assert_eq!(reservation.state(), ReservationState::Cancelled);
            Failure::from(&refused).is(Code::FailedPrecondition, "RESERVATION_CANCELLED");
            ReservationState::Cancelled
        }
        both => panic!("the hold did not end exactly once: {both:?}"),
    }
}

async fn cancel_and_confirm_at_once_end_each_of_a_thousand_holds_exactly_once(store: Store) {
    const HOLDS: usize = 1_000;
    const AT_ONCE: usize = 8;
    let server = store.serve(holdfast!()).await;
    let (shop, mut ids) = (server.shop(), Ids::seeded());
    shop.create(item("sneaker"), 1_000).await;

    let mut racers = JoinSet::new();
    for number in 0..AT_ONCE {
        let mut shops = [server.shop(), server.shop()];
        let keys: Vec<_> = (0..HOLDS / AT_ONCE).map(|_| ids.key("sneaker")).collect();
        // Whose call is sent first takes turns, so that neither always wins.
        let swap = number % 2 == 0;
        racers.spawn(async move {
            let mut ends = Vec::new();
            for key in keys {
                if swap {
                    shops.swap(0, 1);
                }
                let [first, second] = shops.clone();
                ends.push((race(first, second, key.clone()).await, key));
            }
            ends
        });
    }
    let ends: Vec<_> = racers.join_all().await.into_iter().flatten().collect();

    assert_eq!(ends.len(), HOLDS);
    let mut sold = 0;
    for (state, key) in ends {
        let now = ok(shop.reservation(Target::Key(key)).await)
            .reservation
            .unwrap();
        assert_eq!(now.state(), state, "{now:?}");
        sold += i64::from(state == ReservationState::Confirmed);
    }
    assert_eq!(shop.units("sneaker").await, [1_000 - sold, 0, sold]);
    shop.assert_sound("sneaker").await;
}

fn response(result: &ReserveResult) -> &ReserveResponse {
    match &result.result {
        Some(Entry::Response(response)) => response,
        other => panic!("no response: {other:?}"),
    }
}

fn error(result: &ReserveResult) -> Failure {
    match &result.result {
        Some(Entry::Error(status)) => Failure::from(status),
        other => panic!("no error: {other:?}"),
    }
}

async fn each_entry_of_a_batch_is_decided_on_its_own(store: Store) {
    let server = store.serve(holdfast!()).await;
    let (shop, mut ids) = (server.shop(), Ids::seeded());
    // On one shard: who waits for stock from elsewhere is decided after the others
    // of the batch.
    let limited = Item {
        max_units_per_buyer: 2,
        shard_count: 1,
        ..item("sneaker")
    };
    shop.create(limited, 5).await;
    shop.create(item("sock"), 1).await;
    let (twice, greedy) = (ids.key("sneaker"), ids.buyer());
    let asks = [
        (twice.clone(), 1),
        (ids.key("sneaker"), 0),
        (ids.key_of("sneaker", &greedy), 2),
        (twice.clone(), 1),
        (ids.key_of("sneaker", &greedy), 1),
        (ids.key("nothing"), 1),
        (ids.key("sock"), 2),
        (ids.key("sneaker"), 1),
    ];
    let requests = asks
        .iter()
        .map(|(key, quantity)| Shop::request(key, *quantity))
        .collect();

    let reply = ok(shop
        .inventory()
        .batch_reserve(BatchReserveRequest { requests })
        .await);

    let [first, bad, most, again, over, unknown, short, last] = &reply.results[..] else {
        panic!("not one answer for each entry: {reply:?}");
    };
    for granted in [first, most, again, last] {
        assert_eq!(response(granted).outcome(), ReserveOutcome::Reserved);
    }
    assert_eq!(lasting(response(first)), lasting(response(again)));
    assert_eq!(
        (response(first).replayed, response(again).replayed),
        (false, true)
    );
    assert_eq!(response(over).outcome(), ReserveOutcome::BuyerLimitReached);
    assert_eq!(response(short).outcome(), ReserveOutcome::NotEnough);
    error(bad).names(&["requests[1].quantity"]);
    error(unknown).is(Code::NotFound, "ITEM_NOT_FOUND");
    assert_eq!(shop.units("sneaker").await, [1, 4, 0]);
    assert_eq!(shop.units("sock").await, [1, 0, 0]);
    shop.assert_sound("sneaker").await;
}
