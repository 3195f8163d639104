//! The item's life. The catalog entry decides; shards follow. Every procedure
//! can be stopped after any step and started again from the entry.

use std::sync::Arc;
use std::time::Instant;

use futures_util::future::join_all;

use super::pages::Place;
use super::spec::{self, FieldError};
use super::types::ItemPage;
use super::view::read_clock;
use super::{Error, Inventory, unexpected};
use crate::hash;
use crate::ids::{Generation, ItemId, RequestId, STRIPES, ShardNo, StripeNo};
use crate::machine::{
    CatalogOp, CatalogReply, Entry, ItemSpec, Life, NewEntry, Selling, ShardOp, ShardReply,
    StockChange, Terms,
};
use crate::placement;
use crate::rules::{Rule, holds};
use crate::store::Deadline;

/// Items of a page where the caller did not say, and the most of one page.
const PAGE_SIZE_DEFAULT: u32 = 100;
const PAGE_SIZE_MAX: u32 = 1_000;

impl Inventory {
    /// Creates an item with its opening stock. The same request with the same
    /// contents finds the item that it made, as it is now.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::ItemExists`], [`Error::ItemDeleting`],
    /// [`Error::StoreFull`], and what the store says.
    pub async fn create_item(
        &self,
        item: ItemId,
        spec: ItemSpec,
        create_request: RequestId,
        deadline: Deadline,
    ) -> Result<Arc<Entry>, Error> {
        let asked = read_clock();
        let terms = spec::terms(&spec).map_err(Error::Invalid)?;
        let masters = self.store.masters();
        let shards = match u8::try_from(spec.shard_count) {
            Ok(0) | Err(_) => masters.count(),
            Ok(shards) => shards,
        };
        let new = NewEntry {
            generation: Generation(rand::random()),
            placement: placement::place(&item, shards, &masters),
            item: item.clone(),
            terms,
            create_request,
            spec,
        };
        match self
            .ask_entry(&item, CatalogOp::BeginCreate(Box::new(new)), deadline)
            .await?
        {
            CatalogReply::Entry(entry) if entry.life == Life::Creating => {
                let entry = self
                    .finish_create(*entry, deadline)
                    .await
                    .map_err(Error::half_done)?;
                self.deal(&entry, deadline).await;
                Ok(self.views.put(entry, asked))
            }
            CatalogReply::Entry(entry) if entry.life == Life::Live => {
                Ok(self.views.put(*entry, asked))
            }
            CatalogReply::Entry(_) => Err(Error::ItemDeleting(item)),
            CatalogReply::Exists(entry) if entry.life.is_ending() => Err(Error::ItemDeleting(item)),
            CatalogReply::Exists(_) => Err(Error::ItemExists(item)),
            other => Err(unexpected(&other)),
        }
    }

    /// Carries a create on: the shards, ⚔ the ledger's with the opening supply,
    /// then the entry is LIVE.
    pub(super) async fn finish_create(
        &self,
        entry: Entry,
        deadline: Deadline,
    ) -> Result<Entry, Error> {
        let create = |shard| {
            let opening = entry.spec.initial_stock;
            let supply = if holds(Rule::CreateCarriesSupply) {
                opening
            } else {
                0
            };
            let create = ShardOp::Create {
                settings: entry.terms.settings,
                version: entry.version,
                supply: (shard == ShardNo::LEDGER).then_some(supply),
            };
            self.ask_once(&entry, shard, create, deadline)
        };
        for answer in join_all(shard_numbers(&entry).map(create)).await {
            match answer? {
                ShardReply::Created => {}
                other => return Err(unexpected(&other)),
            }
        }
        let finish = CatalogOp::FinishCreate {
            item: entry.item.clone(),
            generation: entry.generation,
        };
        match self.ask_entry(&entry.item, finish, deadline).await? {
            CatalogReply::Entry(entry) => {
                if !holds(Rule::CreateCarriesSupply) {
                    self.add_opening_supply(&entry, deadline).await?;
                }
                Ok(*entry)
            }
            CatalogReply::NotFound => Err(Error::ItemNotFound(entry.item)),
            other => Err(unexpected(&other)),
        }
    }

