//! Random histories of the catalog: two ids, created, changed and deleted by
//! servers that know more or less of it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::super::*;
use super::catalog::{new_entry, terms};
use super::fixture::{T0, generation, identity, item};
use super::random::{Case, Rng, for_cases};
use crate::ids::ItemId;

/// What to ask, in words that keep their meaning when other steps are left out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CatalogAsk {
    what: What,
    item: &'static str,
    /// Of another life of the id.
    other_life: bool,
    /// Under the present version, or one so much later.
    later: i64,
}

#[derive(Clone, Copy, Debug)]
enum What {
    BeginCreate(u32),
    FinishCreate,
    Update(Selling),
    FinishUpdate,
    BeginDelete { force: bool, checks: bool },
    DecideDelete { remove: bool },
    FinishDelete,
    Get,
    List(u32),
}

impl CatalogAsk {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        Self {
            what: match rng.below(20) {
                0..4 => What::BeginCreate(rng.between(1, 2)),
                4..7 => What::FinishCreate,
                7..9 => What::Update(rng.pick(&[Selling::Open, Selling::Paused, Selling::Closed])),
                9..12 => What::FinishUpdate,
                12..14 => What::BeginDelete {
                    force: rng.chance(30),
                    checks: rng.chance(50),
                },
                14..16 => What::DecideDelete {
                    remove: rng.chance(60),
                },
                16..18 => What::FinishDelete,
                18 => What::Get,
                _ => What::List(rng.below(4)),
            },
            item: rng.pick(&["a", "a", "a", "b"]),
            other_life: rng.chance(5),
            later: rng.pick(&[0, 0, 0, 0, -1, 1]),
        }
    }

    pub(crate) fn op(self, entries: &BTreeMap<ItemId, Entry>) -> CatalogOp {
        let item = item(self.item);
        let entry = entries.get(&item);
        let mut life = entry.map_or(generation(1), |entry| entry.generation);
        if self.other_life {
            life = generation(3);
        }
        let version = entry.map_or(1, |entry| entry.version);
        let version = version.saturating_add_signed(self.later);
        match self.what {
            What::BeginCreate(n) => CatalogOp::BeginCreate(Box::new(new_entry(&item, n))),
            What::FinishCreate => CatalogOp::FinishCreate {
                item,
                generation: life,
            },
            What::Update(selling) => {
                let mut terms = Box::new(terms("another name"));
                terms.settings.selling = selling;
                CatalogOp::Update {
                    item,
                    generation: life,
                    expected: version,
                    terms,
                }
            }
            What::FinishUpdate => CatalogOp::FinishUpdate {
                item,
                generation: life,
                version,
            },
            What::BeginDelete { force, checks } => CatalogOp::BeginDelete {
                item,
                generation: life,
                force,
                expected: checks.then_some(version),
            },
            What::DecideDelete { remove } => CatalogOp::DecideDelete {
                item,
                generation: life,
                version,
                remove,
            },
            What::FinishDelete => CatalogOp::FinishDelete {
                item,
                generation: life,
            },
            What::Get => CatalogOp::Get { item },
            What::List(limit) => CatalogOp::List {
                after: self.other_life.then_some(item),
                limit,
            },
        }
    }
}

/// An answer by its name, and whether something was written.
pub(crate) fn outcome_of(op: &Op, reply: &Reply, written: bool) -> String {
    let first = |value: &dyn fmt::Debug| {
        let text = format!("{value:?}");
        let word = text.split([' ', '(', '{']).next();
        word.unwrap_or_default().to_owned()
    };
    let asked = match op {
        Op::Catalog(op) => first(op),
        Op::Shard(_, op) => first(op),
        Op::Stripe(op) => first(op),
    };
    let answered = match reply {
        Reply::Catalog(reply) => first(reply),
        reply => first(reply),
    };
    let new = if written { " new" } else { "" };
    format!("{asked} {answered}{new}")
}

#[derive(Clone, Debug)]
struct Histories(Vec<CatalogAsk>);

impl Case for Histories {
    type Step = CatalogAsk;
    fn steps(&mut self) -> &mut Vec<CatalogAsk> {
        &mut self.0
    }
}

const ANSWERS: &str = "\
    BeginCreate Entry new, BeginCreate Entry, BeginCreate Exists, FinishCreate Entry new, \
    FinishCreate Entry, FinishCreate NotFound, Update Entry new, Update VersionMismatch, \
    FinishUpdate Entry new, FinishUpdate Entry, BeginDelete Entry new, BeginDelete Entry, \
    BeginDelete VersionMismatch, BeginDelete NotFound, DecideDelete Entry new, \
    DecideDelete VersionMismatch, DecideDelete NotFound, FinishDelete Entry, \
    FinishDelete NotFound new, FinishDelete NotFound, Get Entry, List Page";

