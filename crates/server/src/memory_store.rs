//! For tests: a store in memory that answers at once, by the runtime's clock,
//! and counts. Several servers may share it, and the test is the network between
//! them: it says when an answer or a notice arrives, if at all.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use shards::hash::FingerprintKey;
use shards::ids::{ItemId, RequestId, STRIPES, StripeNo};
use shards::inventory::Inventory;
use shards::machine::{Changes, Gain, ItemSpec, Op, Reply, ShardOp, Stamp, StoreIdentity, Stripe};
use shards::store::{
    Deadline, Durability, Listener, Notice, Pending, Store, StoreError, StoreStatus,
};
use shards::time::Millis;
use tokio::sync::oneshot;

use crate::{clock, tasks};

const IDENTITY: StoreIdentity = StoreIdentity {
    store_id: [1; 16],
    stripes: STRIPES,
    fingerprint_key: FingerprintKey([7; 16]),
};

/// The store as one server sees it.
pub(crate) struct Memory {
    shared: Arc<Shared>,
    listeners: Mutex<Vec<Arc<dyn Listener>>>,
    calls: AtomicUsize,
    looks: AtomicUsize,
    away: AtomicBool,
    /// What looks found, while their answers are under way.
    held: Mutex<Option<Vec<UnderWay>>>,
    /// How long answers take that are not held.
    latency: Mutex<Duration>,
    /// What others did, while the notices of it are under way.
    notices: Mutex<Vec<Notice>>,
}

type Answer = Result<Reply, StoreError>;
type UnderWay = (oneshot::Sender<Answer>, Answer);

/// What all servers share.
struct Shared {
    stripes: Mutex<Vec<Stripe>>,
    born: Instant,
    servers: Mutex<Vec<Weak<Memory>>>,
}

impl Memory {
    /// An empty store, and the first server of it.
    pub(crate) fn new() -> Arc<Self> {
        let stripe = || Stripe::new(IDENTITY, Millis(0));
        Self::over(Arc::new(Shared {
            stripes: Mutex::new(std::iter::repeat_with(stripe).take(64).collect()),
            born: clock::now(),
            servers: Mutex::default(),
        }))
    }

    /// Another server of the same store.
    pub(crate) fn another(&self) -> Arc<Self> {
        Self::over(Arc::clone(&self.shared))
    }

    fn over(shared: Arc<Shared>) -> Arc<Self> {
        let memory = Arc::new(Self {
            shared,
            listeners: Mutex::default(),
            calls: AtomicUsize::new(0),
            looks: AtomicUsize::new(0),
            away: AtomicBool::new(false),
            held: Mutex::default(),
            latency: Mutex::default(),
            notices: Mutex::default(),
        });
        let mut servers = memory.shared.servers.lock().unwrap();
        servers.push(Arc::downgrade(&memory));
        drop(servers);
        memory
    }

    pub(crate) fn inventory(self: &Arc<Self>) -> Arc<Inventory> {
        Arc::new(Inventory::new(Arc::<Self>::clone(self)))
    }

    pub(crate) fn set_away(&self, away: bool) {
        self.away.store(away, Ordering::Relaxed);
    }

    /// Operations since the last time.
    pub(crate) fn take_calls(&self) -> usize {
        self.calls.swap(0, Ordering::Relaxed)
    }

    /// Looks among them.
    pub(crate) fn take_looks(&self) -> usize {
        self.looks.swap(0, Ordering::Relaxed)
    }

    /// From now on looks are taken, and their answers do not arrive.
    pub(crate) fn hold_looks(&self) {
        *self.held.lock().unwrap() = Some(Vec::new());
    }

    /// Looks whose answers are under way.
    pub(crate) fn held_looks(&self) -> usize {
        self.held.lock().unwrap().as_ref().map_or(0, Vec::len)
    }

    /// They arrive; those of later looks at once.
    pub(crate) fn let_looks_arrive(&self) {
        let held = self.held.lock().unwrap().take();
        for (sender, answer) in held.into_iter().flatten() {
            // Whoever asked may have given up.
            let _ = sender.send(answer);
        }
    }

    /// From now on each answer takes so long.
    pub(crate) fn set_latency(&self, latency: Duration) {
        *self.latency.lock().unwrap() = latency;
    }