    /// What a create without supply would have to do afterwards; only a mutant
    /// does.
    async fn add_opening_supply(&self, entry: &Entry, deadline: Deadline) -> Result<(), Error> {
        let change = StockChange::Adjust {
            delta: entry.spec.initial_stock.cast_signed(),
            allow_partial: false,
        };
        let add = ShardOp::Change {
            request: entry.create_request,
            change,
            gathered: true,
            version: entry.version,
        };
        self.ask_once(entry, ShardNo::LEDGER, add, deadline)
            .await
            .map(drop)
    }

    /// An item's entry as it is now.
    ///
    /// # Errors
    /// [`Error::ItemNotFound`], and what the store says.
    pub async fn item(&self, item: &ItemId, deadline: Deadline) -> Result<Arc<Entry>, Error> {
        self.read_entry(item, deadline).await
    }

    /// A page of items, in a stable order that is not that of their ids.
    /// `page_size` 0 means the default; more than the most is clamped.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a page token of another listing; what the store
    /// says.
    pub async fn list_items(
        &self,
        prefix: &str,
        wanted: &[Selling],
        page_size: u32,
        page_token: &str,
        deadline: Deadline,
    ) -> Result<ItemPage, Error> {
        let key = &self.identity.fingerprint_key;
        let filter = format!("items {prefix} {wanted:?}");
        let mut place = Place::decode(page_token, key, &filter)
            .map_err(|e: FieldError| Error::Invalid(vec![e]))?;
        let size = match page_size {
            0 => PAGE_SIZE_DEFAULT,
            size => size.min(PAGE_SIZE_MAX),
        } as usize;
        let shown = |entry: &Entry| {
            entry.life != Life::Creating
                && entry.item.as_str().starts_with(prefix)
                && (wanted.is_empty() || wanted.contains(&entry.terms.settings.selling))
        };
        let mut entries = Vec::new();
        while place.stripe.0 < STRIPES {
            let limit = u32::try_from(size + 1).unwrap_or(PAGE_SIZE_MAX);
            let list = CatalogOp::List {
                after: place.after.take(),
                limit,
            };
            let CatalogReply::Page {
                entries: page,
                more,
            } = self.ask_catalog(place.stripe, list, deadline).await?
            else {
                return Err(Error::Unexpected("no page".to_owned()));
            };
            let last = page.last().map(|entry| entry.item.clone());
            for entry in page.into_iter().filter(shown) {
                if entries.len() == size {
                    let after = entries.last().map(|entry: &Entry| entry.item.clone());
                    // The last one shown may lie on an earlier stripe.
                    let stripe = after.as_ref().map_or(place.stripe, hash::catalog_stripe);
                    let next_page_token = Place { stripe, after }.encode(key, &filter);
                    return Ok(ItemPage {
                        entries,
                        next_page_token,
                    });
                }
                entries.push(entry);
            }
            if more {
                place.after = last;
            } else {
                place.stripe = StripeNo(place.stripe.0 + 1);
            }
        }
        Ok(ItemPage {
            entries,
            next_page_token: String::new(),
        })
    }

    /// Stops Reserve; Confirm, Cancel and Extend go on.
    ///
    /// # Errors
    /// [`Error::ItemNotFound`], [`Error::ItemClosed`], [`Error::ItemDeleting`],
    /// [`Error::NotSpread`], and what the store says.
    pub async fn pause_item(
        &self,
        item: &ItemId,
        reason: &str,
        deadline: Deadline,
    ) -> Result<Arc<Entry>, Error> {
        self.set_selling(item, Selling::Paused, reason, deadline)
            .await
    }

    /// Ends a pause.
    ///
    /// # Errors
    /// As [`Inventory::pause_item`].
    pub async fn resume_item(
        &self,
        item: &ItemId,
        reason: &str,
        deadline: Deadline,
    ) -> Result<Arc<Entry>, Error> {
        self.set_selling(item, Selling::Open, reason, deadline)
            .await
    }

    /// Ends the sale for good.
    ///
    /// # Errors
    /// As [`Inventory::pause_item`], without [`Error::ItemClosed`].
    pub async fn close_item(
        &self,
        item: &ItemId,
        reason: &str,
        deadline: Deadline,
    ) -> Result<Arc<Entry>, Error> {
        self.set_selling(item, Selling::Closed, reason, deadline)
            .await
    }

