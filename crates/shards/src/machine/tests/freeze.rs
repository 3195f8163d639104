//! What is lost is noticed before anything is decided without it; from then on
//! the stripe waits for an operator.

use super::super::*;
use super::fixture::{
    MINUTE_MS, SECOND_MS, Sale, T0, adjust, cancel, cancel_by_key, confirm, credit, extend,
    give_back, item, key, lend, lent, lookup, reserve, settings,
};

fn configure(version: u64) -> ShardOp {
    ShardOp::Configure {
        settings: Settings {
            selling: Selling::Paused,
            ..settings()
        },
        version,
    }
}

fn ops(sale: &Sale, ops: impl IntoIterator<Item = ShardOp>) -> Vec<Op> {
    ops.into_iter()
        .map(|op| Op::Shard(sale.key.clone(), op))
        .collect()
}

#[track_caller]
fn frozen(reply: &Reply) -> &Freeze {
    match reply {
        Reply::Frozen(freeze) => freeze,
        other => panic!("not frozen: {other:?}"),
    }
}

/// Shard 0 has lent 4 units, which shard 1 has; then it fell back to before.
fn lender_that_lost_its_tail() -> Sale {
    let mut sale = Sale::on_shards(settings(), &[10, 0]);
    let before = sale.shard().clone();
    sale.ask(lend(1, 4, 0));
    sale.at(1).ask(credit(0, 4));
    let lender = sale.at(0).key.clone();
    sale.stripe.shards.insert(lender, before);
    sale.wait(1);
    sale
}

/// ⚔ With what it sent, acknowledged grants may be gone too.
#[test]
fn a_lender_that_sent_less_than_was_received_freezes() {
    let mut sale = lender_that_lost_its_tail();
    let before = sale.stripe.clone();
    let op = ops(&sale, [lend(1, 1, 4)]);
    let (replies, changes) = sale.run(&op);
    let freeze = frozen(&replies[0]);
    // It has the stamp's name and the stripe's time, and says what is wrong.
    assert_eq!((freeze.id, freeze.since), (7, sale.now));
    for word in ["sneaker", "sent 0", "received 4"] {
        assert!(freeze.reason.contains(word), "{}", freeze.reason);
    }
    // It is written, and nothing else happened.
    assert!(changes.guard);
    assert_eq!(sale.stripe.guard.frozen.as_ref(), Some(freeze));
    assert_eq!(sale.stripe.guard.seq, before.guard.seq + 1);
    assert_eq!(sale.stripe.shards, before.shards);
    assert!(changes.deleted.is_empty() && changes.catalog.is_empty());
}

/// Whoever reads one shard before the other may see more received than sent;
/// so only the lender itself concludes a loss.
#[test]
fn neither_a_look_nor_a_credit_concludes_a_loss() {
    let mut sale = lender_that_lost_its_tail();
    assert!(matches!(sale.ask(ShardOp::Look), ShardReply::Read(_)));
    let received = ShardReply::Credited { received: 4 };
    assert_eq!(sale.at(1).ask(credit(0, 0)), received);
    assert_eq!(sale.stripe.guard.frozen, None);
}

/// ⚔ What came before in the batch is done and answered; what comes after is
/// not, save what can be done to an item whose shard waits.
#[test]
fn a_freeze_binds_the_rest_of_its_batch() {
    let mut sale = lender_that_lost_its_tail();
    let get = Op::Catalog(CatalogOp::Get { item: item("x") });
    let mut batch = ops(
        &sale,
        [
            reserve(key(1, 1), 1),
            lend(1, 1, 4),
            reserve(key(1, 2), 1),
            lookup(key(1, 1)),
            configure(5),
            lend(1, 1, 0),
        ],
    );
    batch.insert(4, get);
    let (replies, changes) = sale.run(&batch);
    assert!(matches!(
        replies[0],
        Reply::Shard(ShardReply::Granted { .. })
    ));
    let freeze = frozen(&replies[1]).clone();
    let refused = Reply::Frozen(freeze.clone());
    let configured = Reply::Shard(ShardReply::Configured { version: 5 });
    assert_eq!(replies[2..5], [(); 3].map(|()| refused.clone()));
    assert_eq!(replies[5..], [configured, refused]);
    assert!(changes.guard && changes.shards[&sale.key].header);
    assert_eq!(sale.shard().records.len(), 1);
    // What was done before it is whole: once released the stripe serves.
    sale.stripe.guard.frozen = None;
    assert_eq!(sale.done(lookup(key(1, 1))), State::Held);
}

