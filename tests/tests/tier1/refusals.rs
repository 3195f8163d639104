//! What it costs the store to say no.

use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use proto::v1::reserve_result::Result as Entry;
use proto::v1::{BatchReserveRequest, GetStockRequest};

use super::*;

/// Runs of the script since a node was started.
fn runs(store: &Store) -> u64 {
    let of_node = |node: &e2e::redis::Node| {
        let all = node.ask(&["INFO", "commandstats"]).text();
        let line = all
            .lines()
            .find(|line| line.starts_with("cmdstat_evalsha:"));
        let calls = line.and_then(|line| line.split(['=', ',']).nth(1));
        calls.map_or(0, |calls| calls.parse().expect("a number"))
    };
    store.nodes().iter().map(of_node).sum()
}

#[expect(clippy::print_stdout, reason = "what a run was like")]
fn tell(what: &str, requests: u64, calls: u64, took: Duration) {
    println!(
        "{what}: {requests} requests, {calls} runs of the script in {took:.1?}, visits and sweeps \
         of 64 stripes among them"
    );
}

/// What the server's page of metrics says of a figure.
async fn figure(server: &Server, line: &str) -> u64 {
    let page = e2e::http(server.http_authority(), "GET", "/metrics").await;
    let found = page.body.lines().find_map(|l| l.strip_prefix(line));
    let text = found.unwrap_or_else(|| panic!("no {line} in:\n{}", page.body));
    text.trim().parse().expect("a number")
}

/// All that the server's page of metrics says of tier 1.
async fn figures(server: &Server) -> String {
    let page = e2e::http(server.http_authority(), "GET", "/metrics").await;
    let lines = page.body.lines();
    let ours: Vec<_> = lines.filter(|l| l.starts_with("holdfast_tier1_")).collect();
    ours.join("\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_first_attempts_hardly_ask_the_store() {
    const REQUESTS: usize = 100_000;
    const BATCH: usize = 500;
    let store = Store::cluster();
    let server = store.serve(holdfast!()).await;
    let (shop, mut ids) = (server.shop(), Ids::seeded());
    sell_out(&shop, over_shards(3), 1, &mut ids).await;
    mark(&shop, ITEM, &mut ids).await;
    let batches: Vec<_> = (0..REQUESTS / BATCH)
        .map(|_| {
            let requests = (0..BATCH).map(|_| first(&ids.key(ITEM), 1));
            BatchReserveRequest {
                requests: requests.collect(),
            }
        })
        .collect();
    let (before, begin) = (runs(&store), tokio::time::Instant::now());
    let refused_from_memory = stream::iter(batches)
        .map(|batch| async {
            let reply = ok(shop.inventory().batch_reserve(batch).await);
            let from_memory = reply.results.into_iter().filter(|result| {
                let Some(Entry::Response(reply)) = &result.result else {
                    panic!("{result:?}");
                };
                assert_eq!(reply.outcome(), ReserveOutcome::SoldOut);
                reply.from_cache
            });
            from_memory.count()
        })
        .buffer_unordered(8)
        .fold(0, async |sum, count| sum + count)
        .await;
    let took = begin.elapsed();
    tell("first attempts", 100_000, runs(&store) - before, took);
    assert!(
        refused_from_memory >= REQUESTS * 99 / 100,
        "{refused_from_memory} from memory, which says:\n{}",
        figures(&server).await
    );
}

/// Who may own units is looked up, many at a time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeated_requests_share_runs_of_the_script() {
    const REQUESTS: usize = 10_000;
    let store = Store::cluster();
    let server = store.serve(holdfast!()).await;
    let (shop, mut ids) = (server.shop(), Ids::seeded());
    sell_out(&shop, over_shards(1), 1, &mut ids).await;
    mark(&shop, ITEM, &mut ids).await;
    let keys: Vec<_> = (0..REQUESTS).map(|_| ids.key(ITEM)).collect();
    let (before, begin) = (runs(&store), tokio::time::Instant::now());
    stream::iter(&keys)
        .for_each_concurrent(128, async |key| {
            let reply = ask(&shop, Shop::request(key, 1)).await;
            assert_eq!(reply.outcome(), ReserveOutcome::SoldOut);
            assert!(!reply.from_cache);
        })
        .await;
    let (calls, took) = (runs(&store) - before, begin.elapsed());
    tell("repeats", 10_000, calls, took);
    // One for seven requests at the most, and what a server does by itself: each
    // stripe is visited twice a second and swept once.
    let by_itself = 64 * 4 * (took.as_secs() + 1);
    assert!(calls <= 10_000 * 15 / 100 + by_itself, "{calls}");
}

/// One question for each, however often it is asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invented_ids_cost_one_question_each_and_bounded_memory() {
    const IDS: usize = 10_000;
    let store = Store::cluster();
    let server = store.serve(holdfast!()).await;
    let (shop, mut ids) = (server.shop(), Ids::seeded());
    let keys: Vec<_> = (0..IDS)
        .map(|n| ids.key(&format!("invented-{n}")))
        .collect();
    stream::iter(&keys)
        .for_each_concurrent(64, async |key| {
            // At the same time, and the stock at once.
            let asking = (0..3).map(async |_| shop.inventory().reserve(first(key, 1)).await);
            for answer in futures_util::future::join_all(asking).await {
                e2e::failure(answer).is(tonic::Code::NotFound, "ITEM_NOT_FOUND");
            }
            let stock = GetStockRequest {
                item_id: key.item_id.clone(),
                ..GetStockRequest::default()
            };
            let answer = shop.inventory().get_stock(stock).await;
            e2e::failure(answer).is(tonic::Code::NotFound, "ITEM_NOT_FOUND");
        })
        .await;
    let loads = figure(&server, r#"holdfast_tier1_loads_total{memory="views"}"#).await;
    assert_eq!(loads, IDS as u64);
    for memory in ["views", "stock"] {
        let name = format!(r#"holdfast_tier1_entries{{memory="{memory}",of="unknown"}}"#);
        let entries = figure(&server, &name).await;
        assert!(entries <= 16_384, "{memory}: {entries}");
    }
}
