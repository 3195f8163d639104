//! How an item goes: its grants stop, whether it goes is found out, that is
//! decided once, its shards are taken away, and then its entry.

use super::super::*;
use super::catalog::{Catalog, create, finish_create, finish_update, new_entry, update};
use super::fixture::{generation, item};

fn begin(new: &NewEntry, force: bool, expected: Option<u64>) -> CatalogOp {
    CatalogOp::BeginDelete {
        item: new.item.clone(),
        generation: new.generation,
        force,
        expected,
    }
}

fn decide(new: &NewEntry, version: u64, remove: bool) -> CatalogOp {
    CatalogOp::DecideDelete {
        item: new.item.clone(),
        generation: new.generation,
        version,
        remove,
    }
}

fn finish(new: &NewEntry) -> CatalogOp {
    CatalogOp::FinishDelete {
        item: new.item.clone(),
        generation: new.generation,
    }
}

/// A live item, version 1.
fn live() -> (Catalog, NewEntry) {
    let (mut catalog, new) = (Catalog::new(), new_entry(&item("x"), 1));
    catalog.entry(create(&new));
    catalog.entry(finish_create(&new));
    (catalog, new)
}

/// An item that is being deleted since version 2, which every shard obeys.
fn deleting(force: bool) -> (Catalog, NewEntry) {
    let (mut catalog, new) = live();
    catalog.entry(begin(&new, force, None));
    catalog.entry(finish_update(&new, 2));
    (catalog, new)
}

fn get(catalog: &mut Catalog) -> Entry {
    catalog.entry(CatalogOp::Get { item: item("x") }).0
}

/// Refused with the entry as it is, and nothing written.
#[track_caller]
fn refused(catalog: &mut Catalog, op: &CatalogOp) {
    let entry = get(catalog);
    let mismatch = CatalogReply::VersionMismatch(Box::new(entry));
    assert_eq!(catalog.ask(op.clone()), (mismatch, false), "{op:?}");
}

#[test]
fn a_deletion_stops_grants_under_the_next_version_like_a_pause() {
    let (mut catalog, new) = live();
    catalog.now = catalog.now.plus_ms(5);
    let before = get(&mut catalog);
    let (entry, written) = catalog.entry(begin(&new, false, None));
    assert!(written);
    let mut expected = Entry {
        life: Life::Deleting,
        version: 2,
        updated: catalog.now,
        deletion: Some(Deletion {
            force: false,
            former: Selling::Open,
        }),
        ..before
    };
    expected.terms.settings.selling = Selling::Deleting;
    assert_eq!(entry, expected);
    // Whoever meets it begins it again.
    assert_eq!(catalog.entry(begin(&new, false, None)), (entry, false));
}

#[test]
fn a_deletion_wants_the_version_that_its_caller_has_seen() {
    let (mut catalog, new) = live();
    catalog.entry(update(&new, 1, "another name"));
    for other in [1, 3] {
        refused(&mut catalog, &begin(&new, true, Some(other)));
    }
    assert!(catalog.entry(begin(&new, false, Some(2))).1);
    // A repeat names the version from before the deletion.
    assert!(!catalog.entry(begin(&new, false, Some(2))).1);
}

#[test]
fn an_item_that_is_still_being_created_is_not_deleted() {
    let (mut catalog, new) = (Catalog::new(), new_entry(&item("x"), 1));
    catalog.entry(create(&new));
    refused(&mut catalog, &begin(&new, true, None));
    refused(&mut catalog, &decide(&new, 1, true));
    assert!(!catalog.entry(finish(&new)).1);
}

#[test]
fn force_may_be_added_later_and_is_not_taken_back() {
    let (mut catalog, new) = deleting(false);
    let (forced, written) = catalog.entry(begin(&new, true, None));
    assert!(written && forced.deletion.is_some_and(|d| d.force));
    assert_eq!((forced.version, forced.spread), (2, 2));
    for force in [true, false] {
        assert_eq!(
            catalog.entry(begin(&new, force, None)),
            (forced.clone(), false)
        );
    }
}

/// Held units were found before somebody asked for force: it goes all the same.
#[test]
fn what_was_forced_since_does_not_come_back() {
    let (mut catalog, new) = deleting(false);
    catalog.entry(begin(&new, true, None));
    refused(&mut catalog, &decide(&new, 2, false));
    assert_eq!(catalog.entry(decide(&new, 2, true)).0.life, Life::Removing);
}

/// ⚔ One server saw a held unit, the other looked after it was cancelled: the
/// first decision counts, or the shards of an item on sale would be taken away.
#[test]
fn two_servers_that_saw_different_things_decide_once() {
    let (mut catalog, new) = deleting(false);
    assert_eq!(catalog.entry(decide(&new, 2, true)).0.life, Life::Removing);
    refused(&mut catalog, &decide(&new, 2, false));
    refused(&mut catalog, &decide(&new, 2, true));

    let (mut catalog, new) = deleting(false);
    assert_eq!(catalog.entry(decide(&new, 2, false)).0.life, Life::Live);
    refused(&mut catalog, &decide(&new, 2, true));
    refused(&mut catalog, &decide(&new, 2, false));
}

