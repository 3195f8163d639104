//! Batches: what failed for now is sent again, and only that.

use std::sync::Arc;
use std::time::Duration;

use client::{ErrorKind, Policy, Target, reason};
use proto::v1::{
    BatchConfirmResponse, BatchGetStockResponse, BatchReserveResponse, ConfirmRequest,
    ConfirmResponse, ConfirmResult, ReserveOutcome, ReserveResult, Stock, StockConsistency,
    StockResult, StockView, confirm_result, reserve_result, stock_result,
};
use tonic::{Code, Status};

use crate::fake::{Fake, Served};
use crate::{any_port, client_of, entry, hasty, outcome, wish};

fn confirmed() -> ConfirmResult {
    let response = ConfirmResponse::default();
    ConfirmResult {
        result: Some(confirm_result::Result::Response(response)),
    }
}

fn not_confirmed(code: Code, reason: &str) -> ConfirmResult {
    ConfirmResult {
        result: Some(confirm_result::Result::Error(entry(code, reason))),
    }
}

fn confirms(ids: &[&str]) -> Vec<ConfirmRequest> {
    let confirm = |id: &&str| ConfirmRequest {
        target: Some(Target::Id((*id).to_owned()).into()),
        reacquire: false,
    };
    ids.iter().map(confirm).collect()
}

#[tokio::test]
async fn only_what_failed_for_now_is_sent_again() {
    let fake = Fake::new();
    let unavailable = || not_confirmed(Code::Unavailable, reason::STORE_UNAVAILABLE);
    let results = vec![
        unavailable(),
        confirmed(),
        not_confirmed(Code::FailedPrecondition, reason::RESERVATION_EXPIRED),
        unavailable(),
    ];
    fake.batch_confirm
        .then(Ok(BatchConfirmResponse { results }))
        .then(Ok(BatchConfirmResponse {
            results: vec![confirmed(), unavailable()],
        }))
        .then(Err(Status::unavailable("a proxy's")))
        .then(Ok(BatchConfirmResponse {
            results: vec![not_confirmed(Code::NotFound, reason::RESERVATION_NOT_FOUND)],
        }));
    let served = Served::start(Arc::clone(&fake), any_port()).await;
    let client = client_of(served.address, hasty());
    let requests = confirms(&["a", "b", "c", "d"]);
    let answers = client.batch_confirm(&requests).await;

    let reasons: Vec<_> = answers
        .iter()
        .map(|answer| answer.as_ref().err().map(|e| e.reason().unwrap()))
        .collect();
    assert_eq!(
        reasons,
        [
            None,
            None,
            Some(reason::RESERVATION_EXPIRED),
            Some(reason::RESERVATION_NOT_FOUND)
        ]
    );
    let seen = fake.batch_confirm.seen();
    let sent: Vec<_> = seen.into_iter().map(|batch| batch.requests).collect();
    let last = confirms(&["d"]);
    assert_eq!(sent, [requests, confirms(&["a", "d"]), last.clone(), last]);
    drop(client);
    served.stop().await;
}

#[tokio::test]
async fn an_entry_that_was_once_unknown_stays_so_until_it_is_decided() {
    let fake = Fake::new();
    let two = |reason: &str| {
        let error = || ConfirmResult::clone(&not_confirmed(Code::Unavailable, reason));
        Ok(BatchConfirmResponse {
            results: vec![confirmed(), error()],
        })
    };
    let one = |reason: &str| {
        Ok(BatchConfirmResponse {
            results: vec![not_confirmed(Code::Unavailable, reason)],
        })
    };
    fake.batch_confirm
        .then(two(reason::OUTCOME_UNKNOWN))
        .then(one(reason::STORE_UNAVAILABLE));
    let served = Served::start(Arc::clone(&fake), any_port()).await;
    let policy = Policy {
        attempts_max: 2,
        ..hasty()
    };
    let client = client_of(served.address, policy);
    let answers = client.batch_confirm(&confirms(&["a", "b"])).await;
    assert!(answers[0].is_ok());
    let error = answers[1].as_ref().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown);
    assert_eq!(error.attempts(), 2);
    drop(client);
    served.stop().await;
}

#[tokio::test]
async fn a_failure_of_the_message_is_one_of_each_entry() {
    let fake = Fake::new();
    let served = Served::start(Arc::clone(&fake), any_port()).await;
    let client = client_of(served.address, hasty());
    let answers = client.batch_confirm(&confirms(&["a", "b"])).await;
    assert_eq!(answers.len(), 2);
    for answer in answers {
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::Unsupported);
    }
    assert!(client.batch_confirm(&[]).await.is_empty());
    assert_eq!(fake.batch_confirm.seen().len(), 1, "nothing is not asked");
    drop(client);
    served.stop().await;
}

#[tokio::test]
async fn reserves_are_first_attempts_once() {
    let fake = Fake::new();
    let decided = |result| ReserveResult {
        result: Some(result),
    };
    let granted = || {
        let granted = outcome(ReserveOutcome::Reserved);
        decided(reserve_result::Result::Response(granted))
    };
    let overloaded = entry(Code::ResourceExhausted, reason::OVERLOADED);
    let overloaded = decided(reserve_result::Result::Error(overloaded));
    fake.batch_reserve
        .then(Ok(BatchReserveResponse {
            results: vec![granted(), overloaded],
        }))
        .then(Ok(BatchReserveResponse {
            results: vec![granted()],
        }));
    let served = Served::start(Arc::clone(&fake), any_port()).await;
    let client = client_of(served.address, hasty());
    let answers = client.batch_reserve(&[wish(1), wish(2)]).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    let seen = fake.batch_reserve.seen();
    let marks = |n: usize| -> Vec<_> {
        let requests = seen[n].requests.iter();
        requests.map(|r| (r.quantity, r.first_attempt)).collect()
    };
    assert_eq!(marks(0), [(1, true), (2, true)]);
    assert_eq!(marks(1), [(2, false)]);
    drop(client);
    served.stop().await;
}

#[tokio::test]
async fn many_items_take_several_messages_and_keep_their_order() {
    let fake = Fake::new();
    let stock = |n: usize| StockResult {
        item_id: n.to_string(),
        result: Some(stock_result::Result::Stock(Stock {
            item_id: n.to_string(),
            ..Stock::default()
        })),
    };
    // Two messages may come in any order: all have the same answer here.
    let sixteen = || {
        Ok(BatchGetStockResponse {
            results: (0..16).map(stock).collect(),
        })
    };
    fake.batch_get_stock.then(sixteen()).then(sixteen());
    let served = Served::start(Arc::clone(&fake), any_port()).await;
    let policy = Policy {
        deadline: Duration::from_secs(5),
        ..hasty()
    };
    let client = client_of(served.address, policy);
    let items: Vec<_> = (0..32).map(|n| (n % 16).to_string()).collect();
    let stocks = client
        .batch_get_stock(&items, StockConsistency::Strong, StockView::Full)
        .await;
    let told: Vec<_> = stocks.into_iter().map(|s| s.unwrap().item_id).collect();
    assert_eq!(told, items);
    for message in fake.batch_get_stock.seen() {
        assert_eq!(message.item_ids, items[..16]);
        assert_eq!(message.consistency(), StockConsistency::Strong);
    }
    drop(client);
    served.stop().await;
}
