//! API.md, "After Reserve": what each operation does in each state.

use super::super::*;
use super::fixture::{
    DAY_MS, HOUR_MS, MINUTE_MS, Sale, cancel, cancel_by_key, confirm, extend, give_back, key,
    lookup, reacquire, reserve, settings,
};
use crate::ids::RecordKey;

/// In words:
/// - `CONFIRMED` it is so (OK), `!CONFIRMED` refused because of that state;
///   REACQUIRED is "confirmed late"; `later`: the deadline was moved;
/// - of a Reserve: `new` granted now, `replayed`, `ended` (`ALREADY_ENDED`);
/// - `8/2/0` available, held and sold afterwards, where they are not the row's.
///
/// Stock 10, a limit of 4, a request for 2 units. "no stock": others took all 10
/// since it expired; "over limit": the buyer took 3 others meanwhile.
const TABLE: &str = "
state            stock  | Confirm          | Confirm reacquire | Confirm probe    | Cancel by id     | Cancel by key      | Extend     | Extend too far
HELD             8/2/0  | CONFIRMED 8/0/2  | CONFIRMED 8/0/2   | CONFIRMED 8/0/2  | CANCELLED 10/0/0 | CANCELLED 10/0/0   | HELD later | HOLD_TOO_LONG
CONFIRMED        8/0/2  | CONFIRMED        | CONFIRMED         | CONFIRMED        | !CONFIRMED       | !CONFIRMED         | !CONFIRMED | !CONFIRMED
REACQUIRED       8/0/2  | REACQUIRED       | REACQUIRED        | REACQUIRED       | !REACQUIRED      | !REACQUIRED        | !REACQUIRED| !REACQUIRED
EXPIRED          10/0/0 | !EXPIRED         | REACQUIRED 8/0/2  | REACQUIRED 8/0/2 | CANCELLED        | CANCELLED          | !EXPIRED   | !EXPIRED
EXPIRED no stock 0/10/0 | !EXPIRED         | !LOST             | SHORT            | CANCELLED        | CANCELLED          | !EXPIRED   | !EXPIRED
EXPIRED over lim 7/3/0  | !EXPIRED         | !LOST             | !LOST            | CANCELLED        | CANCELLED          | !EXPIRED   | !EXPIRED
CANCELLED        10/0/0 | !CANCELLED       | !CANCELLED        | !CANCELLED       | CANCELLED        | CANCELLED          | !CANCELLED | !CANCELLED
cancelled early  10/0/0 | !CANCELLED       | !CANCELLED        | !CANCELLED       | CANCELLED        | CANCELLED          | !CANCELLED | !CANCELLED
LOST             0/10/0 | !LOST            | !LOST             | !LOST            | LOST             | LOST               | !LOST      | !LOST
unknown          10/0/0 | NOT_FOUND        | NOT_FOUND         | NOT_FOUND        | NOT_FOUND        | CANCELLED          | NOT_FOUND  | NOT_FOUND

state            stock  | ReturnUnits 1    | Return 1, discard | ReturnUnits 3    | Lookup           | Reserve again      | other quantity
HELD             8/2/0  | !HELD            | !HELD             | !HELD            | HELD             | replayed HELD      | REUSED
CONFIRMED        8/0/2  | CONFIRMED 9/0/1  | CONFIRMED         | RETURN_TOO_LARGE | CONFIRMED        | replayed CONFIRMED | REUSED
REACQUIRED       8/0/2  | REACQUIRED 9/0/1 | REACQUIRED        | RETURN_TOO_LARGE | REACQUIRED       | replayed REACQUIRED| REUSED
EXPIRED          10/0/0 | !EXPIRED         | !EXPIRED          | !EXPIRED         | EXPIRED          | ended EXPIRED      | REUSED
EXPIRED no stock 0/10/0 | !EXPIRED         | !EXPIRED          | !EXPIRED         | EXPIRED          | ended EXPIRED      | REUSED
EXPIRED over lim 7/3/0  | !EXPIRED         | !EXPIRED          | !EXPIRED         | EXPIRED          | ended EXPIRED      | REUSED
CANCELLED        10/0/0 | !CANCELLED       | !CANCELLED        | !CANCELLED       | CANCELLED        | ended CANCELLED    | REUSED
cancelled early  10/0/0 | !CANCELLED       | !CANCELLED        | !CANCELLED       | CANCELLED        | ended CANCELLED    | ended CANCELLED
LOST             0/10/0 | !LOST            | !LOST             | !LOST            | LOST             | ended LOST         | REUSED
unknown          10/0/0 | NOT_FOUND        | NOT_FOUND         | NOT_FOUND        | NOT_FOUND        | new HELD 8/2/0     | new HELD 7/3/0
";

