//! A server of Holdfast, as far as the store goes: an inventory over a store of
//! its own, in this process. Two of them share nothing but the cluster.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shards::ids::{BuyerId, ItemId, Quantity, RequestId, StripeNo};
use shards::inventory::{Error, Inventory, Reserve, Reserved};
use shards::machine::{ItemSpec, Op, Reply, StripeOp};
use shards::redis::{Acknowledge, Address, Options, Redis};
use shards::store::{Store, StoreError};

use crate::servers::Cluster;

/// How long a test waits for anything before it fails.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Server {
    pub(crate) store: Arc<Redis>,
    pub(crate) inventory: Inventory,
}

/// The settings of a server over this cluster.
pub(crate) fn options(cluster: &Cluster, acknowledge: Acknowledge) -> Options {
    let address = format!("redis-cluster://{}", cluster.addresses().join(","));
    Options {
        acknowledge: Some(acknowledge),
        init: true,
        ..Options::new(Address::parse(&address).unwrap())
    }
}

impl Server {
    /// One that waits for the replicas, as is usual.
    pub(crate) fn start(cluster: &Cluster) -> Self {
        Self::open(options(cluster, Acknowledge::Replicated))
    }

    pub(crate) fn open(options: Options) -> Self {
        let store = Arc::new(Redis::open(options).unwrap());
        let shared: Arc<dyn Store> = Arc::<Redis>::clone(&store);
        Self {
            inventory: Inventory::new(shared),
            store,
        }
    }

    /// Creates an item of so many units over so many shards.
    pub(crate) async fn create(&self, id: &str, units: u64, shards: u32) {
        let spec = ItemSpec {
            display_name: String::new(),
            shard_count: shards,
            hold_ttl_ms: Some(3_600_000),
            max_hold_ms: None,
            sell_at_once: false,
            max_units_per_buyer: 0,
            max_units_per_reservation: 0,
            sale_start: None,
            sale_end: None,
            retention_ms: None,
            initial_stock: units,
        };
        self.inventory
            .create_item(item(id), spec, request(0), None)
            .await
            .unwrap();
    }

    /// A Reserve of one unit by request number `n`, whose buyer is its own.
    pub(crate) async fn reserve(&self, id: &str, n: u32) -> Result<Reserved, Error> {
        self.reserve_units(id, n, 1).await
    }

    /// The same of several.
    pub(crate) async fn reserve_units(
        &self,
        id: &str,
        n: u32,
        units: u32,
    ) -> Result<Reserved, Error> {
        let deadline = now() + Duration::from_secs(5);
        let ask = Reserve {
            item: item(id),
            buyer: BuyerId::parse(&format!("buyer-{n}")).unwrap(),
            request: request(n),
            quantity: Quantity::new(units).unwrap(),
        };
        self.inventory.reserve(&ask, Some(deadline)).await
    }

    /// As often as it takes until it is decided.
    pub(crate) async fn reserve_until_decided(&self, id: &str, n: u32) -> Reserved {
        eventually("a decision", async || self.reserve(id, n).await).await
    }

    /// How a stripe does, by a visit.
    pub(crate) async fn visit(&self, stripe: StripeNo) -> Result<Reply, StoreError> {
        let visit = Op::Stripe(StripeOp::Visit);
        self.store.submit(stripe, visit, None).await
    }

    /// Waits until a stripe serves.
    pub(crate) async fn serves(&self, stripe: StripeNo) {
        let visit = async || self.visit(stripe).await;
        eventually("the stripe to serve", visit).await;
    }
}

pub(crate) fn item(id: &str) -> ItemId {
    ItemId::parse(id).unwrap()
}

/// Request ids that a test can tell apart.
pub(crate) fn request(n: u32) -> RequestId {
    let mut bytes = [0x5a; 16];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    RequestId(bytes)
}

/// Asks again until there is an `Ok`.
pub(crate) async fn eventually<T, E: std::fmt::Debug, F>(
    what: &str,
    mut look: impl FnMut() -> F,
) -> T
where
    F: Future<Output = Result<T, E>>,
{
    let deadline = now() + PATIENCE;
    loop {
        match look().await {
            Ok(found) => return found,
            Err(seen) if now() >= deadline => {
                panic!("{what}: not within {PATIENCE:?}; last seen: {seen:?}")
            }
            Err(_) => tick().await,
        }
    }
}

/// The pause between two looks at something.
pub(crate) async fn tick() {
    #[expect(
        clippy::disallowed_methods,
        reason = "the pause between two looks, in the one place that looks"
    )]
    tokio::time::sleep(Duration::from_millis(5)).await;
}

pub(crate) fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "deadlines of tests")]
    Instant::now()
}
