//! The protocol of many shards, exhaustively: every order of steps, crashes,
//! lost and repeated messages and restarts, in small worlds. What is driven are
//! the very state machines of production: `machine` decides at the shards,
//! `allocator::Round` and `allocator::Looking` at the servers.
//!
//! - `scenario`: what can be set up; `scenarios`: the worlds that are explored.
//! - `model`: a scenario made ready; `world`: a state of it; `steps`: what can
//!   happen; `apply`: what comes of it; `print`: which states are one.
//! - `properties`: what must be true.
//! - `explorer`: the search; `livelock`: circles in what it found.
//!
//! `HOLDFAST_TEST_LONG=1` (as `tests/run --long` sets it) explores the large
//! worlds, too.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests; clippy's own exemption covers functions marked as tests only"
)]

mod apply;
mod explorer;
mod livelock;
mod model;
mod print;
mod properties;
mod scenario;
mod scenarios;
mod steps;
mod world;
