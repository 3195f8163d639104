//! Freezing a stripe, looking at it, and letting it serve again: ⚔ consistent
//! with the others, and with what is still there.

use super::super::*;
use super::fixture::{Sale, T0, adjust, cancel, key, request, reserve, settings};
use crate::ids::ShardNo;

const PEER: ShardNo = ShardNo(1);

fn stripe(sale: &mut Sale, op: StripeOp) -> Reply {
    batch(sale, &[Op::Stripe(op)]).remove(0)
}

fn batch(sale: &mut Sale, ops: &[Op]) -> Vec<Reply> {
    let stamp = Stamp {
        freeze_id: 99,
        now: sale.now,
        full: false,
    };
    sale.stripe.run(stamp, ops, &mut Changes::default())
}

fn freeze(sale: &mut Sale, id: u64) -> Reply {
    let reason = "the end of its history is missing".to_owned();
    stripe(sale, StripeOp::Freeze { id, reason })
}

#[track_caller]
fn visited(reply: Reply) -> Visit {
    match reply {
        Reply::Stripe(StripeReply::Visited(visit)) => visit,
        other => panic!("no visit: {other:?}"),
    }
}

fn lend(wanted: u64, received: u64) -> ShardOp {
    ShardOp::Lend {
        to: PEER,
        wanted,
        received,
        claim: None,
    }
}

fn reconcile(received: u64) -> ShardOp {
    let peer = PEER;
    ShardOp::Reconcile { peer, received }
}

#[test]
fn a_visit_reads_the_guard_and_changes_nothing() {
    let mut sale = Sale::new(settings(), 5);
    let before = sale.stripe.clone();
    let visit = visited(stripe(&mut sale, StripeOp::Visit));
    assert_eq!((visit.frozen, visit.seq, visit.time), (None, 1, T0));
    assert_eq!(sale.stripe, before);
}

#[test]
fn a_freeze_stops_the_stripe_and_the_first_one_stays() {
    let mut sale = Sale::new(settings(), 5);
    for (id, seq) in [(7, 1), (8, 2)] {
        let visit = visited(freeze(&mut sale, id));
        assert_eq!(visit.seq, seq);
        let frozen = visit.frozen.expect("a freeze");
        assert_eq!((frozen.id, frozen.since), (7, T0));
        let frozen = Reply::Frozen(frozen);
        let refused = Op::Shard(sale.key.clone(), reserve(key(1, 1), 1));
        assert_eq!(batch(&mut sale, &[refused]), [frozen]);
    }
}

#[test]
fn only_the_freeze_that_is_meant_is_released_and_a_repeat_is_harmless() {
    let mut sale = Sale::new(settings(), 5);
    freeze(&mut sale, 7);
    let other = stripe(&mut sale, StripeOp::Release { id: 8 });
    assert!(
        matches!(&other, Reply::Stripe(StripeReply::OtherFreeze(freeze)) if freeze.id == 7),
        "{other:?}"
    );
    assert!(sale.stripe.guard.frozen.is_some());
    for _ in 0..2 {
        let visit = visited(stripe(&mut sale, StripeOp::Release { id: 7 }));
        assert_eq!(visit.frozen, None);
        let seq = sale.stripe.guard.seq;
        assert_eq!(seq, 3, "a repeat changes nothing");
    }
    sale.grant(key(1, 1), 5);
    // Whoever comes late with an old freeze does not release a new one.
    freeze(&mut sale, 9);
    let late = stripe(&mut sale, StripeOp::Release { id: 7 });
    assert!(matches!(late, Reply::Stripe(StripeReply::OtherFreeze(_))));
    assert!(sale.stripe.guard.frozen.is_some());
}

/// A stripe that froze since one of two buyers' counts is missing.
fn without_a_count() -> Sale {
    let mut sale = Sale::new(settings(), 5);
    sale.grant(key(1, 1), 1);
    sale.grant(key(2, 2), 1);
    let shard = sale.stripe.shards.get_mut(&sale.key).unwrap();
    shard.buyers.remove(&key(2, 2).buyer);
    let found = batch(&mut sale, &[Op::Shard(sale_key(), reserve(key(3, 3), 1))]);
    assert!(matches!(&found[..], [Reply::Frozen(freeze)] if freeze.id == 99));
    sale
}

