//! What is remembered of each key, and whether it may be believed now.

use std::borrow::Borrow;
use std::hash::Hash;
use std::sync::Arc;

use crate::figures::Counts;
use crate::invalidations::{Invalidations, Slot};
use crate::shelf::{Life, Shelf};
use crate::{Clock, Figures, Found, Limits, Sizes, Ticket};

/// Known values on one shelf, what is absent or failed on another. A key may be
/// on both: a failure does not take the value's place.
pub(crate) struct Memory<K, V, E> {
    clock: Arc<Clock>,
    known: Shelf<K, V>,
    unknown: Shelf<K, Unknown<E>>,
    invalidations: Invalidations,
    sizes: Sizes<K, V, E>,
    pub counts: Counts,
}

#[derive(Debug, Clone)]
enum Unknown<E> {
    Absent,
    Failed(E),
}

impl<K, V, E> Memory<K, V, E>
where
    K: Clone + Eq + Hash,
    V: Clone,
    E: Clone,
{
    pub(crate) fn new(limits: Limits, sizes: Sizes<K, V, E>, clock: Arc<Clock>) -> Self {
        let counts = Counts::default();
        Self {
            clock,
            known: Shelf::new(limits.known, &counts.evictions),
            unknown: Shelf::new(limits.unknown, &counts.evictions),
            invalidations: Invalidations::new(limits.known.entries_max),
            sizes,
            counts,
        }
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(crate) fn slot<Q: Hash + ?Sized>(&self, key: &Q) -> Slot {
        self.invalidations.slot(key)
    }

    /// The number of the last invalidation of this slot's keys.
    pub(crate) fn invalidated(&self, slot: Slot) -> u64 {
        self.invalidations.last(slot)
    }

    /// What may be answered now.
    pub(crate) fn find<Q>(&self, key: &Q) -> Option<Found<V, E>>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        if let Some(entry) = self.known.get(key)
            && self.is_believed(entry.life)
        {
            return Some(Found::Known(entry.item));
        }
        let entry = self.unknown.get(key)?;
        self.is_believed(entry.life).then_some(match entry.item {
            Unknown::Absent => Found::Absent,
            Unknown::Failed(error) => Found::Failed(error),
        })
    }

    /// The failure that is remembered of a key.
    pub(crate) fn find_failure(&self, key: &K) -> Option<E> {
        let entry = self.unknown.get(key)?;
        match entry.item {
            Unknown::Failed(error) if self.is_believed(entry.life) => Some(error),
            _ => None,
        }
    }

    /// The value that was last known, whatever became of it since.
    pub(crate) fn last_known<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.known.peek(key).map(|entry| entry.item)
    }

    /// The same, unless this key was invalidated, and not all at once.
    pub(crate) fn last_undisputed<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let entry = self.known.peek(key)?;
        let invalidated = self.invalidations.last_of_its_own(entry.life.slot);
        (entry.life.began > invalidated).then_some(entry.item)
    }

    fn is_believed(&self, life: Life) -> bool {
        self.clock.now_ms() < life.deadline_ms && self.is_after(life.began, life.slot)
    }

    /// Whether no invalidation came after this began.
    fn is_after(&self, began: u64, slot: Slot) -> bool {
        began > self.invalidations.last(slot)
    }

    /// Remembers an answer, unless something newer is known. One at a time for
    /// each key, or an older answer that was found to be the newest could take
    /// a newer one's place. An invalidation may come in between all the same:
    /// it is compared again whenever the entry is read.
    ///
    /// Tells whether it is remembered.
    pub(crate) fn put(
        &self,
        key: &K,
        slot: Slot,
        ticket: Ticket,
        found: Found<V, E>,
        keep_ms: u64,
    ) -> bool {
        if keep_ms == 0 {
            return false;
        }
        let known = self.known.peek(key).map(|entry| entry.life.began);
        let unknown = self.unknown.peek(key).map(|entry| entry.life.began);
        let newest = known.max(unknown).unwrap_or(0);
        if !self.is_after(ticket.number, slot) || ticket.number < newest {
            self.counts.stale.add_one();
            return false;
        }
        let from_ms = match found {
            Found::Failed(_) => self.clock.now_ms(),
            Found::Known(_) | Found::Absent => ticket.at_ms,
        };
        let life = Life {
            began: ticket.number,
            deadline_ms: from_ms.saturating_add(keep_ms),
            slot,
        };
        let key_bytes = (self.sizes.key)(key);
        let with_key = |bytes: usize| bytes.saturating_add(key_bytes);
        match found {
            Found::Known(value) => {
                let bytes = with_key((self.sizes.value)(&value));
                self.known.put(key, value, life, bytes);
                if unknown.is_some() {
                    self.unknown.remove(key);
                }
            }
            Found::Absent => {
                self.unknown.put(key, Unknown::Absent, life, key_bytes);
                if known.is_some() {
                    self.known.remove(key);
                }
            }
            Found::Failed(error) => {
                let bytes = with_key((self.sizes.error)(&error));
                self.unknown.put(key, Unknown::Failed(error), life, bytes);
            }
        }
        true
    }

    pub(crate) fn invalidate(&self, slot: Slot) {
        self.invalidations.raise(slot, self.clock.next_number());
        self.counts.invalidations.add_one();
    }

    pub(crate) fn invalidate_all(&self) {
        self.invalidations.raise_all(self.clock.next_number());
        self.counts.forgets.add_one();
    }

    pub(crate) fn figures(&self) -> Figures {
        let (known_entries, known_bytes) = self.known.size();
        let (unknown_entries, unknown_bytes) = self.unknown.size();
        Figures {
            known_entries,
            known_bytes,
            unknown_entries,
            unknown_bytes,
            ..self.counts.read()
        }
    }
}
