//! What is refused from memory, over the wire: only whoever surely never asked.

use proto::v1;
use proto::v1::ReserveOutcome;
use proto::v1::reserve_result::Result as Entry;
use tokio_stream::StreamExt as _;
use tonic::Request;

use crate::harness::{Inventory, Server, create, item, reserve};

fn first(number: u64) -> v1::ReserveRequest {
    v1::ReserveRequest {
        first_attempt: true,
        ..reserve("hat", &format!("buyer-{number}"), number, 1)
    }
}

/// A sold out hat, and memory knows.
async fn sold_out(server: &Server) -> Inventory {
    let mut admin = server.admin().await;
    admin.create_item(create(item("hat"), 1)).await.unwrap();
    let mut inventory = server.inventory().await;
    let granted = inventory.reserve(first(1)).await.unwrap().into_inner();
    assert_eq!(granted.outcome(), ReserveOutcome::Reserved);
    for number in 2..=3 {
        let refused = inventory.reserve(first(number)).await.unwrap();
        assert_eq!(refused.into_inner().outcome(), ReserveOutcome::SoldOut);
    }
    inventory
}

fn told<T>(message: T, headers: &[(&'static str, &'static str)]) -> Request<T> {
    let mut request = Request::new(message);
    for (name, value) in headers {
        request.metadata_mut().append(*name, value.parse().unwrap());
    }
    request
}

/// ⚔ Metadata that tell of an earlier attempt, or that nobody can read.
const REPEATED: &[&[(&str, &str)]] = &[
    &[("grpc-previous-rpc-attempts", "1")],
    &[("grpc-previous-rpc-attempts", "many")],
    &[("x-envoy-attempt-count", "2")],
    &[("x-envoy-attempt-count", "")],
    &[
        ("x-envoy-attempt-count", "1"),
        ("x-envoy-attempt-count", "2"),
    ],
    &[
        ("grpc-previous-rpc-attempts", "1"),
        ("x-envoy-attempt-count", "1"),
    ],
];
const FIRST: &[&[(&str, &str)]] = &[
    &[],
    &[("grpc-previous-rpc-attempts", "0")],
    &[("x-envoy-attempt-count", "1")],
];

#[tokio::test]
async fn an_attempt_that_was_counted_is_never_refused_from_memory() {
    let server = Server::start();
    let mut inventory = sold_out(&server).await;
    for headers in FIRST {
        let request = told(first(9), headers);
        let refused = inventory.reserve(request).await.unwrap().into_inner();
        assert_eq!(refused.outcome(), ReserveOutcome::SoldOut);
        assert!(refused.from_cache, "{headers:?}");
        assert_eq!(refused.held_units, Some(1));
    }
    for headers in REPEATED {
        // The owner, whose reply was lost, by every way to ask.
        let replayed = |reply: &v1::ReserveResponse| {
            assert_eq!(reply.outcome(), ReserveOutcome::Reserved, "{headers:?}");
            assert!(reply.replayed && !reply.from_cache);
        };
        let reply = inventory.reserve(told(first(1), headers)).await;
        replayed(reply.unwrap().get_ref());

        let batch = v1::BatchReserveRequest {
            requests: vec![first(1), first(1)],
        };
        let replies = inventory.batch_reserve(told(batch, headers)).await;
        for result in replies.unwrap().into_inner().results {
            match result.result.unwrap() {
                Entry::Response(reply) => replayed(&reply),
                Entry::Error(error) => panic!("{error:?}"),
            }
        }

        let message = v1::ReserveStreamRequest {
            call_id: 1,
            request: Some(first(1)),
        };
        let stream = told(tokio_stream::iter([message]), headers);
        let mut answers = inventory.reserve_stream(stream).await.unwrap().into_inner();
        let answer = answers.next().await.unwrap().unwrap();
        match answer.result.unwrap().result.unwrap() {
            Entry::Response(reply) => replayed(&reply),
            Entry::Error(error) => panic!("{error:?}"),
        }
    }
    // A plain repeat says so itself.
    let repeat = reserve("hat", "buyer-1", 1, 1);
    let reply = inventory.reserve(repeat).await.unwrap().into_inner();
    assert!(reply.replayed && !reply.from_cache);

    let (_, metrics) = server.get("/metrics").await;
    for line in [
        r#"holdfast_tier1_refusals_total{outcome="sold_out"} 4"#,
        r#"holdfast_tier1_item_refusals_total{item="hat"} 4"#,
        r#"holdfast_tier1_entries{memory="marks",of="known"} 1"#,
        r#"holdfast_notices_total{kind="missed"} 0"#,
    ] {
        assert!(
            metrics.lines().any(|l| l == line),
            "{line} is not in:\n{metrics}"
        );
    }
}
