//! What a cache counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// What a cache did since it was made, and how full it is now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Questions answered from memory: known, absent or failed.
    pub hits: u64,
    /// Questions that memory could not answer.
    pub misses: u64,
    /// Loads that began.
    pub loads: u64,
    /// Callers who were told what another caller loaded.
    pub shared: u64,
    /// Invalidations of one key.
    pub invalidations: u64,
    /// Invalidations of all keys.
    pub forgets: u64,
    /// Answers that were not remembered, since their key had been invalidated
    /// after they began, or was answered by what began later.
    pub stale: u64,
    /// Entries that made room for others, or were too large.
    pub evictions: u64,
    /// Values in memory, also those whose time is over.
    pub known_entries: u64,
    /// What they weigh, in bytes.
    pub known_bytes: u64,
    /// Absent and failed keys in memory.
    pub unknown_entries: u64,
    /// What they weigh, in bytes.
    pub unknown_bytes: u64,
}

/// Lanes over which the counts of every question are spread: two threads that
/// raised the same one would wait for each other longer than for the lookup.
const LANES: usize = 16;

#[derive(Debug, Default)]
pub(crate) struct Counts {
    lanes: [Lane; LANES],
    pub loads: Count,
    pub shared: Count,
    pub invalidations: Count,
    pub forgets: Count,
    pub stale: Count,
    /// Shared with the maps, which tell of evictions.
    pub evictions: Arc<Count>,
}

#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add_one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts of some threads.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Lane {
    hits: Count,
    misses: Count,
}

impl Counts {
    pub(crate) fn asked(&self, is_hit: bool) {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static LANE: usize = THREADS.fetch_add(1, Ordering::Relaxed) % LANES;
        }
        // A thread that ends may have no locals any more; any lane will do.
        let lane = &self.lanes[LANE.try_with(|lane| *lane).unwrap_or(0)];
        if is_hit {
            lane.hits.add_one();
        } else {
            lane.misses.add_one();
        }
    }

    /// The counts; how full the cache is, it tells itself.
    pub(crate) fn read(&self) -> Figures {
        Figures {
            hits: self.lanes.iter().map(|lane| lane.hits.read()).sum(),
            misses: self.lanes.iter().map(|lane| lane.misses.read()).sum(),
            loads: self.loads.read(),
            shared: self.shared.read(),
            invalidations: self.invalidations.read(),
            forgets: self.forgets.read(),
            stale: self.stale.read(),
            evictions: self.evictions.read(),
            ..Figures::default()
        }
    }
}
