//! A cluster of redis-servers.

use std::collections::BTreeSet;
use std::sync::Mutex;

use super::network::{Link, Network};
use super::node::Node;
use super::plan::{Plan, SLOTS, meet};
use super::settings::Settings;
use super::view::{Member, View};
use super::wait::poll;

/// A cluster. Nodes go by their index, which stays the same: masters first, as
/// it was started. Dropping it kills them.
#[derive(Debug)]
pub struct Cluster {
    pub(super) nodes: Vec<Node>,
    /// The id of each.
    pub(super) ids: Vec<String>,
    pub(super) settings: Settings,
    /// After the nodes: it goes when they have gone.
    pub(super) network: Network,
    pub(super) cut: Mutex<BTreeSet<Link>>,
}

impl Cluster {
    /// Starts one of so many masters, each with so many replicas. Node
    /// `masters + i` is a replica of master `i / replicas_of_each`.
    #[track_caller]
    pub fn start(masters: usize, replicas_of_each: usize) -> Self {
        Plan::new(masters, replicas_of_each).start()
    }

    /// All nodes.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// One of them.
    #[track_caller]
    pub fn node(&self, index: usize) -> &Node {
        &self.nodes[index]
    }

    /// The cluster's id of a node.
    #[track_caller]
    pub fn id(&self, index: usize) -> &str {
        &self.ids[index]
    }

    /// Where the nodes listen, as `host:port`.
    pub fn addresses(&self) -> Vec<String> {
        self.nodes.iter().map(Node::address).collect()
    }

    /// What a node says about the cluster.
    pub fn view_of(node: &Node) -> Result<View, String> {
        let text = node.command(&["CLUSTER", "NODES"])?.text();
        Ok(View::parse(&text))
    }

    /// The cluster as the nodes that are awake see it; where they differ, as
    /// one sees it that has the newest epoch and says that all is well.
    pub fn view(&self) -> Result<View, String> {
        let awake = self.nodes.iter().filter(|node| node.is_awake());
        let views = awake.filter_map(|node| {
            let info = node.command(&["CLUSTER", "INFO"]).ok()?.text();
            let epoch: u64 = field(&info, "cluster_current_epoch").parse().ok()?;
            let is_ok = field(&info, "cluster_state") == "ok";
            Some(((is_ok, epoch), Self::view_of(node).ok()?))
        });
        let best = views.max_by_key(|(rank, _)| *rank);
        best.map(|(_, view)| view).ok_or("no node answers".into())
    }

    /// The nodes that serve slots as of now.
    #[track_caller]
    pub fn masters(&self) -> Vec<usize> {
        let view = self.view().expect("a living node");
        self.indexes(
            view.0.iter().filter(|member| {
                member.is("master") && !member.is("fail") && !member.slots.is_empty()
            }),
        )
    }

    /// The nodes that copy this one as of now, failed ones included.
    #[track_caller]
    pub fn replicas_of(&self, master: usize) -> Vec<usize> {
        let view = self.view().expect("a living node");
        let id = &self.ids[master];
        self.indexes(
            view.0
                .iter()
                .filter(|member| member.master.as_ref() == Some(id)),
        )
    }

    /// The node that serves a slot as of now.
    #[track_caller]
    pub fn master_of_slot(&self, slot: u16) -> usize {
        let view = self.view().expect("a living node");
        let master = view.master_of_slot(slot);
        self.index(master.unwrap_or_else(|| panic!("nobody serves slot {slot}: {view:#?}")))
    }

