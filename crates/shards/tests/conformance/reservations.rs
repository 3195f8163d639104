//! Reserve and what follows it, over a store.

use shards::ids::{BuyerId, Quantity, RequestId};
use shards::inventory::{
    AuditLevel, Error, ReadStock, Reserved, Return, SalePhase, Target, Verdict,
};
use shards::machine::State;

use crate::fixture::{
    Fixture, ask, by_id, by_key, create, granted, item, request, reserve, sharded, spec, state,
    stock,
};

pub(crate) async fn the_same_ids_get_the_same_reservation(mut fixture: impl Fixture) {
    let first = {
        let server = fixture.server();
        create(&server, spec(2)).await;
        granted(&server, "ann", 1, 2).await
    };
    fixture.reopen();
    let server = fixture.server();
    // Sold out and paused by now: a replay wins over everything.
    server.pause_item(&item("sneaker"), "", None).await.unwrap();
    let again = reserve(&server, "ann", 1, 2).await;
    let Reserved::Granted {
        receipt,
        replayed: true,
    } = again
    else {
        panic!("{again:?}")
    };
    assert_eq!(receipt.id, first.id);
    let reused = server.reserve(&ask("ann", 1, 1), None).await;
    assert_eq!(reused, Err(Error::RequestIdReused));
    server.cancel(&by_id(&server, &first), None).await.unwrap();
    let ended = reserve(&server, "ann", 1, 2).await;
    assert!(matches!(ended, Reserved::AlreadyEnded(_)), "{ended:?}");
}

pub(crate) async fn ids_of_another_buyer_are_another_request(fixture: impl Fixture) {
    let server = fixture.server();
    create(&server, spec(3)).await;
    let ann = granted(&server, "ann", 1, 1).await;
    let bob = granted(&server, "bob", 1, 1).await;
    assert_ne!(ann.id, bob.id);
    assert_eq!(stock(&server).await, (1, 2, 0));
}

pub(crate) async fn an_id_of_an_earlier_life_is_not_found(fixture: impl Fixture) {
    let server = fixture.server();
    create(&server, spec(1)).await;
    let receipt = granted(&server, "ann", 1, 1).await;
    let mut id = server.parse_reservation_id(&receipt.id).unwrap();
    id.shard.generation.0[0] ^= 1;
    let gone = server.confirm(&Target::Id(id.clone()), false, None).await;
    assert_eq!(gone, Err(Error::ReservationNotFound));
    id.shard.item = item("never-made");
    let gone = server.reservation(&Target::Id(id), None).await;
    assert_eq!(gone, Err(Error::ReservationNotFound));
    assert!(server.parse_reservation_id("sneaker.aaaa").is_err());
}

pub(crate) async fn a_lapsed_hold_is_free_at_once(fixture: impl Fixture) {
    let server = fixture.server();
    create(&server, spec(1)).await;
    let receipt = granted(&server, "ann", 1, 1).await;
    fixture.advance_ms(59_999);
    let short = reserve(&server, "bob", 2, 1).await;
    assert_eq!(
        short,
        Reserved::Short {
            available: 0,
            held: 1
        }
    );
    assert_eq!(
        server
            .stock(&item("sneaker"), ReadStock::Twice, None)
            .await
            .unwrap()
            .phase,
        SalePhase::AllHeld
    );
    fixture.advance_ms(1);
    // Nobody swept: reading, stock, confirm and the next buyer all see it.
    let read = server
        .reservation(&by_id(&server, &receipt), None)
        .await
        .unwrap();
    assert_eq!(state(&read), State::Expired);
    assert_eq!(stock(&server).await, (1, 0, 0));
    let refused = server.confirm(&by_id(&server, &receipt), false, None).await;
    assert!(matches!(refused, Err(Error::WrongState(_))), "{refused:?}");
    granted(&server, "bob", 2, 1).await;
}

pub(crate) async fn a_cancel_that_comes_first_forbids_its_reserve(fixture: impl Fixture) {
    let server = fixture.server();
    create(&server, spec(1)).await;
    for _ in 0..2 {
        let cancelled = server.cancel(&by_key("ann", 1), None).await.unwrap();
        assert_eq!(
            (state(&cancelled), cancelled.reservation.record.quantity),
            (State::Cancelled, 0)
        );
    }
    let ended = reserve(&server, "ann", 1, 1).await;
    assert!(matches!(ended, Reserved::AlreadyEnded(_)), "{ended:?}");
    let by_name = by_id(&server, &granted(&server, "ann", 2, 1).await);
    assert!(server.cancel(&by_name, None).await.is_ok());
    // 15 minutes, whatever the item's retention.
    fixture.advance_ms(15 * 60_000);
    granted(&server, "ann", 1, 1).await;
}

