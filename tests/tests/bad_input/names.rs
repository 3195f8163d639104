//! Ids and quantities that break their rules, on every rpc that takes them.

use client::Target;
use e2e::{Failure, Shop, failure, item, millis, ok};
use proto::v1::reserve_result::Result as ReserveEntry;
use proto::v1::stock_result::Result as StockEntry;
use proto::v1::{
    AdjustStockRequest, AuditItemRequest, BatchGetStockRequest, BatchReserveRequest,
    CloseItemRequest, CreateItemRequest, GetItemRequest, GetStockRequest, Item, PauseItemRequest,
    ReservationKey, ReserveOutcome, ReserveRequest, ResumeItemRequest,
};
use tonic::Code;

use crate::{Row, World, row};

pub(crate) fn rows() -> Vec<Row> {
    vec![
        row(
            "empty `item_id`; longer than 128; with `{`, `}`, space, NUL, control or non-ASCII characters",
            item_ids,
        ),
        row("unknown item", unknown_item),
        row(
            "`quantity` 0; above the item's or the service's maximum; 2^32−1",
            quantities,
        ),
        row("empty `buyer_id`; 129 bytes; control characters", buyer_ids),
        row(
            "empty or malformed `request_id`; nil UUID; braces, urn form, without hyphens; upper case",
            request_ids,
        ),
    ]
}

/// A Reserve that would succeed on item `it`.
fn good() -> ReserveRequest {
    ReserveRequest {
        item_id: "it".into(),
        buyer_id: "ada".into(),
        request_id: "018f4e6a-3c1d-7b2a-9f00-5e8d7c6b5a49".into(),
        quantity: 1,
        first_attempt: false,
    }
}

fn key(request: ReserveRequest) -> ReservationKey {
    ReservationKey {
        item_id: request.item_id,
        buyer_id: request.buyer_id,
        request_id: request.request_id,
    }
}

/// What every rpc that takes an item says of this id, with the path by which
/// it names it.
async fn ask_about(shop: &Shop, item_id: &str) -> Vec<(&'static str, Failure)> {
    let id = || item_id.to_owned();
    let by_key = || {
        Target::Key(ReservationKey {
            item_id: id(),
            ..key(good())
        })
    };
    let reserve = ReserveRequest {
        item_id: id(),
        ..good()
    };
    let get_stock = GetStockRequest {
        item_id: id(),
        ..GetStockRequest::default()
    };
    let audit = AuditItemRequest {
        item_id: id(),
        level: 0,
    };
    let adjust = AdjustStockRequest {
        item_id: id(),
        delta: 1,
        request_id: good().request_id,
        ..AdjustStockRequest::default()
    };
    let (item_id, reason) = (id(), String::new());
    let pause = PauseItemRequest { item_id, reason };
    let (item_id, reason) = (id(), String::new());
    let resume = ResumeItemRequest { item_id, reason };
    let (item_id, reason) = (id(), String::new());
    let close = CloseItemRequest { item_id, reason };
    let (mut inventory, mut admin) = (shop.inventory(), shop.admin());
    vec![
        ("item_id", failure(inventory.reserve(reserve).await)),
        ("item_id", failure(inventory.get_stock(get_stock).await)),
        (
            "item_id",
            failure(admin.get_item(GetItemRequest { item_id: id() }).await),
        ),
        ("item_id", failure(admin.adjust_stock(adjust).await)),
        ("item_id", failure(admin.pause_item(pause).await)),
        ("item_id", failure(admin.resume_item(resume).await)),
        ("item_id", failure(admin.close_item(close).await)),
        ("item_id", failure(admin.audit_item(audit).await)),
        ("key.item_id", failure(shop.confirm(by_key()).await)),
        ("key.item_id", failure(shop.reacquire(by_key()).await)),
        ("key.item_id", failure(shop.cancel(by_key()).await)),
        (
            "key.item_id",
            failure(shop.extend(by_key(), millis(1_000)).await),
        ),
        ("key.item_id", failure(shop.reservation(by_key()).await)),
        ("requests[1].item_id", in_a_batch(shop, id()).await),
        ("item_ids[1]", in_a_stock_batch(shop, id()).await),
    ]
}

/// A Reserve of this item between two good ones, which must succeed.
async fn in_a_batch(shop: &Shop, item_id: String) -> Failure {
    let bad = ReserveRequest { item_id, ..good() };
    let requests = vec![good(), bad, good()];
    let reply = shop
        .inventory()
        .batch_reserve(BatchReserveRequest { requests })
        .await;
    let reply = ok(reply).results;
    let [
        Some(ReserveEntry::Response(before)),
        Some(ReserveEntry::Error(status)),
        Some(ReserveEntry::Response(after)),
    ] = [0, 1, 2].map(|at| reply[at].result.as_ref())
    else {
        panic!("not as asked: {reply:?}");
    };
    for good in [before, after] {
        assert_eq!(good.outcome(), ReserveOutcome::Reserved);
    }
    Failure::from(status)
}

/// A stock reading of this item between two good ones, which must succeed.
async fn in_a_stock_batch(shop: &Shop, item_id: String) -> Failure {
    let request = BatchGetStockRequest {
        item_ids: vec!["it".into(), item_id.clone(), "it".into()],
        ..BatchGetStockRequest::default()
    };
    let results = ok(shop.inventory().batch_get_stock(request).await).results;
    assert_eq!(results[1].item_id, item_id);
    let [
        Some(StockEntry::Stock(_)),
        Some(StockEntry::Error(status)),
        Some(StockEntry::Stock(_)),
    ] = [0, 1, 2].map(|at| results[at].result.as_ref())
    else {
        panic!("not as asked: {results:?}");
    };
    Failure::from(status)
}

