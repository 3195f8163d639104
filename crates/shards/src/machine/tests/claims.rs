//! Claims: of two requests that want each other's units one gets them, and none
//! keeps them for longer than it waits.

use super::super::*;
use super::fixture::{
    Sale, adjust, cancel, cancel_by_key, confirm, credit, give_back, key, lend, lend_for, lent,
    lookup, reacquire, request, reserve, settings,
};
use crate::ids::RecordKey;
use crate::time::Millis;

const TTL_MS: u64 = 300_000;

fn buyer(key: RecordKey) -> Claimant {
    Claimant::Buyer(key)
}

fn claim(claimant: Claimant) -> ShardOp {
    ShardOp::Claim { claimant }
}

fn unclaim(claimant: Claimant) -> ShardOp {
    ShardOp::Unclaim { claimant }
}

#[track_caller]
fn since(reply: ShardReply) -> Millis {
    match reply {
        ShardReply::Claimed { since } => since,
        other => panic!("not claimed: {other:?}"),
    }
}

/// Whether the shard keeps its units from a shard without a claim. Asked of a
/// copy.
fn is_claimed(sale: &Sale) -> bool {
    let mut copy = sale.clone();
    loop {
        match copy.ask(lend(9, 0, 0)) {
            ShardReply::Again => {}
            ShardReply::Lent { .. } => return false,
            ShardReply::ClaimedByOlder => return true,
            other => panic!("not a lend: {other:?}"),
        }
    }
}

/// ⚔ Shard 3 lends while its own claim is open: to whom?
#[test]
fn a_claimed_shard_lends_to_older_claims_only_and_to_lower_shards_of_the_same_age() {
    let mut sale = Sale::on_shards(settings(), &[0, 0, 0, 10, 0]);
    sale.at(3);
    let mine = since(sale.ask(claim(buyer(key(1, 1)))));
    let at = |off| Some(Millis(mine.0 + off));
    for (theirs, to, lends) in [
        (None, 2, false),
        (None, 4, false),
        (at(-1), 2, true),
        (at(-1), 4, true),
        (at(0), 2, true),
        (at(0), 4, false),
        (at(1), 2, false),
        (at(1), 4, false),
    ] {
        let mut sale = sale.clone();
        let reply = sale.ask(lend_for(theirs, to, 2, 0));
        let expected = if lends {
            lent(2, 2)
        } else {
            ShardReply::ClaimedByOlder
        };
        assert_eq!(reply, expected, "{theirs:?} of shard {to}");
    }
}

/// What is under way is not kept back: it is no longer this shard's.
#[test]
fn a_claim_keeps_back_nothing_that_was_sent_before() {
    let mut sale = Sale::on_shards(settings(), &[10, 0]);
    sale.ask(lend(1, 3, 0));
    sale.ask(claim(buyer(key(1, 1))));
    assert_eq!(sale.ask(lend(1, 3, 0)), lent(3, 0));
    assert_eq!(sale.ask(lend(1, 3, 3)), ShardReply::ClaimedByOlder);
}

/// Whoever is at home there buys as before; the claim is about lending.
#[test]
fn a_claim_keeps_no_buyer_of_its_own_shard_away() {
    let mut sale = Sale::new(settings(), 3);
    sale.ask(claim(buyer(key(1, 1))));
    sale.grant(key(2, 1), 3);
    assert!(is_claimed(&sale));
}

#[test]
fn the_oldest_claim_stays_and_others_hear_its_age() {
    let mut sale = Sale::new(settings(), 3);
    let first = since(sale.ask(claim(buyer(key(1, 1)))));
    assert_eq!(first, sale.now);
    sale.wait(100);
    // Equal numbers of a buyer and of an operator are two claimants.
    let others = [
        buyer(key(1, 2)),
        buyer(key(2, 1)),
        Claimant::Operator(request(1)),
    ];
    for other in others {
        assert_eq!(since(sale.ask(claim(other))), first);
        assert_eq!(sale.ask(unclaim(other)), ShardReply::Unclaimed);
        assert!(is_claimed(&sale));
    }
    // That they asked has not made it last.
    sale.wait(400);
    assert!(!is_claimed(&sale));
    assert_eq!(since(sale.ask(claim(others[2]))), sale.now);
}

/// ⚔ Its server may be gone.
#[test]
fn a_claim_that_nobody_renews_ends_after_half_a_second() {
    let mut sale = Sale::new(settings(), 3);
    sale.ask(claim(buyer(key(1, 1))));
    sale.wait(499);
    assert!(is_claimed(&sale));
    sale.wait(1);
    assert!(!is_claimed(&sale));
    // Whoever claims then is the first.
    let other = since(sale.ask(claim(buyer(key(2, 1)))));
    assert_eq!(other, sale.now);
    assert_eq!(since(sale.ask(claim(buyer(key(1, 1))))), other);
}

