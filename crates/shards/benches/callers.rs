//! What a granted reservation costs Redis when 128 callers want one item at once,
//! beside the naive way on the same server: `cargo bench -p shards --bench callers`.
//!
//! The callers use the inventory itself and are of one server, which is the best
//! case: gRPC would spend a multiple of Redis' time on the same cores, and few
//! callers would ever meet in the store.
//!
//! The visits of 64 stripes, twice a second, are in all figures, those of the
//! naive way, too.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark, which tells what it found or fails"
)]

use std::cell::Cell;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use shards::ids::{BuyerId, ItemId, Quantity, RequestId};
use shards::inventory::{Inventory, Reserve, Reserved};
use shards::machine::ItemSpec;
use shards::redis::yardstick::{Login, Naive, Node, run_naive};
use shards::redis::{Acknowledge, Address, Options, Redis};

const CALLERS: u32 = 128;
/// Of one item, all sold in a round.
const UNITS: u32 = 20_000;
const ROUNDS: u8 = 9;
/// How long redis-server may take to start.
const PATIENCE: Duration = Duration::from_secs(10);

/// A redis-server of its own, with its append-only file; ends with this value.
struct Server {
    child: Child,
    url: String,
    _dir: tempfile::TempDir,
}

impl Server {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port().to_string();
        drop(free);
        let words = [
            "--bind",
            "127.0.0.1",
            "--port",
            &port,
            "--save",
            "",
            "--appendonly",
            "yes",
        ];
        let memory = ["--maxmemory", "2gb", "--maxmemory-policy", "noeviction"];
        let child = Command::new("redis-server")
            .args(words)
            .args(memory)
            .current_dir(dir.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server starts (apt-get install redis-server)");
        let begin = Instant::now();
        while std::net::TcpStream::connect(format!("127.0.0.1:{port}")).is_err() {
            assert!(begin.elapsed() < PATIENCE, "redis-server does not listen");
            std::thread::yield_now();
        }
        let mut server = Self {
            child,
            url: format!("redis://127.0.0.1:{port}"),
            _dir: dir,
        };
        // Nor is it somebody else's that took the port.
        assert_eq!(server.child.try_wait().unwrap(), None, "redis-server ended");
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// What a round found.
struct Round {
    granted_per_second: f64,
    calls: f64,
    script_us: f64,
    cpu_us: f64,
    naive_us: f64,
}

fn main() {
    let server = Server::start();
    let options = Options {
        acknowledge: Some(Acknowledge::Local),
        init: true,
        ..Options::new(Address::parse(&server.url).unwrap())
    };
    let inventory = Inventory::new(Arc::new(Redis::open(options).unwrap()));
    let node = Node::parse_all(&server.url, &Login::default()).unwrap();
    let [node] = &node[..] else {
        panic!("one server: {node:?}");
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        // What is done once is no part of it.
        round(&inventory, node, 0).await;
        let mut rounds = Vec::new();
        for number in 1..=ROUNDS {
            rounds.push(round(&inventory, node, number).await);
        }
        let median = |of: fn(&Round) -> f64| {
            let mut all: Vec<f64> = rounds.iter().map(of).collect();
            all.sort_by(f64::total_cmp);
            all[all.len() / 2]
        };
        println!("{CALLERS} callers, {ROUNDS} items of {UNITS} units; medians");
        println!(
            "  granted a second             {:8.0}",
            median(|r| r.granted_per_second)
        );
        println!("  for each: runs of the script {:8.4}", median(|r| r.calls));
        println!(
            "            time in the script {:8.2} us",
            median(|r| r.script_us)
        );
        println!(
            "            CPU of Redis       {:8.2} us",
            median(|r| r.cpu_us)
        );
        println!(
            "  CPU of Redis the naive way   {:8.2} us",
            median(|r| r.naive_us)
        );
        println!(
            "  ratio of these               {:8.2}",
            median(|r| r.cpu_us / r.naive_us)
        );
    });
}

/// Sells an item of its own, then for a while the naive way.
async fn round(inventory: &Inventory, node: &Node, number: u8) -> Round {
    let item = ItemId::parse(&format!("sneaker-{number}")).unwrap();
    let spec = ItemSpec {
        display_name: String::new(),
        shard_count: 1,
        hold_ttl_ms: Some(3_600_000),
        max_hold_ms: None,
        sell_at_once: false,
        max_units_per_buyer: 0,
        max_units_per_reservation: 0,
        sale_start: None,
        sale_end: None,
        retention_ms: None,
        initial_stock: u64::from(UNITS),
    };
    let created = inventory.create_item(item.clone(), spec, RequestId([number; 16]), None);
    created.await.unwrap();
    let (next, granted) = (Cell::new(0_u32), Cell::new(0_u32));
    let caller = async || {
        loop {
            let n = next.replace(next.get() + 1);
            if n >= UNITS {
                return;
            }
            let ask = Reserve {
                item: item.clone(),
                buyer: BuyerId::parse(&format!("buyer-{n}")).unwrap(),
                request: RequestId(rand::random()),
                quantity: Quantity::new(1).unwrap(),
            };
            let reserved = inventory.reserve(&ask, None).await.unwrap();
            assert!(matches!(reserved, Reserved::Granted { .. }), "{reserved:?}");
            granted.set(granted.get() + 1);
        }
    };
    let (before, begin) = (node.read().await.unwrap(), Instant::now());
    join_all((0..CALLERS).map(|_| caller())).await;
    let took = begin.elapsed();
    let spent = node.read().await.unwrap().since(&before).unwrap();
    assert_eq!(granted.get(), UNITS);
    let naive = Naive {
        callers: CALLERS,
        warm_up: Duration::from_millis(100),
        duration: Duration::from_millis(400),
    };
    let naive = run_naive(node, &naive, &AtomicBool::new(false)).await;
    let naive = naive.unwrap().unwrap();
    let each = f64::from(UNITS);
    Round {
        granted_per_second: each / took.as_secs_f64(),
        calls: spent.script_calls as f64 / each,
        script_us: spent.script_us as f64 / each,
        cpu_us: spent.cpu_us as f64 / each,
        naive_us: naive.spent.cpu_us as f64 / naive.requests as f64,
    }
}
