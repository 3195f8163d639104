//! What support and operators ask: reservations, explanations, stripes.

use proto::v1;
use proto::v1::{ReservationState, ReserveOutcome, StripeState};
use shards::embedded::{Embedded, Options};
use shards::hash;
use shards::ids::{ItemId, StripeNo};
use shards::machine::{Op, StripeOp};
use shards::store::Store as _;
use tonic::Code;

use crate::harness::{
    Admin, SHARD_COUNTS, Server, broken_fields, cancel_by_key, create, entry_failure, id, item,
    key, reason, reserve, sharded,
};

async fn list(admin: &mut Admin, mut request: v1::ListReservationsRequest) -> Vec<v1::Reservation> {
    let mut all = Vec::new();
    loop {
        let page = admin.list_reservations(request.clone()).await.unwrap();
        let page = page.into_inner();
        all.extend(page.reservations);
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    all.sort_by(|a, b| a.request_id.cmp(&b.request_id));
    all
}

fn of_hat() -> v1::ListReservationsRequest {
    v1::ListReservationsRequest {
        item_id: "hat".to_owned(),
        page_size: 2,
        ..v1::ListReservationsRequest::default()
    }
}

#[tokio::test]
async fn reservations_are_listed_by_state_and_by_buyer() {
    for shards in SHARD_COUNTS {
        let server = Server::start();
        let (mut admin, mut inventory) = (server.admin().await, server.inventory().await);
        admin
            .create_item(create(sharded("hat", shards), 30))
            .await
            .unwrap();
        let mut granted = Vec::new();
        for number in 1..=9 {
            let buyer = ["ann", "bob", "cleo"][usize::try_from(number % 3).unwrap()];
            let reply = inventory.reserve(reserve("hat", buyer, number, 1)).await;
            granted.push(reply.unwrap().into_inner().reservation.unwrap());
        }
        inventory
            .cancel(cancel_by_key("hat", "ann", 3))
            .await
            .unwrap();

        let all = list(&mut admin, of_hat()).await;
        let names = |all: &[v1::Reservation]| -> Vec<String> {
            all.iter().map(|r| r.reservation_id.clone()).collect()
        };
        assert_eq!(names(&all), names(&granted));
        assert_eq!(all[0].request_id, id(1));
        assert_eq!(all[2].state(), ReservationState::Cancelled);
        let of_ann = v1::ListReservationsRequest {
            buyer_id: "ann".to_owned(),
            ..of_hat()
        };
        let requests: Vec<_> = list(&mut admin, of_ann.clone())
            .await
            .into_iter()
            .map(|r| r.request_id)
            .collect();
        assert_eq!(requests, [3, 6, 9].map(id));
        let held_by_ann = v1::ListReservationsRequest {
            states: vec![ReservationState::Held.into()],
            ..of_ann
        };
        assert_eq!(list(&mut admin, held_by_ann).await.len(), 2);
    }
}

#[tokio::test]
async fn a_listing_of_reservations_names_what_is_wrong() {
    let server = Server::start();
    let (mut admin, mut inventory) = (server.admin().await, server.inventory().await);
    admin.create_item(create(item("hat"), 9)).await.unwrap();
    for number in 1..=3 {
        inventory
            .reserve(reserve("hat", "ann", number, 1))
            .await
            .unwrap();
    }
    let bad = v1::ListReservationsRequest {
        item_id: "a b".to_owned(),
        buyer_id: "a\tb".to_owned(),
        states: vec![1, 0, 99],
        page_size: -1,
        page_token: String::new(),
    };
    let refused = admin.list_reservations(bad).await.unwrap_err();
    assert_eq!(
        broken_fields(&refused),
        ["item_id", "buyer_id", "page_size", "states[1]", "states[2]"]
    );
    let first = admin.list_reservations(of_hat()).await.unwrap();
    let page_token = first.into_inner().next_page_token;
    assert!(!page_token.is_empty());
    for request in [
        v1::ListReservationsRequest {
            page_token: page_token.clone(),
            buyer_id: "ann".to_owned(),
            ..of_hat()
        },
        v1::ListReservationsRequest {
            page_token: "elsewhere".to_owned(),
            ..of_hat()
        },
    ] {
        let refused = admin.list_reservations(request).await.unwrap_err();
        assert_eq!(broken_fields(&refused), ["page_token"]);
    }
    // A page size is not part of the listing, and too much is clamped.
    let request = v1::ListReservationsRequest {
        page_token,
        page_size: i32::MAX,
        ..of_hat()
    };
    let rest = admin.list_reservations(request).await.unwrap().into_inner();
    assert_eq!((rest.reservations.len(), &*rest.next_page_token), (1, ""));
    let gone = v1::ListReservationsRequest {
        item_id: "gone".to_owned(),
        ..of_hat()
    };
    let refused = admin.list_reservations(gone).await.unwrap_err();
    assert_eq!(
        reason(&refused),
        (Code::NotFound, "ITEM_NOT_FOUND".to_owned())
    );
}

fn explain(buyer: &str, quantity: u32, number: Option<u64>) -> v1::ExplainReserveRequest {
    v1::ExplainReserveRequest {
        item_id: "hat".to_owned(),
        buyer_id: buyer.to_owned(),
        quantity,
        request_id: number.map(id).unwrap_or_default(),
    }
}

#[tokio::test]
async fn reserve_is_explained() {
    for shards in SHARD_COUNTS {
        let server = Server::start();
        let (mut admin, mut inventory) = (server.admin().await, server.inventory().await);
        let limited = v1::Item {
            max_units_per_buyer: 3,
            max_units_per_reservation: 4,
            ..sharded("hat", shards)
        };
        admin.create_item(create(limited, 5)).await.unwrap();
        let mut ask = async |request| {
            let reply = admin.explain_reserve(request).await;
            reply.unwrap().into_inner()
        };
        let free = ask(explain("ann", 0, None)).await;
        assert_eq!(free.outcome(), ReserveOutcome::Reserved);
        assert!(free.error.is_none() && !free.description.is_empty());
        assert_eq!(free.item.unwrap().item_id, "hat");
        assert_eq!(free.stock.unwrap().available, Some(5));
        assert!(free.home_shard < shards);
        assert_eq!((free.buyer_units, free.reservations.len()), (Some(0), 0));
        assert!(free.sold_out_mark_age.is_none());

        inventory
            .reserve(reserve("hat", "ann", 1, 2))
            .await
            .unwrap();
        let known = ask(explain("ann", 2, Some(1))).await;
        assert_eq!(known.outcome(), ReserveOutcome::Reserved);
        assert_eq!(known.reservations[0].request_id, id(1));
        assert_eq!(known.buyer_units, Some(2));
        let over = ask(explain("ann", 2, None)).await;
        assert_eq!(over.outcome(), ReserveOutcome::BuyerLimitReached);
        let short = ask(explain("bob", 4, None)).await;
        assert_eq!(short.outcome(), ReserveOutcome::BuyerLimitReached);
        let reused = ask(explain("ann", 1, Some(1))).await;
        assert_eq!(reused.outcome(), ReserveOutcome::Unspecified);
        let error = entry_failure(&reused.error.unwrap());
        assert_eq!(error.reason, "REQUEST_ID_REUSED");
        let much = ask(explain("bob", 5, None)).await;
        let error = entry_failure(&much.error.unwrap());
        assert_eq!(error.fields, ["quantity"]);
        inventory
            .reserve(reserve("hat", "bob", 2, 3))
            .await
            .unwrap();
        let sold_out = ask(explain("cleo", 1, None)).await;
        assert_eq!(sold_out.outcome(), ReserveOutcome::SoldOut);
        inventory
            .cancel(cancel_by_key("hat", "ann", 1))
            .await
            .unwrap();
        let ended = ask(explain("ann", 2, Some(1))).await;
        assert_eq!(ended.outcome(), ReserveOutcome::AlreadyEnded);
        let not_enough = ask(explain("cleo", 3, None)).await;
        assert_eq!(not_enough.outcome(), ReserveOutcome::NotEnough);
        assert_eq!(not_enough.stock.unwrap().available, Some(2));
    }
}

#[tokio::test]
async fn an_explanation_names_what_is_wrong() {
    let server = Server::start();
    let mut admin = server.admin().await;
    let bad = v1::ExplainReserveRequest {
        item_id: String::new(),
        buyer_id: String::new(),
        quantity: 1_000_001,
        request_id: "none".to_owned(),
    };
    let refused = admin.explain_reserve(bad).await.unwrap_err();
    assert_eq!(
        broken_fields(&refused),
        ["item_id", "buyer_id", "quantity", "request_id"]
    );
    let refused = admin.explain_reserve(explain("ann", 1, None)).await;
    assert_eq!(
        reason(&refused.unwrap_err()),
        (Code::NotFound, "ITEM_NOT_FOUND".to_owned())
    );
}

async fn stripes(admin: &mut Admin, request: v1::ListStripesRequest) -> Vec<v1::Stripe> {
    let reply = admin.list_stripes(request).await.unwrap();
    reply.into_inner().stripes
}

/// A server whose store had to freeze the stripe of the hat, and that stripe.
async fn with_a_frozen_stripe() -> (Server, StripeNo) {
    let server = Server::start();
    let mut admin = server.admin().await;
    admin
        .create_item(create(sharded("hat", 2), 4))
        .await
        .unwrap();
    drop(admin);
    let dir = tokio::task::spawn_blocking(move || server.join())
        .await
        .unwrap();
    let store = Embedded::open(Options::new(dir.path())).unwrap();
    let stripe = hash::catalog_stripe(&ItemId::parse("hat").unwrap());
    let freeze = StripeOp::Freeze {
        id: 0xabc,
        reason: "a test".to_owned(),
    };
    let frozen = store.submit(stripe, Op::Stripe(freeze), None).await;
    frozen.unwrap();
    tokio::task::spawn_blocking(move || drop(store))
        .await
        .unwrap();
    (Server::start_in(dir, |_| {}), stripe)
}

#[tokio::test]
async fn a_frozen_stripe_is_told_and_released() {
    let (server, stripe) = with_a_frozen_stripe().await;
    let (mut admin, mut inventory) = (server.admin().await, server.inventory().await);
    let number = u32::from(stripe.0);
    let all = stripes(&mut admin, v1::ListStripesRequest::default()).await;
    assert_eq!(all.len(), 64);
    assert!((0..).zip(&all).all(|(n, stripe)| stripe.stripe == n));
    let frozen = &all[usize::from(stripe.0)];
    assert_eq!(frozen.state(), StripeState::Frozen);
    assert_eq!(frozen.freeze_id, "0000000000000abc");
    assert_eq!(frozen.freeze_reason, "a test");
    assert!(frozen.freeze_time.is_some() && !frozen.endpoint.is_empty());
    assert_eq!((frozen.adoption, frozen.adopted_seq), (0, 0));
    assert!(frozen.acknowledged_seq > 0);
    let only = v1::ListStripesRequest {
        states: vec![StripeState::Frozen.into()],
        item_id: String::new(),
    };
    assert_eq!(
        stripes(&mut admin, only.clone()).await,
        [frozen.clone()][..]
    );
    let of_hat = v1::ListStripesRequest {
        states: Vec::new(),
        item_id: "hat".to_owned(),
    };
    assert_eq!(stripes(&mut admin, of_hat.clone()).await.len(), 2);

    let refused = inventory.reserve(reserve("hat", "ann", 1, 1)).await;
    assert_eq!(
        reason(&refused.unwrap_err()),
        (Code::Unavailable, "DATA_LOSS_SUSPECTED".to_owned())
    );
    let release = v1::ReleaseStripeRequest {
        stripe: Some(number),
        freeze_id: frozen.freeze_id.clone(),
        accept_loss: true,
        reason: "a test".to_owned(),
    };
    let other = v1::ReleaseStripeRequest {
        freeze_id: "0000000000000abd".to_owned(),
        ..release.clone()
    };
    let refused = admin.release_stripe(other).await.unwrap_err();
    assert_eq!(
        reason(&refused),
        (Code::FailedPrecondition, "FREEZE_ID_MISMATCH".to_owned())
    );
    for surplus in [Some(0), None] {
        let reply = admin.release_stripe(release.clone()).await.unwrap();
        let reply = reply.into_inner();
        let stripe = reply.stripe.unwrap();
        assert_eq!(
            (stripe.stripe, stripe.state()),
            (number, StripeState::Serving)
        );
        assert_eq!((&*stripe.freeze_id, stripe.freeze_time), ("", None));
        assert_eq!(reply.surplus_units, surplus);
    }
    assert_eq!(stripes(&mut admin, only).await, []);
    let all_four = inventory.reserve(reserve("hat", "ann", 1, 4)).await;
    assert_eq!(
        all_four.unwrap().into_inner().outcome(),
        ReserveOutcome::Reserved
    );
    let get = v1::GetReservationRequest {
        target: Some(v1::get_reservation_request::Target::Key(key(
            "hat", "ann", 1,
        ))),
    };
    inventory.get_reservation(get).await.unwrap();
}

#[tokio::test]
async fn stripes_and_releases_name_what_is_wrong() {
    let server = Server::start();
    let mut admin = server.admin().await;
    let bad = v1::ListStripesRequest {
        states: vec![0, 99],
        item_id: "a b".to_owned(),
    };
    let refused = admin.list_stripes(bad).await.unwrap_err();
    assert_eq!(
        broken_fields(&refused),
        ["item_id", "states[0]", "states[1]"]
    );
    let gone = v1::ListStripesRequest {
        states: Vec::new(),
        item_id: "gone".to_owned(),
    };
    let refused = admin.list_stripes(gone).await.unwrap_err();
    assert_eq!(reason(&refused).1, "ITEM_NOT_FOUND");

    let nothing = v1::ReleaseStripeRequest::default();
    let refused = admin.release_stripe(nothing).await.unwrap_err();
    assert_eq!(
        broken_fields(&refused),
        ["stripe", "freeze_id", "accept_loss", "reason"]
    );
    let bad = v1::ReleaseStripeRequest {
        stripe: Some(64),
        freeze_id: "abc".to_owned(),
        accept_loss: true,
        reason: "x".repeat(257),
    };
    let refused = admin.release_stripe(bad).await.unwrap_err();
    assert_eq!(broken_fields(&refused), ["stripe", "freeze_id", "reason"]);
}