#[test]
fn a_renewed_claim_lasts_and_is_as_old_as_before() {
    let mut sale = Sale::new(settings(), 3);
    let it = buyer(key(1, 1));
    let first = since(sale.ask(claim(it)));
    for _ in 0..3 {
        sale.wait(499);
        assert_eq!(since(sale.ask(claim(it))), first);
    }
    sale.wait(499);
    assert!(is_claimed(&sale));
    sale.wait(1);
    // Too late to be renewed: it is a new one.
    assert_eq!(since(sale.ask(claim(it))), sale.now);
}

#[test]
fn who_waits_no_longer_takes_back_its_own_claim_only() {
    let mut sale = Sale::new(settings(), 3);
    let it = buyer(key(1, 1));
    sale.ask(claim(it));
    let claimed = sale.stripe.clone();
    assert_eq!(sale.ask(unclaim(buyer(key(1, 2)))), ShardReply::Unclaimed);
    assert_eq!(sale.stripe, claimed);
    assert_eq!(sale.ask(unclaim(it)), ShardReply::Unclaimed);
    assert!(!is_claimed(&sale));
    let free = sale.stripe.clone();
    assert_eq!(sale.ask(unclaim(it)), ShardReply::Unclaimed);
    assert_eq!(sale.stripe, free);
}

/// The request that the tables below are about; its change has the same id.
fn it() -> RecordKey {
    key(1, 1)
}

fn change(delta: i64) -> StockChange {
    StockChange::Adjust {
        delta,
        allow_partial: false,
    }
}

fn op_change(change: StockChange, version: u64) -> ShardOp {
    ShardOp::Change {
        request: request(1),
        change,
        gathered: true,
        version,
    }
}

fn retake(version: u64) -> ShardOp {
    ShardOp::Confirm {
        key: it(),
        late: LateConfirm::Retake,
        version,
    }
}

/// A sale of 10 in which `before` happened, then the request claimed.
fn claimed(claimant: Claimant, before: impl FnOnce(&mut Sale)) -> Sale {
    let limited = Settings {
        max_units_per_buyer: 400,
        ..settings()
    };
    let mut sale = Sale::new(limited, 10);
    before(&mut sale);
    sale.ask(claim(claimant));
    assert!(is_claimed(&sale));
    sale
}

