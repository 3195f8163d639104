//! The bench, a short one: that its figures are whole and add up. Never how
//! large they are.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests, which may fail them"
)]

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use e2e::redis::{Cluster, Node};
use e2e::tools::python;
use e2e::{Binary, Ended, Server, Store, holdfast, item, seed, within};
use proto::v1::ListItemsRequest;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const BINARY: Binary = holdfast!();

/// Runs the bench for 300 requests without a warm-up, with these arguments more.
async fn bench(addresses: &str, args: &[&str]) -> Ended {
    let seed = (seed() % 1_000_000).to_string();
    let few = ["--warm-up", "0s", "--callers", "20", "--requests", "300"];
    let all = [
        &["bench", "--addr", addresses, "--seed", &seed][..],
        &few,
        args,
    ]
    .concat();
    BINARY.run(&all).await
}

/// The figures of a run that ended with this code.
async fn figures(code: i32, addresses: &str, args: &[&str]) -> Value {
    let ended = bench(addresses, &[args, &["--output", "json"]].concat()).await;
    assert_eq!(ended.code, Some(code), "{ended:#?}");
    assert_eq!(ended.stdout.lines().count(), 1, "{ended:#?}");
    ended.json()
}

fn sum(of: &Value) -> u64 {
    let all = of.as_object().expect("an object").values();
    all.map(|n| n.as_u64().expect("a count")).sum()
}

fn number(figures: &Value, path: &str) -> u64 {
    let value = figures.pointer(path).and_then(Value::as_u64);
    value.unwrap_or_else(|| panic!("no number at {path} in {figures}"))
}

/// What holds of every run in which nothing failed.
#[track_caller]
fn assert_sound(figures: &Value) {
    assert_eq!(figures["sound"], true, "{figures}");
    assert_eq!(figures["audit"], "SOUND", "{figures}");
    assert_eq!(sum(&figures["mismatches"]), 0, "{figures}");
    assert_eq!(sum(&figures["errors"]), 0, "{figures}");
    let requests = number(figures, "/requests");
    assert_eq!(requests, sum(&figures["outcomes"]), "{figures}");
    let latency = |name| number(figures, &format!("/latency_us/{name}"));
    let rising = ["p50", "p90", "p99", "p999", "max"].map(latency);
    assert!(rising.is_sorted() && rising[0] > 0, "{figures}");
}

#[tokio::test]
async fn every_mode_grants_all_that_there_is_and_refuses_the_rest() {
    let server = Server::start(BINARY).await;
    for mode in ["unary", "batch", "stream"] {
        let args = ["--mode", mode, "--batch-size", "7", "--stock", "100"];
        let figures = figures(0, server.address(), &args).await;
        assert_sound(&figures);
        assert_eq!(figures["mode"], mode);
        assert_eq!(number(&figures, "/requests"), 300);
        assert_eq!(number(&figures, "/outcomes/granted"), 100, "{figures}");
        assert_eq!(number(&figures, "/outcomes/sold_out"), 200, "{figures}");
        let calls = if mode == "batch" { 43..=62 } else { 300..=300 };
        assert!(calls.contains(&number(&figures, "/calls")), "{figures}");
        assert_eq!(figures["cpu"][0]["name"], "bench");
    }
    let mut admin = server.shop().admin();
    let listed = admin.list_items(ListItemsRequest::default()).await;
    let items = listed.expect("a list").into_inner().items;
    assert!(items.is_empty(), "its own items are gone: {items:?}");
}

#[tokio::test]
async fn ids_that_are_sent_twice_are_granted_once() {
    let server = Server::start(BINARY).await;
    for mode in ["unary", "batch", "stream"] {
        // The same server twice: to the bench these are two.
        let twice = format!("{},{}", server.address(), server.address());
        let args = ["--mode", mode, "--batch-size", "10", "--duplicates", "40"];
        let figures = figures(0, &twice, &[&args[..], &["--items", "3"]].concat()).await;
        assert_sound(&figures);
        let sent = number(&figures, "/duplicates/sent");
        assert!(sent > 0, "{figures}");
        assert_eq!(number(&figures, "/duplicates/equal"), sent, "{figures}");
        assert_eq!(number(&figures, "/requests"), 300 + sent, "{figures}");
        assert_eq!(number(&figures, "/outcomes/granted"), 300, "{figures}");
        assert_eq!(number(&figures, "/outcomes/replayed"), sent, "{figures}");
    }
}

#[tokio::test]
async fn sells_an_item_that_is_there_and_leaves_it() {
    let server = Server::start(BINARY).await;
    let shop = server.shop();
    shop.create(item("sneaker"), 1_000).await;
    let buyers = ["--item", "sneaker", "--buyers", "10", "--quantity", "2"];
    let figures = figures(0, server.address(), &buyers).await;
    assert_sound(&figures);
    assert_eq!(figures["item_id"], "sneaker");
    assert_eq!(shop.units("sneaker").await, [400, 600, 0]);
}

