//! Stock that lies on many shards: every unit can be bought, every no is true,
//! and what it costs is counted.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use shards::ids::{ShardKey, ShardNo};
use shards::inventory::{AuditLevel, Error, Inventory, ReadStock, Reserved, Verdict};
use shards::machine::{Counters, Op, ShardOp, State};
use shards::store::{Store, StoreError};

use crate::fixture::{
    Fixture, ask, buyer_at, by_key, create, granted, item, request, reserve, sharded, spec, state,
    stock,
};
use crate::wrapped::{Gate, Gated, Refusing, Spy};

/// The counters of every shard of `sneaker`.
async fn counters(server: &Inventory) -> Vec<Counters> {
    let audit = server
        .audit(&item("sneaker"), AuditLevel::Records, None)
        .await
        .unwrap();
    assert_eq!(audit.verdict, Verdict::Sound, "{:?}", audit.violations);
    audit
        .shards
        .into_iter()
        .map(|s| s.reading.counters)
        .collect()
}

async fn available(server: &Inventory) -> Vec<u64> {
    counters(server).await.iter().map(|c| c.available).collect()
}

pub(crate) async fn new_stock_is_dealt_out(fixture: impl Fixture) {
    let server = fixture.server();
    create(&server, sharded(4, 10)).await;
    assert_eq!(available(&server).await, [4, 2, 2, 2]);
    server
        .adjust_stock(&item("sneaker"), 10, false, request(1), None)
        .await
        .unwrap();
    assert_eq!(available(&server).await, [5, 5, 5, 5]);
    assert_eq!(stock(&server).await, (20, 0, 0));
}

pub(crate) async fn more_than_any_shard_has_but_not_more_than_all_have(fixture: impl Fixture) {
    let server = fixture.server();
    create(&server, sharded(4, 10)).await;
    let buyer = buyer_at(&*fixture.store(), 2, 4, 0);
    granted(&server, &buyer, 1, 9).await;
    assert_eq!(stock(&server).await, (1, 9, 0));
    // The last one lies elsewhere, and can be bought from anywhere.
    let other = buyer_at(&*fixture.store(), 3, 4, 0);
    granted(&server, &other, 2, 1).await;
    assert_eq!(
        reserve(&server, &buyer, 3, 1).await,
        Reserved::Short {
            available: 0,
            held: 10
        }
    );
    counters(&server).await;
}

pub(crate) async fn a_hopeless_request_moves_nothing_and_costs_others_nothing(
    fixture: impl Fixture,
) {
    const SHARDS: u8 = 8;
    let spy = Spy::on(fixture.store());
    let server = Inventory::new(Spy::as_store(&spy));
    create(&server, sharded(u32::from(SHARDS), 3)).await;
    let before = counters(&server).await;
    spy.take();
    for n in 0..50 {
        let hopeless = buyer_at(&*fixture.store(), 5, SHARDS, 0);
        assert_eq!(
            reserve(&server, &hopeless, n, 1_000_000).await,
            Reserved::Short {
                available: 3,
                held: 0
            }
        );
        let mut asked = spy.take();
        asked.retain(|op| *op != "get");
        // Home, two readings of each shard, and home has the last word.
        let looks = vec!["look"; 2 * usize::from(SHARDS)];
        assert_eq!(asked, [&["reserve"], &looks[..], &["reserve"]].concat());
    }
    assert_eq!(counters(&server).await, before);
    spy.take();
    // The units lie at the ledger: to a buyer there they cost one operation.
    for n in 0..3 {
        let local = buyer_at(&*fixture.store(), 0, SHARDS, n);
        granted(&server, &local, 100, 1).await;
        let mut asked = spy.take();
        asked.retain(|op| *op != "get");
        assert_eq!(asked, ["reserve"]);
    }
}

/// One look at a time per item and server, whatever the number of buyers.
pub(crate) async fn refusals_share_their_looks(fixture: impl Fixture) {
    const SHARDS: u8 = 8;
    let spy = Spy::on(fixture.store());
    let server = Inventory::new(Spy::as_store(&spy));
    create(&server, sharded(u32::from(SHARDS), 0)).await;
    server.item(&item("sneaker"), None).await.unwrap();
    spy.take();
    let asks = (0..200).map(|n| {
        let server = &server;
        async move { reserve(server, &format!("buyer-{n}"), 1, 1).await }
    });
    for outcome in join_all(asks).await {
        let sold_out = Reserved::Short {
            available: 0,
            held: 0,
        };
        assert_eq!(outcome, sold_out);
    }
    let asked = spy.take();
    let count = |name| asked.iter().filter(|op| **op == name).count();
    assert_eq!(
        count("reserve"),
        400,
        "each first asks home, which has the last word"
    );
    let looks = server.figures().looks;
    assert_eq!(count("look") as u64, looks * 2 * u64::from(SHARDS));
    // They came together: those who came before the first look began share it,
    // the others the second.
    assert!(looks <= 3, "{looks} looks");
    assert_eq!(count("claim") + count("lend") + count("credit"), 0);
}

