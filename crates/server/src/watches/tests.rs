//! What watching costs the store, and what it tells while the store is away.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use shards::hash::FingerprintKey;
use shards::ids::{RequestId, STRIPES, StripeNo};
use shards::machine::{Changes, ItemSpec, Op, ShardOp, Stamp, StoreIdentity, Stripe};
use shards::store::{Deadline, Durability, Listener, Pending, Store, StoreStatus};
use shards::time::Millis;
use tokio::sync::oneshot;

use super::*;

const IDENTITY: StoreIdentity = StoreIdentity {
    store_id: [1; 16],
    stripes: STRIPES,
    fingerprint_key: FingerprintKey([7; 16]),
};
const SECOND: Duration = Duration::from_secs(1);

/// A store in memory that answers at once, by the runtime's clock, and counts.
#[derive(Debug)]
struct Memory {
    stripes: Mutex<Vec<Stripe>>,
    born: std::time::Instant,
    looks: AtomicUsize,
    away: AtomicBool,
}

impl Memory {
    fn new() -> Arc<Self> {
        let stripe = || Stripe::new(IDENTITY, Millis(0));
        Arc::new(Self {
            stripes: Mutex::new(std::iter::repeat_with(stripe).take(64).collect()),
            born: clock::now(),
            looks: AtomicUsize::new(0),
            away: AtomicBool::new(false),
        })
    }

    fn set_away(&self, away: bool) {
        self.away.store(away, Ordering::Relaxed);
    }

    fn take_looks(&self) -> usize {
        self.looks.swap(0, Ordering::Relaxed)
    }
}

impl Store for Memory {
    fn submit(&self, stripe: StripeNo, op: Op, _: Deadline) -> Pending {
        if self.away.load(Ordering::Relaxed) {
            return Pending::refused(StoreError::Unavailable("it is away".to_owned()));
        }
        if matches!(op, Op::Shard(_, ShardOp::Look)) {
            self.looks.fetch_add(1, Ordering::Relaxed);
        }
        let passed = clock::now().duration_since(self.born).as_millis();
        let stamp = Stamp {
            now: Millis(i64::try_from(passed).unwrap()),
            full: false,
            freeze_id: 1,
        };
        let mut stripes = self.stripes.lock().unwrap();
        let stripe = &mut stripes[usize::from(stripe.0)];
        let reply = stripe.run(stamp, [&op], &mut Changes::default()).remove(0);
        let (answer, answered) = oneshot::channel();
        answer.send(Ok(reply)).unwrap();
        Pending::queued(answered)
    }

    fn identity(&self) -> StoreIdentity {
        IDENTITY
    }

    fn listen(&self, _: Arc<dyn Listener>) {}

    fn now(&self) -> Option<Millis> {
        None
    }

    fn is_shared(&self) -> bool {
        false
    }

    fn status(&self) -> StoreStatus {
        StoreStatus {
            kind: "memory",
            durability: Durability::Embedded,
            required_replicas: 0,
            format: 0,
            max_format: 0,
            nodes: Vec::new(),
            serving_stripes: 64,
            unavailable_stripes: 0,
            frozen_stripes: 0,
            warnings: Vec::new(),
        }
    }
}

fn over(store: &Arc<Memory>) -> Arc<Inventory> {
    Arc::new(Inventory::new(Arc::<Memory>::clone(store)))
}

fn hat() -> ItemId {
    ItemId::parse("hat").unwrap()
}

async fn create(inventory: &Inventory, shard_count: u32) {
    let spec = ItemSpec {
        display_name: String::new(),
        shard_count,
        hold_ttl_ms: None,
        max_hold_ms: None,
        sell_at_once: false,
        max_units_per_buyer: 0,
        max_units_per_reservation: 0,
        sale_start: None,
        sale_end: None,
        retention_ms: None,
        initial_stock: 5,
    };
    let made = inventory.create_item(hat(), spec, RequestId([1; 16]), None);
    made.await.unwrap();
}

async fn add(inventory: &Inventory, n: u8) {
    let (id, request) = (hat(), RequestId([n; 16]));
    let added = inventory.adjust_stock(&id, 1, false, request, None);
    added.await.unwrap();
}

async fn setting(shards: u32) -> (Arc<Memory>, Arc<Inventory>, Watches) {
    let store = Memory::new();
    let inventory = over(&store);
    create(&inventory, shards).await;
    store.take_looks();
    let watches = Watches::new(Arc::clone(&inventory));
    (store, inventory, watches)
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
    let inventory = over(&store);
    let watches = Watches::new(Arc::clone(&inventory));
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
    create(&inventory, 1).await;
    watch.changed().await.unwrap();
    assert_eq!(available(watch.now().await.unwrap()), 5);
}
