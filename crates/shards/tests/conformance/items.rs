//! The item's life over a store, with servers that stop half-way.

use std::collections::BTreeSet;
use std::sync::Arc;

use shards::ids::{Generation, ShardKey, ShardNo};
use shards::inventory::{
    AuditLevel, Error, Inventory, ReadStock, Reserved, SalePhase, Verdict, spec as terms,
};
use shards::machine::{CatalogOp, ItemSpec, Life, NewEntry, Op, Selling, ShardOp};
use shards::store::StoreError;

use crate::fixture::{
    Fixture, ask, create, granted, item, raw, request, reserve, sharded, spec, stock,
};
use crate::wrapped::Refusing;

pub(crate) async fn a_repeated_create_finds_its_item(fixture: impl Fixture) {
    let server = fixture.server();
    create(&server, spec(5)).await;
    server
        .pause_item(&item("sneaker"), "stock check", None)
        .await
        .unwrap();
    // As first sent, also after a change: the item as it is now.
    let again = server
        .create_item(item("sneaker"), spec(5), request(0), None)
        .await
        .unwrap();
    assert_eq!(again.terms.settings.selling, Selling::Paused);
    assert_eq!(stock(&server).await, (5, 0, 0));
    for (spec, request) in [(spec(6), request(0)), (spec(5), request(1))] {
        let refused = server
            .create_item(item("sneaker"), spec, request, None)
            .await;
        assert_eq!(refused, Err(Error::ItemExists(item("sneaker"))));
    }
}

pub(crate) async fn a_create_left_behind_is_finished_by_whoever_meets_it(fixture: impl Fixture) {
    let store = fixture.store();
    for n in 0..3 {
        // A server that stopped after the entry.
        let id = item(&format!("left-{n}"));
        let stripe = shards::hash::catalog_stripe(&id);
        let new = NewEntry {
            item: id.clone(),
            generation: Generation([n; 8]),
            terms: terms::terms(&spec(7)).unwrap(),
            placement: vec![stripe],
            create_request: request(0),
            spec: spec(7),
        };
        let begin = Op::Catalog(CatalogOp::BeginCreate(Box::new(new)));
        store.submit(stripe, begin, None).await.unwrap();

        let server = fixture.server();
        match n {
            0 => assert_eq!(
                server
                    .stock(&id, ReadStock::Twice, None)
                    .await
                    .unwrap()
                    .available,
                7
            ),
            1 => assert_eq!(server.sweep().await.unwrap().resumed, 1),
            _ => {
                server
                    .create_item(id.clone(), spec(7), request(0), None)
                    .await
                    .unwrap();
            }
        }
        assert_eq!(server.item(&id, None).await.unwrap().life, Life::Live);
        assert_eq!(
            server
                .stock(&id, ReadStock::Twice, None)
                .await
                .unwrap()
                .available,
            7
        );
    }
}

pub(crate) async fn a_change_left_behind_binds_at_once_and_is_finished_by_the_sweep(
    fixture: impl Fixture,
) {
    let server = fixture.server();
    create(&server, spec(5)).await;
    // A server that stopped after the entry, before any shard heard of it.
    let entry = server.item(&item("sneaker"), None).await.unwrap();
    let mut paused = entry.terms.clone();
    paused.settings.selling = Selling::Paused;
    let update = CatalogOp::Update {
        item: item("sneaker"),
        generation: entry.generation,
        expected: entry.version,
        terms: Box::new(paused),
    };
    raw(&*fixture.store(), Op::Catalog(update)).await;

    // A server that has read the entry since: its Reserve carries the version.
    let other = fixture.server();
    assert_eq!(reserve(&other, "ann", 1, 1).await, Reserved::SalePaused);
    // Now the shard obeys, whoever asks.
    assert_eq!(reserve(&server, "ann", 1, 1).await, Reserved::SalePaused);
    assert_eq!(other.sweep().await.unwrap().resumed, 1);
    let entry = other.item(&item("sneaker"), None).await.unwrap();
    assert_eq!((entry.version, entry.spread), (2, 2));
}