pub(crate) async fn stock_at_home_costs_one_operation_and_one_shard_costs_no_look(
    fixture: impl Fixture,
) {
    let spy = Spy::on(fixture.store());
    let server = Inventory::new(Spy::as_store(&spy));
    create(&server, sharded(1, 3)).await;
    assert_eq!(spy.take(), ["catalog", "create", "catalog"]);
    granted(&server, "ann", 1, 2).await;
    assert_eq!(spy.take(), ["reserve"]);
    for quantity in [1, 2] {
        reserve(&server, "bob", 2 + quantity, quantity).await;
        let mut asked = spy.take();
        asked.retain(|op| *op != "get");
        assert_eq!(asked, ["reserve"], "granted and refused alike");
    }
    server.confirm(&by_key("ann", 1), true, None).await.unwrap();
    assert_eq!(spy.count("confirm"), 1);
    let id = item("sneaker");
    let change = server.adjust_stock(&id, -1, false, request(3), None);
    assert!(matches!(
        change.await,
        Err(Error::NotEnoughAvailable { .. })
    ));
    assert_eq!(spy.take().iter().filter(|op| **op != "get").count(), 1);
    server
        .stock(&item("sneaker"), ReadStock::Twice, None)
        .await
        .unwrap();
    assert_eq!(spy.count("look"), 1);
}

/// Two buyers want five each of three and two units: one of them is served,
/// and it is not that each takes the other's units for ever.
pub(crate) async fn of_two_who_want_each_others_units_one_gets_them(fixture: impl Fixture) {
    let (one, other) = (fixture.server(), fixture.server());
    let store = fixture.store();
    let homes = [buyer_at(&*store, 0, 2, 0), buyer_at(&*store, 1, 2, 0)];
    create(&one, sharded(2, 5)).await;
    for trial in 1..=1_000 {
        assert_eq!(available(&one).await, [3, 2]);
        let (a, b) = tokio::join!(
            reserve(&one, &homes[0], trial, 5),
            reserve(&other, &homes[1], trial, 5)
        );
        let winner = match (&a, &b) {
            (Reserved::Granted { .. }, Reserved::Short { available: 0, .. }) => 0_u8,
            (Reserved::Short { available: 0, .. }, Reserved::Granted { .. }) => 1,
            _ => panic!("trial {trial}: {a:?}, {b:?}"),
        };
        let held = by_key(&homes[usize::from(winner)], trial);
        one.cancel(&held, None).await.unwrap();
        let back = if winner == 0 { 2 } else { 3 };
        transfer(&one, &*store, ShardNo(winner), ShardNo(1 - winner), back).await;
    }
}

/// Moves units of `sneaker`, as any server might.
async fn transfer(server: &Inventory, store: &dyn Store, from: ShardNo, to: ShardNo, units: u64) {
    let entry = server.item(&item("sneaker"), None).await.unwrap();
    let counters = counters(server).await;
    let received = counters[usize::from(to.0)].received.get(&from);
    let received = received.copied().unwrap_or(0);
    let lend = ShardOp::Lend {
        to,
        wanted: units,
        received,
        claim: None,
    };
    let sent = received + units;
    for (shard, op) in [(from, lend), (to, ShardOp::Credit { from, sent })] {
        let key = ShardKey {
            item: item("sneaker"),
            generation: entry.generation,
            shard,
        };
        let stripe = entry.placement[usize::from(shard.0)];
        store
            .submit(stripe, Op::Shard(key, op), None)
            .await
            .unwrap();
    }
}

pub(crate) async fn a_late_confirm_finds_units_on_other_shards(fixture: impl Fixture) {
    let server = fixture.server();
    let store = fixture.store();
    create(&server, sharded(3, 3)).await;
    let buyer = buyer_at(&*store, 1, 3, 0);
    granted(&server, &buyer, 1, 3).await;
    fixture.advance_ms(60_000);
    // Two of its units go to somebody else meanwhile.
    let other = buyer_at(&*store, 2, 3, 0);
    let receipt = granted(&server, &other, 2, 2).await;
    assert_eq!(state(&receipt), State::Held);
    let lost = server.confirm(&by_key(&buyer, 1), true, None).await;
    assert!(matches!(lost, Err(Error::WrongState(_))), "{lost:?}");

    let second = buyer_at(&*store, 1, 3, 1);
    granted(&server, &second, 3, 1).await;
    fixture.advance_ms(60_000);
    let retaken = server
        .confirm(&by_key(&second, 3), true, None)
        .await
        .unwrap();
    assert!(retaken.reservation.record.late);
    assert_eq!(stock(&server).await, (2, 0, 1));
    counters(&server).await;
}

