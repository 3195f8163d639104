//! The catalog: what items exist, and how far each procedure on them has come.
//! An entry decides; shards only follow. Each stripe holds the entries whose
//! item id hashes to it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::settings::{Selling, Settings};
use crate::ids::{Generation, ItemId, RequestId, StripeNo};
use crate::rules::{Rule, holds};
use crate::time::Millis;

/// How far an item's life has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Life {
    /// Its shards are being made; no request is served yet.
    Creating,
    /// It is there.
    Live,
    /// Nothing is granted any more; whether it goes is being found out.
    Deleting,
    /// ⚔ That it goes is decided, and its shards are being taken away.
    Removing,
}

impl Life {
    /// Whether it is on its way out.
    #[must_use]
    pub fn is_ending(self) -> bool {
        matches!(self, Self::Deleting | Self::Removing)
    }
}

/// What a deletion that is under way has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Deletion {
    /// Also while units are held.
    pub force: bool,
    /// What comes back if it does not go.
    pub former: Selling,
}

/// An item as its creator sent it. A repeated create must send the same.
/// `None` means that the creator left the choice to the service.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ItemSpec {
    /// For people.
    pub display_name: String,
    /// Shards; 0 = the service chooses.
    pub shard_count: u32,
    /// How long a hold lasts.
    pub hold_ttl_ms: Option<u64>,
    /// Longest life of a hold.
    pub max_hold_ms: Option<u64>,
    /// Reserve sells at once.
    pub sell_at_once: bool,
    /// 0 = no limit.
    pub max_units_per_buyer: u32,
    /// 0 = the service's maximum.
    pub max_units_per_reservation: u32,
    /// `None` = at once.
    pub sale_start: Option<Millis>,
    /// `None` = never.
    pub sale_end: Option<Millis>,
    /// How long ended reservations stay known.
    pub retention_ms: Option<u64>,
    /// Units at the start.
    pub initial_stock: u64,
}

/// What can change about an item once it is there.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Terms {
    /// What its shards decide by.
    pub settings: Settings,
    /// For people.
    pub display_name: String,
    /// Why the state is what it is.
    pub state_reason: String,
}

/// One item's entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Entry {
    /// The item.
    pub item: ItemId,
    /// Which life of that id.
    pub generation: Generation,
    /// How far it has come.
    pub life: Life,
    /// Grows with every change of the terms; from 1.
    pub version: u64,
    /// The highest version that every shard is known to work by.
    pub spread: u64,
    /// What can change.
    pub terms: Terms,
    /// The stripe of each shard, by shard number. Fixed.
    pub placement: Vec<StripeNo>,
    /// The request that created it.
    pub create_request: RequestId,
    /// What that request asked for.
    pub spec: ItemSpec,
    /// When it was created.
    pub created: Millis,
    /// When its terms last changed.
    pub updated: Millis,
    /// Set while [`Life::is_ending`].
    pub deletion: Option<Deletion>,
}

/// What the creator of an entry decides; the rest is the machine's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEntry {
    /// The item.
    pub item: ItemId,
    /// Drawn at random for this creation.
    pub generation: Generation,
    /// Its first terms.
    pub terms: Terms,
    /// The stripe of each shard.
    pub placement: Vec<StripeNo>,
    /// The request.
    pub create_request: RequestId,
    /// What it asked for.
    pub spec: ItemSpec,
}

