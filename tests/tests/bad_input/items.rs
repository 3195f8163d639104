//! Items: making them, finding them, stopping their sale.

use client::Target;
use e2e::{Shop, failure, item, millis, ok};
use prost_types::{Duration, FieldMask, Timestamp};
use proto::v1::{
    CloseItemRequest, CreateItemRequest, DeleteItemRequest, Item, ItemState, ListItemsRequest,
    PauseItemRequest, ReserveOutcome, ResumeItemRequest, UpdateItemRequest,
};
use tokio::task::JoinSet;
use tonic::{Code, Response, Status};

use crate::{Row, World, row};

pub(crate) fn rows() -> Vec<Row> {
    vec![
        row(
            "create again: same `request_id` and contents as first sent (also after an update) / anything else",
            create_again,
        ),
        row(
            "create without `initial_stock`; stock negative or above 2^53−1; more than 64 shards; hold 0 or longer than a year; end not after start",
            create_badly,
        ),
        row(
            "pause, resume, close, delete twice; pause or resume a closed one",
            change_twice,
        ),
        row(
            "delete with units held, without / with `force`; reserve or update while a deletion is under way",
            delete,
        ),
    ]
}

const REQUEST: &str = "018f4e6a-3c1d-7b2a-9f00-5e8d7c6b5a49";
const TOTAL_MAX: i64 = (1 << 53) - 1;

fn request(item: Item, initial_stock: impl Into<Option<i64>>) -> CreateItemRequest {
    CreateItemRequest {
        item: Some(item),
        initial_stock: initial_stock.into(),
        request_id: REQUEST.into(),
    }
}

async fn create_again(World { shop, mut ids, .. }: World) {
    let spec = Item {
        display_name: "Sneaker".into(),
        hold_ttl: Some(millis(60_000)),
        ..item("it")
    };
    let first = request(spec.clone(), 10);
    let created = ok(shop.admin().create_item(first.clone()).await)
        .item
        .unwrap();
    assert_eq!((created.state(), created.version), (ItemState::Open, 1));
    let again = ok(shop.admin().create_item(first.clone()).await)
        .item
        .unwrap();
    assert_eq!(again, created);

    let renamed = Item {
        display_name: "Shoe".into(),
        ..spec.clone()
    };
    let longer = Item {
        hold_ttl: Some(millis(60_001)),
        ..spec.clone()
    };
    let others = [
        request(renamed, 10),
        request(longer, 10),
        request(spec, 11),
        CreateItemRequest {
            request_id: ids.request(),
            ..first.clone()
        },
    ];
    for other in others {
        let refused = failure(shop.admin().create_item(other).await);
        refused.is(Code::AlreadyExists, "ITEM_EXISTS");
        assert_eq!(refused.metadata["item_id"], "it");
    }

    // As it is now, not as it was sent.
    ok(pause(&shop, "it").await);
    ok(shop.adjust("it", 5, &ids.request()).await);
    let renamed = UpdateItemRequest {
        item: Some(Item {
            display_name: "Shoe".into(),
            ..item("it")
        }),
        update_mask: Some(FieldMask {
            paths: ["display_name", "hold_ttl", "max_hold"]
                .map(Into::into)
                .into(),
        }),
        ..UpdateItemRequest::default()
    };
    ok(shop.admin().update_item(renamed).await);
    let now = ok(shop.admin().create_item(first).await).item.unwrap();
    assert_eq!((now.state(), now.version), (ItemState::Paused, 3));
    assert_eq!(
        (&*now.display_name, now.hold_ttl),
        ("Shoe", Some(millis(300_000)))
    );
    assert_eq!(shop.units("it").await, [15, 0, 0]);
}

