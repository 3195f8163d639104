//! Stock: taking it, adding it, reading too much of it at once.

use e2e::{failure, item, ok};
use proto::v1::{
    AdjustStockRequest, BatchCancelRequest, BatchConfirmRequest, BatchGetReservationsRequest,
    BatchGetStockRequest, BatchReserveRequest, CancelRequest, ConfirmRequest,
    GetReservationRequest, ReservationKey, ReserveOutcome, SetStockRequest, StockConsistency,
    cancel_result, confirm_result, get_reservation_result,
};
use tonic::Code;

use crate::{Row, World, row};

pub(crate) fn rows() -> Vec<Row> {
    vec![
        row(
            "take more than is available; the same with `allow_partial`",
            take_too_much,
        ),
        row(
            "adjust twice with one id; with one id and another delta; above 2^53−1 in all",
            adjust_twice,
        ),
        row(
            "set stock without `expected_total`; with a wrong one; below held + sold",
            set_wrongly,
        ),
        row("batch of 0 / 513; one bad entry of 512", batches),
    ]
}

const TOTAL_MAX: i64 = (1 << 53) - 1;

async fn take_too_much(World { shop, mut ids, .. }: World) {
    shop.create(item("it"), 5).await;
    ok(shop.reserve(&ids.key("it"), 2).await);

    let id = ids.request();
    let refused = failure(shop.adjust("it", -4, &id).await);
    refused.is(Code::FailedPrecondition, "NOT_ENOUGH_AVAILABLE");
    assert_eq!(shop.units("it").await, [3, 2, 0]);
    failure(shop.adjust("it", i64::MIN, &ids.request()).await);
    failure(shop.adjust("it", 0, &ids.request()).await).names(&["delta"]);

    let partial = AdjustStockRequest {
        item_id: "it".into(),
        delta: -4,
        request_id: ids.request(),
        allow_partial: true,
        reason: String::new(),
    };
    let taken = ok(shop.admin().adjust_stock(partial.clone()).await);
    assert_eq!((taken.applied_delta, taken.replayed), (Some(-3), false));
    assert_eq!(shop.units("it").await, [0, 2, 0]);
    let again = ok(shop.admin().adjust_stock(partial).await);
    assert_eq!((again.applied_delta, again.replayed), (Some(-3), true));

    // A refusal is not recorded: the same id may succeed later.
    ok(shop.adjust("it", 10, &ids.request()).await);
    let later = ok(shop.adjust("it", -4, &id).await);
    assert_eq!((later.applied_delta, later.replayed), (Some(-4), false));
    assert_eq!(shop.units("it").await, [6, 2, 0]);
    shop.assert_sound("it").await;
}

async fn adjust_twice(World { shop, mut ids, .. }: World) {
    shop.create(item("it"), 5).await;
    let id = ids.request();
    for replayed in [false, true, true] {
        let done = ok(shop.adjust("it", 7, &id).await);
        assert_eq!((done.applied_delta, done.replayed), (Some(7), replayed));
        assert_eq!(shop.units("it").await, [12, 0, 0]);
    }
    for delta in [8, -7] {
        let refused = failure(shop.adjust("it", delta, &id).await);
        refused.is(Code::AlreadyExists, "REQUEST_ID_REUSED");
    }
    for delta in [TOTAL_MAX - 11, TOTAL_MAX + 1, i64::MAX] {
        failure(shop.adjust("it", delta, &ids.request()).await).names(&["delta"]);
    }
    assert_eq!(shop.units("it").await, [12, 0, 0]);
    ok(shop.adjust("it", TOTAL_MAX - 12, &ids.request()).await);
    assert_eq!(shop.units("it").await, [TOTAL_MAX, 0, 0]);
    shop.assert_sound("it").await;
}

async fn set_wrongly(World { shop, mut ids, .. }: World) {
    shop.create(item("it"), 5).await;
    ok(shop.reserve(&ids.key("it"), 2).await);
    let set = |total, expected_total, request_id: &str| SetStockRequest {
        item_id: "it".into(),
        total,
        expected_total,
        request_id: request_id.into(),
        reason: String::new(),
    };
    let id = ids.request();
    let send = async |request| shop.admin().set_stock(request).await;
    failure(send(set(Some(5), None, &id)).await).names(&["expected_total"]);
    failure(send(set(None, Some(-1), "x")).await).names(&["total", "expected_total", "request_id"]);
    let refused = failure(send(set(Some(9), Some(4), &id)).await);
    refused.is(Code::FailedPrecondition, "TOTAL_MISMATCH");
    let refused = failure(send(set(Some(1), Some(5), &id)).await);
    refused.is(Code::FailedPrecondition, "NOT_ENOUGH_AVAILABLE");
    assert_eq!(shop.units("it").await, [3, 2, 0]);

    // No refusal was recorded: the same id may succeed, and then once.
    for replayed in [false, true] {
        let done = ok(send(set(Some(9), Some(5), &id)).await);
        assert_eq!(done.replayed, replayed);
        assert_eq!(shop.units("it").await, [7, 2, 0]);
    }
    let reused = failure(send(set(Some(10), Some(9), &id)).await);
    reused.is(Code::AlreadyExists, "REQUEST_ID_REUSED");
    ok(send(set(Some(2), Some(9), &ids.request())).await);
    assert_eq!(shop.units("it").await, [0, 2, 0]);
    shop.assert_sound("it").await;
}

