//! Since when what is remembered may be believed.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hash};
use std::sync::atomic::{AtomicU64, Ordering};

/// Slots for each known entry: two halve the collisions of one.
const SLOTS_PER_ENTRY: u32 = 2;
/// Fewest slots, so that small caches collide rarely, too (8 KiB).
const SLOTS_MIN: u32 = 1_024;
/// Most slots (8 MiB).
const SLOTS_MAX: u32 = 1 << 20;

/// When each key was last invalidated: keys share a fixed number of slots, so
/// that keys which are not remembered cost nothing. Two keys in one slot
/// invalidate each other, which costs a load and is never wrong.
#[derive(Debug)]
pub(crate) struct Invalidations {
    /// When all keys were.
    all: AtomicU64,
    slots: Box<[AtomicU64]>,
    /// Seeded, so that nobody can choose keys that collide.
    hasher: RandomState,
}

/// Where a key's invalidations are noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Slot(u32);

impl Invalidations {
    pub(crate) fn new(entries_max: u32) -> Self {
        let slots = entries_max
            .saturating_mul(SLOTS_PER_ENTRY)
            .clamp(SLOTS_MIN, SLOTS_MAX);
        Self {
            all: AtomicU64::new(0),
            slots: (0..slots).map(|_| AtomicU64::new(0)).collect(),
            hasher: RandomState::new(),
        }
    }

    pub(crate) fn slot<Q: Hash + ?Sized>(&self, key: &Q) -> Slot {
        let slots = self.slots.len() as u64;
        let slot = self.hasher.hash_one(key) % slots;
        Slot(u32::try_from(slot).unwrap_or(0)) // at most SLOTS_MAX
    }

    /// The last invalidation of the keys in this slot. What began later is
    /// believed.
    pub(crate) fn last(&self, slot: Slot) -> u64 {
        let all = self.all.load(Ordering::SeqCst);
        all.max(self.last_of_its_own(slot))
    }

    /// The same without those of all keys.
    pub(crate) fn last_of_its_own(&self, slot: Slot) -> u64 {
        self.slots[slot.index()].load(Ordering::SeqCst)
    }

    pub(crate) fn raise(&self, slot: Slot, number: u64) {
        self.slots[slot.index()].fetch_max(number, Ordering::SeqCst);
    }

    pub(crate) fn raise_all(&self, number: u64) {
        self.all.fetch_max(number, Ordering::SeqCst);
    }
}

impl Slot {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}