    /// Notices of what other servers did arrive.
    pub(crate) fn hear(&self) {
        let notices = std::mem::take(&mut *self.notices.lock().unwrap());
        for notice in notices {
            self.tell(&notice);
        }
    }

    /// The connection over which they come was lost, and they with it.
    pub(crate) fn lose_notices(&self) {
        self.notices.lock().unwrap().clear();
        self.tell(&Notice::Missed);
    }

    fn tell(&self, notice: &Notice) {
        for listener in self.listeners.lock().unwrap().iter() {
            listener.hear(notice);
        }
    }

    fn answer(&self, sender: oneshot::Sender<Answer>, reply: Reply) {
        let latency = *self.latency.lock().unwrap();
        if latency.is_zero() {
            sender.send(Ok(reply)).unwrap();
            return;
        }
        drop(tasks::start(async move {
            clock::after(latency).await;
            // Whoever asked may have given up.
            let _ = sender.send(Ok(reply));
        }));
    }

    /// This server hears at once, the others when the test says so.
    fn tell_of(&self, changes: &Changes) {
        let catalog = changes.catalog.iter().cloned().map(Notice::Changed);
        let gains = |least: Gain| {
            let gained = changes.shards.iter();
            let gained = gained.filter(move |(_, changes)| changes.gain >= least);
            gained.map(|(key, _)| Notice::Units(key.item.clone()))
        };
        for notice in catalog.clone().chain(gains(Gain::More)) {
            self.tell(&notice);
        }
        let news: Vec<_> = catalog.chain(gains(Gain::First)).collect();
        for server in self.shared.servers.lock().unwrap().iter() {
            if let Some(server) = server.upgrade()
                && !std::ptr::eq(&raw const *server, self)
            {
                server.notices.lock().unwrap().extend(news.iter().cloned());
            }
        }
    }
}

impl Store for Memory {
    fn submit(&self, stripe: StripeNo, op: Op, _: Deadline) -> Pending {
        if self.away.load(Ordering::Relaxed) {
            return Pending::refused(StoreError::Unavailable("it is away".to_owned()));
        }
        self.calls.fetch_add(1, Ordering::Relaxed);
        let is_look = matches!(op, Op::Shard(_, ShardOp::Look));
        let stamp = Stamp {
            now: self.now().unwrap(),
            full: false,
            freeze_id: 1,
        };
        let mut changes = Changes::default();
        let reply = {
            let mut stripes = self.shared.stripes.lock().unwrap();
            let stripe = &mut stripes[usize::from(stripe.0)];
            stripe.run(stamp, [&op], &mut changes).remove(0)
        };
        self.tell_of(&changes);
        let (sender, answered) = oneshot::channel();
        let mut held = self.held.lock().unwrap();
        if is_look {
            self.looks.fetch_add(1, Ordering::Relaxed);
        }
        match held.as_mut().filter(|_| is_look) {
            Some(held) => held.push((sender, Ok(reply))),
            None => self.answer(sender, reply),
        }
        Pending::queued(answered)
    }

    fn identity(&self) -> StoreIdentity {
        IDENTITY
    }

    fn listen(&self, listener: Arc<dyn Listener>) {
        self.listeners.lock().unwrap().push(listener);
    }

    fn now(&self) -> Option<Millis> {
        let passed = clock::now().duration_since(self.shared.born).as_millis();
        Some(Millis(i64::try_from(passed).unwrap()))
    }

    fn is_shared(&self) -> bool {
        self.shared.servers.lock().unwrap().len() > 1
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

/// An item to be made that has 5 units.
pub(crate) fn spec(shard_count: u32) -> ItemSpec {
    ItemSpec {
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
    }
}

pub(crate) fn hat() -> ItemId {
    ItemId::parse("hat").unwrap()
}

pub(crate) async fn create(inventory: &Inventory, spec: ItemSpec) {
    let made = inventory.create_item(hat(), spec, RequestId([1; 16]), None);
    made.await.unwrap();
}

pub(crate) async fn add(inventory: &Inventory, n: u8) {
    let (id, request) = (hat(), RequestId([n; 16]));
    let added = inventory.adjust_stock(&id, 1, false, request, None);
    added.await.unwrap();
}
