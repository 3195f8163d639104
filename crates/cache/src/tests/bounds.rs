//! Bounds in entries and bytes, whatever keys are invented.

use std::sync::Arc;

use super::{KEEP_MS, Numbers, limits};
use crate::{Bound, Cache, Clock, Found, Limits, Sizes};

/// Keys invented in a flood.
const FLOOD: u32 = 100_000;

fn of(limits: Limits) -> Numbers {
    Cache::new(limits, Sizes::INLINE, Arc::new(Clock::default()))
}

fn put(cache: &Numbers, key: u32, found: Found<u64, &'static str>) {
    assert!(cache.put(&key, cache.clock().ticket(), found, KEEP_MS));
}

#[test]
fn entries_are_bounded() {
    for entries_max in [0, 1, 100, 16_384] {
        let cache = of(limits(entries_max));
        for key in 0..FLOOD {
            put(&cache, key, Found::Known(1));
            put(&cache, FLOOD + key, Found::Absent);
        }
        let figures = cache.figures();
        let bound = u64::from(entries_max);
        for entries in [figures.known_entries, figures.unknown_entries] {
            assert!(entries <= bound, "{entries} of {bound}");
            assert!(entries >= bound - bound / 8, "only {entries} of {bound}");
        }
        let evicted = u64::from(2 * FLOOD) - figures.known_entries - figures.unknown_entries;
        assert_eq!(figures.evictions, evicted);
    }
}

#[test]
fn bytes_are_bounded() {
    const BYTES_MAX: u64 = 1 << 20;
    let bound = Bound {
        entries_max: 50_000,
        bytes_max: BYTES_MAX,
    };
    let sizes = Sizes {
        key: |_: &u32| 4,
        value: |value: &Arc<[u8]>| value.len(),
        error: |()| 0,
    };
    let limits = Limits {
        known: bound,
        unknown: bound,
    };
    let cache = Cache::new(limits, sizes, Arc::new(Clock::default()));
    let value: Arc<[u8]> = vec![0; 1_000].into();
    for key in 0..FLOOD {
        let found = Found::Known(Arc::clone(&value));
        cache.put(&key, cache.clock().ticket(), found, KEEP_MS);
    }
    let figures = cache.figures();
    // A byte for each part that the bound does not divide by.
    assert!(figures.known_bytes <= BYTES_MAX + 1_024, "{figures:?}");
    assert!(figures.known_bytes >= BYTES_MAX / 2, "{figures:?}");
    assert!(
        figures.known_bytes >= figures.known_entries * 1_004,
        "{figures:?}"
    );
}

#[test]
fn what_is_too_large_is_not_remembered() {
    let sizes = Sizes {
        value: |value: &u64| usize::try_from(*value).unwrap(),
        ..Sizes::INLINE
    };
    let cache: Numbers = Cache::new(limits(16), sizes, Arc::new(Clock::default()));
    put(&cache, 1, Found::Known(10));
    assert!(cache.get(&1).is_some());
    put(&cache, 1, Found::Known(u64::MAX));
    assert_eq!(cache.get(&1), None, "an older value has its place");
}

#[test]
fn a_flood_of_unknown_keys_leaves_the_known_ones() {
    let cache = of(limits(1_000));
    // Well below the bound: keys do not spread evenly over its parts.
    for key in 0..500 {
        put(&cache, key, Found::Known(1));
    }
    for key in 0..FLOOD {
        put(&cache, 1_000 + key, Found::Absent);
        put(&cache, 1_000 + FLOOD + key, Found::Failed("away"));
    }
    assert!((0..500).all(|key| cache.get(&key).is_some()));
}

#[test]
fn four_fifths_of_a_bound_fit_without_evictions() {
    for entries_max in [600, 1_024, 12_500, 16_384] {
        let cache = of(limits(entries_max));
        let mut fitting = 0..entries_max / 5 * 4;
        for key in fitting.clone() {
            put(&cache, key, Found::Absent);
        }
        assert!(fitting.all(|key| cache.get(&key) == Some(Found::Absent)));
        assert_eq!(cache.figures().evictions, 0);
    }
}

#[test]
fn invalidations_of_any_number_of_keys_take_no_memory() {
    let cache = of(limits(1_000));
    for key in 0..FLOOD {
        cache.invalidate(&key);
    }
    let figures = cache.figures();
    assert_eq!((figures.known_entries, figures.unknown_entries), (0, 0));
    assert_eq!(cache.flights(), 0);
}
