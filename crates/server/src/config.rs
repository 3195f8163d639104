//! What a server is told before it starts. Where the values come from (flags,
//! environment, file) is its caller's business.

use std::net::TcpListener;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use shards::redis;

use crate::tier1;

/// A server's settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// The server's name, as `GetStatus` tells it; in Kubernetes the pod's.
    pub server_id: String,
    /// Where the items are.
    pub store: StoreConfig,
    /// What may be answered without asking it.
    pub tier1: tier1::Settings,
    /// Runtimes that serve, each on a thread of its own; one per core.
    pub workers: NonZeroUsize,
    /// How long a server that was told to leave goes on serving, so that load
    /// balancers notice first. Skipped by [`Drain::AtOnce`].
    pub drain_grace: Duration,
    /// How long after that the work under way may take to end; then every
    /// connection is closed. The whole drain lasts at most the sum of the two.
    pub drain_deadline: Duration,
}

/// A server's store.
#[derive(Clone, Debug)]
pub enum StoreConfig {
    /// In a directory of this machine.
    Embedded {
        /// Which; made if it is not there.
        dir: PathBuf,
        /// Free bytes of its disk below which nothing new is taken.
        disk_reserve: u64,
    },
    /// In Redis or Valkey, shared with other servers.
    Redis(redis::Options),
}

/// Ports that the server serves, bound by its caller: what cannot be bound is
/// known before anything starts, and a test takes port 0.
#[derive(Debug)]
pub struct Listeners {
    /// gRPC.
    pub grpc: TcpListener,
    /// Plain HTTP: `/metrics`, `/healthz` and `/readyz`, for machines that
    /// watch this server. `None` = not served.
    pub http: Option<TcpListener>,
}

/// How to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drain {
    /// Serve on for the grace period, so that nobody is sent here in vain.
    WithGrace,
    /// Take no new work from now on: somebody waits at a terminal.
    AtOnce,
}
