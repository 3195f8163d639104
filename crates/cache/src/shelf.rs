//! A bounded map of entries. The one place that names `quick_cache`.

use std::borrow::Borrow;
use std::hash::Hash;
use std::sync::Arc;

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, Lifecycle, OptionsBuilder, Weighter};

use crate::figures::Count;
use crate::invalidations::Slot;
use crate::limits::Bound;

/// What `quick_cache` itself spends on an entry, by its manual.
const OVERHEAD_BYTES: usize = 21;

/// Fewest entries of a part. Each part has an equal share of the bounds, while
/// keys spread by chance: of parts this large, none is full before four fifths
/// of all entries are there.
const PART_ENTRIES_MIN: u32 = 512;
/// Most parts. Only writers meet at a part's lock.
const PARTS_MAX: u32 = 64;

/// Entries of one kind.
pub(crate) struct Shelf<K, T> {
    entries: Cache<K, Entry<T>, ByWeight, DefaultHashBuilder, Evictions<K, T>>,
    /// An entry's share of the bytes if there are as many entries as may be.
    /// None weighs less, so the bound in bytes is one in entries, too.
    weight_min: u64,
}

/// Something remembered.
#[derive(Debug, Clone)]
pub(crate) struct Entry<T> {
    pub item: T,
    pub life: Life,
    weight: u64,
}

/// From when to when something is believed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Life {
    /// The number of its load: believed unless its key was invalidated later.
    pub began: u64,
    /// Believed before this time.
    pub deadline_ms: u64,
    /// Its key's slot, so that a hit need not hash the key once more.
    pub slot: Slot,
}

impl<K: Clone + Eq + Hash, T: Clone> Shelf<K, T> {
    pub(crate) fn new(bound: Bound, evictions: &Arc<Count>) -> Self {
        let entries_max = u64::from(bound.entries_max);
        let bytes_max = if entries_max == 0 { 0 } else { bound.bytes_max };
        let share = bytes_max.div_ceil(entries_max.max(1));
        // More than 97% of a part is never admitted; one entry alone would be.
        let admitted_max = bytes_max - bytes_max / 16;
        #[expect(clippy::expect_used, reason = "it fails without capacities only")]
        let options = OptionsBuilder::new()
            .shards(parts(bound.entries_max))
            .estimated_items_capacity(bound.entries_max as usize)
            .weight_capacity(bytes_max)
            .build()
            .expect("both capacities are set");
        let evictions = Evictions {
            count: Arc::clone(evictions),
            inner: DefaultLifecycle::default(),
        };
        let hasher = DefaultHashBuilder::default();
        Self {
            entries: Cache::with_options(options, ByWeight, hasher, evictions),
            weight_min: share.min(admitted_max).max(1),
        }
    }

    pub(crate) fn get<Q>(&self, key: &Q) -> Option<Entry<T>>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.entries.get(key)
    }

    /// As `get`, but does not count as use.
    pub(crate) fn peek<Q>(&self, key: &Q) -> Option<Entry<T>>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.entries.peek(key)
    }

    /// Remembers an item that owns, with its key, `heap_bytes` elsewhere.
    pub(crate) fn put(&self, key: &K, item: T, life: Life, heap_bytes: usize) {
        let inline_bytes = size_of::<K>() + size_of::<Entry<T>>() + OVERHEAD_BYTES;
        let bytes = inline_bytes.saturating_add(heap_bytes) as u64;
        let weight = bytes.max(self.weight_min);
        self.entries
            .insert(key.clone(), Entry { item, life, weight });
    }

    pub(crate) fn remove(&self, key: &K) {
        self.entries.remove(key);
    }

    /// How many there are, and what they weigh.
    pub(crate) fn size(&self) -> (u64, u64) {
        (self.entries.len() as u64, self.entries.weight())
    }
}

/// In how many parts a map is cut. By its size alone, not by the cores of the
/// machine as `quick_cache` does: what fits must be the same everywhere.
fn parts(entries_max: u32) -> usize {
    let parts = (entries_max / PART_ENTRIES_MIN).clamp(1, PARTS_MAX);
    1 << parts.ilog2()
}

#[derive(Clone)]
struct ByWeight;

impl<K, T> Weighter<K, Entry<T>> for ByWeight {
    fn weight(&self, _key: &K, entry: &Entry<T>) -> u64 {
        entry.weight
    }
}

/// Counts evictions; the rest is `quick_cache`'s own way, which drops what is
/// evicted outside its locks.
struct Evictions<K, T> {
    count: Arc<Count>,
    inner: DefaultLifecycle<K, Entry<T>>,
}

impl<K, T> Clone for Evictions<K, T> {
    fn clone(&self) -> Self {
        Self {
            count: Arc::clone(&self.count),
            inner: self.inner.clone(),
        }
    }
}

impl<K, T> Lifecycle<K, Entry<T>> for Evictions<K, T> {
    type RequestState = <DefaultLifecycle<K, Entry<T>> as Lifecycle<K, Entry<T>>>::RequestState;

    fn on_evict(&self, state: &mut Self::RequestState, key: K, entry: Entry<T>) {
        self.count.add_one();
        self.inner.on_evict(state, key, entry);
    }
}