/// The request that the table is about.
fn it() -> RecordKey {
    key(1, 1)
}

fn op(column: &str) -> ShardOp {
    let late = LateConfirm::Retake;
    match column {
        "Confirm" => confirm(it()),
        "Confirm reacquire" => reacquire(it()),
        // What a server with many shards asks before it fetches stock.
        "Confirm probe" => ShardOp::Confirm {
            key: it(),
            late,
            version: 0,
        },
        "Cancel by id" => cancel(it()),
        "Cancel by key" => cancel_by_key(it()),
        "Extend" => extend(it(), 30 * MINUTE_MS),
        "Extend too far" => extend(it(), 2 * HOUR_MS),
        "ReturnUnits 1" => give_back(it(), 5, 1),
        "Return 1, discard" => match give_back(it(), 5, 1) {
            ShardOp::Return {
                key,
                request,
                quantity,
                ..
            } => ShardOp::Return {
                key,
                request,
                quantity,
                discard: true,
            },
            other => other,
        },
        "ReturnUnits 3" => give_back(it(), 5, 3),
        "Lookup" => lookup(it()),
        "Reserve again" => reserve(it(), 2),
        "other quantity" => reserve(it(), 3),
        unknown => panic!("no column {unknown:?}"),
    }
}

/// A sale in which the request is in this state; what lapsed is unnoticed.
fn sale(state: &str) -> Sale {
    let limited = Settings {
        max_units_per_buyer: 4,
        ..settings()
    };
    let mut sale = Sale::new(limited, 10);
    let expired = |sale: &mut Sale| {
        sale.grant(it(), 2);
        sale.wait(limited.hold_ttl_ms);
    };
    let sold_out = |sale: &mut Sale| {
        for (other, units) in [(7, 4), (8, 4), (9, 2)] {
            sale.grant(key(other, 1), units);
        }
    };
    match state {
        "HELD" => {
            sale.grant(it(), 2);
            sale.wait(1);
        }
        "CONFIRMED" => {
            sale.grant(it(), 2);
            sale.ask(confirm(it()));
        }
        "REACQUIRED" => {
            expired(&mut sale);
            sale.ask(reacquire(it()));
        }
        "EXPIRED" => expired(&mut sale),
        "EXPIRED no stock" => {
            expired(&mut sale);
            sold_out(&mut sale);
        }
        "EXPIRED over lim" => {
            expired(&mut sale);
            sale.grant(key(1, 2), 3);
        }
        "CANCELLED" => {
            sale.grant(it(), 2);
            sale.ask(cancel(it()));
        }
        "cancelled early" => {
            sale.ask(cancel_by_key(it()));
        }
        "LOST" => {
            expired(&mut sale);
            sold_out(&mut sale);
            sale.ask(reacquire(it()));
        }
        "unknown" => {}
        other => panic!("no state {other:?}"),
    }
    sale
}

/// What is around the request, and must not matter to it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Around {
    Nothing,
    Swept,
    Restarted,
    Paused,
    Closed,
    Over,
    NearlyFull,
    Deleting,
}

impl Around {
    fn put(self, sale: &mut Sale) {
        match self {
            Self::Nothing => {}
            Self::Swept => {
                sale.ask(ShardOp::Expire { limit: 100 });
            }
            Self::Restarted => sale.restart(),
            Self::Paused => sale.configure(|s| s.selling = Selling::Paused),
            Self::Closed => sale.configure(|s| s.selling = Selling::Closed),
            Self::Over => {
                let now = sale.now;
                sale.configure(|s| s.sale_end = Some(now));
            }
            Self::NearlyFull => sale.full = true,
            Self::Deleting => sale.configure(|s| s.selling = Selling::Deleting),
        }
    }

