//! Values as they are stored, and as answers show them.

use std::collections::BTreeMap;

use super::Garbled;
use super::pack::Reader;
use crate::ids::{Fingerprint, Generation, ItemId, RecordKey, RequestId, ShardNo, StripeNo};
use crate::machine::{
    Counters, Deletion, Entry, ItemSpec, Life, Record, Selling, Settings, State, Terms,
};
use crate::time::Millis;

/// A record: state and marks (1), quantity (3), returned (3), granted (6), until
/// (6).
pub(in crate::redis) fn record(bytes: [u8; 19]) -> Result<Record, Garbled> {
    let number = |at: usize, len: usize| {
        let bytes = bytes[at..at + len].iter();
        bytes.fold(0_i64, |number, byte| number << 8 | i64::from(*byte))
    };
    let units = |at| u32::try_from(number(at, 3)).unwrap_or_default();
    Ok(Record {
        state: match bytes[0] % 8 {
            0 => State::Held,
            1 => State::Confirmed,
            2 => State::Cancelled,
            3 => State::Expired,
            4 => State::Lost,
            other => return Err(Garbled(format!("a record in the state {other}"))),
        },
        quantity: units(1),
        returned: units(4),
        granted: Millis(number(7, 6)),
        until: Millis(number(13, 6)),
        late: bytes[0] & 8 > 0,
        sorted: bytes[0] & 16 > 0,
    })
}

pub(in crate::redis) fn record_key(bytes: [u8; 24]) -> RecordKey {
    let mut key = RecordKey {
        request: RequestId([0; 16]),
        buyer: Fingerprint([0; 8]),
    };
    key.request.0.copy_from_slice(&bytes[..16]);
    key.buyer.0.copy_from_slice(&bytes[16..]);
    key
}

fn selling(from: &mut Reader<'_>) -> Result<Selling, Garbled> {
    Ok(match from.number::<u8>()? {
        0 => Selling::Open,
        1 => Selling::Paused,
        2 => Selling::Closed,
        3 => Selling::Deleting,
        other => return Err(Garbled(format!("an item that sells as {other}"))),
    })
}

pub(in crate::redis) fn settings(from: &mut Reader<'_>) -> Result<Settings, Garbled> {
    Ok(Settings {
        selling: selling(from)?,
        sale_start: from.optional(Reader::instant)?,
        sale_end: from.optional(Reader::instant)?,
        hold_ttl_ms: from.number()?,
        max_hold_ms: from.number()?,
        sell_at_once: from.flag()?,
        counts_buyers: from.flag()?,
        max_units_per_buyer: from.number()?,
        max_units_per_reservation: from.number()?,
        retention_ms: from.number()?,
    })
}

pub(in crate::redis) fn counters(from: &mut Reader<'_>) -> Result<Counters, Garbled> {
    Ok(Counters {
        supply: from.optional(Reader::number)?,
        available: from.number()?,
        held: from.number()?,
        sold: from.number()?,
        discarded: from.number()?,
        purged_sold: from.number()?,
        gained: from.number()?,
        surplus: from.number()?,
        sent: from.optional(by_peer)?.unwrap_or_default(),
        received: from.optional(by_peer)?.unwrap_or_default(),
    })
}

fn by_peer(from: &mut Reader<'_>) -> Result<BTreeMap<ShardNo, u64>, Garbled> {
    let len = from.array_len()?;
    (0..len / 2)
        .map(|_| Ok((ShardNo(from.number()?), from.number()?)))
        .collect()
}

/// An entry of the catalog; see `lua/catalog.lua`.
pub(in crate::redis) fn entry(item: &ItemId, stored: &[u8]) -> Result<Entry, Garbled> {
    let from = &mut Reader::array(stored)?;
    let generation = Generation(from.bytes()?);
    let life = match from.number::<u8>()? {
        0 => Life::Creating,
        1 => Life::Live,
        2 => Life::Deleting,
        3 => Life::Removing,
        other => return Err(Garbled(format!("an item in life {other}"))),
    };
    let (version, spread) = (from.number()?, from.number()?);
    let sells = selling(from)?;
    let (created, updated) = (from.instant()?, from.instant()?);
    let (deletion, former) = (from.number::<u8>()?, selling(from)?);
    let mut terms: Terms = from_bytes(from.text()?)?;
    terms.settings.selling = sells;
    let placement = from.text()?.iter().copied().map(StripeNo).collect();
    let (create_request, spec) = from
        .text()?
        .split_first_chunk()
        .ok_or_else(|| Garbled("an entry without its creation".into()))?;
    let spec: ItemSpec = from_bytes(spec)?;
    from.end()?;
    Ok(Entry {
        item: item.clone(),
        generation,
        life,
        version,
        spread,
        terms,
        placement,
        create_request: RequestId(*create_request),
        spec,
        created,
        updated,
        deletion: (deletion > 0).then_some(Deletion {
            force: deletion > 1,
            former,
        }),
    })
}

fn from_bytes<'a, T: serde::Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Garbled> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        _ => Err(Garbled("terms of another form".into())),
    }
}
