//! A batch means its operations one after the other; and what it says it
//! changed is all that a store has to write.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;

use super::super::*;
use super::catalog_history::{CatalogAsk, outcome_of};
use super::draw::{lend_after_a_loss, step};
use super::fixture::{
    Sale, adjust, cancel, cancel_by_key, confirm, identity, key, reserve, settings,
};
use super::history::{History, PlaceSetup, Step, write_lines};
use super::random::{Case, Rng, for_cases};
use super::world::World;
use crate::ids::ItemId;

/// Steps that are gathered into batches; what moves the clock ends a batch.
#[derive(Clone)]
struct Batches {
    places: Vec<PlaceSetup>,
    steps: Vec<Part>,
}

#[derive(Clone, Debug)]
enum Part {
    Step(Step),
    Catalog(CatalogAsk),
}

impl fmt::Debug for Batches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_lines(f, &self.places, &self.steps)
    }
}

impl Case for Batches {
    type Step = Part;
    fn steps(&mut self) -> &mut Vec<Part> {
        &mut self.steps
    }
}

const BATCH_LEN_MAX: usize = 10;

impl Batches {
    fn small(rng: &mut Rng) -> Self {
        let History { places, .. } = History::small(rng);
        let steps = (0..rng.between(40, 120))
            .map(|_| match rng.below(800) {
                0..200 => Part::Catalog(CatalogAsk::draw(rng)),
                // What comes then comes to a frozen stripe.
                200..202 => Part::Step(lend_after_a_loss(rng, places.len())),
                _ => Part::Step(step(rng, places.len())),
            })
            .collect();
        Self { places, steps }
    }

    fn crowded(rng: &mut Rng) -> Self {
        let History { places, steps } = History::crowded(rng);
        let steps = steps.into_iter().map(Part::Step).collect();
        Self { places, steps }
    }

    /// Runs `check` on each batch, in the world as it is before it.
    fn each(
        &self,
        mut check: impl FnMut(&mut World, &[Op]) -> Result<(), String>,
    ) -> Result<(), String> {
        let mut world = World::new(&self.places);
        let mut batch = Vec::new();
        for part in &self.steps {
            let ends_it = match part {
                Part::Catalog(ask) => {
                    batch.push(Op::Catalog(ask.op(&world.stripe.catalog)));
                    false
                }
                Part::Step(Step::Ask { .. } | Step::Repeat(_)) => false,
                Part::Step(_) => true,
            };
            if !batch.is_empty() && (ends_it || batch.len() >= BATCH_LEN_MAX) {
                check(&mut world, &std::mem::take(&mut batch))?;
            }
            if let Part::Step(step) = part {
                batch.extend(world.ops(*step));
            }
        }
        if batch.is_empty() {
            Ok(())
        } else {
            check(&mut world, &batch)
        }
    }
}

/// I3 and all the rest follow for batches from what holds for single
/// operations, if only a batch is nothing else. Few holds: no AGAIN here.
#[test]
fn a_batch_is_its_operations_one_after_the_other() {
    let answers = RefCell::new(BTreeSet::new());
    for_cases("batches", 2_000, Batches::small, |case| {
        case.each(|world, ops| {
            let stamp = world.stamp();
            let before = world.stripe.guard.seq;
            let mut single = world.stripe.clone();
            let (mut changes, mut single_changes) = (Changes::default(), Changes::default());
            let replies = world.stripe.run(stamp, ops, &mut changes);
            let mut changed_ops = 0;
            for (op, reply) in ops.iter().zip(&replies) {
                let seq = single.guard.seq;
                let alone = single.run(stamp, [op], &mut single_changes).remove(0);
                let changed = single.guard.seq - seq;
                changed_ops += changed;
                answers
                    .borrow_mut()
                    .insert(outcome_of(op, &alone, changed > 0));
                ensure!(
                    *reply == alone,
                    "{op:?} of {ops:?}\nsays {reply:?}\nalone {alone:?}"
                );
            }
            ensure!(replies.len() == ops.len(), "not an answer for each");
            ensure!(
                changes == single_changes,
                "{changes:?}\nalone {single_changes:?}"
            );
            let seq = world.stripe.guard.seq - before;
            ensure!(
                seq == u64::from(changed_ops > 0),
                "the sequence grew by {seq}"
            );
            single.guard.seq = world.stripe.guard.seq;
            ensure!(
                world.stripe == single,
                "{:?}\nalone {single:?}",
                world.stripe
            );
            Ok(())
        })
    });
    // What never happens was not tested.
    let answers = answers.into_inner();
    let missing = |answer: &&str| !answers.contains(*answer);
    let missed: Vec<_> = ANSWERS.split(", ").filter(missing).collect();
    assert!(missed.is_empty(), "never answered: {missed:?}\n{answers:?}");
}

