//! An item's end, and a new item of the same name.

use shards::inventory::{Error, Reserved};
use shards::machine::{CatalogOp, Life, Op, Selling};

use crate::fixture::{
    Fixture, ask, by_id, by_key, create, granted, item, raw, request, reserve, sharded, stock,
};

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