    async fn set_selling(
        &self,
        item: &ItemId,
        selling: Selling,
        reason: &str,
        deadline: Deadline,
    ) -> Result<Arc<Entry>, Error> {
        self.change_terms(item, deadline, |entry| {
            let now = entry.terms.settings.selling;
            if entry.life.is_ending() {
                return Err(Error::ItemDeleting(entry.item.clone()));
            }
            if now == selling {
                return Ok(None);
            }
            if now == Selling::Closed {
                return Err(Error::ItemClosed(entry.item.clone()));
            }
            let mut terms = entry.terms.clone();
            terms.settings.selling = selling;
            reason.clone_into(&mut terms.state_reason);
            Ok(Some(terms))
        })
        .await
    }

    /// Records new terms under the next version, then has every shard work by
    /// it. `edit` may run again when somebody else was faster; `None` says that
    /// the entry is as wished, and only what is unfinished is finished.
    pub(super) async fn change_terms(
        &self,
        item: &ItemId,
        deadline: Deadline,
        edit: impl Fn(&Entry) -> Result<Option<Terms>, Error>,
    ) -> Result<Arc<Entry>, Error> {
        loop {
            let asked = read_clock();
            let entry = self.read_entry(item, deadline).await?;
            let Some(terms) = edit(&entry)? else {
                return self.spread(&entry, asked, deadline).await;
            };
            let update = CatalogOp::Update {
                item: item.clone(),
                generation: entry.generation,
                expected: entry.version,
                terms: Box::new(terms),
            };
            match self.ask_entry(item, update, deadline).await? {
                CatalogReply::Entry(entry) => {
                    let entry = self.views.put(*entry, asked);
                    return self.spread(&entry, asked, deadline).await;
                }
                // Somebody else changed or re-created it: look again.
                CatalogReply::VersionMismatch(_) | CatalogReply::NotFound => {}
                other => return Err(unexpected(&other)),
            }
        }
    }

    /// Has every shard work by the entry's version, then notes that it does.
    pub(super) async fn spread(
        &self,
        entry: &Arc<Entry>,
        asked: Instant,
        deadline: Deadline,
    ) -> Result<Arc<Entry>, Error> {
        if entry.spread == entry.version {
            return Ok(Arc::clone(entry));
        }
        let version = entry.version;
        let configure = |shard| {
            let settings = entry.terms.settings;
            self.ask_once(
                entry,
                shard,
                ShardOp::Configure { settings, version },
                deadline,
            )
        };
        let answers = join_all(shard_numbers(entry).map(configure)).await;
        let mut shards_done = 0;
        let mut away = None;
        for (shard, answer) in shard_numbers(entry).zip(answers) {
            match answer {
                Ok(ShardReply::Configured { .. }) => shards_done += 1,
                // Gone with its item, or lost: the entry tells which. Where it is
                // to be deleted and that is not decided, it grants nothing.
                Ok(ShardReply::Missing) => match self.now(entry, deadline).await? {
                    now if now.life == Life::Deleting && now.version == version => shards_done += 1,
                    now if now.life.is_ending() => {
                        return Err(Error::ItemDeleting(entry.item.clone()));
                    }
                    _ => return Err(self.lose(entry, shard, deadline).await),
                },
                Ok(other) => return Err(unexpected(&other)),
                Err(Error::Store(cause)) => away = away.or(Some(cause)),
                Err(error) => return Err(error),
            }
        }
        if let Some(cause) = away {
            return Err(Error::NotSpread {
                version,
                shards_done,
                shards_total: u32::from(super::shards_of(entry)),
                cause,
            });
        }
        let finish = CatalogOp::FinishUpdate {
            item: entry.item.clone(),
            generation: entry.generation,
            version,
        };
        match self
            .ask_entry(&entry.item, finish, deadline)
            .await
            .map_err(Error::half_done)?
        {
            CatalogReply::Entry(entry) => Ok(self.views.put(*entry, asked)),
            CatalogReply::NotFound => Err(Error::ItemNotFound(entry.item.clone())),
            other => Err(unexpected(&other)),
        }
    }
}

impl Inventory {
    /// The entry as it is now, if it is of the same life.
    pub(super) async fn now(&self, entry: &Entry, deadline: Deadline) -> Result<Arc<Entry>, Error> {
        let now = self.read_entry(&entry.item, deadline).await?;
        if now.generation == entry.generation {
            Ok(now)
        } else {
            Err(Error::ItemNotFound(entry.item.clone()))
        }
    }
}

/// The shards of an item, the ledger first.
pub(super) fn shard_numbers(entry: &Entry) -> impl Iterator<Item = ShardNo> + use<> {
    (0..super::shards_of(entry)).map(ShardNo)
}
