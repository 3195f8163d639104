//! The inventory: what callers ask for, carried out over a [`Store`]. Knows
//! items, shards and procedures; knows neither the wire nor how a store works.
//!
//! - `reservations`: reserve, confirm, cancel, extend, return, get.
//! - `items`, `update`, `deletion`: create, list, pause, resume, close, change,
//!   delete; every procedure can be started again from the catalog entry, by any
//!   server.
//! - `rounds`, `lookout`: a request's way to its decision over many shards.
//! - `stock`, `audit`: reading and changing stock, and proving it.
//! - `list`, `explain`, `stripes`: for support, and for whoever looks after the
//!   store.
//! - `sweep`: what ends by itself.

mod audit;
mod deletion;
mod error;
mod explain;
mod items;
mod list;
mod lookout;
mod pages;
mod reservations;
mod rounds;
pub mod spec;
mod stock;
mod stripes;
mod sweep;
mod types;
mod update;
mod view;

use std::sync::Arc;
use std::time::Duration;

pub use error::Error;
pub use explain::Explain;
pub use rounds::Figures;
pub use spec::{Edit, Edits, FieldError};
pub use sweep::Swept;
pub use types::{
    Audit, AuditLevel, Explanation, Foreseen, ItemPage, NotedReserve, ReadStock, Receipt, Recount,
    ReservationPage, Reservations, Reserve, Reserved, Return, SalePhase, ShardAudit, SteadyStock,
    Stock, StockChanged, StripeHealth, StripeReleased, StripeReport, Target, Verdict, seconds,
};

use crate::hash;
use crate::ids::{BuyerId, Generation, Invalid, ItemId, ShardKey, ShardNo, StripeNo};
use crate::machine::{
    CatalogOp, CatalogReply, Entry, Life, Op, Reply, ShardOp, ShardReply, StoreIdentity, StripeOp,
};
use crate::reservation_id::ReservationId;
use crate::rules::{Rule, holds};
use crate::store::{Deadline, Listener, Store, StoreError, StoreStatus};
use crate::time::Millis;
use lookout::Lookout;
use rounds::Counts;
use view::{Views, read_clock};

/// How long a procedure goes on when its caller set no deadline.
const PROCEDURE_TIME_MAX: Duration = Duration::from_secs(10);

/// The inventory over one store. Cheap to share; every method may be called
/// from any runtime.
pub struct Inventory {
    store: Arc<dyn Store>,
    identity: StoreIdentity,
    views: Views,
    lookout: Lookout,
    figures: Counts,
}