/// What was lost is not missed any more, by no later batch.
#[test]
fn a_released_stripe_works_with_what_is_there() {
    let mut sale = without_a_count();
    let mut changes = Changes::default();
    let accept = Op::Shard(sale_key(), ShardOp::Accept);
    let release = Op::Stripe(StripeOp::Release { id: 99 });
    // In one batch with what can be asked again, and with what adds entries.
    let ops = [
        accept,
        release,
        Op::Shard(sale_key(), reserve(key(3, 3), 1)),
    ];
    let stamp = Stamp {
        freeze_id: 100,
        now: sale.now,
        full: false,
    };
    let replies = sale.stripe.run(stamp, &ops, &mut changes);
    assert_eq!(replies[0], Reply::Shard(ShardReply::Accepted));
    assert!(
        matches!(&replies[2], Reply::Shard(ShardReply::Granted { .. })),
        "{replies:?}"
    );
    assert!(changes.guard && changes.shards[&sale.key].header, "written");
    let shard = sale.shard();
    assert_eq!(shard.known_entries(), shard.count_entries());
    let again = batch(&mut sale, &[Op::Shard(sale_key(), reserve(key(4, 4), 1))]);
    assert!(matches!(
        &again[..],
        [Reply::Shard(ShardReply::Granted { .. })]
    ));
}

/// ⚔ Nor is it forgotten because somebody worked on the shard meanwhile.
#[test]
fn what_was_not_accepted_freezes_again() {
    let mut sale = without_a_count();
    let release = Op::Stripe(StripeOp::Release { id: 99 });
    let new = Op::Shard(sale_key(), reserve(key(3, 3), 1));
    let replies = batch(&mut sale, &[release, new]);
    assert!(matches!(
        &replies[1],
        Reply::Shard(ShardReply::Granted { .. })
    ));
    let Sizes {
        records, buyers, ..
    } = sale.shard().known_entries();
    assert_eq!((records, buyers), (3, 3), "and there are 2 buyers");
    let found = batch(&mut sale, &[Op::Shard(sale_key(), ShardOp::Look)]);
    assert!(matches!(&found[..], [Reply::Frozen(_)]), "{found:?}");
}

/// Of a stripe that serves nothing is accepted: it freezes.
#[test]
fn a_stripe_that_serves_accepts_nothing() {
    let accept = || [Op::Shard(sale_key(), ShardOp::Accept)];
    let mut sale = Sale::new(settings(), 5);
    sale.grant(key(1, 1), 1);
    let before = sale.stripe.clone();
    let accepted = Reply::Shard(ShardReply::Accepted);
    assert_eq!(batch(&mut sale, &accept()), std::slice::from_ref(&accepted));
    assert_eq!(sale.stripe, before);

    let shard = sale.stripe.shards.get_mut(&sale.key).unwrap();
    shard.buyers.clear();
    // The batch that finds it is the first of a frozen stripe.
    assert_eq!(batch(&mut sale, &accept()), [accepted]);
    assert!(sale.stripe.guard.frozen.is_some());
    let mut gone = Sale::new(settings(), 5);
    gone.key.shard = ShardNo(9);
    assert_eq!(gone.ask(ShardOp::Accept), ShardReply::Missing);
}

fn sale_key() -> crate::ids::ShardKey {
    Sale::new(settings(), 0).key
}

/// The entries that a release needs are read though the stripe serves no one.
#[test]
fn a_frozen_stripes_entries_can_be_read() {
    let mut sale = Sale::new(settings(), 5);
    freeze(&mut sale, 7);
    let entries = StripeOp::Entries {
        after: None,
        limit: 10,
    };
    assert_eq!(
        stripe(&mut sale, entries),
        Reply::Catalog(CatalogReply::Page {
            entries: Vec::new(),
            more: false
        })
    );
}

/// Five units, two of them held, and `lent` lent of which it knows nothing any
/// more: as after a failover to what had not heard of it.
fn after_a_loss(lent: u64) -> Sale {
    let mut sale = Sale::new(settings(), 5);
    sale.grant(key(1, 1), 2);
    let before = sale.stripe.clone();
    sale.ask(lend(lent, 0));
    sale.stripe = before;
    let found = batch(&mut sale, &[Op::Shard(sale_key(), lend(1, lent))]);
    assert!(matches!(&found[..], [Reply::Frozen(freeze)] if freeze.id == 99));
    sale
}

#[test]
fn units_that_others_have_received_are_taken_from_the_stock() {
    let mut sale = after_a_loss(2);
    for _ in 0..2 {
        let reply = sale.ask(reconcile(2));
        let nothing_twice = ShardReply::Reconciled {
            surplus: 0,
            received: 0,
        };
        assert_eq!(reply, nothing_twice);
        let counters = &sale.shard().header.counters;
        assert_eq!((counters.available, counters.sent[&PEER]), (1, 2));
    }
    stripe(&mut sale, StripeOp::Release { id: 99 });
    // The transfer that was found missing can go on.
    let lent = ShardReply::Lent { sent: 3, given: 1 };
    assert_eq!(sale.ask(lend(1, 2)), lent);
}

