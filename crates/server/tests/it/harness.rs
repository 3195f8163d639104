//! A server on a thread of its own, and what tests say to it.

use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use proto::v1;
use proto::v1::admin_service_client::AdminServiceClient;
use proto::v1::inventory_service_client::InventoryServiceClient;
use server::{Config, Drain, Listeners, RunError, StoreConfig, Tier1Settings};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_types::{RpcStatusExt as _, StatusExt as _, pb};

/// Longer than anything here takes on a slow machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What is true of one shard and of several is tried on these.
pub(crate) const SHARD_COUNTS: [u32; 2] = [1, 4];

/// A client of the data plane.
pub(crate) type Inventory = InventoryServiceClient<Channel>;
/// A client of the control plane.
pub(crate) type Admin = AdminServiceClient<Channel>;

/// A running server. Dropping it makes it leave at once, and fails the test if
/// it did not end well.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// Where it has metrics and health.
    pub(crate) http: SocketAddr,
    leave: Option<oneshot::Sender<Drain>>,
    thread: Option<JoinHandle<Result<(), RunError>>>,
    pub(crate) dir: TempDir,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_with(|_| {})
    }

    pub(crate) fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), change)
    }

    pub(crate) fn start_in(dir: TempDir, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = config(&dir);
        change(&mut config);
        let (leave, told) = oneshot::channel();
        let (ready, address) = mpsc::channel();
        let listeners = listeners();
        let http = listeners.http.as_ref().unwrap().local_addr().unwrap();
        let thread = std::thread::spawn(move || {
            server::run(
                config,
                listeners,
                move |address| ready.send(address).unwrap(),
                async { told.await.unwrap_or(Drain::AtOnce) },
            )
        });
        Self {
            address: address.recv_timeout(PATIENCE).expect("it is ready"),
            http,
            leave: Some(leave),
            thread: Some(thread),
            dir,
        }
    }

    /// Tells it to leave; it does so on its own.
    pub(crate) fn leave(&mut self, drain: Drain) {
        let leave = self.leave.take().expect("it was told before");
        leave.send(drain).expect("it waits for this");
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits for its end, and hands back its directory.
    pub(crate) fn join(mut self) -> TempDir {
        let dir = std::mem::replace(&mut self.dir, tempfile::tempdir().unwrap());
        self.end();
        dir
    }

    /// Leaves it behind: it ends with the process.
    pub(crate) fn abandon(mut self) {
        self.thread = None;
    }

    fn end(&mut self) {
        if let Some(leave) = self.leave.take() {
            let _ = leave.send(Drain::AtOnce);
        }
        let Some(thread) = self.thread.take() else {
            return;
        };
        match thread.join() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => panic!("the server failed: {error}"),
            Err(payload) => std::panic::resume_unwind(payload),
        }
    }

    /// Status and body of a page of the HTTP port.
    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        let ask = format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n");
        let mut wire = TcpStream::connect(self.http).await.unwrap();
        wire.write_all(ask.as_bytes()).await.unwrap();
        let mut text = String::new();
        let read = tokio::time::timeout(PATIENCE, wire.read_to_string(&mut text)).await;
        read.expect("it is not answered").unwrap();
        let (head, body) = text.split_once("\r\n\r\n").expect("no HTTP");
        let status = head["HTTP/1.1 ".len()..][..3].parse().unwrap();
        (status, body.to_owned())
    }

    pub(crate) async fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).unwrap();
        endpoint.connect().await.expect("it serves")
    }

    pub(crate) async fn inventory(&self) -> Inventory {
        InventoryServiceClient::new(self.channel().await)
    }

    pub(crate) async fn admin(&self) -> Admin {
        AdminServiceClient::new(self.channel().await)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        self.end();
    }
}

