//! A stripe: the unit of placement, of batching and of fencing. It holds a
//! guard, a part of the catalog, and shards of many items.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::catalog::{self, CatalogOp, CatalogReply, Entry};
use super::ops::{ShardOp, ShardReply};
use super::shard::{Batch, Shard, ShardChanges, Turn};
use crate::hash::FingerprintKey;
use crate::ids::{ItemId, ShardKey};
use crate::time::Millis;

/// Queue entries that one batch works off at most: what bounds the time that a
/// batch keeps others waiting.
pub const BATCH_STEPS_MAX: u32 = 256;

/// What a store says about itself, the same in every guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreIdentity {
    /// Random, drawn when the store was made.
    pub store_id: [u8; 16],
    /// How many stripes it has.
    pub stripes: u8,
    /// The secret of the buyers' fingerprints.
    pub fingerprint_key: FingerprintKey,
}

/// Why and since when a stripe does not serve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freeze {
    /// Names this freeze, for whoever releases it.
    pub id: u64,
    /// Since when.
    pub since: Millis,
    /// Why, in a sentence.
    pub reason: String,
}

/// What decides whether a stripe serves at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guard {
    /// Which store this stripe belongs to.
    pub identity: StoreIdentity,
    /// Batches that changed the stripe.
    pub seq: u64,
    /// The latest instant that the stripe has seen: its time never runs back.
    pub time: Millis,
    /// Set while acknowledged work may be missing.
    pub frozen: Option<Freeze>,
}

/// An operation of a stripe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Of one of its shards.
    Shard(ShardKey, ShardOp),
    /// Of its part of the catalog.
    Catalog(CatalogOp),
}

/// The answer to an [`Op`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Of a shard.
    Shard(ShardReply),
    /// Of the catalog.
    Catalog(CatalogReply),
    /// ⚔ The stripe is frozen: nothing was done.
    Frozen(Freeze),
}

/// A stripe's whole state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stripe {
    /// Identity, sequence, time, freeze.
    pub guard: Guard,
    /// Its part of the catalog.
    pub catalog: BTreeMap<ItemId, Entry>,
    /// Its shards.
    pub shards: BTreeMap<ShardKey, Shard>,
}

/// What a batch changed: a store writes the present values of these, and
/// nothing else. Values are read once, after the whole batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Sequence, time or freeze. Set with every other change.
    pub guard: bool,
    /// Catalog entries.
    pub catalog: BTreeSet<ItemId>,
    /// Shards, and what of them.
    pub shards: BTreeMap<ShardKey, ShardChanges>,
    /// Shards that were deleted with all they held; one that is among `shards`
    /// too was made anew afterwards.
    pub deleted: BTreeSet<ShardKey>,
}

/// The instant and the limits of a batch, before a stripe has seen it.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// What the store's clock says; a stripe whose time is later keeps its own.
    pub now: Millis,
    /// The store is nearly full.
    pub full: bool,
}

impl Stripe {
    /// An empty stripe of this store.
    #[must_use]
    pub fn new(identity: StoreIdentity, now: Millis) -> Self {
        Self {
            guard: Guard {
                identity,
                seq: 0,
                time: now,
                frozen: None,
            },
            catalog: BTreeMap::new(),
            shards: BTreeMap::new(),
        }
    }

