//! A batch means its operations one after the other; and what it says it
//! changed is all that a store has to write.

use std::collections::BTreeSet;
use std::fmt;

use super::super::*;
use super::catalog::{new_entry, terms};
use super::fixture::{generation, identity, item};
use super::history::{History, PlaceSetup, Step, step, write_lines};
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
    Catalog(Box<CatalogOp>),
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
            .map(|_| match rng.below(8) {
                0 => Part::Catalog(Box::new(catalog_op(rng))),
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
                Part::Catalog(op) => {
                    batch.push(Op::Catalog((**op).clone()));
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

fn catalog_op(rng: &mut Rng) -> CatalogOp {
    let name = item(rng.pick(&["a", "b", "c"]));
    let life = generation(u64::from(rng.between(1, 2)));
    let version = u64::from(rng.between(1, 4));
    match rng.below(8) {
        0..2 => {
            let mut new = new_entry(&name, rng.between(1, 2));
            new.generation = life;
            CatalogOp::BeginCreate(Box::new(new))
        }
        2 => CatalogOp::FinishCreate {
            item: name,
            generation: life,
        },
        3..5 => CatalogOp::Update {
            item: name,
            generation: life,
            expected: version,
            terms: Box::new(terms("another name")),
        },
        5 => CatalogOp::FinishUpdate {
            item: name,
            generation: life,
            version,
        },
        6 => CatalogOp::Get { item: name },
        _ => CatalogOp::List {
            after: rng.chance(50).then_some(name),
            limit: rng.below(4),
        },
    }
}

/// I3 and all the rest follow for batches from what holds for single
/// operations, if only a batch is nothing else. Few holds: no AGAIN here.
#[test]
fn a_batch_is_its_operations_one_after_the_other() {
    for_cases("batches", 600, Batches::small, |case| {
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
                changed_ops += single.guard.seq - seq;
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
}

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
    for_cases("changes of small batches", 500, Batches::small, check);
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
    use super::fixture::{Sale, adjust, cancel_by_key, key, reserve, settings};
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
