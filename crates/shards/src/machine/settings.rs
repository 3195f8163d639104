//! What operators set for an item, as far as a shard needs it to decide.

use serde::{Deserialize, Serialize};

use crate::time::Millis;

/// Whether the item sells, as operators set it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Selling {
    /// Sells within its window.
    Open,
    /// Does not sell for now; holds go on.
    Paused,
    /// Never sells again; holds may still be confirmed.
    Closed,
    /// Is being deleted: grants nothing, not even late confirms.
    Deleting,
}

/// An item's settings. Every shard has a copy and its version; a request that
/// knows a newer version is not decided by an older one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Settings {
    /// Whether it sells.
    pub selling: Selling,
    /// Start of the sale; `None` = at once.
    pub sale_start: Option<Millis>,
    /// End of the sale (excluded); `None` = never.
    pub sale_end: Option<Millis>,
    /// How long a hold lasts.
    pub hold_ttl_ms: u64,
    /// The longest that Extend can make a hold last, from its grant on.
    pub max_hold_ms: u64,
    /// Reserve sells at once, nothing to confirm. Fixed at creation.
    pub sell_at_once: bool,
    /// Whether buyers' units are counted. ⚔ Fixed at creation: counted from
    /// the first grant on, or never.
    pub counts_buyers: bool,
    /// Most units a buyer may hold or have bought; 0 = no limit.
    pub max_units_per_buyer: u32,
    /// Most units of one reservation.
    pub max_units_per_reservation: u32,
    /// How long an ended reservation stays known.
    pub retention_ms: u64,
}

/// What state and window say about selling at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SaleNow {
    /// Reserves are decided by limit and stock.
    On,
    /// The window opens later.
    NotStarted {
        /// When.
        sale_start: Millis,
    },
    /// The window is over, or an operator closed the item.
    Ended,
    /// An operator paused it.
    Paused,
    /// It is being deleted.
    Deleting,
}

impl Settings {
    /// What state and window say at `now`. What is final comes first: a closed
    /// or over sale is over even if it is paused too; a pause is told before a
    /// start that may be moved.
    #[must_use]
    pub fn sale_at(&self, now: Millis) -> SaleNow {
        if self.selling == Selling::Deleting {
            return SaleNow::Deleting;
        }
        if self.selling == Selling::Closed || self.sale_end.is_some_and(|end| now >= end) {
            return SaleNow::Ended;
        }
        if self.selling == Selling::Paused {
            return SaleNow::Paused;
        }
        match self.sale_start {
            Some(sale_start) if now < sale_start => SaleNow::NotStarted { sale_start },
            _ => SaleNow::On,
        }
    }
}