    /// Applies a batch: its operations one after the other, at one instant.
    /// ⚔ The answers are those of applying them one by one, except that the
    /// step budget is the batch's, so an AGAIN may differ.
    pub fn run<'o>(
        &mut self,
        stamp: Stamp,
        ops: impl IntoIterator<Item = &'o Op>,
        changes: &mut Changes,
    ) -> Vec<Reply> {
        self.guard.time = self.guard.time.max(stamp.now);
        let mut batch = Batch {
            now: self.guard.time,
            steps_left: BATCH_STEPS_MAX,
            full: stamp.full,
        };
        let mut changed = false;
        let replies = ops
            .into_iter()
            .map(|op| {
                if let Some(freeze) = &self.guard.frozen {
                    return Reply::Frozen(freeze.clone());
                }
                let (reply, touched) = self.apply(op, &mut batch, changes);
                changed |= touched;
                reply
            })
            .collect();
        if changed {
            self.guard.seq += 1;
            changes.guard = true;
        }
        replies
    }

    fn apply(&mut self, op: &Op, batch: &mut Batch, changes: &mut Changes) -> (Reply, bool) {
        match op {
            Op::Catalog(op) => {
                let (reply, touched) = catalog::apply(&mut self.catalog, op, batch.now, batch.full);
                let changed = touched.is_some();
                changes.catalog.extend(touched);
                (Reply::Catalog(reply), changed)
            }
            Op::Shard(key, op) => {
                let (reply, changed) = self.apply_to_shard(key, op, batch, changes);
                (Reply::Shard(reply), changed)
            }
        }
    }

    /// ⚔ Only `Create` makes a shard; whatever else finds none writes nothing
    /// and says so: a lost shard is never taken for an empty one.
    fn apply_to_shard(
        &mut self,
        key: &ShardKey,
        op: &ShardOp,
        batch: &mut Batch,
        changes: &mut Changes,
    ) -> (ShardReply, bool) {
        match (op, self.shards.get_mut(key)) {
            (ShardOp::Create { .. }, Some(_)) => (ShardReply::Created, false),
            (
                ShardOp::Create {
                    settings,
                    version,
                    supply,
                },
                None,
            ) => {
                self.shards
                    .insert(key.clone(), Shard::new(*settings, *version, *supply));
                changes.shards.entry(key.clone()).or_default().header = true;
                (ShardReply::Created, true)
            }
            (ShardOp::Delete, None) => (ShardReply::Deleted, false),
            (ShardOp::Delete, Some(_)) => {
                self.shards.remove(key);
                changes.shards.remove(key);
                changes.deleted.insert(key.clone());
                (ShardReply::Deleted, true)
            }
            (_, None) => (ShardReply::Missing, false),
            (op, Some(shard)) => {
                let changes = match changes.shards.get_mut(key) {
                    Some(changes) => changes,
                    None => changes.shards.entry(key.clone()).or_default(),
                };
                let mut turn = Turn {
                    shard,
                    changes,
                    batch,
                    touched: false,
                };
                let reply = turn.apply(op);
                (reply, turn.touched)
            }
        }
    }
}

impl Turn<'_> {
    fn apply(&mut self, op: &ShardOp) -> ShardReply {
        match *op {
            ShardOp::Reserve {
                key,
                quantity,
                version,
            } => self.reserve(key, quantity, version),
            ShardOp::Confirm { key, late } => self.confirm(key, late),
            ShardOp::Cancel {
                key,
                forbid_unknown,
            } => self.cancel(key, forbid_unknown),
            ShardOp::Return {
                key,
                request,
                quantity,
                discard,
            } => self.give_back(key, request, quantity, discard),
            ShardOp::Extend { key, hold_for_ms } => self.extend(key, hold_for_ms),
            ShardOp::Lookup { key } => self.lookup(key),
            ShardOp::Expire { limit } => self.expire(limit),
            ShardOp::Purge { limit } => self.purge(limit),
            ShardOp::Change { request, change } => self.change(request, change),
            ShardOp::Look => self.look(),
            ShardOp::Configure { settings, version } => self.configure(settings, version),
            ShardOp::Inspect { after, limit } => {
                let (sums, next) = self.shard.recount(after, limit);
                ShardReply::Inspected {
                    reading: self.shard.read(self.now()),
                    sums,
                    next,
                }
            }
            // Both are the stripe's: they make and remove what a turn is on.
            ShardOp::Create { .. } => ShardReply::Created,
            ShardOp::Delete => ShardReply::Deleted,
        }
    }

    fn configure(&mut self, settings: super::settings::Settings, version: u64) -> ShardReply {
        if version > self.shard.header.version {
            self.touch();
            self.shard.header.settings = settings;
            self.shard.header.version = version;
        }
        ShardReply::Configured {
            version: self.shard.header.version,
        }
    }
}
