//! The ledger: every change once, and only what is free can be taken.

use super::super::*;
use super::fixture::{Sale, adjust, key, request, reserve, settings};
use crate::ids::{ShardKey, ShardNo, TOTAL_MAX};

fn partly(request_no: u32, delta: i64) -> ShardOp {
    let change = StockChange::Adjust {
        delta,
        allow_partial: true,
    };
    ShardOp::Change {
        request: request(request_no),
        change,
        gathered: true,
        version: 0,
    }
}

fn set_total(request_no: u32, expected: u64, total: u64) -> ShardOp {
    let change = StockChange::SetTotal { total, expected };
    ShardOp::Change {
        request: request(request_no),
        change,
        gathered: true,
        version: 0,
    }
}

/// What was applied, and whether it was a repeat.
#[track_caller]
fn changed(reply: ShardReply) -> (i64, bool) {
    match reply {
        ShardReply::Changed {
            applied, replayed, ..
        } => (applied, replayed),
        other => panic!("not changed: {other:?}"),
    }
}

/// 10 units, 4 of them held.
fn sale() -> Sale {
    let mut sale = Sale::new(settings(), 10);
    sale.grant(key(1, 1), 4);
    sale
}

#[test]
fn a_change_is_made_once_per_request_id() {
    let mut sale = sale();
    assert_eq!(changed(sale.ask(adjust(1, 5))), (5, false));
    assert_eq!(changed(sale.ask(adjust(2, -3))), (-3, false));
    let once = sale.stripe.clone();
    assert_eq!(changed(sale.ask(adjust(1, 5))), (5, true));
    assert_eq!(changed(sale.ask(adjust(2, -3))), (-3, true));
    for other in [adjust(1, 6), partly(1, 5), set_total(1, 12, 15)] {
        assert_eq!(sale.ask(other), ShardReply::Reused);
    }
    assert_eq!(sale.stripe, once);
    assert_eq!(sale.stock(), (8, 4, 0));
    assert_eq!(sale.shard().header.counters.supply, Some(12));
    assert_eq!(sale.shard().header.counters.gained, 15);
}

#[test]
fn only_free_units_are_taken_all_or_with_allow_partial_what_there_is() {
    let mut sale = sale();
    let short = |wanted| ShardReply::Short {
        wanted,
        available: 6,
        held: 4,
    };
    assert_eq!(sale.ask(adjust(1, -7)), short(7));
    assert_eq!(sale.ask(adjust(1, i64::MIN)), short(1 << 63));
    // A refusal is not recorded: the same id may succeed later, also with
    // other contents.
    assert_eq!(changed(sale.ask(partly(1, -7))), (-6, false));
    assert_eq!(sale.stock(), (0, 4, 0));
    assert_eq!(changed(sale.ask(partly(2, -1))), (0, false));
    // A repeat hears what was done then, whatever is free now.
    sale.ask(adjust(3, 5));
    assert_eq!(changed(sale.ask(partly(1, -7))), (-6, true));
    assert_eq!(changed(sale.ask(partly(2, -1))), (0, true));
    assert_eq!(changed(sale.ask(partly(4, i64::MIN))), (-5, false));
}

/// Before there is nothing more to bring here, taking what there is would take
/// less than there is.
#[test]
fn a_partial_change_that_is_not_gathered_is_short() {
    let mut sale = sale();
    let ungathered = |request_no, delta, allow_partial| ShardOp::Change {
        request: request(request_no),
        change: StockChange::Adjust {
            delta,
            allow_partial,
        },
        gathered: false,
        version: 0,
    };
    let short = ShardReply::Short {
        wanted: 7,
        available: 6,
        held: 4,
    };
    for allow_partial in [true, false] {
        assert_eq!(sale.ask(ungathered(1, -7, allow_partial)), short);
    }
    assert!(sale.shard().adjustments.is_empty());
    assert_eq!(changed(sale.ask(partly(1, -7))), (-6, false));
    // Done is done, and what fits need not be gathered.
    assert_eq!(changed(sale.ask(ungathered(1, -7, true))), (-6, true));
    assert_eq!(changed(sale.ask(ungathered(2, 3, true))), (3, false));
    assert_eq!(changed(sale.ask(ungathered(3, -3, false))), (-3, false));
}