pub(crate) async fn what_is_taken_away_is_gathered_first(fixture: impl Fixture) {
    let server = fixture.server();
    let id = item("sneaker");
    create(&server, sharded(4, 12)).await;
    let buyer = buyer_at(&*fixture.store(), 3, 4, 0);
    granted(&server, &buyer, 1, 2).await;
    let too_much = server.adjust_stock(&id, -11, false, request(1), None).await;
    assert_eq!(
        too_much,
        Err(Error::NotEnoughAvailable {
            available: 10,
            held: 2
        })
    );
    // More than the ledger has.
    let taken = server
        .adjust_stock(&id, -7, false, request(1), None)
        .await
        .unwrap();
    assert_eq!((taken.applied, taken.stock.available), (-7, 3));
    let mismatch = server.set_stock(&id, 4, 12, request(2), None).await;
    assert_eq!(mismatch, Err(Error::TotalMismatch { total: 5 }));
    let set = server.set_stock(&id, 4, 5, request(2), None).await.unwrap();
    assert_eq!((set.applied, set.stock.available), (-1, 2));
    for replayed in [false, true] {
        let rest = server
            .adjust_stock(&id, -100, true, request(3), None)
            .await
            .unwrap();
        assert_eq!((rest.applied, rest.replayed), (-2, replayed));
        assert_eq!(rest.stock.available, 0);
    }
    assert_eq!(stock(&server).await, (0, 2, 0));
    counters(&server).await;
}

pub(crate) async fn what_is_under_way_is_carried_on_by_whoever_meets_it(fixture: impl Fixture) {
    let server = fixture.server();
    let store = fixture.store();
    create(&server, sharded(2, 6)).await;
    let entry = server.item(&item("sneaker"), None).await.unwrap();
    let lend = |to: u8, from: u8, received: u64| {
        let key = ShardKey {
            item: item("sneaker"),
            generation: entry.generation,
            shard: ShardNo(from),
        };
        let lend = ShardOp::Lend {
            to: ShardNo(to),
            wanted: 3,
            received,
            claim: None,
        };
        store.submit(
            entry.placement[usize::from(from)],
            Op::Shard(key, lend),
            None,
        )
    };
    // A server that stopped between the two steps of a transfer: the ledger
    // has sent 3 + 3, and 3 of them have not arrived.
    lend(1, 0, 3).await.unwrap();
    assert_eq!(stock(&server).await, (6, 0, 0), "they count as available");
    let audit = server
        .audit(&item("sneaker"), AuditLevel::Counters, None)
        .await
        .unwrap();
    assert_eq!(audit.verdict, Verdict::Sound);
    let buyer = buyer_at(&*store, 0, 2, 0);
    granted(&server, &buyer, 1, 6).await;
    server.cancel(&by_key(&buyer, 1), None).await.unwrap();

    lend(1, 0, 6).await.unwrap();
    server.sweep().await.unwrap();
    assert_eq!(available(&server).await, [3, 3]);
}

/// ⚔ Whoever comes after a look has begun waits for the next one: it may have
/// missed a unit that came free since.
pub(crate) async fn a_look_is_shared_only_with_those_who_came_before_it_began(
    fixture: impl Fixture,
) {
    let gate = Gate::at(fixture.store(), ShardNo(0));
    let server = Inventory::new(Arc::new(Gated(Arc::clone(&gate))));
    let whole = fixture.server();
    create(&whole, sharded(2, 1)).await;
    let store = fixture.store();
    let holder = buyer_at(&*store, 0, 2, 0);
    granted(&whole, &holder, 1, 1).await;
    // The one unit is held at shard 0. A look reads it, and is held back.
    let (first, second) = (buyer_at(&*store, 1, 2, 0), buyer_at(&*store, 1, 2, 1));
    gate.close();
    let early = reserve(&server, &first, 2, 1);
    let story = async {
        until(|| gate.held.load(Ordering::SeqCst) == 1).await;
        gate.let_one_through();
        until(|| gate.held.load(Ordering::SeqCst) == 2).await;
        // Read for the second time: now the unit comes free.
        whole.cancel(&by_key(&holder, 1), None).await.unwrap();
        let late = reserve(&server, &second, 3, 1);
        let open = async {
            // The late one waits for its turn, or has been answered wrongly.
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            gate.open();
        };
        tokio::join!(late, open).0
    };
    let (early, late) = tokio::join!(early, story);
    let sold_out = Reserved::Short {
        available: 0,
        held: 1,
    };
    assert_eq!(early, sold_out, "true when its first reading ended");
    assert!(matches!(late, Reserved::Granted { .. }), "{late:?}");
}