#[test]
fn random_catalogs_lose_no_item_that_nobody_decided_to_remove() {
    let answers = RefCell::new(BTreeSet::new());
    let draw = |rng: &mut Rng| {
        let steps = rng.between(20, 80);
        Histories((0..steps).map(|_| CatalogAsk::draw(rng)).collect())
    };
    for_cases("catalogs", 1_000, draw, |case| {
        let mut stripe = Stripe::new(identity(), T0);
        for ask in &case.0 {
            let before = stripe.catalog.clone();
            let op = Op::Catalog(ask.op(&before));
            let stamp = Stamp {
                now: stripe.guard.time.plus_ms(1),
                full: false,
                freeze_id: 7,
            };
            let reply = stripe.run(stamp, [&op], &mut Changes::default()).remove(0);
            let written = before != stripe.catalog;
            answers
                .borrow_mut()
                .insert(outcome_of(&op, &reply, written));
            let Op::Catalog(op) = &op else { continue };
            let ids: BTreeSet<_> = before.keys().chain(stripe.catalog.keys()).collect();
            for id in ids {
                let (was, is) = (before.get(id), stripe.catalog.get(id));
                ensure!(is.is_none_or(is_sound), "after {op:?}: {is:?}");
                ensure!(
                    was == is || may_become(was, is, op),
                    "{op:?} made {is:?}\nof {was:?}"
                );
            }
        }
        Ok(())
    });
    // What never happens was not tested.
    let answers = answers.into_inner();
    let missing = |answer: &&str| !answers.contains(*answer);
    let missed: Vec<_> = ANSWERS.split(", ").filter(missing).collect();
    assert!(missed.is_empty(), "never answered: {missed:?}\n{answers:?}");
}

fn is_sound(entry: &Entry) -> bool {
    let deleting = entry.terms.settings.selling == Selling::Deleting;
    entry.spread <= entry.version
        && entry.life.is_ending() == entry.deletion.is_some()
        && entry.life.is_ending() == deleting
}

/// The ways that an entry can go, each by its one operation, and what else
/// changes with it.
fn may_become(was: Option<&Entry>, is: Option<&Entry>, op: &CatalogOp) -> bool {
    let (was, is) = match (was, is) {
        (None, Some(is)) => {
            return matches!(op, CatalogOp::BeginCreate(_)) && is.life == Life::Creating;
        }
        (Some(was), None) => {
            return matches!(op, CatalogOp::FinishDelete { .. }) && was.life == Life::Removing;
        }
        (Some(was), Some(is)) => (was, is),
        (None, None) => return true,
    };
    let fixed = |e: &Entry| (e.generation, e.created, e.create_request, e.spec.clone());
    let next = is.version == was.version + 1 && is.updated > was.updated;
    let same_terms = is.version == was.version && is.terms == was.terms;
    let selling = |entry: &Entry| entry.terms.settings.selling;
    let by_the_rules = match (was.life, is.life, op) {
        (Life::Creating, Life::Live, CatalogOp::FinishCreate { .. }) => same_terms,
        (Life::Live, Life::Live, CatalogOp::Update { expected, .. }) => {
            next && *expected == was.version
        }
        (was_life, is_life, CatalogOp::FinishUpdate { version, .. }) => {
            same_terms && was_life == is_life && is.spread == *version && is.spread > was.spread
        }
        (Life::Live, Life::Deleting, CatalogOp::BeginDelete { expected, .. }) => {
            next && expected.is_none_or(|version| version == was.version)
                && is.deletion.is_some_and(|d| d.former == selling(was))
        }
        (from, to, CatalogOp::BeginDelete { force: true, .. }) => {
            let forced = was.deletion.map(|d| Deletion { force: true, ..d });
            from == to && same_terms && is.deletion == forced
        }
        (
            Life::Deleting,
            Life::Removing,
            CatalogOp::DecideDelete {
                version, remove, ..
            },
        ) => *remove && same_terms && *version == was.version && was.spread >= *version,
        (
            Life::Deleting,
            Life::Live,
            CatalogOp::DecideDelete {
                version, remove, ..
            },
        ) => {
            let unforced = was
                .deletion
                .is_some_and(|d| !d.force && d.former == selling(is));
            !*remove && next && *version == was.version && unforced
        }
        _ => false,
    };
    by_the_rules && fixed(was) == fixed(is) && is.spread >= was.spread
}
