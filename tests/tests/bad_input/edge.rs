//! Callers that want too much of a server, or that only want to harm it: what
//! they get is bounded, and everybody else is served.

use std::collections::BTreeMap;

use client::Target;
use e2e::{Failure, Frames, Http2, Memory, Server, Shop, failure, item, ok, poll_until, within};
use proto::v1::{
    GetStockRequest, Item, PauseItemRequest, ReserveOutcome, ResumeItemRequest, StockConsistency,
};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::{Row, Store, World, row};

pub(crate) fn rows() -> Vec<Row> {
    vec![
        row(
            "header list above the limit; 10,000 streams on one connection; rapid resets; \
             connection that never sends its preface",
            floods,
        )
        // Refused before anything is asked of a store.
        .on(&[Store::Embedded]),
        row("ten times the load the server can do", overload).on(&[Store::Embedded]),
    ]
}

const RESERVE: &str = "/holdfast.inventory.v1.InventoryService/Reserve";
const STREAMS: u32 = 10_000;
/// Calls of one connection whose messages never come.
const UNFINISHED: u32 = 1_000;
/// Streams that one connection may have open.
const STREAMS_MAX: usize = 1_024;
/// What a call that is open may cost at most, its stream and its handler.
const CALL_BYTES: u64 = 32 << 10;
/// What all else may cost at most.
const OTHER_BYTES: u64 = 64 << 20;

/// The ids of so many streams of a client.
fn streams(count: u32) -> impl Iterator<Item = u32> {
    (0..count).map(|number| 2 * number + 1)
}

#[track_caller]
fn assert_bounded(server: &Server, before: Memory, calls: usize) {
    let after = server.memory();
    let calls = u64::try_from(calls).expect("not so many") * CALL_BYTES;
    let bound = before.resident + calls + OTHER_BYTES;
    assert!(after.peak <= bound, "{before:?}, then {after:?}");
}

async fn floods(
    World {
        server,
        shop,
        mut ids,
        ..
    }: World,
) {
    shop.create(item("it"), 1_000).await;
    let before = server.memory();
    let mut serves = async || {
        let reply = ok(shop.reserve(&ids.key("it"), 1).await);
        assert_eq!(reply.outcome(), ReserveOutcome::Reserved);
    };
    // To be waited for at the end: these take their time.
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(TcpStream::connect(server.authority()).await.unwrap());
    }
    serves().await;
    let mut unfinished = Frames::begin();
    for stream in streams(UNFINISHED) {
        unfinished.headers(stream, RESERVE);
        unfinished.unfinished(stream, 20);
    }
    unfinished.ping();
    let mut unfinished_calls = Vec::new();
    for _ in 0..6 {
        let mut sent = unfinished.clone().send(server.authority()).await;
        let end = sent.read(|end| end.pongs > 0).await;
        assert_eq!((end.pongs, end.goaway), (1, false), "{end:?}");
        unfinished_calls.push(sent);
    }
    // More calls than the server works on at a time have begun: none of them
    // has a place, as none has its message.
    serves().await;

    too_many_headers(&server).await;
    serves().await;

    let mut many = Frames::begin();
    for stream in streams(STREAMS) {
        many.headers(stream, RESERVE);
    }
    let mut many = many.send(server.authority()).await;
    let too_many = usize::try_from(STREAMS).unwrap() - STREAMS_MAX;
    let end = many.read(|end| end.resets >= too_many).await;
    assert!(end.goaway || end.resets >= too_many, "{end:?}");
    serves().await;

    let mut resets = Frames::begin();
    for stream in streams(STREAMS) {
        resets.headers(stream, RESERVE);
        resets.reset(stream);
    }
    let end = resets.send(server.authority()).await.closed().await;
    assert!(end.goaway, "{end:?}");
    serves().await;

    for (number, mut socket) in silent.into_iter().enumerate() {
        // Whatever the server says before; an error is an end, too.
        let mut said = Vec::new();
        let what = format!("the end of connection {number}");
        let _ = within(&what, socket.read_to_end(&mut said)).await;
    }
    // Nobody waits for their messages any longer either.
    for mut calls in unfinished_calls {
        let all = usize::try_from(UNFINISHED).unwrap();
        let end = calls.read(|end| end.errors >= all).await;
        assert_eq!((end.errors, end.goaway), (all, false), "{end:?}");
    }
    serves().await;
    assert_bounded(&server, before, 8 * STREAMS_MAX);
    shop.assert_sound("it").await;
}