    /// Where it matters after all: to what would be new, and while an item is
    /// being deleted to late confirms.
    fn instead(self, state: &str, column: &str) -> Option<&'static str> {
        let late = matches!(column, "Confirm reacquire" | "Confirm probe");
        match (self, state, column) {
            (Self::Deleting, state, _) if state.starts_with("EXPIRED") && late => Some("DELETING"),
            (Self::NearlyFull, "unknown", "Cancel by key") => Some("FULL"),
            (_, "unknown", "Reserve again" | "other quantity") => match self {
                Self::Nothing | Self::Swept | Self::Restarted => None,
                Self::Paused => Some("PAUSED"),
                Self::Closed | Self::Over => Some("SALE_ENDED"),
                Self::NearlyFull => Some("FULL"),
                Self::Deleting => Some("DELETING"),
            },
            _ => None,
        }
    }
}

fn state(record: &Record) -> &'static str {
    match record.state {
        State::Confirmed if record.late => "REACQUIRED",
        State::Held => "HELD",
        State::Confirmed => "CONFIRMED",
        State::Cancelled => "CANCELLED",
        State::Expired => "EXPIRED",
        State::Lost => "LOST",
    }
}

/// An answer in the table's words.
fn words(reply: &ShardReply, before: Option<&Record>) -> String {
    match reply {
        ShardReply::Done(shown) => {
            let later = shown.record.state == State::Held
                && before.is_some_and(|b| b.until < shown.record.until);
            format!(
                "{}{}",
                state(&shown.record),
                if later { " later" } else { "" }
            )
        }
        ShardReply::WrongState(shown) => format!("!{}", state(&shown.record)),
        ShardReply::Granted {
            reservation,
            replayed,
        } => {
            let how = if *replayed { "replayed" } else { "new" };
            format!("{how} {}", state(&reservation.record))
        }
        ShardReply::Ended(shown) => format!("ended {}", state(&shown.record)),
        ShardReply::NotFound => "NOT_FOUND".into(),
        ShardReply::Short { .. } => "SHORT".into(),
        ShardReply::HoldTooLong { .. } => "HOLD_TOO_LONG".into(),
        ShardReply::ReturnTooLarge { .. } => "RETURN_TOO_LARGE".into(),
        ShardReply::Reused => "REUSED".into(),
        ShardReply::Full => "FULL".into(),
        ShardReply::NotSelling(SaleNow::Deleting) => "DELETING".into(),
        ShardReply::NotSelling(SaleNow::Paused) => "PAUSED".into(),
        ShardReply::NotSelling(SaleNow::Ended) => "SALE_ENDED".into(),
        other => format!("{other:?}"),
    }
}

/// Every operation in every state, twice: the second time says the same (a new
/// grant is then a replay) and changes nothing at all.
fn check_table(around: Around) {
    for table in TABLE.trim().split("\n\n") {
        let rows: Vec<Vec<&str>> = table
            .lines()
            .map(|line| line.split('|').map(str::trim).collect())
            .collect();
        let (columns, rows) = rows.split_first().unwrap();
        for row in rows {
            let (in_state, stock) = row[0].rsplit_once(' ').unwrap();
            let in_state = in_state.trim_end();
            for (column, cell) in columns.iter().zip(row).skip(1) {
                let place = format!("{in_state}, {column}, {around:?}");
                let mut sale = sale(in_state);
                around.put(&mut sale);
                let show = |sale: &Sale| {
                    let (available, held, sold) = sale.stock();
                    format!("{available}/{held}/{sold}")
                };
                assert_eq!(show(&sale), stock, "{place}, before");

                let cell = around.instead(in_state, column).unwrap_or(cell);
                let (answer, stock) = match cell.rsplit_once(' ') {
                    Some((answer, stock)) if stock.contains('/') => (answer, stock),
                    _ => (cell, stock),
                };
                let before = sale.shard().records.get(&it()).copied();
                let first = words(&sale.ask(op(column)), before.as_ref());
                assert_eq!(first, answer, "{place}");
                assert_eq!(show(&sale), stock, "{place}");

                let once = sale.stripe.clone();
                let second = words(&sale.ask(op(column)), before.as_ref());
                assert_eq!(second, answer.replace("new", "replayed"), "{place}, again");
                assert_eq!(sale.stripe, once, "{place}, again");
            }
        }
    }
}