/// Lets other tasks run until something is so.
pub(crate) async fn until(is_so: impl Fn() -> bool) {
    #[expect(clippy::disallowed_methods, reason = "a test's deadline")]
    let end = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        #[expect(clippy::disallowed_methods, reason = "a test's deadline")]
        let now = Instant::now();
        assert!(now < end, "it never came");
        tokio::task::yield_now().await;
    }
}

/// A shard that cannot be asked makes the answer UNAVAILABLE, and an outage
/// does not make refusals dear.
pub(crate) async fn a_shard_that_is_away_is_no_refusal_and_is_not_asked_again_at_once(
    fixture: impl Fixture,
) {
    let server = fixture.server();
    create(&server, sharded(4, 0)).await;
    let spy = Spy::on(fixture.store());
    // get, reserve, then the look's first reading: its second question.
    let refusing: Arc<dyn Store> = Arc::new(Refusing::at(Spy::as_store(&spy), 3));
    let server = Inventory::new(refusing);
    let away = server.reserve(&ask("ann", 1, 1), None).await;
    assert!(
        matches!(away, Err(Error::Store(StoreError::Overloaded))),
        "{away:?}"
    );
    spy.take();
    let again = server.reserve(&ask("ann", 1, 1), None).await;
    assert_eq!(again, away, "remembered");
    assert_eq!(spy.count("look"), 0);
    let known = |outcome: &Result<Reserved, Error>| matches!(outcome, Ok(Reserved::Short { .. }));
    #[expect(clippy::disallowed_methods, reason = "a test's deadline")]
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let outcome = server.reserve(&ask("ann", 1, 1), None).await;
        if known(&outcome) {
            break;
        }
        #[expect(clippy::disallowed_methods, reason = "a test's deadline")]
        let now = Instant::now();
        assert!(now < end, "{outcome:?}");
    }
}

/// A lender that sent less than was received has lost acknowledged work: its
/// stripe serves no more, the others do.
pub(crate) async fn a_lender_that_lost_its_tail_freezes_its_stripe_alone(fixture: impl Fixture) {
    let server = fixture.server();
    let store = fixture.store();
    create(&server, sharded(2, 6)).await;
    let entry = server.item(&item("sneaker"), None).await.unwrap();
    let key = ShardKey {
        item: item("sneaker"),
        generation: entry.generation,
        shard: ShardNo(1),
    };
    let lend = ShardOp::Lend {
        to: ShardNo(0),
        wanted: 1,
        received: 1,
        claim: None,
    };
    let frozen = store
        .submit(entry.placement[1], Op::Shard(key, lend), None)
        .await;
    assert!(
        matches!(frozen, Err(StoreError::Frozen { .. })),
        "{frozen:?}"
    );
    assert_eq!(store.status().frozen_stripes, 1);

    let (here, there) = (buyer_at(&*store, 0, 2, 0), buyer_at(&*store, 1, 2, 0));
    granted(&server, &here, 1, 3).await;
    for (buyer, quantity) in [(&there, 1), (&here, 3)] {
        // Frozen itself, or in need of what is frozen: never "sold out".
        let outcome = server.reserve(&ask(buyer, 2, quantity), None).await;
        let is_frozen = matches!(outcome, Err(Error::Store(StoreError::Frozen { .. })));
        assert!(is_frozen, "{outcome:?}");
    }
    let audit = server
        .audit(&item("sneaker"), AuditLevel::Counters, None)
        .await
        .unwrap();
    assert_eq!(audit.verdict, Verdict::Undecided);
    // It can still be paused, and deleted.
    server.pause_item(&item("sneaker"), "", None).await.unwrap();
    server
        .delete_item(&item("sneaker"), true, None, None)
        .await
        .unwrap();
}

pub(crate) async fn one_shard_by_default_where_there_is_one_master(fixture: impl Fixture) {
    let server = fixture.server();
    create(&server, spec(1)).await;
    let entry = server.item(&item("sneaker"), None).await.unwrap();
    let masters = fixture.store().masters().count();
    assert_eq!(entry.placement.len(), usize::from(masters));
}
