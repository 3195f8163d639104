//! Real redis-servers for tests: one ([`Node`]) or a cluster of them
//! ([`Cluster`]), to kill, freeze and restart.
//!
//! ```text
//! let cluster = Cluster::start(3, 1);
//! let master = cluster.master_of_slot(128);
//! cluster.node(master).kill_9();
//! cluster.wait_until_ok(); // its replica was elected
//! ```
//!
//! Only std, tempfile and rustix, no async, and nothing else of this package:
//! crates/shards includes these files by `#[path]` in tests of its own.
//!
//! What every test here keeps: processes listen on the loopback only; they lie
//! in temporary directories; they end with the value that stands for them, by
//! the process ids that it started, and by nothing else.

#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "each crate that includes these files uses a part of them"
)]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a harness that cannot go on fails the test"
)]

mod clock;
mod cluster;
mod connection;
mod namespaces;
mod network;
mod node;
mod plan;
mod ports;
mod proxy;
mod settings;
mod slots;
mod split;
mod value;
mod view;
mod wait;

pub use clock::{clock_of, tidy as tidy_clock};
pub use cluster::Cluster;
pub use connection::{Connection, TIMEOUT};
pub use node::Node;
pub use plan::Plan;
pub use ports::Ports;
pub use proxy::Proxy;
pub use settings::Settings;
pub use slots::Move;
pub use value::Value;
pub use view::{Member, View};
pub use wait::{PATIENCE, poll};
