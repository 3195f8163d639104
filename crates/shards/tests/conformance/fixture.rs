//! A store under test, its clock, and words for what the tests ask.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use shards::embedded;
use shards::hash;
use shards::ids::{BuyerId, ItemId, Quantity, RequestId, ShardNo};
use shards::inventory::{Inventory, ReadStock, Receipt, Reserve, Reserved, Target};
use shards::machine::{ItemSpec, Op, Reply, State};
use shards::store::{Clock, Store};
use shards::time::Millis;

/// A store of its own for each test.
pub(crate) trait Fixture: Sized {
    /// Makes an empty store.
    fn start() -> Self;
    /// The store.
    fn store(&self) -> Arc<dyn Store>;
    /// Ends the process that has it, as far as it can tell, and starts another.
    fn reopen(&mut self);
    /// Moves the store's clock.
    fn advance_ms(&self, ms: i64);

    /// A server of its own over the store: it remembers nothing.
    fn server(&self) -> Inventory {
        Inventory::new(self.store())
    }
}

/// The embedded store, on a clock that stands still until it is moved.
pub(crate) struct Embedded {
    dir: tempfile::TempDir,
    clock: HandClock,
    store: Option<Arc<embedded::Embedded>>,
}

/// A clock that stands still until it is moved.
#[derive(Clone)]
pub(crate) struct HandClock(Arc<AtomicI64>);

impl HandClock {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicI64::new(1_800_000_000_000)))
    }

    pub(crate) fn advance_ms(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for HandClock {
    fn now(&mut self, seen: Millis) -> Millis {
        Millis(self.0.load(Ordering::SeqCst)).max(seen)
    }
}

impl Embedded {
    fn open(&mut self) {
        let options = embedded::Options {
            clock: Box::new(self.clock.clone()),
            ..embedded::Options::new(self.dir.path())
        };
        self.store = Some(Arc::new(embedded::Embedded::open(options).unwrap()));
    }
}

impl Fixture for Embedded {
    fn start() -> Self {
        let mut fixture = Self {
            dir: tempfile::tempdir().unwrap(),
            clock: HandClock::new(),
            store: None,
        };
        fixture.open();
        fixture
    }

    fn store(&self) -> Arc<dyn Store> {
        self.store.clone().unwrap()
    }

    fn reopen(&mut self) {
        let last = Arc::into_inner(self.store.take().unwrap());
        drop(last.expect("no server of the test may outlive the store"));
        self.open();
    }

    fn advance_ms(&self, ms: i64) {
        self.clock.advance_ms(ms);
    }
}

pub(crate) fn item(id: &str) -> ItemId {
    ItemId::parse(id).unwrap()
}

/// Request ids that a test can tell apart.
pub(crate) fn request(n: u32) -> RequestId {
    let mut bytes = [0x77; 16];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    RequestId(bytes)
}

/// An item with this much stock and nothing else said.
pub(crate) fn spec(initial_stock: u64) -> ItemSpec {
    ItemSpec {
        display_name: String::new(),
        shard_count: 0,
        hold_ttl_ms: Some(60_000),
        max_hold_ms: None,
        sell_at_once: false,
        max_units_per_buyer: 0,
        max_units_per_reservation: 0,
        sale_start: None,
        sale_end: None,
        retention_ms: None,
        initial_stock,
    }
}

/// The same over this many shards.
pub(crate) fn sharded(shard_count: u32, initial_stock: u64) -> ItemSpec {
    ItemSpec {
        shard_count,
        ..spec(initial_stock)
    }
}

/// The `n`-th buyer of `sneaker` whose home is this shard of so many.
pub(crate) fn buyer_at(store: &dyn Store, shard: u8, shards: u8, n: usize) -> String {
    let key = store.identity().fingerprint_key;
    let lives_there = |name: &String| {
        let buyer = BuyerId::parse(name).unwrap();
        let print = hash::fingerprint(&key, &item("sneaker"), &buyer);
        hash::home_shard(print, shards) == ShardNo(shard)
    };
    (0..)
        .map(|i| format!("buyer-{i}"))
        .filter(lives_there)
        .nth(n)
        .unwrap()
}

/// Creates the item `sneaker`.
pub(crate) async fn create(server: &Inventory, spec: ItemSpec) {
    server
        .create_item(item("sneaker"), spec, request(0), None)
        .await
        .unwrap();
}

/// A Reserve of `sneaker`.
pub(crate) fn ask(buyer: &str, n: u32, quantity: u32) -> Reserve {
    Reserve {
        item: item("sneaker"),
        buyer: BuyerId::parse(buyer).unwrap(),
        request: request(n),
        quantity: Quantity::new(quantity).unwrap(),
    }
}

pub(crate) async fn reserve(server: &Inventory, buyer: &str, n: u32, quantity: u32) -> Reserved {
    server
        .reserve(&ask(buyer, n, quantity), None)
        .await
        .unwrap()
}

/// A Reserve that must be granted.
pub(crate) async fn granted(server: &Inventory, buyer: &str, n: u32, quantity: u32) -> Receipt {
    match reserve(server, buyer, n, quantity).await {
        Reserved::Granted { receipt, .. } => receipt,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn by_key(buyer: &str, n: u32) -> Target {
    Target::Key {
        item: item("sneaker"),
        buyer: BuyerId::parse(buyer).unwrap(),
        request: request(n),
    }
}

pub(crate) fn by_id(server: &Inventory, receipt: &Receipt) -> Target {
    Target::Id(server.parse_reservation_id(&receipt.id).unwrap())
}

pub(crate) fn state(receipt: &Receipt) -> State {
    receipt.reservation.record.state
}

/// Available, held, sold.
pub(crate) async fn stock(server: &Inventory) -> (u64, u64, u64) {
    let stock = server
        .stock(&item("sneaker"), ReadStock::Twice, None)
        .await
        .unwrap();
    (stock.available, stock.held, stock.sold)
}

/// Asks the store itself.
pub(crate) async fn raw(store: &dyn Store, op: Op) -> Reply {
    let stripe = hash::catalog_stripe(&item("sneaker"));
    store.submit(stripe, op, None).await.unwrap()
}