async fn create_badly(World { shop, .. }: World) {
    const YEAR: i64 = 365 * 24 * 60 * 60;
    let it = || item("it");
    let hold = |seconds, nanos| Item {
        hold_ttl: Some(Duration { seconds, nanos }),
        ..it()
    };
    let time = |seconds| Some(Timestamp { seconds, nanos: 0 });
    let window = |start, end| Item {
        sale_start_time: time(start),
        sale_end_time: time(end),
        ..it()
    };
    let keep = |seconds| Item {
        retention: Some(Duration { seconds, nanos: 0 }),
        ..it()
    };
    let shards = |shard_count| Item {
        shard_count,
        ..it()
    };
    let max_hold = Item {
        max_hold: Some(millis(4_999)),
        ..hold(5, 0)
    };
    let name = Item {
        display_name: "x".repeat(257),
        ..it()
    };
    let most = Item {
        max_units_per_reservation: 1_000_001,
        ..it()
    };
    let no_item = CreateItemRequest {
        item: None,
        ..request(it(), 1)
    };
    let table = [
        (request(it(), None), "initial_stock"),
        (request(it(), -1), "initial_stock"),
        (request(it(), i64::MIN), "initial_stock"),
        (request(it(), TOTAL_MAX + 1), "initial_stock"),
        (request(shards(65), 1), "item.shard_count"),
        (request(shards(u32::MAX), 1), "item.shard_count"),
        (request(hold(0, 0), 1), "item.hold_ttl"),
        (request(hold(0, 99_999_999), 1), "item.hold_ttl"),
        (request(hold(-1, 0), 1), "item.hold_ttl"),
        (request(hold(YEAR, 1_000_000), 1), "item.hold_ttl"),
        (request(hold(i64::MAX, 0), 1), "item.hold_ttl"),
        (request(max_hold, 1), "item.max_hold"),
        (request(window(2_000, 2_000), 1), "item.sale_end_time"),
        (request(window(2_000, 1_000), 1), "item.sale_end_time"),
        (request(window(i64::MAX, 1_000), 1), "item.sale_start_time"),
        (request(keep(599), 1), "item.retention"),
        (request(keep(2 * YEAR + 1), 1), "item.retention"),
        (request(name, 1), "item.display_name"),
        (request(most, 1), "item.max_units_per_reservation"),
        (no_item, "item"),
    ];
    for (bad, field) in table {
        failure(shop.admin().create_item(bad).await).names(&[field]);
    }
    // All that is broken is named at once.
    let bad = CreateItemRequest {
        request_id: String::new(),
        ..request(
            Item {
                item_id: String::new(),
                ..hold(0, 0)
            },
            None,
        )
    };
    let all = [
        "item.item_id",
        "item.hold_ttl",
        "initial_stock",
        "request_id",
    ];
    failure(shop.admin().create_item(bad).await).names(&all);
    let listed = ok(shop.admin().list_items(ListItemsRequest::default()).await);
    assert_eq!(listed.items, [], "nothing was half created");

    // The very bounds are allowed.
    let bounds = Item {
        hold_ttl: Some(Duration {
            seconds: YEAR,
            nanos: 0,
        }),
        retention: Some(Duration {
            seconds: 2 * YEAR,
            nanos: 0,
        }),
        display_name: "x".repeat(256),
        max_units_per_reservation: 1_000_000,
        shard_count: 64,
        ..it()
    };
    ok(shop.admin().create_item(request(bounds, TOTAL_MAX)).await);
    assert_eq!(shop.units("it").await, [TOTAL_MAX, 0, 0]);
}

type Changed = Result<Response<Option<Item>>, Status>;

/// The item of a reply.
fn its_item<T>(reply: Result<Response<T>, Status>, item: fn(T) -> Option<Item>) -> Changed {
    reply.map(|reply| reply.map(item))
}

async fn pause(shop: &Shop, item_id: &str) -> Changed {
    let request = PauseItemRequest {
        item_id: item_id.into(),
        reason: "a test".into(),
    };
    its_item(shop.admin().pause_item(request).await, |reply| reply.item)
}

async fn resume(shop: &Shop, item_id: &str) -> Changed {
    let request = ResumeItemRequest {
        item_id: item_id.into(),
        reason: String::new(),
    };
    its_item(shop.admin().resume_item(request).await, |reply| reply.item)
}

async fn close(shop: &Shop, item_id: &str) -> Changed {
    let request = CloseItemRequest {
        item_id: item_id.into(),
        reason: "sold elsewhere".into(),
    };
    its_item(shop.admin().close_item(request).await, |reply| reply.item)
}

