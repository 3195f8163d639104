//! An item's end, and a new item of the same name.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use shards::ids::{ShardKey, ShardNo};
use shards::inventory::{Error, Inventory, Reserved};
use shards::machine::{CatalogOp, Life, Op, Selling, ShardOp};

use crate::fixture::{
    Fixture, ask, by_id, by_key, create, granted, item, raw, request, reserve, sharded, stock,
};
use crate::many_shards::until;
use crate::wrapped::{Gate, Slow};

pub(crate) async fn a_deleted_item_is_gone_and_its_name_can_be_used_again(fixture: impl Fixture) {
    let (server, other) = (fixture.server(), fixture.server());
    let id = item("sneaker");
    create(&server, sharded(3, 9)).await;
    let receipt = granted(&other, "ann", 1, 2).await;
    server
        .confirm(&by_key("ann", 1), false, None)
        .await
        .unwrap();
    for _ in 0..2 {
        server.delete_item(&id, false, None, None).await.unwrap();
    }
    let target = by_id(&server, &receipt);
    for server in [&server, &other] {
        let gone = server.reserve(&ask("bob", 2, 1), None).await;
        assert_eq!(gone, Err(Error::ItemNotFound(id.clone())));
        let gone = server.reservation(&target, None).await;
        assert_eq!(gone, Err(Error::ReservationNotFound));
    }
    // Another item: other stock, nothing of the former one.
    server
        .create_item(id, sharded(2, 4), request(7), None)
        .await
        .unwrap();
    for server in [&server, &other] {
        assert_eq!(stock(server).await, (4, 0, 0));
        let gone = server.confirm(&target, true, None).await;
        assert_eq!(gone, Err(Error::ReservationNotFound));
    }
    granted(&other, "ann", 1, 4).await;
}

pub(crate) async fn held_units_keep_an_item_unless_forced(fixture: impl Fixture) {
    let server = fixture.server();
    let id = item("sneaker");
    create(&server, sharded(3, 9)).await;
    server.pause_item(&id, "a look", None).await.unwrap();
    server.resume_item(&id, "", None).await.unwrap();
    granted(&server, "ann", 1, 2).await;
    let wrong = server.delete_item(&id, false, Some(2), None).await;
    assert!(
        matches!(wrong, Err(Error::VersionMismatch { version: 3, .. })),
        "{wrong:?}"
    );
    let held = server.delete_item(&id, false, Some(3), None).await;
    assert_eq!(held, Err(Error::UnitsHeld { units: 2 }));
    // All is as it was before, on every shard.
    let entry = server.item(&id, None).await.unwrap();
    assert_eq!(entry.life, Life::Live);
    assert_eq!(entry.terms.settings.selling, Selling::Open);
    assert_eq!(entry.spread, entry.version);
    for n in 0..9 {
        let outcome = reserve(&server, &format!("buyer-{n}"), 2, 1).await;
        assert_eq!(
            n < 7,
            matches!(outcome, Reserved::Granted { .. }),
            "{outcome:?}"
        );
    }
    // Lapsed holds are no held units.
    fixture.advance_ms(60_000);
    server.delete_item(&id, false, None, None).await.unwrap();

    server
        .create_item(id.clone(), sharded(3, 9), request(7), None)
        .await
        .unwrap();
    granted(&server, "ann", 1, 2).await;
    server.delete_item(&id, true, None, None).await.unwrap();
    let gone = server.reservation(&by_key("ann", 1), None).await;
    assert_eq!(gone, Err(Error::ItemNotFound(id)));
}

pub(crate) async fn while_a_deletion_is_under_way_nothing_is_granted(fixture: impl Fixture) {
    let (server, other) = (fixture.server(), fixture.server());
    let id = item("sneaker");
    create(&server, sharded(2, 4)).await;
    granted(&server, "ann", 1, 1).await;
    granted(&server, "bob", 2, 1).await;
    fixture.advance_ms(30_000);
    granted(&server, "eve", 3, 1).await;
    fixture.advance_ms(30_000);
    let entry = server.item(&id, None).await.unwrap();
    // A server that stopped after the entry, before any shard heard of it.
    let begin = CatalogOp::BeginDelete {
        item: id.clone(),
        generation: entry.generation,
        force: false,
        expected: None,
    };
    raw(&*fixture.store(), Op::Catalog(begin)).await;
    let deleting = Err(Error::ItemDeleting(id.clone()));
    // `other` has no view of the item yet, so it knows.
    assert_eq!(other.reserve(&ask("zoe", 4, 1), None).await, deleting);
    let late = other.confirm(&by_key("ann", 1), true, None).await;
    assert_eq!(late, Err(Error::ItemDeleting(id.clone())));
    let change = other.adjust_stock(&id, 1, false, request(9), None).await;
    assert_eq!(
        change.map(|done| done.applied),
        Err(Error::ItemDeleting(id.clone()))
    );
    let paused = other.pause_item(&id, "", None).await;
    assert_eq!(
        paused.map(|entry| entry.version),
        Err(Error::ItemDeleting(id.clone()))
    );
    // What is held can be confirmed and cancelled; then nothing is held.
    other.confirm(&by_key("eve", 3), true, None).await.unwrap();
    other.cancel(&by_key("bob", 2), None).await.unwrap();
    assert_eq!(other.sweep().await.unwrap().resumed, 1);
    let gone = other.item(&id, None).await;
    assert_eq!(gone, Err(Error::ItemNotFound(id)));
}

