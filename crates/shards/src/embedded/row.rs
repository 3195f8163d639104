//! The format of the file: one row for each group commit.
//!
//! A row is a CRC-32 (over the row's number and the rest) and a [`Row`] in
//! postcard: the *present values* of all that the commit changed, and of what
//! the cleaner moved. Reading the rows in order, the last value of a key wins.
//! So the oldest row can be dropped once what is still live of it stands in a
//! later row, and there is no snapshot format: see `cleaner`. `oldest` makes a
//! row that is missing at the front as visible as one in the middle.
//!
//! Queues are not written: they follow from the records.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::error::Damage;
use crate::ids::{Fingerprint, ItemId, RecordKey, RequestId, STRIPES, ShardKey, StripeNo};
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
    pub stripe: StripeNo,
    pub guard: Guard,
    /// `None`: gone.
    pub catalog: Vec<(ItemId, Option<Entry>)>,
    /// Gone with all they held; before `shards`, since a key may come back.
    pub deleted: Vec<ShardKey>,
    pub shards: Vec<(ShardKey, ShardPart)>,
}

/// What it changed of one shard; `None`: gone.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct ShardPart {
    pub header: Option<Header>,
    pub records: Vec<(RecordKey, Option<Record>)>,
    pub returns: Vec<(RecordKey, Option<Vec<ReturnRecord>>)>,
    pub adjustments: Vec<(RequestId, Option<Adjustment>)>,
    pub buyers: Vec<(Fingerprint, Option<u64>)>,
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
}

/// A stripe as far as the rows read so far tell.
#[derive(Default)]
pub(super) struct Replayed {
    /// Queues left aside.
    stripe: Option<Stripe>,
    /// The last row that had its guard.
    guard_row: u64,
    /// Values of shards whose header stands in a later row: where the cleaner
    /// moved a record, and the header only after it.
    headless: BTreeMap<ShardKey, Vec<ShardPart>>,
}

impl Replayed {
    /// Puts in the values of a later row.
    pub(super) fn apply(&mut self, row: u64, part: StripePart) {
        self.guard_row = row;
        let stripe = self
            .stripe
            .get_or_insert_with(|| Stripe::new(part.guard.identity, part.guard.time));
        stripe.guard = part.guard;
        for (item, entry) in part.catalog {
            put(&mut stripe.catalog, item, entry);
        }
        for key in &part.deleted {
            stripe.shards.remove(key);
            self.headless.remove(key);
        }
        for (key, part) in part.shards {
            match (stripe.shards.get_mut(&key), &part.header) {
                (Some(shard), _) => part.apply(shard),
                (None, None) => self.headless.entry(key).or_default().push(part),
                (None, Some(header)) => {
                    let mut shard = Shard::from_header(header.clone());
                    for earlier in self.headless.remove(&key).unwrap_or_default() {
                        earlier.apply(&mut shard);
                    }
                    part.apply(&mut shard);
                    stripe.shards.insert(key, shard);
                }
            }
        }
    }

    /// The stripe, after the last row, and which row has its guard.
    pub(super) fn finish(self, number: u8) -> Result<(Stripe, u64), Damage> {
        let mut stripe = self.stripe.ok_or(Damage::NoGuard(number))?;
        if stripe.guard.identity.stripes != STRIPES {
            return Err(Damage::NoGuard(number));
        }
        if !self.headless.is_empty() {
            return Err(Damage::NoHeader(number));
        }
        for shard in stripe.shards.values_mut() {
            shard.rebuild_queues();
        }
        Ok((stripe, self.guard_row))
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

fn put<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => {
            map.insert(key, value);
        }
        None => {
            map.remove(&key);
        }
    }
}