/// 20 KiB of headers are refused as HTTP has it, and the connection goes on.
async fn too_many_headers(server: &Server) {
    let caller = Http2::connect(server.address()).await;
    let long = "x".repeat(20 << 10);
    let empty = proto::v1::ReserveRequest::default();
    let reply = caller.send(RESERVE, &empty, &[("x-long", &long)]).await;
    let status = within("a reply", reply).await.map(|reply| reply.status());
    assert_eq!(status.unwrap().as_u16(), 431);
    let reply = caller.send(RESERVE, &empty, &[]).await;
    let status = within("a reply", Http2::status(reply)).await;
    Failure::from(&status).is(Code::InvalidArgument, "FIELD_INVALID");
}

/// Calls at a time: about twice as many as are worked on, and each as dear as
/// several Reserves.
const CONNECTIONS: usize = 12;
const CALLS: usize = 1_000;

/// A reading that asks every shard.
async fn dear(shop: Shop) -> Result<(), tonic::Status> {
    let request = GetStockRequest {
        item_id: "it".into(),
        consistency: StockConsistency::Strong.into(),
        ..GetStockRequest::default()
    };
    shop.inventory().get_stock(request).await.map(drop)
}

/// How a crowd's calls ended.
async fn crowd(server: &Server) -> BTreeMap<&'static str, usize> {
    let mut calls = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let shop = server.shop();
        for _ in 0..CALLS {
            calls.spawn(dear(shop.clone()));
        }
    }
    let mut ends = BTreeMap::new();
    for end in calls.join_all().await {
        let Err(status) = end else {
            *ends.entry("answered").or_default() += 1;
            continue;
        };
        Failure::from(&status).is(Code::ResourceExhausted, "OVERLOADED");
        let retry = status.get_details_retry_info().expect("a RetryInfo");
        let pause = retry.retry_delay.expect("a pause").as_millis().to_string();
        let pushback = status.metadata().get("grpc-retry-pushback-ms");
        assert_eq!(pushback.expect("a pushback"), &pause);
        *ends.entry("shed").or_default() += 1;
    }
    ends
}

/// What is let in is answered in time: every call here has the patience of the
/// tests as its deadline. What is too much is shed; those who have units, and
/// operators, are not.
async fn overload(
    World {
        server,
        shop,
        mut ids,
        ..
    }: World,
) {
    let spread = Item {
        // So that all who are let in do not fill the store's queue either.
        shard_count: 14,
        ..item("it")
    };
    shop.create(spread, 1_000).await;
    shop.create(item("other"), 10).await;
    let before = server.memory();
    let held = ids.key("it");
    ok(shop.reserve(&held, 1).await);

    let others = async {
        for _ in 0..20 {
            ok(shop.confirm(Target::Key(held.clone())).await);
            let (item_id, reason) = ("other".to_owned(), String::new());
            let pause = PauseItemRequest {
                item_id: item_id.clone(),
                reason: reason.clone(),
            };
            ok(shop.admin().pause_item(pause).await);
            let resume = ResumeItemRequest { item_id, reason };
            ok(shop.admin().resume_item(resume).await);
        }
    };
    let overloaded = poll_until("a crowd that is too much", async || {
        let ends = crowd(&server).await;
        assert!(ends.contains_key("answered"), "{ends:?}");
        if ends.contains_key("shed") {
            return Ok(());
        }
        Err(format!("{ends:?}"))
    });
    let _ = tokio::join!(overloaded, others);

    assert_bounded(&server, before, CONNECTIONS * CALLS);
    ok(shop.reserve(&ids.key("it"), 1).await);
    failure(shop.reserve(&ids.key("nothing"), 1).await).is(Code::NotFound, "ITEM_NOT_FOUND");
    shop.assert_sound("it").await;
}