/// What batches of the catalog and of a freeze must come to.
const ANSWERS: &str = "\
    BeginCreate Entry new, BeginCreate Entry, BeginCreate Exists, FinishCreate Entry new, \
    Update Entry new, Update VersionMismatch, FinishUpdate Entry new, BeginDelete Entry new, \
    BeginDelete VersionMismatch, BeginDelete NotFound, \
    DecideDelete Entry new, DecideDelete VersionMismatch, FinishDelete Entry, \
    FinishDelete NotFound new, Lend Frozen new, Lend Frozen, Get Frozen, Reserve Frozen, \
    Configure Shard new";

/// What the embedded store relies on: an old state and the values that the
/// changes name are the new state. Queues are made anew.
#[test]
fn the_changes_name_all_that_changed() {
    let check = |case: &Batches| {
        let mut stored: Option<Stripe> = None;
        case.each(|world, ops| {
            // The world itself was made without a store looking on.
            let stored = stored.get_or_insert_with(|| world.stripe.clone());
            let before = world.stripe.clone();
            let mut changes = Changes::default();
            world.stripe.run(world.stamp(), ops, &mut changes);
            let gone = changes
                .shards
                .keys()
                .find(|at| !world.stripe.shards.contains_key(at));
            ensure!(gone.is_none(), "of {gone:?} nothing is there to be named");
            if ops.len() == 1 {
                needless(&before, &world.stripe, &changes)?;
            }
            write(&world.stripe, &changes, stored);
            let mut live = world.stripe.clone();
            if !changes.guard {
                // Nothing was written; that time passed is found out again.
                live.guard.time = stored.guard.time;
            }
            reopen(&mut live);
            reopen(stored);
            ensure!(
                live == *stored,
                "after {ops:?}, of {changes:?}\n{live:?}\nstored {stored:?}"
            );
            Ok(())
        })
    };
    for_cases("changes of small batches", 1_000, Batches::small, check);
    for_cases("changes of crowds", 10, Batches::crowded, check);
}

/// As the embedded store writes a batch, and reads it back.
fn write(live: &Stripe, changes: &Changes, stored: &mut Stripe) {
    if !changes.guard {
        return;
    }
    stored.guard = live.guard.clone();
    for item in &changes.catalog {
        put(&mut stored.catalog, item, live.catalog.get(item));
    }
    for key in &changes.deleted {
        stored.shards.remove(key);
    }
    for (key, named) in &changes.shards {
        let Some(live) = live.shards.get(key) else {
            continue;
        };
        let nothing = *named == ShardChanges::default();
        if nothing {
            continue;
        }
        // A shard that is new to the store begins with its header.
        let new = || {
            assert!(named.header, "a new shard of {changes:?} has no header");
            Shard::from_header(live.header.clone())
        };
        let stored = stored.shards.entry(key.clone()).or_insert_with(new);
        if named.header {
            stored.header = live.header.clone();
        }
        named
            .records
            .iter()
            .for_each(|k| put(&mut stored.records, k, live.records.get(k)));
        named
            .returns
            .iter()
            .for_each(|k| put(&mut stored.returns, k, live.returns.get(k)));
        let put_change = |k| put(&mut stored.adjustments, k, live.adjustments.get(k));
        named.adjustments.iter().for_each(put_change);
        named
            .buyers
            .iter()
            .for_each(|k| put(&mut stored.buyers, k, live.buyers.get(k)));
    }
}

fn put<K: Ord + Clone, V: Clone>(
    map: &mut std::collections::BTreeMap<K, V>,
    key: &K,
    value: Option<&V>,
) {
    match value {
        Some(value) => map.insert(key.clone(), value.clone()),
        None => map.remove(key),
    };
}

fn reopen(stripe: &mut Stripe) {
    stripe.shards.values_mut().for_each(Shard::rebuild_queues);
}

