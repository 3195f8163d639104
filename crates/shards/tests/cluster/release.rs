//! A stripe that lost the end of its history and is let go on by an operator:
//! first it is made consistent with the others, then everybody forgets what was
//! lost, and what was given twice is named.

use std::collections::BTreeSet;

use shards::hash;
use shards::ids::{ShardNo, StripeNo};
use shards::inventory::{AuditLevel, Error, ReadStock, Reserved, StripeHealth, Verdict};
use shards::redis::Acknowledge;
use shards::store::{Store, StoreError};

use crate::hand::{Brake, buyer, durable, hears, notices, seq, single, stripe_of, target};
use crate::server::{Server, eventually, item, options};
use crate::servers::{Cluster, Plan, Settings};

const ITEM: &str = "shoe";
const STOCK: u64 = 10;

/// The shard that decides about the buyer of [`Server::reserve`].
fn home(server: &Server, n: u32) -> ShardNo {
    let key = server.store.identity().fingerprint_key;
    hash::home_shard(hash::fingerprint(&key, &item(ITEM), &buyer(n)), 2)
}

/// New requests of buyers about whom this shard decides.
fn requests(server: &Server, shard: ShardNo) -> impl Iterator<Item = u32> + '_ {
    (1..).filter(move |n| home(server, *n) == shard)
}

/// Whether a request is granted, once it is decided; or that a stripe is frozen.
async fn ask(server: &Server, n: u32) -> Result<bool, StoreError> {
    eventually("a decision", async || match server.reserve(ITEM, n).await {
        Ok(Reserved::Granted { .. }) => Ok(Ok(true)),
        Ok(Reserved::Short { .. }) => Ok(Ok(false)),
        Err(Error::Store(frozen @ StoreError::Frozen { .. })) => Ok(Err(frozen)),
        Err(error) => Err(error),
        Ok(other) => panic!("{other:?}"),
    })
    .await
}

/// A master loses what its first shard lent; units that it has sent are sold
/// there a second time before anybody notices.
struct Loss {
    cluster: Cluster,
    servers: [Server; 2],
    /// The stripe that lost something.
    stripe: StripeNo,
    /// The node that has the other shard.
    peer: usize,
    asked: BTreeSet<u32>,
    granted: BTreeSet<u32>,
}

async fn after_a_loss_at_the_sender() -> Loss {
    let cluster = Plan::new(2, 0).settings(durable).start();
    let open = || Server::open(options(&cluster, Acknowledge::Local));
    let server = open();
    server.create(ITEM, STOCK, 2).await;
    let placed = server.inventory.item(&item(ITEM), None).await.unwrap();
    let [stripe, other] = placed.placement[..] else {
        panic!("{placed:?}");
    };
    let node = |stripe: StripeNo| cluster.master_of_slot(u16::from(stripe.0) * 256 + 128);
    let (sender, peer) = (node(stripe), node(other));
    assert_ne!(sender, peer);
    let old = cluster.node(sender).copy_files();
    let mut granted = BTreeSet::new();
    for n in requests(&server, ShardNo(1)).take(8) {
        assert_eq!(ask(&server, n).await, Ok(true), "lent by the other shard");
        granted.insert(n);
    }
    // Who could know of the loss goes, too.
    drop(server);
    cluster.node(sender).kill_9();
    cluster.node(sender).replace_files(old.path());
    cluster.node(sender).restart();
    cluster.wait_until_ok();
    let servers = [open(), open()];
    for n in requests(&servers[0], ShardNo(0)).take(5) {
        assert_eq!(ask(&servers[0], n).await, Ok(true));
        granted.insert(n);
    }
    Loss {
        servers,
        stripe,
        peer,
        asked: granted.clone(),
        granted,
        cluster,
    }
}

impl Loss {
    /// Sells until something else than a grant is the answer.
    async fn sell(&mut self, shard: ShardNo) -> Result<bool, StoreError> {
        let known = self.asked.clone();
        let new: Vec<_> = requests(&self.servers[0], shard)
            .filter(|n| !known.contains(n))
            .take(50)
            .collect();
        for (turn, n) in new.into_iter().enumerate() {
            self.asked.insert(n);
            match ask(&self.servers[turn % 2], n).await {
                Ok(true) => self.granted.insert(n),
                other => return other,
            };
        }
        panic!("50 more were granted");
    }
}

