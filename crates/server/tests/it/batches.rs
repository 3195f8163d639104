//! Many requests in one call, over one shard and over several.

use proto::v1;
use proto::v1::{
    ConfirmOutcome, ReservationState, cancel_result, confirm_result, get_reservation_result,
};
use tonic::Code;

use crate::harness::{
    SHARD_COUNTS, Server, broken_fields, cancel_by_key, create, entry_failure, key, reserve,
    sharded,
};

fn confirm(buyer: &str, number: u64) -> v1::ConfirmRequest {
    v1::ConfirmRequest {
        target: Some(v1::confirm_request::Target::Key(key("hat", buyer, number))),
        reacquire: false,
    }
}

fn get(buyer: &str, number: u64) -> v1::GetReservationRequest {
    v1::GetReservationRequest {
        target: Some(v1::get_reservation_request::Target::Key(key(
            "hat", buyer, number,
        ))),
    }
}

/// A server with an item over so many shards, and a hold of each of these
/// buyers: the first one's request has number 1, and so on.
async fn with_holds(shards: u32, buyers: &[&str]) -> Server {
    let server = Server::start();
    let mut admin = server.admin().await;
    admin
        .create_item(create(sharded("hat", shards), 20))
        .await
        .unwrap();
    let mut inventory = server.inventory().await;
    for (number, buyer) in (1..).zip(buyers) {
        let held = inventory.reserve(reserve("hat", buyer, number, 1)).await;
        assert!(held.unwrap().into_inner().reservation.is_some());
    }
    server
}

#[tokio::test]
async fn confirms_stand_each_alone_and_can_be_repeated() {
    for shards in SHARD_COUNTS {
        let server = with_holds(shards, &["ann", "bob", "cleo"]).await;
        let mut inventory = server.inventory().await;
        inventory
            .cancel(cancel_by_key("hat", "cleo", 3))
            .await
            .unwrap();
        let batch = v1::BatchConfirmRequest {
            requests: vec![
                confirm("ann", 1),
                v1::ConfirmRequest::default(),
                confirm("bob", 2),
                confirm("cleo", 3),
                confirm("dora", 4),
                confirm("ann", 1),
            ],
        };
        for _ in 0..2 {
            let reply = inventory.batch_confirm(batch.clone()).await.unwrap();
            let results = reply.into_inner().results;
            let mut confirmed = Vec::new();
            let mut refused = Vec::new();
            for (index, entry) in results.into_iter().enumerate() {
                match entry.result.unwrap() {
                    confirm_result::Result::Response(reply) => {
                        assert_eq!(reply.outcome(), ConfirmOutcome::Confirmed);
                        let reservation = reply.reservation.unwrap();
                        assert_eq!(reservation.state(), ReservationState::Confirmed);
                        confirmed.push((index, reservation.request_id));
                    }
                    confirm_result::Result::Error(error) => {
                        refused.push((index, entry_failure(&error)));
                    }
                }
            }
            let id = crate::harness::id;
            assert_eq!(confirmed, [(0, id(1)), (2, id(2)), (5, id(1))]);
            let reasons: Vec<_> = refused
                .iter()
                .map(|(at, why)| (*at, &*why.reason))
                .collect();
            assert_eq!(
                reasons,
                [
                    (1, "FIELD_INVALID"),
                    (3, "RESERVATION_CANCELLED"),
                    (4, "RESERVATION_NOT_FOUND")
                ]
            );
            assert_eq!(refused[0].1.fields, ["requests[1].target"]);
        }
    }
}

#[tokio::test]
async fn cancels_and_readings_stand_each_alone() {
    for shards in SHARD_COUNTS {
        let server = with_holds(shards, &["ann", "bob"]).await;
        let mut inventory = server.inventory().await;
        inventory
            .batch_confirm(v1::BatchConfirmRequest {
                requests: vec![confirm("bob", 2)],
            })
            .await
            .unwrap();
        let batch = v1::BatchCancelRequest {
            requests: vec![
                cancel_by_key("hat", "ann", 1),
                cancel_by_key("hat", "bob", 2),
                cancel_by_key("hat", "cleo", 3),
                cancel_by_key("gone", "ann", 1),
                cancel_by_key("hat", "a\tb", 1),
            ],
        };
        for _ in 0..2 {
            let reply = inventory.batch_cancel(batch.clone()).await.unwrap();
            let told: Vec<_> = reply
                .into_inner()
                .results
                .into_iter()
                .map(|entry| match entry.result.unwrap() {
                    cancel_result::Result::Response(reply) => {
                        let reservation = reply.reservation.unwrap();
                        assert_eq!(reservation.state(), ReservationState::Cancelled);
                        Ok(reservation.quantity)
                    }
                    cancel_result::Result::Error(error) => Err(entry_failure(&error)),
                })
                .collect();
            let [Ok(1), Err(sold), Ok(0), Err(gone), Err(bad)] = &told[..] else {
                panic!("{told:?}");
            };
            assert_eq!(sold.reason, "RESERVATION_CONFIRMED");
            assert_eq!(
                (gone.code, &*gone.reason),
                (Code::NotFound, "ITEM_NOT_FOUND")
            );
            assert_eq!(bad.fields, ["requests[4].key.buyer_id"]);
        }

        let batch = v1::BatchGetReservationsRequest {
            requests: vec![get("bob", 2), get("nobody", 9), get("ann", 1)],
        };
        let reply = inventory.batch_get_reservations(batch).await.unwrap();
        let told: Vec<_> = reply
            .into_inner()
            .results
            .into_iter()
            .map(|entry| match entry.result.unwrap() {
                get_reservation_result::Result::Response(reply) => {
                    Ok(reply.reservation.unwrap().state())
                }
                get_reservation_result::Result::Error(error) => Err(entry_failure(&error).reason),
            })
            .collect();
        assert_eq!(
            told,
            [
                Ok(ReservationState::Confirmed),
                Err("RESERVATION_NOT_FOUND".to_owned()),
                Ok(ReservationState::Cancelled)
            ]
        );
    }
}

#[tokio::test]
async fn batches_have_1_to_512_entries() {
    let server = with_holds(1, &[]).await;
    let mut inventory = server.inventory().await;
    for len in [0, 513] {
        let requests = vec![confirm("ann", 1); len];
        let refused = inventory
            .batch_confirm(v1::BatchConfirmRequest { requests })
            .await;
        assert_eq!(broken_fields(&refused.unwrap_err()), ["requests"], "{len}");
        let requests = vec![cancel_by_key("hat", "ann", 1); len];
        let refused = inventory
            .batch_cancel(v1::BatchCancelRequest { requests })
            .await;
        assert_eq!(broken_fields(&refused.unwrap_err()), ["requests"], "{len}");
        let requests = vec![get("ann", 1); len];
        let refused = inventory
            .batch_get_reservations(v1::BatchGetReservationsRequest { requests })
            .await;
        assert_eq!(broken_fields(&refused.unwrap_err()), ["requests"], "{len}");
    }
    let requests = (0..512)
        .map(|n| cancel_by_key("hat", "ann", n + 1))
        .collect();
    let all = inventory
        .batch_cancel(v1::BatchCancelRequest { requests })
        .await;
    assert_eq!(all.unwrap().into_inner().results.len(), 512);
}