/// "Nothing was done" is said only before the first step is recorded; and
/// whatever step failed, the same request carries the procedure to its end.
pub(crate) async fn a_procedure_cut_short_is_an_unknown_outcome(fixture: impl Fixture) {
    let (id, whole) = (item("sneaker"), fixture.server());
    let mut creates = Vec::new();
    for at in 0..4 {
        let server = Inventory::new(Arc::new(Refusing::at(fixture.store(), at)));
        let id = item(&format!("cut-{at}"));
        creates.push(
            server
                .create_item(id.clone(), sharded(1, 5), request(0), None)
                .await,
        );
        whole
            .create_item(id.clone(), sharded(1, 5), request(0), None)
            .await
            .unwrap();
        assert_eq!(
            whole
                .stock(&id, ReadStock::Twice, None)
                .await
                .unwrap()
                .available,
            5
        );
    }
    assert!(
        matches!(creates[0], Err(Error::Store(StoreError::Overloaded))),
        "{creates:?}"
    );
    for cut in &creates[1..3] {
        assert!(
            matches!(cut, Err(Error::Store(StoreError::OutcomeUnknown(_)))),
            "{creates:?}"
        );
    }
    assert!(creates[3].is_ok());

    create(&whole, sharded(1, 5)).await;
    for at in 0..5 {
        let server = Inventory::new(Arc::new(Refusing::at(fixture.store(), at)));
        let paused = server.pause_item(&id, "", None).await;
        match (at, &paused) {
            (0 | 1, Err(Error::Store(StoreError::Overloaded)))
            | (
                2,
                Err(Error::NotSpread {
                    shards_done: 0,
                    shards_total: 1,
                    ..
                }),
            )
            | (3, Err(Error::Store(StoreError::OutcomeUnknown(_))))
            | (4, Ok(_)) => {}
            _ => panic!("{at}: {paused:?}"),
        }
        let paused = whole.pause_item(&id, "", None).await.unwrap();
        assert_eq!(paused.spread, paused.version);
        whole.resume_item(&id, "", None).await.unwrap();
    }
}

pub(crate) async fn another_servers_change_is_obeyed_at_once(fixture: impl Fixture) {
    let (one, other) = (fixture.server(), fixture.server());
    create(&one, spec(5)).await;
    granted(&other, "ann", 1, 1).await;
    one.pause_item(&item("sneaker"), "", None).await.unwrap();
    assert_eq!(reserve(&other, "bob", 2, 1).await, Reserved::SalePaused);
    // A replay wins over the pause.
    granted(&other, "ann", 1, 1).await;
    one.resume_item(&item("sneaker"), "", None).await.unwrap();
    granted(&other, "bob", 2, 1).await;
}

pub(crate) async fn closing_is_final(fixture: impl Fixture) {
    let server = fixture.server();
    let id = item("sneaker");
    create(&server, spec(5)).await;
    for _ in 0..2 {
        assert_eq!(server.pause_item(&id, "a", None).await.unwrap().version, 2);
    }
    for _ in 0..2 {
        let closed = server.close_item(&id, "over", None).await.unwrap();
        assert_eq!(
            (closed.version, closed.terms.state_reason.as_str()),
            (3, "over")
        );
    }
    let refused = server.resume_item(&id, "", None).await;
    assert_eq!(refused, Err(Error::ItemClosed(id.clone())));
    let refused = server.pause_item(&id, "", None).await;
    assert_eq!(refused, Err(Error::ItemClosed(id.clone())));
    assert_eq!(reserve(&server, "ann", 1, 1).await, Reserved::SaleEnded);
    assert_eq!(
        server
            .stock(&id, ReadStock::Twice, None)
            .await
            .unwrap()
            .phase,
        SalePhase::Ended
    );
}

pub(crate) async fn every_item_is_listed_once(fixture: impl Fixture) {
    let server = fixture.server();
    let mut expected = BTreeSet::new();
    for n in 0..150_u32 {
        let id = item(&format!("{}-{n}", if n % 3 == 0 { "shoe" } else { "hat" }));
        server
            .create_item(id.clone(), spec(1), request(n), None)
            .await
            .unwrap();
        if n % 3 == 0 {
            expected.insert(id);
        }
    }
    for size in [1, 7, 50, 0] {
        let mut token = String::new();
        let mut seen = Vec::new();
        loop {
            let page = server
                .list_items("shoe", &[], size, &token, None)
                .await
                .unwrap();
            seen.extend(page.entries.into_iter().map(|entry| entry.item));
            if page.next_page_token.is_empty() {
                break;
            }
            token = page.next_page_token;
            let foreign = server.list_items("hat", &[], size, &token, None).await;
            assert!(matches!(foreign, Err(Error::Invalid(_))), "{foreign:?}");
        }
        assert_eq!(seen.len(), expected.len(), "pages of {size}");
        assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), expected);
    }
    let paused = server
        .list_items("", &[Selling::Paused], 0, "", None)
        .await
        .unwrap();
    assert!(paused.entries.is_empty());
}

