//! The data plane, from end to end.

use proto::v1;
use proto::v1::reserve_result::Result as Entry;
use proto::v1::{ConfirmOutcome, ReservationState, ReserveOutcome};
use tonic::Code;

use crate::harness::{
    Inventory, Server, cancel_by_key, create, eventually, id, item, key, reason, reserve,
};

/// A server with one item of this many units, at most two for a buyer.
async fn sale(stock: i64) -> (Server, Inventory) {
    let server = Server::start();
    let limited = v1::Item {
        max_units_per_buyer: 2,
        ..item("hat")
    };
    let mut admin = server.admin().await;
    admin.create_item(create(limited, stock)).await.unwrap();
    let inventory = server.inventory().await;
    (server, inventory)
}

async fn ask(inventory: &mut Inventory, request: v1::ReserveRequest) -> v1::ReserveResponse {
    inventory.reserve(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn the_same_ids_get_the_same_reservation() {
    let (_server, mut inventory) = sale(3).await;
    let first = ask(&mut inventory, reserve("hat", "ann", 1, 2)).await;
    assert_eq!(first.outcome(), ReserveOutcome::Reserved);
    assert!(!first.replayed && !first.from_cache);
    let held = first.reservation.unwrap();
    assert_eq!(held.state(), ReservationState::Held);
    assert_eq!((held.quantity, held.request_id), (2, id(1)));
    assert!(held.expire_time.is_some() && held.remaining.is_some());
    assert!(held.create_time.is_some() && held.purge_time.is_none());

    let second = ask(&mut inventory, reserve("hat", "ann", 1, 2)).await;
    assert_eq!(second.outcome(), ReserveOutcome::Reserved);
    assert!(second.replayed);
    assert_eq!(
        second.reservation.unwrap().reservation_id,
        held.reservation_id
    );

    let reused = inventory.reserve(reserve("hat", "ann", 1, 1)).await;
    let expected = (Code::AlreadyExists, "REQUEST_ID_REUSED".to_owned());
    assert_eq!(reason(&reused.unwrap_err()), expected);
}

#[tokio::test]
async fn noes_are_outcomes_with_their_numbers() {
    let (_server, mut inventory) = sale(3).await;
    ask(&mut inventory, reserve("hat", "ann", 1, 2)).await;

    let over = ask(&mut inventory, reserve("hat", "ann", 2, 1)).await;
    assert_eq!(over.outcome(), ReserveOutcome::BuyerLimitReached);
    assert_eq!(
        (over.buyer_units, over.max_units_per_buyer),
        (Some(2), Some(2))
    );
    let short = ask(&mut inventory, reserve("hat", "bob", 3, 2)).await;
    assert_eq!(short.outcome(), ReserveOutcome::NotEnough);
    assert_eq!(
        (short.available_units, short.held_units),
        (Some(1), Some(2))
    );
    ask(&mut inventory, reserve("hat", "bob", 4, 1)).await;
    let sold_out = ask(&mut inventory, reserve("hat", "cleo", 5, 1)).await;
    assert_eq!(sold_out.outcome(), ReserveOutcome::SoldOut);
    assert_eq!(
        (sold_out.available_units, sold_out.held_units),
        (Some(0), Some(3))
    );
    assert!(sold_out.reservation.is_none());
}

#[tokio::test]
async fn a_hold_is_confirmed_by_id_and_cancelled_by_key() {
    let (_server, mut inventory) = sale(3).await;
    let ann = ask(&mut inventory, reserve("hat", "ann", 1, 2)).await;
    ask(&mut inventory, reserve("hat", "bob", 2, 1)).await;

    let id = ann.reservation.unwrap().reservation_id;
    let confirm = v1::ConfirmRequest {
        target: Some(v1::confirm_request::Target::ReservationId(id)),
        reacquire: false,
    };
    let confirmed = inventory.confirm(confirm).await.unwrap().into_inner();
    assert_eq!(confirmed.outcome(), ConfirmOutcome::Confirmed);
    let sold = confirmed.reservation.unwrap();
    assert_eq!(sold.state(), ReservationState::Confirmed);
    assert!(sold.expire_time.is_none() && sold.remaining.is_none());
    assert!(sold.purge_time.is_some() && !sold.reacquired);

    let cancelled = inventory.cancel(cancel_by_key("hat", "bob", 2)).await;
    let cancelled = cancelled.unwrap().into_inner().reservation.unwrap();
    assert_eq!(cancelled.state(), ReservationState::Cancelled);
    let refused = inventory.cancel(cancel_by_key("hat", "ann", 1)).await;
    let expected = (Code::FailedPrecondition, "RESERVATION_CONFIRMED".to_owned());
    assert_eq!(reason(&refused.unwrap_err()), expected);
}

#[tokio::test]
async fn a_late_confirm_takes_the_units_anew_if_it_may() {
    let server = Server::start();
    let (mut admin, mut inventory) = (server.admin().await, server.inventory().await);
    let brief = v1::Item {
        hold_ttl: Some(prost_types::Duration {
            seconds: 0,
            nanos: 100_000_000,
        }),
        ..item("hat")
    };
    admin.create_item(create(brief, 1)).await.unwrap();
    ask(&mut inventory, reserve("hat", "ann", 1, 1)).await;
    let get = v1::GetReservationRequest {
        target: Some(v1::get_reservation_request::Target::Key(key(
            "hat", "ann", 1,
        ))),
    };
    eventually("the hold expires", async || {
        let read = inventory.get_reservation(get.clone()).await.unwrap();
        let reservation = read.into_inner().reservation.unwrap();
        reservation.state() == ReservationState::Expired && reservation.remaining.is_none()
    })
    .await;

    let confirm = |reacquire| v1::ConfirmRequest {
        target: Some(v1::confirm_request::Target::Key(key("hat", "ann", 1))),
        reacquire,
    };
    let expired = inventory.confirm(confirm(false)).await.unwrap_err();
    let expected = (Code::FailedPrecondition, "RESERVATION_EXPIRED".to_owned());
    assert_eq!(reason(&expired), expected);
    let anew = inventory.confirm(confirm(true)).await.unwrap().into_inner();
    assert_eq!(anew.outcome(), ConfirmOutcome::Reacquired);
    assert!(anew.reservation.unwrap().reacquired);
    // A repeat tells what the first one did.
    let again = inventory.confirm(confirm(false)).await.unwrap();
    assert_eq!(again.get_ref().outcome(), ConfirmOutcome::Reacquired);
}

#[tokio::test]
async fn a_cancel_that_comes_first_forbids_its_reserve() {
    let (_server, mut inventory) = sale(3).await;
    let forbidden = inventory.cancel(cancel_by_key("hat", "ann", 1)).await;
    let forbidden = forbidden.unwrap().into_inner().reservation.unwrap();
    assert_eq!(forbidden.state(), ReservationState::Cancelled);
    assert_eq!(forbidden.quantity, 0);
    assert!(forbidden.create_time.is_none() && forbidden.purge_time.is_some());
    let ended = ask(&mut inventory, reserve("hat", "ann", 1, 1)).await;
    assert_eq!(ended.outcome(), ReserveOutcome::AlreadyEnded);
    assert!(!ended.replayed, "it was never granted");

    // One that was granted and then cancelled is a replay.
    ask(&mut inventory, reserve("hat", "bob", 2, 1)).await;
    inventory
        .cancel(cancel_by_key("hat", "bob", 2))
        .await
        .unwrap();
    let ended = ask(&mut inventory, reserve("hat", "bob", 2, 1)).await;
    assert_eq!(ended.outcome(), ReserveOutcome::AlreadyEnded);
    assert!(ended.replayed);
}

#[tokio::test]
async fn holds_are_extended_and_read() {
    let (_server, mut inventory) = sale(3).await;
    ask(&mut inventory, reserve("hat", "ann", 1, 1)).await;
    let extend = |seconds| v1::ExtendRequest {
        target: Some(v1::extend_request::Target::Key(key("hat", "ann", 1))),
        hold_for: Some(prost_types::Duration { seconds, nanos: 0 }),
    };
    let extended = inventory.extend(extend(600)).await.unwrap().into_inner();
    let remaining = extended.reservation.unwrap().remaining.unwrap();
    assert_eq!(remaining.seconds, 600);
    let too_long = inventory.extend(extend(1201)).await.unwrap_err();
    let expected = (Code::FailedPrecondition, "HOLD_TOO_LONG".to_owned());
    assert_eq!(reason(&too_long), expected);

    let get = |number| v1::GetReservationRequest {
        target: Some(v1::get_reservation_request::Target::Key(key(
            "hat", "ann", number,
        ))),
    };
    let read = inventory
        .get_reservation(get(1))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(read.reservation.unwrap().state(), ReservationState::Held);
    let unknown = inventory.get_reservation(get(2)).await.unwrap_err();
    let expected = (Code::NotFound, "RESERVATION_NOT_FOUND".to_owned());
    assert_eq!(reason(&unknown), expected);
}

#[tokio::test]
async fn a_batch_decides_each_entry_by_itself() {
    let (_server, mut inventory) = sale(2).await;
    let requests = vec![
        reserve("hat", "ann", 1, 1),
        reserve("hat", "ann", 1, 1), // the same ids: one grant
        reserve("hat", "", 2, 0),
        reserve("gone", "ann", 3, 1),
        reserve("hat", "bob", 4, 2),
    ];
    let batch = v1::BatchReserveRequest { requests };
    let reply = inventory.batch_reserve(batch).await.unwrap().into_inner();
    let results: Vec<_> = reply.results.into_iter().filter_map(|r| r.result).collect();
    let [
        Entry::Response(one),
        Entry::Response(same),
        Entry::Error(bad),
        Entry::Error(gone),
        Entry::Response(short),
    ] = &results[..]
    else {
        panic!("{results:?}");
    };
    assert_eq!(one.outcome(), ReserveOutcome::Reserved);
    assert!(!one.replayed && same.replayed, "granted once");
    assert_eq!(short.outcome(), ReserveOutcome::NotEnough);
    assert_eq!(gone.code, i32::from(Code::NotFound));
    assert_eq!(bad.code, i32::from(Code::InvalidArgument));
    assert!(bad.message.contains("requests[2].quantity"), "{bad:?}");
    assert!(bad.message.contains("requests[2].buyer_id"), "{bad:?}");
}
