//! The stock as product pages see it.

use shards::inventory::ReadStock;

use super::*;
use crate::memory_store::add;
use crate::tier1::stock::PATIENCE_MAX;

async fn shown(server: &Server) -> Arc<Stock> {
    let hat = hat();
    let stock = server.tier1.stock(&hat, ReadStock::Once, None);
    stock.await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn one_reading_serves_all_for_a_second() {
    let server = Server::with_hats(4).await;
    server.store.take_looks();
    let all = (0..100).map(|_| shown(&server));
    let all = futures_util::future::join_all(all).await;
    assert_eq!(server.store.take_looks(), 4);
    assert!(all.iter().all(|stock| stock.available == 5));
    receipt(server.first(1, 2).await);
    server.store.take_looks();
    for _ in 0..9 {
        clock::after(SECOND / 10).await;
        assert_eq!(shown(&server).await, all[0], "with its true age");
    }
    assert_eq!(server.store.take_looks(), 0);
    clock::after(SECOND / 10).await;
    let next = shown(&server).await;
    assert_eq!((next.available, next.held), (3, 2));
    assert!(next.as_of >= all[0].as_of.plus_ms(1_000));
    // STRONG is read each time.
    server.store.take_looks();
    let strong = server.tier1.stock(&hat(), ReadStock::Twice, None).await;
    assert!(strong.unwrap().exact);
    assert_eq!(server.store.take_looks(), 8);
}

#[tokio::test(start_paused = true)]
async fn while_the_store_is_away_the_last_that_is_known_is_shown() {
    let server = Server::with_hats(4).await;
    let known = shown(&server).await;
    server.store.set_away(true);
    for _ in 0..100 {
        clock::after(SECOND / 5).await;
        assert_eq!(shown(&server).await, known);
    }
    let strong = server.tier1.stock(&hat(), ReadStock::Twice, None).await;
    assert!(matches!(strong, Err(Error::Store(_))), "{strong:?}");
    server.store.set_away(false);
    clock::after(SECOND / 5).await;
    assert!(shown(&server).await.as_of > known.as_of);
}

/// A store that takes long for its answer does not keep product pages waiting.
#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_is_not_waited_for_where_something_is_known() {
    let server = Server::with_hats(4).await;
    let known = shown(&server).await;
    clock::after(SECOND).await;
    server.store.hold_looks();
    for _ in 0..10 {
        let begin = clock::now();
        assert_eq!(shown(&server).await, known);
        assert!(clock::now() - begin <= PATIENCE_MAX + TICK);
    }
    server.store.let_looks_arrive();
    clock::after(SECOND).await;
    assert!(shown(&server).await.as_of > known.as_of);
}

#[tokio::test(start_paused = true)]
async fn an_operators_change_is_seen_at_once() {
    let server = Server::with_hats(1).await;
    let other = server.another();
    assert_eq!(shown(&server).await.available, 5);
    assert_eq!(shown(&other).await.available, 5);
    server.inventory.pause_item(&hat(), "", None).await.unwrap();
    other.store.hear();
    for server in [&server, &other] {
        let phase = shown(server).await.phase;
        assert_eq!(phase, shards::inventory::SalePhase::Paused);
    }
    // That units come and go is news a second later.
    add(&server.inventory, 3).await;
    clock::after(SECOND).await;
    assert_eq!(shown(&other).await.available, 6);
}

#[tokio::test(start_paused = true)]
async fn unknown_items_are_remembered_too() {
    let server = Server::of(Memory::new(), Settings::default());
    for _ in 0..100 {
        let unknown = server.tier1.stock(&hat(), ReadStock::Once, None).await;
        assert_eq!(unknown, Err(Error::ItemNotFound(hat())));
    }
    assert_eq!(server.store.take_calls(), 1);
    create(&server.inventory, spec(1)).await;
    assert_eq!(shown(&server).await.available, 5);
}

/// However little time callers have: the reading is not theirs alone.
#[tokio::test(start_paused = true)]
async fn a_reading_that_takes_long_is_there_for_whoever_comes_next() {
    let server = Server::with_hats(4).await;
    let known = shown(&server).await;
    clock::after(SECOND).await;
    server.store.take_looks();
    server.store.hold_looks();
    for ms in [20, 100] {
        let (hat, deadline) = (hat(), clock::later(Duration::from_millis(ms)));
        let stock = server.tier1.stock(&hat, ReadStock::Once, Some(deadline));
        assert_eq!(stock.await, Ok(Arc::clone(&known)));
        assert!(clock::now() < deadline);
    }
    clock::after(SECOND / 3).await;
    server.store.let_looks_arrive();
    until(|| server.tier1.stock.get(&hat()).is_some()).await;
    let next = shown(&server).await;
    assert!(next.as_of > known.as_of, "{next:?}");
    assert_eq!(server.store.take_looks(), 4, "the one that took long");
}