type Story = (&'static str, fn(&mut Sale), ShardOp);

fn expired(sale: &mut Sale) {
    sale.grant(it(), 2);
    sale.wait(TTL_MS);
}

fn sold_out_since(sale: &mut Sale) {
    expired(sale);
    sale.grant(key(2, 1), 10);
}

/// ⚔ Whatever the decision is: else a request that has its answer would keep
/// units from others for half a second.
#[test]
fn a_claim_ends_with_the_decision_whatever_it_is() {
    let buyers: [Story; 20] = [
        ("Granted", |_| {}, reserve(it(), 2)),
        ("Granted", |s| _ = s.grant(it(), 2), reserve(it(), 2)),
        ("Reused", |s| _ = s.grant(it(), 2), reserve(it(), 3)),
        (
            "Ended",
            |s| _ = s.ask(cancel_by_key(it())),
            reserve(it(), 2),
        ),
        ("Ended", expired, reserve(it(), 2)),
        (
            "OverLimit",
            |s| s.configure(|c| c.max_units_per_buyer = 1),
            reserve(it(), 2),
        ),
        (
            "TooMany",
            |s| s.configure(|c| c.max_units_per_reservation = 1),
            reserve(it(), 2),
        ),
        (
            "NotSelling",
            |s| s.configure(|c| c.selling = Selling::Paused),
            reserve(it(), 2),
        ),
        (
            "NotSelling",
            |s| s.configure(|c| c.selling = Selling::Closed),
            reserve(it(), 2),
        ),
        (
            "NotSelling",
            |s| s.configure(|c| c.selling = Selling::Deleting),
            reserve(it(), 2),
        ),
        (
            "NotSelling",
            |s| s.configure(|c| c.sale_end = Some(Millis(0))),
            reserve(it(), 2),
        ),
        ("Full", |s| s.full = true, reserve(it(), 2)),
        ("Done", |s| _ = s.grant(it(), 2), confirm(it())),
        ("Done", expired, retake(0)),
        ("WrongState", sold_out_since, reacquire(it())),
        ("WrongState", expired, confirm(it())),
        ("WrongState", |s| _ = s.ask(cancel_by_key(it())), retake(0)),
        ("NotFound", |_| {}, retake(0)),
        (
            "NotSelling",
            |s| {
                expired(s);
                s.configure(|c| c.selling = Selling::Deleting);
            },
            retake(0),
        ),
        (
            "WrongState",
            |s| {
                expired(s);
                s.configure(|c| c.max_units_per_buyer = 1);
            },
            retake(0),
        ),
    ];
    check_ends(buyer(it()), buyers);
    let total = |expected, total| StockChange::SetTotal { total, expected };
    let operators: [Story; 8] = [
        ("Changed", |_| {}, op_change(change(-3), 0)),
        ("Changed", |_| {}, op_change(change(3), 0)),
        (
            "Changed",
            |s| _ = s.ask(adjust(1, -3)),
            op_change(change(-3), 0),
        ),
        (
            "Reused",
            |s| _ = s.ask(adjust(1, -3)),
            op_change(change(-4), 0),
        ),
        ("TotalMismatch", |_| {}, op_change(total(9, 5), 0)),
        ("TotalTooLarge", |_| {}, op_change(total(10, u64::MAX), 0)),
        (
            "NotSelling",
            |s| s.configure(|c| c.selling = Selling::Deleting),
            op_change(change(-3), 0),
        ),
        ("Full", |s| s.full = true, op_change(change(-3), 0)),
    ];
    check_ends(Claimant::Operator(request(1)), operators);
}

fn check_ends(claimant: Claimant, stories: impl IntoIterator<Item = Story>) {
    for (answer, before, op) in stories {
        let mut sale = claimed(claimant, before);
        let reply = format!("{:?}", sale.ask(op.clone()));
        assert!(reply.starts_with(answer), "{op:?} is {reply}");
        assert!(!is_claimed(&sale), "{op:?} is {reply}");
    }
}

/// ⚔ What only says "not yet" is no decision: the request goes on.
#[test]
fn a_claim_stays_while_the_request_is_short_or_has_to_ask_again() {
    fn many_due(sale: &mut Sale) {
        sale.ask(adjust(9, 300));
        sale.grant_each(3, 0..300);
        sale.wait(TTL_MS);
    }
    let buyers: [Story; 6] = [
        ("Short", |_| {}, reserve(it(), 11)),
        ("Short", sold_out_since, retake(0)),
        (
            "OldSettings",
            |_| {},
            ShardOp::Reserve {
                key: it(),
                quantity: super::fixture::units(1),
                version: 9,
            },
        ),
        ("OldSettings", expired, retake(9)),
        ("Again", many_due, reserve(it(), 290)),
        (
            "Again",
            |s| {
                s.ask(adjust(8, 300));
                s.grant(it(), 290);
                s.wait(TTL_MS);
                s.ask(ShardOp::Look);
                s.grant_each(3, 0..300);
                s.wait(TTL_MS);
            },
            retake(0),
        ),
    ];
    check_stays(buyer(it()), buyers);
    let operators: [Story; 4] = [
        ("Short", |_| {}, op_change(change(-11), 0)),
        (
            "Short",
            |_| {},
            ShardOp::Change {
                request: request(1),
                change: StockChange::Adjust {
                    delta: -11,
                    allow_partial: true,
                },
                gathered: false,
                version: 0,
            },
        ),
        ("OldSettings", |_| {}, op_change(change(-3), 9)),
        ("Again", many_due, op_change(change(-300), 0)),
    ];
    check_stays(Claimant::Operator(request(1)), operators);
}

fn check_stays(claimant: Claimant, stories: impl IntoIterator<Item = Story>) {
    for (answer, before, op) in stories {
        let mut sale = claimed(claimant, before);
        let reply = format!("{:?}", sale.ask(op.clone()));
        assert!(reply.starts_with(answer), "{op:?} is {reply}");
        assert!(is_claimed(&sale), "{op:?} is {reply}");
    }
}

#[test]
fn a_claim_stays_whatever_others_hear() {
    let others = [
        reserve(key(1, 2), 1),
        reserve(key(2, 1), 1),
        reserve(key(2, 2), 2_000),
        confirm(key(1, 2)),
        reacquire(key(2, 1)),
        cancel(key(1, 2)),
        give_back(key(2, 1), 1, 1),
        adjust(1, 5),
        adjust(2, -1),
        lookup(it()),
        credit(1, 5),
        ShardOp::Look,
        ShardOp::Expire { limit: 10 },
    ];
    let mut sale = claimed(buyer(it()), |_| {});
    for op in others {
        sale.ask(op.clone());
        assert!(is_claimed(&sale), "{op:?}");
    }
}

/// ⚔ Shard 0 has 3 units, shard 1 has 2, and a buyer of each wants 5. Without
/// claims they would swap them for ever.
#[test]
fn of_two_who_want_each_others_units_the_first_gets_them() {
    let mut sale = Sale::on_shards(settings(), &[3, 2]);
    let (zero, one) = (key(1, 1), key(2, 1));
    let second_claim = since(sale.at(1).ask(claim(buyer(one))));
    sale.wait(1);
    let first_claim = since(sale.at(0).ask(claim(buyer(zero))));
    assert_eq!(
        sale.at(1).ask(lend_for(Some(first_claim), 0, 2, 0)),
        ShardReply::ClaimedByOlder
    );
    let reply = sale.at(0).ask(lend_for(Some(second_claim), 1, 3, 2));
    assert_eq!(reply, lent(5, 3));
    let replies = sale.at(1).batch([credit(0, 5), reserve(one, 5)]);
    assert!(matches!(replies[1], ShardReply::Granted { .. }));
    // Decided: whoever comes now finds nothing, and is not told to wait.
    assert_eq!(sale.ask(lend_for(Some(first_claim), 0, 2, 0)), lent(0, 0));
}