#[tokio::test]
async fn limits_hold_for_buyers_who_come_back() {
    let server = Server::start(BINARY).await;
    let args = ["--buyers", "10", "--buyer-limit", "3"];
    let figures = figures(0, server.address(), &args).await;
    assert_sound(&figures);
    let limited = number(&figures, "/outcomes/buyer_limit_reached");
    assert_eq!(number(&figures, "/outcomes/granted") + limited, 300);
    assert_eq!(limited, 270, "{figures}");
}

#[tokio::test]
async fn tells_what_processes_used() {
    let server = Server::start(BINARY).await;
    let pid = format!("server={}", server.pid());
    let figures = figures(0, server.address(), &["--pid", &pid]).await;
    assert_sound(&figures);
    let process = &figures["cpu"][0];
    assert_eq!(process["name"], "server");
    assert_eq!(number(process, "/pid"), u64::from(server.pid()));
    assert!(process["us_per_granted"].is_number(), "{figures}");

    let gone = bench(server.address(), &["--pid", "4194304"]).await;
    assert_eq!(gone.code, Some(2), "{gone:#?}");
    assert!(gone.sentence().contains("no process 4194304"), "{gone:#?}");
}

#[tokio::test]
async fn people_read_it_on_one_screen() {
    let server = Server::start(BINARY).await;
    let ended = bench(server.address(), &["--duplicates", "10"]).await;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    let lines = ended.stdout.lines().count();
    assert!((10..=30).contains(&lines), "{}", ended.stdout);
    for part in ["every answer was sound", "p99.9", "granted", "Seed"] {
        assert!(ended.stdout.contains(part), "{part}: {}", ended.stdout);
    }
    assert!(!ended.stderr.contains('\x1b'), "{ended:#?}");
}

/// The naive way for a moment, on the first of these Redis servers.
async fn compared(address: &str, url: &str, args: &[&str]) -> Value {
    let naive = ["--compare", "naive-lua", "--naive-callers", "5"];
    let naive = [&naive[..], &["--naive-duration", "200ms"]].concat();
    let all = [&["--store-stats", url][..], &naive, args].concat();
    figures(0, address, &all).await
}

/// No reservation was Redis', which the embedded store is not; only the naive
/// way's requests were.
#[track_caller]
fn assert_only_naive(figures: &Value, nodes: usize) {
    assert_sound(figures);
    assert_eq!(number(figures, "/store/script_calls"), 0, "{figures}");
    let told = figures["store"]["nodes"].as_array().expect("nodes");
    assert_eq!(told.len(), nodes, "{figures}");
    let naive = &figures["naive"];
    assert!(number(naive, "/requests") > 0, "{figures}");
    assert!(
        naive["cpu_us_per_request"].as_f64() > Some(0.0),
        "{figures}"
    );
    // What was not measured has no ratio to anything, and the reason is told.
    assert!(naive["ratio"].is_null(), "{figures}");
    assert!(
        figures["notes"][0]
            .as_str()
            .expect("a note")
            .contains("no script ran")
    );
}

#[tokio::test]
async fn compares_with_the_naive_way_and_leaves_nothing_in_redis() {
    let (server, redis) = (Server::start(BINARY).await, Node::start());
    let url = format!("redis://{}", redis.address());
    let figures = compared(server.address(), &url, &[]).await;
    assert_only_naive(&figures, 1);
    assert_eq!(redis.ask(&["DBSIZE"]).int(), 0);
}

#[tokio::test]
async fn finds_a_key_of_each_master_of_a_cluster() {
    let (server, cluster) = (Server::start(BINARY).await, Cluster::start(3, 0));
    for first in 0..3 {
        let mut addresses = cluster.addresses();
        addresses.rotate_left(first);
        let url = format!("redis-cluster://{}", addresses.join(","));
        let figures = compared(server.address(), &url, &[]).await;
        assert_only_naive(&figures, 3);
    }
    for node in cluster.nodes() {
        assert_eq!(node.ask(&["DBSIZE"]).int(), 0);
    }
}

/// A server over a store in Redis, measured with all that it costs there.
async fn assert_measured(store: &Store) {
    let server = store.serve(BINARY).await;
    let url = store.url().expect("a store in Redis");
    let figures = compared(server.address(), &url, &["--stock", "200"]).await;
    assert_sound(&figures);
    assert_eq!(number(&figures, "/outcomes/granted"), 200, "{figures}");
    assert!(number(&figures, "/store/script_calls") > 0, "{figures}");
    let told = figures["store"]["nodes"].as_array().expect("nodes");
    assert_eq!(told.len(), store.nodes().len(), "{figures}");
    for name in ["script_calls_per_granted", "cpu_us_per_granted"] {
        let value = figures["store"][name].as_f64();
        assert!(value > Some(0.0), "{name}: {figures}");
    }
    assert!(figures["naive"]["ratio"].as_f64() > Some(0.0), "{figures}");
    let mut admin = server.shop().admin();
    let listed = admin.list_items(ListItemsRequest::default()).await;
    let items = listed.expect("a list").into_inner().items;
    assert!(items.is_empty(), "its own items are gone: {items:?}");
}

