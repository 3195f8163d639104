//! A stripe as it lies in Redis, read back as the machine has it.

use std::collections::{BTreeMap, BTreeSet};

use super::server::{Redis, Value};
use crate::ids::{Fingerprint, ItemId, RecordKey, RequestId, ShardKey, StripeNo};
use crate::machine::{
    Adjustment, Claim, Claimant, Entry, Freeze, Header, ReturnRecord, Shard, StockChange,
};
use crate::redis::keys;
use crate::redis::script::pack::Reader;
use crate::redis::script::{Garbled, stored};
use crate::time::Millis;

/// What a stripe's own keys hold, as far as the machine has it too.
#[derive(Debug, PartialEq)]
pub(super) struct OfStripe {
    pub time: Millis,
    pub seq: u64,
    pub frozen: Option<Freeze>,
    pub catalog: BTreeMap<ItemId, Entry>,
}

pub(super) fn queue_stripe(redis: &mut Redis, stripe: StripeNo) {
    let [guard, catalog, index] = keys::of_stripe(stripe);
    redis.queue(&[b"HGETALL", &guard]);
    redis.queue(&[b"HGETALL", &catalog]);
    redis.queue(&[b"ZRANGE", &index, b"0", b"-1"]);
}

pub(super) fn stripe(redis: &mut Redis) -> OfStripe {
    let guard: BTreeMap<_, _> = redis.answer().pairs().into_iter().collect();
    let number = |name: &str| text(&guard[name.as_bytes()]).parse::<i64>().unwrap();
    let frozen = &guard[&b"frz"[..]];
    let catalog: BTreeMap<ItemId, Entry> = redis
        .answer()
        .pairs()
        .into_iter()
        .map(|(item, entry)| {
            let item = ItemId::parse(&text(&item)).unwrap();
            let entry = stored::entry(&item, &entry).unwrap();
            (item, entry)
        })
        .collect();
    let index = redis.answer().bulks();
    let ids: Vec<_> = catalog
        .keys()
        .map(|item| item.as_str().as_bytes())
        .collect();
    assert_eq!(index, ids, "the index");
    assert_eq!(number("items"), ids.len().try_into().unwrap());
    OfStripe {
        time: Millis(number("time")),
        seq: number("seq").try_into().unwrap(),
        frozen: (!frozen.is_empty()).then(|| freeze(frozen).unwrap()),
        catalog,
    }
}

pub(super) fn queue_shard(redis: &mut Redis, stripe: StripeNo, key: &ShardKey) {
    let names = keys::of_shard(stripe, key);
    for (part, name) in keys::PARTS.into_iter().zip(&names) {
        match part {
            'h' => redis.queue(&[b"GET", name]),
            'r' | 't' | 'a' | 'b' => redis.queue(&[b"HGETALL", name]),
            's' => redis.queue(&[b"ZRANGE", name, b"0", b"-1", b"WITHSCORES"]),
            _ => redis.queue(&[b"LRANGE", name, b"0", b"-1"]),
        }
    }
}

