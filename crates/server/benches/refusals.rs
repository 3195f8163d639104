//! What a refusal from memory costs a server beside the least that any answer
//! costs: `cargo bench -p server --bench refusals`.
//!
//! Two processes, each of one thread that serves: Holdfast with a sold out item,
//! and a bare tonic service that answers the same messages with a reply of the
//! same size, without looking at them. They are asked in turns by the same
//! callers, and the processor time of each is what the system says of it.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark, which tells what it found or fails"
)]

mod echo;

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures_util::future::join_all;
use proto::v1;
use proto::v1::ReserveOutcome;
use proto::v1::admin_service_client::AdminServiceClient;
use proto::v1::inventory_service_client::InventoryServiceClient;
use server::{Config, Drain, Listeners, StoreConfig, Tier1Settings};
use tonic::transport::{Channel, Endpoint};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ITEM: &str = "sneaker-2027";
const CONNECTIONS: usize = 4;
const CALLERS: usize = 64;
/// Calls of one round, to one server.
const CALLS: usize = 20_000;
const ROUNDS: usize = 9;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match &words[..] {
        [what, dir] if what == "holdfast" => serve(Path::new(dir)),
        [what] if what == "echo" => echo::serve(announce),
        // Cargo's own `--bench`.
        _ => compare(),
    }
}

/// Tells whoever started this process where it serves.
fn announce(address: std::net::SocketAddr) {
    println!("http://{address}");
}

fn serve(dir: &Path) {
    let config = Config {
        server_id: "bench".to_owned(),
        store: StoreConfig::Embedded {
            dir: dir.to_owned(),
            disk_reserve: 0,
        },
        tier1: Tier1Settings::default(),
        workers: NonZeroUsize::MIN,
        drain_grace: Duration::ZERO,
        drain_deadline: Duration::ZERO,
    };
    let listeners = Listeners {
        grpc: TcpListener::bind("127.0.0.1:0").unwrap(),
        http: None,
    };
    server::run(config, listeners, announce, std::future::pending::<Drain>()).unwrap();
}

/// A server of its own; ends with this value.
struct Process {
    child: Child,
    address: String,
}

impl Process {
    fn start(words: &[&str]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(words)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut address = String::new();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        said.read_line(&mut address).unwrap();
        let address = address.trim().to_owned();
        Self { child, address }
    }

    fn connect(&self) -> Vec<Channel> {
        let endpoint = Endpoint::from_shared(self.address.clone()).unwrap();
        let endpoint = endpoint.tcp_nodelay(true);
        (0..CONNECTIONS).map(|_| endpoint.connect_lazy()).collect()
    }

    /// Processor time so far, of all its threads.
    fn used(&self) -> Duration {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let of_task = |path: std::path::PathBuf| -> u64 {
            let text = std::fs::read_to_string(path.join("schedstat")).unwrap();
            text.split(' ').next().unwrap().parse().unwrap()
        };
        let all = tasks.map(|task| of_task(task.unwrap().path()));
        Duration::from_nanos(all.sum())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn compare() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let holdfast = Process::start(&["holdfast", dir.path().to_str().unwrap()]);
    let echo = Process::start(&["echo"]);
    runtime.block_on(async {
        sell_out(&holdfast).await;
        let (to_holdfast, to_echo) = (holdfast.connect(), echo.connect());
        // What is done once is no part of it.
        round(&holdfast, &to_holdfast).await;
        round(&echo, &to_echo).await;
        let mut found = Vec::new();
        for _ in 0..ROUNDS {
            let refusal = round(&holdfast, &to_holdfast).await;
            let echoed = round(&echo, &to_echo).await;
            found.push((refusal, echoed, refusal / echoed));
        }
        let median = |of: fn(&(f64, f64, f64)) -> f64| {
            let mut all: Vec<f64> = found.iter().map(of).collect();
            all.sort_by(f64::total_cmp);
            all[all.len() / 2]
        };
        println!("{ROUNDS} rounds of {CALLS} calls each, {CALLERS} callers; medians");
        println!(
            "  a refusal from memory   {:6.2} us of the server's CPU",
            median(|r| r.0)
        );
        println!("  a bare tonic echo       {:6.2} us", median(|r| r.1));
        println!("  ratio                   {:6.2}", median(|r| r.2));
    });
}

fn request(number: u64, first_attempt: bool) -> v1::ReserveRequest {
    v1::ReserveRequest {
        item_id: ITEM.to_owned(),
        buyer_id: format!("buyer-{number:012}"),
        request_id: format!("018f4e6a-3c1d-7b2a-9f00-{number:012x}"),
        quantity: 1,
        first_attempt,
    }
}

/// One unit, which is sold.
async fn sell_out(server: &Process) {
    let channel = server.connect().remove(0);
    let create = v1::CreateItemRequest {
        item: Some(v1::Item {
            item_id: ITEM.to_owned(),
            ..v1::Item::default()
        }),
        initial_stock: Some(1),
        request_id: "018f4e6a-3c1d-7b2a-9f00-0000000000ff".to_owned(),
    };
    let mut admin = AdminServiceClient::new(channel.clone());
    admin.create_item(create).await.unwrap();
    let mut inventory = InventoryServiceClient::new(channel);
    let bought = inventory.reserve(request(0, false)).await.unwrap();
    assert_eq!(bought.into_inner().outcome(), ReserveOutcome::Reserved);
}

/// Microseconds of the server's processor time for a call.
async fn round(server: &Process, channels: &[Channel]) -> f64 {
    let before = server.used();
    let callers = (0..CALLERS).map(|caller| {
        let mut inventory = InventoryServiceClient::new(channels[caller % CONNECTIONS].clone());
        async move {
            for call in 0..CALLS / CALLERS {
                let number = (caller * CALLS + call + 1) as u64;
                let reply = inventory.reserve(request(number, true)).await.unwrap();
                let reply = reply.into_inner();
                assert_eq!(reply.outcome(), ReserveOutcome::SoldOut);
            }
        }
    });
    join_all(callers).await;
    let used = server.used().checked_sub(before).unwrap();
    used.as_secs_f64() * 1e6 / (CALLS / CALLERS * CALLERS) as f64
}
