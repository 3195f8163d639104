//! The contract's table of errors, from the domain's side.

use Code::{
    AlreadyExists, DeadlineExceeded, FailedPrecondition, Internal, InvalidArgument, NotFound,
    ResourceExhausted, Unavailable,
};
use shards::ids::{ItemId, RequestId, StripeNo};
use shards::machine::{Record, Reservation};
use shards::time::Millis;
use tonic_types::{ErrorDetail, StatusExt as _};

use super::*;

const STRIPE: StripeNo = StripeNo(7);

fn item() -> ItemId {
    ItemId::parse("sneaker").unwrap()
}

/// The error as its status: code, reason, and at least these values, in
/// exactly one `ErrorInfo`.
fn check(error: impl Into<Error>, code: Code, reason: &str, values: &[(&str, &str)]) {
    let error = error.into();
    let told = format!("{error:?}");
    let status = Status::from(Problem::from(error));
    assert_eq!(status.code(), code, "{told}");
    assert!(!status.message().is_empty(), "{told}");
    let details = status.get_error_details_vec();
    let infos = details.iter().filter_map(|detail| match detail {
        ErrorDetail::ErrorInfo(info) => Some(info),
        _ => None,
    });
    let [info] = infos.collect::<Vec<_>>()[..] else {
        panic!("{told}: not one ErrorInfo: {details:?}");
    };
    assert_eq!(info.domain, "holdfast");
    assert_eq!(info.reason, reason, "{told}");
    for (name, value) in values {
        let found = info.metadata.get(*name).map(String::as_str);
        assert_eq!(found, Some(*value), "{told}: {name}");
    }
}

#[test]
fn what_is_not_valid_not_there_or_there_already() {
    let invalid = Error::Invalid(vec![FieldError::new("quantity", "must be 1")]);
    check(invalid, InvalidArgument, "FIELD_INVALID", &[]);
    let about = [("item_id", "sneaker")];
    check(
        Error::ItemNotFound(item()),
        NotFound,
        "ITEM_NOT_FOUND",
        &about,
    );
    check(
        Error::ReservationNotFound,
        NotFound,
        "RESERVATION_NOT_FOUND",
        &[],
    );
    check(
        Error::RequestIdReused,
        AlreadyExists,
        "REQUEST_ID_REUSED",
        &[],
    );
    check(
        Error::ItemExists(item()),
        AlreadyExists,
        "ITEM_EXISTS",
        &about,
    );
}

#[test]
fn states_that_stand_in_the_way() {
    for (state, reason) in [
        (State::Held, "RESERVATION_HELD"),
        (State::Confirmed, "RESERVATION_CONFIRMED"),
        (State::Cancelled, "RESERVATION_CANCELLED"),
        (State::Expired, "RESERVATION_EXPIRED"),
        (State::Lost, "RESERVATION_LOST"),
    ] {
        let record = Record {
            state,
            quantity: 1,
            returned: 0,
            granted: Millis(0),
            until: Millis(1),
            late: false,
            sorted: false,
        };
        let receipt = Receipt {
            id: "sneaker.abc".to_owned(),
            item: item(),
            request: RequestId([1; 16]),
            reservation: Reservation {
                record,
                now: Millis(2),
                purge_at: None,
            },
        };
        let error = Error::WrongState(Box::new(receipt));
        let about = [("reservation_id", "sneaker.abc")];
        check(error, FailedPrecondition, reason, &about);
    }
    let about = [("item_id", "sneaker")];
    check(
        Error::ItemDeleting(item()),
        FailedPrecondition,
        "ITEM_DELETING",
        &about,
    );
    check(
        Error::ItemClosed(item()),
        FailedPrecondition,
        "ITEM_CLOSED",
        &about,
    );
}

