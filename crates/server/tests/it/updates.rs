//! `UpdateItem`, over one shard and over several.

use prost_types::{Duration, FieldMask, Timestamp};
use proto::v1;
use proto::v1::{ItemState, ReserveOutcome};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::harness::{
    Admin, SHARD_COUNTS, Server, broken_fields, create, item, reason, reserve, sharded,
};

fn update(item: v1::Item, paths: &[&str]) -> v1::UpdateItemRequest {
    v1::UpdateItemRequest {
        item: Some(item),
        update_mask: Some(FieldMask {
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        }),
        expected_version: 0,
        reason: "a test".to_owned(),
    }
}

async fn send(admin: &mut Admin, request: v1::UpdateItemRequest) -> Result<v1::Item, Status> {
    let reply = admin.update_item(request).await?;
    Ok(reply.into_inner().item.unwrap())
}

fn seconds(seconds: i64) -> Duration {
    Duration { seconds, nanos: 0 }
}

#[tokio::test]
async fn what_the_mask_names_changes_and_nothing_else() {
    for shards in SHARD_COUNTS {
        let server = Server::start();
        let (mut admin, mut inventory) = (server.admin().await, server.inventory().await);
        let limited = v1::Item {
            max_units_per_buyer: 1,
            display_name: "Hat".to_owned(),
            ..sharded("hat", shards)
        };
        admin.create_item(create(limited, 20)).await.unwrap();
        let held = inventory.reserve(reserve("hat", "ann", 1, 1)).await;
        let held = held.unwrap().into_inner().reservation.unwrap();

        let wishes = v1::Item {
            display_name: "not named".to_owned(),
            hold_ttl: Some(seconds(60)),
            max_units_per_buyer: 3,
            max_units_per_reservation: 2,
            retention: Some(seconds(3_600)),
            ..item("hat")
        };
        let paths = [
            "hold_ttl",
            "max_hold",
            "max_units_per_buyer",
            "max_units_per_reservation",
            "retention",
        ];
        let changed = send(&mut admin, update(wishes, &paths)).await.unwrap();
        assert_eq!(changed.version, 2);
        assert_eq!(changed.display_name, "Hat");
        assert_eq!(changed.hold_ttl, Some(seconds(60)));
        // Unset in the item: four times hold_ttl again.
        assert_eq!(changed.max_hold, Some(seconds(240)));
        assert_eq!(changed.max_units_per_buyer, 3);
        assert_eq!(changed.retention, Some(seconds(3_600)));
        let get = v1::GetItemRequest {
            item_id: "hat".to_owned(),
        };
        let read = admin.get_item(get).await.unwrap().into_inner();
        assert_eq!(read.item.unwrap(), changed);

        // Every shard works by it; what was held keeps its deadline.
        let refused = inventory.reserve(reserve("hat", "bob", 2, 3)).await;
        assert_eq!(broken_fields(&refused.unwrap_err()), ["quantity"]);
        for number in 2..8 {
            let buyer = format!("buyer-{number}");
            let granted = inventory.reserve(reserve("hat", &buyer, number, 2)).await;
            let granted = granted.unwrap().into_inner().reservation.unwrap();
            assert!(granted.remaining.unwrap().seconds <= 60);
        }
        let again = inventory.reserve(reserve("hat", "ann", 1, 1)).await;
        let again = again.unwrap().into_inner().reservation.unwrap();
        assert_eq!(again.expire_time, held.expire_time);
        let more = inventory.reserve(reserve("hat", "ann", 9, 2)).await;
        assert_eq!(
            more.unwrap().into_inner().outcome(),
            ReserveOutcome::Reserved
        );
    }
}

#[tokio::test]
async fn a_stale_version_is_told_and_a_repeat_of_an_applied_change_is_not_stale() {
    for shards in SHARD_COUNTS {
        let server = Server::start();
        let mut admin = server.admin().await;
        admin
            .create_item(create(sharded("hat", shards), 1))
            .await
            .unwrap();
        let named = |name: &str, expected_version| v1::UpdateItemRequest {
            expected_version,
            ..update(
                v1::Item {
                    display_name: name.to_owned(),
                    ..item("hat")
                },
                &["display_name"],
            )
        };
        for _ in 0..3 {
            let changed = send(&mut admin, named("Hat", 1)).await.unwrap();
            assert_eq!((changed.version, &*changed.display_name), (2, "Hat"));
        }
        for stale in [named("Cap", 1), named("Hat", 3), named("Hat", i64::MAX)] {
            let refused = send(&mut admin, stale).await.unwrap_err();
            let expected = (Code::FailedPrecondition, "VERSION_MISMATCH".to_owned());
            assert_eq!(reason(&refused), expected);
            let info = refused.get_details_error_info().unwrap();
            assert_eq!(info.metadata["version"], "2");
        }
        // What changes nothing makes no new version.
        assert_eq!(send(&mut admin, named("Hat", 0)).await.unwrap().version, 2);
        assert_eq!(send(&mut admin, named("Cap", 2)).await.unwrap().version, 3);
        // By now it is two versions on.
        let refused = send(&mut admin, named("Hat", 1)).await.unwrap_err();
        assert_eq!(reason(&refused).1, "VERSION_MISMATCH");
    }
}

