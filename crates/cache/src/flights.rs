//! One load at a time for each key, shared by all who wait for it.

use std::collections::HashMap;
use std::hash::Hash;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{MutexGuard as TurnGuard, watch};

use crate::invalidations::Slot;
use crate::{Found, Ticket};

/// Parts of the table of flights: more than a machine has cores that would meet
/// at one.
const PARTS: usize = 64;

/// All keys that somebody loads or waits for. As large as there are callers.
pub(crate) struct Flights<K, V, E> {
    parts: Box<[Mutex<Part<K, V, E>>]>,
}

/// Flights of some keys. What is remembered of these keys changes only under
/// its lock.
pub(crate) type Part<K, V, E> = HashMap<K, Boarded<V, E>>;

/// A flight, and how many callers are on it.
pub(crate) struct Boarded<V, E> {
    flight: Arc<Flight<V, E>>,
    callers: usize,
}

/// The loads of one key, one after the other, while anybody wants one.
pub(crate) struct Flight<V, E> {
    /// Whoever has this loads; the others wait for what is told. A caller who
    /// goes away leaves it to the next in the queue.
    turn: tokio::sync::Mutex<()>,
    last: watch::Sender<Option<Told<V, E>>>,
}

/// What the last load brought.
pub(crate) struct Told<V, E> {
    pub found: Found<V, E>,
    /// A failure that is remembered; it is told to whoever asks.
    pub is_lasting_failure: bool,
    pub began: Ticket,
    /// Its number.
    pub ended: u64,
}

/// Which loads a caller may share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Share {
    /// Also one under way, if it began less than this before the caller came.
    UnderWay { age_max_ms: u64 },
    /// One that begins after the caller came.
    Later,
}

/// A caller on its way in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    /// When it came.
    pub number: u64,
    pub at_ms: u64,
    /// The last invalidation of its key before that.
    pub invalidated: u64,
    pub share: Share,
}

impl Arrival {
    fn may_have<V, E>(&self, told: &Told<V, E>) -> bool {
        // What ended before the caller came is memory, not a load to share;
        // and who comes after an invalidation must not get what is older.
        let began = told.began;
        if told.ended <= self.number || began.number <= self.invalidated {
            return false;
        }
        let is_late_enough = match self.share {
            Share::UnderWay { age_max_ms } => self.at_ms.saturating_sub(began.at_ms) < age_max_ms,
            Share::Later => began.number > self.number,
        };
        is_late_enough || told.is_lasting_failure
    }
}

/// What somebody who waits gets.
pub(crate) enum Wait<'a, V, E> {
    /// Somebody else loaded.
    Told(Found<V, E>),
    /// It is theirs to load.
    Turn(TurnGuard<'a, ()>),
}

impl<K: Clone + Eq + Hash, V, E> Flights<K, V, E> {
    pub(crate) fn new() -> Self {
        let parts = (0..PARTS).map(|_| Mutex::default()).collect();
        Self { parts }
    }

    pub(crate) fn lock(&self, slot: Slot) -> MutexGuard<'_, Part<K, V, E>> {
        let part = &self.parts[slot.index() % PARTS];
        part.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins the key's flight, or begins one, until the seat is dropped.
    pub(crate) fn join<'a>(&'a self, key: &'a K, slot: Slot) -> Seat<'a, K, V, E> {
        let mut part = self.lock(slot);
        let boarded = part.entry(key.clone()).or_default();
        boarded.callers += 1;
        let flight = Arc::clone(&boarded.flight);
        drop(part);
        Seat {
            flights: self,
            key,
            slot,
            flight,
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.parts
            .iter()
            .map(|part| part.lock().unwrap().len())
            .sum()
    }
}

/// A caller's place on a flight.
pub(crate) struct Seat<'a, K: Eq + Hash, V, E> {
    flights: &'a Flights<K, V, E>,
    key: &'a K,
    slot: Slot,
    pub flight: Arc<Flight<V, E>>,
}

impl<K: Eq + Hash, V, E> Drop for Seat<'_, K, V, E> {
    fn drop(&mut self) {
        let part = &self.flights.parts[self.slot.index() % PARTS];
        let mut part = part.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(boarded) = part.get_mut(self.key) else {
            return;
        };
        boarded.callers -= 1;
        if boarded.callers == 0 {
            part.remove(self.key);
        }
    }
}

impl<V, E> Default for Boarded<V, E> {
    fn default() -> Self {
        Self {
            flight: Arc::new(Flight {
                turn: tokio::sync::Mutex::default(),
                last: watch::Sender::new(None),
            }),
            callers: 0,
        }
    }
}

impl<V: Clone, E: Clone> Flight<V, E> {
    /// Waits for a load that this caller may share, or for a turn to load. All
    /// who may share one hear of it at once, not one after the other.
    pub(crate) async fn wait(&self, arrival: Arrival) -> Wait<'_, V, E> {
        let answer = |told: &Option<Told<V, E>>| {
            let told = told.as_ref().filter(|told| arrival.may_have(told))?;
            Some(told.found.clone())
        };
        let mut news = self.last.subscribe();
        let mut turn = pin!(self.turn.lock());
        loop {
            if let Some(found) = answer(&news.borrow_and_update()) {
                return Wait::Told(found);
            }
            tokio::select! {
                biased;
                _ = news.changed() => {}
                turn = &mut turn => {
                    // Told first, then let go: so look once more.
                    return match answer(&news.borrow_and_update()) {
                        Some(found) => Wait::Told(found),
                        None => Wait::Turn(turn),
                    };
                }
            }
        }
    }

    pub(crate) fn tell(&self, told: Told<V, E>) {
        self.last.send_replace(Some(told));
    }
}
