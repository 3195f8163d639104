//! What watching costs the store, and what it tells while the store is away.

use shards::inventory::Inventory;
use shards::time::Millis;

use super::*;
use crate::memory_store::{Memory, add, create, hat, spec};
use crate::tier1::Settings;

const SECOND: Duration = Duration::from_secs(1);

async fn setting(shards: u32) -> (Arc<Memory>, Arc<Inventory>, Watches) {
    let store = Memory::new();
    let inventory = store.inventory();
    create(&inventory, spec(shards)).await;
    store.take_looks();
    let watches = watches(&inventory);
    (store, inventory, watches)
}

fn watches(inventory: &Arc<Inventory>) -> Watches {
    let tier1 = Tier1::new(Arc::clone(inventory), Settings::default());
    drop(tasks::start(Arc::clone(&tier1).keep_time()));
    Watches::new(tier1)
}

/// Timers tick in milliseconds, so there may be a few less.
#[track_caller]
fn assert_readings(found: usize, intervals: usize) {
    let as_many = intervals * 9 / 10..=intervals + 1;
    assert!(
        as_many.contains(&found),
        "{found} readings in {intervals} intervals"
    );
}

fn available(news: News) -> u64 {
    news.unwrap().available
}

#[tokio::test(start_paused = true)]
async fn a_thousand_watchers_cost_one_reading_an_interval() {
    for shards in [1, 4] {
        let (store, inventory, watches) = setting(shards).await;
        let mut all: Vec<_> = (0..1_000)
            .map(|_| watches.watch(&hat(), INTERVAL_MIN))
            .collect();
        for watch in &mut all {
            assert_eq!(available(watch.now().await.unwrap()), 5);
        }
        assert_eq!(store.take_looks(), shards as usize, "one for all of them");
        clock::after(SECOND * 10).await;
        assert_readings(store.take_looks() / shards as usize, 100);
        // All of them hear of a change.
        add(&inventory, 9).await;
        for watch in &mut all {
            watch.changed().await.unwrap();
            assert_eq!(available(watch.now().await.unwrap()), 6);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_most_eager_watcher_sets_the_pace_as_long_as_it_watches() {
    let (store, _, watches) = setting(1).await;
    let mut slow = watches.watch(&hat(), SECOND * 60);
    slow.now().await.unwrap().unwrap();
    store.take_looks();
    clock::after(SECOND * 10).await;
    // A second old at most, whatever was asked for.
    assert_readings(store.take_looks(), 10);
    let eager = watches.watch(&hat(), INTERVAL_MIN);
    clock::after(SECOND * 10).await;
    assert_readings(store.take_looks(), 100);
    drop(eager);
    clock::after(SECOND * 10).await;
    assert_readings(store.take_looks(), 10);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_read_for_who_does_not_watch() {
    let (store, _, watches) = setting(1).await;
    for _ in 0..3 {
        let mut watch = watches.watch(&hat(), INTERVAL_MIN);
        assert_eq!(available(watch.now().await.unwrap()), 5);
        drop(watch);
        clock::after(SECOND).await;
        assert!(watches.0.topics().is_empty());
        store.take_looks();
        clock::after(SECOND * 10).await;
        assert_eq!(store.take_looks(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn while_the_store_is_away_the_last_news_keep_their_age() {
    let (store, inventory, watches) = setting(4).await;
    let mut watch = watches.watch(&hat(), INTERVAL_MIN);
    watch.now().await.unwrap().unwrap();
    clock::after(SECOND).await;
    let last = watch.now().await.unwrap().unwrap();
    assert!(last.as_of >= Millis(900), "{:?}", last.as_of);
    store.set_away(true);
    clock::after(SECOND).await;
    let known = watch.now().await.unwrap().unwrap();
    assert!(known.as_of <= last.as_of.plus_ms(100));
    let told = tokio::time::timeout(SECOND * 60, watch.changed()).await;
    assert!(told.is_err(), "nothing is new");
    // Somebody who comes now hears what is known, too.
    let mut late = watches.watch(&hat(), SECOND);
    assert_eq!(late.now().await.unwrap().unwrap(), known);
    store.set_away(false);
    add(&inventory, 9).await;
    watch.changed().await.unwrap();
    let after = watch.now().await.unwrap().unwrap();
    assert_eq!(after.available, 6);
    assert!(after.as_of >= Millis(60_000));
}

#[tokio::test(start_paused = true)]
async fn where_nothing_is_known_an_error_says_so_until_something_is() {
    let store = Memory::new();
    let inventory = store.inventory();
    let watches = watches(&inventory);
    store.set_away(true);
    let mut watch = watches.watch(&hat(), INTERVAL_MIN);
    let away = watch.now().await.unwrap();
    assert!(matches!(away, Err(Error::Store(_))), "{away:?}");
    store.set_away(false);
    watch.changed().await.unwrap();
    let gone = watch.now().await.unwrap();
    assert_eq!(gone, Err(Error::ItemNotFound(hat())));
    // It is known now that there is none.
    store.set_away(true);
    clock::after(SECOND).await;
    assert_eq!(watch.now().await.unwrap(), gone);
    store.set_away(false);
    create(&inventory, spec(1)).await;
    watch.changed().await.unwrap();
    assert_eq!(available(watch.now().await.unwrap()), 5);
}
