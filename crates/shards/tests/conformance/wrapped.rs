//! Stores around a store: they record, refuse, stop or hold back.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use shards::ids::{ShardNo, StripeNo};
use shards::machine::{CatalogOp, Op, ShardOp, StoreIdentity};
use shards::store::{Deadline, Listener, Pending, Store, StoreError, StoreStatus};
use shards::time::Millis;
use tokio::sync::{Semaphore, oneshot};

/// Passes on what is not a submission.
macro_rules! as_the_store_inside {
    ($($gate:tt)?) => {
        fn identity(&self) -> StoreIdentity {
            self.$($gate.)?store.identity()
        }

        fn status(&self) -> StoreStatus {
            self.$($gate.)?store.status()
        }

        fn listen(&self, listener: Arc<dyn Listener>) {
            self.$($gate.)?store.listen(listener);
        }

        fn now(&self) -> Option<Millis> {
            self.$($gate.)?store.now()
        }

        fn is_shared(&self) -> bool {
            self.$($gate.)?store.is_shared()
        }
    };
}

/// Refuses one operation, the `at`-th from now, and is whole again afterwards.
pub(crate) struct Refusing {
    store: Arc<dyn Store>,
    left: AtomicI64,
}

impl Refusing {
    pub(crate) fn at(store: Arc<dyn Store>, at: i64) -> Self {
        Self {
            store,
            left: AtomicI64::new(at),
        }
    }
}

impl Store for Refusing {
    fn submit(&self, stripe: StripeNo, op: Op, deadline: Deadline) -> Pending {
        if self.left.fetch_sub(1, Ordering::SeqCst) == 0 {
            return Pending::refused(StoreError::Overloaded);
        }
        self.store.submit(stripe, op, deadline)
    }

    as_the_store_inside!();
}

/// One stripe of it is away.
pub(crate) struct Without {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) stripe: StripeNo,
}

impl Store for Without {
    fn submit(&self, stripe: StripeNo, op: Op, deadline: Deadline) -> Pending {
        if stripe == self.stripe {
            return Pending::refused(StoreError::Unavailable("it is away".into()));
        }
        self.store.submit(stripe, op, deadline)
    }

    as_the_store_inside!();
}

/// A server that stops: after so many operations nothing of it arrives.
pub(crate) struct Stopping {
    store: Arc<dyn Store>,
    left: AtomicI64,
}

impl Stopping {
    pub(crate) fn after(store: Arc<dyn Store>, ops: i64) -> Arc<Self> {
        Arc::new(Self {
            store,
            left: AtomicI64::new(ops),
        })
    }

    /// As a server takes it.
    pub(crate) fn as_store(this: &Arc<Self>) -> Arc<dyn Store> {
        let store: Arc<Self> = Arc::clone(this);
        store
    }

    /// Whether it came to that.
    pub(crate) fn stopped(&self) -> bool {
        self.left.load(Ordering::SeqCst) < 0
    }
}

impl Store for Stopping {
    fn submit(&self, stripe: StripeNo, op: Op, deadline: Deadline) -> Pending {
        if self.left.fetch_sub(1, Ordering::SeqCst) <= 0 {
            self.left.store(-1, Ordering::SeqCst);
            return Pending::refused(StoreError::Unavailable("this server has stopped".into()));
        }
        self.store.submit(stripe, op, deadline)
    }

    as_the_store_inside!();
}

/// Notes what it is asked.
pub(crate) struct Spy {
    store: Arc<dyn Store>,
    asked: Mutex<Vec<&'static str>>,
}

impl Spy {
    pub(crate) fn on(store: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self {
            store,
            asked: Mutex::default(),
        })
    }

    /// As a server takes it.
    pub(crate) fn as_store(this: &Arc<Self>) -> Arc<dyn Store> {
        let store: Arc<Self> = Arc::clone(this);
        store
    }

    /// What it was asked since the last time.
    pub(crate) fn take(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    /// How often it was asked this since the last time.
    pub(crate) fn count(&self, name: &str) -> usize {
        self.take().iter().filter(|asked| **asked == name).count()
    }
}

impl Store for Spy {
    fn submit(&self, stripe: StripeNo, op: Op, deadline: Deadline) -> Pending {
        self.asked.lock().unwrap().push(name_of(&op));
        self.store.submit(stripe, op, deadline)
    }

    as_the_store_inside!();
}

