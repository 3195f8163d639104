//! Reserve: the order of its checks, and where each begins and ends.

use super::super::*;
use super::fixture::{
    Sale, T0, adjust, cancel, cancel_by_key, confirm, give_back, key, reserve, settings,
};
use crate::ids::Quantity;

/// The record of these ids, state and window, the item's maximum, the buyer's
/// limit, the stock: of all that stands in the way the first is told.
#[test]
fn what_stands_in_the_way_is_told_in_this_order() {
    let mut sale = Sale::new(settings(), 2);
    let mine = key(1, 1);
    sale.grant(mine, 1);
    let ask = |version| ShardOp::Reserve {
        key: key(1, 2),
        quantity: Quantity::new(5).unwrap(),
        version,
    };
    sale.configure(|s| {
        s.selling = Selling::Paused;
        s.max_units_per_reservation = 4;
        s.max_units_per_buyer = 3;
    });
    sale.full = true;
    let replayed = sale.ask(reserve(mine, 1));
    assert!(matches!(
        replayed,
        ShardReply::Granted { replayed: true, .. }
    ));
    assert_eq!(sale.ask(reserve(mine, 5)), ShardReply::Reused);
    assert_eq!(sale.ask(ask(3)), ShardReply::OldSettings { version: 2 });
    assert_eq!(sale.ask(ask(2)), ShardReply::NotSelling(SaleNow::Paused));
    sale.configure(|s| s.selling = Selling::Open);
    assert_eq!(sale.ask(ask(2)), ShardReply::TooMany { max: 4 });
    sale.configure(|s| s.max_units_per_reservation = 5);
    assert_eq!(sale.ask(ask(2)), ShardReply::OverLimit { units: 1, max: 3 });
    sale.configure(|s| s.max_units_per_buyer = 6);
    assert_eq!(
        sale.ask(ask(2)),
        ShardReply::Short {
            wanted: 5,
            available: 1,
            held: 1
        }
    );
    sale.full = false;
    sale.ask(adjust(1, 4));
    sale.full = true;
    assert_eq!(sale.ask(ask(2)), ShardReply::Full);
    // None of the refusals left a trace of the request.
    assert_eq!(sale.shard().records.len(), 1);
    sale.full = false;
    assert!(matches!(
        sale.ask(ask(2)),
        ShardReply::Granted {
            replayed: false,
            ..
        }
    ));
}

/// A server that knows newer settings hears so where they decide; of what is
/// decided it hears.
#[test]
fn older_settings_stop_only_what_is_decided_by_them() {
    let mut sale = Sale::new(settings(), 10);
    let old = ShardReply::OldSettings { version: 1 };
    let confirm_knowing = |key, late| ShardOp::Confirm {
        key,
        late,
        version: 2,
    };
    let change_knowing = |op| match op {
        ShardOp::Change {
            request,
            change,
            gathered,
            ..
        } => ShardOp::Change {
            request,
            change,
            gathered,
            version: 2,
        },
        other => other,
    };
    sale.ask(adjust(1, 5));
    for n in 1..=3 {
        sale.grant(key(1, n), 1);
    }
    let [held, expired, gone] = [1, 2, 3].map(|n| key(1, n));
    for late in [LateConfirm::RetakeOrLose, LateConfirm::Refuse] {
        assert_eq!(sale.done(confirm_knowing(held, late)), State::Confirmed);
    }
    sale.ask(cancel(gone));
    sale.wait(settings().hold_ttl_ms);
    for late in [LateConfirm::Retake, LateConfirm::RetakeOrLose] {
        assert_eq!(sale.ask(confirm_knowing(expired, late)), old);
        let reply = sale.ask(confirm_knowing(gone, late));
        assert!(matches!(reply, ShardReply::WrongState(_)), "{reply:?}");
        let reply = sale.ask(confirm_knowing(key(9, 9), late));
        assert_eq!(reply, ShardReply::NotFound);
    }
    let reply = sale.ask(confirm_knowing(expired, LateConfirm::Refuse));
    assert!(matches!(reply, ShardReply::WrongState(_)), "{reply:?}");
    // Of changes: a new one, but no repeat, and no other use of its id.
    assert_eq!(sale.ask(change_knowing(adjust(2, 1))), old);
    assert!(matches!(
        sale.ask(change_knowing(adjust(1, 5))),
        ShardReply::Changed { replayed: true, .. }
    ));
    assert_eq!(sale.ask(change_knowing(adjust(1, 6))), ShardReply::Reused);
    // Configured, it decides.
    sale.configure(|s| s.max_units_per_buyer = 5);
    let late = LateConfirm::Retake;
    assert_eq!(sale.done(confirm_knowing(expired, late)), State::Confirmed);
    assert!(matches!(
        sale.ask(change_knowing(adjust(2, 1))),
        ShardReply::Changed { .. }
    ));
}

#[test]
fn all_or_nothing_down_to_the_last_unit() {
    let mut sale = Sale::new(settings(), 5);
    assert_eq!(
        sale.ask(reserve(key(1, 1), 6)),
        ShardReply::Short {
            wanted: 6,
            available: 5,
            held: 0
        }
    );
    sale.grant(key(2, 1), 5);
    assert_eq!(
        sale.ask(reserve(key(1, 1), 1)),
        ShardReply::Short {
            wanted: 1,
            available: 0,
            held: 5
        }
    );
    assert_eq!(sale.stock(), (0, 5, 0));
}