async fn batches(World { shop, mut ids, .. }: World) {
    shop.create(item("it"), 1_000).await;
    let mut requests: Vec<_> = (0..513)
        .map(|_| e2e::Shop::request(&ids.key("it"), 1))
        .collect();
    for requests in [Vec::new(), requests.clone()] {
        let refused = shop
            .inventory()
            .batch_reserve(BatchReserveRequest { requests })
            .await;
        failure(refused).names(&["requests"]);
    }
    assert_eq!(shop.units("it").await, [1_000, 0, 0]);

    requests.pop();
    requests[511].buyer_id.clear();
    let reply = shop
        .inventory()
        .batch_reserve(BatchReserveRequest { requests })
        .await;
    let results = ok(reply).results;
    let (bad, good) = results.split_last().unwrap();
    for entry in good {
        match &entry.result {
            Some(proto::v1::reserve_result::Result::Response(reply)) => {
                assert_eq!(reply.outcome(), ReserveOutcome::Reserved);
            }
            other => panic!("{other:?}"),
        }
    }
    match &bad.result {
        Some(proto::v1::reserve_result::Result::Error(status)) => {
            e2e::Failure::from(status).names(&["requests[511].buyer_id"]);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(shop.units("it").await, [1_000 - 511, 511, 0]);

    for (items, consistency) in [
        (0, StockConsistency::Cached),
        (257, StockConsistency::Cached),
        (17, StockConsistency::Strong),
    ] {
        let request = BatchGetStockRequest {
            item_ids: vec!["it".into(); items],
            consistency: consistency.into(),
            view: 0,
        };
        failure(shop.inventory().batch_get_stock(request).await).names(&["item_ids"]);
    }
    batches_after_reserve(&shop, &mut ids).await;
}

/// Confirm, read and cancel 511 holds, and one that is none.
async fn batches_after_reserve(shop: &e2e::Shop, ids: &mut e2e::Ids) {
    let keys: Vec<_> = (0..511).map(|_| ids.key("it")).collect();
    ok(shop.adjust("it", 511, &ids.request()).await);
    let requests = keys.iter().map(|key| e2e::Shop::request(key, 1)).collect();
    ok(shop
        .inventory()
        .batch_reserve(BatchReserveRequest { requests })
        .await);
    let target = |key: &ReservationKey| Some(client::Target::Key(key.clone()).into());
    let mut confirms: Vec<_> = keys
        .iter()
        .map(|key| ConfirmRequest {
            target: target(key),
            reacquire: false,
        })
        .collect();
    confirms.push(ConfirmRequest::default());
    let mut reads: Vec<_> = keys
        .iter()
        .map(|key| GetReservationRequest {
            target: Some(client::Target::Key(key.clone()).into()),
        })
        .collect();
    reads.push(GetReservationRequest::default());
    let mut cancels: Vec<_> = keys
        .iter()
        .map(|key| CancelRequest {
            target: Some(client::Target::Key(key.clone()).into()),
        })
        .collect();
    cancels.push(CancelRequest::default());

    macro_rules! check {
        ($rpc:ident, $batch:ident, $requests:ident, $module:ident, $good:pat) => {
            for requests in [Vec::new(), [&$requests[..], &$requests[..1]].concat()] {
                let refused = shop.inventory().$rpc($batch { requests }).await;
                failure(refused).names(&["requests"]);
            }
            let requests = $requests.clone();
            let results = ok(shop.inventory().$rpc($batch { requests }).await).results;
            assert_eq!(results.len(), 512);
            for (index, entry) in results.iter().enumerate() {
                match entry.result.as_ref().expect("a result") {
                    proto::v1::$module::Result::Error(status) if index == 511 => {
                        e2e::Failure::from(status).names(&["requests[511].target"]);
                    }
                    $good if index < 511 => {}
                    other => panic!("{index}: {other:?}"),
                }
            }
        };
    }
    let sold = shop.units("it").await[2];
    check!(
        batch_confirm,
        BatchConfirmRequest,
        confirms,
        confirm_result,
        confirm_result::Result::Response(_)
    );
    assert_eq!(shop.units("it").await[2], sold + 511);
    check!(
        batch_get_reservations,
        BatchGetReservationsRequest,
        reads,
        get_reservation_result,
        get_reservation_result::Result::Response(_)
    );
    check!(
        batch_cancel,
        BatchCancelRequest,
        cancels,
        cancel_result,
        cancel_result::Result::Error(_)
    );
    assert_eq!(shop.units("it").await[2], sold + 511, "sold is sold");
}
