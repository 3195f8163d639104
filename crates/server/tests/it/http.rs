//! The plain HTTP port: metrics and probes.

use std::time::Duration;

use proto::v1;
use server::{Drain, Listeners};
use tokio::net::TcpStream;
use tokio_stream::StreamExt as _;

use crate::harness::{PATIENCE, Server, config, create, eventually, item, key, listeners, reserve};

/// The value of a sample, as the text format writes it.
fn value<'a>(metrics: &'a str, sample: &str) -> &'a str {
    let value = metrics.lines().find_map(|line| {
        let value = line.strip_prefix(sample)?.strip_prefix(' ')?;
        Some(value)
    });
    value.unwrap_or_else(|| panic!("{sample} is not in:\n{metrics}"))
}

fn rpcs(service: &str, method: &str, outcome: &str, reason: &str) -> String {
    format!(
        "holdfast_rpcs_total{{service=\"{service}\",method=\"{method}\",outcome=\"{outcome}\",\
         reason=\"{reason}\"}}"
    )
}

fn decided(outcome: &str) -> String {
    format!("holdfast_reserve_decisions_total{{outcome=\"{outcome}\"}}")
}

#[tokio::test]
async fn calls_and_decisions_are_counted_by_how_they_ended() {
    const INVENTORY: &str = "holdfast.inventory.v1.InventoryService";
    let server = Server::start();
    let (mut admin, mut inventory) = (server.admin().await, server.inventory().await);
    admin.create_item(create(item("hat"), 2)).await.unwrap();
    for number in 1..=3 {
        let ask = reserve("hat", "ann", number, 1);
        inventory.reserve(ask).await.unwrap();
    }
    let bad = reserve("hat", "ann", 4, 0);
    inventory.reserve(bad.clone()).await.unwrap_err();
    let confirm = v1::ConfirmRequest {
        target: Some(v1::confirm_request::Target::Key(key("hat", "ann", 9))),
        reacquire: false,
    };
    inventory.confirm(confirm).await.unwrap_err();
    let batch = v1::BatchReserveRequest {
        requests: vec![
            reserve("hat", "ann", 1, 1),
            bad,
            reserve("hat", "bob", 5, 1),
        ],
    };
    inventory.batch_reserve(batch).await.unwrap();
    let watch = v1::WatchStockRequest::default();
    inventory.watch_stock(watch).await.unwrap_err();
    // A message of a stream counts like a call of its own.
    let messages = [Some(reserve("hat", "ann", 1, 1)), None];
    let messages = messages.map(|request| v1::ReserveStreamRequest {
        call_id: 1,
        request,
    });
    let stream = inventory.reserve_stream(tokio_stream::iter(messages)).await;
    let answers: Vec<_> = stream.unwrap().into_inner().collect().await;
    assert!(answers.len() == 2 && answers.iter().all(Result::is_ok));
    // A deadline that is over when it comes: refused by a layer, not a handler.
    let mut late = tonic::Request::new(reserve("hat", "ann", 6, 1));
    late.set_timeout(Duration::from_nanos(1));
    inventory.reserve(late).await.unwrap_err();

    let (status, metrics) = server.get("/metrics").await;
    assert_eq!(status, 200);
    for (method, outcome, reason, times) in [
        ("Reserve", "OK", "reserved", "2"),
        ("Reserve", "OK", "sold_out", "1"),
        ("Reserve", "INVALID_ARGUMENT", "FIELD_INVALID", "1"),
        ("Reserve", "DEADLINE_EXCEEDED", "DEADLINE_TOO_SHORT", "1"),
        ("Confirm", "NOT_FOUND", "RESERVATION_NOT_FOUND", "1"),
        ("BatchReserve", "OK", "", "1"),
        ("WatchStock", "INVALID_ARGUMENT", "FIELD_INVALID", "1"),
        ("ReserveStream", "OK", "", "1"),
    ] {
        let sample = rpcs(INVENTORY, method, outcome, reason);
        assert_eq!(value(&metrics, &sample), times, "{sample}");
    }
    for (outcome, times) in [
        ("reserved", "4"),
        ("sold_out", "2"),
        ("error", "3"),
        ("sale_paused", "0"),
    ] {
        assert_eq!(value(&metrics, &decided(outcome)), times, "{outcome}");
    }
    let method = format!("service=\"{INVENTORY}\",method=\"Reserve\"");
    let count = format!("holdfast_rpc_duration_seconds_count{{{method}}}");
    assert_eq!(value(&metrics, &count), "5");
    let commits: u64 = value(&metrics, "holdfast_store_commits_total")
        .parse()
        .unwrap();
    assert!(commits >= 4, "{commits}");
    assert_eq!(value(&metrics, "holdfast_stripes{state=\"serving\"}"), "64");
    assert_eq!(value(&metrics, "holdfast_connections"), "2");
}