/// An operation of one stripe's part of the catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CatalogOp {
    /// Enters an item, in the state [`Life::Creating`]. The same request with
    /// the same contents finds the entry that it made.
    BeginCreate(Box<NewEntry>),
    /// All shards are there.
    FinishCreate {
        /// The item.
        item: ItemId,
        /// Which life.
        generation: Generation,
    },
    /// Compares the version, and sets new terms under the next one; of a live
    /// item only.
    Update {
        /// The item.
        item: ItemId,
        /// Which life.
        generation: Generation,
        /// The version that the new terms were made from.
        expected: u64,
        /// The new terms.
        terms: Box<Terms>,
    },
    /// All shards work by this version.
    FinishUpdate {
        /// The item.
        item: ItemId,
        /// Which life.
        generation: Generation,
        /// The version.
        version: u64,
    },
    /// Stops all grants, under the next version, like a pause. Repeated, it may
    /// add the force that the first one did not have.
    BeginDelete {
        /// The item.
        item: ItemId,
        /// Which life.
        generation: Generation,
        /// Also while units are held.
        force: bool,
        /// The version that it must have; `None` = any.
        expected: Option<u64>,
    },
    /// ⚔ Decides, once every shard works by `version`, whether it goes or is as
    /// before. One of two servers that have seen different things is too late.
    DecideDelete {
        /// The item.
        item: ItemId,
        /// Which life.
        generation: Generation,
        /// The version that this was found out under.
        version: u64,
        /// It goes; else the former state is back, under the next version.
        remove: bool,
    },
    /// All its shards are gone.
    FinishDelete {
        /// The item.
        item: ItemId,
        /// Which life.
        generation: Generation,
    },
    /// Reads an entry.
    Get {
        /// The item.
        item: ItemId,
    },
    /// Reads entries in the order of their ids.
    List {
        /// After this id; `None` = from the first.
        after: Option<ItemId>,
        /// Most entries.
        limit: u32,
    },
}

/// What the catalog answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CatalogReply {
    /// The entry as it is now.
    Entry(Box<Entry>),
    /// Another item has this id; nothing changed.
    Exists(Box<Entry>),
    /// No such item, or not that life of it.
    NotFound,
    /// The version was not the expected one, or the item's life stands in the
    /// way; nothing changed.
    VersionMismatch(Box<Entry>),
    /// A page of entries.
    Page {
        /// The entries.
        entries: Vec<Entry>,
        /// Whether more follow.
        more: bool,
    },
    /// The store is nearly full; nothing changed.
    Full,
}

/// Applies one operation; the item whose entry changed, if one did.
pub(super) fn apply(
    entries: &mut BTreeMap<ItemId, Entry>,
    op: &CatalogOp,
    now: Millis,
    full: bool,
) -> (CatalogReply, Option<ItemId>) {
    let reply = |entry: &Entry| CatalogReply::Entry(Box::new(entry.clone()));
    match op {
        CatalogOp::BeginCreate(new) => match entries.get(&new.item) {
            Some(there) if there.create_request == new.create_request && there.spec == new.spec => {
                (reply(there), None)
            }
            Some(there) => (CatalogReply::Exists(Box::new(there.clone())), None),
            None if full => (CatalogReply::Full, None),
            None => {
                let entry = Entry::new(new, now);
                let answer = reply(&entry);
                entries.insert(new.item.clone(), entry);
                (answer, Some(new.item.clone()))
            }
        },
        CatalogOp::FinishCreate { item, generation } => {
            change(entries, item, *generation, |entry| {
                if entry.life != Life::Creating {
                    return Ok(false);
                }
                entry.life = Life::Live;
                Ok(true)
            })
        }
        CatalogOp::Update {
            item,
            generation,
            expected,
            terms,
        } => change(entries, item, *generation, |entry| {
            if entry.version != *expected || entry.life != Life::Live {
                return Err(entry.mismatch());
            }
            entry.terms = (**terms).clone();
            entry.next_version(now);
            Ok(true)
        }),
        CatalogOp::FinishUpdate {
            item,
            generation,
            version,
        } => change(entries, item, *generation, |entry| {
            let news = *version > entry.spread && *version <= entry.version;
            if news {
                entry.spread = *version;
            }
            Ok(news)
        }),
        CatalogOp::BeginDelete {
            item,
            generation,
            force,
            expected,
        } => change(entries, item, *generation, |entry| {
            entry.begin_delete(*force, *expected, now)
        }),
        CatalogOp::DecideDelete {
            item,
            generation,
            version,
            remove,
        } => change(entries, item, *generation, |entry| {
            entry.decide_delete(*version, *remove, now)
        }),
        CatalogOp::FinishDelete { item, generation } => {
            let gone = entries.get(item).is_some_and(|entry| {
                entry.generation == *generation && entry.life == Life::Removing
            });
            if gone {
                entries.remove(item);
                return (CatalogReply::NotFound, Some(item.clone()));
            }
            change(entries, item, *generation, |_| Ok(false))
        }
        CatalogOp::Get { item } => match entries.get(item) {
            Some(entry) => (reply(entry), None),
            None => (CatalogReply::NotFound, None),
        },
        CatalogOp::List { after, limit } => (list(entries, after.as_ref(), *limit), None),
    }
}