async fn item_ids(World { shop, .. }: World) {
    shop.create(item("it"), 10).await;
    let long = "x".repeat(129);
    for bad in [
        "", &long, "a{b", "a}b", "a b", "a\0b", "a\nb", "a\u{7f}", "süß", "a/b",
    ] {
        for (field, failure) in ask_about(&shop, bad).await {
            failure.names(&[field]);
        }
        let create = CreateItemRequest {
            item: Some(item(bad)),
            initial_stock: Some(1),
            request_id: good().request_id,
        };
        failure(shop.admin().create_item(create).await).names(&["item.item_id"]);
    }
    // The longest that is allowed is.
    shop.create(item(&"x".repeat(128)), 1).await;
    assert_eq!(shop.units("it").await, [9, 1, 0]);
}

async fn unknown_item(World { shop, .. }: World) {
    shop.create(item("it"), 10).await;
    for (_, failure) in ask_about(&shop, "nothing").await {
        failure.is(Code::NotFound, "ITEM_NOT_FOUND");
    }
    for _ in 0..1_000 {
        let request = ReserveRequest {
            item_id: "nothing".into(),
            ..good()
        };
        let failure = failure(shop.inventory().reserve(request).await);
        failure.is(Code::NotFound, "ITEM_NOT_FOUND");
        assert_eq!(failure.metadata["item_id"], "nothing");
    }
    for force in [false, true] {
        ok(shop.delete("nothing", force).await);
    }
    // Not there a thousand times does not mean that it can never be.
    shop.create(item("nothing"), 1).await;
    assert_eq!(shop.units("nothing").await, [1, 0, 0]);
}

async fn quantities(World { shop, .. }: World) {
    let small = Item {
        max_units_per_reservation: 3,
        ..item("small")
    };
    shop.create(item("it"), 5_000_000).await;
    shop.create(small, 100).await;
    for (item_id, quantity) in [
        ("it", 0),
        ("it", 1_000_001),
        ("it", u32::MAX),
        ("small", 0),
        ("small", 4),
        ("small", u32::MAX),
    ] {
        let request = ReserveRequest {
            item_id: item_id.into(),
            quantity,
            ..good()
        };
        failure(shop.inventory().reserve(request).await).names(&["quantity"]);
    }
    for item_id in ["it", "small"] {
        let [_, held, sold] = shop.units(item_id).await;
        assert_eq!([held, sold], [0, 0]);
    }
    for (item_id, quantity) in [("it", 1_000_000), ("small", 3)] {
        let request = ReserveRequest {
            item_id: item_id.into(),
            quantity,
            ..good()
        };
        let reply = ok(shop.inventory().reserve(request).await);
        assert_eq!(reply.outcome(), ReserveOutcome::Reserved);
    }
    // All that is broken is named at once.
    let request = ReserveRequest::default();
    let all = ["item_id", "buyer_id", "request_id", "quantity"];
    failure(shop.inventory().reserve(request).await).names(&all);
}

async fn buyer_ids(World { shop, .. }: World) {
    shop.create(item("it"), 10).await;
    let (long, wide) = ("x".repeat(129), "ü".repeat(65));
    for bad in ["", &long, &wide, "a\0", "a\tb", "a\n", "\u{7f}", "a\u{85}b"] {
        let request = ReserveRequest {
            buyer_id: bad.into(),
            ..good()
        };
        failure(shop.inventory().reserve(request.clone()).await).names(&["buyer_id"]);
        let by_key = Target::Key(key(request));
        failure(shop.cancel(by_key).await).names(&["key.buyer_id"]);
    }
    assert_eq!(shop.units("it").await, [10, 0, 0]);
    for (good_one, held) in [("Zoë, guest {7}", 1), (&long[..128], 2), ("\u{200d}", 3)] {
        let request = ReserveRequest {
            buyer_id: good_one.into(),
            ..good()
        };
        ok(shop.inventory().reserve(request).await);
        assert_eq!(shop.units("it").await, [10 - held, held, 0]);
    }
}

async fn request_ids(World { shop, .. }: World) {
    shop.create(item("it"), 10).await;
    let plain = good().request_id;
    let bad = [
        String::new(),
        "1".into(),
        "00000000-0000-0000-0000-000000000000".into(),
        format!("{{{plain}}}"),
        format!("urn:uuid:{plain}"),
        plain.replace('-', ""),
        format!("{plain} "),
        plain.replace('f', "g"),
        plain.replace('-', "_"),
    ];
    for bad in bad {
        let request = ReserveRequest {
            request_id: bad.clone(),
            ..good()
        };
        failure(shop.inventory().reserve(request.clone()).await).names(&["request_id"]);
        let by_key = Target::Key(key(request));
        failure(shop.reservation(by_key).await).names(&["key.request_id"]);
        failure(shop.adjust("it", 1, &bad).await).names(&["request_id"]);
        let create = CreateItemRequest {
            item: Some(item("other")),
            initial_stock: Some(1),
            request_id: bad,
        };
        failure(shop.admin().create_item(create).await).names(&["request_id"]);
    }
    let first = ok(shop.inventory().reserve(good()).await);
    let upper = ReserveRequest {
        request_id: plain.to_uppercase(),
        ..good()
    };
    let again = ok(shop.inventory().reserve(upper).await);
    assert!(again.replayed);
    let id = |reply: proto::v1::ReserveResponse| reply.reservation.unwrap().reservation_id;
    assert_eq!(id(first), id(again));
    assert_eq!(shop.units("it").await, [9, 1, 0]);
}
