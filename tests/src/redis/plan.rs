//! What a cluster shall be, and how it is made.

use std::sync::Mutex;

use super::cluster::Cluster;
use super::network::Network;
use super::node::Node;
use super::settings::Settings;
use super::wait::poll;

/// Slots of a cluster.
pub(super) const SLOTS: usize = 16_384;

/// A cluster to be.
#[derive(Clone, Debug)]
pub struct Plan {
    masters: usize,
    replicas: usize,
    settings: Settings,
    way: Way,
}

#[derive(Clone, Copy, Debug)]
enum Way {
    Plain,
    Splittable,
    Proxied,
}

impl Plan {
    /// So many masters, each with so many replicas.
    pub fn new(masters: usize, replicas_of_each: usize) -> Self {
        Self {
            masters,
            replicas: replicas_of_each,
            settings: Settings::default().in_cluster(),
            way: Way::Plain,
        }
    }

    /// With a line of settings in place of any of its name, on every node.
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.settings = self.settings.set(name, value);
        self
    }

    /// With other settings changed, on every node.
    pub fn settings(mut self, change: impl FnOnce(Settings) -> Settings) -> Self {
        self.settings = change(self.settings);
        self
    }

    /// On a network that can be cut: namespaces where the tests may make them
    /// (they are root's), else proxies.
    pub fn splittable(mut self) -> Self {
        self.way = Way::Splittable;
        self
    }

    /// Behind proxies, which can also be slow; see [`Cluster::proxy`].
    pub fn proxied(mut self) -> Self {
        self.way = Way::Proxied;
        self
    }

    /// Starts it: first the masters, by their slots; then the replicas, those
    /// of the first master first. Waits until every node says that the cluster
    /// is well, and every replica has its master's data.
    #[track_caller]
    pub fn start(self) -> Cluster {
        let count = self.masters * (1 + self.replicas);
        let mut network = match self.way {
            Way::Plain => Network::Loopback,
            Way::Splittable => Network::that_can_be_cut(),
            Way::Proxied => Network::Proxies(Vec::new()),
        };
        let nodes: Vec<_> = (0..count)
            .map(|index| Node::launch(network.place(index, self.settings.clone())))
            .collect();
        nodes.iter().for_each(Node::wait_until_ready);
        let ids = nodes
            .iter()
            .map(|node| node.ask(&["CLUSTER", "MYID"]).text());
        let cluster = Cluster {
            ids: ids.collect(),
            nodes,
            settings: self.settings.clone(),
            network,
            cut: Mutex::default(),
        };
        self.give_slots(&cluster);
        introduce(&cluster);
        for index in self.masters..count {
            let master = (index - self.masters) / self.replicas;
            cluster.follow(index, master);
        }
        cluster.wait_until_ok();
        cluster
    }

    fn give_slots(&self, cluster: &Cluster) {
        for (index, node) in cluster.nodes[..self.masters].iter().enumerate() {
            let first = index * SLOTS / self.masters;
            let last = (index + 1) * SLOTS / self.masters - 1;
            let (first, last) = (first.to_string(), last.to_string());
            node.ask(&["CLUSTER", "ADDSLOTSRANGE", &first, &last]);
            // Their own from the start: the cluster would need a while to
            // make them different.
            let epoch = (index + 1).to_string();
            node.ask(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch]);
        }
    }
}

/// Makes all nodes know each other: each pair at once, as gossip is slow.
fn introduce(cluster: &Cluster) {
    for (index, node) in cluster.nodes.iter().enumerate() {
        for other in &cluster.nodes[..index] {
            meet(node, other);
        }
    }
    poll("nodes that know each other", || {
        cluster.nodes.iter().try_for_each(|node| {
            let view = Cluster::view_of(node)?;
            let known = cluster.ids.iter().filter(|id| {
                let member = view.member(id);
                member.is_some_and(|member| !member.is("handshake"))
            });
            let (known, all) = (known.count(), cluster.ids.len());
            let whole = known == all;
            whole
                .then_some(())
                .ok_or_else(|| format!("{} knows {known} of {all}", node.address()))
        })
    });
}

/// Tells a node where another one is.
pub(super) fn meet(node: &Node, other: &Node) {
    node.ask(&["CLUSTER", "MEET", other.host(), &other.port().to_string()]);
}