pub(crate) async fn a_late_confirm_takes_units_anew_or_loses_for_good(fixture: impl Fixture) {
    let server = fixture.server();
    create(&server, spec(2)).await;
    for n in 1..=2 {
        granted(&server, "ann", n, 1).await;
    }
    fixture.advance_ms(60_000);
    let again = server.confirm(&by_key("ann", 1), true, None).await.unwrap();
    assert!(again.reservation.record.late);
    granted(&server, "bob", 3, 1).await;
    for _ in 0..2 {
        let lost = server.confirm(&by_key("ann", 2), true, None).await;
        let Err(Error::WrongState(receipt)) = lost else {
            panic!("{lost:?}")
        };
        assert_eq!(state(&receipt), State::Lost);
    }
    assert_eq!(stock(&server).await, (0, 1, 1));
}

pub(crate) async fn sold_units_come_back_once(fixture: impl Fixture) {
    let server = fixture.server();
    create(&server, spec(3)).await;
    granted(&server, "ann", 1, 3).await;
    let back = |n, quantity, discard| Return {
        request: request(n),
        quantity: Quantity::new(quantity).unwrap(),
        discard,
    };
    let target = by_key("ann", 1);
    let held = server.return_units(&target, &back(9, 1, false), None).await;
    assert!(matches!(held, Err(Error::WrongState(_))), "{held:?}");
    server.confirm(&target, false, None).await.unwrap();
    for _ in 0..2 {
        let receipt = server
            .return_units(&target, &back(9, 1, false), None)
            .await
            .unwrap();
        assert_eq!(receipt.reservation.record.returned, 1);
        assert_eq!(stock(&server).await, (1, 0, 2));
    }
    let reused = server.return_units(&target, &back(9, 1, true), None).await;
    assert_eq!(reused, Err(Error::RequestIdReused));
    let large = server
        .return_units(&target, &back(10, 3, false), None)
        .await;
    assert_eq!(large, Err(Error::ReturnTooLarge { left: 2 }));
    server
        .return_units(&target, &back(11, 2, true), None)
        .await
        .unwrap();
    assert_eq!(stock(&server).await, (1, 0, 2));
    let audit = server
        .audit(&item("sneaker"), AuditLevel::Records, None)
        .await
        .unwrap();
    assert_eq!(audit.verdict, Verdict::Sound, "{:?}", audit.violations);
}

pub(crate) async fn a_purged_reservations_ids_are_new(fixture: impl Fixture) {
    let server = fixture.server();
    let retention_ms = Some(600_000);
    create(
        &server,
        shards::machine::ItemSpec {
            retention_ms,
            ..sharded(1, 2)
        },
    )
    .await;
    granted(&server, "ann", 1, 1).await;
    let sold = server
        .confirm(&by_key("ann", 1), false, None)
        .await
        .unwrap();
    let purge_at = sold.reservation.purge_at.unwrap();
    assert_eq!(purge_at, sold.reservation.now.plus_ms(600_000));
    fixture.advance_ms(600_000);
    let gone = server.reservation(&by_key("ann", 1), None).await;
    assert_eq!(gone, Err(Error::ReservationNotFound));
    granted(&server, "ann", 1, 1).await;
    assert_eq!(stock(&server).await, (0, 1, 1));
    let audit = server
        .audit(&item("sneaker"), AuditLevel::Records, None)
        .await
        .unwrap();
    assert_eq!(audit.verdict, Verdict::Sound, "{:?}", audit.violations);
    assert_eq!(audit.shards[0].reading.counters.purged_sold, 1);
}

pub(crate) async fn a_sale_sells_exactly_what_it_has(mut fixture: impl Fixture) {
    {
        let server = fixture.server();
        create(
            &server,
            shards::machine::ItemSpec {
                max_units_per_buyer: 2,
                ..spec(100)
            },
        )
        .await;
        let server = &server;
        let asks = (0..500_u32).map(|n| async move {
            let buyer = BuyerId::parse(&format!("buyer-{}", n / 3)).unwrap();
            let mut ask = ask("any", 0, 1);
            (ask.buyer, ask.request) = (buyer, RequestId([u8::try_from(n % 251).unwrap() + 1; 16]));
            server.reserve(&ask, None).await.unwrap()
        });
        let outcomes = futures_util::future::join_all(asks).await;
        let granted = outcomes
            .iter()
            .filter(|o| matches!(o, Reserved::Granted { .. }))
            .count();
        assert_eq!(granted, 100);
        let limited = outcomes
            .iter()
            .filter(|o| matches!(o, Reserved::OverLimit { .. }))
            .count();
        assert!(limited > 0);
        // What lapses is swept in bounded steps, and sold again.
        fixture.advance_ms(60_000);
        assert_eq!(server.sweep().await.unwrap().expired, 100);
        assert_eq!(stock(server).await, (100, 0, 0));
    }
    fixture.reopen();
    let server = fixture.server();
    assert_eq!(stock(&server).await, (100, 0, 0));
    let audit = server
        .audit(&item("sneaker"), AuditLevel::Records, None)
        .await
        .unwrap();
    assert_eq!(
        (audit.verdict, audit.oversold_units),
        (Verdict::Sound, Some(0))
    );
}
