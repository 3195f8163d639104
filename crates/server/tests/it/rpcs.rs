//! What works, from end to end.

use proto::v1;
use proto::v1::{
    AuditVerdict, ConfirmOutcome, ItemState, ReservationState, ReserveOutcome, SalePhase,
};
use tonic::Code;

use crate::harness::{Server, create, id, item, key, reason, reserve};

#[tokio::test]
async fn a_sale_from_its_creation_to_its_audit() {
    let server = Server::start();
    let (mut admin, mut inventory) = (server.admin().await, server.inventory().await);

    let limited = v1::Item {
        max_units_per_buyer: 2,
        ..item("sneaker")
    };
    let request = create(limited, 3);
    let created = admin.create_item(request.clone()).await.unwrap();
    let made = created.into_inner().item.unwrap();
    assert_eq!(made.state(), ItemState::Open);
    assert_eq!(made.version, 1);
    assert_eq!(made.shard_count, 1);
    assert_eq!(made.hold_ttl.unwrap().seconds, 300);
    assert_eq!(made.max_hold.unwrap().seconds, 1200);
    assert_eq!(made.retention.unwrap().seconds, 86_400);
    assert_eq!(made.max_units_per_reservation, 1_000_000);
    assert!(made.create_time.is_some() && made.update_time.is_some());
    // Again: the same item. Otherwise: refused.
    let again = admin.create_item(request.clone()).await.unwrap();
    assert_eq!(again.into_inner().item.unwrap(), made);
    let other = v1::CreateItemRequest {
        initial_stock: Some(4),
        ..request
    };
    let refused = admin.create_item(other).await.unwrap_err();
    assert_eq!(
        reason(&refused),
        (Code::AlreadyExists, "ITEM_EXISTS".into())
    );

    // Held, and held again by the same ids.
    let ask = reserve("sneaker", "ann", 1, 2);
    let first = inventory.reserve(ask.clone()).await.unwrap().into_inner();
    assert_eq!(first.outcome(), ReserveOutcome::Reserved);
    assert!(!first.replayed && !first.from_cache);
    let held = first.reservation.unwrap();
    assert_eq!(held.state(), ReservationState::Held);
    assert_eq!(
        (held.quantity, held.request_id.as_str()),
        (2, id(1).as_str())
    );
    assert!(held.expire_time.is_some() && held.remaining.is_some());
    assert!(held.create_time.is_some() && held.purge_time.is_none());
    let second = inventory.reserve(ask).await.unwrap().into_inner();
    assert!(second.replayed);
    assert_eq!(
        second.reservation.unwrap().reservation_id,
        held.reservation_id
    );
    let reused = inventory
        .reserve(reserve("sneaker", "ann", 1, 1))
        .await
        .unwrap_err();
    assert_eq!(
        reason(&reused),
        (Code::AlreadyExists, "REQUEST_ID_REUSED".into())
    );

    // The noes are outcomes.
    let over = inventory.reserve(reserve("sneaker", "ann", 2, 1)).await;
    let over = over.unwrap().into_inner();
    assert_eq!(over.outcome(), ReserveOutcome::BuyerLimitReached);
    assert_eq!(
        (over.buyer_units, over.max_units_per_buyer),
        (Some(2), Some(2))
    );
    let short = inventory.reserve(reserve("sneaker", "bob", 3, 2)).await;
    let short = short.unwrap().into_inner();
    assert_eq!(short.outcome(), ReserveOutcome::NotEnough);
    assert_eq!(
        (short.available_units, short.held_units),
        (Some(1), Some(2))
    );
    let last = inventory.reserve(reserve("sneaker", "bob", 4, 1)).await;
    assert_eq!(
        last.unwrap().into_inner().outcome(),
        ReserveOutcome::Reserved
    );
    let sold_out = inventory.reserve(reserve("sneaker", "cleo", 5, 1)).await;
    let sold_out = sold_out.unwrap().into_inner();
    assert_eq!(sold_out.outcome(), ReserveOutcome::SoldOut);
    assert_eq!(
        (sold_out.available_units, sold_out.held_units),
        (Some(0), Some(3))
    );

    // Confirmed by id, cancelled by key.
    let confirm = v1::ConfirmRequest {
        target: Some(v1::confirm_request::Target::ReservationId(
            held.reservation_id.clone(),
        )),
        reacquire: false,
    };
    let confirmed = inventory.confirm(confirm).await.unwrap().into_inner();
    assert_eq!(confirmed.outcome(), ConfirmOutcome::Confirmed);
    let sold = confirmed.reservation.unwrap();
    assert_eq!(sold.state(), ReservationState::Confirmed);
    assert!(sold.expire_time.is_none() && sold.remaining.is_none());
    assert!(sold.purge_time.is_some());
    let cancel = |buyer: &str, number| v1::CancelRequest {
        target: Some(v1::cancel_request::Target::Key(key(
            "sneaker", buyer, number,
        ))),
    };
    let cancelled = inventory
        .cancel(cancel("bob", 4))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        cancelled.reservation.unwrap().state(),
        ReservationState::Cancelled
    );
    let sold_already = inventory.cancel(cancel("ann", 1)).await.unwrap_err();
    assert_eq!(
        reason(&sold_already),
        (Code::FailedPrecondition, "RESERVATION_CONFIRMED".into())
    );

    let stock = v1::GetStockRequest {
        item_id: "sneaker".to_owned(),
        ..v1::GetStockRequest::default()
    };
    let full = inventory
        .get_stock(stock.clone())
        .await
        .unwrap()
        .into_inner();
    let full = full.stock.unwrap();
    assert_eq!(
        (full.available, full.held, full.sold, full.total),
        (Some(1), Some(0), Some(2), Some(3))
    );
    assert_eq!((full.phase(), full.exact), (SalePhase::OnSale, Some(true)));
    assert_eq!(full.max_units_per_buyer, 2);
    let basic = v1::GetStockRequest {
        view: v1::StockView::Basic.into(),
        ..stock
    };
    let basic = inventory.get_stock(basic).await.unwrap().into_inner();
    let basic = basic.stock.unwrap();
    assert_eq!(
        (basic.available, basic.phase()),
        (Some(1), SalePhase::OnSale)
    );
    assert!(basic.as_of.is_some() && basic.held.is_none() && basic.total.is_none());
    assert_eq!(basic.max_units_per_buyer, 0);

    let audit = v1::AuditItemRequest {
        item_id: "sneaker".to_owned(),
        level: v1::AuditLevel::Records.into(),
    };
    let audit = admin.audit_item(audit).await.unwrap().into_inner();
    assert_eq!(audit.verdict(), AuditVerdict::Sound, "{audit:?}");
    assert_eq!(audit.oversold_units, Some(0));
    let counters = audit.counters.unwrap();
    assert_eq!((counters.supply, counters.sold), (Some(3), Some(2)));
    assert_eq!((counters.sent, counters.under_way), (Some(0), Some(0)));
    let records = audit.records.unwrap();
    assert_eq!((records.held, records.sold), (Some(0), Some(2)));
    assert_eq!(audit.shards.len(), 1);
}

