//! What items exist: created once, changed by who saw the last change, listed
//! page by page.

use super::super::*;
use super::fixture::{T0, generation, identity, item, request, settings};
use crate::ids::{ItemId, StripeNo};
use crate::time::Millis;

pub(crate) fn terms(display_name: &str) -> Terms {
    Terms {
        settings: settings(),
        display_name: display_name.into(),
        state_reason: String::new(),
    }
}

/// As a creator sends it: request `n`, which asks for `n` units.
pub(crate) fn new_entry(name: &ItemId, n: u32) -> NewEntry {
    NewEntry {
        item: name.clone(),
        generation: generation(n.into()),
        terms: terms("a sneaker"),
        placement: vec![StripeNo(0)],
        create_request: request(n),
        spec: ItemSpec {
            display_name: "a sneaker".into(),
            shard_count: 0,
            hold_ttl_ms: None,
            max_hold_ms: None,
            sell_at_once: false,
            max_units_per_buyer: 2,
            max_units_per_reservation: 0,
            sale_start: None,
            sale_end: None,
            retention_ms: None,
            initial_stock: n.into(),
        },
    }
}

pub(crate) struct Catalog {
    stripe: Stripe,
    pub now: Millis,
    pub full: bool,
}

impl Catalog {
    pub(crate) fn new() -> Self {
        Self {
            stripe: Stripe::new(identity(), T0),
            now: T0,
            full: false,
        }
    }

    /// Asks; says whether something was written.
    pub(crate) fn ask(&mut self, op: CatalogOp) -> (CatalogReply, bool) {
        let stamp = Stamp {
            freeze_id: 7,
            now: self.now,
            full: self.full,
        };
        let (before, mut changes) = (self.stripe.clone(), Changes::default());
        let reply = self
            .stripe
            .run(stamp, [&Op::Catalog(op)], &mut changes)
            .remove(0);
        let written = changes.guard;
        assert_eq!(written, before.catalog != self.stripe.catalog);
        assert_eq!(written, !changes.catalog.is_empty());
        assert_eq!(self.stripe.guard.seq - before.guard.seq, u64::from(written));
        match reply {
            Reply::Catalog(reply) => (reply, written),
            other => panic!("not the catalog's answer: {other:?}"),
        }
    }

    /// Asks, and expects the entry.
    pub(crate) fn entry(&mut self, op: CatalogOp) -> (Entry, bool) {
        match self.ask(op) {
            (CatalogReply::Entry(entry), written) => (*entry, written),
            other => panic!("no entry: {other:?}"),
        }
    }
}

pub(crate) fn create(new: &NewEntry) -> CatalogOp {
    CatalogOp::BeginCreate(Box::new(new.clone()))
}

pub(crate) fn finish_create(new: &NewEntry) -> CatalogOp {
    CatalogOp::FinishCreate {
        item: new.item.clone(),
        generation: new.generation,
    }
}

pub(crate) fn update(new: &NewEntry, expected: u64, name: &str) -> CatalogOp {
    CatalogOp::Update {
        item: new.item.clone(),
        generation: new.generation,
        expected,
        terms: Box::new(terms(name)),
    }
}

pub(crate) fn finish_update(new: &NewEntry, version: u64) -> CatalogOp {
    CatalogOp::FinishUpdate {
        item: new.item.clone(),
        generation: new.generation,
        version,
    }
}

#[test]
fn the_same_create_finds_the_item_it_made_also_after_an_update() {
    let mut catalog = Catalog::new();
    let new = new_entry(&item("x"), 1);
    let (made, written) = catalog.entry(create(&new));
    assert!(written);
    let expected = Entry {
        deletion: None,
        item: new.item.clone(),
        generation: new.generation,
        life: Life::Creating,
        version: 1,
        spread: 1,
        terms: new.terms.clone(),
        placement: new.placement.clone(),
        create_request: new.create_request,
        spec: new.spec.clone(),
        created: T0,
        updated: T0,
    };
    assert_eq!(made, expected);
    catalog.now = T0.plus_ms(5);
    // Every attempt draws a generation and a placement of its own: the first
    // one's count.
    let again = NewEntry {
        generation: generation(9),
        placement: vec![StripeNo(3)],
        ..new.clone()
    };
    assert_eq!(catalog.entry(create(&again)), (expected, false));
    catalog.entry(finish_create(&new));
    catalog.entry(update(&new, 1, "another name"));
    let (found, written) = catalog.entry(create(&again));
    assert!(!written);
    assert_eq!(
        (found.version, &*found.terms.display_name),
        (2, "another name")
    );
}

#[test]
fn any_other_create_of_the_id_is_refused() {
    let mut catalog = Catalog::new();
    let new = new_entry(&item("x"), 1);
    let (made, _) = catalog.entry(create(&new));
    let mut other_contents = new.clone();
    other_contents.spec.initial_stock += 1;
    let other_request = NewEntry {
        create_request: request(2),
        ..new.clone()
    };
    for other in [other_contents, other_request] {
        let exists = CatalogReply::Exists(Box::new(made.clone()));
        assert_eq!(catalog.ask(create(&other)), (exists, false));
    }
}

