//! The tests of the machine, which is the specification: so they hold it
//! against the contract's words, not against itself.
//!
//! - Stories, one promise each: [`table`] (API.md, "what each does in each
//!   state"), [`reserve`], [`stock`], [`queues`], [`transfer`], [`claims`],
//!   [`catalog`], [`deletion`], [`stripe`], [`freeze`].
//! - Random histories: [`history`] says what can happen in one, [`draw`] and
//!   [`random`] draw and shrink them, [`world`] carries them out. [`properties`]
//!   runs them beside [`model`], the contract written without queues, counters
//!   or laziness, and [`shadow`], which knows only what was asked and answered;
//!   [`checks`] judges single answers and the units of an item;
//!   [`catalog_history`] is the catalog's own. [`batch`] holds batches against single
//!   operations, and what a store writes against what is there.
//!
//! The Lua script of the Redis store is held against the machine on the same
//! histories: `crate::redis::tests`.
//!
//! A failing history is printed in its shortest form with the seed that draws
//! it again: `HOLDFAST_TEST_SEED=… cargo test -p shards machine`. More of them:
//! `HOLDFAST_TEST_CASES=100` (a factor).

/// Fails a check of a random history; unlike an assertion it can be shrunk.
macro_rules! ensure {
    ($holds:expr, $($why:tt)+) => {
        if !$holds {
            return Err(format!($($why)+));
        }
    };
}
// Beside the machine's own tests, only those use it that are not among mutants.
#[cfg(not(feature = "mutants"))]
pub(crate) use ensure;

mod batch;
pub(crate) mod catalog;
pub(crate) mod catalog_history;
mod checks;
mod claims;
mod deletion;
pub(crate) mod draw;
pub(crate) mod fixture;
mod freeze;
pub(crate) mod history;
mod list;
mod model;
mod properties;
mod queues;
pub(crate) mod random;
mod release;
mod reserve;
mod shadow;
mod stock;
mod stripe;
mod table;
mod transfer;
pub(crate) mod world;
