//! Calls of single messages.

use std::sync::Arc;
use std::time::Duration;

use client::{Client, Error, ErrorKind, Ids, Options, Policy, reason};
use proto::v1::{GetStatusRequest, ReserveOutcome, ReserveRequest};
use tonic::Code;

use crate::fake::{Fake, Served};
use crate::{any_port, client_of, closed_port, key, ours};

#[tokio::test]
async fn a_retry_sends_the_same_ids_without_first_attempt() {
    let fake = Fake::new();
    fake.reserve
        .then(Err(ours(Code::ResourceExhausted, reason::OVERLOADED)))
        .then(Err(ours(Code::Unavailable, reason::OUTCOME_UNKNOWN)));
    let served = Served::start(Arc::clone(&fake), any_port()).await;
    let client = client_of(served.address, Policy::default());
    let reply = client.reserve(&key(), 2, Ids::NeverSent).await.unwrap();
    assert_eq!(reply.outcome(), ReserveOutcome::Reserved);

    let seen = fake.reserve.seen();
    let marks: Vec<_> = seen.iter().map(|request| request.first_attempt).collect();
    assert_eq!(marks, [true, false, false]);
    for request in &seen {
        let expected = ReserveRequest {
            first_attempt: request.first_attempt,
            ..seen[0].clone()
        };
        assert_eq!(*request, expected);
    }
    for (metadata, _) in fake.reserve.seen.lock().unwrap().iter() {
        let deadline = metadata.get("grpc-timeout");
        assert!(deadline.is_some(), "every attempt tells its deadline");
    }
    drop(client);
    served.stop().await;
}

#[tokio::test]
async fn ids_that_may_have_been_sent_are_never_a_first_attempt() {
    let fake = Fake::new();
    let served = Served::start(Arc::clone(&fake), any_port()).await;
    let client = client_of(served.address, Policy::default());
    client.reserve(&key(), 1, Ids::MaybeSent).await.unwrap();
    assert!(!fake.reserve.seen()[0].first_attempt);
    drop(client);
    served.stop().await;
}

#[tokio::test]
async fn details_of_an_error_come_over_the_wire() {
    let fake = Fake::new();
    fake.reserve
        .then(Err(ours(Code::NotFound, reason::ITEM_NOT_FOUND)));
    let served = Served::start(fake, any_port()).await;
    let client = client_of(served.address, Policy::default());
    let error = client.reserve(&key(), 1, Ids::NeverSent).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert_eq!(error.reason(), Some(reason::ITEM_NOT_FOUND));
    assert_eq!(error.to_string(), "a sentence");
    drop(client);
    served.stop().await;
}

#[tokio::test]
async fn a_refused_connection_is_retried_and_surely_did_nothing() {
    let policy = Policy {
        attempts_max: 3,
        ..Policy::default()
    };
    let client = client_of(closed_port().await, policy);
    let error = client.reserve(&key(), 1, Ids::NeverSent).await.unwrap_err();
    assert_unreachable(&error);
    assert_eq!(error.attempts(), 3);
}

#[tokio::test]
async fn connect_fails_at_once() {
    let address = closed_port().await.to_string();
    let error = Client::connect(&address, Options::default())
        .await
        .unwrap_err();
    assert_unreachable(&error);
}

fn assert_unreachable(error: &Error) {
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error:?}");
    assert_eq!(error.code(), Code::Unavailable);
    assert!(error.to_string().contains("Connection refused"), "{error}");
}

#[tokio::test]
async fn a_call_lives_through_the_restart_of_its_server() {
    let fake = Fake::new();
    let served = Served::start(Arc::clone(&fake), any_port()).await;
    let address = served.address;
    let client = client_of(address, Policy::default());
    client.reserve(&key(), 1, Ids::NeverSent).await.unwrap();
    served.stop().await;

    let key = key();
    let second = client.reserve(&key, 1, Ids::NeverSent);
    let restart = async {
        tokio::time::timeout(Duration::from_millis(150), std::future::pending::<()>())
            .await
            .ok();
        Served::start(Arc::clone(&fake), address).await
    };
    let (reply, served) = tokio::join!(second, restart);
    assert_eq!(reply.unwrap().outcome(), ReserveOutcome::Reserved);
    drop(client);
    served.stop().await;
}

#[tokio::test]
async fn a_server_that_never_answers_costs_the_deadline_and_no_more() {
    // The kernel takes the connection; nobody reads from it.
    let listener = std::net::TcpListener::bind(any_port()).unwrap();
    let policy = Policy {
        deadline: Duration::from_millis(300),
        ..Policy::default()
    };
    let client = client_of(listener.local_addr().unwrap(), policy);
    let start = tokio::time::Instant::now();
    let error = client.reserve(&key(), 1, Ids::NeverSent).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error:?}");
    assert!((300..2_000).contains(&start.elapsed().as_millis()));
}

#[tokio::test]
async fn calls_may_move_between_threads() {
    fn must_be_send(_: impl Send) {}
    let client = client_of(closed_port().await, Policy::default());
    must_be_send(client.reserve(&key(), 1, Ids::NeverSent));
    must_be_send(client.get_status(GetStatusRequest {}));
    must_be_send(client.health(""));
}

#[tokio::test]
async fn a_call_that_the_server_lacks_is_unsupported() {
    let served = Served::start(Fake::new(), any_port()).await;
    let client = client_of(served.address, Policy::default());
    let error = client.get_status(GetStatusRequest {}).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
    drop(client);
    served.stop().await;
}