    fn indexes<'a>(&self, members: impl Iterator<Item = &'a Member>) -> Vec<usize> {
        let mut found: Vec<_> = members.map(|member| self.index(member)).collect();
        found.sort_unstable();
        found
    }

    fn index(&self, member: &Member) -> usize {
        let found = self.ids.iter().position(|id| *id == member.id);
        found.unwrap_or_else(|| panic!("a node that this cluster did not start: {member:?}"))
    }

    /// Waits until the cluster is whole as far as its nodes are awake: each of
    /// them serves or copies, says that all slots are served, and agrees about
    /// who does; and every replica has its master's data.
    #[track_caller]
    pub fn wait_until_ok(&self) {
        poll("a cluster that is well", || self.check());
    }

    /// Whether it is; what is not, where it is not.
    pub fn check(&self) -> Result<(), String> {
        let view = self.view()?;
        for (node, id) in self.nodes.iter().zip(&self.ids) {
            if !node.is_awake() || view.member(id).is_none() {
                continue;
            }
            let at = |what: &str| format!("{}: {what}", node.address());
            let info = node.command(&["CLUSTER", "INFO"])?.text();
            for (name, wanted) in [("cluster_state", "ok"), ("cluster_slots_ok", "16384")] {
                let value = field(&info, name);
                if value != wanted {
                    return Err(at(&format!("{name} is {value}")));
                }
            }
            let its = Self::view_of(node)?;
            for slot in (0..SLOTS).step_by(64) {
                let slot = u16::try_from(slot).expect("below 16,384");
                let of = |view: &View| view.master_of_slot(slot).map(|member| member.id.clone());
                if of(&its) != of(&view) {
                    return Err(at(&format!("sees another master of slot {slot}")));
                }
            }
            let me = view.member(id).ok_or("gone")?;
            if let Some(master) = &me.master {
                if node.info("master_link_status")? != "up" {
                    return Err(at("not in sync with its master"));
                }
                let replicas_of = |view: &View| view.member(id).and_then(|me| me.master.clone());
                if replicas_of(&its).as_ref() != Some(master) {
                    return Err(at("copies another master"));
                }
            } else if me.slots.is_empty() {
                return Err(at("neither serves nor copies"));
            } else {
                self.check_replicas(node, id, &its)?;
            }
        }
        Ok(())
    }

    /// Whether all replicas that a master lists and that are awake are online.
    fn check_replicas(&self, node: &Node, id: &String, view: &View) -> Result<(), String> {
        let listed = view.0.iter().filter(|member| {
            let index = self.ids.iter().position(|id| *id == member.id);
            let awake = index.is_some_and(|index| self.nodes[index].is_awake());
            awake && member.master.as_ref() == Some(id)
        });
        let info = node.command(&["INFO", "replication"])?.text();
        let online = info.lines().filter(|line| line.contains("state=online"));
        let (listed, online) = (listed.count(), online.count());
        if online < listed {
            return Err(format!(
                "{}: {online} of its {listed} replicas are online",
                node.address()
            ));
        }
        Ok(())
    }

    /// Makes a node copy a master, as soon as it knows it.
    #[track_caller]
    pub(super) fn follow(&self, index: usize, master: usize) {
        poll("a replica's master", || {
            self.nodes[index].command(&["CLUSTER", "REPLICATE", &self.ids[master]])
        });
    }

    /// Starts one more replica of a master and waits until it has its data.
    /// Its index is the highest.
    #[track_caller]
    pub fn add_replica(&mut self, master: usize) -> usize {
        let index = self.begin_replica(master);
        poll("a cluster with one more replica", || {
            self.check()?;
            let known = self.replicas_of(master).contains(&index);
            known.then_some(()).ok_or("it is not listed".to_owned())
        });
        index
    }

    /// The same, without waiting for the data.
    #[track_caller]
    pub fn begin_replica(&mut self, master: usize) -> usize {
        let settings = self.network.place(self.nodes.len(), self.settings.clone());
        let node = settings.start();
        self.ids.push(node.ask(&["CLUSTER", "MYID"]).text());
        self.nodes.push(node);
        let index = self.nodes.len() - 1;
        for other in self.nodes[..index].iter().filter(|node| node.is_awake()) {
            meet(other, &self.nodes[index]);
        }
        self.follow(index, master);
        index
    }

    /// Makes all others that are awake forget a node; for a minute they do not
    /// take it back.
    #[track_caller]
    pub fn forget(&self, index: usize) {
        let id = self.ids[index].as_str();
        let others = || {
            let nodes = self.nodes.iter().zip(&self.ids);
            nodes.filter(|(node, other)| *other != id && node.is_awake())
        };
        poll("a forgotten node", || {
            for (node, _) in others() {
                if Self::view_of(node)?.member(id).is_some() {
                    node.command(&["CLUSTER", "FORGET", id])?;
                }
            }
            let knows = |node| Self::view_of(node).is_ok_and(|view| view.member(id).is_some());
            let still = others().find(|(node, _)| knows(node));
            still.map_or(Ok(()), |(node, _)| {
                Err(format!("{} knows it", node.address()))
            })
        });
    }

    /// Makes a replica the master, in agreement with the one it copies; waits
    /// until the cluster says so.
    #[track_caller]
    pub fn failover(&self, replica: usize) {
        self.failover_by(replica, &[]);
    }

    /// The same by `FORCE` (the master is gone) or `TAKEOVER` (so are the
    /// others).
    #[track_caller]
    pub fn failover_by(&self, replica: usize, how: &[&str]) {
        let words: Vec<_> = ["CLUSTER", "FAILOVER"].iter().chain(how).copied().collect();
        self.nodes[replica].ask(&words);
        poll("a replica that is master", || {
            let view = self.view()?;
            let me = view.member(&self.ids[replica]).ok_or("gone")?;
            let done = me.is("master") && !me.slots.is_empty();
            done.then_some(())
                .ok_or_else(|| format!("{:?} with {:?}", me.flags, me.slots))
        });
    }
}

/// A field of `CLUSTER INFO`.
fn field<'a>(info: &'a str, name: &str) -> &'a str {
    let mut fields = info.lines().filter_map(|line| line.split_once(':'));
    let found = fields.find(|(field, _)| *field == name);
    found.map_or("", |(_, value)| value.trim())
}
