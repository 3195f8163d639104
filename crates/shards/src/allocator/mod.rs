//! How stock comes to the shard that decides, and how a no is made sure of when
//! it lies on many.
//!
//! Only a buyer's home shard decides about that buyer. When it is short:
//!
//! 1. *Look* at all shards, twice. If what is available is too little, home is
//!    asked once more, for the same ids may have been granted there meanwhile;
//!    else that is the answer. Nothing was moved, nothing was noted.
//! 2. *Claim* at home, so that nobody takes away what is being brought.
//! 3. *Lend* at the shards that have units; each is durable there before
//! 4. it is *credited* at home, in one batch with the question that is now
//!    asked again. Still short: look again.
//!
//! [`Round`] is these steps and [`Looking`] the two readings, both as pure state
//! machines: whoever drives them asks the shards. The inventory drives them over
//! a store, the model checker through every order of steps, losses and crashes.
//! [`policy`] says how much to move.

mod look;
pub mod policy;
mod round;

pub use look::{Ahead, Look, Looking, Pairs, Seen, Transfer};
pub use policy::Loan;
pub use round::{Ask, Asked, Need, Round, Step};