/// ⚔ Noticed by the next lend; released with the surplus named, and never sold
/// beyond that.
#[tokio::test]
async fn a_sender_that_lost_its_tail_is_repaired_and_sells_on() {
    let mut loss = after_a_loss_at_the_sender().await;
    let frozen = loss.sell(ShardNo(1)).await;
    assert!(
        matches!(&frozen, Err(StoreError::Frozen { stripe, .. }) if *stripe == loss.stripe),
        "{frozen:?}"
    );
    let freeze = hears(&loss.servers[0], loss.stripe).await;
    assert_eq!(hears(&loss.servers[1], loss.stripe).await, freeze);
    let release = async |server: &Server| {
        let inventory = &server.inventory;
        inventory.release_stripe(loss.stripe, freeze.id, None).await
    };

    // A peer that cannot be asked may have received more.
    loss.cluster.node(loss.peer).stop();
    let refused = release(&loss.servers[0]).await;
    assert!(matches!(refused, Err(Error::Store(_))), "{refused:?}");
    loss.cluster.node(loss.peer).cont();
    assert_eq!(hears(&loss.servers[1], loss.stripe).await, freeze, "still");

    let released = eventually("a release", async || release(&loss.servers[0]).await).await;
    assert!(
        matches!(released.stripe.health, StripeHealth::Serving { .. }),
        "{released:?}"
    );
    let surplus = released.surplus.unwrap();
    let out = u64::try_from(loss.granted.len()).unwrap();
    assert_eq!(surplus, out - STOCK, "so many were given twice");
    let again = eventually("a release", async || release(&loss.servers[1]).await).await;
    assert_eq!(again.surplus, None, "it had been released");

    let [one, two] = &loss.servers;
    for server in [one, two] {
        let level = AuditLevel::Records;
        let audit = eventually("an audit", async || {
            let audit = server.inventory.audit(&item(ITEM), level, None).await;
            let audit = audit.map_err(|error| error.to_string())?;
            let still = audit.verdict != Verdict::Undecided;
            still.then_some(audit).ok_or("not still".to_owned())
        })
        .await;
        let named: u64 = audit
            .shards
            .iter()
            .map(|shard| shard.reading.counters.surplus)
            .sum();
        assert_eq!((named, audit.violations), (surplus, vec![]));
        assert_eq!(audit.oversold_units, Some(surplus));
    }

    // What comes back is sold again, and no more than that.
    for n in loss.granted.clone().into_iter().take(6) {
        one.inventory.cancel(&target(ITEM, n), None).await.unwrap();
        loss.granted.remove(&n);
    }
    let kept = loss.granted.len();
    for shard in [ShardNo(0), ShardNo(1)] {
        assert_eq!(loss.sell(shard).await, Ok(false));
    }
    assert!(loss.granted.len() > kept);
    assert_eq!(loss.granted.len() as u64, STOCK + surplus);
    for server in &loss.servers {
        let stock = server
            .inventory
            .stock(&item(ITEM), ReadStock::Twice, None)
            .await
            .unwrap();
        assert_eq!((stock.available, stock.held), (0, STOCK + surplus));
        assert_eq!(server.store.status().frozen_stripes, 0, "no second freeze");
    }
}

/// ⚔ What a release accepted is forgotten by every server, whatever it
/// remembered; a release that is gone itself is a loss like any other.
#[tokio::test]
async fn every_server_forgets_what_was_released() {
    let node = durable(Settings::default()).start();
    let brake = Brake::default();
    let far = brake.server(single(&node));
    let near = Server::open(single(&node));
    let stripe = stripe_of(ITEM);
    let grant = async |server: &Server, n| {
        let decided = server.reserve_until_decided(ITEM, n).await;
        assert!(matches!(decided, Reserved::Granted { .. }), "{decided:?}");
    };
    far.create(ITEM, 1_000, 1).await;
    let old = node.copy_files();
    for n in 1..40 {
        grant(&near, n).await;
    }
    // The two remember differently long histories.
    let heard = seq(&far, stripe).await;
    let halted = brake.halt();
    for n in 40..60 {
        grant(&near, n).await;
    }
    assert!(seq(&near, stripe).await > heard);
    let lose = || {
        node.kill_9();
        node.replace_files(old.path());
        node.restart();
    };
    lose();
    let freeze = notices(&near, stripe).await;
    let release = async |server: &Server, id| {
        eventually("a release", async || {
            server.inventory.release_stripe(stripe, id, None).await
        })
        .await
    };
    // The stripes that the release has to read are frozen as well.
    let released = release(&near, freeze.id).await;
    assert_eq!(released.surplus, Some(0));
    grant(&near, 100).await;

    drop(halted);
    grant(&far, 101).await;
    for server in [&near, &far] {
        let before = seq(server, stripe).await;
        eventually("visits of both", async || {
            let now = seq(server, stripe).await;
            (now > before + 6).then_some(()).ok_or(now)
        })
        .await;
        let serves = server.visit(stripe).await;
        assert!(serves.is_ok(), "{serves:?}");
        grant(server, 102).await;
    }

    lose();
    let second = notices(&far, stripe).await;
    assert_ne!(second.id, freeze.id);
    assert_eq!(hears(&near, stripe).await, second);
}
