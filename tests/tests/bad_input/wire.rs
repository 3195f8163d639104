//! What is wrong below the messages, and callers that do not wait.

use client::Target;
use e2e::{Failure, Http2, Shop, failure, item, ok, raw_unary};
use prost::Message;
use proto::v1::{BatchReserveRequest, ReserveOutcome, ReserveRequest};
use tokio::task::{JoinSet, yield_now};
use tonic::metadata::MetadataValue;
use tonic::{Code, Request};

use crate::{Row, World, row};

pub(crate) fn rows() -> Vec<Row> {
    vec![
        row("malformed protobuf; invalid UTF-8 in a string", malformed),
        row("message above 1 MiB", too_large),
        row("unknown method; unsupported compression", unknown_method),
        row("deadline already over or shorter than the queue", no_time),
        row("caller gone after the operation was queued", caller_gone),
    ]
}

const RESERVE: &str = "/holdfast.inventory.v1.InventoryService/Reserve";
const MIB: usize = 1 << 20;

async fn malformed(World { shop, mut ids, .. }: World) {
    shop.create(item("it"), 1).await;
    let good = Shop::request(&ids.key("it"), 1).encode_to_vec();
    let mut not_utf8 = good.clone();
    let at = good.windows(2).position(|two| two == b"it").unwrap();
    not_utf8[at] = 0xff;
    let mut junk = vec![0; 64];
    junk.fill_with(|| u8::try_from(ids.between(128..256)).unwrap());
    for bytes in [
        good[..good.len() - 1].to_vec(),
        not_utf8,
        junk,
        vec![0x0a, 0xff],
    ] {
        let status = raw_unary(shop.wire(), RESERVE, Request::new(bytes))
            .await
            .unwrap_err();
        assert_eq!(status.code(), Code::Internal, "{status:?}");
    }
    // Nothing was done, and well-formed bytes are served.
    assert_eq!(shop.units("it").await, [1, 0, 0]);
    raw_unary(shop.wire(), RESERVE, Request::new(good))
        .await
        .unwrap();
    assert_eq!(shop.units("it").await, [0, 1, 0]);
}

async fn too_large(World { shop, mut ids, .. }: World) {
    shop.create(item("it"), 1).await;
    let of_size = |size: usize, key: proto::v1::ReservationKey| {
        let mut request = Shop::request(&key, 1);
        request.buyer_id = "x".repeat(size / 2);
        let others = request.encoded_len() - request.buyer_id.len();
        request.buyer_id = "x".repeat(size - others);
        assert_eq!(request.encoded_len(), size);
        request
    };
    // Not too large to be read: it is the field that is wrong.
    let largest = of_size(MIB, ids.key("it"));
    failure(shop.inventory().reserve(largest).await).names(&["buyer_id"]);
    for size in [MIB + 1, 4 * MIB] {
        let status = shop
            .inventory()
            .reserve(of_size(size, ids.key("it")))
            .await
            .unwrap_err();
        assert_eq!(status.code(), Code::OutOfRange, "{status:?}");
    }
    assert_eq!(shop.units("it").await, [1, 0, 0]);
}

async fn unknown_method(World { shop, mut ids, .. }: World) {
    shop.create(item("it"), 1).await;
    let good = Shop::request(&ids.key("it"), 1).encode_to_vec();
    for path in [
        "/holdfast.inventory.v1.InventoryService/Steal",
        "/holdfast.inventory.v1.NoService/Reserve",
        "/holdfast.inventory.v2.InventoryService/Reserve",
        "/Reserve",
    ] {
        let status = raw_unary(shop.wire(), path, Request::new(good.clone()))
            .await
            .unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented, "{path}: {status:?}");
    }
    for encoding in ["gzip", "deflate", "snappy", "nonsense"] {
        let mut request = Request::new(good.clone());
        let encoding = MetadataValue::try_from(encoding).unwrap();
        request.metadata_mut().insert("grpc-encoding", encoding);
        let status = raw_unary(shop.wire(), RESERVE, request).await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented, "{status:?}");
    }
    assert_eq!(shop.units("it").await, [1, 0, 0]);
}

async fn no_time(
    World {
        server,
        shop,
        mut ids,
        ..
    }: World,
) {
    shop.create(item("it"), 1_000).await;
    let caller = Http2::connect(server.address()).await;
    for timeout in ["0n", "1n", "999u", "0S"] {
        let request = Shop::request(&ids.key("it"), 1);
        let reply = caller
            .send(RESERVE, &request, &[("grpc-timeout", timeout)])
            .await;
        let status = Http2::status(reply).await;
        Failure::from(&status).is(Code::DeadlineExceeded, "DEADLINE_TOO_SHORT");
    }
    assert_eq!(shop.units("it").await, [1_000, 0, 0]);

    // Some are in time, some are not, and some nobody knows of; but what was
    // not sent to the store was not done.
    let mut calls = JoinSet::new();
    let keys: Vec<_> = (0..200).map(|_| ids.key("it")).collect();
    for (number, key) in keys.iter().enumerate() {
        let request = Shop::request(key, 1);
        let timeout = format!("{}m", 1 + number % 4);
        let reply = caller
            .send(RESERVE, &request, &[("grpc-timeout", &timeout)])
            .await;
        calls.spawn(async move { (number, Http2::status(reply).await) });
    }
    for (number, status) in calls.join_all().await {
        let key = keys[number].clone();
        match status.code() {
            Code::Ok => drop(ok(shop.reservation(Target::Key(key)).await)),
            Code::DeadlineExceeded => {
                let refused = Failure::from(&status);
                if refused.reasons == ["DEADLINE_TOO_SHORT"] {
                    let nothing = failure(shop.reservation(Target::Key(key)).await);
                    nothing.is(Code::NotFound, "RESERVATION_NOT_FOUND");
                }
            }
            _ => panic!("{status:?}"),
        }
    }
    shop.assert_sound("it").await;
}

async fn caller_gone(
    World {
        server,
        shop,
        mut ids,
        ..
    }: World,
) {
    const CALLS: u32 = 100;
    shop.create(item("it"), 1_000).await;
    let mut requests: Vec<ReserveRequest> = Vec::new();
    for number in 0..CALLS {
        let caller = Http2::connect(server.address()).await;
        let request = Shop::request(&ids.key("it"), 1);
        let reply = caller.send(RESERVE, &request, &[]).await;
        for _ in 0..ids.between(0..30) {
            yield_now().await;
        }
        // One ends its call, the next one vanishes with its connection.
        if number % 2 == 0 {
            drop(reply);
            yield_now().await;
        }
        drop(caller);
        requests.push(request);
    }
    // Whatever came of them: the same ids find it, or do it now.
    let batch = BatchReserveRequest { requests };
    for _ in 0..2 {
        for result in ok(shop.inventory().batch_reserve(batch.clone()).await).results {
            match result.result {
                Some(proto::v1::reserve_result::Result::Response(reply)) => {
                    assert_eq!(reply.outcome(), ReserveOutcome::Reserved);
                }
                other => panic!("{other:?}"),
            }
        }
        let held = i64::from(CALLS);
        assert_eq!(shop.units("it").await, [1_000 - held, held, 0]);
    }
    shop.assert_sound("it").await;
}
