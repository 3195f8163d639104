//! A stripe: shards that only Create makes, settings that only get newer, time
//! that never runs back, and a freeze that stops everything.

use super::super::*;
use super::fixture::{
    Sale, T0, adjust, cancel_by_key, confirm, credit, extend, generation, give_back, item, key,
    lend, lookup, reacquire, reserve, settings,
};
use crate::ids::ShardKey;

fn every_op() -> Vec<ShardOp> {
    let it = key(1, 1);
    vec![
        reserve(it, 1),
        confirm(it),
        reacquire(it),
        cancel_by_key(it),
        extend(it, 1),
        give_back(it, 1, 1),
        lookup(it),
        adjust(1, 1),
        ShardOp::Look,
        ShardOp::Claim {
            claimant: Claimant::Buyer(it),
        },
        ShardOp::Unclaim {
            claimant: Claimant::Buyer(it),
        },
        lend(1, 1, 0),
        credit(1, 1),
        ShardOp::Expire { limit: 10 },
        ShardOp::Purge { limit: 10 },
        ShardOp::Inspect {
            after: None,
            limit: 10,
        },
        ShardOp::Configure {
            settings: settings(),
            version: 9,
        },
    ]
}

/// ⚔ A lost shard is never taken for an empty one, and nothing late touches a
/// later item of the same name.
#[test]
fn whatever_finds_no_shard_writes_nothing_and_says_missing() {
    let mut sale = Sale::new(settings(), 5);
    let before = sale.stripe.clone();
    let living = sale.key.clone();
    sale.key = ShardKey {
        generation: generation(2),
        ..living.clone()
    };
    for op in every_op() {
        assert_eq!(sale.ask(op.clone()), ShardReply::Missing, "{op:?}");
    }
    assert_eq!(sale.ask(ShardOp::Delete), ShardReply::Deleted);
    assert_eq!(sale.stripe, before);
    sale.key = living;
    assert_eq!(sale.ask(ShardOp::Delete), ShardReply::Deleted);
    assert_eq!(sale.ask(lookup(key(1, 1))), ShardReply::Missing);
}

#[test]
fn a_late_repeat_of_create_changes_nothing() {
    let mut sale = Sale::new(settings(), 5);
    sale.grant(key(1, 1), 2);
    let before = sale.stripe.clone();
    let create = ShardOp::Create {
        settings: settings(),
        version: 9,
        supply: Some(50),
    };
    assert_eq!(sale.ask(create), ShardReply::Created);
    assert_eq!(sale.stripe, before);
}

/// Servers may send settings in any order: the newest stay.
#[test]
fn a_shard_takes_only_newer_settings() {
    let mut sale = Sale::new(settings(), 5);
    let configure = |version, limit| ShardOp::Configure {
        settings: Settings {
            max_units_per_buyer: limit,
            ..settings()
        },
        version,
    };
    for (version, limit, has_version, has_limit) in [
        (5, 50, 5, 50),
        (4, 40, 5, 50),
        (5, 51, 5, 50),
        (6, 60, 6, 60),
    ] {
        let reply = sale.ask(configure(version, limit));
        assert_eq!(
            reply,
            ShardReply::Configured {
                version: has_version
            }
        );
        let header = &sale.shard().header;
        assert_eq!(
            header.settings.max_units_per_buyer, has_limit,
            "after {version}"
        );
    }
}

#[test]
fn time_never_runs_back() {
    let mut sale = Sale::new(settings(), 5);
    sale.grant(key(1, 1), 2);
    sale.wait(settings().hold_ttl_ms);
    assert_eq!(sale.stock(), (5, 0, 0));
    sale.ask(ShardOp::Look);
    // Another clock, a minute slow, takes over.
    sale.now = T0;
    let ShardReply::Done(shown) = sale.ask(lookup(key(1, 1))) else {
        panic!("not found")
    };
    assert_eq!(shown.record.state, State::Expired);
    assert_eq!(shown.now, T0.plus_ms(settings().hold_ttl_ms));
    assert_eq!(sale.grant(key(1, 2), 1).granted, shown.now);
}

/// ⚔ While acknowledged work may be missing nothing is decided.
#[test]
fn a_frozen_stripe_answers_with_its_freeze_and_changes_nothing() {
    let mut sale = Sale::new(settings(), 5);
    sale.grant(key(1, 1), 2);
    let freeze = Freeze {
        id: 7,
        since: T0,
        reason: "records are missing".into(),
    };
    sale.stripe.guard.frozen = Some(freeze.clone());
    let before = sale.stripe.clone();
    let ops = every_op()
        .into_iter()
        .filter(|op| !matches!(op, ShardOp::Configure { .. }));
    let mut ops: Vec<Op> = ops.map(|op| Op::Shard(sale.key.clone(), op)).collect();
    ops.push(Op::Catalog(CatalogOp::List {
        after: None,
        limit: 10,
    }));
    ops.push(Op::Catalog(CatalogOp::FinishDelete {
        item: item("sneaker"),
        generation: generation(1),
    }));
    let stamp = Stamp {
        freeze_id: 7,
        now: T0.plus_ms(settings().hold_ttl_ms),
        full: false,
    };
    let mut changes = Changes::default();
    let replies = sale.stripe.run(stamp, &ops, &mut changes);
    assert_eq!(replies, vec![Reply::Frozen(freeze); ops.len()]);
    assert_eq!(sale.stripe.shards, before.shards);
    assert_eq!(sale.stripe.guard.seq, before.guard.seq);
    assert_eq!(changes, Changes::default());
}

/// An audit's recount, page by page, changes nothing.
#[test]
fn an_inspection_recounts_the_records_in_pages() {
    let mut sale = Sale::new(settings(), 20);
    for n in 1..=5 {
        sale.grant(key(1, n), 2);
    }
    sale.ask(confirm(key(1, 2)));
    sale.ask(give_back(key(1, 2), 1, 1));
    sale.wait(settings().hold_ttl_ms);
    let before = sale.stripe.shards.clone();
    let (mut sums, mut after, mut pages) = (RecordSums::default(), None, 0);
    loop {
        match sale.ask(ShardOp::Inspect { after, limit: 2 }) {
            ShardReply::Inspected {
                sums: page,
                next,
                reading,
            } => {
                // As it stands, so that counters and records are of one state:
                // what lapsed is given back by whoever changes something.
                assert_eq!((reading.counters.held, reading.counters.sold), (8, 1));
                sums += page;
                pages += 1;
                after = next;
            }
            other => panic!("not an inspection: {other:?}"),
        }
        if after.is_none() {
            break;
        }
    }
    assert_eq!(
        (pages, sums),
        (
            3,
            RecordSums {
                records: 5,
                held: 8,
                sold: 1
            }
        )
    );
    assert_eq!(sale.stripe.shards, before);
}