pub(super) fn shard(redis: &mut Redis) -> Option<Shard> {
    let header = redis.answer();
    let [records, returns, adjustments, buyers] = [(); 4].map(|()| redis.answer().pairs());
    let expiry = redis.answer().bulks();
    let sorted = redis.answer().pairs();
    let [ended, unarrived] = [(); 2].map(|()| redis.answer().bulks());
    if header == Value::Bulk(None) {
        let empty = records.is_empty() && returns.is_empty() && adjustments.is_empty();
        let queues = [&expiry, &ended, &unarrived];
        let empty = empty && buyers.is_empty() && queues.iter().all(|list| list.is_empty());
        assert!(empty && sorted.is_empty(), "left behind");
        return None;
    }
    let header = stored_header(&header.bulk()).unwrap();
    let mut shard = Shard::from_header(header.header);
    shard.records = records
        .into_iter()
        .map(|(key, record)| {
            let record = stored::record(record.try_into().unwrap()).unwrap();
            (record_key(&key), record)
        })
        .collect();
    shard.returns = returns
        .into_iter()
        .map(|(key, list)| (record_key(&key), returns_of(&list)))
        .collect();
    shard.adjustments = adjustments
        .into_iter()
        .map(|(request, change)| (RequestId(request.try_into().unwrap()), adjustment(&change)))
        .collect();
    shard.buyers = buyers
        .into_iter()
        .map(|(buyer, units)| {
            let units = text(&units).parse().unwrap();
            (Fingerprint(buyer.try_into().unwrap()), units)
        })
        .collect();
    shard.queues.expiry = expiry.iter().map(|bytes| entry(bytes)).collect();
    shard.queues.ended = ended.iter().map(|bytes| entry(bytes)).collect();
    shard.queues.unarrived = unarrived.iter().map(|bytes| entry(bytes)).collect();
    let in_order: Vec<_> = sorted.iter().map(|(bytes, _)| entry(bytes)).collect();
    for ((_, score), (at, _)) in sorted.iter().zip(&in_order) {
        assert_eq!(text(score), at.0.to_string(), "a score");
    }
    shard.queues.sorted = BTreeSet::from_iter(in_order.clone());
    assert!(shard.queues.sorted.iter().eq(&in_order), "out of order");
    shard.queues.known = header.queues;
    if let Some((at, _)) = shard.queues.expiry.back() {
        assert_eq!(header.last, *at, "the last deadline");
    }
    Some(shard)
}

fn freeze(bytes: &[u8]) -> Result<Freeze, Garbled> {
    let mut from = Reader::array(bytes)?;
    Ok(Freeze {
        id: u64::from_be_bytes(from.bytes()?),
        since: from.instant()?,
        reason: from.string()?,
    })
}

struct StoredHeader {
    header: Header,
    /// The known sizes of the queues.
    queues: [u64; 4],
    /// The last deadline in the expiry queue.
    last: Millis,
}

fn stored_header(bytes: &[u8]) -> Result<StoredHeader, Garbled> {
    let from = &mut Reader::array(bytes)?;
    let (version, revision) = (from.number()?, from.number()?);
    let (settings, counters) = (stored::settings(from)?, stored::counters(from)?);
    let claimant = from.optional(|from| {
        let claimant = from.text()?;
        Ok(match claimant.try_into() {
            Ok(request) => Claimant::Operator(RequestId(request)),
            Err(_) => Claimant::Buyer(record_key(claimant)),
        })
    })?;
    let since = from.optional(Reader::instant)?.unwrap_or_default();
    let until = from.optional(Reader::instant)?.unwrap_or_default();
    let mut sizes = [0; 8];
    for size in &mut sizes {
        *size = from.number()?;
    }
    let [records, returns, adjustments, buyers, queues @ ..] = sizes;
    let last = from.instant()?;
    from.end()?;
    Ok(StoredHeader {
        header: Header {
            settings,
            version,
            counters,
            revision,
            claim: claimant.map(|claimant| Claim {
                claimant,
                since,
                until,
            }),
            sizes: [records, returns, adjustments, buyers],
        },
        queues,
        last,
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn record_key(bytes: &[u8]) -> RecordKey {
    stored::record_key(bytes.try_into().unwrap())
}

fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn entry(bytes: &[u8]) -> (Millis, RecordKey) {
    let at = number(&bytes[..6]).try_into().unwrap();
    (Millis(at), record_key(&bytes[6..]))
}

fn returns_of(list: &[u8]) -> Vec<ReturnRecord> {
    list.chunks(20)
        .map(|one| ReturnRecord {
            request: RequestId(one[..16].try_into().unwrap()),
            quantity: number(&one[16..19]).try_into().unwrap(),
            discard: one[19] == 1,
        })
        .collect()
}

fn adjustment(bytes: &[u8]) -> Adjustment {
    let (change, applied) = bytes.split_last_chunk::<8>().unwrap();
    let change = match change[0] {
        2 => StockChange::SetTotal {
            total: number(&change[1..9]),
            expected: number(&change[9..]),
        },
        partial => StockChange::Adjust {
            delta: number(&change[1..]).cast_signed(),
            allow_partial: partial == 1,
        },
    };
    let applied = i64::from_be_bytes(*applied);
    Adjustment { change, applied }
}