#[tokio::test]
async fn two_servers_of_one_process_count_for_themselves() {
    let (busy, idle) = (Server::start(), Server::start());
    let mut admin = busy.admin().await;
    admin.create_item(create(item("hat"), 1)).await.unwrap();
    let created = rpcs("holdfast.inventory.v1.AdminService", "CreateItem", "OK", "");
    let (_, metrics) = busy.get("/metrics").await;
    assert_eq!(value(&metrics, &created), "1");
    let (_, metrics) = idle.get("/metrics").await;
    assert!(!metrics.contains("CreateItem"), "{metrics}");
    assert_eq!(value(&metrics, "holdfast_connections"), "0");
}

#[tokio::test]
async fn probes_follow_the_drain_and_the_port_lives_as_long() {
    let mut server = Server::start_with(|config| config.drain_grace = Duration::from_hours(1));
    assert_eq!(server.get("/healthz").await, (200, "ok\n".to_owned()));
    assert_eq!(server.get("/readyz").await, (200, "ok\n".to_owned()));
    server.leave(Drain::WithGrace);
    eventually("readiness ends", async || {
        server.get("/readyz").await == (503, "draining\n".to_owned())
    })
    .await;
    assert_eq!(server.get("/healthz").await.0, 200);
    assert_eq!(server.get("/metrics").await.0, 200);
    server.abandon();

    // While it closes: a client that holds the drain up until its deadline.
    let mut server = Server::start_with(|config| config.drain_deadline = PATIENCE);
    let mut health = tonic_health::pb::health_client::HealthClient::new(server.channel().await);
    let watch = tonic_health::pb::HealthCheckRequest {
        service: "liveness".to_owned(),
    };
    let watched = health.watch(watch).await.unwrap();
    server.leave(Drain::AtOnce);
    eventually("the gRPC port is closed", async || {
        TcpStream::connect(server.address).await.is_err()
    })
    .await;
    assert_eq!(server.get("/readyz").await, (503, "draining\n".to_owned()));
    assert!(!server.has_ended());
    // One that is silent holds nothing up, and at the end the port is closed.
    let _silent = TcpStream::connect(server.http).await.unwrap();
    let http = server.http;
    drop((watched, health));
    let ended = tokio::task::spawn_blocking(move || server.join());
    let ended = tokio::time::timeout(PATIENCE / 2, ended).await;
    ended.expect("it waits for an HTTP client").unwrap();
    assert!(TcpStream::connect(http).await.is_err());
}

#[tokio::test]
async fn a_server_needs_no_http_port() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(&dir);
    let without = Listeners {
        http: None,
        ..listeners()
    };
    let (leave, told) = tokio::sync::oneshot::channel();
    let ran = tokio::task::spawn_blocking(move || {
        server::run(config, without, move |_| leave.send(()).unwrap(), async {
            told.await.unwrap();
            Drain::AtOnce
        })
    });
    ran.await.unwrap().unwrap();
}
