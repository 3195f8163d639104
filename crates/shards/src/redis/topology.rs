//! Which master serves which stripe. A connection of its own asks some node every
//! now and then, and every master is asked along with its lists; of two who claim
//! a slot the later one is believed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};

use super::connect::{Command, Connection};
use super::fault::Fault;
use super::figures::{Flushes, Heard};
use super::keys;
use super::lane::Lane;
use super::link::read_clock;
use super::listening::Ear;
use super::runner::Runner;
use super::shared::{Routes, Shared};
use super::survey::{Endpoint, Node, parse_nodes};
use crate::ids::{STRIPES, StripeNo};

/// How often the cluster is asked how it is.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// And how soon again where something points to a change.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(50);
/// Longest wait for an answer.
const LOOK_TIME_MAX: Duration = Duration::from_millis(300);
/// What a node said counts this long.
const SIGHT_AGE_MAX: Duration = Duration::from_secs(3);

/// The tasks of a store: its lanes, and what keeps them in step with the
/// cluster.
pub(super) struct Tasks {
    shared: Arc<Shared>,
    flushes: Flushes,
    running: JoinSet<()>,
    listening: JoinSet<()>,
    heard: Heard,
    scout: Option<(Endpoint, Connection)>,
    /// Nodes to ask, the last one that answered first.
    known: Vec<Endpoint>,
}

/// A lane that ends, however it does, takes no more work.
struct ClosesAtTheEnd(Arc<Lane>);

impl Drop for ClosesAtTheEnd {
    fn drop(&mut self) {
        self.0.close();
        self.0.go_down("its task has ended");
    }
}

impl Tasks {
    pub(super) fn new(
        shared: Arc<Shared>,
        (flushes, heard): (Flushes, Heard),
        known: Vec<Endpoint>,
    ) -> Self {
        Self {
            shared,
            flushes,
            running: JoinSet::new(),
            listening: JoinSet::new(),
            heard,
            scout: None,
            known,
        }
    }

    /// Keeps the routes in step with the cluster until `closed`, then lets the
    /// lanes finish what is queued.
    pub(super) async fn run(mut self, mut closed: tokio::sync::oneshot::Receiver<()>) {
        loop {
            let pause = async {
                let look_again = self.shared.look_again.notified();
                let told = tokio::time::timeout(LOOK_EVERY, look_again).await.is_ok();
                if told {
                    // Who just lost a master is told of the next one a moment later.
                    crate::redis::pause(LOOK_AGAIN_AFTER).await;
                }
            };
            tokio::select! {
                _ = &mut closed => break,
                () = pause => {}
                Some(ended) = self.running.join_next() => tell_of_panic("serves", &ended),
                Some(ended) = self.listening.join_next() => tell_of_panic("hears", &ended),
            }
            if self.shared.options.address.cluster {
                self.look().await;
            } else {
                self.serve(&vec![self.known.first().cloned(); usize::from(STRIPES)]);
            }
        }
        self.listening.abort_all();
        for lane in &self.shared.routes().lanes {
            lane.close();
        }
        while self.running.join_next().await.is_some() {}
    }

    /// Asks how the cluster is, and goes by it.
    async fn look(&mut self) {
        let now = read_clock();
        let mut sights = self
            .shared
            .clusters(now.checked_sub(SIGHT_AGE_MAX).unwrap_or(now));
        sights.extend(self.ask_scout().await);
        if sights.is_empty() {
            return;
        }
        for node in sights.iter().flatten().filter(|node| node.known) {
            if !self.known.contains(&node.endpoint) {
                self.known.push(node.endpoint.clone());
            }
        }
        self.serve(&owners(&sights));
    }

    /// What some node says of the cluster.
    async fn ask_scout(&mut self) -> Option<Vec<Node>> {
        if let Some((endpoint, connection)) = &self.scout {
            match ask_nodes(connection, endpoint).await {
                Ok(nodes) => return Some(nodes),
                Err(fault) => {
                    tracing::debug!(node = %endpoint, %fault, "asks another node about the cluster");
                    // The last to be asked the next time.
                    let endpoint = endpoint.clone();
                    self.known.retain(|known| *known != endpoint);
                    self.known.push(endpoint);
                    self.scout = None;
                }
            }
        }
        // One attempt at a time: a hung node must not keep the others' news.
        let endpoint = self.known.first()?.clone();
        self.known.rotate_left(1);
        let connection = self.shared.connector.connect(&endpoint).await.ok()?;
        let nodes = ask_nodes(&connection, &endpoint).await.ok()?;
        self.scout = Some((endpoint, connection));
        Some(nodes)
    }