#[tokio::test]
async fn a_cancel_that_comes_first_forbids_its_reserve() {
    let server = Server::start();
    let (mut admin, mut inventory) = (server.admin().await, server.inventory().await);
    admin.create_item(create(item("hat"), 1)).await.unwrap();
    let cancel = v1::CancelRequest {
        target: Some(v1::cancel_request::Target::Key(key("hat", "ann", 1))),
    };
    let forbidden = inventory.cancel(cancel).await.unwrap().into_inner();
    let forbidden = forbidden.reservation.unwrap();
    assert_eq!(forbidden.state(), ReservationState::Cancelled);
    assert_eq!(forbidden.quantity, 0);
    assert!(forbidden.create_time.is_none() && forbidden.purge_time.is_some());

    let ended = inventory.reserve(reserve("hat", "ann", 1, 1)).await;
    let ended = ended.unwrap().into_inner();
    assert_eq!(ended.outcome(), ReserveOutcome::AlreadyEnded);
    assert!(!ended.replayed, "it was never granted");

    // One that was granted and then cancelled is a replay.
    inventory
        .reserve(reserve("hat", "bob", 2, 1))
        .await
        .unwrap();
    let cancel = v1::CancelRequest {
        target: Some(v1::cancel_request::Target::Key(key("hat", "bob", 2))),
    };
    inventory.cancel(cancel).await.unwrap();
    let ended = inventory.reserve(reserve("hat", "bob", 2, 1)).await;
    let ended = ended.unwrap().into_inner();
    assert_eq!(ended.outcome(), ReserveOutcome::AlreadyEnded);
    assert!(ended.replayed);
}

