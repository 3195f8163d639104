//! What the inventory is asked and what it answers.

use std::sync::Arc;

use super::Error;
use crate::ids::{BuyerId, ItemId, Quantity, RequestId, ShardNo, StripeNo};
use crate::machine::{Entry, Freeze, Reading, Reservation, Settings, State, Violation};
use crate::reservation_id::ReservationId;
use crate::time::Millis;

/// Asks for units.
#[derive(Clone, Debug)]
pub struct Reserve {
    /// The item.
    pub item: ItemId,
    /// The buyer.
    pub buyer: BuyerId,
    /// The caller's id, kept over retries.
    pub request: RequestId,
    /// Units.
    pub quantity: Quantity,
}

/// What was decided about a [`Reserve`].
#[derive(Clone, Debug, PartialEq)]
pub enum Reserved {
    /// The units are held, or sold for items that sell at once.
    Granted {
        /// What the buyer has.
        receipt: Receipt,
        /// It was granted before.
        replayed: bool,
    },
    /// These ids' reservation has ended: take new ones.
    AlreadyEnded(Receipt),
    /// Fewer units than asked for, perhaps none, can be bought.
    Short {
        /// Can be bought.
        available: u64,
        /// May come back.
        held: u64,
    },
    /// The buyer would exceed the limit.
    OverLimit {
        /// What the buyer has.
        units: u64,
        /// The limit.
        max: u32,
    },
    /// The sale starts later.
    NotStarted {
        /// When.
        sale_start: Millis,
    },
    /// The sale is over, or the item is closed.
    SaleEnded,
    /// An operator paused the sale.
    SalePaused,
}

/// Units of an item, counted while none were put on sale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SteadyStock {
    /// Can be bought.
    pub available: u64,
    /// May come back.
    pub held: u64,
}

/// A decision, and what may be made of it.
#[derive(Clone, Debug, PartialEq)]
pub struct NotedReserve {
    /// What was decided.
    pub reserved: Reserved,
    /// ⚔ The units of a [`Reserved::Short`] may be remembered for a while, since
    /// when this request was sent: while they were counted nothing was put on
    /// sale.
    pub steady: bool,
}

/// Names a reservation.
#[derive(Clone, Debug)]
pub enum Target {
    /// By the id that was returned.
    Id(ReservationId),
    /// By the request that made it.
    Key {
        /// The item.
        item: ItemId,
        /// The buyer.
        buyer: BuyerId,
        /// The request.
        request: RequestId,
    },
}

/// Sold units that come back.
#[derive(Clone, Copy, Debug)]
pub struct Return {
    /// The caller's id of this return.
    pub request: RequestId,
    /// Units.
    pub quantity: Quantity,
    /// Keep them off sale: they are damaged.
    pub discard: bool,
}

/// A reservation with its name, as an answer shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Receipt {
    /// The name, as callers keep it.
    pub id: String,
    /// The item.
    pub item: ItemId,
    /// The request that made it.
    pub request: RequestId,
    /// What it is now.
    pub reservation: Reservation,
}

/// An item's stock.
#[derive(Clone, Debug, PartialEq)]
pub struct Stock {
    /// The item.
    pub item: ItemId,
    /// What its shards decide by; `phase` is by these.
    pub settings: Settings,
    /// Can be bought.
    pub available: u64,
    /// Held, not yet sold.
    pub held: u64,
    /// Sold and not put back on sale.
    pub sold: u64,
    /// Whether all shards were read and none changed meanwhile.
    pub exact: bool,
    /// When this was true.
    pub as_of: Millis,
    /// What a buyer sees.
    pub phase: SalePhase,
}

/// State, window and stock in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SalePhase {
    /// Before the start.
    NotStarted,
    /// Units can be bought.
    OnSale,
    /// None available, some held.
    AllHeld,
    /// None available, none held.
    SoldOut,
    /// Paused.
    Paused,
    /// Over, closed, or being deleted.
    Ended,
}

/// How an item's stock is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadStock {
    /// Every shard once: exact only of an item with one shard.
    Once,
    /// Every shard twice: exact if nothing changed in between.
    Twice,
}

/// What was done to an item's stock.
#[derive(Clone, Debug, PartialEq)]
pub struct StockChanged {
    /// After it.
    pub stock: Stock,
    /// By how much.
    pub applied: i64,
    /// It had been done before.
    pub replayed: bool,
}

/// How deep an audit looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditLevel {
    /// Counters only.
    Counters,
    /// Every record is counted too, in bounded steps.
    Records,
}