#[test]
fn what_is_asked_too_much() {
    let max_hold_for_ms = 123_500;
    let about = [("max_hold_for", "123.5s")];
    let error = Error::HoldTooLong { max_hold_for_ms };
    check(error, FailedPrecondition, "HOLD_TOO_LONG", &about);
    let (available, held) = (3, 2);
    let about = [("available_units", "3"), ("held_units", "2")];
    let error = Error::NotEnoughAvailable { available, held };
    check(error, FailedPrecondition, "NOT_ENOUGH_AVAILABLE", &about);
    check(Error::StoreFull, ResourceExhausted, "STORE_FULL", &[]);
}

#[test]
fn what_the_store_could_not_do() {
    let away = StoreError::Unavailable("it is away".to_owned());
    check(away, Unavailable, "STORE_UNAVAILABLE", &[]);
    let unknown = StoreError::OutcomeUnknown("the commit failed".to_owned());
    check(unknown, Unavailable, "OUTCOME_UNKNOWN", &[]);
    let frozen = StoreError::Frozen {
        stripe: STRIPE,
        freeze_id: 0xabc,
        reason: "row 3 is missing".to_owned(),
    };
    let about = [("stripe", "7"), ("freeze_id", "0000000000000abc")];
    check(frozen, Unavailable, "DATA_LOSS_SUSPECTED", &about);
    check(StoreError::Overloaded, ResourceExhausted, "OVERLOADED", &[]);
    check(
        StoreError::DeadlineTooShort,
        DeadlineExceeded,
        "DEADLINE_TOO_SHORT",
        &[],
    );

    let lost = Error::ShardLost {
        item: item(),
        stripe: STRIPE,
    };
    let about = [("item_id", "sneaker"), ("stripe", "7")];
    check(lost, Unavailable, "DATA_LOSS_SUSPECTED", &about);
    let not_spread = Error::NotSpread {
        version: 4,
        shards_done: 1,
        shards_total: 3,
        cause: StoreError::Overloaded,
    };
    let about = [
        ("version", "4"),
        ("shards_done", "1"),
        ("shards_total", "3"),
    ];
    check(not_spread, Unavailable, "OUTCOME_UNKNOWN", &about);
    let defect = Error::Unexpected("Missing".to_owned());
    check(defect, Internal, "OUTCOME_UNKNOWN", &[]);
}

#[test]
fn an_invalid_request_names_every_field_also_from_a_batch() {
    let error = Error::Invalid(vec![
        FieldError::new("quantity", "must be 1"),
        FieldError::new("key.buyer_id", "must be set"),
    ]);
    let status = Status::from(Problem::from(in_entry(error, "requests", 3)));
    let broken = status.get_details_bad_request().unwrap().field_violations;
    let paths: Vec<_> = broken.iter().map(|v| v.field.as_str()).collect();
    assert_eq!(paths, ["requests[3].quantity", "requests[3].key.buyer_id"]);
    assert!(status.message().contains("requests[3].quantity must be 1"));
}

#[test]
fn the_shed_are_told_when_to_come_back_and_the_frozen_not_to() {
    let shed = Status::from(Problem::from(Error::Store(StoreError::Overloaded)));
    let delay = shed.get_details_retry_info().unwrap().retry_delay.unwrap();
    assert!((SHED_PAUSE..SHED_PAUSE * 2).contains(&delay), "{delay:?}");
    let pushback = shed.metadata().get(PUSHBACK).unwrap().to_str().unwrap();
    assert_eq!(pushback, delay.as_millis().to_string());

    let lost = Error::ShardLost {
        item: item(),
        stripe: STRIPE,
    };
    let frozen = Status::from(Problem::from(lost));
    assert_eq!(frozen.metadata().get(PUSHBACK).unwrap(), "-1");

    let full = Status::from(Problem::from(Error::StoreFull));
    assert!(full.metadata().get(PUSHBACK).is_none());
}

#[test]
fn a_batch_carries_what_a_call_would() {
    let status = Status::from(Problem::from(Error::ItemNotFound(item())));
    let entry = pb::Status::from(Problem::from(Error::ItemNotFound(item())));
    assert_eq!(pb::Status::decode(status.details()).unwrap(), entry);
    assert_eq!(entry.code, 5);
    assert_eq!(entry.message, status.message());
}