#[tokio::test]
async fn tells_what_a_reservation_costs_in_redis() {
    assert_measured(&Store::redis()).await;
}

#[tokio::test]
async fn tells_what_a_reservation_costs_in_a_cluster() {
    assert_measured(&Store::cluster()).await;
}

#[tokio::test]
async fn reads_redis_as_the_user_it_is_told_to_be() {
    let (server, redis) = (Server::start(BINARY).await, Node::start());
    let rights = [
        "on",
        ">secret",
        "~holdfast-bench:*",
        "-@all",
        "+info",
        "+set",
        "+del",
    ];
    let scripts = ["+script|load", "+evalsha", "+get", "+decr"];
    let words = [&["ACL", "SETUSER", "meter"][..], &rights, &scripts].concat();
    assert_eq!(redis.ask(&words).text(), "OK");
    assert_eq!(
        redis.ask(&["ACL", "SETUSER", "default", "off"]).text(),
        "OK"
    );
    let url = format!("redis://{}", redis.address());

    let nobody = bench(server.address(), &["--store-stats", &url]).await;
    assert_eq!(nobody.code, Some(3), "{nobody:#?}");
    assert!(nobody.sentence().contains("NOAUTH"), "{nobody:#?}");

    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "secret\n").expect("its text");
    let path = file.path().to_str().expect("a path in UTF-8");
    let login = ["--stats-user", "meter", "--stats-password-file", path];
    let figures = compared(server.address(), &url, &login).await;
    assert_only_naive(&figures, 1);
}

#[tokio::test]
async fn a_redis_that_is_not_there_is_told_before_anything_is_sold() {
    let server = Server::start(BINARY).await;
    let ended = bench(server.address(), &["--store-stats", "redis://127.0.0.1:1"]).await;
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (Some(3), ""),
        "{ended:#?}"
    );
    assert!(
        ended.sentence().contains("cannot talk to the Redis server"),
        "{ended:#?}"
    );
}

#[tokio::test]
async fn draws_a_bar_on_a_terminal() {
    let server = Server::start(BINARY).await;
    let args = ["bench", "--addr", server.address(), "--duration", "300ms"];
    let command = [&[BINARY.path()][..], &args, &["--warm-up", "0s"]].concat();
    let ended = python("on_terminal.py", &command).await;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert!(
        ended.stdout.contains("every answer was sound"),
        "{ended:#?}"
    );
    assert!(ended.stdout.contains('\x1b'), "no bar: {}", ended.stdout);
}

/// A bench that goes on until something ends it.
struct Endless(Child);

impl Endless {
    /// Starts one and waits until requests are decided.
    fn start(address: &str) -> Self {
        let args = ["bench", "--addr", address, "--output", "json"];
        let mut command = BINARY.command(&[&args[..], &["--duration", "10m"]].concat());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("a bench");
        // A line a second says how it goes; the first of them, that it has begun.
        let stderr = child.stderr.as_mut().expect("a pipe");
        let begun = |line: &String| line.contains("decided") && !line.contains(" 0 decided");
        let lines = BufReader::new(stderr).lines();
        let said = lines.map_while(Result::ok).find(begun);
        assert!(said.is_some(), "it ended before its time");
        Self(child)
    }

    /// Asks it to end, and takes its figures.
    async fn interrupt(self, code: i32) -> Value {
        kill_process(Pid::from_child(&self.0), Signal::INT).expect("a child to signal");
        let ended = tokio::task::spawn_blocking(|| self.0.wait_with_output());
        let output = within("its end", ended).await.expect("no panic");
        let output = output.expect("its output");
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let figures: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(figures["interrupted"], true, "{figures}");
        figures
    }
}

#[tokio::test]
async fn ends_with_what_was_measured_when_it_is_asked_to() {
    let server = Server::start(BINARY).await;
    let figures = Endless::start(server.address()).interrupt(0).await;
    assert_sound(&figures);
}

#[tokio::test]
async fn a_server_that_dies_is_told_and_nothing_is_called_sound_for_it() {
    let mut server = Server::start(BINARY).await;
    let bench = Endless::start(server.address());
    server.kill_9();
    let figures = bench.interrupt(3).await;
    assert_eq!(sum(&figures["mismatches"]), 0, "{figures}");
    assert!(sum(&figures["errors"]) > 0, "{figures}");
    let requests = sum(&figures["outcomes"]) + sum(&figures["errors"]);
    assert_eq!(number(&figures, "/requests"), requests);
    let note = figures["notes"][0].as_str().expect("a note");
    assert!(note.contains("nothing was audited"), "{figures}");
    assert!(figures["audit"].is_null(), "{figures}");
}

#[tokio::test]
async fn without_a_server_it_says_so() {
    let ended = bench("http://127.0.0.1:1", &[]).await;
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (Some(3), ""),
        "{ended:#?}"
    );
    assert!(ended.sentence().contains("cannot reach"), "{ended:#?}");
}
