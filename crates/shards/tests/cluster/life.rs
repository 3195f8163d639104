//! All that a store is ever asked for, once: so that what a rule of its ACL, or
//! anything else about it, forbids does not go unnoticed.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use shards::ids::{BuyerId, Quantity, StripeNo};
use shards::inventory::{
    AuditLevel, Edit, Edits, Explain, Inventory, ReadStock, Reservations, Reserve, Reserved,
    Return, StripeHealth, Target, Verdict,
};
use shards::machine::{ItemSpec, Op, StripeOp};
use shards::redis::{Options, Redis};
use shards::store::{Clock, Deadline, Notice, Store};
use shards::time::Millis;

use crate::notices::Ear;
use crate::server::{item, now, request, tick};

/// Longer than any of it takes.
const STEP_TIME_MAX: Duration = Duration::from_secs(5);
const HOLD_MS: u64 = 60_000;
const RETENTION_MS: u64 = 3_600_000;

/// A clock that stands still until it is moved.
#[derive(Clone)]
struct HandClock(Arc<AtomicI64>);

impl Clock for HandClock {
    fn now(&mut self, seen: Millis) -> Millis {
        Millis(self.0.load(Ordering::SeqCst)).max(seen)
    }
}

/// What went wrong, and with what.
type Lived<T> = Result<T, String>;

/// Says what did not work.
fn at<T>(what: &str, done: Result<T, impl Display>) -> Lived<T> {
    done.map_err(|error| format!("{what}: {error}"))
}

struct Life {
    store: Arc<Redis>,
    inventory: Inventory,
    clock: HandClock,
}

/// What is done to the store in the course of it.
pub(crate) struct Events<'a> {
    /// Another incarnation takes over.
    pub(crate) takeover: &'a dyn Fn(),
    /// The index of the catalog of this stripe is deleted.
    pub(crate) loss: &'a dyn Fn(StripeNo),
}

/// The life of a store, from its making on.
pub(crate) async fn live(options: &Options, events: &Events<'_>) -> Lived<()> {
    let clock = HandClock(Arc::new(AtomicI64::new(1_800_000_000_000)));
    let life = Life::open(options.clone(), clock.clone())?;
    let warnings = life.store.status().warnings;
    if let Some(about) = warnings.iter().find(|about| about.contains("CONFIG GET")) {
        return Err(about.clone());
    }
    life.hear().await?;
    life.create("sneaker", 3, 90).await?;
    life.create("gone", 1, 90).await?;
    life.sell().await?;
    life.end().await?;
    life.look().await?;
    life.lose(events).await?;
    drop(life);
    // And found again.
    let options = Options {
        init: false,
        ..options.clone()
    };
    let life = Life::open(options, clock)?;
    life.look().await?;
    life.take_over(events).await?;
    let id = item("gone");
    at(
        "delete",
        life.inventory.delete_item(&id, true, None, soon()).await,
    )
}

#[expect(clippy::unnecessary_wraps, reason = "as it is asked for")]
fn soon() -> Deadline {
    Some(now() + STEP_TIME_MAX)
}

fn units(count: u32) -> Quantity {
    Quantity::new(count).unwrap()
}

impl Life {
    fn open(options: Options, clock: HandClock) -> Lived<Self> {
        let store = at("open", Redis::open_by(options, Box::new(clock.clone())))?;
        let store = Arc::new(store);
        let shared: Arc<dyn Store> = Arc::<Redis>::clone(&store);
        Ok(Self {
            inventory: Inventory::new(shared),
            store,
            clock,
        })
    }

    fn advance(&self, ms: u64) {
        let ms = i64::try_from(ms).unwrap();
        self.clock.0.fetch_add(ms, Ordering::SeqCst);
    }

