//! The state machine: the specification of what a shard, a catalog and a stripe
//! do. `apply(state, operation, now) -> (state, result)`, and a batch is its
//! fold ([`Stripe::run`]). No I/O, no clock, no randomness: the same state, the
//! same operations and the same instant give the same answers, here, in the
//! Lua script and in the model.
//!
//! - [`ops`]: what can be asked, what is answered; [`record`]: what is
//!   remembered of a request; [`settings`]: what operators set.
//! - `reserve`, `after`, `stock`, `sweep`, `transfer`: the operations of a shard.
//! - [`list`]: reading many reservations.
//! - [`catalog`]: which items exist; [`stripe`]: the batch, the guard;
//!   [`guard`]: freezing and releasing a stripe.
//! - [`check`]: the invariants as code.
//!
//! Rules that are easily missed:
//! - A refused Reserve or stock change leaves no record; a refused late Confirm
//!   leaves LOST.
//! - An operation first carries out what lapsed of the record that it names
//!   (expiry, then purge), so no answer depends on a sweeper. (One exception:
//!   a retention raised after it had passed finds again what no sweep purged.)
//! - ⚔ A Reserve that is short or over the limit, a late Confirm, a stock
//!   change, a look and a lend first give back all that lapsed; if the batch's
//!   steps do not suffice they answer AGAIN, never no.
//! - An expired hold ended at its deadline, whenever that was noticed.
//! - What the buyer bought stays counted when its record is purged.

mod after;
pub mod catalog;
pub mod check;
pub mod guard;
pub mod list;
pub mod ops;
pub mod record;
mod reserve;
pub mod settings;
pub mod shard;
mod stock;
pub mod stripe;
mod sweep;
#[cfg(test)]
pub(crate) mod tests;
pub mod transfer;

pub use catalog::{CatalogOp, CatalogReply, Deletion, Entry, ItemSpec, Life, NewEntry, Terms};
pub use check::Violation;
pub use guard::{StripeOp, StripeReply, Visit};
pub use list::{Cursor, LIST_LOOKS_MAX};
pub use ops::{Claim, Claimant, Counters, LateConfirm, Reading, RecordSums, ShardOp, ShardReply};
pub use record::{Adjustment, Record, Reservation, ReturnRecord, State, StockChange};
pub use settings::{SaleNow, Selling, Settings};
pub use shard::{Gain, Header, Shard, ShardChanges, Sizes};
pub use stripe::{
    BATCH_STEPS_MAX, Changes, Freeze, Guard, Op, Reply, Stamp, StoreIdentity, Stripe,
};