pub(crate) fn config(dir: &TempDir) -> Config {
    Config {
        server_id: "test-1".to_owned(),
        store: StoreConfig::Embedded {
            dir: dir.path().to_owned(),
            disk_reserve: 64 << 20,
        },
        tier1: Tier1Settings::default(),
        workers: NonZeroUsize::new(2).unwrap(),
        drain_grace: Duration::ZERO,
        // A test that drops its server has its clients on the same thread:
        // nobody would read a GOAWAY.
        drain_deadline: Duration::ZERO,
    }
}

pub(crate) fn listeners() -> Listeners {
    Listeners {
        grpc: TcpListener::bind("127.0.0.1:0").unwrap(),
        http: Some(TcpListener::bind("127.0.0.1:0").unwrap()),
    }
}

/// Asks until the answer is `true`.
pub(crate) async fn eventually(what: &str, mut question: impl AsyncFnMut() -> bool) {
    let mut asks = tokio::time::interval(Duration::from_millis(5));
    let answered = async {
        while !question().await {
            asks.tick().await;
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, answered).await;
    assert!(in_time.is_ok(), "not within {PATIENCE:?}: {what}");
}

/// A request id of its own for each number.
pub(crate) fn id(number: u64) -> String {
    format!("018f4e6a-3c1d-7b2a-9f00-{number:012x}")
}

pub(crate) fn reserve(item: &str, buyer: &str, number: u64, quantity: u32) -> v1::ReserveRequest {
    v1::ReserveRequest {
        item_id: item.to_owned(),
        buyer_id: buyer.to_owned(),
        request_id: id(number),
        quantity,
        first_attempt: false,
    }
}

pub(crate) fn create(item: v1::Item, stock: i64) -> v1::CreateItemRequest {
    v1::CreateItemRequest {
        item: Some(item),
        initial_stock: Some(stock),
        request_id: id(0xc0de),
    }
}

pub(crate) fn item(id: &str) -> v1::Item {
    v1::Item {
        item_id: id.to_owned(),
        ..v1::Item::default()
    }
}

/// An item over this many shards.
pub(crate) fn sharded(id: &str, shard_count: u32) -> v1::Item {
    v1::Item {
        shard_count,
        ..item(id)
    }
}

pub(crate) fn key(item: &str, buyer: &str, number: u64) -> v1::ReservationKey {
    v1::ReservationKey {
        item_id: item.to_owned(),
        buyer_id: buyer.to_owned(),
        request_id: id(number),
    }
}

pub(crate) fn cancel_by_key(item: &str, buyer: &str, number: u64) -> v1::CancelRequest {
    v1::CancelRequest {
        target: Some(v1::cancel_request::Target::Key(key(item, buyer, number))),
    }
}

/// Code and reason of an error; fails if it has no `ErrorInfo` of ours.
pub(crate) fn reason(status: &Status) -> (Code, String) {
    let info = status
        .get_details_error_info()
        .unwrap_or_else(|| panic!("no ErrorInfo: {status:?}"));
    assert_eq!(info.domain, "holdfast");
    (status.code(), info.reason)
}

/// An error inside a reply.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct EntryFailure {
    pub(crate) code: Code,
    pub(crate) reason: String,
    pub(crate) fields: Vec<String>,
}

/// Takes an entry's error apart; fails if it has no `ErrorInfo` of ours.
pub(crate) fn entry_failure(status: &pb::Status) -> EntryFailure {
    let info = status
        .get_details_error_info()
        .unwrap_or_else(|| panic!("no ErrorInfo: {status:?}"));
    assert_eq!(info.domain, "holdfast");
    let broken = status.get_details_bad_request();
    EntryFailure {
        code: Code::from_i32(status.code),
        reason: info.reason,
        fields: broken
            .into_iter()
            .flat_map(|broken| broken.field_violations)
            .map(|violation| violation.field)
            .collect(),
    }
}

/// The paths of an invalid request's broken fields.
pub(crate) fn broken_fields(status: &Status) -> Vec<String> {
    assert_eq!(
        reason(status),
        (Code::InvalidArgument, "FIELD_INVALID".to_owned())
    );
    let violations = status.get_details_bad_request().unwrap().field_violations;
    violations.into_iter().map(|v| v.field).collect()
}
