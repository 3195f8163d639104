//! The plain HTTP port, as Prometheus and a kubelet use it.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests, which may fail them"
)]

use e2e::tools::python;
use e2e::{Ids, Server, Setup, Shop, Store, failure, holdfast, http, item, ok, poll_until, within};
use proto::v1::{BatchReserveRequest, ReserveOutcome};
use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

e2e::on_every_store!(metrics_tell_what_was_done_and_to_nobody);

/// What the server counts, as Prometheus' own parser reads it.
struct Metrics(Value);

impl Metrics {
    async fn of(server: &Server) -> Self {
        let ended = python("metrics.py", &[server.http_authority()]).await;
        assert_eq!(ended.code, Some(0), "{ended:#?}");
        Self(ended.json())
    }

    /// The sum of the samples that have these labels; nothing where there are
    /// none.
    fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let samples = self.0[name].as_array()?;
        let fits = |sample: &&Value| labels.iter().all(|(name, v)| sample["labels"][name] == *v);
        let values = samples.iter().filter(fits);
        values.map(|sample| sample["value"].as_f64()).sum()
    }

    #[track_caller]
    fn is(&self, name: &str, labels: &[(&str, &str)], value: f64) {
        let told = self.sum(name, labels);
        assert_eq!(told, Some(value), "{name} {labels:?}: {}", self.0[name]);
    }
}

async fn status(server: &Server, method: &str, path: &str) -> u16 {
    http(server.http_authority(), method, path).await.status
}

async fn metrics_tell_what_was_done_and_to_nobody(store: Store) {
    let server = store.serve(holdfast!()).await;
    let (shop, mut ids) = (server.shop(), Ids::seeded());
    shop.create(item("sneaker"), 3).await;
    let (granted, refused) = (ids.key("sneaker"), ids.key("sneaker"));
    let outcome = ok(shop.reserve(&granted, 3).await).outcome();
    assert_eq!(outcome, ReserveOutcome::Reserved);
    let outcome = ok(shop.reserve(&refused, 1).await).outcome();
    assert_eq!(outcome, ReserveOutcome::SoldOut);
    let error = failure(shop.reserve(&ids.key("unheard-of"), 1).await);
    assert_eq!(error.reasons, ["ITEM_NOT_FOUND"]);
    let batch = BatchReserveRequest {
        requests: vec![
            Shop::request(&granted, 3),
            Shop::request(&refused, 1),
            Shop::request(&refused, 0),
        ],
    };
    ok(shop.inventory().batch_reserve(batch).await);

    let metrics = Metrics::of(&server).await;
    let call = |method: &'static str, outcome: &'static str, reason: &'static str| {
        [("method", method), ("outcome", outcome), ("reason", reason)]
    };
    let rpcs = |labels: [_; 3]| metrics.sum("holdfast_rpcs_total", &labels);
    for reason in ["reserved", "sold_out"] {
        assert_eq!(rpcs(call("Reserve", "OK", reason)), Some(1.0), "{reason}");
    }
    let not_found = call("Reserve", "NOT_FOUND", "ITEM_NOT_FOUND");
    assert_eq!(rpcs(not_found), Some(1.0));
    assert_eq!(rpcs(call("BatchReserve", "OK", "")), Some(1.0));
    let service = [("service", "holdfast.inventory.v1.InventoryService")];
    metrics.is("holdfast_rpcs_total", &service, 4.0);
    let reserve = [("method", "Reserve")];
    metrics.is("holdfast_rpc_duration_seconds_count", &reserve, 3.0);
    for (outcome, times) in [
        ("reserved", 2.0),
        ("sold_out", 2.0),
        ("error", 2.0),
        ("not_enough", 0.0),
    ] {
        let labels = [("outcome", outcome)];
        metrics.is("holdfast_reserve_decisions_total", &labels, times);
    }

    let (all, each) = match store {
        Store::Embedded => ("commits", "commit"),
        Store::Redis(_) | Store::Cluster(_) => ("flushes", "flush"),
    };
    poll_until("figures of the store that add up", async || {
        // One may be told in the middle of the store's own visits.
        let metrics = Metrics::of(&server).await;
        let sum = |name: String| metrics.sum(&format!("holdfast_store_{name}"), &[]);
        let times = sum(format!("{all}_total"));
        assert!(times > Some(1.0), "{times:?}");
        let operations = sum(format!("{each}_operations_sum"));
        assert!(operations >= times, "{operations:?}");
        let told = ["operations_count", "duration_seconds_count"];
        let told = told.map(|name| sum(format!("{each}_{name}")));
        let is_whole = told == [times; 2];
        is_whole.then_some(()).ok_or(format!("{times:?}, {told:?}"))
    })
    .await;
    for (state, stripes) in [("serving", 64.0), ("unavailable", 0.0), ("frozen", 0.0)] {
        metrics.is("holdfast_stripes", &[("state", state)], stripes);
    }
    assert!(metrics.sum("holdfast_connections", &[]) >= Some(1.0));
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    metrics.is("holdfast_build_info", &version, 1.0);

    let text = http(server.http_authority(), "GET", "/metrics").await.body;
    for id in ["unheard-of", &granted.buyer_id, &granted.request_id] {
        assert!(!text.contains(id), "{id} is in {text}");
    }
    // Of the few items that are sold out it tells which.
    let of_sneakers: Vec<_> = text.lines().filter(|l| l.contains("sneaker")).collect();
    let line = r#"holdfast_tier1_item_refusals_total{item="sneaker"} 0"#;
    assert_eq!(of_sneakers, [line]);
}

#[tokio::test]
async fn probes_are_answered_to_the_end_of_a_drain_and_silence_is_not_waited_for() {
    let setup = Setup::new(holdfast!());
    let server = setup
        .args(&["--drain-grace", "1h", "--drain-deadline", "1s"])
        .start()
        .await;
    let mut silent = TcpStream::connect(server.http_authority()).await.unwrap();
    for path in ["/healthz", "/readyz", "/metrics"] {
        for method in ["GET", "HEAD"] {
            assert_eq!(status(&server, method, path).await, 200, "{method} {path}");
        }
        assert_eq!(status(&server, "POST", path).await, 405, "{path}");
    }
    assert_eq!(status(&server, "GET", "/").await, 404);

    server.sigterm();
    let leaving = poll_until("readiness to end", async || {
        let page = http(server.http_authority(), "GET", "/readyz").await;
        (page.status == 503).then_some(page.body).ok_or("ready")
    });
    assert_eq!(leaving.await, "draining\n");
    assert_eq!(status(&server, "GET", "/healthz").await, 200);
    assert_eq!(status(&server, "GET", "/metrics").await, 200);

    let end = within("the silent one's end", silent.read_u8()).await;
    assert!(end.is_err(), "{end:?}");
}
