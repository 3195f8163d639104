//! A stripe: the unit of placement, of batching and of fencing. It holds a
//! guard, a part of the catalog, and shards of many items.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::catalog::{self, CatalogOp, CatalogReply, Entry};
use super::guard::{StripeOp, StripeReply};
use super::list::{Cursor, Listing};
use super::ops::{ShardOp, ShardReply};
use super::shard::{Batch, Shard, ShardChanges, Turn};
use super::transfer::{Loan, TailLost};
use crate::hash::FingerprintKey;
use crate::ids::{ItemId, ShardKey};
use crate::rules::{Rule, holds};
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
    /// Of the stripe as a whole.
    Stripe(StripeOp),
}

/// The answer to an [`Op`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Of a shard.
    Shard(ShardReply),
    /// Of the catalog.
    Catalog(CatalogReply),
    /// Of the stripe as a whole.
    Stripe(StripeReply),
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
    /// Drawn at random: names a freeze that this batch has to begin.
    pub freeze_id: u64,
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
        let ops: Vec<&Op> = ops.into_iter().collect();
        self.guard.time = self.guard.time.max(stamp.now);
        let mut batch = Batch {
            now: self.guard.time,
            steps_left: BATCH_STEPS_MAX,
            full: stamp.full,
        };
        let mut changed = false;
        if let Some(reason) = self.find_lost_entries(&ops) {
            self.freeze(stamp, reason);
            changed = true;
        }
        let before = (!holds(Rule::BatchIsAFold)).then(|| self.clone());
        let mut replies = Vec::with_capacity(ops.len());
        for op in &ops {
            let (reply, touched) = match &self.guard.frozen {
                Some(freeze) if !op.runs_frozen() => (Reply::Frozen(freeze.clone()), false),
                _ => self.apply(op, stamp, &mut batch, changes),
            };
            changed |= touched;
            replies.push(match &before {
                Some(before) => {
                    before
                        .clone()
                        .apply(op, stamp, &mut batch, &mut Changes::default())
                        .0
                }
                None => reply,
            });
        }
        if changed {
            self.guard.seq += 1;
            changes.guard = true;
        }
        replies
    }

    /// ⚔ Whether a part of a shard that this batch works on has other entries
    /// than its header says. Looked for before anything is changed.
    fn find_lost_entries(&self, ops: &[&Op]) -> Option<String> {
        if self.guard.frozen.is_some() || !holds(Rule::SizesAreChecked) {
            return None;
        }
        ops.iter().find_map(|op| {
            let Op::Shard(key, _) = op else { return None };
            let shard = self.shards.get(key)?;
            let (found, known) = (shard.count_entries(), shard.known_entries());
            (found != known).then(|| {
                format!(
                    "shard {} of item {} has {found:?}, but knows of {known:?}",
                    key.shard, key.item
                )
            })
        })
    }

    fn freeze(&mut self, stamp: Stamp, reason: String) -> Freeze {
        let freeze = Freeze {
            id: stamp.freeze_id,
            since: self.guard.time,
            reason,
        };
        self.guard.frozen.insert(freeze).clone()
    }

    fn apply(
        &mut self,
        op: &Op,
        stamp: Stamp,
        batch: &mut Batch,
        changes: &mut Changes,
    ) -> (Reply, bool) {
        match op {
            Op::Catalog(op) => {
                let (reply, touched) = catalog::apply(&mut self.catalog, op, batch.now, batch.full);
                let changed = touched.is_some();
                changes.catalog.extend(touched);
                (Reply::Catalog(reply), changed)
            }
            Op::Stripe(op) => self.apply_to_stripe(op),
            Op::Shard(key, op) => {
                let (applied, changed) = self.apply_to_shard(key, op, batch, changes);
                match applied {
                    Ok(reply) => (Reply::Shard(reply), changed),
                    Err(lost) => (self.freeze_lender(key, stamp, &lost), true),
                }
            }
        }
    }

    fn freeze_lender(&mut self, key: &ShardKey, stamp: Stamp, lost: &TailLost) -> Reply {
        let reason = format!(
            "shard {} of item {} sent {} units to shard {}, which has received {}",
            key.shard, key.item, lost.sent, lost.to, lost.received
        );
        Reply::Frozen(self.freeze(stamp, reason))
    }

    /// ⚔ Only `Create` makes a shard; whatever else finds none writes nothing
    /// and says so: a lost shard is never taken for an empty one.
    fn apply_to_shard(
        &mut self,
        key: &ShardKey,
        op: &ShardOp,
        batch: &mut Batch,
        changes: &mut Changes,
    ) -> (Result<ShardReply, TailLost>, bool) {
        let frozen = self.guard.frozen.is_some();
        let (reply, changed) = match (op, self.shards.get_mut(key)) {
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
            (ShardOp::Reserve { quantity, .. }, None) if !holds(Rule::OnlyCreateMakes) => {
                (ShardReply::sold_out(*quantity), false)
            }
            (_, None) => (ShardReply::Missing, false),
            (ShardOp::Reconcile { peer, .. }, Some(shard)) if !frozen => {
                (shard.reconciled(*peer), false)
            }
            (ShardOp::Accept, Some(shard)) => {
                let news = frozen && shard.accept_entries();
                if news {
                    changes.shards.entry(key.clone()).or_default().header = true;
                }
                (ShardReply::Accepted, news)
            }
            (op, Some(shard)) => {
                let changes = match changes.shards.get_mut(key) {
                    Some(changes) => changes,
                    None => changes.shards.entry(key.clone()).or_default(),
                };
                let before = shard.count_entries();
                let mut turn = Turn {
                    shard,
                    me: key.shard,
                    changes,
                    batch,
                    touched: false,
                };
                let applied = turn.apply(op);
                let touched = turn.touched;
                shard.note_entries_since(before);
                return (applied, touched);
            }
        };
        (Ok(reply), changed)
    }
}

