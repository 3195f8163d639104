//! The store in Redis under test: one server, or a cluster of three masters.

use std::sync::Arc;

use shards::redis::{Acknowledge, Address, Options, Redis};
use shards::store::Store;

use crate::fixture::{Fixture, HandClock};
use crate::servers::{Cluster, Node};

/// One server.
pub(crate) type Single = OnRedis<Node>;

/// Three masters, each with its part of the stripes.
pub(crate) type Clustered = OnRedis<Cluster>;

/// Servers of Redis, and a store on them.
pub(crate) struct OnRedis<N> {
    nodes: N,
    opened: Opened,
}

/// Servers that a store can be on.
pub(crate) trait Nodes {
    fn start() -> Self;
    fn address(&self) -> String;
}

impl Nodes for Node {
    fn start() -> Self {
        Node::start()
    }

    fn address(&self) -> String {
        format!("redis://{}", self.address())
    }
}

impl Nodes for Cluster {
    fn start() -> Self {
        Cluster::start(3, 0)
    }

    fn address(&self) -> String {
        format!("redis-cluster://{}", self.addresses().join(","))
    }
}

struct Opened {
    clock: HandClock,
    store: Option<Arc<Redis>>,
}

impl Opened {
    fn new() -> Self {
        Self {
            clock: HandClock::new(),
            store: None,
        }
    }

    fn open(&mut self, address: &str) {
        let options = Options {
            acknowledge: Some(Acknowledge::Local),
            init: true,
            ..Options::new(Address::parse(address).unwrap())
        };
        let store = Redis::open_by(options, Box::new(self.clock.clone()));
        self.store = Some(Arc::new(store.unwrap()));
    }

    fn store(&self) -> Arc<dyn Store> {
        self.store.clone().unwrap()
    }

    fn close(&mut self) {
        let last = Arc::into_inner(self.store.take().unwrap());
        drop(last.expect("no server of the test may outlive the store"));
    }
}

impl<N: Nodes> Fixture for OnRedis<N> {
    fn start() -> Self {
        let mut fixture = Self {
            nodes: N::start(),
            opened: Opened::new(),
        };
        fixture.opened.open(&fixture.nodes.address());
        fixture
    }

    fn store(&self) -> Arc<dyn Store> {
        self.opened.store()
    }

    fn reopen(&mut self) {
        self.opened.close();
        self.opened.open(&self.nodes.address());
    }

    fn advance_ms(&self, ms: i64) {
        self.opened.clock.advance_ms(ms);
    }
}
