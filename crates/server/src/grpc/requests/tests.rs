//! Each request with all its broken fields.

use prost_types::{Duration, Timestamp};

use super::*;

const ID: &str = "018f4e6a-3c1d-7b2a-9f00-5e8d7c6b5a49";

/// The paths that a request is refused for; empty if it is taken.
fn broken<T>(checked: Result<T, Error>) -> Vec<String> {
    match checked {
        Ok(_) => Vec::new(),
        Err(Error::Invalid(fields)) => fields.into_iter().map(|f| f.field).collect(),
        Err(other) => panic!("not about fields: {other}"),
    }
}

fn seconds(seconds: i64) -> Duration {
    Duration { seconds, nanos: 0 }
}

#[test]
fn a_reserve_names_all_its_broken_fields() {
    let nothing = v1::ReserveRequest::default();
    assert_eq!(
        broken(reserve(&nothing)),
        ["item_id", "buyer_id", "request_id", "quantity"]
    );
    let good = v1::ReserveRequest {
        item_id: "sneaker".to_owned(),
        buyer_id: "zoë".to_owned(),
        request_id: ID.to_uppercase(),
        quantity: 1_000_000,
        first_attempt: true,
    };
    assert!(broken(reserve(&good)).is_empty());
    let much = v1::ReserveRequest {
        quantity: u32::MAX,
        ..good
    };
    assert_eq!(broken(reserve(&much)), ["quantity"]);
}

fn item() -> v1::Item {
    v1::Item {
        item_id: "sneaker".to_owned(),
        ..v1::Item::default()
    }
}

fn create(item: v1::Item) -> v1::CreateItemRequest {
    v1::CreateItemRequest {
        item: Some(item),
        initial_stock: Some(0),
        request_id: ID.to_owned(),
    }
}

#[test]
fn a_create_names_what_is_unset() {
    let nothing = v1::CreateItemRequest::default();
    assert_eq!(
        broken(create_item(&nothing)),
        ["request_id", "initial_stock", "item"]
    );
    assert!(broken(create_item(&create(item()))).is_empty());
}

#[test]
fn a_create_names_broken_terms_beside_broken_wire_values() {
    let request = v1::CreateItemRequest {
        initial_stock: Some(-1),
        ..create(v1::Item {
            item_id: "no spaces".to_owned(),
            display_name: "x".repeat(257),
            shard_count: 65,
            hold_ttl: Some(seconds(0)),
            max_hold: Some(seconds(-1)),
            max_units_per_reservation: 1_000_001,
            sale_start_time: Some(Timestamp {
                seconds: 2,
                nanos: -1,
            }),
            retention: Some(seconds(1)),
            ..item()
        })
    };
    let mut paths = broken(create_item(&request));
    paths.sort();
    assert_eq!(
        paths,
        [
            "initial_stock",
            "item.display_name",
            "item.hold_ttl",
            "item.item_id",
            "item.max_hold",
            "item.max_units_per_reservation",
            "item.retention",
            "item.sale_start_time",
            "item.shard_count",
        ]
    );
}

#[test]
fn one_broken_field_is_blamed_once() {
    let broken_ttl = create(v1::Item {
        hold_ttl: Some(seconds(-5)),
        max_hold: Some(seconds(10)),
        ..item()
    });
    assert_eq!(broken(create_item(&broken_ttl)), ["item.hold_ttl"]);
    let too_much = v1::CreateItemRequest {
        initial_stock: Some(1 << 53),
        ..create(item())
    };
    assert_eq!(broken(create_item(&too_much)), ["initial_stock"]);
    let most = v1::CreateItemRequest {
        initial_stock: Some((1 << 53) - 1),
        ..create(item())
    };
    assert!(broken(create_item(&most)).is_empty());
}

#[test]
fn stock_readings_check_their_enums_and_their_number() {
    let one = |consistency, view| v1::GetStockRequest {
        item_id: "sneaker".to_owned(),
        consistency,
        view,
    };
    assert!(broken(get_stock(&one(0, 0))).is_empty());
    assert_eq!(broken(get_stock(&one(99, -1))), ["consistency", "view"]);
    let many = |len: usize, consistency: v1::StockConsistency| {
        broken(batch_get_stock(&v1::BatchGetStockRequest {
            item_ids: vec!["sneaker".to_owned(); len],
            consistency: consistency.into(),
            view: 0,
        }))
    };
    let (cached, strong) = (v1::StockConsistency::Cached, v1::StockConsistency::Strong);
    assert_eq!(many(0, cached), ["item_ids"]);
    assert!(many(256, cached).is_empty());
    assert_eq!(many(257, cached), ["item_ids"]);
    assert!(many(16, strong).is_empty());
    assert_eq!(many(17, strong), ["item_ids"]);
    assert_eq!(broken(stock_entry(3, "a b")), ["item_ids[3]"]);
}

#[test]
fn batches_have_1_to_512_entries() {
    assert_eq!(broken(batch(0)), ["requests"]);
    assert!(broken(batch(512)).is_empty());
    assert_eq!(broken(batch(513)), ["requests"]);
}

#[test]
fn listings_clamp_large_pages_and_refuse_negative_ones() {
    let list = |page_size, states: &[i32]| {
        list_items(&v1::ListItemsRequest {
            page_size,
            states: states.to_vec(),
            ..v1::ListItemsRequest::default()
        })
    };
    assert_eq!(list(i32::MAX, &[]).unwrap().page_size, 1_000);
    assert_eq!(list(0, &[1, 2]).unwrap().states.len(), 2);
    assert_eq!(
        broken(list(-1, &[1, 0, 99])),
        ["page_size", "states[1]", "states[2]"]
    );
}

#[test]
fn changes_by_operators_are_checked() {
    let adjust = v1::AdjustStockRequest {
        reason: "x".repeat(257),
        ..v1::AdjustStockRequest::default()
    };
    assert_eq!(
        broken(adjust_stock(&adjust)),
        ["item_id", "delta", "request_id", "reason"]
    );
    assert_eq!(
        broken(change_of_state("", &"x".repeat(257))),
        ["item_id", "reason"]
    );
    let audit = v1::AuditItemRequest {
        item_id: String::new(),
        level: 3,
    };
    assert_eq!(broken(audit_item(&audit)), ["item_id", "level"]);
}
