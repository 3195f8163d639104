//! `ReserveStream`: answers in any order, errors that are one message's, and
//! clients that leave or do not read.

use std::collections::BTreeMap;
use std::time::Duration;

use proto::v1;
use proto::v1::ReserveOutcome;
use proto::v1::reserve_result::Result as Entry;
use server::Drain;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};

use crate::harness::{
    Inventory, PATIENCE, SHARD_COUNTS, Server, create, entry_failure, eventually, reason, reserve,
    sharded,
};

/// More than a stream has under way at a time.
const MANY: u64 = 1_000;

type Answers = Streaming<v1::ReserveStreamResponse>;

/// An open stream: what is sent into it, and what comes out.
async fn open(inventory: &mut Inventory) -> (mpsc::Sender<v1::ReserveStreamRequest>, Answers) {
    let (sender, messages) = mpsc::channel(16);
    let answers = inventory
        .reserve_stream(ReceiverStream::new(messages))
        .await;
    (sender, answers.unwrap().into_inner())
}

fn message(call_id: u64, request: v1::ReserveRequest) -> v1::ReserveStreamRequest {
    v1::ReserveStreamRequest {
        call_id,
        request: Some(request),
    }
}

async fn next(answers: &mut Answers) -> Option<(u64, Entry)> {
    let answer = tokio::time::timeout(PATIENCE, answers.next()).await;
    let answer = answer.expect("no answer")?.unwrap();
    Some((answer.call_id, answer.result.unwrap().result.unwrap()))
}

/// All answers up to the end of the stream, by call.
async fn rest(answers: &mut Answers) -> BTreeMap<u64, Entry> {
    let mut all = BTreeMap::new();
    while let Some((call_id, entry)) = next(answers).await {
        assert!(all.insert(call_id, entry).is_none(), "{call_id} twice");
    }
    all
}

fn outcome(entry: &Entry) -> ReserveOutcome {
    match entry {
        Entry::Response(reply) => reply.outcome(),
        Entry::Error(error) => panic!("{error:?}"),
    }
}

async fn sale(server: &Server, shards: u32, stock: i64) {
    let request = create(sharded("hat", shards), stock);
    server.admin().await.create_item(request).await.unwrap();
}

/// Available and held units of the hat.
async fn units(inventory: &mut Inventory) -> (i64, i64) {
    let get = v1::GetStockRequest {
        item_id: "hat".to_owned(),
        consistency: v1::StockConsistency::Strong.into(),
        ..v1::GetStockRequest::default()
    };
    let stock = inventory.get_stock(get).await.unwrap().into_inner().stock;
    let stock = stock.unwrap();
    (stock.available.unwrap(), stock.held.unwrap())
}

#[tokio::test]
async fn every_message_is_answered_once_and_the_stream_ends_with_its_sender() {
    for shards in SHARD_COUNTS {
        let server = Server::start();
        sale(&server, shards, 600).await;
        let mut inventory = server.inventory().await;
        let (sender, mut answers) = open(&mut inventory).await;
        let send = async move {
            for n in 0..MANY {
                let request = reserve("hat", &format!("buyer-{n}"), n + 1, 1);
                sender.send(message(n, request)).await.unwrap();
            }
        };
        let ((), all) = tokio::join!(send, rest(&mut answers));
        assert_eq!(all.len() as u64, MANY);
        let count = |wanted| all.values().filter(|e| outcome(e) == wanted).count();
        assert_eq!(count(ReserveOutcome::Reserved), 600);
        assert_eq!(count(ReserveOutcome::SoldOut), 400);
        assert_eq!(units(&mut inventory).await, (0, 600));
    }
}