impl Op {
    /// Whether it is carried out on a frozen stripe too: an item can be changed
    /// and deleted though one of its shards waits for an operator, who has to
    /// be able to do something about it.
    pub(crate) fn runs_frozen(&self) -> bool {
        match self {
            Self::Shard(_, op) => matches!(
                op,
                ShardOp::Configure { .. }
                    | ShardOp::Delete
                    | ShardOp::Reconcile { .. }
                    | ShardOp::Accept
            ),
            Self::Catalog(_) => false,
            Self::Stripe(_) => true,
        }
    }
}

impl Turn<'_> {
    fn apply(&mut self, op: &ShardOp) -> Result<ShardReply, TailLost> {
        Ok(match *op {
            ShardOp::Reserve {
                key,
                quantity,
                version,
            } => self.reserve(key, quantity, version),
            ShardOp::Confirm { key, late, version } => self.confirm(key, late, version),
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
            ShardOp::Change {
                request,
                change,
                gathered,
                version,
            } => self.change(request, change, gathered, version),
            ShardOp::Look => self.look(),
            ShardOp::Claim { claimant } => self.claim(claimant),
            ShardOp::Unclaim { claimant } => self.unclaim(claimant),
            ShardOp::Lend {
                to,
                wanted,
                received,
                claim,
            } => {
                return self.lend(Loan {
                    to,
                    wanted,
                    received,
                    claim,
                });
            }
            ShardOp::Credit { from, sent } => self.credit(from, sent),
            ShardOp::Reconcile { peer, received } => self.reconcile(peer, received),
            ShardOp::Configure { settings, version } => self.configure(settings, version),
            ShardOp::Inspect { ref after, limit } => {
                let after = after.as_ref().and_then(Cursor::record_key);
                let (sums, next) = self.shard.recount(after, limit);
                ShardReply::Inspected {
                    reading: self.shard.read(self.now()),
                    sums,
                    next: next.map(Cursor::after),
                }
            }
            ShardOp::List {
                ref after,
                limit,
                buyer,
                ref states,
            } => self.list(Listing {
                after: after.as_ref(),
                limit,
                buyer,
                states,
            }),
            ShardOp::Explain { buyer } => self.explain(buyer),
            // These are the stripe's: they are not about what a turn changes.
            ShardOp::Create { .. } => ShardReply::Created,
            ShardOp::Delete => ShardReply::Deleted,
            ShardOp::Accept => ShardReply::Accepted,
        })
    }

    /// The answer to a server that knows newer settings than this shard.
    pub(super) fn knows_less_than(&self, version: u64) -> Option<ShardReply> {
        let mine = self.shard.header.version;
        (mine < version).then_some(ShardReply::OldSettings { version: mine })
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
