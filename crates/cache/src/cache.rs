//! The cache: memory, and the loads that fill it.

use std::borrow::Borrow;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use crate::flights::{Arrival, Flights, Share, Told, Wait};
use crate::memory::Memory;
use crate::{Clock, Figures, Found, Limits, Loaded, Sizes, Ticket};

/// A bounded memory of what some source says about keys. See the crate's manual.
pub struct Cache<K, V, E> {
    memory: Memory<K, V, E>,
    flights: Flights<K, V, E>,
}

impl<K, V, E> Cache<K, V, E>
where
    K: Clone + Eq + Hash,
    V: Clone,
    E: Clone,
{
    /// An empty one that goes by this clock.
    pub fn new(limits: Limits, sizes: Sizes<K, V, E>, clock: Arc<Clock>) -> Self {
        Self {
            memory: Memory::new(limits, sizes, clock),
            flights: Flights::new(),
        }
    }

    /// The clock that it goes by, for tickets.
    pub fn clock(&self) -> &Clock {
        self.memory.clock()
    }

    /// What is remembered and may be believed.
    pub fn get<Q>(&self, key: &Q) -> Option<Found<V, E>>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let found = self.memory.find(key);
        self.memory.counts.asked(found.is_some());
        found
    }

    /// The last value that was known, however old, and though it was
    /// invalidated: for answers that say how old they are, while the source
    /// cannot be asked. None once the key was found absent.
    pub fn last_known<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.memory.last_known(key)
    }

    /// The same, unless the key itself was invalidated since: it is too old, or
    /// was forgotten together with all others. A guess worth one question.
    pub fn last_undisputed<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.memory.last_undisputed(key)
    }

    /// What is remembered, or else what `load` brings. Of several callers one
    /// loads and the others are told; the `load` of those is never polled.
    ///
    /// Whoever comes `age_max_ms` or more after a load began is not told what
    /// it brings: it may take long, and say nothing of now. They wait for its
    /// end, and for another one.
    pub async fn get_or_load(
        &self,
        key: &K,
        age_max_ms: u64,
        load: impl Future<Output = Loaded<V, E>>,
    ) -> Found<V, E> {
        match self.get(key) {
            Some(found) => found,
            None => self.load(key, age_max_ms, load).await,
        }
    }

    /// The same for whoever has asked memory in vain: this does not count as
    /// another question to it.
    pub async fn load(
        &self,
        key: &K,
        age_max_ms: u64,
        load: impl Future<Output = Loaded<V, E>>,
    ) -> Found<V, E> {
        self.fly(key, Share::UnderWay { age_max_ms }, load).await
    }

    /// What a load brings that begins after this call: one's own, or that of
    /// somebody who came later but loads earlier. What is remembered does not
    /// count, but for failures.
    pub async fn load_later(
        &self,
        key: &K,
        load: impl Future<Output = Loaded<V, E>>,
    ) -> Found<V, E> {
        if let Some(error) = self.memory.find_failure(key) {
            self.memory.counts.asked(true);
            return Found::Failed(error);
        }
        self.fly(key, Share::Later, load).await
    }

    /// Remembers what was found out without a load, by a question that was
    /// asked after `ticket` was taken. Failures count from now, all else from
    /// the ticket.
    ///
    /// Tells whether it landed: not if the key was invalidated since, or was
    /// answered by what began later, or `keep_ms` is 0.
    pub fn put(&self, key: &K, ticket: Ticket, found: Found<V, E>, keep_ms: u64) -> bool {
        let slot = self.memory.slot(key);
        let _one_at_a_time = self.flights.lock(slot);
        self.memory.put(key, slot, ticket, found, keep_ms)
    }

    /// Whatever began before this call is not believed any more, whether it is
    /// remembered, under way, or was asked for by the holder of a ticket.
    pub fn invalidate<Q>(&self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.memory.invalidate(self.memory.slot(key));
    }

    /// The same for all keys at once, in one step: for when it is not known
    /// which invalidations were missed.
    pub fn invalidate_all(&self) {
        self.memory.invalidate_all();
    }

    /// What it did, and how full it is. Locks each part of the memory for a
    /// moment: for a page of metrics, not for every request.
    pub fn figures(&self) -> Figures {
        self.memory.figures()
    }

    async fn fly(
        &self,
        key: &K,
        share: Share,
        load: impl Future<Output = Loaded<V, E>>,
    ) -> Found<V, E> {
        let slot = self.memory.slot(key);
        // In this order: an invalidation between the two comes after the arrival.
        let invalidated = self.memory.invalidated(slot);
        let arrival = Arrival {
            number: self.clock().last_number(),
            at_ms: self.clock().now_ms(),
            invalidated,
            share,
        };
        let seat = self.flights.join(key, slot);
        let _turn = match seat.flight.wait(arrival).await {
            Wait::Turn(turn) => turn,
            Wait::Told(found) => {
                self.memory.counts.shared.add_one();
                return found;
            }
        };
        // Somebody may have landed it between the miss and the turn.
        if share != Share::Later
            && let Some(found) = self.memory.find(key)
        {
            self.memory.counts.shared.add_one();
            return found;
        }
        self.memory.counts.loads.add_one();
        let ticket = self.clock().ticket();
        let loaded = load.await;
        let ticket = loaded.began.unwrap_or(ticket);
        let landed = self.put(key, ticket, loaded.found.clone(), loaded.keep_ms);
        if loaded.is_shared {
            seat.flight.tell(Told {
                is_lasting_failure: landed && matches!(loaded.found, Found::Failed(_)),
                found: loaded.found.clone(),
                began: ticket,
                ended: self.clock().next_number(),
            });
        }
        loaded.found
    }

    #[cfg(test)]
    pub(crate) fn slot(&self, key: &K) -> crate::invalidations::Slot {
        self.memory.slot(key)
    }

    #[cfg(test)]
    pub(crate) fn flights(&self) -> usize {
        self.flights.len()
    }
}

impl<K, V, E> fmt::Debug for Cache<K, V, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").finish_non_exhaustive()
    }
}