#[tokio::test]
async fn the_same_ids_over_two_streams_get_one_reservation() {
    let server = Server::start();
    sale(&server, 4, 5).await;
    let (mut one, mut two) = (server.inventory().await, server.inventory().await);
    let (first, mut answers) = open(&mut one).await;
    let (second, mut others) = open(&mut two).await;
    for call in 0..10 {
        // Call ids are the caller's: they may even be the same.
        first
            .send(message(call / 2, reserve("hat", "ann", 1, 2)))
            .await
            .unwrap();
        second
            .send(message(call, reserve("hat", "ann", 1, 2)))
            .await
            .unwrap();
    }
    drop((first, second));
    let mut ids = Vec::new();
    for answers in [&mut answers, &mut others] {
        while let Some((_, entry)) = next(answers).await {
            assert_eq!(outcome(&entry), ReserveOutcome::Reserved);
            let Entry::Response(reply) = entry else {
                panic!("{entry:?}");
            };
            ids.push((reply.reservation.unwrap().reservation_id, reply.replayed));
        }
    }
    assert_eq!(ids.len(), 20);
    assert!(ids.iter().all(|(id, _)| *id == ids[0].0));
    assert_eq!(ids.iter().filter(|(_, replayed)| !replayed).count(), 1);
    assert_eq!(units(&mut one).await, (3, 2));
}

#[tokio::test]
async fn a_bad_message_among_good_ones_is_that_ones_error() {
    let server = Server::start();
    sale(&server, 1, 5).await;
    let mut inventory = server.inventory().await;
    let (sender, mut answers) = open(&mut inventory).await;
    let bad = v1::ReserveRequest {
        request_id: "none".to_owned(),
        ..reserve("hat", "a\tb", 1, 0)
    };
    let messages = [
        message(1, reserve("hat", "ann", 1, 1)),
        message(2, bad),
        v1::ReserveStreamRequest {
            call_id: 3,
            request: None,
        },
        message(4, reserve("gone", "ann", 1, 1)),
        message(5, reserve("hat", "ann", 1, 2)),
        message(u64::MAX, reserve("hat", "bob", 2, 1)),
    ];
    for message in messages {
        sender.send(message).await.unwrap();
    }
    drop(sender);
    let all = rest(&mut answers).await;
    assert_eq!(outcome(&all[&1]), ReserveOutcome::Reserved);
    assert_eq!(outcome(&all[&u64::MAX]), ReserveOutcome::Reserved);
    let error = |call: u64| match &all[&call] {
        Entry::Error(error) => entry_failure(error),
        Entry::Response(reply) => panic!("{reply:?}"),
    };
    // Each message is a request of its own: no prefix.
    assert_eq!(error(2).fields, ["buyer_id", "request_id", "quantity"]);
    assert_eq!(error(3).fields, ["request"]);
    assert_eq!(error(4).reason, "ITEM_NOT_FOUND");
    assert_eq!(error(5).reason, "REQUEST_ID_REUSED");
    assert_eq!(all.len(), 6);
}

/// Whatever was read of it is carried out; the same ids find it.
#[tokio::test]
async fn what_a_client_sent_before_it_vanished_is_whole() {
    for shards in SHARD_COUNTS {
        let server = Server::start();
        sale(&server, shards, 600).await;
        let mut sent = 0;
        for round in 0..20 {
            let mut inventory = server.inventory().await;
            let (sender, mut answers) = open(&mut inventory).await;
            for _ in 0..20 {
                sent += 1;
                let request = reserve("hat", &format!("buyer-{sent}"), sent, 1);
                sender.send(message(sent, request)).await.unwrap();
            }
            // Some go before any answer, some in the middle of them.
            for _ in 0..round {
                next(&mut answers).await.unwrap();
            }
        }
        let mut inventory = server.inventory().await;
        for n in 1..=sent {
            let request = reserve("hat", &format!("buyer-{n}"), n, 1);
            let reply = inventory.reserve(request).await.unwrap().into_inner();
            assert_eq!(reply.outcome(), ReserveOutcome::Reserved);
        }
        let held = i64::try_from(sent).unwrap();
        assert_eq!(units(&mut inventory).await, (600 - held, held));
        let audit = v1::AuditItemRequest {
            item_id: "hat".to_owned(),
            level: v1::AuditLevel::Records.into(),
        };
        let audit = server.admin().await.audit_item(audit).await.unwrap();
        assert_eq!(audit.get_ref().verdict(), v1::AuditVerdict::Sound);
    }
}

