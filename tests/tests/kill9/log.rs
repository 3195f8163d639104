//! What callers know: what they were told, and what they asked for without
//! being told.

use std::collections::BTreeMap;

use e2e::Instant;
use proto::v1::{ReservationKey, ReservationState};

/// What can be done to a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Reserve,
    Confirm,
    Cancel,
    Extend,
}

/// A reservation as its caller knows it.
#[derive(Clone, Debug)]
pub(crate) struct Hold {
    pub key: ReservationKey,
    pub quantity: u32,
    /// By the last answer; unspecified if there was none at all.
    pub state: ReservationState,
    /// By the last answer.
    pub id: String,
    /// By the last answer: until when it is held.
    pub end: Option<Instant>,
    /// Sent, and not answered.
    pub asked: Option<Op>,
}

impl Hold {
    /// A reservation that nobody has asked for yet.
    pub(crate) fn new(key: ReservationKey, quantity: u32) -> Self {
        Self {
            key,
            quantity,
            state: ReservationState::Unspecified,
            id: String::new(),
            end: None,
            asked: None,
        }
    }

    /// Whether it was ever granted, as far as its caller was told.
    pub(crate) fn is_acknowledged(&self) -> bool {
        self.state != ReservationState::Unspecified
    }

    /// Whether this state is one that the caller can have led to.
    pub(crate) fn allows(&self, state: ReservationState) -> bool {
        use ReservationState::{Cancelled, Confirmed, Expired, Held};
        let lapses = self.key.item_id == "short" && self.state == Held;
        state == self.state
            || (state == Expired && lapses)
            || (state == Confirmed && self.asked == Some(Op::Confirm))
            || (state == Cancelled && self.asked == Some(Op::Cancel))
    }

    /// Whether this end is one that the caller can have led to.
    pub(crate) fn allows_end(&self, end: Option<Instant>) -> bool {
        end == self.end || (self.asked == Some(Op::Extend) && end > self.end)
    }
}

/// A change of stock as its caller knows it.
#[derive(Clone, Debug)]
pub(crate) struct Adjustment {
    pub item: String,
    pub request: String,
    pub delta: i64,
    /// What was done, by the answer; `None` if there was none.
    pub applied: Option<i64>,
}

impl Adjustment {
    /// One that was done.
    pub(crate) fn acknowledged(item: &str, request: &str, delta: i64) -> Self {
        Self {
            item: item.into(),
            request: request.into(),
            delta,
            applied: Some(delta),
        }
    }
}

/// Somebody else's reservation as a caller once saw it. Whatever is shown to
/// anybody must not vanish.
#[derive(Clone, Debug)]
pub(crate) struct Sighting {
    pub key: ReservationKey,
    pub state: ReservationState,
}

/// One caller's log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    pub holds: Vec<Hold>,
    pub adjustments: Vec<Adjustment>,
    pub sightings: Vec<Sighting>,
}

impl Log {
    /// Adds another caller's.
    pub(crate) fn extend(&mut self, other: &Self) {
        self.holds.extend_from_slice(&other.holds);
        self.adjustments.extend_from_slice(&other.adjustments);
        self.sightings.extend_from_slice(&other.sightings);
    }

    /// Reservations that were ever granted, as far as callers were told.
    pub(crate) fn acknowledged(&self) -> usize {
        self.holds
            .iter()
            .filter(|hold| hold.is_acknowledged())
            .count()
    }

    /// How much of what was acknowledged, and how much nobody knows of.
    pub(crate) fn summary(&self) -> String {
        let mut states = BTreeMap::new();
        for hold in &self.holds {
            let state = hold
                .state
                .as_str_name()
                .trim_start_matches("RESERVATION_STATE_");
            *states.entry(state).or_insert(0) += 1;
        }
        let open = self
            .holds
            .iter()
            .filter(|hold| hold.asked.is_some())
            .count();
        let adjusted = self
            .adjustments
            .iter()
            .filter(|change| change.applied.is_some())
            .count();
        let unknown = open + self.adjustments.len() - adjusted;
        let seen = self.sightings.len();
        format!("{states:?}, {adjusted} adjustments, {unknown} unknown, {seen} sightings")
    }
}
