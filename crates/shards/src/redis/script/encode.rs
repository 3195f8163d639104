//! What a run is told.

use std::collections::HashMap;

use bytes::Bytes;

use super::operands::{
    identity_bytes, late_no, new_entry, selling_no, settings_array, state_no, to_bytes,
    write_change, write_claimant,
};
use super::pack::Writer;
use super::places::{ListPlace, ScanPlace};
use super::{Arguments, Call, What};
use crate::ids::{ItemId, Quantity, RecordKey, ShardKey};
use crate::machine::{CatalogOp, Op, ShardOp, StripeOp};
use crate::redis::keys;

pub(super) fn encode(call: &Call<'_>) -> Arguments {
    let mut keys = keys::of_stripe(call.stripe).to_vec();
    let (mode, mut args) = match &call.what {
        What::Ops(ops) => {
            let batch = Batch::of(ops);
            for (shard, _) in &batch.shards {
                keys.extend(keys::of_shard(call.stripe, shard));
            }
            ("ops", batch.args())
        }
        What::Adopt { .. } => ("adopt", Vec::new()),
        What::Init { .. } => ("init", Vec::new()),
        What::Read => ("read", Vec::new()),
    };
    let mut first = Writer::default();
    first.text(mode.as_bytes());
    first.text(&call.store_id);
    first.text(&call.incarnation.0);
    first.count(call.known);
    first.count(call.known_releases);
    first.instant(call.stamp.now);
    first.count(call.skew_max_ms);
    first.flag(call.stamp.full);
    first.text(&call.stamp.freeze_id.to_be_bytes());
    match &call.what {
        What::Ops(ops) => {
            Kinds::of(ops).write(&mut first);
            first.text(&keys::notices(call.stripe));
        }
        What::Adopt { expected } => first.count(*expected),
        What::Init { identity, frozen } => {
            first.text(&identity_bytes(identity));
            first.optional(*frozen, |to, reason| to.text(reason.as_bytes()));
        }
        What::Read => {}
    }
    args.insert(0, first.finish());
    Arguments { keys, args }
}

/// Of which kinds a batch has operations: the script makes only the functions
/// that these need.
#[derive(Default)]
struct Kinds {
    after: bool,
    stock: bool,
    life: bool,
    pages: bool,
    /// Of the catalog, or of the stripe as a whole.
    whole: bool,
    /// The catalog's own sizes matter.
    entries: bool,
}

impl Kinds {
    fn of(ops: &[&Op]) -> Self {
        let mut kinds = Self::default();
        for op in ops {
            match op {
                Op::Catalog(_) | Op::Stripe(StripeOp::Entries { .. }) => {
                    kinds.whole = true;
                    kinds.entries = true;
                }
                Op::Stripe(StripeOp::Visit) => {}
                Op::Stripe(StripeOp::Freeze { .. } | StripeOp::Release { .. }) => {
                    kinds.whole = true;
                }
                Op::Shard(_, op) => kinds.add(op),
            }
        }
        kinds
    }

    fn add(&mut self, op: &ShardOp) {
        match op {
            ShardOp::Reserve { .. }
            | ShardOp::Confirm { .. }
            | ShardOp::Cancel { .. }
            | ShardOp::Lookup { .. }
            | ShardOp::Look => {}
            ShardOp::Return { .. }
            | ShardOp::Extend { .. }
            | ShardOp::Expire { .. }
            | ShardOp::Purge { .. } => self.after = true,
            ShardOp::Change { .. }
            | ShardOp::Claim { .. }
            | ShardOp::Unclaim { .. }
            | ShardOp::Lend { .. }
            | ShardOp::Credit { .. }
            | ShardOp::Reconcile { .. } => self.stock = true,
            ShardOp::Create { .. }
            | ShardOp::Configure { .. }
            | ShardOp::Delete
            | ShardOp::Accept => self.life = true,
            ShardOp::Inspect { .. } | ShardOp::List { .. } | ShardOp::Explain { .. } => {
                self.pages = true;
            }
        }
    }

    fn write(&self, to: &mut Writer) {
        let Self {
            after,
            stock,
            life,
            pages,
            whole,
            entries,
        } = *self;
        to.flag(after || stock || life || pages || whole);
        for kind in [after, stock, life, pages, whole, entries] {
            to.flag(kind);
        }
    }
}

/// A batch's operations; of the shards and records that they name each one once.
struct Batch<'a> {
    ops: Writer,
    shards: Vec<(&'a ShardKey, Writer)>,
    places: HashMap<&'a ShardKey, usize>,
    records: HashMap<(usize, RecordKey), u64>,
    reserves: Option<Reserves>,
}

