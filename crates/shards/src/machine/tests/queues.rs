//! What ends by itself: on time whatever else is queued, in bounded steps, and
//! never at the price of a wrong no.

use super::super::*;
use super::fixture::{
    DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, Sale, adjust, cancel, cancel_by_key, confirm, extend,
    give_back, key, lookup, reacquire, reserve, settings,
};
use crate::ids::RecordKey;

const TTL_MS: u64 = 5 * MINUTE_MS;
const BUDGET: u32 = BATCH_STEPS_MAX;

const EXPIRE_ALL: ShardOp = ShardOp::Expire { limit: u32::MAX };
const PURGE_ALL: ShardOp = ShardOp::Purge { limit: u32::MAX };

fn swept(changed: u32, more: bool) -> ShardReply {
    ShardReply::Swept { changed, more }
}

fn states(sale: &Sale, keys: &[RecordKey]) -> Vec<State> {
    keys.iter().map(|key| sale.record(*key).state).collect()
}

/// The record as whoever asks hears of it.
#[track_caller]
fn known(sale: &mut Sale, key: RecordKey) -> Option<Record> {
    match sale.ask(lookup(key)) {
        ShardReply::Done(shown) => Some(shown.record),
        ShardReply::NotFound => None,
        other => panic!("not a lookup: {other:?}"),
    }
}

/// ⚔ Also after a restart: the extended hold is queued apart again.
#[test]
fn one_hold_extended_by_a_day_does_not_keep_others_from_expiring() {
    for restarts in [false, true] {
        let mut sale = Sale::new(
            Settings {
                max_hold_ms: 2 * DAY_MS,
                ..settings()
            },
            10,
        );
        let [long, before, after] = [key(1, 1), key(2, 1), key(3, 1)];
        sale.grant(before, 1);
        sale.grant(long, 1);
        sale.done(extend(long, DAY_MS));
        sale.wait(1);
        sale.grant(after, 1);
        if restarts {
            sale.restart();
        }
        sale.wait(TTL_MS);
        assert_eq!(sale.stock(), (9, 1, 0));
        assert_eq!(sale.ask(EXPIRE_ALL), swept(2, false));
        let [held, expired] = [State::Held, State::Expired];
        assert_eq!(
            states(&sale, &[before, long, after]),
            [expired, held, expired]
        );
        sale.wait(DAY_MS);
        assert_eq!(sale.ask(EXPIRE_ALL), swept(1, false));
        assert_eq!(sale.record(long).state, State::Expired);
    }
}

/// ⚔ Extended to less than the last one queued: in the FIFO it would be behind.
#[test]
fn an_extended_hold_expires_before_holds_that_last_longer() {
    for restarts in [false, true] {
        let mut sale = Sale::new(settings(), 10);
        let [extended, later] = [key(1, 1), key(2, 1)];
        sale.grant(extended, 2);
        sale.wait(2 * MINUTE_MS);
        sale.grant(later, 1);
        sale.wait(2 * MINUTE_MS);
        sale.done(extend(extended, 2 * MINUTE_MS));
        if restarts {
            sale.restart();
        }
        sale.wait(2 * MINUTE_MS - 1);
        assert_eq!(sale.stock(), (7, 3, 0));
        sale.wait(1);
        assert_eq!(sale.stock(), (9, 1, 0));
        assert_eq!(sale.ask(EXPIRE_ALL), swept(1, false));
        assert_eq!(sale.record(extended).state, State::Expired);
        // Twice extended, it has one entry.
        sale.done(extend(later, 2 * MINUTE_MS));
        sale.done(extend(later, 3 * MINUTE_MS));
        assert_eq!(sale.shard().queues.sorted.len(), 1);
    }
}

/// ⚔ Deadlines out of order: a shorter hold is not behind a longer one.
#[test]
fn a_shorter_hold_ttl_after_a_longer_one_counts_at_once() {
    for restarts in [false, true] {
        let mut sale = Sale::new(
            Settings {
                hold_ttl_ms: HOUR_MS,
                ..settings()
            },
            10,
        );
        let [long, short, middle] = [key(1, 1), key(1, 2), key(1, 3)];
        sale.grant(long, 1);
        sale.configure(|s| s.hold_ttl_ms = MINUTE_MS);
        sale.grant(short, 2);
        sale.configure(|s| s.hold_ttl_ms = 10 * MINUTE_MS);
        sale.grant(middle, 3);
        if restarts {
            sale.restart();
        }
        for (waits_ms, expired) in [(MINUTE_MS, 1), (9 * MINUTE_MS, 1), (50 * MINUTE_MS, 1)] {
            sale.wait(waits_ms - 1);
            assert_eq!(sale.ask(EXPIRE_ALL), swept(0, false));
            sale.wait(1);
            assert_eq!(sale.ask(EXPIRE_ALL), swept(expired, false));
        }
        assert_eq!(sale.stock(), (10, 0, 0));
    }
}