#[tokio::test]
async fn holds_are_extended_and_read() {
    let server = Server::start();
    let (mut admin, mut inventory) = (server.admin().await, server.inventory().await);
    admin.create_item(create(item("hat"), 1)).await.unwrap();
    inventory
        .reserve(reserve("hat", "ann", 1, 1))
        .await
        .unwrap();

    let extend = |seconds| v1::ExtendRequest {
        target: Some(v1::extend_request::Target::Key(key("hat", "ann", 1))),
        hold_for: Some(prost_types::Duration { seconds, nanos: 0 }),
    };
    let extended = inventory.extend(extend(600)).await.unwrap().into_inner();
    let remaining = extended.reservation.unwrap().remaining.unwrap();
    assert_eq!(remaining.seconds, 600);
    let too_long = inventory.extend(extend(1201)).await.unwrap_err();
    assert_eq!(
        reason(&too_long),
        (Code::FailedPrecondition, "HOLD_TOO_LONG".into())
    );

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
    assert_eq!(
        reason(&unknown),
        (Code::NotFound, "RESERVATION_NOT_FOUND".into())
    );
}

#[tokio::test]
async fn a_batch_decides_each_entry_by_itself() {
    let server = Server::start();
    let (mut admin, mut inventory) = (server.admin().await, server.inventory().await);
    admin.create_item(create(item("hat"), 2)).await.unwrap();
    let requests = vec![
        reserve("hat", "ann", 1, 1),
        reserve("hat", "ann", 1, 1), // the same ids: one grant
        reserve("hat", "", 2, 0),
        reserve("gone", "ann", 3, 1),
        reserve("hat", "bob", 4, 2),
    ];
    let reply = inventory
        .batch_reserve(v1::BatchReserveRequest { requests })
        .await
        .unwrap();
    use v1::reserve_result::Result as Entry;
    let results: Vec<_> = reply
        .into_inner()
        .results
        .into_iter()
        .map(|r| r.result.unwrap())
        .collect();
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
    assert!(one.replayed != same.replayed, "granted once");
    assert_eq!(short.outcome(), ReserveOutcome::NotEnough);
    assert_eq!(gone.code, i32::from(Code::NotFound));
    assert_eq!(bad.code, i32::from(Code::InvalidArgument));
    assert!(bad.message.contains("requests[2].quantity"), "{bad:?}");
    assert!(bad.message.contains("requests[2].buyer_id"), "{bad:?}");
}

