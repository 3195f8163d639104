//! The store in Redis on real clusters, and what happens to them: nodes that
//! die, hang, come back, are cut off, lose data or tell the wrong time. Each of
//! the design's rules about Redis has a test here that fails without it (the
//! table of docs/CORRECTNESS.md names them).

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests; clippy's own exemption covers functions marked as tests only"
)]

mod acl;
mod clock;
mod errors;
mod failover;
mod grants;
mod guards;
mod hand;
mod life;
mod loss;
mod memory;
mod moves;
mod notices;
mod oldmaster;
mod release;
mod replicas;
mod sale;
mod secrets;
mod server;
#[path = "../../../../tests/src/redis/mod.rs"]
mod servers;
mod split;
mod start_up;
mod tls;
mod unknown;