/// A client that sends and never reads is not read on; others are served.
#[tokio::test]
async fn a_client_that_never_reads_is_not_read_either() {
    let server = Server::start_with(|config| {
        config.workers = std::num::NonZeroUsize::MIN;
    });
    sale(&server, 1, 1_000_000).await;
    let mut inventory = server.inventory().await;
    let (sender, mut answers) = open(&mut inventory).await;
    // Its window is full of answers before all of these are taken.
    let flood = async {
        let mut n = 0;
        loop {
            n += 1;
            let request = reserve("hat", &"b".repeat(128), n, 1);
            let sent = sender.send(message(n, request));
            if tokio::time::timeout(Duration::from_secs(1), sent)
                .await
                .is_err()
            {
                break n;
            }
        }
    };
    let taken = tokio::time::timeout(PATIENCE, flood).await;
    let taken = taken.expect("it is read without end");
    // One core, and it is not this stream's alone.
    let mut other = server.inventory().await;
    let reply = other.reserve(reserve("hat", "ann", 1, 1)).await.unwrap();
    assert_eq!(reply.get_ref().outcome(), ReserveOutcome::Reserved);
    let (_, held) = units(&mut other).await;
    assert!(held <= i64::try_from(taken).unwrap(), "{held} of {taken}");
    // Once it reads, it is read.
    drop(sender);
    let all = rest(&mut answers).await;
    assert_eq!(all.len() as u64, taken - 1);
}

#[tokio::test]
async fn a_stream_has_the_callers_deadline_and_each_message_its_own_time() {
    let server = Server::start();
    sale(&server, 1, 5).await;
    let mut inventory = server.inventory().await;
    let (sender, messages) = mpsc::channel(1);
    let mut request = tonic::Request::new(ReceiverStream::new(messages));
    // The header alone: a client of tonic's keeps its own time, too.
    let timeout = "300m".parse().unwrap();
    request.metadata_mut().insert("grpc-timeout", timeout);
    let mut answers = inventory
        .reserve_stream(request)
        .await
        .unwrap()
        .into_inner();
    sender
        .send(message(1, reserve("hat", "ann", 1, 1)))
        .await
        .unwrap();
    let (_, entry) = next(&mut answers).await.unwrap();
    assert_eq!(outcome(&entry), ReserveOutcome::Reserved);
    let over = tokio::time::timeout(PATIENCE, answers.next()).await;
    let over = over.expect("it goes on").unwrap().unwrap_err();
    assert_eq!(reason(&over).0, Code::DeadlineExceeded);
}

/// What was taken in is answered, then the stream is told to go elsewhere.
#[tokio::test]
async fn a_closing_server_ends_its_streams() {
    let mut server = Server::start_with(|config| config.drain_deadline = PATIENCE);
    sale(&server, 1, 5).await;
    let mut inventory = server.inventory().await;
    let (sender, mut answers) = open(&mut inventory).await;
    sender
        .send(message(1, reserve("hat", "ann", 1, 1)))
        .await
        .unwrap();
    let (_, entry) = next(&mut answers).await.unwrap();
    assert_eq!(outcome(&entry), ReserveOutcome::Reserved);
    server.leave(Drain::AtOnce);
    let end = tokio::time::timeout(PATIENCE / 4, answers.next()).await;
    let end = end.expect("it goes on").unwrap().unwrap_err();
    assert_eq!(reason(&end), (Code::Unavailable, "DRAINING".to_owned()));
    drop((sender, answers, inventory));
    eventually("the server ends", async || server.has_ended()).await;
}