    async fn create(&self, id: &str, shards: u32, stock: u64) -> Lived<()> {
        let spec = ItemSpec {
            display_name: String::new(),
            shard_count: shards,
            hold_ttl_ms: Some(HOLD_MS),
            max_hold_ms: None,
            sell_at_once: false,
            max_units_per_buyer: 100,
            max_units_per_reservation: 0,
            sale_start: None,
            sale_end: None,
            retention_ms: Some(RETENTION_MS),
            initial_stock: stock,
        };
        let created = self
            .inventory
            .create_item(item(id), spec, request(0), soon());
        at("create", created.await)?;
        Ok(())
    }

    async fn reserve(&self, id: &str, n: u32, count: u32) -> Lived<Target> {
        let ask = Reserve {
            item: item(id),
            buyer: BuyerId::parse(&format!("buyer-{n}")).unwrap(),
            request: request(n),
            quantity: units(count),
        };
        let reserved = at("reserve", self.inventory.reserve(&ask, soon()).await)?;
        match reserved {
            Reserved::Granted { receipt, .. } => {
                let id = self.inventory.parse_reservation_id(&receipt.id);
                Ok(Target::Id(id.unwrap()))
            }
            other => Err(format!("reserve: {other:?}")),
        }
    }

    /// What is told to all servers comes back to whoever had it done.
    async fn hear(&self) -> Lived<()> {
        self.create("one", 1, 1).await?;
        let ear = Ear::on(&*self.store);
        let freed = Notice::Units(item("one"));
        let deadline = now() + STEP_TIME_MAX;
        let mut told = 0;
        while ear.count(&freed) <= told {
            if now() > deadline {
                return Err("hear: nothing comes back".to_owned());
            }
            told += 1;
            let n = u32::try_from(told).unwrap();
            let held = self.reserve("one", n, 1).await?;
            at("cancel", self.inventory.cancel(&held, soon()).await)?;
            tick().await;
        }
        let id = item("one");
        at(
            "delete",
            self.inventory.delete_item(&id, true, None, soon()).await,
        )
    }

    /// Units that are sold, given back, extended, and moved between shards.
    async fn sell(&self) -> Lived<()> {
        let inventory = &self.inventory;
        let id = item("sneaker");
        let sold = self.reserve("sneaker", 1, 2).await?;
        at("confirm", inventory.confirm(&sold, false, soon()).await)?;
        let back = Return {
            request: request(100),
            quantity: units(1),
            discard: false,
        };
        for _ in 0..2 {
            let returned = inventory.return_units(&sold, &back, soon());
            at("return", returned.await)?;
        }
        let cancelled = self.reserve("sneaker", 2, 1).await?;
        at("cancel", inventory.cancel(&cancelled, soon()).await)?;
        // Before its Reserve.
        let unarrived = Target::Key {
            item: id.clone(),
            buyer: BuyerId::parse("buyer-3").unwrap(),
            request: request(3),
        };
        at("cancel", inventory.cancel(&unarrived, soon()).await)?;
        for n in 4..6 {
            let extended = self.reserve("sneaker", n, 1).await?;
            let extend = inventory.extend(&extended, 2 * HOLD_MS, soon());
            at("extend", extend.await)?;
        }
        // More than any shard has.
        let large = self.reserve("sneaker", 6, 60).await?;
        at("cancel", inventory.cancel(&large, soon()).await)?;
        for n in 7..12 {
            self.reserve("sneaker", n, 1).await?;
        }
        for _ in 0..2 {
            let adjusted = inventory.adjust_stock(&id, 10, false, request(101), soon());
            at("adjust", adjusted.await)?;
        }
        let edits = Edits {
            max_units_per_buyer: Edit::Set(50),
            ..Edits::default()
        };
        at(
            "update",
            inventory.update_item(&id, &edits, None, soon()).await,
        )?;
        at("pause", inventory.pause_item(&id, "", soon()).await)?;
        at("resume", inventory.resume_item(&id, "", soon()).await)?;
        Ok(())
    }