#[test]
fn each_operation_in_each_state_twice() {
    check_table(Around::Nothing);
}

/// State is what is true at the store's time, whether or not a sweeper came by.
#[test]
fn a_sweep_or_a_restart_changes_no_answer() {
    check_table(Around::Swept);
    check_table(Around::Restarted);
}

/// Confirm and its kin look neither at the window nor at a pause or close, and
/// work when the store is nearly full.
#[test]
fn window_pause_close_and_memory_stop_only_what_is_new() {
    for around in [
        Around::Paused,
        Around::Closed,
        Around::Over,
        Around::NearlyFull,
    ] {
        check_table(around);
    }
}

#[test]
fn while_an_item_is_deleted_nothing_is_granted_also_not_late() {
    check_table(Around::Deleting);
}

/// Each return once per its own request id, up to what was sold.
#[test]
fn returns_add_up_to_what_was_sold() {
    let mut sale = sale("CONFIRMED");
    let (sold, discards) = (State::Confirmed, op("Return 1, discard"));
    assert_eq!(sale.done(give_back(it(), 6, 1)), sold);
    assert_eq!(sale.done(discards.clone()), sold);
    assert_eq!(sale.stock(), (9, 0, 1));
    // The discarded unit is off sale, but no longer the buyer's.
    assert_eq!(sale.shard().buyers.len(), 0);
    assert_eq!(sale.shard().header.counters.discarded, 1);
    let nothing_left = ShardReply::ReturnTooLarge { left: 0 };
    assert_eq!(sale.ask(give_back(it(), 7, 1)), nothing_left);
    // Repeats hear what the first heard; the same id with other contents not.
    assert_eq!(sale.done(give_back(it(), 6, 1)), sold);
    assert_eq!(sale.done(discards), sold);
    assert_eq!(sale.ask(give_back(it(), 6, 2)), ShardReply::Reused);
    assert_eq!(sale.ask(give_back(it(), 5, 1)), ShardReply::Reused);
    assert_eq!(sale.stock(), (9, 0, 1));
}

/// The deadline is the later of the two, up to `max_hold` from the grant.
#[test]
fn an_extension_never_shortens_and_ends_at_max_hold() {
    let mut sale = sale("HELD");
    let granted = sale.record(it()).granted;
    assert_eq!(sale.done(extend(it(), 10)), State::Held);
    assert_eq!(sale.record(it()).until, granted.plus_ms(5 * MINUTE_MS));
    sale.wait(MINUTE_MS);
    let max_hold_for_ms = sale.now.ms_until(granted.plus_ms(HOUR_MS));
    let too_long = ShardReply::HoldTooLong { max_hold_for_ms };
    assert_eq!(sale.ask(extend(it(), max_hold_for_ms + 1)), too_long);
    assert_eq!(sale.done(extend(it(), max_hold_for_ms)), State::Held);
    assert_eq!(sale.record(it()).until, granted.plus_ms(HOUR_MS));
    // A shorter max_hold takes nothing away, and says what can be had.
    sale.configure(|s| s.max_hold_ms = 6 * MINUTE_MS);
    assert_eq!(sale.ask(extend(it(), DAY_MS)), too_long);
    assert_eq!(sale.done(extend(it(), max_hold_for_ms)), State::Held);
}

/// ⚔ A hold is held while now < deadline: both sides of that instant.
#[test]
fn a_hold_lasts_until_its_deadline_and_not_longer() {
    for (waits, stock, confirmed) in [(-1, (8, 2, 0), true), (0, (10, 0, 0), false)] {
        let mut sale = sale("HELD");
        sale.now.0 = sale.record(it()).until.0 + waits;
        assert_eq!(sale.stock(), stock);
        let reply = sale.ask(confirm(it()));
        assert_eq!(matches!(reply, ShardReply::Done(_)), confirmed, "{reply:?}");
        let deadline = sale.record(it()).until.0;
        assert_eq!(
            matches!(reply, ShardReply::WrongState(r) if r.deadline().is_some_and(|at| at.0 == deadline)),
            !confirmed
        );
    }
}