/// Deleting is safe to repeat, also while it is under way.
pub(crate) async fn several_who_delete_at_once_all_hear_that_it_is_gone(fixture: impl Fixture) {
    let servers = [fixture.server(), fixture.server(), fixture.server()];
    for trial in 0..20 {
        servers[0]
            .create_item(item("sneaker"), sharded(4, 9), request(trial), None)
            .await
            .unwrap();
        let id = item("sneaker");
        let (a, b, c, swept) = tokio::join!(
            servers[0].delete_item(&id, false, None, None),
            servers[1].delete_item(&id, true, None, None),
            servers[2].delete_item(&id, false, None, None),
            servers[1].sweep(),
        );
        assert_eq!((a, b, c), (Ok(()), Ok(()), Ok(())), "trial {trial}");
        assert_eq!(swept.unwrap().failed, 0, "trial {trial}");
    }
}

/// A shard was lost: the item can still be deleted, by force.
pub(crate) async fn an_item_that_lost_a_shard_can_be_deleted(fixture: impl Fixture) {
    let server = fixture.server();
    let id = item("sneaker");
    create(&server, sharded(3, 9)).await;
    let entry = server.item(&id, None).await.unwrap();
    let key = ShardKey {
        item: id.clone(),
        generation: entry.generation,
        shard: ShardNo(1),
    };
    let lose = Op::Shard(key, ShardOp::Delete);
    let store = fixture.store();
    store.submit(entry.placement[1], lose, None).await.unwrap();
    let unforced = server.delete_item(&id, false, None, None).await;
    assert!(unforced.is_err(), "what is held cannot be known");
    server.delete_item(&id, true, None, None).await.unwrap();
    let gone = server.item(&id, None).await;
    assert_eq!(gone, Err(Error::ItemNotFound(id)));
}

/// ⚔ A slow server finds out about a deletion that others have ended, and a
/// second one has begun: it must not take what it read before the shards obeyed
/// the second one for what they hold under it.
pub(crate) async fn a_slow_server_does_not_delete_what_was_granted_since(fixture: impl Fixture) {
    let (id, store) = (item("sneaker"), fixture.store());
    let quick = fixture.server();
    create(&quick, sharded(2, 4)).await;
    granted(&quick, "ann", 1, 1).await;
    let gate = Gate::at(fixture.store(), ShardNo(0));
    gate.close();
    let slow = Inventory::new(Arc::new(Slow(Arc::clone(&gate))));
    let story = async {
        until(|| gate.held.load(Ordering::SeqCst) == 1).await;
        // Every shard obeys, the slow server has yet to say so. Somebody else
        // finds the held unit and brings the item back; then it is given back.
        quick.sweep().await.unwrap();
        quick.cancel(&by_key("ann", 1), None).await.unwrap();
        let entry = quick.item(&id, None).await.unwrap();
        assert_eq!((entry.life, entry.version), (Life::Live, 3));
        // A second deletion, of which no shard has heard yet.
        let begin = CatalogOp::BeginDelete {
            item: id.clone(),
            generation: entry.generation,
            force: false,
            expected: None,
        };
        raw(&*store, Op::Catalog(begin)).await;
        gate.let_one_through();
        until(|| gate.held.load(Ordering::SeqCst) == 2).await;
        // By what this server has read a moment ago the item sells.
        let bought = quick.reserve(&ask("bob", 2, 1), None).await;
        let terms = quick.item(&id, None).await.unwrap().terms.clone();
        for (shard, stripe) in (0..).map(ShardNo).zip(&entry.placement) {
            let key = ShardKey {
                item: id.clone(),
                generation: entry.generation,
                shard,
            };
            let settings = terms.settings;
            let configure = ShardOp::Configure {
                settings,
                version: 4,
            };
            let op = Op::Shard(key, configure);
            store.submit(*stripe, op, None).await.unwrap();
        }
        let finish = CatalogOp::FinishUpdate {
            item: id.clone(),
            generation: entry.generation,
            version: 4,
        };
        raw(&*store, Op::Catalog(finish)).await;
        gate.open();
        bought
    };
    let (deleted, bought) = tokio::join!(slow.delete_item(&id, false, None, None), story);
    if let Ok(Reserved::Granted { .. }) = bought {
        assert_eq!(deleted, Err(Error::UnitsHeld { units: 1 }));
        fixture
            .server()
            .reservation(&by_key("bob", 2), None)
            .await
            .unwrap();
    }
}
