//! A stripe that lost the end of its history: stopped, made consistent with the
//! others, and released.

use std::sync::Arc;

use shards::ids::{ShardKey, ShardNo, StripeNo};
use shards::inventory::{AuditLevel, Error, Inventory, StripeHealth, StripeReport, Verdict};
use shards::machine::{Op, ShardOp, StripeOp};
use shards::store::{Store, StoreError};

use crate::fixture::{Fixture, ask, buyer_at, create, granted, item, request, sharded, stock};
use crate::wrapped::Without;

const FREEZE: u64 = 0xabc;

async fn freeze(store: &dyn Store, stripe: StripeNo) {
    let freeze = StripeOp::Freeze {
        id: FREEZE,
        reason: "a test".into(),
    };
    store
        .submit(stripe, Op::Stripe(freeze), None)
        .await
        .unwrap();
}

/// The stripes of `sneaker`, by shard.
async fn placement(server: &Inventory) -> Vec<StripeNo> {
    let entry = server.item(&item("sneaker"), None).await.unwrap();
    entry.placement.clone()
}

/// Has `to` receive what `from` knows nothing of: as if it had sent it and then
/// lost the end of its history.
async fn receive(store: &dyn Store, server: &Inventory, to: u8, from: u8, sent: u64) {
    let entry = server.item(&item("sneaker"), None).await.unwrap();
    let key = ShardKey {
        item: item("sneaker"),
        generation: entry.generation,
        shard: ShardNo(to),
    };
    let from = ShardNo(from);
    let credit = Op::Shard(key, ShardOp::Credit { from, sent });
    let stripe = entry.placement[usize::from(to)];
    store.submit(stripe, credit, None).await.unwrap();
}

async fn told(server: &Inventory, stripe: StripeNo) -> StripeReport {
    let all = server.stripes(None, None).await.unwrap();
    let numbers: Vec<_> = all.iter().map(|report| report.stripe).collect();
    assert_eq!(numbers, StripeNo::all().collect::<Vec<_>>());
    all[usize::from(stripe.0)].clone()
}

async fn is_frozen(server: &Inventory, stripe: StripeNo) -> bool {
    matches!(
        told(server, stripe).await.health,
        StripeHealth::Frozen { .. }
    )
}

pub(crate) async fn stripes_are_listed_with_how_they_do(fixture: impl Fixture) {
    let (server, store) = (fixture.server(), fixture.store());
    create(&server, sharded(3, 9)).await;
    let on = placement(&server).await;
    freeze(&*store, on[1]).await;
    let away: Arc<dyn Store> = Arc::new(Without {
        store: Arc::clone(&store),
        stripe: on[2],
    });
    let server = Inventory::new(away);
    let frozen = told(&server, on[1]).await;
    let StripeHealth::Frozen {
        freeze: told_of, ..
    } = frozen.health
    else {
        panic!("{frozen:?}");
    };
    assert_eq!((told_of.id, &*told_of.reason), (FREEZE, "a test"));
    assert_eq!(told(&server, on[2]).await.health, StripeHealth::Unavailable);
    let serving = told(&server, on[0]).await;
    assert!(matches!(serving.health, StripeHealth::Serving { seq } if seq > 0));
    assert_eq!(
        serving.endpoint,
        Some(store.status().nodes[0].endpoint.clone())
    );

    let mut sorted = on.clone();
    sorted.sort_unstable();
    let of_item = server.stripes(Some(&item("sneaker")), None).await.unwrap();
    let numbers: Vec<_> = of_item.iter().map(|report| report.stripe).collect();
    assert_eq!(numbers, sorted);
    let gone = server.stripes(Some(&item("gone")), None).await;
    assert_eq!(gone, Err(Error::ItemNotFound(item("gone"))));
    // Also where the item's own entry is out of reach.
    freeze(&*store, on[0]).await;
    let server = Inventory::new(Arc::clone(&store));
    let of_item = server.stripes(Some(&item("sneaker")), None).await.unwrap();
    assert_eq!(of_item.len(), 3);
}

