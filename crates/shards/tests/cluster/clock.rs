//! Clocks that are wrong: one of several decides nothing, and what it would
//! decide alone is not done.

use shards::ids::StripeNo;
use shards::inventory::{Error, Reserved};
use shards::machine::{Reservation, State};
use shards::redis::Acknowledge;
use shards::store::{Store, StoreError};

use crate::hand::{durable, single, stripe_of, target};
use crate::server::{Server, eventually, options};
use crate::servers::{Cluster, Plan, Settings};

const HOUR: i64 = 3_600;

/// Two items, one whose stripe the first master has, and one that another has.
fn items(cluster: &Cluster) -> [String; 2] {
    let is_first = |id: &String| master_of(cluster, stripe_of(id)) == 0;
    let (on_it, elsewhere): (Vec<_>, Vec<_>) =
        (0..20).map(|n| format!("item-{n}")).partition(is_first);
    [on_it[0].clone(), elsewhere[0].clone()]
}

fn master_of(cluster: &Cluster, stripe: StripeNo) -> usize {
    cluster.master_of_slot(u16::from(stripe.0) * 256 + 128)
}

async fn grants(server: &Server, id: &str, n: u32) {
    let decided = server.reserve_until_decided(id, n).await;
    assert!(
        matches!(decided, Reserved::Granted { .. }),
        "{id}: {decided:?}"
    );
}

/// Waits until an item's stripe says that clocks are apart; it may have just
/// been taken over, but nothing is granted.
async fn is_skewed(server: &Server, id: &str) {
    eventually("clocks that are too far apart", async || {
        match server.reserve(id, 99).await {
            Err(Error::Store(StoreError::ClockSkew(_))) => Ok(()),
            Err(Error::Store(error)) => Err(error),
            other => panic!("{id}: {other:?}"),
        }
    })
    .await;
}

/// A hold of an hour that nobody's clock has ended.
async fn is_held(server: &Server, id: &str, n: u32) {
    let receipt = eventually("a hold", async || {
        server.inventory.reservation(&target(id, n), None).await
    })
    .await;
    let Reservation { record, .. } = receipt.reservation;
    assert_eq!(record.state, State::Held, "{id}");
}

/// One that starts again with another clock; then the clock is set right.
async fn a_master_that_is_wrong_by(seconds: i64) {
    let cluster = Plan::new(3, 0)
        .settings(|settings| durable(settings).clock_ahead(0))
        .start();
    let server = Server::open(options(&cluster, Acknowledge::Local));
    let [wrong, right] = &items(&cluster);
    for id in [wrong, right] {
        server.create(id, 1_000, 1).await;
        grants(&server, id, 1).await;
    }
    let node = cluster.node(0);
    node.kill_9();
    node.restart_with(node.settings().clock_ahead(seconds));
    is_skewed(&server, wrong).await;
    grants(&server, right, 2).await;
    is_held(&server, right, 1).await;
    is_skewed(&server, wrong).await;

    node.kill_9();
    node.restart_with(node.settings().clock_ahead(0));
    grants(&server, wrong, 3).await;
    for (id, n) in [(wrong, 1), (wrong, 3), (right, 1), (right, 2)] {
        is_held(&server, id, n).await;
    }
    let confirmed = server
        .inventory
        .confirm(&target(wrong, 1), false, None)
        .await;
    assert!(confirmed.is_ok(), "{confirmed:?}");
    assert_eq!(server.store.status().frozen_stripes, 0);
}

/// ⚔ Its stripes wait, all others serve, and no hold ends early.
#[tokio::test]
async fn a_master_an_hour_ahead_ends_no_hold() {
    a_master_that_is_wrong_by(HOUR + 60).await;
}

#[tokio::test]
async fn a_master_an_hour_behind_ends_no_hold() {
    a_master_that_is_wrong_by(-HOUR - 60).await;
}

/// While it runs, as when somebody sets it.
#[tokio::test]
async fn a_masters_clock_that_is_set_stops_its_stripes() {
    let cluster = Plan::new(3, 0)
        .settings(|settings| durable(settings).clock_ahead(0))
        .start();
    let server = Server::open(options(&cluster, Acknowledge::Local));
    let [wrong, right] = &items(&cluster);
    for id in [wrong, right] {
        server.create(id, 1_000, 1).await;
        grants(&server, id, 1).await;
    }
    cluster.node(0).set_clock_ahead(HOUR + 60);
    is_skewed(&server, wrong).await;
    grants(&server, right, 2).await;
    cluster.node(0).set_clock_ahead(0);
    grants(&server, wrong, 3).await;
    is_held(&server, wrong, 1).await;
}

/// ⚔ All masters agree, and are an hour ahead of this machine: the store's time
/// is theirs.
#[tokio::test]
async fn a_server_whose_own_clock_is_wrong_does_no_harm() {
    let cluster = Plan::new(3, 0)
        .settings(|settings| settings.clock_ahead(HOUR))
        .start();
    let server = Server::open(options(&cluster, Acknowledge::Local));
    let ids = items(&cluster);
    for id in &ids {
        server.create(id, 1_000, 1).await;
        grants(&server, id, 1).await;
        is_held(&server, id, 1).await;
    }
}

/// ⚔ Of two clocks nobody can tell which is wrong.
#[tokio::test]
async fn one_master_and_its_server_must_agree() {
    let node = Settings::default().clock_ahead(0).start();
    let server = Server::open(single(&node));
    server.create("shoe", 1_000, 1).await;
    grants(&server, "shoe", 1).await;
    for ahead in [HOUR, -HOUR] {
        node.set_clock_ahead(ahead);
        is_skewed(&server, "shoe").await;
    }
    node.set_clock_ahead(0);
    grants(&server, "shoe", 2).await;
    is_held(&server, "shoe", 1).await;
}
