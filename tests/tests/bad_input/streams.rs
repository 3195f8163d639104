//! Streams: what is wrong in them, and clients that do not behave.

use std::collections::BTreeMap;
use std::time::Duration;

use e2e::{Failure, PATIENCE, Shop, item, ok, within};
use proto::v1::reserve_result::Result as Entry;
use proto::v1::{ReserveOutcome, ReserveRequest, ReserveStreamRequest, ReserveStreamResponse};
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::{Row, World, row};

pub(crate) fn rows() -> Vec<Row> {
    vec![row(
        "stream: a bad message among good ones; client vanishes mid-way; a client that never reads",
        streams,
    )]
}

type Sender = mpsc::Sender<ReserveStreamRequest>;
type Answers = Streaming<ReserveStreamResponse>;

/// An open stream, over a connection of its own.
pub(crate) async fn open(shop: &Shop) -> (Sender, Answers) {
    let (sender, messages) = mpsc::channel(64);
    let answers = shop
        .inventory()
        .reserve_stream(ReceiverStream::new(messages))
        .await;
    (sender, ok(answers))
}

pub(crate) fn message(call_id: u64, request: ReserveRequest) -> ReserveStreamRequest {
    ReserveStreamRequest {
        call_id,
        request: Some(request),
    }
}

pub(crate) async fn next(answers: &mut Answers) -> Option<(u64, Entry)> {
    let answer = within("an answer", answers.next()).await?;
    let answer = answer.expect("an answer");
    let entry = answer.result.and_then(|result| result.result);
    Some((answer.call_id, entry.expect("a result")))
}

async fn streams(mut world: World) {
    world.shop.create(item("it"), 1_000_000).await;
    let held = bad_message(&mut world).await;
    let held = held + vanishing(&mut world).await;
    never_reading(&mut world, held).await;
    world.shop.assert_sound("it").await;
}

/// An error answer for that one.
async fn bad_message(World { shop, ids, .. }: &mut World) -> i64 {
    let (sender, mut answers) = open(shop).await;
    let good = Shop::request(&ids.key("it"), 1);
    let bad = ReserveRequest {
        item_id: "a b".into(),
        buyer_id: String::new(),
        request_id: "x".into(),
        quantity: 0,
        first_attempt: true,
    };
    let unset = ReserveStreamRequest {
        call_id: 2,
        request: None,
    };
    let messages = [
        message(0, good.clone()),
        message(1, bad),
        unset,
        message(3, good),
    ];
    for message in messages {
        sender.send(message).await.expect("an open stream");
    }
    drop(sender);
    let mut all = BTreeMap::new();
    while let Some((call_id, entry)) = next(&mut answers).await {
        all.insert(call_id, entry);
    }
    let fields: [&[&str]; 2] = [
        &["item_id", "buyer_id", "request_id", "quantity"],
        &["request"],
    ];
    for (call_id, fields) in (1..).zip(fields) {
        match &all[&call_id] {
            Entry::Error(status) => drop(Failure::from(status).names(fields).clone()),
            other @ Entry::Response(_) => panic!("{other:?}"),
        }
    }
    for call_id in [0, 3] {
        match &all[&call_id] {
            Entry::Response(reply) => assert_eq!(reply.outcome(), ReserveOutcome::Reserved),
            other @ Entry::Error(_) => panic!("{other:?}"),
        }
    }
    assert_eq!(shop.units("it").await[1], 1);
    1
}

/// What was sent is finished or never begun, and the same ids find it.
async fn vanishing(
    World {
        server, shop, ids, ..
    }: &mut World,
) -> i64 {
    let mut requests = Vec::new();
    for round in 0..20 {
        let (sender, mut answers) = open(&server.shop()).await;
        for _ in 0..20 {
            let request = Shop::request(&ids.key("it"), 1);
            requests.push(request.clone());
            let sent = sender.send(message(round, request)).await;
            sent.expect("an open stream");
        }
        for _ in 0..ids.between(0..20) {
            next(&mut answers).await.expect("an answer");
        }
    }
    for request in &requests {
        let reply = ok(shop.inventory().reserve(request.clone()).await);
        assert_eq!(reply.outcome(), ReserveOutcome::Reserved);
    }
    let held = i64::try_from(requests.len()).expect("few");
    assert_eq!(shop.units("it").await[1], 1 + held);
    held
}

/// It is not read any more once enough answers wait for it; others are served.
async fn never_reading(
    World {
        server, shop, ids, ..
    }: &mut World,
    held: i64,
) {
    let (sender, mut answers) = open(&server.shop()).await;
    let stalled = Duration::from_secs(1);
    let flood = async {
        let mut sent = 0;
        loop {
            let request = Shop::request(&ids.key("it"), 1);
            let sending = sender.send(message(sent, request));
            if tokio::time::timeout(stalled, sending).await.is_err() {
                return sent;
            }
            sent += 1;
        }
    };
    let sent = tokio::time::timeout(PATIENCE, flood).await;
    let sent = sent.expect("it is read on and on");
    let reply = ok(shop.reserve(&ids.key("it"), 1).await);
    assert_eq!(reply.outcome(), ReserveOutcome::Reserved);
    drop(sender);
    let mut answered = 0;
    while next(&mut answers).await.is_some() {
        answered += 1;
    }
    assert_eq!(answered, sent, "and all it was asked is answered");
    let more = i64::try_from(sent).expect("few") + 1;
    assert_eq!(shop.units("it").await[1], held + more);
}