/// An expired hold ended at its deadline, whenever that was noticed; its
/// retention runs from there.
#[test]
fn an_expiry_noticed_late_is_no_later_expiry() {
    let mut sale = Sale::new(settings(), 10);
    let deadline = sale.grant(key(1, 1), 1).until;
    sale.grant(key(1, 2), 1);
    sale.wait(HOUR_MS);
    for op in [EXPIRE_ALL, lookup(key(1, 2))] {
        sale.ask(op);
    }
    for it in [key(1, 1), key(1, 2)] {
        assert_eq!(sale.record(it).until, deadline);
    }
    sale.now = deadline.plus_ms(DAY_MS - 1);
    assert!(known(&mut sale, key(1, 1)).is_some());
    sale.wait(1);
    assert_eq!(known(&mut sale, key(1, 1)), None);
    assert_eq!(sale.ask(PURGE_ALL), swept(1, false));
}

/// ⚔ 300 holds are due, a batch gives 256 back: who is short meanwhile hears
/// AGAIN, never no; asked again, they are served.
#[test]
fn more_due_than_a_batch_can_give_back_is_again_and_not_a_no() {
    let asks: [(&str, ShardOp); 5] = [
        ("Reserve", reserve(key(9, 1), 300)),
        ("adjust", adjust(1, -300)),
        ("Look", ShardOp::Look),
        ("late Confirm", reacquire(key(9, 2))),
        ("over the limit", reserve(key(1, 999), 300)),
    ];
    for (name, op) in asks {
        let limited = Settings {
            max_units_per_buyer: 300,
            ..settings()
        };
        let mut sale = Sale::new(limited, 300);
        if name == "late Confirm" {
            // Of units that 300 others took since, and lost as well.
            sale.grant(key(9, 2), 300);
            sale.wait(TTL_MS);
        }
        sale.grant_each(1, 0..300);
        sale.wait(TTL_MS);
        assert_eq!(sale.ask(op.clone()), ShardReply::Again, "{name}");
        assert_eq!(
            sale.shard().header.counters.held,
            300 - u64::from(BUDGET),
            "{name}"
        );
        match (name, sale.ask(op)) {
            ("Reserve" | "over the limit", ShardReply::Granted { replayed, .. })
            | ("adjust", ShardReply::Changed { replayed, .. }) => assert!(!replayed),
            ("late Confirm", ShardReply::Done(shown)) => assert!(shown.record.late),
            ("Look", ShardReply::Read(reading)) => assert_eq!(reading.counters.held, 0),
            (_, other) => panic!("{name}: {other:?}"),
        }
    }
}

/// Who can be served without giving anything back is.
#[test]
fn a_reserve_that_fits_does_not_wait_for_what_lapsed() {
    let mut sale = Sale::new(settings(), 310);
    sale.grant_each(1, 0..300);
    sale.wait(TTL_MS);
    sale.grant(key(2, 1), 10);
    assert_eq!(sale.shard().header.counters.held, 310);
}

/// Exactly as many as the budget: all is given back, so a no is true.
#[test]
fn a_budget_that_just_suffices_is_no_reason_to_ask_again() {
    let units = u64::from(BUDGET);
    let mut sale = Sale::new(settings(), units);
    sale.grant_each(1, 0..BUDGET);
    sale.wait(TTL_MS);
    let short = ShardReply::Short {
        wanted: u64::from(BUDGET) + 1,
        available: units,
        held: 0,
    };
    assert_eq!(sale.ask(reserve(key(2, 1), BUDGET + 1)), short);
    assert!(sale.shard().queues.expiry.is_empty());
}

