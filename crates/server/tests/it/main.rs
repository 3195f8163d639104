//! The server as its callers meet it: a real store in a temporary directory,
//! real gRPC over a free loopback port, within this process.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "clippy.toml exempts test functions, not what they share"
)]

mod bad_input;
mod batches;
mod drain;
mod harness;
mod http;
mod items;
mod memory;
mod reflection;
mod reservations;
mod streams;
mod support;
mod updates;
mod watching;
mod wire;
