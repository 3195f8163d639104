//! Reserves that are told no, each with what it takes to understand it.

use e2e::{instant, item, ok};
use prost_types::Timestamp;
use proto::v1::reserve_result::Result as Entry;
use proto::v1::{
    BatchReserveRequest, CloseItemRequest, Item, PauseItemRequest, ReserveOutcome, ReserveResponse,
    ResumeItemRequest,
};

use crate::{Row, World, row};

pub(crate) fn rows() -> Vec<Row> {
    vec![
        row(
            "over the buyer's limit; two ids of one buyer in one batch",
            buyers_limit,
        ),
        row("more units than are left", more_than_are_left),
        row(
            "more units than any one shard has, but not than all have",
            more_than_any_shard_has,
        ),
        row(
            "before the start, after the end, paused, closed",
            not_on_sale,
        ),
    ]
}

/// A year of the next century, and one of the last.
const FUTURE: Timestamp = Timestamp {
    seconds: 4_102_444_800,
    nanos: 500_000_000,
};
const PAST: Timestamp = Timestamp {
    seconds: 946_684_800,
    nanos: 0,
};

#[track_caller]
fn refused(reply: &ReserveResponse, outcome: ReserveOutcome) {
    assert_eq!(reply.outcome(), outcome, "{reply:?}");
    assert_eq!(
        (&reply.reservation, reply.replayed),
        (&None, false),
        "{reply:?}"
    );
}

async fn buyers_limit(World { shop, mut ids, .. }: World) {
    let limited = Item {
        max_units_per_buyer: 3,
        ..item("it")
    };
    shop.create(limited, 10).await;
    let buyer = ids.buyer();
    ok(shop.reserve(&ids.key_of("it", &buyer), 2).await);

    let no = ok(shop.reserve(&ids.key_of("it", &buyer), 2).await);
    refused(&no, ReserveOutcome::BuyerLimitReached);
    assert_eq!((no.buyer_units, no.max_units_per_buyer), (Some(2), Some(3)));
    assert_eq!(shop.units("it").await, [8, 2, 0]);

    // What still fits is served, and the other of two in one batch is not.
    let requests = (0..2)
        .map(|_| e2e::Shop::request(&ids.key_of("it", &buyer), 1))
        .collect();
    let reply = ok(shop
        .inventory()
        .batch_reserve(BatchReserveRequest { requests })
        .await);
    let outcomes = reply.results.iter().map(|result| match &result.result {
        Some(Entry::Response(response)) => response.outcome(),
        other => panic!("{other:?}"),
    });
    assert_eq!(
        outcomes.collect::<Vec<_>>(),
        [ReserveOutcome::Reserved, ReserveOutcome::BuyerLimitReached]
    );
    assert_eq!(shop.units("it").await, [7, 3, 0]);
    let reply = ok(shop.reserve(&ids.key("it"), 3).await);
    assert_eq!(reply.outcome(), ReserveOutcome::Reserved);
    shop.assert_sound("it").await;
}

async fn more_than_are_left(World { shop, mut ids, .. }: World) {
    shop.create(item("it"), 5).await;
    ok(shop.reserve(&ids.key("it"), 2).await);

    let no = ok(shop.reserve(&ids.key("it"), 4).await);
    refused(&no, ReserveOutcome::NotEnough);
    assert_eq!((no.available_units, no.held_units), (Some(3), Some(2)));
    assert_eq!(shop.units("it").await, [3, 2, 0]);

    let reply = ok(shop.reserve(&ids.key("it"), 3).await);
    assert_eq!(reply.outcome(), ReserveOutcome::Reserved);
    for quantity in [1, 1_000_000] {
        let no = ok(shop.reserve(&ids.key("it"), quantity).await);
        refused(&no, ReserveOutcome::SoldOut);
        assert_eq!((no.available_units, no.held_units), (Some(0), Some(5)));
    }
    // An item without any stock is sold out too, and nothing comes back.
    shop.create(item("empty"), 0).await;
    let no = ok(shop.reserve(&ids.key("empty"), 1).await);
    refused(&no, ReserveOutcome::SoldOut);
    assert_eq!((no.available_units, no.held_units), (Some(0), Some(0)));
    shop.assert_sound("it").await;
}

async fn more_than_any_shard_has(World { shop, mut ids, .. }: World) {
    let spread = Item {
        shard_count: 8,
        ..item("it")
    };
    let made = shop.create(spread, 20).await;
    assert_eq!(made.shard_count, 8);
    for (quantity, left) in [(15, 5), (4, 1), (1, 0)] {
        let reply = ok(shop.reserve(&ids.key("it"), quantity).await);
        assert_eq!(reply.outcome(), ReserveOutcome::Reserved);
        assert_eq!(shop.units("it").await, [left, 20 - left, 0]);
    }
    let no = ok(shop.reserve(&ids.key("it"), 1).await);
    refused(&no, ReserveOutcome::SoldOut);
    shop.assert_sound("it").await;
}

async fn not_on_sale(World { shop, mut ids, .. }: World) {
    let early = Item {
        sale_start_time: Some(FUTURE),
        ..item("early")
    };
    let late = Item {
        sale_end_time: Some(PAST),
        ..item("late")
    };
    for item in [early, late, item("paused"), item("closed")] {
        shop.create(item, 5).await;
    }
    let (item_id, reason) = ("paused".into(), "a test".into());
    ok(shop
        .admin()
        .pause_item(PauseItemRequest { item_id, reason })
        .await);
    let (item_id, reason) = ("closed".into(), "a test".into());
    ok(shop
        .admin()
        .close_item(CloseItemRequest { item_id, reason })
        .await);

    for (item_id, outcome) in [
        ("early", ReserveOutcome::SaleNotStarted),
        ("late", ReserveOutcome::SaleEnded),
        ("paused", ReserveOutcome::SalePaused),
        ("closed", ReserveOutcome::SaleEnded),
    ] {
        let no = ok(shop.reserve(&ids.key(item_id), 1).await);
        refused(&no, outcome);
        if outcome == ReserveOutcome::SaleNotStarted {
            let start = instant(no.sale_start_time.as_ref());
            assert_eq!(start, instant(Some(&FUTURE)));
        }
        assert_eq!(shop.units(item_id).await, [5, 0, 0]);
    }
    let (item_id, reason) = ("paused".into(), String::new());
    ok(shop
        .admin()
        .resume_item(ResumeItemRequest { item_id, reason })
        .await);
    let reply = ok(shop.reserve(&ids.key("paused"), 1).await);
    assert_eq!(reply.outcome(), ReserveOutcome::Reserved);
}