impl Inventory {
    /// The inventory that lies in this store.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        let identity = store.identity();
        Self {
            store,
            identity,
            views: Views::default(),
            lookout: Lookout::default(),
            figures: Counts::default(),
        }
    }

    /// Reads a reservation id.
    ///
    /// # Errors
    /// [`Invalid`] for what this store did not return.
    pub fn parse_reservation_id(&self, text: &str) -> Result<ReservationId, Invalid> {
        ReservationId::decode(text, &self.identity.fingerprint_key)
    }

    /// How the store does.
    #[must_use]
    pub fn store_status(&self) -> StoreStatus {
        self.store.status()
    }

    /// See [`Store::listen`].
    pub fn listen(&self, listener: Arc<dyn Listener>) {
        self.store.listen(listener);
    }

    /// See [`Store::now`].
    #[must_use]
    pub fn store_time(&self) -> Option<Millis> {
        self.store.now()
    }

    /// See [`Store::is_shared`].
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.store.is_shared()
    }

    fn fingerprint(&self, item: &ItemId, buyer: &BuyerId) -> crate::ids::Fingerprint {
        hash::fingerprint(&self.identity.fingerprint_key, item, buyer)
    }

    async fn ask_catalog(
        &self,
        stripe: StripeNo,
        op: CatalogOp,
        deadline: Deadline,
    ) -> Result<CatalogReply, Error> {
        match self.store.submit(stripe, Op::Catalog(op), deadline).await? {
            Reply::Catalog(CatalogReply::Full) => Err(Error::StoreFull),
            Reply::Catalog(reply) => Ok(reply),
            other => Err(unexpected(&other)),
        }
    }

    /// Asks the part of the catalog that has this item's entry.
    async fn ask_entry(
        &self,
        item: &ItemId,
        op: CatalogOp,
        deadline: Deadline,
    ) -> Result<CatalogReply, Error> {
        self.ask_catalog(hash::catalog_stripe(item), op, deadline)
            .await
    }

    /// Asks one shard of an item, once.
    async fn ask_once(
        &self,
        entry: &Entry,
        shard: ShardNo,
        op: ShardOp,
        deadline: Deadline,
    ) -> Result<ShardReply, Error> {
        let Some(stripe) = entry.placement.get(usize::from(shard.0)).copied() else {
            return Ok(ShardReply::Missing);
        };
        let key = ShardKey {
            item: entry.item.clone(),
            generation: if holds(Rule::GenerationInKeys) {
                entry.generation
            } else {
                Generation([0; 8])
            },
            shard,
        };
        match self
            .store
            .submit(stripe, Op::Shard(key, op), deadline)
            .await?
        {
            Reply::Shard(reply) => Ok(reply),
            other => Err(unexpected(&other)),
        }
    }

    /// Asks one shard of an item until it has an answer: goes on while more
    /// has lapsed than one batch gives back, and hands it newer settings.
    ///
    /// A shard that is missing is asked for again only after its entry was
    /// read *afterwards*: a stale view or an unfinished create look the same as
    /// a loss. `Ok(Err(Gone))` says that the item has another life by now.
    async fn ask_shard(
        &self,
        entry: &Entry,
        shard: ShardNo,
        op: ShardOp,
        deadline: Deadline,
    ) -> Result<Result<ShardReply, Gone>, Error> {
        let end = deadline.unwrap_or_else(|| read_clock() + PROCEDURE_TIME_MAX);
        let mut asked_again = false;
        loop {
            match self.ask_once(entry, shard, op.clone(), deadline).await? {
                ShardReply::Again => {}
                ShardReply::OldSettings { .. } => {
                    let settings = entry.terms.settings;
                    let configure = ShardOp::Configure {
                        settings,
                        version: entry.version,
                    };
                    self.ask_once(entry, shard, configure, deadline).await?;
                }
                ShardReply::Missing if asked_again || !holds(Rule::MissingReadsTheEntry) => {
                    return Err(self.lose(entry, shard, deadline).await);
                }
                ShardReply::Missing => {
                    let now = self.read_entry(&entry.item, deadline).await?;
                    if now.generation != entry.generation {
                        return Ok(Err(Gone));
                    }
                    if now.life.is_ending() {
                        return Err(Error::ItemDeleting(entry.item.clone()));
                    }
                    asked_again = true;
                }
                ShardReply::Full => return Err(Error::StoreFull),
                reply => return Ok(Ok(reply)),
            }
            if read_clock() >= end {
                return Err(StoreError::Unavailable(
                    "the shard had more to give back than the deadline allowed".into(),
                )
                .into());
            }
        }
    }

    /// ⚔ A shard that must be there is not, and with it acknowledged work: its
    /// stripe is frozen, so that an operator decides.
    async fn lose(&self, entry: &Entry, shard: ShardNo, deadline: Deadline) -> Error {
        let lost = Error::shard_lost(entry, shard);
        if let Error::ShardLost { item, stripe } = &lost {
            let reason = format!("shard {shard} of item {item} is missing");
            tracing::error!(%stripe, reason, "acknowledged work is missing: freezing the stripe");
            let id = rand::random();
            let freeze = Op::Stripe(StripeOp::Freeze { id, reason });
            // Where this fails, whoever asks next tries it again.
            let _ = self.store.submit(*stripe, freeze, deadline).await;
        }
        lost
    }

    /// Whether the item's entry is remembered: it is there, or was a second ago.
    #[must_use]
    pub fn remembers(&self, item: &ItemId) -> bool {
        self.views.get(item).is_some()
    }

    /// The entry, as remembered or read.
    async fn entry(&self, item: &ItemId, deadline: Deadline) -> Result<Arc<Entry>, Error> {
        match self.views.get(item) {
            Some(entry) => Ok(entry),
            None => self.read_entry(item, deadline).await,
        }
    }

    /// The entry as it is now. An unfinished create is carried to its end.
    async fn read_entry(&self, item: &ItemId, deadline: Deadline) -> Result<Arc<Entry>, Error> {
        let asked = read_clock();
        let get = CatalogOp::Get { item: item.clone() };
        match self.ask_entry(item, get, deadline).await? {
            CatalogReply::Entry(entry) if entry.life == Life::Creating => {
                let entry = self.finish_create(*entry, deadline).await?;
                Ok(self.views.put(entry, asked))
            }
            CatalogReply::Entry(entry) => Ok(self.views.put(*entry, asked)),
            CatalogReply::NotFound => {
                self.views.forget(item);
                Err(Error::ItemNotFound(item.clone()))
            }
            other => Err(unexpected(&other)),
        }
    }
}

impl std::fmt::Debug for Inventory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inventory")
            .field("status", &self.store.status())
            .finish_non_exhaustive()
    }
}

/// The item was deleted and made again since its entry was read.
#[derive(Debug)]
struct Gone;

fn shards_of(entry: &Entry) -> u8 {
    // Bounded by SHARDS_MAX where an entry is made.
    u8::try_from(entry.placement.len()).unwrap_or(u8::MAX)
}

fn unexpected(reply: &impl std::fmt::Debug) -> Error {
    Error::Unexpected(format!("{reply:?}"))
}
