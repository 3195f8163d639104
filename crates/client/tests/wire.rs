//! The client against a server on a real socket: what it sends, and how it
//! lives through refused connections and restarts.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "helpers of tests, which may fail them"
)]

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use client::{Client, Error, ErrorKind, Ids, Options, Policy, new_request_id, reason};
use proto::v1::{
    GetStatusRequest, ReservationKey, ReserveOutcome, ReserveRequest, ReserveResponse,
};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::transport::Server;
use tonic::{Code, Request, Response, Status};
use tonic_prost::ProstCodec;
use tonic_types::{ErrorDetails, StatusExt};

/// What one attempt brought to the server.
#[derive(Clone, Debug)]
struct Seen {
    request: ReserveRequest,
    timeout: Option<String>,
}

/// Answers every Reserve: with the errors it was given, then with a grant.
/// Knows no other call.
#[derive(Clone, Default)]
struct Fake {
    errors: Arc<Mutex<Vec<Status>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl NamedService for Fake {
    const NAME: &'static str = "holdfast.inventory.v1.InventoryService";
}

impl UnaryService<ReserveRequest> for Fake {
    type Response = ReserveResponse;
    type Future = std::future::Ready<Result<Response<ReserveResponse>, Status>>;

    fn call(&mut self, request: Request<ReserveRequest>) -> Self::Future {
        let timeout = request.metadata().get("grpc-timeout");
        let timeout = timeout.map(|value| value.to_str().unwrap().to_owned());
        self.seen.lock().unwrap().push(Seen {
            request: request.into_inner(),
            timeout,
        });
        std::future::ready(match self.errors.lock().unwrap().pop() {
            Some(status) => Err(status),
            None => Ok(Response::new(ReserveResponse {
                outcome: ReserveOutcome::Reserved.into(),
                ..ReserveResponse::default()
            })),
        })
    }
}

impl tower::Service<tonic::codegen::http::Request<tonic::body::Body>> for Fake {
    type Response = tonic::codegen::http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = tonic::codegen::BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: tonic::codegen::http::Request<tonic::body::Body>) -> Self::Future {
        let fake = self.clone();
        Box::pin(async move { Ok(Grpc::new(ProstCodec::default()).unary(fake, request).await) })
    }
}

/// A served [`Fake`].
struct Served {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Served {
    #[expect(
        clippy::disallowed_methods,
        reason = "the handle is kept, and joined in stop()"
    )]
    async fn start(fake: Fake, address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            Server::builder()
                .add_service(fake)
                .serve_with_incoming_shutdown(TcpListenerStream::new(listener), async {
                    stopped.await.ok();
                })
                .await
                .unwrap();
        });
        Self {
            address,
            stop,
            task,
        }
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap();
    }
}

fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// A port on which nobody listens.
async fn closed_port() -> SocketAddr {
    TcpListener::bind(any_port())
        .await
        .unwrap()
        .local_addr()
        .unwrap()
}

fn client_of(address: SocketAddr, policy: Policy) -> Client {
    let options = Options {
        policy,
        ..Options::default()
    };
    Client::lazy(&address.to_string(), options).unwrap()
}

fn key() -> ReservationKey {
    ReservationKey {
        item_id: "sneaker".to_owned(),
        buyer_id: "ada".to_owned(),
        request_id: new_request_id(),
    }
}

fn ours(code: Code, reason: &str) -> Status {
    let details = ErrorDetails::with_error_info(reason, reason::DOMAIN, HashMap::new());
    Status::with_error_details(code, "a sentence", details)
}

#[tokio::test]
async fn a_retry_sends_the_same_ids_without_first_attempt() {
    let fake = Fake::default();
    *fake.errors.lock().unwrap() = vec![
        ours(Code::Unavailable, reason::OUTCOME_UNKNOWN),
        ours(Code::ResourceExhausted, reason::OVERLOADED),
    ];
    let served = Served::start(fake.clone(), any_port()).await;
    let client = client_of(served.address, Policy::default());
    let reply = client.reserve(&key(), 2, Ids::NeverSent).await.unwrap();
    assert_eq!(reply.outcome(), ReserveOutcome::Reserved);

    let seen = fake.seen.lock().unwrap().clone();
    let marks: Vec<_> = seen.iter().map(|seen| seen.request.first_attempt).collect();
    assert_eq!(marks, [true, false, false]);
    for Seen { request, timeout } in &seen {
        let expected = ReserveRequest {
            first_attempt: request.first_attempt,
            ..seen[0].request.clone()
        };
        assert_eq!(*request, expected);
        assert!(
            timeout.is_some(),
            "every attempt tells the server its deadline"
        );
    }
    drop(client);
    served.stop().await;
}

#[tokio::test]
async fn ids_that_may_have_been_sent_are_never_a_first_attempt() {
    let fake = Fake::default();
    let served = Served::start(fake.clone(), any_port()).await;
    let client = client_of(served.address, Policy::default());
    client.reserve(&key(), 1, Ids::MaybeSent).await.unwrap();
    assert!(!fake.seen.lock().unwrap()[0].request.first_attempt);
    drop(client);
    served.stop().await;
}

#[tokio::test]
async fn details_of_an_error_come_over_the_wire() {
    let fake = Fake::default();
    *fake.errors.lock().unwrap() = vec![ours(Code::NotFound, reason::ITEM_NOT_FOUND)];
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
    let fake = Fake::default();
    let served = Served::start(fake.clone(), any_port()).await;
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
        Served::start(fake.clone(), address).await
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
    let served = Served::start(Fake::default(), any_port()).await;
    let client = client_of(served.address, Policy::default());
    let error = client.get_status(GetStatusRequest {}).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
    drop(client);
    served.stop().await;
}
