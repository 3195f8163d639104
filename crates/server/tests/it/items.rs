//! The control plane and stock, from end to end.

use proto::v1;
use proto::v1::stock_result::Result as Entry;
use proto::v1::{AuditLevel, AuditVerdict, ItemState, ReserveOutcome, SalePhase};
use tonic::Code;

use crate::harness::{Admin, Server, create, eventually, id, item, reason, reserve};

#[tokio::test]
async fn an_item_is_made_once_and_told_with_every_setting() {
    let server = Server::start();
    let mut admin = server.admin().await;
    let request = create(item("hat"), 3);
    let made = admin.create_item(request.clone()).await.unwrap();
    let made = made.into_inner().item.unwrap();
    assert_eq!((made.state(), made.version), (ItemState::Open, 1));
    assert_eq!(made.shard_count, 1);
    assert_eq!(made.hold_ttl.unwrap().seconds, 300);
    assert_eq!(made.max_hold.unwrap().seconds, 1200);
    assert_eq!(made.retention.unwrap().seconds, 86_400);
    assert_eq!(made.max_units_per_reservation, 1_000_000);
    assert!(made.create_time.is_some() && made.update_time.is_some());

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

    let get = v1::GetItemRequest {
        item_id: "hat".to_owned(),
    };
    let read = admin.get_item(get).await.unwrap().into_inner();
    assert_eq!(read.item.unwrap(), made);
}

#[tokio::test]
async fn stock_and_audit_tell_what_was_given() {
    let server = Server::start();
    let (mut admin, mut inventory) = (server.admin().await, server.inventory().await);
    admin.create_item(create(item("hat"), 5)).await.unwrap();
    let held = inventory.reserve(reserve("hat", "ann", 1, 2)).await;
    let id = held
        .unwrap()
        .into_inner()
        .reservation
        .unwrap()
        .reservation_id;
    let confirm = v1::ConfirmRequest {
        target: Some(v1::confirm_request::Target::ReservationId(id)),
        reacquire: false,
    };
    inventory.confirm(confirm).await.unwrap();
    inventory
        .reserve(reserve("hat", "bob", 2, 1))
        .await
        .unwrap();

    let ask = |view: v1::StockView| v1::GetStockRequest {
        item_id: "hat".to_owned(),
        view: view.into(),
        ..v1::GetStockRequest::default()
    };
    let full = inventory.get_stock(ask(v1::StockView::Unspecified)).await;
    let full = full.unwrap().into_inner().stock.unwrap();
    let numbers = [full.available, full.held, full.sold, full.total];
    assert_eq!(numbers, [2, 1, 2, 5].map(Some));
    assert_eq!((full.phase(), full.exact), (SalePhase::OnSale, Some(true)));
    assert_eq!(full.max_units_per_reservation, 1_000_000);
    let basic = inventory.get_stock(ask(v1::StockView::Basic)).await;
    let basic = basic.unwrap().into_inner().stock.unwrap();
    let only_basic = v1::Stock {
        item_id: "hat".to_owned(),
        available: Some(2),
        phase: SalePhase::OnSale.into(),
        as_of: basic.as_of,
        ..v1::Stock::default()
    };
    assert!(basic.as_of.is_some());
    assert_eq!(basic, only_basic);

    for (level, recounted) in [
        (AuditLevel::Unspecified, false),
        (AuditLevel::Records, true),
    ] {
        let audit = v1::AuditItemRequest {
            item_id: "hat".to_owned(),
            level: level.into(),
        };
        let audit = admin.audit_item(audit).await.unwrap().into_inner();
        assert_eq!(audit.verdict(), AuditVerdict::Sound, "{audit:?}");
        assert_eq!((audit.oversold_units, audit.shards.len()), (Some(0), 1));
        let counters = audit.counters.unwrap();
        assert_eq!(counters.supply, Some(5));
        assert_eq!((counters.held, counters.sold), (Some(1), Some(2)));
        assert_eq!((counters.sent, counters.under_way), (Some(0), Some(0)));
        let records = audit.records.map(|sums| (sums.held, sums.sold));
        assert_eq!(records, recounted.then_some((Some(1), Some(2))));
        assert_eq!(audit.shards[0].records.is_some(), recounted);
    }
}