/// Equal Reserves, one after the other, of records that the batch names one after
/// the other, as those of new buyers are: the script is told of them in one word.
struct Reserves {
    shard: usize,
    first: u64,
    count: u64,
    quantity: Quantity,
    version: u64,
}

impl<'a> Batch<'a> {
    fn of(ops: &[&'a Op]) -> Self {
        let mut batch = Self {
            ops: Writer::default(),
            shards: Vec::new(),
            places: HashMap::new(),
            records: HashMap::new(),
            reserves: None,
        };
        for op in ops {
            if !matches!(op, Op::Shard(_, ShardOp::Reserve { .. })) {
                batch.end_reserves();
            }
            match op {
                Op::Shard(key, op) => batch.shard_op(key, op),
                Op::Catalog(op) => catalog_op(&mut batch.ops, op),
                Op::Stripe(op) => stripe_op(&mut batch.ops, op),
            }
        }
        batch.end_reserves();
        batch
    }

    fn args(self) -> Vec<Bytes> {
        let records = self.shards.into_iter().map(|(_, records)| records.finish());
        std::iter::once(self.ops.finish()).chain(records).collect()
    }

    fn shard(&mut self, key: &'a ShardKey) -> usize {
        let next = self.shards.len();
        let at = *self.places.entry(key).or_insert(next);
        if at == next {
            self.shards.push((key, Writer::default()));
        }
        at
    }

    /// What the operations call a record of this shard.
    fn record(&mut self, shard: usize, key: RecordKey) -> u64 {
        let records = &mut self.shards[shard].1;
        *self.records.entry((shard, key)).or_insert_with(|| {
            let mut bytes = [0; 24];
            bytes[..16].copy_from_slice(&key.request.0);
            bytes[16..].copy_from_slice(&key.buyer.0);
            records.text(&bytes);
            u64::from(records.len())
        })
    }

    /// The word of an operation of a shard, and the shard; its other operands
    /// are to follow.
    fn word(&mut self, word: &str, shard: usize) -> &mut Writer {
        self.ops.text(word.as_bytes());
        // Lua counts from 1.
        self.ops.count(shard as u64 + 1);
        &mut self.ops
    }

    /// The word of an operation of a record.
    fn of_record(&mut self, word: &str, shard: usize, key: RecordKey) -> &mut Writer {
        let record = self.record(shard, key);
        let to = self.word(word, shard);
        to.count(record);
        to
    }

    fn reserve(&mut self, shard: usize, key: RecordKey, quantity: Quantity, version: u64) {
        let record = self.record(shard, key);
        if let Some(run) = &mut self.reserves
            && run.shard == shard
            && run.first + run.count == record
            && run.quantity == quantity
            && run.version == version
        {
            run.count += 1;
            return;
        }
        self.end_reserves();
        self.reserves = Some(Reserves {
            shard,
            first: record,
            count: 1,
            quantity,
            version,
        });
    }

    fn end_reserves(&mut self) {
        if let Some(run) = self.reserves.take() {
            let to = self.word("reserve", run.shard);
            to.count(run.first);
            to.count(run.count);
            to.count(run.quantity.get().into());
            to.count(run.version);
        }
    }

    #[expect(clippy::too_many_lines, reason = "one arm for each operation")]
    fn shard_op(&mut self, shard_key: &'a ShardKey, op: &ShardOp) {
        let shard = self.shard(shard_key);
        match op {
            ShardOp::Reserve {
                key,
                quantity,
                version,
            } => self.reserve(shard, *key, *quantity, *version),
            ShardOp::Confirm { key, late, version } => {
                let to = self.of_record("confirm", shard, *key);
                to.count(late_no(*late));
                to.count(*version);
            }
            ShardOp::Cancel {
                key,
                forbid_unknown,
            } => {
                let to = self.of_record("cancel", shard, *key);
                to.flag(*forbid_unknown);
            }
            ShardOp::Return {
                key,
                request,
                quantity,
                discard,
            } => {
                let to = self.of_record("return", shard, *key);
                to.text(&request.0);
                to.count(quantity.get().into());
                to.flag(*discard);
            }
            ShardOp::Extend { key, hold_for_ms } => {
                let to = self.of_record("extend", shard, *key);
                to.count(*hold_for_ms);
            }
            ShardOp::Lookup { key } => {
                self.of_record("lookup", shard, *key);
            }
            ShardOp::Expire { limit } => self.word("expire", shard).count((*limit).into()),
            ShardOp::Purge { limit } => self.word("purge", shard).count((*limit).into()),
            ShardOp::Change {
                request,
                change,
                gathered,
                version,
            } => {
                let to = self.word("change", shard);
                to.text(&request.0);
                write_change(to, change);
                to.flag(*gathered);
                to.count(*version);
            }
            ShardOp::Look => {
                self.word("look", shard);
            }
            ShardOp::Claim { claimant } => {
                write_claimant(self.word("claim", shard), claimant);
            }
            ShardOp::Unclaim { claimant } => {
                write_claimant(self.word("unclaim", shard), claimant);
            }
            ShardOp::Lend {
                to: peer,
                wanted,
                received,
                claim,
            } => {
                let to = self.word("lend", shard);
                to.count(peer.0.into());
                to.count(*wanted);
                to.count(*received);
                to.optional(*claim, Writer::instant);
                to.count(shard_key.shard.0.into());
            }
            ShardOp::Credit { from, sent } => {
                let to = self.word("credit", shard);
                to.count(from.0.into());
                to.count(*sent);
            }
            ShardOp::Reconcile { peer, received } => {
                let to = self.word("reconcile", shard);
                to.count(peer.0.into());
                to.count(*received);
            }
            ShardOp::Accept => {
                self.word("accept", shard);
            }
            ShardOp::Create {
                settings,
                version,
                supply,
            } => {
                let to = self.word("create", shard);
                to.nested(&settings_array(settings));
                to.count(*version);
                to.optional(*supply, Writer::count);
            }
            ShardOp::Configure { settings, version } => {
                let to = self.word("configure", shard);
                to.nested(&settings_array(settings));
                to.count(*version);
            }
            ShardOp::Delete => {
                self.word("delete", shard);
            }
            ShardOp::Inspect { after, limit } => {
                let to = self.word("inspect", shard);
                to.text(ScanPlace::read(after.as_ref()).decimal().as_bytes());
                to.count((*limit).into());
            }
            ShardOp::List {
                after,
                limit,
                buyer,
                states,
            } => {
                let to = self.word("list", shard);
                ListPlace::read(after.as_ref()).write(to);
                to.count((*limit).into());
                to.optional(*buyer, |to, buyer| to.text(&buyer.0));
                let states: Vec<u8> = states.iter().copied().map(state_no).collect();
                to.text(&states);
            }
            ShardOp::Explain { buyer } => self.word("explain", shard).text(&buyer.0),
        }
    }
}

fn catalog_op(to: &mut Writer, op: &CatalogOp) {
    let word = |to: &mut Writer, word: &str, item: &ItemId| {
        to.text(word.as_bytes());
        to.text(item.as_str().as_bytes());
    };
    match op {
        CatalogOp::BeginCreate(new) => {
            word(to, "begin_create", &new.item);
            to.nested(&new_entry(new));
        }
        CatalogOp::FinishCreate { item, generation } => {
            word(to, "finish_create", item);
            to.text(&generation.0);
        }
        CatalogOp::Update {
            item,
            generation,
            expected,
            terms,
        } => {
            word(to, "update", item);
            to.text(&generation.0);
            to.count(*expected);
            to.text(&to_bytes(terms));
            to.count(selling_no(terms.settings.selling));
        }
        CatalogOp::FinishUpdate {
            item,
            generation,
            version,
        } => {
            word(to, "finish_update", item);
            to.text(&generation.0);
            to.count(*version);
        }
        CatalogOp::BeginDelete {
            item,
            generation,
            force,
            expected,
        } => {
            word(to, "begin_delete", item);
            to.text(&generation.0);
            to.flag(*force);
            to.optional(*expected, Writer::count);
        }
        CatalogOp::DecideDelete {
            item,
            generation,
            version,
            remove,
        } => {
            word(to, "decide_delete", item);
            to.text(&generation.0);
            to.count(*version);
            to.flag(*remove);
        }
        CatalogOp::FinishDelete { item, generation } => {
            word(to, "finish_delete", item);
            to.text(&generation.0);
        }
        CatalogOp::Get { item } => word(to, "get", item),
        CatalogOp::List { after, limit } => page(to, "items", after.as_ref(), *limit),
    }
}

fn page(to: &mut Writer, word: &str, after: Option<&ItemId>, limit: u32) {
    to.text(word.as_bytes());
    to.optional(after, |to, item| to.text(item.as_str().as_bytes()));
    to.count(limit.into());
}

fn stripe_op(to: &mut Writer, op: &StripeOp) {
    match op {
        StripeOp::Visit => to.text(b"visit"),
        StripeOp::Freeze { id, reason } => {
            to.text(b"freeze");
            to.text(&id.to_be_bytes());
            to.text(reason.as_bytes());
        }
        StripeOp::Release { id } => {
            to.text(b"release");
            to.text(&id.to_be_bytes());
        }
        StripeOp::Entries { after, limit } => page(to, "entries", after.as_ref(), *limit),
    }
}