#[tokio::test]
async fn operators_pause_resume_close_adjust_and_list() {
    let server = Server::start();
    let (mut admin, mut inventory) = (server.admin().await, server.inventory().await);
    for (number, name) in ["hat-1", "hat-2", "shoe-1"].into_iter().enumerate() {
        let request = v1::CreateItemRequest {
            request_id: id(1000 + number as u64),
            ..create(item(name), 1)
        };
        admin.create_item(request).await.unwrap();
    }
    let paused = admin
        .pause_item(v1::PauseItemRequest {
            item_id: "hat-1".to_owned(),
            reason: "wrong price".to_owned(),
        })
        .await
        .unwrap()
        .into_inner();
    let paused = paused.item.unwrap();
    assert_eq!((paused.state(), paused.version), (ItemState::Paused, 2));
    assert_eq!(paused.state_reason, "wrong price");
    let refused = inventory.reserve(reserve("hat-1", "ann", 1, 1)).await;
    assert_eq!(
        refused.unwrap().into_inner().outcome(),
        ReserveOutcome::SalePaused
    );
    let resume = v1::ResumeItemRequest {
        item_id: "hat-1".to_owned(),
        ..v1::ResumeItemRequest::default()
    };
    admin.resume_item(resume.clone()).await.unwrap();
    admin
        .close_item(v1::CloseItemRequest {
            item_id: "hat-1".to_owned(),
            ..v1::CloseItemRequest::default()
        })
        .await
        .unwrap();
    let closed = admin.resume_item(resume).await.unwrap_err();
    assert_eq!(
        reason(&closed),
        (Code::FailedPrecondition, "ITEM_CLOSED".into())
    );

    let adjust = v1::AdjustStockRequest {
        item_id: "hat-2".to_owned(),
        delta: -5,
        request_id: id(7),
        ..v1::AdjustStockRequest::default()
    };
    let refused = admin.adjust_stock(adjust.clone()).await.unwrap_err();
    assert_eq!(
        reason(&refused),
        (Code::FailedPrecondition, "NOT_ENOUGH_AVAILABLE".into())
    );
    let partial = v1::AdjustStockRequest {
        allow_partial: true,
        ..adjust
    };
    let taken = admin.adjust_stock(partial).await.unwrap().into_inner();
    assert_eq!((taken.applied_delta, taken.replayed), (Some(-1), false));
    assert_eq!(taken.stock.unwrap().total, Some(0));

    let mut ids = Vec::new();
    let mut page = v1::ListItemsRequest {
        page_size: 1,
        item_id_prefix: "hat-".to_owned(),
        ..v1::ListItemsRequest::default()
    };
    loop {
        let reply = admin.list_items(page.clone()).await.unwrap().into_inner();
        ids.extend(reply.items.into_iter().map(|item| item.item_id));
        if reply.next_page_token.is_empty() {
            break;
        }
        page.page_token = reply.next_page_token;
    }
    ids.sort();
    assert_eq!(ids, ["hat-1", "hat-2"]);
    let closed = v1::ListItemsRequest {
        states: vec![ItemState::Closed.into()],
        ..v1::ListItemsRequest::default()
    };
    let closed = admin.list_items(closed).await.unwrap().into_inner().items;
    assert_eq!(closed.len(), 1);

    let stocks = v1::BatchGetStockRequest {
        item_ids: vec!["shoe-1".into(), "no such".into(), "gone".into()],
        ..v1::BatchGetStockRequest::default()
    };
    let stocks = inventory
        .batch_get_stock(stocks)
        .await
        .unwrap()
        .into_inner();
    use v1::stock_result::Result as Entry;
    let [shoe, bad, gone] = &stocks.results[..] else {
        panic!("{stocks:?}");
    };
    assert!(matches!(&shoe.result, Some(Entry::Stock(s)) if s.available == Some(1)));
    assert!(matches!(&bad.result, Some(Entry::Error(e)) if e.message.contains("item_ids[1]")));
    assert!(matches!(&gone.result, Some(Entry::Error(e)) if e.code == 5));
    assert_eq!(gone.item_id, "gone");
}

#[tokio::test]
async fn the_server_says_what_it_is() {
    let server = Server::start();
    let status = server
        .admin()
        .await
        .get_status(v1::GetStatusRequest {})
        .await;
    let status = status.unwrap().into_inner();
    assert_eq!(status.server_id, "test-1");
    assert_eq!(status.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(status.store_kind, "embedded");
    assert_eq!(status.durability(), v1::Durability::Embedded);
    assert_eq!(status.serving_stripes, Some(64));
    assert!(!status.draining && status.start_time.is_some());
    assert!(status.nodes.iter().all(|node| node.acknowledging));
}
