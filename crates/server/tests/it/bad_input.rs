//! What must be refused, and how.

use proto::v1;
use tonic::Code;

use crate::harness::{Server, broken_fields, create, id, item, key, reason, reserve};

#[tokio::test]
async fn targets_are_named_by_their_paths() {
    let server = Server::start();
    let mut inventory = server.inventory().await;

    let neither = v1::ConfirmRequest::default();
    let refused = inventory.confirm(neither).await.unwrap_err();
    assert_eq!(broken_fields(&refused), ["target"]);

    let by_bad_key = v1::CancelRequest {
        target: Some(v1::cancel_request::Target::Key(v1::ReservationKey {
            buyer_id: "a\tb".to_owned(),
            request_id: "00000000-0000-0000-0000-000000000000".to_owned(),
            ..key("hat", "ann", 1)
        })),
    };
    let refused = inventory.cancel(by_bad_key).await.unwrap_err();
    assert_eq!(broken_fields(&refused), ["key.buyer_id", "key.request_id"]);

    let by_bad_id = v1::ExtendRequest {
        target: Some(v1::extend_request::Target::ReservationId("hat.abc".into())),
        hold_for: Some(prost_types::Duration {
            seconds: 0,
            nanos: 999_999,
        }),
    };
    let refused = inventory.extend(by_bad_id).await.unwrap_err();
    assert_eq!(broken_fields(&refused), ["reservation_id", "hold_for"]);
    for hold_for in [None, Some((-1, 0)), Some((0, 0)), Some((1, i32::MAX))] {
        let extend = v1::ExtendRequest {
            target: Some(v1::extend_request::Target::Key(key("hat", "ann", 1))),
            hold_for: hold_for.map(|(seconds, nanos)| prost_types::Duration { seconds, nanos }),
        };
        let refused = inventory.extend(extend).await.unwrap_err();
        assert_eq!(broken_fields(&refused), ["hold_for"], "{hold_for:?}");
    }
}

#[tokio::test]
async fn a_quantity_above_the_items_own_maximum_is_a_broken_field() {
    let server = Server::start();
    let (mut admin, mut inventory) = (server.admin().await, server.inventory().await);
    let small = v1::Item {
        max_units_per_reservation: 2,
        ..item("hat")
    };
    admin.create_item(create(small, 10)).await.unwrap();
    let refused = inventory.reserve(reserve("hat", "ann", 1, 3)).await;
    assert_eq!(broken_fields(&refused.unwrap_err()), ["quantity"]);

    let requests = vec![reserve("hat", "ann", 1, 1), reserve("hat", "ann", 2, 3)];
    let reply = inventory
        .batch_reserve(v1::BatchReserveRequest { requests })
        .await
        .unwrap();
    let Some(v1::reserve_result::Result::Error(error)) = &reply.get_ref().results[1].result else {
        panic!("{reply:?}");
    };
    assert!(error.message.contains("requests[1].quantity"), "{error:?}");
}

#[tokio::test]
async fn batches_are_bounded() {
    let server = Server::start();
    let mut inventory = server.inventory().await;
    for len in [0, 513] {
        let requests = vec![reserve("hat", "ann", 1, 1); len];
        let batch = v1::BatchReserveRequest { requests };
        let refused = inventory.batch_reserve(batch).await.unwrap_err();
        assert_eq!(broken_fields(&refused), ["requests"], "{len}");
        let batch = v1::BatchGetStockRequest {
            item_ids: vec!["hat".to_owned(); len],
            ..v1::BatchGetStockRequest::default()
        };
        let refused = inventory.batch_get_stock(batch).await.unwrap_err();
        assert_eq!(broken_fields(&refused), ["item_ids"], "{len}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let server = Server::start();
    let (mut admin, mut inventory) = (server.admin().await, server.inventory().await);
    let not_found = (Code::NotFound, "ITEM_NOT_FOUND".to_owned());
    let refused = inventory.reserve(reserve("gone", "ann", 1, 1)).await;
    assert_eq!(reason(&refused.unwrap_err()), not_found);
    let get = v1::GetItemRequest {
        item_id: "gone".to_owned(),
    };
    assert_eq!(reason(&admin.get_item(get).await.unwrap_err()), not_found);
    let pause = v1::PauseItemRequest {
        item_id: "gone".to_owned(),
        ..v1::PauseItemRequest::default()
    };
    assert_eq!(
        reason(&admin.pause_item(pause).await.unwrap_err()),
        not_found
    );
    let list = v1::ListItemsRequest {
        page_token: "elsewhere".to_owned(),
        ..v1::ListItemsRequest::default()
    };
    let refused = admin.list_items(list).await.unwrap_err();
    assert_eq!(broken_fields(&refused), ["page_token"]);
}

/// Pinned: tonic's own words, without an `ErrorInfo` of ours.
#[tokio::test]
async fn a_message_that_is_none_is_refused_and_the_server_lives() {
    let server = Server::start();
    let channel = server.channel().await;
    // Field 1 is item_id, field 2 buyer_id, which must be UTF-8.
    let not_utf8 = prost_types::Any {
        type_url: "hat".to_owned(),
        value: vec![0xff],
    };
    let mut raw = tonic::client::Grpc::new(channel.clone());
    raw.ready().await.unwrap();
    let path = "/holdfast.inventory.v1.InventoryService/Reserve";
    let codec = tonic_prost::ProstCodec::<prost_types::Any, v1::ReserveResponse>::default();
    let refused = raw
        .unary(tonic::Request::new(not_utf8), path.parse().unwrap(), codec)
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::Internal);
    let mut inventory = server.inventory().await;
    let alive = inventory.reserve(reserve("gone", "ann", 1, 1)).await;
    assert_eq!(alive.unwrap_err().code(), Code::NotFound);
}

/// Pinned: tonic's own words, without an `ErrorInfo` of ours.
#[tokio::test]
async fn a_message_above_1_mib_is_refused_and_the_server_lives() {
    let server = Server::start();
    let mut inventory = server.inventory().await;
    let huge = v1::ReserveRequest {
        item_id: "x".repeat(1 << 20),
        ..v1::ReserveRequest::default()
    };
    let refused = inventory.reserve(huge).await.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange);
    let alive = inventory.reserve(reserve("gone", "ann", 1, 1)).await;
    assert_eq!(alive.unwrap_err().code(), Code::NotFound);
    // The id's own bound is far below: that one is ours.
    let long = v1::ReserveRequest {
        item_id: "x".repeat(129),
        request_id: id(1),
        buyer_id: "ann".to_owned(),
        quantity: 1,
        first_attempt: false,
    };
    let refused = inventory.reserve(long).await.unwrap_err();
    assert_eq!(broken_fields(&refused), ["item_id"]);
}