pub(crate) async fn a_lost_shard_is_a_loss_and_never_an_empty_one(fixture: impl Fixture) {
    let server = fixture.server();
    // One shard: whoever asks next asks the lost one.
    let spec = ItemSpec {
        shard_count: 1,
        ..spec(5)
    };
    create(&server, spec).await;
    let receipt = granted(&server, "ann", 1, 1).await;
    let entry = server.item(&item("sneaker"), None).await.unwrap();
    let shard = ShardKey {
        item: item("sneaker"),
        generation: entry.generation,
        shard: ShardNo::LEDGER,
    };
    raw(&*fixture.store(), Op::Shard(shard, ShardOp::Delete)).await;

    let lost = server.reserve(&ask("bob", 2, 1), None).await;
    assert!(matches!(lost, Err(Error::ShardLost { .. })), "{lost:?}");
    let target = crate::fixture::by_id(&server, &receipt);
    // From then on its stripe waits for an operator, and says so to everybody.
    let lost = fixture.server().confirm(&target, false, None).await;
    let frozen = matches!(lost, Err(Error::Store(StoreError::Frozen { .. })));
    assert!(frozen, "{lost:?}");
    let audit = server
        .audit(&item("sneaker"), AuditLevel::Counters, None)
        .await;
    let frozen = matches!(audit, Err(Error::Store(StoreError::Frozen { .. })));
    assert!(frozen, "its entry lies there, too: {audit:?}");
}

pub(crate) async fn stock_changes_happen_once(fixture: impl Fixture) {
    let server = fixture.server();
    let id = item("sneaker");
    create(&server, spec(5)).await;
    granted(&server, "ann", 1, 3).await;
    for replayed in [false, true] {
        let done = server
            .adjust_stock(&id, 10, false, request(1), None)
            .await
            .unwrap();
        assert_eq!(
            (done.applied, done.replayed, done.stock.available),
            (10, replayed, 12)
        );
    }
    let reused = server.adjust_stock(&id, 11, false, request(1), None).await;
    assert_eq!(reused, Err(Error::RequestIdReused));
    let refused = server.adjust_stock(&id, -13, false, request(2), None).await;
    assert_eq!(
        refused,
        Err(Error::NotEnoughAvailable {
            available: 12,
            held: 3
        })
    );
    // The refusal left no record: the same id may succeed later.
    let partial = server
        .adjust_stock(&id, -13, true, request(2), None)
        .await
        .unwrap();
    assert_eq!((partial.applied, partial.replayed), (-12, false));
    let audit = server.audit(&id, AuditLevel::Records, None).await.unwrap();
    assert_eq!(
        (audit.verdict, audit.shards[0].reading.counters.supply),
        (Verdict::Sound, Some(3))
    );
}

pub(crate) async fn a_total_is_compared_and_set(fixture: impl Fixture) {
    let server = fixture.server();
    let id = item("sneaker");
    create(&server, spec(5)).await;
    granted(&server, "ann", 1, 3).await;
    let mismatch = server.set_stock(&id, 9, 4, request(1), None).await;
    assert_eq!(mismatch, Err(Error::TotalMismatch { total: 5 }));
    let below = server.set_stock(&id, 2, 5, request(1), None).await;
    assert_eq!(
        below,
        Err(Error::NotEnoughAvailable {
            available: 2,
            held: 3
        })
    );
    for replayed in [false, true] {
        let done = server.set_stock(&id, 9, 5, request(1), None).await.unwrap();
        assert_eq!(
            (done.applied, done.replayed, done.stock.available),
            (4, replayed, 6)
        );
    }
    server.set_stock(&id, 3, 9, request(2), None).await.unwrap();
    assert_eq!(stock(&server).await, (0, 3, 0));
}