#[test]
fn a_frozen_stripe_is_configured_and_its_shards_deleted() {
    let mut sale = lender_that_lost_its_tail();
    let lend = ops(&sale, [lend(1, 1, 4)]);
    sale.run(&lend);
    let seq = sale.stripe.guard.seq;
    for (op, reply) in [
        (configure(5), ShardReply::Configured { version: 5 }),
        (ShardOp::Delete, ShardReply::Deleted),
    ] {
        let op = ops(&sale, [op]);
        let (replies, changes) = sale.run(&op);
        assert_eq!(replies, [Reply::Shard(reply)]);
        assert!(changes.guard);
    }
    assert_eq!(sale.stripe.guard.seq, seq + 2);
    assert!(!sale.stripe.shards.contains_key(&sale.key));
    // That does not thaw it, and nothing is made there.
    let create = ShardOp::Create {
        settings: settings(),
        version: 1,
        supply: Some(5),
    };
    let create = ops(&sale, [create]);
    frozen(&sale.run(&create).0[0]);
    assert_eq!(sale.stripe.shards.len(), 1);
}

/// A freeze keeps its name, whoever meets it.
#[test]
fn a_frozen_stripe_is_not_frozen_anew() {
    let mut sale = lender_that_lost_its_tail();
    let op = ops(&sale, [lend(1, 1, 4)]);
    let first = frozen(&sale.run(&op).0[0]).clone();
    let lost = key(9, 9);
    sale.stripe
        .shards
        .get_mut(&sale.key)
        .unwrap()
        .buyers
        .insert(lost.buyer, 1);
    let stamp = Stamp {
        freeze_id: 8,
        now: T0.plus_ms(MINUTE_MS),
        full: false,
    };
    let mut changes = Changes::default();
    let replies = sale.stripe.run(stamp, &op, &mut changes);
    assert_eq!(replies, [Reply::Frozen(first)]);
    assert!(!changes.guard);
}

/// A sale in which every part of the shard has entries.
fn sale_with_everything() -> Sale {
    let mut sale = Sale::on_shards(
        Settings {
            max_hold_ms: 60 * MINUTE_MS,
            ..settings()
        },
        &[50, 5],
    );
    let [held, long, sold, gone] = [1, 2, 3, 4].map(|n| key(1, n));
    for key in [held, long, sold, gone] {
        sale.grant(key, 2);
    }
    sale.ask(extend(long, 30 * MINUTE_MS));
    sale.ask(confirm(sold));
    sale.ask(give_back(sold, 1, 1));
    sale.ask(cancel(gone));
    sale.ask(cancel_by_key(key(1, 5)));
    sale.ask(adjust(1, 5));
    sale.wait(SECOND_MS);
    let Sizes {
        records,
        returns,
        adjustments,
        buyers,
        queues,
    } = sale.shard().known_entries();
    assert_eq!((records, returns, adjustments, buyers), (5, 1, 1, 1));
    assert_eq!(queues, [4, 1, 2, 1]);
    sale
}

type Hand = fn(&mut Shard);

/// Each part of a shard, made shorter and longer by hand.
const HANDS: [(&str, Hand); 16] = [
    ("records", |s| _ = s.records.pop_last()),
    ("records", |s| {
        let record = s.records[&key(1, 1)];
        s.records.insert(key(7, 7), record);
    }),
    ("returns", |s| s.returns.clear()),
    ("returns", |s| _ = s.returns.insert(key(7, 7), Vec::new())),
    ("adjustments", |s| s.adjustments.clear()),
    ("adjustments", |s| {
        let (_, adjustment) = s.adjustments.first_key_value().unwrap();
        let adjustment = *adjustment;
        s.adjustments.insert(super::fixture::request(7), adjustment);
    }),
    ("buyers", |s| s.buyers.clear()),
    ("buyers", |s| _ = s.buyers.insert(key(7, 7).buyer, 1)),
    ("queues", |s| _ = s.queues.expiry.pop_front()),
    ("queues", |s| s.queues.expiry.push_front((T0, key(7, 7)))),
    ("queues", |s| s.queues.sorted.clear()),
    ("queues", |s| _ = s.queues.sorted.insert((T0, key(7, 7)))),
    ("queues", |s| _ = s.queues.ended.pop_back()),
    ("queues", |s| s.queues.ended.push_back((T0, key(7, 7)))),
    ("queues", |s| s.queues.unarrived.clear()),
    ("queues", |s| s.queues.unarrived.push_back((T0, key(7, 7)))),
];

