//! gRPC's own client for Python, with stubs made from the proto files and the
//! service config that we tell callers to use (`deploy/client`).

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests, which may fail them"
)]

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use e2e::tools::{python, python_command};
use e2e::{Server, Setup, Shop, holdfast, item, ok, within};
use proto::v1::BatchReserveRequest;
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// Shown by the server for each call.
const LOG: [&str; 2] = ["--log", "info,server=debug"];

#[tokio::test]
async fn a_client_made_from_the_proto_files_sells_an_item_out() {
    let server = Server::start(holdfast!()).await;
    let ended = python("sells_out.py", &[server.authority()]).await;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    let told = ended.json();
    assert_eq!(told["calls"], json!({"reserved": 320}));
    assert_eq!(told["stream"], json!({"reserved": 80, "sold_out": 320}));
    assert_eq!(told["stock"], json!([0, 240, 160]));
    server.shop().assert_sound("sneaker").await;
}

/// A script that is under way.
struct Script {
    child: Child,
    lines: mpsc::UnboundedReceiver<String>,
}

impl Script {
    fn start(script: &str, args: &[&str]) -> Self {
        let mut command = python_command(script, args);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("Python");
        let (said, lines) = mpsc::unbounded_channel();
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                // Nobody need be listening any more.
                let _ = said.send(line);
            }
        });
        Self { child, lines }
    }

    /// What it says next; `None` at its end.
    async fn line(&mut self) -> Option<String> {
        within("a script's next line", self.lines.recv()).await
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        // Fails only for a child that has been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lines of the log about calls, which have this in them.
fn calls<'a>(log: &'a str, what: &str) -> Vec<&'a str> {
    let lines = log.lines();
    lines
        .filter(|line| line.contains("previous_attempts=") && line.contains(what))
        .collect()
}

/// The calls that gRPC's policy had sent before.
fn retried(log: &str) -> Vec<&str> {
    let mut calls = calls(log, "");
    calls.retain(|line| !line.contains("previous_attempts=0"));
    calls
}

#[tokio::test]
async fn every_request_is_decided_although_the_server_is_killed_and_drained() {
    const STOCK: i64 = 1_000_000;
    const HUNDREDS: usize = 40;
    let setup = Setup::new(holdfast!()).args(&[&["--drain-grace", "0s"], &LOG[..]].concat());
    let mut server = setup.on_fixed_port().start().await;
    server.shop().create(item("sneaker"), STOCK).await;
    let decisions = (100 * HUNDREDS).to_string();
    let mut script = Script::start("retries.py", &[server.authority(), &decisions]);
    let mut log = String::new();
    let mut last = String::new();
    let mut hundreds = 0;
    while let Some(line) = script.line().await {
        last = line;
        hundreds += 1;
        // Under full load: the last hundred is left to be counted in peace.
        if hundreds % 4 != 0 || hundreds >= HUNDREDS {
            continue;
        }
        if hundreds % 8 == 0 {
            server.sigterm();
            server.assert_clean_exit().await;
        } else {
            server.kill_9();
        }
        log += &server.log();
        server = server.restart().await;
    }
    log += &server.log();

    let told: Value = serde_json::from_str(&last).unwrap_or_else(|_| panic!("said {last}"));
    let done = |what: &str| told["done"][what].as_i64().unwrap();
    let [reserved, confirmed, cancelled] = ["reserved", "confirmed", "cancelled"].map(done);
    assert!(reserved >= i64::try_from(100 * HUNDREDS).unwrap(), "{told}");
    let held = reserved - confirmed - cancelled;
    let shop = server.shop();
    assert_eq!(
        shop.units("sneaker").await,
        [STOCK - held - confirmed, held, confirmed],
        "{told}"
    );
    shop.assert_sound("sneaker").await;
    let (drained, retried) = (calls(&log, "DRAINING").len(), retried(&log).len());
    println!("{told}, {drained} refused while draining, {retried} retried");
    // Without the policy's own retries this would not have shown anything, and
    // the policy retries no error that has headers before it.
    assert!(drained > 0 && retried > drained, "hardly retried: {told}");
    assert!(told["asked_again"].get("DRAINING").is_none(), "{told}");
}

/// Reservations, so that an audit takes a while.
async fn fill(shop: &Shop, ids: &mut e2e::Ids) {
    for _ in 0..8 {
        let keys = (0..512).map(|_| ids.key("sneaker"));
        let requests = keys.map(|key| Shop::request(&key, 1)).collect();
        let batch = BatchReserveRequest { requests };
        ok(shop.inventory().batch_reserve(batch).await);
    }
}

#[tokio::test]
async fn what_is_shed_is_retried_by_the_policy_when_the_server_said() {
    const CALLS: u64 = 600;
    let setup = Setup::new(holdfast!()).args(&[&["--drain-grace", "0s"], &LOG[..]].concat());
    let server = setup.start().await;
    let (shop, mut ids) = (server.shop(), e2e::Ids::seeded());
    shop.create(item("sneaker"), 1_000_000).await;
    fill(&shop, &mut ids).await;
    let calls_sent = CALLS.to_string();
    let args = [server.authority(), "sneaker", &calls_sent];
    let ended = python("shed.py", &args).await;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    let told = ended.json();
    let of = |end: &str| told[end].as_u64().unwrap_or(0);
    let (sound, shed) = (of("AUDIT_VERDICT_SOUND"), of("OVERLOADED"));
    assert_eq!(sound + shed, CALLS, "{told}");

    // An error with headers before it would not have been retried.
    let log = server.log();
    let (refused, again) = (calls(&log, "OVERLOADED"), retried(&log));
    assert!(!refused.is_empty(), "nothing was shed: {told}");
    assert!(!again.is_empty(), "nothing was retried: {told}");
    println!("{told}, {} refused, {} retried", refused.len(), again.len());
    let served = again.iter().any(|line| line.contains("status=\"OK\""));
    assert!(served, "no retry was served: {again:#?}");
}
