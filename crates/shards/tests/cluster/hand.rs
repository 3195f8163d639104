//! Hands that the tests of losses have: on a store's keys and files, and on the
//! pace of a server.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shards::ids::{BuyerId, StripeNo};
use shards::inventory::{Inventory, Target};
use shards::machine::{Reply, StripeReply, Visit};
use shards::redis::{Acknowledge, Address, Options, Redis};
use shards::store::{Clock, StoreError, WallClock};
use shards::time::Millis;

use crate::server::{Server, eventually, item, request};
use crate::servers::{Node, Settings, poll};

/// Longest time that a server stands still: a test that failed meanwhile ends.
const HALT_TIME_MAX: Duration = Duration::from_mins(1);

/// Settings of a node that is killed and comes back with all that it answered:
/// by `everysec` it may answer before it writes, while it syncs.
pub(crate) fn durable(settings: Settings) -> Settings {
    settings.set("appendfsync", "always")
}

/// The settings of a server over one process, whose word is enough.
pub(crate) fn single(node: &Node) -> Options {
    Options {
        acknowledge: Some(Acknowledge::Local),
        init: true,
        ..Options::new(Address::parse(&format!("redis://{}", node.address())).unwrap())
    }
}

/// Stops the server whose clock it is, as a machine that stands still does: it
/// keeps what it knows and its connections, and does nothing.
#[derive(Clone, Default)]
pub(crate) struct Brake(Arc<(Mutex<Pace>, Condvar)>);

#[derive(Default)]
struct Pace {
    halted: bool,
    stands: bool,
}

/// Lets the server go on when it is dropped.
pub(crate) struct Halted(Brake);

impl Brake {
    /// A server that can be stopped.
    pub(crate) fn server(&self, options: Options) -> Server {
        let clock = Braked(self.clone(), WallClock::default());
        let store = Arc::new(Redis::open_by(options, Box::new(clock)).unwrap());
        Server {
            inventory: Inventory::new(Arc::<Redis>::clone(&store)),
            store,
        }
    }

    /// Done when it stands.
    pub(crate) fn halt(&self) -> Halted {
        self.pace().halted = true;
        poll("a server that stands still", || {
            let stands = self.pace().stands;
            stands.then_some(()).ok_or("it goes on")
        });
        Halted(self.clone())
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Halted {
    fn drop(&mut self) {
        *self.0.pace() = Pace::default();
        self.0.0.1.notify_all();
    }
}

/// A server asks it before every flush.
struct Braked(Brake, WallClock);

impl Clock for Braked {
    fn now(&mut self, seen: Millis) -> Millis {
        let mut pace = self.0.pace();
        pace.stands = pace.halted;
        let wait = self
            .0
            .0
            .1
            .wait_timeout_while(pace, HALT_TIME_MAX, |pace| pace.halted);
        drop(wait.unwrap_or_else(PoisonError::into_inner));
        self.1.now(seen)
    }
}

/// The stripe that has an item's entry, and its first shard.
pub(crate) fn stripe_of(id: &str) -> StripeNo {
    shards::hash::catalog_stripe(&item(id))
}

pub(crate) fn buyer(n: u32) -> BuyerId {
    BuyerId::parse(&format!("buyer-{n}")).unwrap()
}

/// The reservation that [`Server::reserve`] makes by this number.
pub(crate) fn target(id: &str, n: u32) -> Target {
    Target::Key {
        item: item(id),
        buyer: buyer(n),
        request: request(n),
    }
}

pub(crate) fn visit_of(answer: Result<Reply, StoreError>) -> Result<Visit, String> {
    match answer {
        Ok(Reply::Stripe(StripeReply::Visited(visit))) => Ok(visit),
        other => Err(format!("{other:?}")),
    }
}

/// Waits for a server's first answer about a stripe: it has to know of a loss.
pub(crate) async fn notices(server: &Server, stripe: StripeNo) -> shards::machine::Freeze {
    let visit = eventually("a visit", async || visit_of(server.visit(stripe).await)).await;
    visit
        .frozen
        .unwrap_or_else(|| panic!("stripe {stripe} goes on serving, after run {}", visit.seq))
}

/// Waits until a server hears that a stripe is frozen.
pub(crate) async fn hears(server: &Server, stripe: StripeNo) -> shards::machine::Freeze {
    eventually("a freeze", async || {
        let visit = visit_of(server.visit(stripe).await)?;
        visit.frozen.ok_or_else(|| "it serves".to_owned())
    })
    .await
}

/// Runs of the script so far.
pub(crate) async fn seq(server: &Server, stripe: StripeNo) -> u64 {
    let visit = eventually("a visit", async || visit_of(server.visit(stripe).await)).await;
    visit.seq
}

/// The keys of a node that fit a pattern.
pub(crate) fn keys(node: &Node, pattern: &str) -> Vec<String> {
    let found = node.ask(&["KEYS", pattern]);
    found.items().iter().map(|key| key.text()).collect()
}

/// A stripe's own key: guard, catalog or index.
pub(crate) fn own_key(stripe: StripeNo, name: &str) -> String {
    // The tag is found, not known: tests spoil what they find.
    format!("holdfast:{{{stripe}-*}}:{name}")
}

/// What a stripe's guard says under a name.
pub(crate) fn guard(node: &Node, stripe: StripeNo, field: &str) -> String {
    let key = keys(node, &own_key(stripe, "guard")).remove(0);
    node.ask(&["HGET", &key, field]).text()
}
