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

mod clock;
mod failover;
mod grants;
mod guards;
mod hand;
mod loss;
mod memory;
mod oldmaster;
mod release;
mod replicas;
mod server;
#[path = "../../../../tests/src/redis/mod.rs"]
mod servers;
mod split;
mod unknown;
mod acl;
mod errors;
mod failover;
mod life;
mod moves;
mod sale;
mod secrets;
mod server;
#[path = "../../../../tests/src/redis/mod.rs"]
mod servers;
mod start_up;
mod tls;