#[test]
fn what_is_not_there_any_more_is_surplus() {
    let mut sale = after_a_loss(3);
    // One of the three was sold again before anybody noticed.
    sale.stripe.guard.frozen = None;
    sale.grant(key(2, 2), 1);
    freeze(&mut sale, 7);
    let booked = |sale: &mut Sale| match sale.ask(reconcile(3)) {
        ShardReply::Reconciled { surplus, .. } => surplus,
        other => panic!("not reconciled: {other:?}"),
    };
    assert_eq!(booked(&mut sale), 1);
    assert_eq!(booked(&mut sale), 0, "once");
    let counters = sale.shard().header.counters.clone();
    assert_eq!((counters.available, counters.held), (0, 3));
    assert_eq!((counters.surplus, counters.sent[&PEER]), (1, 3));
    stripe(&mut sale, StripeOp::Release { id: 7 });
    // The total counts them: they are out there.
    let changed = sale.ask(adjust(1, 1));
    assert!(matches!(changed, ShardReply::Changed { applied: 1, .. }));
    assert_eq!(sale.stock(), (1, 3, 0));
}

/// A ledger that gave three of its five units twice, all of which are back.
fn with_a_surplus() -> Sale {
    let mut sale = Sale::new(settings(), 5);
    sale.grant(key(1, 1), 5);
    freeze(&mut sale, 7);
    sale.ask(reconcile(3));
    stripe(&mut sale, StripeOp::Release { id: 7 });
    sale.ask(cancel(key(1, 1)));
    sale.ask(ShardOp::Credit {
        from: PEER,
        sent: 3,
    });
    assert_eq!(sale.stock(), (8, 0, 0));
    sale
}

/// Supply and surplus after a change by so many, which is applied as told.
fn books_after(sale: &mut Sale, delta: i64, allow_partial: bool, applies: i64) -> (u64, u64) {
    let change = StockChange::Adjust {
        delta,
        allow_partial,
    };
    let changed = sale.ask(ShardOp::Change {
        request: request(u32::MAX),
        change,
        gathered: true,
        version: 1,
    });
    assert!(
        matches!(changed, ShardReply::Changed { applied, .. } if applied == applies),
        "{changed:?}"
    );
    assert_eq!(sale.shard().check(), []);
    let counters = &sale.shard().header.counters;
    (counters.supply.unwrap(), counters.surplus)
}

/// They are units like any others: an operator may take them off sale, and the
/// books stay even.
#[test]
fn surplus_can_be_taken_away() {
    assert_eq!(books_after(&mut with_a_surplus(), -4, false, -4), (1, 3));
    assert_eq!(books_after(&mut with_a_surplus(), -7, false, -7), (0, 1));
    assert_eq!(books_after(&mut with_a_surplus(), -9, true, -8), (0, 0));
    let mut sale = with_a_surplus();
    let none = StockChange::SetTotal {
        total: 0,
        expected: 8,
    };
    sale.ask(ShardOp::Change {
        request: request(9),
        change: none,
        gathered: false,
        version: 1,
    });
    assert_eq!(sale.stock(), (0, 0, 0));
    assert_eq!(sale.shard().check(), []);
}

/// Another shard's surplus can be sold here, but the ledger never stocked it.
#[test]
fn what_another_shard_gave_twice_is_not_taken_away() {
    let mut sale = Sale::new(settings(), 5);
    sale.ask(ShardOp::Credit {
        from: PEER,
        sent: 4,
    });
    for gathered in [false, true] {
        let refused = sale.ask(ShardOp::Change {
            request: request(9),
            change: StockChange::Adjust {
                delta: -7,
                allow_partial: false,
            },
            gathered,
            version: 1,
        });
        let short = ShardReply::Short {
            wanted: 7,
            available: 9,
            held: 0,
        };
        assert_eq!(refused, short);
    }
    assert_eq!(books_after(&mut sale, -7, true, -5), (0, 0));
    sale.grant(key(1, 1), 4);
}

/// Elsewhere it only reads: a late one does no harm.
#[test]
fn a_stripe_that_serves_is_not_reconciled() {
    let mut sale = Sale::new(settings(), 5);
    sale.ask(ShardOp::Credit {
        from: PEER,
        sent: 4,
    });
    let before = sale.stripe.clone();
    for received in [0, 9] {
        let reply = sale.ask(reconcile(received));
        let only_read = ShardReply::Reconciled {
            surplus: 0,
            received: 4,
        };
        assert_eq!(reply, only_read);
    }
    assert_eq!(sale.stripe, before);
    let mut gone = sale.clone();
    gone.key.shard = ShardNo(9);
    assert_eq!(gone.ask(reconcile(9)), ShardReply::Missing);
}
