//! The store in Redis under test: one server, or a cluster of three masters.

use std::sync::Arc;

use shards::redis::{Acknowledge, Address, Options, Redis};
use shards::store::Store;

use crate::fixture::{Fixture, HandClock};
use crate::servers::{Cluster, Node};

/// One server.
pub(crate) struct Single {
    node: Node,
    opened: Opened,
}

/// Three masters, each with its part of the stripes.
pub(crate) struct Clustered {
    cluster: Cluster,
    opened: Opened,
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

impl Single {
    fn address(&self) -> String {
        format!("redis://{}", self.node.address())
    }
}

impl Fixture for Single {
    fn start() -> Self {
        let mut fixture = Self {
            node: Node::start(),
            opened: Opened::new(),
        };
        fixture.opened.open(&fixture.address());
        fixture
    }

    fn store(&self) -> Arc<dyn Store> {
        self.opened.store()
    }

    fn reopen(&mut self) {
        self.opened.close();
        self.opened.open(&self.address());
    }

    fn advance_ms(&self, ms: i64) {
        self.opened.clock.advance_ms(ms);
    }
}

impl Clustered {
    fn address(&self) -> String {
        format!("redis-cluster://{}", self.cluster.addresses().join(","))
    }
}

impl Fixture for Clustered {
    fn start() -> Self {
        let mut fixture = Self {
            cluster: Cluster::start(3, 0),
            opened: Opened::new(),
        };
        fixture.opened.open(&fixture.address());
        fixture
    }

    fn store(&self) -> Arc<dyn Store> {
        self.opened.store()
    }

    fn reopen(&mut self) {
        self.opened.close();
        self.opened.open(&self.address());
    }

    fn advance_ms(&self, ms: i64) {
        self.opened.clock.advance_ms(ms);
    }
}