#[tokio::test]
async fn masks_and_values_that_do_not_fit_are_named() {
    let server = Server::start();
    let mut admin = server.admin().await;
    admin.create_item(create(item("hat"), 1)).await.unwrap();
    for update_mask in [None, Some(FieldMask::default())] {
        let request = v1::UpdateItemRequest {
            update_mask,
            ..update(item("hat"), &[])
        };
        let refused = send(&mut admin, request).await.unwrap_err();
        assert_eq!(broken_fields(&refused), ["update_mask"]);
    }
    for path in [
        "stock",
        "shard_count",
        "sell_at_once",
        "*",
        "",
        "item_id",
        "state",
        "version",
        "create_time",
        "update_time",
        "state_reason",
        "holdTtl",
        "hold_ttl.seconds",
        "item.hold_ttl",
        "initial_stock",
    ] {
        let request = update(item("hat"), &["display_name", path]);
        let refused = send(&mut admin, request).await.unwrap_err();
        assert_eq!(broken_fields(&refused), ["update_mask.paths[1]"], "{path}");
    }
    let all_wrong = v1::UpdateItemRequest {
        expected_version: -1,
        reason: "x".repeat(257),
        ..update(
            v1::Item {
                item_id: "a b".to_owned(),
                hold_ttl: Some(seconds(0)),
                max_units_per_reservation: 1_000_001,
                // Not named, so nobody looks.
                retention: Some(seconds(-1)),
                ..v1::Item::default()
            },
            &["hold_ttl", "stock", "max_units_per_reservation"],
        )
    };
    let refused = send(&mut admin, all_wrong).await.unwrap_err();
    let mut broken = broken_fields(&refused);
    broken.sort();
    assert_eq!(
        broken,
        [
            "expected_version",
            "item.hold_ttl",
            "item.item_id",
            "item.max_units_per_reservation",
            "reason",
            "update_mask.paths[1]"
        ]
    );
    let no_item = v1::UpdateItemRequest {
        item: None,
        ..update(item("hat"), &["hold_ttl"])
    };
    let refused = send(&mut admin, no_item).await.unwrap_err();
    assert_eq!(broken_fields(&refused), ["item"]);

    // Together with what the item has: named is what was to change.
    let late = Some(Timestamp {
        seconds: 4_000_000_000,
        nanos: 0,
    });
    let window = v1::Item {
        hold_ttl: Some(seconds(1_201)),
        sale_end_time: late,
        ..item("hat")
    };
    let refused = send(&mut admin, update(window.clone(), &["hold_ttl"])).await;
    assert_eq!(broken_fields(&refused.unwrap_err()), ["item.hold_ttl"]);
    send(&mut admin, update(window, &["sale_end_time"]))
        .await
        .unwrap();
    let start = v1::Item {
        sale_start_time: late,
        ..item("hat")
    };
    let refused = send(&mut admin, update(start, &["sale_start_time"])).await;
    assert_eq!(
        broken_fields(&refused.unwrap_err()),
        ["item.sale_start_time"]
    );
    let refused = send(&mut admin, update(item("gone"), &["hold_ttl"])).await;
    assert_eq!(
        reason(&refused.unwrap_err()),
        (Code::NotFound, "ITEM_NOT_FOUND".to_owned())
    );
}

#[tokio::test]
async fn a_limit_needs_a_count_from_the_beginning_and_a_closed_item_may_change() {
    let server = Server::start();
    let (mut admin, mut inventory) = (server.admin().await, server.inventory().await);
    admin.create_item(create(item("hat"), 9)).await.unwrap();
    let limit = |max_units_per_buyer| {
        let item = v1::Item {
            max_units_per_buyer,
            ..item("hat")
        };
        update(item, &["max_units_per_buyer"])
    };
    let refused = send(&mut admin, limit(2)).await.unwrap_err();
    let expected = (Code::FailedPrecondition, "LIMIT_NOT_TRACKED".to_owned());
    assert_eq!(reason(&refused), expected);
    assert_eq!(send(&mut admin, limit(0)).await.unwrap().version, 1);

    let close = v1::CloseItemRequest {
        item_id: "hat".to_owned(),
        reason: "over".to_owned(),
    };
    admin.close_item(close).await.unwrap();
    let later = v1::Item {
        retention: Some(seconds(86_400 * 30)),
        ..item("hat")
    };
    let changed = send(&mut admin, update(later, &["retention"]))
        .await
        .unwrap();
    assert_eq!(changed.state(), ItemState::Closed);
    assert_eq!(changed.state_reason, "over");
    let ended = inventory.reserve(reserve("hat", "ann", 1, 1)).await;
    assert_eq!(
        ended.unwrap().into_inner().outcome(),
        ReserveOutcome::SaleEnded
    );
}