/// What an audit can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All adds up, nothing oversold.
    Sound,
    /// Something does not add up.
    Violated,
    /// A shard could not be read, or never stood still.
    Undecided,
}

/// An audit's report.
#[derive(Clone, Debug)]
pub struct Audit {
    /// The answer in a word.
    pub verdict: Verdict,
    /// Units given beyond those stocked; `None` if not every shard was read.
    pub oversold_units: Option<u64>,
    /// Every shard that could be read.
    pub shards: Vec<ShardAudit>,
    /// What is broken.
    pub violations: Vec<Violation>,
    /// When.
    pub as_of: Millis,
}

/// One shard's part of an audit.
#[derive(Clone, Debug)]
pub struct ShardAudit {
    /// Which.
    pub shard: ShardNo,
    /// Where.
    pub stripe: StripeNo,
    /// By its counters.
    pub reading: Reading,
    /// By its records, if they were recounted and stood still.
    pub records: Option<Recount>,
}

/// A recount of a shard's records, and its counters of the same instant.
#[derive(Clone, Debug, PartialEq)]
pub struct Recount {
    /// By the records.
    pub sums: crate::machine::RecordSums,
    /// By the counters.
    pub counters: crate::machine::Counters,
}

/// A page of items.
#[derive(Clone, Debug)]
pub struct ItemPage {
    /// The items.
    pub entries: Vec<Entry>,
    /// Empty at the end.
    pub next_page_token: String,
}

/// Which reservations of an item are listed.
#[derive(Clone, Debug)]
pub struct Reservations {
    /// The item.
    pub item: ItemId,
    /// Only this buyer's: one shard is read.
    pub buyer: Option<BuyerId>,
    /// Only those in one of these states; empty = all.
    pub states: Vec<State>,
}

/// A page of reservations.
#[derive(Clone, Debug)]
pub struct ReservationPage {
    /// The reservations.
    pub reservations: Vec<Receipt>,
    /// Empty at the end.
    pub next_page_token: String,
}

/// What Reserve would decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreseen {
    /// The units would be held or sold, or were given to these ids before.
    Granted,
    /// These ids' reservation has ended.
    AlreadyEnded,
    /// Fewer units than asked for, perhaps none, can be bought.
    Short {
        /// Can be bought.
        available: u64,
    },
    /// The buyer would exceed the limit.
    OverLimit,
    /// The sale starts later.
    NotStarted,
    /// The sale is over, or the item is closed.
    SaleEnded,
    /// An operator paused the sale.
    SalePaused,
}

/// What Reserve would answer, and why.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// What it would decide, or fail with.
    pub outcome: Result<Foreseen, Error>,
    /// Which rule decides, and by which values.
    pub description: String,
    /// The item.
    pub entry: Arc<Entry>,
    /// Its stock, as far as shards answered; `None`: none did.
    pub stock: Option<Stock>,
    /// The shard that decides about this buyer.
    pub home: ShardNo,
    /// Units that the buyer has, if they are counted.
    pub buyer_units: Option<u64>,
    /// The buyer's reservations, the one that was asked for first.
    pub reservations: Vec<Receipt>,
}

/// How a stripe does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StripeReport {
    /// Which.
    pub stripe: StripeNo,
    /// The process or file that holds it, if it is known.
    pub endpoint: Option<String>,
    /// How it does.
    pub health: StripeHealth,
}

/// Whether a stripe serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StripeHealth {
    /// It does.
    Serving {
        /// Its sequence number.
        seq: u64,
    },
    /// It does not answer.
    Unavailable,
    /// It waits for an operator.
    Frozen {
        /// Its sequence number.
        seq: u64,
        /// Why, and since when.
        freeze: Freeze,
    },
}

/// A stripe that was released.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StripeReleased {
    /// As it is now.
    pub stripe: StripeReport,
    /// Units that were given beyond the stock; `None`: it had been released
    /// before.
    pub surplus: Option<u64>,
}

/// Milliseconds as seconds with a unit, as the contract prints durations: "12.5s".
#[must_use]
pub fn seconds(ms: u64) -> String {
    let (whole, part) = (ms / 1000, ms % 1000);
    if part == 0 {
        return format!("{whole}s");
    }
    let decimals = format!("{part:03}");
    format!("{whole}.{}s", decimals.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    #[test]
    fn seconds_are_printed_without_trailing_zeros() {
        for (ms, text) in [
            (0, "0s"),
            (123_500, "123.5s"),
            (7, "0.007s"),
            (60_000, "60s"),
        ] {
            assert_eq!(super::seconds(ms), text);
        }
    }
}