fn tampered(hand: Hand) -> Sale {
    let mut sale = sale_with_everything();
    hand(sale.stripe.shards.get_mut(&sale.key).unwrap());
    sale
}

/// ⚔ An emptied queue, evicted records, a key deleted by hand: compared before
/// anything is applied, also to other shards of the batch.
#[test]
fn a_part_with_other_entries_than_the_header_says_freezes_before_anything_is_applied() {
    for (n, (part, hand)) in HANDS.into_iter().enumerate() {
        let mut sale = tampered(hand);
        let before = sale.stripe.clone();
        let touched = ops(&sale, [ShardOp::Look, reserve(key(2, 2), 1)]);
        let mut batch = ops(sale.at(1), [reserve(key(2, 1), 1)]);
        batch.extend(touched);
        let (replies, changes) = sale.run(&batch);
        for reply in &replies {
            let freeze = frozen(reply);
            assert_eq!((freeze.id, freeze.since), (7, sale.now), "{n}, {part}");
            assert!(freeze.reason.contains(part), "{n}: {}", freeze.reason);
        }
        assert_eq!(sale.stripe.shards, before.shards, "{n}, {part}");
        assert_eq!(sale.stripe.guard.seq, before.guard.seq + 1);
        let only_the_guard = Changes {
            guard: true,
            ..Changes::default()
        };
        assert_eq!(changes, only_the_guard, "{n}, {part}");
    }
}

/// Each operation that touches the shard finds it, whatever it is about.
#[test]
fn every_operation_compares_the_sizes() {
    let asks = [
        lookup(key(9, 9)),
        lend(1, 1, 5),
        credit(1, 0),
        ShardOp::Inspect {
            after: None,
            limit: 1,
        },
        ShardOp::Expire { limit: 0 },
        ShardOp::Claim {
            claimant: Claimant::Buyer(key(1, 1)),
        },
    ];
    for op in asks {
        let mut sale = tampered(|s| s.buyers.clear());
        let op = ops(&sale, [op]);
        frozen(&sale.run(&op).0[0]);
    }
}

/// A run costs what it works on: other shards of the stripe are not compared.
#[test]
fn a_batch_compares_only_what_it_touches() {
    let mut sale = tampered(|s| s.buyers.clear());
    let op = ops(sale.at(1), [reserve(key(2, 1), 1)]);
    let (replies, _) = sale.run(&op);
    assert!(matches!(
        replies[0],
        Reply::Shard(ShardReply::Granted { .. })
    ));
    assert_eq!(sale.stripe.guard.frozen, None);
}

/// Also when the batch that finds it configures the shard, and later ones do:
/// whoever releases the stripe must see what is missing.
#[test]
fn the_evidence_stays_while_the_stripe_is_frozen() {
    for (n, (part, hand)) in HANDS.into_iter().enumerate() {
        let mut sale = tampered(hand);
        let known = sale.shard().known_entries();
        for version in [5, 6] {
            let op = ops(&sale, [configure(version)]);
            let (replies, changes) = sale.run(&op);
            let configured = ShardReply::Configured { version };
            assert_eq!(replies, [Reply::Shard(configured)]);
            assert!(changes.guard && changes.shards[&sale.key].header);
            assert!(sale.stripe.guard.frozen.is_some());
        }
        assert_eq!(sale.shard().known_entries(), known, "{n}, {part}");
        assert_ne!(sale.shard().count_entries(), known, "{n}, {part}");
        // Released without a repair it freezes again.
        sale.stripe.guard.frozen = None;
        let op = ops(&sale, [ShardOp::Look]);
        frozen(&sale.run(&op).0[0]);
    }
}

/// A store makes the queues anew when it is opened; what it read itself it
/// compares with the header that it wrote.
#[test]
fn what_is_missing_after_a_restart_is_noticed() {
    for (n, (part, hand)) in HANDS.into_iter().enumerate() {
        let mut sale = tampered(hand);
        sale.restart();
        let op = ops(&sale, [ShardOp::Look]);
        let (replies, _) = sale.run(&op);
        let derived = part == "queues";
        let serves = matches!(replies[0], Reply::Shard(ShardReply::Read(_)));
        assert_eq!(serves, derived, "{n}, {part}: {replies:?}");
    }
    let mut sale = sale_with_everything();
    sale.restart();
    assert!(matches!(sale.ask(ShardOp::Look), ShardReply::Read(_)));
    assert_eq!(sale.ask(lend(1, 1, 5)), lent(6, 1));
}