fn change(
    entries: &mut BTreeMap<ItemId, Entry>,
    item: &ItemId,
    generation: Generation,
    edit: impl FnOnce(&mut Entry) -> Result<bool, CatalogReply>,
) -> (CatalogReply, Option<ItemId>) {
    let Some(entry) = entries.get_mut(item).filter(|e| e.generation == generation) else {
        return (CatalogReply::NotFound, None);
    };
    match edit(entry) {
        Ok(changed) => (
            CatalogReply::Entry(Box::new(entry.clone())),
            changed.then(|| item.clone()),
        ),
        Err(refusal) => (refusal, None),
    }
}

pub(super) fn list(
    entries: &BTreeMap<ItemId, Entry>,
    after: Option<&ItemId>,
    limit: u32,
) -> CatalogReply {
    use std::ops::Bound::{Excluded, Unbounded};
    let mut rest = entries.range((after.map_or(Unbounded, Excluded), Unbounded));
    let page = rest
        .by_ref()
        .take(limit as usize)
        .map(|(_, entry)| entry.clone())
        .collect();
    CatalogReply::Page {
        entries: page,
        more: rest.next().is_some(),
    }
}

impl Entry {
    fn new(new: &NewEntry, now: Millis) -> Self {
        Self {
            item: new.item.clone(),
            generation: new.generation,
            life: Life::Creating,
            version: 1,
            // The shards are created with version 1.
            spread: 1,
            terms: new.terms.clone(),
            placement: new.placement.clone(),
            create_request: new.create_request,
            spec: new.spec.clone(),
            created: now,
            updated: now,
            deletion: None,
        }
    }

    fn next_version(&mut self, now: Millis) {
        self.version += 1;
        self.updated = now;
    }

    fn mismatch(&self) -> CatalogReply {
        CatalogReply::VersionMismatch(Box::new(self.clone()))
    }

    fn begin_delete(
        &mut self,
        force: bool,
        expected: Option<u64>,
        now: Millis,
    ) -> Result<bool, CatalogReply> {
        if let Some(deletion) = &mut self.deletion {
            let news = force && !deletion.force;
            deletion.force |= force;
            return Ok(news);
        }
        if self.life != Life::Live || expected.is_some_and(|version| version != self.version) {
            return Err(self.mismatch());
        }
        self.deletion = Some(Deletion {
            force,
            former: self.terms.settings.selling,
        });
        self.life = Life::Deleting;
        self.terms.settings.selling = Selling::Deleting;
        self.next_version(now);
        Ok(true)
    }

    fn decide_delete(
        &mut self,
        version: u64,
        remove: bool,
        now: Millis,
    ) -> Result<bool, CatalogReply> {
        let undecided = self.life == Life::Deleting && self.version == version;
        let Some(deletion) = self
            .deletion
            .filter(|_| undecided || !holds(Rule::RemovalIsDecidedOnce))
        else {
            return Err(self.mismatch());
        };
        if remove {
            // Before all shards obey, one of them may still grant.
            if self.spread < version {
                return Err(self.mismatch());
            }
            self.life = Life::Removing;
            return Ok(true);
        }
        // Somebody has asked for force since.
        if deletion.force {
            return Err(self.mismatch());
        }
        self.deletion = None;
        self.life = Life::Live;
        self.terms.settings.selling = deletion.former;
        self.next_version(now);
        Ok(true)
    }
}