/// The deletion after the next is not the one that was found out about.
#[test]
fn what_was_found_out_of_an_earlier_deletion_decides_nothing() {
    let (mut catalog, new) = deleting(false);
    catalog.entry(decide(&new, 2, false));
    catalog.entry(begin(&new, false, None));
    catalog.entry(finish_update(&new, 4));
    refused(&mut catalog, &decide(&new, 2, true));
    refused(&mut catalog, &decide(&new, 2, false));
    refused(&mut catalog, &decide(&new, 5, true));
    assert!(catalog.entry(decide(&new, 4, true)).1);
}

/// ⚔ A shard that has not heard of it may still grant.
#[test]
fn nothing_is_removed_before_every_shard_obeys() {
    let (mut catalog, new) = live();
    catalog.entry(begin(&new, true, None));
    refused(&mut catalog, &decide(&new, 2, true));
    catalog.entry(finish_update(&new, 2));
    assert!(catalog.entry(decide(&new, 2, true)).1);
    // That it stays can be decided at once: nothing is lost by it.
    let (mut catalog, new) = live();
    catalog.entry(begin(&new, false, None));
    assert!(catalog.entry(decide(&new, 2, false)).1);
}

#[test]
fn what_does_not_go_is_as_before_under_the_next_version() {
    for former in [Selling::Open, Selling::Paused, Selling::Closed] {
        let (mut catalog, new) = live();
        let mut op = update(&new, 1, "another name");
        if let CatalogOp::Update { terms, .. } = &mut op {
            terms.settings.selling = former;
            terms.state_reason = "for a reason".into();
        }
        let (before, _) = catalog.entry(op);
        catalog.entry(begin(&new, false, None));
        catalog.entry(finish_update(&new, 3));
        catalog.now = catalog.now.plus_ms(5);
        let (entry, written) = catalog.entry(decide(&new, 3, false));
        assert!(written);
        // The shards have to hear of it: version 4 is not spread.
        let expected = Entry {
            version: 4,
            spread: 3,
            updated: catalog.now,
            ..before
        };
        assert_eq!(entry, expected);
        assert!(catalog.entry(update(&new, 4, "and on")).1);
    }
}

#[test]
fn nothing_is_updated_while_it_ends() {
    let (mut catalog, new) = deleting(false);
    refused(&mut catalog, &update(&new, 2, "another name"));
    catalog.entry(decide(&new, 2, true));
    refused(&mut catalog, &update(&new, 2, "another name"));
    // And there is no way back.
    assert!(!catalog.entry(begin(&new, false, None)).1);
    assert!(!catalog.entry(finish_create(&new)).1);
    assert_eq!(get(&mut catalog).life, Life::Removing);
}

#[test]
fn an_entry_goes_only_once_its_removal_is_decided() {
    let (mut catalog, new) = live();
    assert!(!catalog.entry(finish(&new)).1);
    catalog.entry(begin(&new, true, None));
    catalog.entry(finish_update(&new, 2));
    assert!(!catalog.entry(finish(&new)).1);
    catalog.entry(decide(&new, 2, true));
    let former = NewEntry {
        generation: generation(9),
        ..new.clone()
    };
    assert_eq!(
        catalog.ask(finish(&former)),
        (CatalogReply::NotFound, false)
    );
    assert_eq!(catalog.ask(finish(&new)), (CatalogReply::NotFound, true));
    assert_eq!(catalog.ask(finish(&new)), (CatalogReply::NotFound, false));
}

#[test]
fn a_nearly_full_store_deletes() {
    let (mut catalog, new) = live();
    catalog.full = true;
    assert!(catalog.entry(begin(&new, false, None)).1);
    assert!(catalog.entry(finish_update(&new, 2)).1);
    assert!(catalog.entry(decide(&new, 2, true)).1);
    assert_eq!(catalog.ask(finish(&new)), (CatalogReply::NotFound, true));
}

/// Its next life is another item: nothing of the deletion touches it.
#[test]
fn the_id_of_a_deleted_item_may_be_created_again() {
    let (mut catalog, new) = deleting(true);
    // Until then it is taken.
    let next = NewEntry {
        generation: generation(2),
        ..new_entry(&new.item, 2)
    };
    let there = Box::new(get(&mut catalog));
    assert_eq!(
        catalog.ask(create(&next)),
        (CatalogReply::Exists(there), false)
    );
    catalog.entry(decide(&new, 2, true));
    catalog.ask(finish(&new));
    let (entry, written) = catalog.entry(create(&next));
    assert!(written);
    assert_eq!((entry.generation, entry.version), (generation(2), 1));
    assert_eq!((entry.life, entry.deletion), (Life::Creating, None));
    catalog.entry(finish_create(&next));
    for late in [
        begin(&new, true, None),
        decide(&new, 2, true),
        decide(&new, 1, false),
        finish(&new),
        finish_update(&new, 1),
    ] {
        assert_eq!(catalog.ask(late), (CatalogReply::NotFound, false));
    }
}