/// Stale entries cost steps too: what ended otherwise is worked off in bounds.
#[test]
fn entries_of_holds_that_ended_otherwise_count_as_steps() {
    let mut sale = Sale::new(settings(), 400);
    sale.grant_each(1, 0..300);
    for request_no in 0..300 {
        sale.ask(cancel(key(1, request_no)));
    }
    sale.wait(TTL_MS);
    assert_eq!(sale.ask(EXPIRE_ALL), swept(0, true));
    assert_eq!(sale.shard().queues.expiry.len(), 300 - BUDGET as usize);
    assert_eq!(sale.ask(EXPIRE_ALL), swept(0, false));
    assert_eq!(sale.stock(), (400, 0, 0));
}

/// The sweep also drops entries at the head that are stale before they are due:
/// long holds that are soon cancelled would fill the queue.
#[test]
fn a_sweep_drops_what_ended_long_before_its_deadline() {
    let mut sale = Sale::new(
        Settings {
            hold_ttl_ms: DAY_MS,
            ..settings()
        },
        400,
    );
    sale.grant_each(1, 0..300);
    for request_no in 0..298 {
        sale.ask(cancel(key(1, request_no)));
    }
    assert_eq!(sale.ask(EXPIRE_ALL), swept(0, true));
    assert_eq!(sale.ask(EXPIRE_ALL), swept(0, false));
    assert_eq!(sale.shard().queues.expiry.len(), 2);
    sale.wait(DAY_MS);
    assert_eq!(sale.ask(EXPIRE_ALL), swept(2, false));
}

/// ⚔ The budget is the batch's, not the operation's.
#[test]
fn all_operations_of_a_batch_share_its_steps() {
    let mut sale = Sale::new(settings(), 600);
    sale.grant_each(1, 0..600);
    sale.wait(TTL_MS);
    let expire = |limit| ShardOp::Expire { limit };
    let replies = sale.batch([expire(200), expire(200), expire(1), ShardOp::Look]);
    let out_of_steps = [
        swept(200, true),
        swept(56, true),
        swept(0, true),
        ShardReply::Again,
    ];
    assert_eq!(replies, out_of_steps);
    // A record that an operation names is settled all the same.
    let mut ops = vec![EXPIRE_ALL; 2];
    ops.extend([lookup(key(1, 599)), confirm(key(1, 598)), ShardOp::Look]);
    let replies = sale.batch(ops);
    assert_eq!(replies[..2], [swept(BUDGET, true), swept(0, true)]);
    assert!(matches!(replies[2], ShardReply::Done(r) if r.record.state == State::Expired));
    assert!(matches!(replies[3], ShardReply::WrongState(r) if r.record.state == State::Expired));
    assert_eq!(replies[4], ShardReply::Again);
    assert!(matches!(sale.ask(ShardOp::Look), ShardReply::Read(_)));
    assert_eq!(sale.stock(), (600, 0, 0));
}

#[test]
fn records_are_purged_after_their_retention_in_bounded_steps() {
    let mut sale = Sale::new(settings(), 600);
    sale.grant_each(1, 0..300);
    for request_no in 0..300 {
        sale.ask(confirm(key(1, request_no)));
    }
    sale.wait(DAY_MS - 1);
    assert_eq!(sale.ask(PURGE_ALL), swept(0, false));
    sale.wait(1);
    assert_eq!(sale.ask(ShardOp::Purge { limit: 10 }), swept(10, true));
    assert_eq!(sale.ask(PURGE_ALL), swept(BUDGET, true));
    assert_eq!(sale.ask(PURGE_ALL), swept(34, false));
    assert!(sale.shard().records.is_empty());
    // What was sold stays sold, and stays the buyer's.
    assert_eq!(sale.stock(), (300, 0, 300));
    assert_eq!(sale.shard().header.counters.purged_sold, 300);
    assert_eq!(sale.shard().buyers[&key(1, 0).buyer], 300);
}

/// ⚔ What a buyer bought counts for ever: a purge is no second helping.
#[test]
fn a_purge_gives_no_buyer_another_turn() {
    let mut sale = Sale::new(
        Settings {
            max_units_per_buyer: 3,
            ..settings()
        },
        10,
    );
    let it = key(1, 1);
    sale.grant(it, 3);
    sale.ask(confirm(it));
    sale.ask(give_back(it, 1, 1));
    assert!(sale.shard().returns.contains_key(&it));
    sale.wait(DAY_MS);
    assert_eq!(known(&mut sale, it), None);
    assert_eq!(sale.ask(give_back(it, 1, 1)), ShardReply::NotFound);
    assert!(sale.shard().returns.is_empty());
    assert_eq!(sale.shard().header.counters.purged_sold, 2);
    let over = ShardReply::OverLimit { units: 2, max: 3 };
    assert_eq!(sale.ask(reserve(it, 2)), over);
    // From then on the ids are new, for any quantity.
    sale.grant(it, 1);
    assert_eq!(sale.stock(), (7, 1, 2));
}

