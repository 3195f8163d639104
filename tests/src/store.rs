//! Where the servers of a test keep their items.

use std::slice;
use std::sync::Arc;

use proto::v1::Durability;

use crate::binary::Binary;
use crate::redis::{Cluster, Node, Plan, Settings};
use crate::server::{Server, Setup};

/// Masters of [`Store::cluster`].
const MASTERS: usize = 3;

/// A store of a test. Clones stand for the same one. Every server has one, so
/// that the store ends with the last of them, and the nodes after the servers.
#[derive(Clone, Debug)]
pub enum Store {
    /// In each server's own directory.
    Embedded,
    /// One redis-server.
    Redis(Arc<Node>),
    /// Several masters, with or without replicas.
    Cluster(Arc<Cluster>),
}

impl Store {
    /// One redis-server of its own.
    #[track_caller]
    pub fn redis() -> Self {
        Self::of_node(Settings::default())
    }

    /// One redis-server with these settings.
    #[track_caller]
    pub fn of_node(settings: Settings) -> Self {
        Self::Redis(Arc::new(settings.start()))
    }

    /// A cluster of its own: three masters without replicas, so that an
    /// acknowledgement is the master's alone.
    #[track_caller]
    pub fn cluster() -> Self {
        Self::of_plan(Plan::new(MASTERS, 0))
    }

    /// A cluster by this plan.
    #[track_caller]
    pub fn of_plan(plan: Plan) -> Self {
        Self::Cluster(Arc::new(plan.start()))
    }

    /// Its address, as a server takes it; none of an embedded one.
    pub fn url(&self) -> Option<String> {
        match self {
            Self::Embedded => None,
            Self::Redis(node) => Some(format!("redis://{}", node.address())),
            Self::Cluster(cluster) => {
                let nodes = cluster.addresses().join(",");
                Some(format!("redis-cluster://{nodes}"))
            }
        }
    }

    /// The redis-servers that it consists of.
    pub fn nodes(&self) -> &[Node] {
        match self {
            Self::Embedded => &[],
            Self::Redis(node) => slice::from_ref(&**node),
            Self::Cluster(cluster) => cluster.nodes(),
        }
    }

    /// The one that has the keys of a slot as of now.
    #[track_caller]
    pub fn node_of_slot(&self, slot: u16) -> &Node {
        match self {
            Self::Embedded => panic!("an embedded store has no nodes"),
            Self::Redis(node) => node,
            Self::Cluster(cluster) => cluster.node(cluster.master_of_slot(slot)),
        }
    }

    /// Another one with the same keys, which must not change meanwhile: of a
    /// cluster one of as many masters, without replicas. The files of an
    /// embedded store are its server's.
    #[track_caller]
    pub fn copy(&self) -> Self {
        let copy = match self {
            Self::Embedded => Self::Embedded,
            Self::Redis(_) => Self::redis(),
            Self::Cluster(cluster) => Self::of_plan(Plan::new(cluster.masters().len(), 0)),
        };
        for node in self.nodes() {
            copy_keys(node, &copy);
        }
        copy
    }

    /// What a server says of its kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Redis(_) => "redis",
            Self::Cluster(_) => "redis-cluster",
        }
    }

    /// What an acknowledgement means where nobody says what it should.
    pub fn durability(&self) -> Durability {
        match self {
            Self::Embedded => Durability::Embedded,
            Self::Cluster(cluster) if cluster.nodes().len() > cluster.masters().len() => {
                Durability::Replicated
            }
            Self::Redis(_) | Self::Cluster(_) => Durability::Local,
        }
    }

    /// Starts a server over it; several may be, unless it is an embedded one.
    pub async fn serve(&self, binary: Binary) -> Server {
        Setup::new(binary).on(self).start().await
    }
}

/// Copies a node's keys to who has their slots in another store.
#[track_caller]
fn copy_keys(node: &Node, store: &Store) {
    for key in node.ask(&["KEYS", "*"]).items() {
        let key = key.bytes();
        let dump = node.ask(&[b"DUMP", &*key]).bytes();
        // Asked of one that is not in a cluster, too.
        let slot = node.command(&[b"CLUSTER".as_slice(), b"KEYSLOT", &key]);
        let slot = slot.map_or(0, |slot| slot.int());
        let to = store.node_of_slot(u16::try_from(slot).expect("a slot"));
        to.ask(&[b"RESTORE", &*key, b"0", &dump]);
    }
}

/// Makes a test on every kind of store of each function named, which takes the
/// [`Store`]. The functions do not know which one it is.
#[macro_export]
macro_rules! on_every_store {
    ($($test:ident),+ $(,)?) => {
        $crate::on_every_store!(@ embedded, $crate::Store::Embedded, $($test)+);
        $crate::on_every_store!(@ redis, $crate::Store::redis(), $($test)+);
        $crate::on_every_store!(@ redis_cluster, $crate::Store::cluster(), $($test)+);
    };
    (@ $kind:ident, $store:expr, $($test:ident)+) => {
        mod $kind {
            $(
                #[tokio::test]
                async fn $test() {
                    super::$test($store).await;
                }
            )+
        }
    };
}
