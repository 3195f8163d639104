//! Why the inventory did not do what was asked. Never a business answer in
//! disguise: "sold out" is an outcome, "unreachable" is an error.

use super::spec::FieldError;
use super::types::Receipt;
use crate::ids::{ItemId, ShardNo, StripeNo};
use crate::machine::Entry;
use crate::store::StoreError;

/// A request that was not carried out.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// Values break their rules; all of them are named.
    #[error("the request is not valid: {}", FieldError::list(.0))]
    Invalid(Vec<FieldError>),
    /// No such item.
    #[error("there is no item {0}")]
    ItemNotFound(ItemId),
    /// No such reservation (any more).
    #[error("there is no such reservation: it was never made, or its retention is over")]
    ReservationNotFound,
    /// The same ids were used with other contents.
    #[error("these ids were used before with other contents: take a new request_id")]
    RequestIdReused,
    /// Another item has this id.
    #[error("item {0} exists already, created by another request or with other settings")]
    ItemExists(ItemId),
    /// The reservation's state stands in the way.
    #[error("{}", wrong_state(.0))]
    WrongState(Box<Receipt>),
    /// A hold cannot be made to last that long.
    #[error(
        "the hold cannot last that long: at most {} from now",
        super::types::seconds(*max_hold_for_ms)
    )]
    HoldTooLong {
        /// The longest that can be asked for now.
        max_hold_for_ms: u64,
    },
    /// More units than are left to be returned.
    #[error("only {left} units of this reservation are left to be returned")]
    ReturnTooLarge {
        /// What is left.
        left: u32,
    },
    /// The total is not what the caller believes.
    #[error("the total is {total}, not the expected one: read the stock again and decide anew")]
    TotalMismatch {
        /// What it is.
        total: u64,
    },
    /// More units than are there to take.
    #[error("only {available} units are available to be taken, {held} more are held")]
    NotEnoughAvailable {
        /// Available now.
        available: u64,
        /// Held now.
        held: u64,
    },
    /// The item's version is not the one that the caller believes.
    #[error("item {item} has version {version}: read it again and decide anew")]
    VersionMismatch {
        /// The item.
        item: ItemId,
        /// Its version.
        version: u64,
    },
    /// The item never counted its buyers.
    #[error(
        "item {0} was created without max_units_per_buyer and never counted its buyers: it cannot \
         have a limit; create another item with one"
    )]
    LimitNotTracked(ItemId),
    /// Units of the item are held.
    #[error("{units} units are held: wait until they are confirmed or back, or say force")]
    UnitsHeld {
        /// How many.
        units: u64,
    },
    /// The item is being deleted.
    #[error("item {0} is being deleted")]
    ItemDeleting(ItemId),
    /// The item is closed for good.
    #[error("item {0} is closed for good: it can be neither paused nor resumed")]
    ItemClosed(ItemId),
    /// A change is recorded, but not every shard obeys yet.
    #[error(
        "version {version} is recorded, but only {shards_done} of {shards_total} shards work by it \
         so far; the others obey before they sell: {cause}"
    )]
    NotSpread {
        /// The version.
        version: u64,
        /// Shards that work by it.
        shards_done: u32,
        /// Shards there are.
        shards_total: u32,
        /// What kept the next one.
        cause: StoreError,
    },
    /// ⚔ A shard that must be there is not.
    #[error(
        "acknowledged work of item {item} is missing on stripe {stripe}: an operator must look"
    )]
    ShardLost {
        /// The item.
        item: ItemId,
        /// Where its shard should be.
        stripe: StripeNo,
    },
    /// The stripe is frozen by another freeze than the one to be released.
    #[error(
        "stripe {stripe} is frozen by another freeze than this one, {freeze_id:016x}: list the \
         stripes again and decide anew"
    )]
    OtherFreeze {
        /// The stripe.
        stripe: StripeNo,
        /// The freeze that it has.
        freeze_id: u64,
    },
    /// The store is nearly full.
    #[error(
        "the store is nearly full and takes nothing new: free disk space, or wait until records are purged"
    )]
    StoreFull,
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store answered something that this operation cannot get: a defect.
    #[error("the store gave an answer that does not fit the question: {0}")]
    Unexpected(String),
}

impl Error {
    /// What a store's failure means once an earlier step of the same procedure
    /// has been recorded: "nothing was done" is not true any more. Repeating
    /// the request carries the procedure on.
    pub(super) fn half_done(self) -> Self {
        match self {
            Self::Store(
                cause @ (StoreError::Unavailable(_)
                | StoreError::ClockSkew(_)
                | StoreError::Overloaded
                | StoreError::DeadlineTooShort
                | StoreError::Frozen { .. }),
            ) => Self::recorded(&cause),
            lost @ Self::ShardLost { .. } => Self::recorded(&lost),
            other => other,
        }
    }

    fn recorded(cause: &dyn std::error::Error) -> Self {
        Self::Store(StoreError::OutcomeUnknown(format!(
            "it is recorded, and not carried out everywhere: {cause}"
        )))
    }

    /// ⚔ The shard that an entry names is not there.
    pub(super) fn shard_lost(entry: &Entry, shard: ShardNo) -> Self {
        let stripe = entry.placement.get(usize::from(shard.0)).copied();
        Self::ShardLost {
            item: entry.item.clone(),
            stripe: stripe.unwrap_or_else(|| crate::hash::catalog_stripe(&entry.item)),
        }
    }
}

fn wrong_state(receipt: &Receipt) -> &'static str {
    use crate::machine::State;
    match receipt.reservation.record.state {
        State::Held => "the units are held, not sold: confirm or cancel the reservation first",
        State::Confirmed => "the units are sold: return them instead",
        State::Cancelled => "the reservation was cancelled: reserve again with a new request_id",
        State::Expired => {
            "the hold has expired: reserve again with a new request_id, or confirm with reacquire"
        }
        State::Lost => {
            "the hold expired and its units went to others: reserve again with a new request_id"
        }
    }
}
