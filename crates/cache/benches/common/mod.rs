//! What both benchmarks measure.

use std::sync::Arc;

use cache::{Bound, Cache, Clock, Found, Limits, Sizes};

/// Keys as services have them.
pub(crate) type Key = Arc<str>;
/// A value that costs nothing to clone.
pub(crate) type Copied = [u64; 2];
/// One that is too large to be copied out.
pub(crate) type Counted = Arc<[u64; 16]>;

pub(crate) const ENTRIES: u64 = 10_000;
pub(crate) const KEEP_MS: u64 = 1_000;
pub(crate) const KNOWN: &str = "sneaker-2027-00000007";
pub(crate) const ABSENT: &str = "sneaker-2027-00010007";
pub(crate) const MISSING: &str = "sneaker-2027-00090007";

pub(crate) fn key(number: u64) -> Key {
    format!("sneaker-2027-{number:08}").into()
}

/// With as many values as absent keys, half of what fits.
pub(crate) fn half_full<V: Clone>(value: &V) -> Cache<Key, V, u8> {
    let bound = Bound {
        entries_max: 20_000,
        bytes_max: 64 << 20,
    };
    let limits = Limits {
        known: bound,
        unknown: bound,
    };
    let sizes = Sizes {
        key: |key: &Key| key.len(),
        ..Sizes::INLINE
    };
    let cache = Cache::new(limits, sizes, Arc::new(Clock::default()));
    for number in 0..ENTRIES {
        let ticket = cache.clock().ticket();
        cache.put(&key(number), ticket, Found::Known(value.clone()), KEEP_MS);
        cache.put(&key(ENTRIES + number), ticket, Found::Absent, KEEP_MS);
    }
    cache
}
