//! The format of the file: one row for each group commit.
//!
//! A row is a CRC-32 (over the row's number and the rest) and a [`Row`] in
//! postcard: the *present values* of all that the commit changed. Reading the
//! rows in order, the last value of a key wins. So a row can be dropped once
//! what is still live of it stands in a later row, and there is no snapshot
//! format: that is how a cleaner will keep the file small. `oldest` makes a
//! row that is missing at the front as visible as one in the middle.
//!
//! Queues are not written: they follow from the records.

use serde::{Deserialize, Serialize};

use super::error::Damage;
use crate::ids::{Fingerprint, ItemId, RecordKey, RequestId, ShardKey, StripeNo};
use crate::machine::{
    Adjustment, Changes, Entry, Guard, Header, Record, ReturnRecord, Shard, ShardChanges, Stripe,
};

/// Written into the file; another number is another format.
pub(super) const FORMAT: u32 = 2;

const CRC_LEN: usize = 4;

/// What one group commit changed.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Row {
    /// The lowest row number that the file has after this commit.
    pub oldest: u64,
    /// Stripe by stripe.
    pub stripes: Vec<StripePart>,
}

/// What it changed of one stripe.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct StripePart {
    stripe: StripeNo,
    guard: Guard,
    /// `None`: gone.
    catalog: Vec<(ItemId, Option<Entry>)>,
    /// Gone with all they held; before `shards`, since a key may come back.
    deleted: Vec<ShardKey>,
    shards: Vec<(ShardKey, ShardPart)>,
}

/// What it changed of one shard; `None`: gone.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct ShardPart {
    header: Option<Header>,
    records: Vec<(RecordKey, Option<Record>)>,
    returns: Vec<(RecordKey, Option<Vec<ReturnRecord>>)>,
    adjustments: Vec<(RequestId, Option<Adjustment>)>,
    buyers: Vec<(Fingerprint, Option<u64>)>,
}

impl Row {
    /// The bytes of row `number`.
    pub(super) fn encode(&self, number: u64) -> Result<Vec<u8>, postcard::Error> {
        let mut body = postcard::to_extend(self, vec![0; CRC_LEN])?;
        let crc = crc(number, &body[CRC_LEN..]);
        body[..CRC_LEN].copy_from_slice(&crc.to_le_bytes());
        Ok(body)
    }

    /// Reads row `number`.
    pub(super) fn decode(number: u64, body: &[u8]) -> Result<Self, Damage> {
        let (stored, payload) = body
            .split_at_checked(CRC_LEN)
            .ok_or(Damage::Checksum(number))?;
        if stored != crc(number, payload).to_le_bytes() {
            return Err(Damage::Checksum(number));
        }
        match postcard::take_from_bytes(payload) {
            Ok((row, [])) => Ok(row),
            _ => Err(Damage::Content(number)),
        }
    }
}

fn crc(number: u64, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&number.to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}

impl StripePart {
    /// The present values of what changed; `None` if nothing did.
    pub(super) fn of(number: StripeNo, stripe: &Stripe, changes: &Changes) -> Option<Self> {
        changes.guard.then(|| Self {
            stripe: number,
            guard: stripe.guard.clone(),
            catalog: values(&changes.catalog, |item| stripe.catalog.get(item).cloned()),
            deleted: changes.deleted.iter().cloned().collect(),
            shards: changes
                .shards
                .iter()
                .filter_map(|(key, changes)| {
                    let part = ShardPart::of(stripe.shards.get(key)?, changes);
                    (!part.is_empty()).then(|| (key.clone(), part))
                })
                .collect(),
        })
    }

    /// Puts the values into the stripes, queues left aside.
    pub(super) fn apply(self, row: u64, stripes: &mut [Option<Stripe>]) -> Result<(), Damage> {
        let slot = stripes
            .get_mut(usize::from(self.stripe.0))
            .ok_or(Damage::Content(row))?;
        let stripe = slot.get_or_insert_with(|| Stripe::new(self.guard.identity, self.guard.time));
        stripe.guard = self.guard;
        for (item, entry) in self.catalog {
            put(&mut stripe.catalog, item, entry);
        }
        for key in &self.deleted {
            stripe.shards.remove(key);
        }
        for (key, part) in self.shards {
            let shard = match (stripe.shards.get_mut(&key), &part.header) {
                (Some(shard), _) => shard,
                (None, Some(header)) => stripe
                    .shards
                    .entry(key)
                    .or_insert_with(|| Shard::from_header(header.clone())),
                (None, None) => return Err(Damage::Content(row)),
            };
            part.apply(shard);
        }
        Ok(())
    }
}

impl ShardPart {
    fn of(shard: &Shard, changes: &ShardChanges) -> Self {
        Self {
            header: changes.header.then(|| shard.header.clone()),
            records: values(&changes.records, |key| shard.records.get(key).copied()),
            returns: values(&changes.returns, |key| shard.returns.get(key).cloned()),
            adjustments: values(&changes.adjustments, |id| {
                shard.adjustments.get(id).copied()
            }),
            buyers: values(&changes.buyers, |buyer| shard.buyers.get(buyer).copied()),
        }
    }

    fn is_empty(&self) -> bool {
        self.header.is_none()
            && self.records.is_empty()
            && self.returns.is_empty()
            && self.adjustments.is_empty()
            && self.buyers.is_empty()
    }

    fn apply(self, shard: &mut Shard) {
        if let Some(header) = self.header {
            shard.header = header;
        }
        for (key, record) in self.records {
            put(&mut shard.records, key, record);
        }
        for (key, returns) in self.returns {
            put(&mut shard.returns, key, returns);
        }
        for (id, adjustment) in self.adjustments {
            put(&mut shard.adjustments, id, adjustment);
        }
        for (buyer, units) in self.buyers {
            put(&mut shard.buyers, buyer, units);
        }
    }
}

fn values<K: Clone, V>(
    keys: &std::collections::BTreeSet<K>,
    value: impl Fn(&K) -> Option<V>,
) -> Vec<(K, Option<V>)> {
    keys.iter().map(|key| (key.clone(), value(key))).collect()
}

fn put<K: Ord, V>(map: &mut std::collections::BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => {
            map.insert(key, value);
        }
        None => {
            map.remove(&key);
        }
    }
}