/// Every unit that is out there is counted, none is counted twice, and all that
/// is left can be sold.
pub(crate) async fn a_released_stripe_is_consistent_with_the_others(fixture: impl Fixture) {
    for frozen in [0, 1] {
        let (server, store) = (fixture.server(), fixture.store());
        create(&server, sharded(3, 9)).await;
        let on = placement(&server).await;
        // One shard has forgotten that it sent 2 to one peer and 3 to another;
        // it has 3 in stock.
        let peers: Vec<u8> = (0..3).filter(|shard| *shard != frozen).collect();
        let base = |peer: u8| if frozen == 0 && peer > 0 { 3 } else { 0 };
        receive(&*store, &server, peers[0], frozen, base(peers[0]) + 2).await;
        receive(&*store, &server, peers[1], frozen, base(peers[1]) + 3).await;
        let stripe = on[usize::from(frozen)];
        freeze(&*store, stripe).await;

        let buyer = buyer_at(&*store, frozen, 3, 0);
        let refused = server.reserve(&ask(&buyer, 1, 1), None).await;
        let is_frozen = Err(Error::Store(StoreError::Frozen {
            stripe,
            freeze_id: FREEZE,
            reason: "a test".into(),
        }));
        assert_eq!(refused, is_frozen);

        let other = server.release_stripe(stripe, 1, None).await;
        let freeze_id = FREEZE;
        assert_eq!(other, Err(Error::OtherFreeze { stripe, freeze_id }));

        let released = server.release_stripe(stripe, FREEZE, None).await.unwrap();
        assert_eq!(released.surplus, Some(2));
        assert!(matches!(
            released.stripe.health,
            StripeHealth::Serving { .. }
        ));
        let again = server.release_stripe(stripe, FREEZE, None).await.unwrap();
        assert_eq!(again.surplus, None, "it served already");

        assert_eq!(stock(&server).await, (11, 0, 0));
        let audit = server
            .audit(&item("sneaker"), AuditLevel::Records, None)
            .await
            .unwrap();
        assert_eq!(audit.verdict, Verdict::Sound, "{:?}", audit.violations);
        let surplus: u64 = audit
            .shards
            .iter()
            .map(|s| s.reading.counters.surplus)
            .sum();
        assert_eq!(surplus, 2);
        granted(&server, &buyer, 1, 11).await;
        assert_eq!(stock(&server).await, (0, 11, 0));
        server
            .delete_item(&item("sneaker"), true, None, None)
            .await
            .unwrap();
    }
}

/// A peer that cannot be read keeps the stripe frozen, and nothing was changed;
/// one that is itself frozen can be read.
pub(crate) async fn a_release_needs_every_peer_and_waits_for_none_that_is_frozen(
    fixture: impl Fixture,
) {
    let (server, store) = (fixture.server(), fixture.store());
    create(&server, sharded(3, 9)).await;
    let on = placement(&server).await;
    receive(&*store, &server, 2, 1, 5).await;
    freeze(&*store, on[1]).await;
    let without = |shard: usize| -> Inventory {
        let away: Arc<dyn Store> = Arc::new(Without {
            store: Arc::clone(&store),
            stripe: on[shard],
        });
        Inventory::new(away)
    };
    for peer in [0, 2] {
        let away = without(peer).release_stripe(on[1], FREEZE, None).await;
        assert!(
            matches!(away, Err(Error::Store(StoreError::Unavailable(_)))),
            "{away:?}"
        );
        assert!(is_frozen(&server, on[1]).await);
    }
    freeze(&*store, on[0]).await;
    freeze(&*store, on[2]).await;
    for (shard, surplus) in [(1, 2), (0, 0), (2, 0)] {
        let released = server.release_stripe(on[shard], FREEZE, None).await;
        assert_eq!(released.unwrap().surplus, Some(surplus), "{shard}");
    }
    assert_eq!(stock(&server).await, (11, 0, 0));
    // Items that are nowhere near are left alone.
    let other = server
        .create_item(item("other"), sharded(1, 4), request(9), None)
        .await;
    assert!(other.is_ok());
}