async fn change_twice(World { shop, .. }: World) {
    shop.create(item("it"), 1).await;
    // What is so already stays as it is, version and all.
    let open = ok(resume(&shop, "it").await).unwrap();
    assert_eq!((open.state(), open.version), (ItemState::Open, 1));
    let paused = ok(pause(&shop, "it").await).unwrap();
    assert_eq!(
        (paused.state(), &*paused.state_reason),
        (ItemState::Paused, "a test")
    );
    assert_eq!(ok(pause(&shop, "it").await).unwrap(), paused);
    let resumed = ok(resume(&shop, "it").await).unwrap();
    assert_eq!(resumed.state(), ItemState::Open);
    assert_eq!(ok(resume(&shop, "it").await).unwrap(), resumed);
    let closed = ok(close(&shop, "it").await).unwrap();
    assert_eq!(
        (closed.state(), &*closed.state_reason),
        (ItemState::Closed, "sold elsewhere")
    );
    assert_eq!(ok(close(&shop, "it").await).unwrap(), closed);
    let versions = [&paused, &resumed, &closed].map(|item| item.version);
    assert_eq!(versions, [2, 3, 4]);

    for _ in 0..2 {
        failure(pause(&shop, "it").await).is(Code::FailedPrecondition, "ITEM_CLOSED");
        failure(resume(&shop, "it").await).is(Code::FailedPrecondition, "ITEM_CLOSED");
    }
    let long = PauseItemRequest {
        item_id: "it".into(),
        reason: "x".repeat(257),
    };
    failure(shop.admin().pause_item(long).await).names(&["reason"]);
    for _ in 0..2 {
        ok(shop.delete("it", false).await);
    }
    failure(pause(&shop, "it").await).is(Code::NotFound, "ITEM_NOT_FOUND");
}

async fn delete(World { shop, mut ids, .. }: World) {
    shop.create(item("it"), 5).await;
    let held = ids.key("it");
    let id = ok(shop.reserve(&held, 2).await)
        .reservation
        .unwrap()
        .reservation_id;
    let refused = failure(shop.delete("it", false).await);
    refused.is(Code::FailedPrecondition, "UNITS_HELD");
    assert_eq!(refused.metadata["held_units"], "2");
    // It sells on.
    ok(shop.reserve(&ids.key("it"), 1).await);
    assert_eq!(shop.units("it").await, [2, 3, 0]);
    let stale = DeleteItemRequest {
        item_id: "it".into(),
        force: true,
        expected_version: 1,
    };
    let refused = failure(shop.admin().delete_item(stale).await);
    refused.is(Code::FailedPrecondition, "VERSION_MISMATCH");
    let negative = DeleteItemRequest {
        item_id: String::new(),
        force: true,
        expected_version: -1,
    };
    failure(shop.admin().delete_item(negative).await).names(&["item_id", "expected_version"]);

    // While it goes nothing is granted; once it is gone nothing is known.
    let mut crowd = JoinSet::new();
    for _ in 0..100 {
        let (shop, key) = (shop.clone(), ids.key("it"));
        crowd.spawn(async move { shop.reserve(&key, 1).await });
    }
    let mut changes = JoinSet::new();
    for number in 0..20 {
        let shop = shop.clone();
        changes.spawn(async move { rename(&shop, "it", &format!("name {number}")).await });
    }
    ok(shop.delete("it", true).await);
    for refused in changes.join_all().await.into_iter().filter(Result::is_err) {
        let refused = failure(refused);
        if refused.code == Code::NotFound {
            refused.is(Code::NotFound, "ITEM_NOT_FOUND");
        } else {
            refused.is(Code::FailedPrecondition, "ITEM_DELETING");
        }
    }
    for reply in crowd.join_all().await {
        match reply {
            Ok(reply) => assert_ne!(reply.get_ref().outcome(), ReserveOutcome::SaleEnded),
            refused @ Err(_) => {
                let refused = failure(refused);
                if refused.code == Code::NotFound {
                    refused.is(Code::NotFound, "ITEM_NOT_FOUND");
                } else {
                    refused.is(Code::FailedPrecondition, "ITEM_DELETING");
                }
            }
        }
    }
    failure(shop.reserve(&held, 2).await).is(Code::NotFound, "ITEM_NOT_FOUND");
    // The name can be used again; it is another item.
    shop.create(item("it"), 7).await;
    assert_eq!(shop.units("it").await, [7, 0, 0]);
    let former = failure(shop.confirm(Target::Id(id)).await);
    former.is(Code::NotFound, "RESERVATION_NOT_FOUND");
    let again = ok(shop.reserve(&held, 3).await);
    assert_eq!(
        (again.outcome(), again.replayed),
        (ReserveOutcome::Reserved, false)
    );
}

async fn rename(shop: &Shop, item_id: &str, name: &str) -> Changed {
    let request = UpdateItemRequest {
        item: Some(Item {
            display_name: name.into(),
            ..item(item_id)
        }),
        update_mask: Some(FieldMask {
            paths: vec!["display_name".into()],
        }),
        ..UpdateItemRequest::default()
    };
    its_item(shop.admin().update_item(request).await, |reply| reply.item)
}
