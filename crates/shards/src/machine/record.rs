//! What a shard remembers of one request.

use serde::{Deserialize, Serialize};

use crate::ids::RequestId;
use crate::time::Millis;

/// State of a record. Only `Held` is not an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum State {
    /// Units are held until the deadline.
    Held,
    /// Units are sold.
    Confirmed,
    /// Nobody has the units; also written for a request that never arrived.
    Cancelled,
    /// The deadline passed; a late Confirm may still win units.
    Expired,
    /// Expired, and a late Confirm found no units. Final.
    Lost,
}

/// One request's record: 19 bytes of content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Record {
    /// Where it stands.
    pub state: State,
    /// Units granted; 0 for a request that was cancelled before it arrived.
    pub quantity: u32,
    /// Units returned since they were sold.
    pub returned: u32,
    /// When the units were granted (or, with quantity 0, forbidden).
    pub granted: Millis,
    /// While held the deadline, afterwards the time of the end; of an expired
    /// hold the two are the same.
    pub until: Millis,
    /// Confirmed after it had expired, with units taken anew. Final.
    pub late: bool,
    /// The live queue entry is in the sorted queue, not in the FIFO.
    pub sorted: bool,
}

impl Record {
    /// Whether a Cancel wrote it before its Reserve arrived.
    #[must_use]
    pub fn is_unarrived(&self) -> bool {
        self.quantity == 0
    }

    /// Units that count as this buyer's.
    #[must_use]
    pub fn buyer_units(&self) -> u64 {
        match self.state {
            State::Held | State::Confirmed => u64::from(self.quantity - self.returned),
            State::Cancelled | State::Expired | State::Lost => 0,
        }
    }
}

/// A reservation as an answer shows it, true at the answer's `now`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reservation {
    /// The record.
    pub record: Record,
    /// The store's time of the answer.
    pub now: Millis,
    /// From when on it is not found; `None` while held.
    pub purge_at: Option<Millis>,
}

impl Reservation {
    /// The deadline; only held and expired ones have one.
    #[must_use]
    pub fn deadline(&self) -> Option<Millis> {
        matches!(self.record.state, State::Held | State::Expired).then_some(self.record.until)
    }
}

/// One return of sold units, found under the reservation it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ReturnRecord {
    /// The caller's id of the return.
    pub request: RequestId,
    /// Units.
    pub quantity: u32,
    /// Whether they stayed off sale.
    pub discard: bool,
}

/// One change of an item's stock by an operator. Lives as long as the item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Adjustment {
    /// What was asked for: a repeat must ask for the same.
    pub change: StockChange,
    /// What was done.
    pub applied: i64,
}

/// A change of an item's stock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum StockChange {
    /// Adds units, or takes available ones.
    Adjust {
        /// Units; negative to take.
        delta: i64,
        /// Take what there is rather than refuse.
        allow_partial: bool,
    },
    /// Compares and sets the total.
    SetTotal {
        /// The new total.
        total: u64,
        /// What the caller believes it is now.
        expected: u64,
    },
}