    /// Has a lane for each master, and each stripe go to its lane.
    pub(super) fn serve(&mut self, owners: &[Option<Endpoint>]) {
        let before = self.shared.routes();
        let mut lanes: BTreeMap<&Endpoint, Arc<Lane>> = BTreeMap::new();
        for endpoint in owners.iter().flatten() {
            lanes.entry(endpoint).or_insert_with(|| {
                let there = before
                    .lanes
                    .iter()
                    .find(|lane| lane.endpoint == *endpoint && !lane.is_closed());
                match there {
                    Some(lane) => Arc::clone(lane),
                    None => self.start(endpoint),
                }
            });
        }
        let order: Vec<&Endpoint> = lanes.keys().copied().collect();
        let of_stripe: Vec<_> = owners
            .iter()
            .map(|owner| order.binary_search(&owner.as_ref()?).ok())
            .collect();
        let lanes: Vec<_> = lanes.into_values().collect();
        let is_there = |lane: &&Arc<Lane>| !lanes.iter().any(|other| Arc::ptr_eq(other, lane));
        let gone: Vec<_> = before.lanes.iter().filter(is_there).cloned().collect();
        if before.of_stripe != of_stripe || !gone.is_empty() || before.lanes.len() != lanes.len() {
            let masters: Vec<_> = lanes.iter().map(|lane| lane.endpoint.to_string()).collect();
            tracing::info!(?masters, "the stripes' masters");
        }
        self.shared.keep_clocks(&lanes);
        self.shared.set_routes(Routes { lanes, of_stripe });
        for lane in gone {
            // What still comes is handed on to whom it belongs to by now.
            lane.close();
        }
    }

    fn start(&mut self, endpoint: &Endpoint) -> Arc<Lane> {
        let lane = Arc::new(Lane::new(
            endpoint.clone(),
            self.shared.options.queue_len_max,
        ));
        let runner = Runner::new(
            Arc::clone(&self.shared),
            Arc::clone(&lane),
            self.flushes.clone(),
        );
        let ear = Ear::new(
            Arc::clone(&self.shared),
            Arc::clone(&lane),
            self.heard.clone(),
        );
        self.listening.spawn(ear.listen());
        let closes = ClosesAtTheEnd(Arc::clone(&lane));
        self.running.spawn(async move {
            let _closes = closes;
            runner.run().await;
        });
        lane
    }
}

fn tell_of_panic(does: &str, ended: &Result<(), JoinError>) {
    if ended.as_ref().is_err_and(JoinError::is_panic) {
        tracing::error!("the task that {does} a master panicked; the log has the details");
    }
}

/// Asks a node for all that it knows.
pub(super) async fn ask_nodes(
    connection: &Connection,
    endpoint: &Endpoint,
) -> Result<Vec<Node>, Fault> {
    let command = Command::new("CLUSTER", ["NODES"]);
    let answer = connection.ask_one(command, LOOK_TIME_MAX).await?;
    let text = answer.into_string().unwrap_or_default();
    Ok(parse_nodes(&text, endpoint))
}

/// The master of each stripe, by all that was said.
pub(super) fn owners(sights: &[Vec<Node>]) -> Vec<Option<Endpoint>> {
    let owner = |stripe| {
        let slot = keys::slot(stripe);
        sights
            .iter()
            .flatten()
            .filter(|node| node.is_master && node.known)
            .filter(|node| {
                let has = |&(first, last): &(u16, u16)| (first..=last).contains(&slot);
                node.slots.iter().any(has)
            })
            .max_by_key(|node| node.epoch)
            .map(|node| node.endpoint.clone())
    };
    StripeNo::all().map(owner).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sight(lines: &str) -> Vec<Node> {
        let asked = Endpoint {
            host: "127.0.0.1".to_owned(),
            port: 7_000,
        };
        parse_nodes(lines, &asked)
    }

    #[test]
    fn of_two_who_claim_a_slot_the_later_one_is_believed() {
        let old = sight("a 127.0.0.1:7000@1 myself,master - 0 0 1 connected 0-16383\n");
        let new = sight(
            "b 127.0.0.1:7001@1 myself,master - 0 0 4 connected 0-8191\n\
             a 127.0.0.1:7000@1 master,fail - 0 0 1 connected 8192-16383\n",
        );
        for sights in [[old.clone(), new.clone()], [new, old]] {
            let owners = owners(&sights);
            let port = |stripe: usize| owners[stripe].as_ref().map(|owner| owner.port);
            assert_eq!(port(0), Some(7_001));
            assert_eq!(port(31), Some(7_001));
            assert_eq!(port(32), Some(7_000));
        }
    }

    #[test]
    fn a_slot_that_nobody_serves_has_no_master() {
        let owners = owners(&[sight(
            "a 127.0.0.1:7000@1 myself,master - 0 0 1 connected 0-127 129-16383\n",
        )]);
        assert_eq!(owners[0], None);
        assert!(owners[1].is_some());
    }
}
