//! What began before an invalidation is not believed after it.

use std::sync::Arc;

use super::{Call, KEEP_MS, Numbers, known, roomy, roomy_by};
use crate::{Cache, Found, Loaded};

#[test]
fn what_is_remembered_is_invalidated() {
    let cache = roomy();
    cache.put(&1, cache.clock().ticket(), Found::Known(7), KEEP_MS);
    cache.put(&2, cache.clock().ticket(), Found::Absent, KEEP_MS);
    cache.put(&3, cache.clock().ticket(), Found::Failed("away"), KEEP_MS);
    for key in 1..4 {
        assert!(cache.get(&key).is_some());
        cache.invalidate(&key);
        assert_eq!(cache.get(&key), None);
    }
    assert_eq!(cache.figures().invalidations, 3);
}

#[test]
fn all_is_invalidated_at_once() {
    let cache = roomy();
    for key in 0..100 {
        cache.put(&key, cache.clock().ticket(), Found::Known(7), KEEP_MS);
    }
    cache.invalidate_all();
    assert!((0..100).all(|key| cache.get(&key).is_none()));
    assert!(cache.put(&1, cache.clock().ticket(), Found::Known(8), KEEP_MS));
    assert_eq!(cache.get(&1), Some(Found::Known(8)));
}

/// The ways to invalidate key 1.
const WAYS: [fn(&Numbers); 2] = [|cache| cache.invalidate(&1), Cache::invalidate_all];

#[test]
fn a_load_across_an_invalidation_does_not_land() {
    for invalidate in WAYS {
        let cache = roomy();
        let call = Call::get(&cache, &1);
        invalidate(&cache);
        // True when it was asked for: the caller asked before.
        assert_eq!(call.end(known(7)), Found::Known(7));
        assert_eq!(cache.get(&1), None, "it is stale");
        assert_eq!(cache.figures().stale, 1);
    }
}

#[test]
fn a_failure_across_an_invalidation_does_not_land() {
    for invalidate in WAYS {
        let cache = roomy();
        let call = Call::get(&cache, &1);
        invalidate(&cache);
        let mut after = Call::later(&cache, &1);
        call.end(Loaded::keep(Found::Failed("away"), KEEP_MS));
        assert_eq!(cache.get(&1), None, "it is back by now");
        assert!(after.loads());
    }
}

#[test]
fn whoever_comes_after_an_invalidation_is_not_told_what_began_before() {
    for invalidate in WAYS {
        let cache = roomy();
        let first = Call::get(&cache, &1);
        let mut before = Call::get(&cache, &1);
        invalidate(&cache);
        let mut after = Call::get(&cache, &1);
        first.end(known(7));
        assert_eq!(before.poll(), Some(Found::Known(7)));
        drop(before);
        assert!(after.loads(), "it was told a stale value");
        assert_eq!(after.end(known(8)), Found::Known(8));
        assert_eq!(cache.get(&1), Some(Found::Known(8)));
    }
}

#[test]
fn a_put_across_an_invalidation_does_not_land() {
    for invalidate in WAYS {
        let cache = roomy();
        let ticket = cache.clock().ticket();
        invalidate(&cache);
        for found in [Found::Known(7), Found::Absent, Found::Failed("away")] {
            assert!(!cache.put(&1, ticket, found, KEEP_MS));
        }
        assert_eq!(cache.get(&1), None);
        assert_eq!(cache.figures().stale, 3);
    }
}

#[test]
fn an_invalidation_just_before_a_put_lands_is_not_missed() {
    // As if it came between the put's comparison and its insertion.
    let cache = roomy();
    let ticket = cache.clock().ticket();
    cache.put(&1, ticket, Found::Known(7), KEEP_MS);
    cache.invalidate(&1);
    assert_eq!(cache.get(&1), None);
}

#[test]
fn what_began_earlier_does_not_take_the_place_of_what_began_later() {
    let [early, late] = {
        let cache = roomy();
        [cache.clock().ticket(), cache.clock().ticket()]
    };
    for first in [Found::Known(8), Found::Absent] {
        for second in [Found::Known(7), Found::Absent, Found::Failed("away")] {
            let cache = roomy();
            assert!(cache.put(&1, late, first, KEEP_MS));
            assert!(!cache.put(&1, early, second, KEEP_MS));
            assert_eq!(cache.get(&1), Some(first));
            assert_eq!(cache.figures().stale, 1);
        }
    }
}

#[test]
fn the_newest_answer_is_the_one() {
    let cache = roomy();
    for found in [
        Found::Absent,
        Found::Known(1),
        Found::Absent,
        Found::Known(2),
    ] {
        assert!(cache.put(&1, cache.clock().ticket(), found, KEEP_MS));
        assert_eq!(cache.get(&1), Some(found));
    }
    let figures = cache.figures();
    assert_eq!((figures.known_entries, figures.unknown_entries), (1, 0));
}

#[test]
fn a_failure_does_not_take_a_values_place() {
    let cache = roomy();
    cache.put(&1, cache.clock().ticket(), Found::Known(7), KEEP_MS);
    cache.put(&1, cache.clock().ticket(), Found::Failed("away"), 200);
    assert_eq!(cache.get(&1), Some(Found::Known(7)));
}

#[test]
fn the_last_known_value_outlives_all_but_absence() {
    let cache = roomy();
    assert_eq!(cache.last_known(&1), None);
    cache.put(&1, cache.clock().ticket(), Found::Known(7), KEEP_MS);
    cache.clock().advance_to(2 * KEEP_MS);
    cache.invalidate(&1);
    cache.invalidate_all();
    cache.put(&1, cache.clock().ticket(), Found::Failed("away"), KEEP_MS);
    assert_eq!(cache.get(&1), Some(Found::Failed("away")));
    assert_eq!(cache.last_known(&1), Some(7));
    cache.put(&1, cache.clock().ticket(), Found::Absent, KEEP_MS);
    assert_eq!(cache.last_known(&1), None);
}

#[test]
fn a_value_is_undisputed_until_its_own_key_is_invalidated() {
    let cache = roomy();
    cache.put(&1, cache.clock().ticket(), Found::Known(7), KEEP_MS);
    cache.clock().advance_to(2 * KEEP_MS);
    cache.invalidate_all();
    assert_eq!((cache.get(&1), cache.last_undisputed(&1)), (None, Some(7)));
    cache.invalidate(&1);
    assert_eq!(cache.last_undisputed(&1), None);
}

#[test]
fn one_ticket_serves_all_caches_of_a_clock() {
    let clock = Arc::default();
    let (one, other) = (roomy_by(&clock), roomy_by(&clock));
    let ticket = one.clock().ticket();
    other.invalidate(&1);
    assert!(one.put(&1, ticket, Found::Known(7), KEEP_MS));
    assert!(!other.put(&1, ticket, Found::Known(7), KEEP_MS));
}