#[test]
fn the_limit_counts_what_is_held_and_bought_and_not_given_back() {
    let mut sale = Sale::new(
        Settings {
            max_units_per_buyer: 4,
            ..settings()
        },
        100,
    );
    sale.grant(key(1, 1), 2);
    sale.grant(key(1, 2), 2);
    let over = |units| ShardReply::OverLimit { units, max: 4 };
    assert_eq!(sale.ask(reserve(key(1, 3), 1)), over(4));
    // Another buyer's equal request id is another request.
    sale.grant(key(2, 1), 4);
    sale.ask(confirm(key(1, 1)));
    assert_eq!(sale.ask(reserve(key(1, 3), 1)), over(4));
    sale.ask(cancel(key(1, 2)));
    assert_eq!(sale.ask(reserve(key(1, 3), 3)), over(2));
    sale.grant(key(1, 3), 2);
    sale.ask(give_back(key(1, 1), 1, 1));
    sale.grant(key(1, 4), 1);
    // A lapsed hold is nobody's, noticed or not.
    sale.wait(settings().hold_ttl_ms);
    assert_eq!(sale.ask(reserve(key(1, 5), 4)), over(1));
    sale.grant(key(1, 5), 3);
    // A limit that is lowered takes nothing away; 0 is none.
    sale.configure(|s| s.max_units_per_buyer = 2);
    assert_eq!(
        sale.ask(reserve(key(1, 6), 1)),
        ShardReply::OverLimit { units: 4, max: 2 }
    );
    sale.configure(|s| s.max_units_per_buyer = 0);
    sale.grant(key(1, 6), 50);
}

/// ⚔ Counted from the first grant on, or a limit set in the middle of a sale
/// would give those who bought before it as much again.
#[test]
fn a_limit_set_later_counts_what_was_bought_before() {
    let mut sale = Sale::new(settings(), 100);
    sale.grant(key(1, 1), 2);
    sale.ask(confirm(key(1, 1)));
    sale.grant(key(1, 2), 1);
    sale.configure(|s| s.max_units_per_buyer = 3);
    let over = ShardReply::OverLimit { units: 3, max: 3 };
    assert_eq!(sale.ask(reserve(key(1, 3), 1)), over);
    sale.ask(cancel(key(1, 2)));
    sale.grant(key(1, 3), 1);
}

#[test]
fn an_item_that_never_counted_its_buyers_has_no_limit() {
    let uncounted = Settings {
        counts_buyers: false,
        max_units_per_buyer: 1,
        ..settings()
    };
    let mut sale = Sale::new(uncounted, 10);
    sale.grant(key(1, 1), 5);
    sale.grant(key(1, 2), 5);
    assert!(sale.shard().buyers.is_empty());
}

#[test]
fn sold_at_once_is_sold() {
    let mut sale = Sale::new(
        Settings {
            sell_at_once: true,
            ..settings()
        },
        10,
    );
    let record = sale.grant(key(1, 1), 3);
    assert_eq!((record.state, record.until), (State::Confirmed, T0));
    assert_eq!(sale.stock(), (7, 0, 3));
    assert_eq!(sale.done(confirm(key(1, 1))), State::Confirmed);
    sale.wait(settings().hold_ttl_ms * 2);
    assert_eq!(sale.stock(), (7, 0, 3));
}

/// The window includes its start and excludes its end.
#[test]
fn the_window_is_half_open() {
    let (start, end) = (T0.plus_ms(100), T0.plus_ms(200));
    let window = Settings {
        sale_start: Some(start),
        sale_end: Some(end),
        ..settings()
    };
    let not_started = SaleNow::NotStarted { sale_start: start };
    for (at, expected) in [
        (0, not_started),
        (99, not_started),
        (100, SaleNow::On),
        (199, SaleNow::On),
        (200, SaleNow::Ended),
    ] {
        assert_eq!(window.sale_at(T0.plus_ms(at)), expected, "at {at}");
        let mut sale = Sale::new(window, 10);
        sale.wait(at);
        match sale.ask(reserve(key(1, 1), 1)) {
            ShardReply::Granted { .. } => assert_eq!(expected, SaleNow::On),
            reply => assert_eq!(reply, ShardReply::NotSelling(expected), "at {at}"),
        }
    }
}

/// What is final is told first: nobody waits for the start of a closed sale.
#[test]
fn of_several_reasons_the_most_final_is_told() {
    let told = |selling, start: i64, end: i64| {
        let (start, end) = (T0.0 + start, T0.0 + end);
        let window = Settings {
            selling,
            sale_start: Some(crate::time::Millis(start)),
            sale_end: Some(crate::time::Millis(end)),
            ..settings()
        };
        window.sale_at(T0)
    };
    assert_eq!(told(Selling::Deleting, 10, -10), SaleNow::Deleting);
    assert_eq!(told(Selling::Closed, 10, 20), SaleNow::Ended);
    assert_eq!(told(Selling::Paused, -20, -10), SaleNow::Ended);
    assert_eq!(told(Selling::Paused, 10, 20), SaleNow::Paused);
    assert!(matches!(
        told(Selling::Open, 10, 20),
        SaleNow::NotStarted { .. }
    ));
    assert_eq!(told(Selling::Open, -10, 20), SaleNow::On);
}

/// ⚔ Cancelled before it arrived: refused whenever it arrives, for any quantity.
#[test]
fn a_request_cancelled_early_is_never_granted() {
    let mut sale = Sale::new(settings(), 10);
    assert_eq!(sale.done(cancel_by_key(key(1, 1))), State::Cancelled);
    for quantity in [1, 7] {
        let reply = sale.ask(reserve(key(1, 1), quantity));
        assert!(
            matches!(reply, ShardReply::Ended(r) if r.record.quantity == 0),
            "{reply:?}"
        );
    }
    assert_eq!(sale.stock(), (10, 0, 0));
    // Their other requests, and others' of that id, are not meant.
    sale.grant(key(1, 2), 1);
    sale.grant(key(2, 1), 1);
}
