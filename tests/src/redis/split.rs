//! Clusters whose network is cut; only those that were planned so
//! ([`Plan::splittable`](super::Plan::splittable)).

use std::collections::BTreeSet;
use std::sync::{MutexGuard, PoisonError};

use super::cluster::Cluster;
use super::network::{Link, Network, Place, small};
use super::proxy::Proxy;

impl Cluster {
    /// Cuts the nodes into groups that cannot reach each other. The test and
    /// what it starts reach all of them, as does a node that no group names.
    /// What was cut before stays so.
    #[track_caller]
    pub fn split(&self, groups: &[&[usize]]) {
        for (index, group) in groups.iter().enumerate() {
            for other in &groups[..index] {
                for &a in *group {
                    for &b in *other {
                        self.note(Place::Node(small(a)), Place::Node(small(b)));
                    }
                }
            }
        }
        self.apply();
    }

    /// Cuts two nodes apart; both reach all others.
    #[track_caller]
    pub fn cut(&self, a: usize, b: usize) {
        self.split(&[&[a], &[b]]);
    }

    /// Cuts the test, and what it starts, from these nodes;
    /// [`Node::command`](super::Node::command) reaches them all the same.
    #[track_caller]
    pub fn cut_clients_from(&self, nodes: &[usize]) {
        for &node in nodes {
            self.note(Place::Client, Place::Node(small(node)));
        }
        self.apply();
    }

    /// The network is whole again.
    #[track_caller]
    pub fn heal(&self) {
        self.links().clear();
        self.apply();
    }

    /// The proxy before a node, through which its clients and replicas come;
    /// only of a cluster with [`Plan::proxied`](super::Plan::proxied).
    #[track_caller]
    pub fn proxy(&self, index: usize) -> &Proxy {
        match &self.network {
            Network::Proxies(fronts) => &fronts[index].clients,
            _ => panic!("only a cluster that was planned so has proxies"),
        }
    }

    /// Whether cuts are those of a real network, or of proxies.
    pub fn has_namespaces(&self) -> bool {
        matches!(self.network, Network::Namespaces(_))
    }

    fn links(&self) -> MutexGuard<'_, BTreeSet<Link>> {
        self.cut.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, a: Place, b: Place) {
        self.links().insert(Link::between(a, b));
    }

    #[track_caller]
    fn apply(&self) {
        self.network.cut(&self.links());
    }
}