#[test]
fn a_nearly_full_store_makes_no_items_but_finds_and_changes_them() {
    let mut catalog = Catalog::new();
    let new = new_entry(&item("x"), 1);
    catalog.entry(create(&new));
    catalog.full = true;
    let other = new_entry(&item("y"), 2);
    assert_eq!(catalog.ask(create(&other)), (CatalogReply::Full, false));
    assert!(matches!(
        catalog
            .ask(create(&NewEntry {
                item: new.item.clone(),
                ..other
            }))
            .0,
        CatalogReply::Exists(_)
    ));
    assert!(!catalog.entry(create(&new)).1);
    assert!(catalog.entry(finish_create(&new)).1);
    assert!(catalog.entry(update(&new, 1, "a")).1);
}

#[test]
fn a_creation_is_finished_once() {
    let mut catalog = Catalog::new();
    let new = new_entry(&item("x"), 1);
    catalog.entry(create(&new));
    let (live, written) = catalog.entry(finish_create(&new));
    assert_eq!((live.life, written), (Life::Live, true));
    assert_eq!(catalog.entry(finish_create(&new)), (live, false));
}

#[test]
fn an_update_wants_the_version_it_was_made_from() {
    let mut catalog = Catalog::new();
    let new = new_entry(&item("x"), 1);
    let (made, _) = catalog.entry(create(&new));
    // Nothing is changed before its shards are there.
    let creating = CatalogReply::VersionMismatch(Box::new(made));
    assert_eq!(catalog.ask(update(&new, 1, "one")), (creating, false));
    catalog.entry(finish_create(&new));
    catalog.now = T0.plus_ms(5);
    let (first, written) = catalog.entry(update(&new, 1, "one"));
    assert!(written);
    assert_eq!((first.version, first.spread), (2, 1));
    assert_eq!((first.created, first.updated), (T0, T0.plus_ms(5)));
    // Who read version 1 as well has missed a change.
    for stale in [1, 3] {
        let mismatch = CatalogReply::VersionMismatch(Box::new(first.clone()));
        assert_eq!(catalog.ask(update(&new, stale, "two")), (mismatch, false));
    }
    let (second, _) = catalog.entry(update(&new, 2, "two"));
    assert_eq!((second.version, &*second.terms.display_name), (3, "two"));
}

#[test]
fn what_is_spread_only_grows_and_never_beyond_what_is_recorded() {
    let mut catalog = Catalog::new();
    let new = new_entry(&item("x"), 1);
    catalog.entry(create(&new));
    catalog.entry(finish_create(&new));
    catalog.entry(update(&new, 1, "one"));
    catalog.entry(update(&new, 2, "two"));
    for (version, spread, written) in [(4, 1, false), (3, 3, true), (3, 3, false), (2, 3, false)] {
        let (entry, was_written) = catalog.entry(finish_update(&new, version));
        assert_eq!(
            (entry.spread, was_written),
            (spread, written),
            "finishing {version}"
        );
    }
}

#[test]
fn another_life_of_the_id_is_another_item() {
    let mut catalog = Catalog::new();
    let new = new_entry(&item("x"), 1);
    catalog.entry(create(&new));
    let former = NewEntry {
        generation: generation(9),
        ..new.clone()
    };
    let unknown = NewEntry {
        item: item("y"),
        ..new.clone()
    };
    for other in [former, unknown] {
        for op in [
            finish_create(&other),
            update(&other, 1, "one"),
            finish_update(&other, 1),
        ] {
            assert_eq!(catalog.ask(op), (CatalogReply::NotFound, false));
        }
    }
    assert_eq!(
        catalog.entry(CatalogOp::Get { item: item("x") }).0.version,
        1
    );
    let nobody = CatalogOp::Get { item: item("y") };
    assert_eq!(catalog.ask(nobody), (CatalogReply::NotFound, false));
}

#[test]
fn a_list_goes_through_all_ids_in_their_order() {
    let mut catalog = Catalog::new();
    for (name, n) in [("d", 1), ("b", 2), ("a", 3), ("c", 4)] {
        catalog.entry(create(&new_entry(&item(name), n)));
    }
    let mut page = |after: Option<&str>, limit| {
        let after = after.map(item);
        match catalog.ask(CatalogOp::List { after, limit }) {
            (CatalogReply::Page { entries, more }, false) => {
                let names = entries.iter().map(|e| e.item.as_str().to_owned());
                (names.collect::<Vec<_>>().join(" "), more)
            }
            other => panic!("not a page: {other:?}"),
        }
    };
    assert_eq!(page(None, 3), ("a b c".into(), true));
    assert_eq!(page(None, 4), ("a b c d".into(), false));
    assert_eq!(page(Some("c"), 3), ("d".into(), false));
    // After an id that is gone, or was never there.
    assert_eq!(page(Some("bb"), 1), ("c".into(), true));
    assert_eq!(page(Some("d"), 3), (String::new(), false));
    assert_eq!(page(None, 0), (String::new(), true));
}