#[test]
fn units_of_lapsed_holds_are_free_to_be_taken() {
    let mut sale = sale();
    sale.wait(settings().hold_ttl_ms);
    assert_eq!(changed(sale.ask(adjust(1, -10))), (-10, false));
    assert_eq!(sale.stock(), (0, 0, 0));
}

#[test]
fn the_total_is_compared_and_set() {
    let mut sale = sale();
    assert_eq!(
        sale.ask(set_total(1, 9, 20)),
        ShardReply::TotalMismatch { total: 10 }
    );
    assert_eq!(changed(sale.ask(set_total(1, 10, 20))), (10, false));
    assert_eq!(changed(sale.ask(set_total(1, 10, 20))), (10, true));
    assert_eq!(
        sale.ask(set_total(2, 20, 3)),
        ShardReply::Short {
            wanted: 17,
            available: 16,
            held: 4
        }
    );
    assert_eq!(changed(sale.ask(set_total(2, 20, 4))), (-16, false));
    assert_eq!(sale.stock(), (0, 4, 0));
    assert_eq!(changed(sale.ask(set_total(3, 4, 4))), (0, false));
}

#[test]
fn no_total_is_beyond_what_json_keeps_exact() {
    let mut sale = sale();
    let too_large = ShardReply::TotalTooLarge { total: 10 };
    let room = (TOTAL_MAX - 10).cast_signed();
    assert_eq!(sale.ask(adjust(1, room + 1)), too_large);
    assert_eq!(sale.ask(adjust(1, i64::MAX)), too_large);
    assert_eq!(sale.ask(set_total(1, 10, TOTAL_MAX + 1)), too_large);
    assert_eq!(sale.ask(set_total(1, 10, u64::MAX)), too_large);
    assert_eq!(changed(sale.ask(adjust(1, room))), (room, false));
    assert_eq!(sale.stock(), (TOTAL_MAX - 4, 4, 0));
}

/// `gained` is compared with an earlier value of itself only, so it wraps
/// where Lua's numbers end, and `available` does not mind.
#[test]
fn what_was_gained_wraps_where_numbers_end() {
    let mut sale = Sale::new(settings(), 0);
    let all = TOTAL_MAX.cast_signed();
    assert_eq!(changed(sale.ask(adjust(1, all))), (all, false));
    assert_eq!(changed(sale.ask(adjust(2, -all))), (-all, false));
    assert_eq!(changed(sale.ask(adjust(3, 5))), (5, false));
    assert_eq!(sale.shard().header.counters.gained, 4);
    assert_eq!(sale.stock(), (5, 0, 0));
}

#[test]
fn a_nearly_full_store_changes_no_stock_but_knows_its_changes() {
    let mut sale = sale();
    sale.ask(adjust(1, 5));
    sale.full = true;
    for op in [adjust(2, 5), adjust(2, -5), set_total(2, 15, 16)] {
        assert_eq!(sale.ask(op), ShardReply::Full);
    }
    assert_eq!(changed(sale.ask(adjust(1, 5))), (5, true));
}

#[test]
fn stock_changes_while_paused_or_closed_but_not_while_deleted() {
    let mut sale = sale();
    sale.configure(|s| s.selling = Selling::Paused);
    assert_eq!(changed(sale.ask(adjust(1, 1))), (1, false));
    sale.configure(|s| s.selling = Selling::Closed);
    assert_eq!(changed(sale.ask(adjust(2, 1))), (1, false));
    sale.configure(|s| s.selling = Selling::Deleting);
    assert_eq!(
        sale.ask(adjust(3, 1)),
        ShardReply::NotSelling(SaleNow::Deleting)
    );
    assert_eq!(changed(sale.ask(adjust(1, 1))), (1, true));
}

/// Stock enters at the ledger alone.
#[test]
fn another_shard_is_no_ledger() {
    let mut sale = sale();
    sale.key = ShardKey {
        shard: ShardNo(1),
        ..sale.key.clone()
    };
    let create = ShardOp::Create {
        settings: settings(),
        version: 1,
        supply: None,
    };
    assert_eq!(sale.ask(create), ShardReply::Created);
    assert_eq!(sale.ask(adjust(1, 1)), ShardReply::Missing);
    assert_eq!(
        sale.ask(reserve(key(1, 1), 1)),
        ShardReply::Short {
            wanted: 1,
            available: 0,
            held: 0
        }
    );
}