#[tokio::test]
async fn operators_pause_resume_and_close() {
    let server = Server::start();
    let (mut admin, mut inventory) = (server.admin().await, server.inventory().await);
    admin.create_item(create(item("hat"), 5)).await.unwrap();
    let mut outcome = async |number| {
        let reply = inventory.reserve(reserve("hat", "ann", number, 1)).await;
        reply.unwrap().into_inner().outcome()
    };
    let (item_id, reason_given) = ("hat".to_owned(), "wrong price".to_owned());
    let pause = v1::PauseItemRequest {
        item_id: item_id.clone(),
        reason: reason_given.clone(),
    };
    let paused = admin.pause_item(pause.clone()).await.unwrap().into_inner();
    let paused = paused.item.unwrap();
    assert_eq!((paused.state(), paused.version), (ItemState::Paused, 2));
    assert_eq!(paused.state_reason, reason_given);
    assert_eq!(outcome(1).await, ReserveOutcome::SalePaused);
    let again = admin.pause_item(pause.clone()).await.unwrap().into_inner();
    assert_eq!(again.item.unwrap().version, 2);

    let resume = v1::ResumeItemRequest {
        item_id: item_id.clone(),
        reason: String::new(),
    };
    admin.resume_item(resume).await.unwrap();
    assert_eq!(outcome(1).await, ReserveOutcome::Reserved);

    let close = v1::CloseItemRequest {
        item_id,
        reason: String::new(),
    };
    admin.close_item(close).await.unwrap();
    assert_eq!(outcome(2).await, ReserveOutcome::SaleEnded);
    let refused = admin.pause_item(pause).await.unwrap_err();
    let expected = (Code::FailedPrecondition, "ITEM_CLOSED".to_owned());
    assert_eq!(reason(&refused), expected);
}

#[tokio::test]
async fn stock_is_adjusted_once_per_request() {
    let server = Server::start();
    let mut admin = server.admin().await;
    admin.create_item(create(item("hat"), 1)).await.unwrap();
    let adjust = |delta, allow_partial| v1::AdjustStockRequest {
        item_id: "hat".to_owned(),
        delta,
        request_id: id(7),
        allow_partial,
        reason: String::new(),
    };
    let refused = admin.adjust_stock(adjust(-5, false)).await.unwrap_err();
    let expected = (Code::FailedPrecondition, "NOT_ENOUGH_AVAILABLE".to_owned());
    assert_eq!(reason(&refused), expected);
    let taken = admin
        .adjust_stock(adjust(-5, true))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((taken.applied_delta, taken.replayed), (Some(-1), false));
    assert_eq!(taken.stock.unwrap().total, Some(0));
    let again = admin
        .adjust_stock(adjust(-5, true))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((again.applied_delta, again.replayed), (Some(-1), true));
    let other = admin.adjust_stock(adjust(-4, true)).await.unwrap_err();
    let expected = (Code::AlreadyExists, "REQUEST_ID_REUSED".to_owned());
    assert_eq!(reason(&other), expected);
}

async fn three_items(admin: &mut Admin) {
    for (number, name) in (1000..).zip(["hat-1", "hat-2", "shoe-1"]) {
        let request = v1::CreateItemRequest {
            request_id: id(number),
            ..create(item(name), 1)
        };
        admin.create_item(request).await.unwrap();
    }
}

#[tokio::test]
async fn items_are_listed_page_by_page() {
    let server = Server::start();
    let mut admin = server.admin().await;
    three_items(&mut admin).await;
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

    for (state, expected) in [(ItemState::Open, 3), (ItemState::Closed, 0)] {
        let list = v1::ListItemsRequest {
            states: vec![state.into()],
            ..v1::ListItemsRequest::default()
        };
        let items = admin.list_items(list).await.unwrap().into_inner().items;
        assert_eq!(items.len(), expected, "{state:?}");
    }
}

#[tokio::test]
async fn stock_of_many_items_answers_each_by_itself() {
    let server = Server::start();
    let (mut admin, mut inventory) = (server.admin().await, server.inventory().await);
    three_items(&mut admin).await;
    let stocks = v1::BatchGetStockRequest {
        item_ids: ["shoe-1", "no such", "gone"].map(String::from).to_vec(),
        ..v1::BatchGetStockRequest::default()
    };
    let stocks = inventory
        .batch_get_stock(stocks)
        .await
        .unwrap()
        .into_inner();
    let [shoe, bad, gone] = &stocks.results[..] else {
        panic!("{stocks:?}");
    };
    assert!(matches!(&shoe.result, Some(Entry::Stock(s)) if s.available == Some(1)));
    assert!(matches!(&bad.result, Some(Entry::Error(e)) if e.message.contains("item_ids[1]")));
    assert!(matches!(&gone.result, Some(Entry::Error(e)) if e.code == 5));
    assert_eq!(gone.item_id, "gone");
}

/// An audit changes nothing and a lapsed hold is only counted so once somebody
/// has ended it; nobody but the sweeper asks here.
#[tokio::test]
async fn lapsed_holds_end_although_nobody_asks() {
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
    inventory
        .reserve(reserve("hat", "ann", 1, 1))
        .await
        .unwrap();
    let audit = v1::AuditItemRequest {
        item_id: "hat".to_owned(),
        ..v1::AuditItemRequest::default()
    };
    eventually("the sweeper comes by", async || {
        let audit = admin.audit_item(audit.clone()).await.unwrap().into_inner();
        let counters = audit.counters.unwrap();
        (counters.available, counters.held) == (Some(1), Some(0))
    })
    .await;
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