/// A request cancelled before it arrived is remembered for 15 minutes, longer
/// than any Reserve can be under way, whatever the item's retention.
#[test]
fn what_never_arrived_is_remembered_for_a_quarter_of_an_hour() {
    for retention_ms in [10 * MINUTE_MS, DAY_MS] {
        let mut sale = Sale::new(
            Settings {
                retention_ms,
                ..settings()
            },
            10,
        );
        let it = key(1, 1);
        let ShardReply::Done(shown) = sale.ask(cancel_by_key(it)) else {
            panic!("not done")
        };
        assert_eq!(shown.purge_at, Some(sale.now.plus_ms(15 * MINUTE_MS)));
        // Repeats do not make it last.
        sale.wait(15 * MINUTE_MS - 1);
        sale.done(cancel_by_key(it));
        assert_eq!(sale.ask(PURGE_ALL), swept(0, false));
        assert!(matches!(sale.ask(reserve(it, 1)), ShardReply::Ended(_)));
        let mut swept_sale = sale.clone();
        swept_sale.wait(1);
        assert_eq!(swept_sale.ask(PURGE_ALL), swept(1, false));
        sale.wait(1);
        sale.grant(it, 1);
        swept_sale.grant(it, 1);
    }
}

/// The retention in force counts, shorter or longer than before.
#[test]
fn a_changed_retention_counts_from_the_end_of_each_record() {
    let mut sale = Sale::new(settings(), 10);
    for n in 1..=2 {
        sale.grant(key(1, n), 1);
        sale.ask(confirm(key(1, n)));
    }
    sale.configure(|s| s.retention_ms = 2 * DAY_MS);
    sale.wait(DAY_MS);
    assert_eq!(sale.ask(PURGE_ALL), swept(0, false));
    assert!(known(&mut sale, key(1, 1)).is_some());
    sale.configure(|s| s.retention_ms = HOUR_MS);
    assert_eq!(known(&mut sale, key(1, 1)), None);
    assert_eq!(sale.ask(PURGE_ALL), swept(1, false));
}

/// A record that ends anew is kept from its new end on.
#[test]
fn a_late_confirm_is_remembered_from_then_on() {
    let mut sale = Sale::new(settings(), 10);
    let it = key(1, 1);
    sale.grant(it, 2);
    sale.wait(TTL_MS + DAY_MS - 1);
    assert_eq!(sale.done(reacquire(it)), State::Confirmed);
    sale.wait(DAY_MS - 1);
    assert_eq!(sale.ask(PURGE_ALL), swept(0, false));
    assert!(known(&mut sale, it).is_some_and(|r| r.late));
    sale.wait(1);
    assert_eq!(sale.ask(PURGE_ALL), swept(1, false));
    assert_eq!(sale.stock(), (8, 0, 2));
}

/// A hold may get the very deadline of one that these ids had before. Then two
/// equal entries are queued, of which the second finds the hold ended.
#[test]
fn the_same_ids_with_the_same_deadline_again_expire_once() {
    let twenty = Settings {
        hold_ttl_ms: 20 * MINUTE_MS,
        retention_ms: 10 * MINUTE_MS,
        ..settings()
    };
    let mut sale = Sale::new(twenty, 10);
    let it = key(1, 1);
    let deadline = sale.grant(it, 1).until;
    sale.ask(cancel(it));
    sale.wait(10 * MINUTE_MS);
    assert_eq!(sale.ask(PURGE_ALL), swept(1, false));
    sale.configure(|s| s.hold_ttl_ms = 10 * MINUTE_MS);
    assert_eq!(sale.grant(it, 2).until, deadline);
    sale.wait(10 * MINUTE_MS - SECOND_MS);
    assert_eq!(sale.stock(), (8, 2, 0));
    sale.wait(SECOND_MS);
    assert_eq!(sale.ask(EXPIRE_ALL), swept(1, false));
    assert_eq!(sale.stock(), (10, 0, 0));
}