fn name_of(op: &Op) -> &'static str {
    match op {
        Op::Shard(_, ShardOp::Reserve { .. }) => "reserve",
        Op::Shard(_, ShardOp::Confirm { .. }) => "confirm",
        Op::Shard(_, ShardOp::Look) => "look",
        Op::Shard(_, ShardOp::Claim { .. }) => "claim",
        Op::Shard(_, ShardOp::Unclaim { .. }) => "unclaim",
        Op::Shard(_, ShardOp::Lend { .. }) => "lend",
        Op::Shard(_, ShardOp::Credit { .. }) => "credit",
        Op::Shard(_, ShardOp::Change { .. }) => "change",
        Op::Shard(_, ShardOp::Create { .. }) => "create",
        Op::Shard(_, ShardOp::Configure { .. }) => "configure",
        Op::Shard(_, ShardOp::Expire { .. }) => "expire",
        Op::Shard(_, ShardOp::Purge { .. }) => "purge",
        Op::Shard(_, ShardOp::Lookup { .. }) => "lookup",
        Op::Shard(_, ShardOp::List { .. }) => "list shard",
        Op::Shard(_, ShardOp::Explain { .. }) => "explain",
        Op::Shard(..) => "another",
        Op::Stripe(_) => "stripe",
        Op::Catalog(CatalogOp::Get { .. }) => "get",
        Op::Catalog(CatalogOp::List { .. }) => "list",
        Op::Catalog(_) => "catalog",
    }
}

/// Holds back the answers to looks at one shard, while it is closed.
pub(crate) struct Gate {
    store: Arc<dyn Store>,
    shard: ShardNo,
    closed: AtomicBool,
    /// Looks that were answered and are held back.
    pub(crate) held: AtomicI64,
    passes: Semaphore,
}

impl Gate {
    pub(crate) fn at(store: Arc<dyn Store>, shard: ShardNo) -> Arc<Self> {
        Arc::new(Self {
            store,
            shard,
            closed: AtomicBool::new(false),
            held: AtomicI64::new(0),
            passes: Semaphore::new(0),
        })
    }

    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    /// Lets one through that is held back.
    pub(crate) fn let_one_through(&self) {
        self.passes.add_permits(1);
    }

    pub(crate) fn open(&self) {
        self.closed.store(false, Ordering::SeqCst);
        self.passes.add_permits(1_000);
    }
}

/// The gate as a server's store.
pub(crate) struct Gated(pub(crate) Arc<Gate>);

impl Store for Gated {
    fn submit(&self, stripe: StripeNo, op: Op, deadline: Deadline) -> Pending {
        let gate = Arc::clone(&self.0);
        let passes = !matches!(&op, Op::Shard(key, ShardOp::Look) if key.shard == gate.shard);
        let pending = gate.store.submit(stripe, op, deadline);
        if passes {
            return pending;
        }
        let (answer, answered) = oneshot::channel();
        #[expect(clippy::disallowed_methods, reason = "ends with the test's runtime")]
        tokio::spawn(async move {
            let reply = pending.await;
            if gate.closed.load(Ordering::SeqCst) {
                gate.held.fetch_add(1, Ordering::SeqCst);
                gate.passes.acquire().await.unwrap().forget();
            }
            let _ = answer.send(reply);
        });
        Pending::queued(answered)
    }

    as_the_store_inside!(0);
}

/// A server that is slow with what concludes a step of an item's life: each
/// such operation waits to be let through before it is sent.
pub(crate) struct Slow(pub(crate) Arc<Gate>);

impl Store for Slow {
    fn submit(&self, stripe: StripeNo, op: Op, deadline: Deadline) -> Pending {
        let gate = Arc::clone(&self.0);
        let concludes = matches!(
            &op,
            Op::Catalog(CatalogOp::FinishUpdate { .. } | CatalogOp::DecideDelete { .. })
        );
        if !concludes {
            return gate.store.submit(stripe, op, deadline);
        }
        let (answer, answered) = oneshot::channel();
        #[expect(clippy::disallowed_methods, reason = "ends with the test's runtime")]
        tokio::spawn(async move {
            if gate.closed.load(Ordering::SeqCst) {
                gate.held.fetch_add(1, Ordering::SeqCst);
                gate.passes.acquire().await.unwrap().forget();
            }
            let _ = answer.send(gate.store.submit(stripe, op, deadline).await);
        });
        Pending::queued(answered)
    }

    as_the_store_inside!(0);
}