/// One operation names no header, record, stock change or entry in vain: each
/// costs a write. (A count may fall and rise again within one operation.)
fn needless(before: &Stripe, after: &Stripe, changes: &Changes) -> Result<(), String> {
    let items = changes
        .catalog
        .iter()
        .filter(|i| before.catalog.get(i) == after.catalog.get(i));
    let items: BTreeSet<&ItemId> = items.collect();
    ensure!(items.is_empty(), "{items:?} did not change");
    for (key, named) in &changes.shards {
        let (Some(was), Some(is)) = (before.shards.get(key), after.shards.get(key)) else {
            continue;
        };
        ensure!(
            !named.header || was.header != is.header,
            "the header did not change"
        );
        let (was_on_sale, is_on_sale) = (&was.header.counters, &is.header.counters);
        let gain = match was_on_sale.gained == is_on_sale.gained {
            true => Gain::Nothing,
            false if was_on_sale.available == 0 => Gain::First,
            false => Gain::More,
        };
        ensure!(named.gain == gain, "{:?} instead of {gain:?}", named.gain);
        let same = named
            .records
            .iter()
            .find(|k| was.records.get(k) == is.records.get(k));
        ensure!(same.is_none(), "the record {same:?} did not change");
        let same = named
            .adjustments
            .iter()
            .find(|k| was.adjustments.get(k) == is.adjustments.get(k));
        ensure!(same.is_none(), "the stock change {same:?} is not new");
    }
    Ok(())
}

/// ⚔ Deleted and made anew in one batch: nothing of the old one is left.
#[test]
fn a_shard_deleted_and_made_anew_in_one_batch_is_new_to_the_store() {
    let mut sale = Sale::new(settings(), 5);
    sale.grant(key(1, 1), 2);
    sale.ask(adjust(1, 3));
    let mut stored = sale.stripe.clone();
    let create = ShardOp::Create {
        settings: settings(),
        version: 7,
        supply: Some(1),
    };
    let ops = [
        reserve(key(1, 2), 1),
        ShardOp::Delete,
        ShardOp::Delete,
        cancel_by_key(key(1, 1)),
        create,
        reserve(key(1, 3), 1),
    ];
    let ops = ops.map(|op| Op::Shard(sale.key.clone(), op));
    let mut changes = Changes::default();
    let stamp = Stamp {
        freeze_id: 7,
        now: sale.now,
        full: false,
    };
    let replies = sale.stripe.run(stamp, &ops, &mut changes);
    assert_eq!(
        replies[1..4],
        [
            ShardReply::Deleted,
            ShardReply::Deleted,
            ShardReply::Missing
        ]
        .map(Reply::Shard)
    );
    write(&sale.stripe, &changes, &mut stored);
    reopen(&mut stored);
    reopen(&mut sale.stripe);
    assert_eq!(stored, sale.stripe);
    let shard = sale.shard();
    assert_eq!(shard.header.version, 7);
    assert_eq!(
        (
            shard.records.len(),
            shard.adjustments.len(),
            shard.buyers.len()
        ),
        (1, 0, 1)
    );
    assert_eq!(stored.guard.identity, identity());
}

/// ⚔ Confirm and Cancel of one hold in one batch: the first ends it, the
/// second hears of that.
#[test]
fn confirm_and_cancel_in_one_batch_end_a_hold_once() {
    let it = key(1, 1);
    for (ops, ends_as, stock) in [
        ([confirm(it), cancel(it)], State::Confirmed, (8, 0, 2)),
        ([cancel(it), confirm(it)], State::Cancelled, (10, 0, 0)),
    ] {
        let mut sale = Sale::new(settings(), 10);
        sale.grant(it, 2);
        let revision = sale.shard().header.revision;
        let replies = sale.batch(ops);
        assert!(matches!(replies[0], ShardReply::Done(r) if r.record.state == ends_as));
        assert!(matches!(replies[1], ShardReply::WrongState(r) if r.record.state == ends_as));
        assert_eq!(sale.stock(), stock);
        assert_eq!(sale.shard().header.revision, revision + 1);
    }
}

/// ⚔ One id twice, and two ids of one buyer, in one batch.
#[test]
fn equal_requests_and_equal_buyers_of_a_batch_collide() {
    let mut sale = Sale::new(
        Settings {
            max_units_per_buyer: 1,
            ..settings()
        },
        10,
    );
    let replies = sale.batch([
        reserve(key(1, 1), 1),
        reserve(key(1, 1), 1),
        reserve(key(1, 2), 1),
    ]);
    assert!(matches!(
        replies[0],
        ShardReply::Granted {
            replayed: false,
            ..
        }
    ));
    assert!(matches!(
        replies[1],
        ShardReply::Granted { replayed: true, .. }
    ));
    assert_eq!(replies[2], ShardReply::OverLimit { units: 1, max: 1 });
    assert_eq!(sale.stock(), (9, 1, 0));
    // Twenty at once are one grant and twenty equal answers.
    let ShardReply::Granted {
        reservation: first, ..
    } = replies[0]
    else {
        panic!("not granted")
    };
    for reply in sale.batch(vec![reserve(key(1, 1), 1); 20]) {
        assert_eq!(
            reply,
            ShardReply::Granted {
                reservation: first,
                replayed: true
            }
        );
    }
}