    /// Holds that lapse, those that were extended too, and records that are
    /// forgotten.
    async fn end(&self) -> Lived<()> {
        let sweep = async || {
            let swept = at("sweep", self.inventory.sweep().await)?;
            match swept.failed {
                0 => Ok(swept),
                _ => Err(format!("sweep: {swept:?}")),
            }
        };
        let mut expired = 0;
        for _ in 0..2 {
            self.advance(HOLD_MS + 1);
            expired += sweep().await?.expired;
        }
        if expired != 7 {
            return Err(format!("sweep: {expired} holds have lapsed"));
        }
        self.advance(RETENTION_MS + 1);
        let purged = sweep().await?.purged;
        if purged < 8 {
            return Err(format!("sweep: {purged} records are forgotten"));
        }
        for n in 20..30 {
            self.reserve("sneaker", n, 1).await?;
        }
        Ok(())
    }

    /// Lists, explanations, audits.
    async fn look(&self) -> Lived<()> {
        let inventory = &self.inventory;
        let id = item("sneaker");
        at("read", inventory.item(&id, soon()).await)?;
        at(
            "stock",
            inventory.stock(&id, ReadStock::Twice, soon()).await,
        )?;
        let items = inventory.list_items("", &[], 0, "", soon()).await;
        let items = at("list", items)?.entries.len();
        if items != 2 {
            return Err(format!("list: {items} items"));
        }
        let wanted = Reservations {
            item: id.clone(),
            buyer: None,
            states: Vec::new(),
        };
        let listed = inventory.list_reservations(&wanted, 0, "", soon());
        let listed = at("list reservations", listed.await)?.reservations.len();
        if listed < 10 {
            return Err(format!("list reservations: {listed}"));
        }
        let ask = Explain {
            item: id.clone(),
            buyer: BuyerId::parse("buyer-20").unwrap(),
            quantity: units(1),
            request: None,
        };
        let explained = at("explain", inventory.explain_reserve(&ask, soon()).await)?;
        at("explain", explained.outcome)?;
        let audit = inventory.audit(&id, AuditLevel::Records, soon()).await;
        let audit = at("audit", audit)?;
        if audit.verdict != Verdict::Sound || audit.shards.iter().any(|s| s.records.is_none()) {
            return Err(format!("audit: {audit:?}"));
        }
        Ok(())
    }

    /// A stripe that lost something, and one that an operator freezes.
    async fn lose(&self, events: &Events<'_>) -> Lived<()> {
        let catalog = shards::hash::catalog_stripe(&item("sneaker"));
        (events.loss)(catalog);
        let freeze = Op::Stripe(StripeOp::Freeze {
            id: 7,
            reason: "a test".to_owned(),
        });
        for stripe in [catalog, StripeNo((catalog.0 + 1) % 64)] {
            let frozen = self.store.submit(stripe, freeze.clone(), soon());
            at("freeze", frozen.await)?;
            let reports = at("stripes", self.inventory.stripes(None, soon()).await)?;
            let report = reports.into_iter().find(|report| report.stripe == stripe);
            let Some(StripeHealth::Frozen { freeze, .. }) = report.map(|report| report.health)
            else {
                return Err("stripes: it is not frozen".to_owned());
            };
            let release = self.inventory.release_stripe(stripe, freeze.id, soon());
            at("release", release.await)?;
        }
        Ok(())
    }

    async fn take_over(&self, events: &Events<'_>) -> Lived<()> {
        (events.takeover)();
        let deadline = now() + STEP_TIME_MAX;
        loop {
            // A stripe serves a second after it was taken over.
            self.advance(100);
            match self.reserve("sneaker", 50, 1).await {
                Ok(_) => break,
                Err(why) if now() > deadline => return Err(format!("take over: {why}")),
                Err(_) => tick().await,
            }
        }
        // All of them.
        loop {
            self.advance(100);
            let reports = at("stripes", self.inventory.stripes(None, soon()).await)?;
            let away = reports
                .iter()
                .find(|report| !matches!(report.health, StripeHealth::Serving { .. }));
            match away {
                None => break,
                Some(away) if now() > deadline => return Err(format!("take over: {away:?}")),
                Some(_) => tick().await,
            }
        }
        // The last of them were taken over just now.
        self.advance(2_000);
        Ok(())
    }
}
