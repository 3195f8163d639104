//! The Holdfast server: one process that answers the contract over a store.
//!
//! [`run()`] is all of it: open the store, serve, drain. The caller owns the
//! port, the signal to stop and the log; so a test's server is a few lines on
//! port 0, and the command's is the same few lines with flags.
//!
//! - `run`: the steps of a server's life, and what each waits for.
//! - `lifecycle`: how far that life has come, for all who must know.
//! - `acceptor`, `connection`, `worker`: one acceptor, one runtime per core.
//! - `grpc`: the contract. tonic types stay inside that folder.
//! - `http`: the plain port for metrics and probes; `figures`: what is counted.
//! - `tier1`: what is remembered of the store, so that most requests need none.
//! - `watches`: one reading of an item's stock for all who watch it.
//! - `sweeper`: what ends by itself; `tasks`: the one place that spawns;
//!   `clock`: the one place that reads the clock.

mod acceptor;
mod clock;
mod config;
mod connection;
mod error;
mod figures;
mod grpc;
mod http;
mod lifecycle;
#[cfg(test)]
mod memory_store;
mod run;
mod seldom;
mod sweeper;
mod tasks;
mod tier1;
mod watches;
mod worker;

pub use config::{Config, Drain, Listeners, StoreConfig};
pub use error::RunError;
pub use run::run;
/// How to reach a store in Redis.
pub use shards::redis;
pub use tier1::{MARK_DEADLINE_MAX, Settings as Tier1Settings};
