//! The name of a reservation: all that an order has to keep.
//!
//! `item id "." base32(format 1, generation 8, shard 1, request id 16, buyer 8,
//! check 5)`: 39 bytes, 63 characters, so at most 128 + 1 + 63 = 192 in all, of
//! the item id's own alphabet. It names item and shard, so a Confirm needs no
//! look-up; the check is keyed with the store's secret, so a cut, mistyped or
//! invented id is recognised without asking the store.

use std::fmt;
use std::sync::LazyLock;

use data_encoding::{Encoding, Specification};

use crate::hash::{FingerprintKey, reservation_check};
use crate::ids::{
    Fingerprint, Generation, Invalid, ItemId, RecordKey, RequestId, ShardKey, ShardNo,
};

/// The only format so far.
const FORMAT: u8 = 1;
const BODY_LEN: usize = 34;
const CHECK_LEN: usize = 5;
const TEXT_LEN: usize = 63;

const INVALID: Invalid = Invalid {
    rule: "must be a reservation_id as this service returned it",
};

/// RFC 4648 base32 in lower case, unpadded; trailing bits must be zero, so that
/// one reservation has one name.
static BASE32: LazyLock<Encoding> = LazyLock::new(|| {
    let mut spec = Specification::new();
    spec.symbols.push_str("abcdefghijklmnopqrstuvwxyz234567");
    #[expect(
        clippy::expect_used,
        reason = "a constant; every test that names a reservation runs it"
    )]
    spec.encoding().expect("32 distinct symbols")
});

/// Names one reservation of one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReservationId {
    /// The shard that decided, and the item's generation.
    pub shard: ShardKey,
    /// The request that made it.
    pub record: RecordKey,
}

impl ReservationId {
    /// The name as callers see it.
    #[must_use]
    pub fn encode(&self, key: &FingerprintKey) -> String {
        let mut bytes = Vec::with_capacity(BODY_LEN + CHECK_LEN);
        bytes.push(FORMAT);
        bytes.extend_from_slice(&self.shard.generation.0);
        bytes.push(self.shard.shard.0);
        bytes.extend_from_slice(&self.record.request.0);
        bytes.extend_from_slice(&self.record.buyer.0);
        let check = reservation_check(key, &self.shard.item, &bytes);
        bytes.extend_from_slice(&check[..CHECK_LEN]);
        let item = self.shard.item.as_str();
        let mut text = String::with_capacity(item.len() + 1 + TEXT_LEN);
        text.push_str(item);
        text.push('.');
        BASE32.encode_append(&bytes, &mut text);
        text
    }

    /// Reads a name.
    ///
    /// # Errors
    /// [`Invalid`] for whatever this store did not return.
    pub fn decode(text: &str, key: &FingerprintKey) -> Result<Self, Invalid> {
        let (item, coded) = text.rsplit_once('.').ok_or(INVALID)?;
        let item = ItemId::parse(item).map_err(|_| INVALID)?;
        let bytes = BASE32.decode(coded.as_bytes()).map_err(|_| INVALID)?;
        let (body, check) = bytes.split_at_checked(BODY_LEN).ok_or(INVALID)?;
        if check.len() != CHECK_LEN
            || check != &reservation_check(key, &item, body)[..CHECK_LEN]
            || body[0] != FORMAT
        {
            return Err(INVALID);
        }
        Ok(Self {
            shard: ShardKey {
                item,
                generation: Generation(array(&body[1..9])?),
                shard: ShardNo(body[9]),
            },
            record: RecordKey {
                request: RequestId(array(&body[10..26])?),
                buyer: Fingerprint(array(&body[26..34])?),
            },
        })
    }
}

fn array<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Invalid> {
    bytes.try_into().map_err(|_| INVALID)
}

impl fmt::Display for ReservationId {
    /// For logs: without the store's secret there is no real name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}#{}/{}",
            self.shard.item, self.shard.shard, self.record.request
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: FingerprintKey = FingerprintKey([7; 16]);

    fn sample(item: &str) -> ReservationId {
        ReservationId {
            shard: ShardKey {
                item: ItemId::parse(item).unwrap(),
                generation: Generation([1, 2, 3, 4, 5, 6, 7, 8]),
                shard: ShardNo(63),
            },
            record: RecordKey {
                request: RequestId([9; 16]),
                buyer: Fingerprint([0xf0; 8]),
            },
        }
    }

    /// Orders out there keep these names.
    #[test]
    fn pinned() {
        let text = sample("sneaker.42").encode(&KEY);
        assert_eq!(
            text,
            "sneaker.42.aeaqeayeaudaocb7beeqscijbeeqscijbeeqscijbhypb4hq6dypb4hjaz4f7pa"
        );
        assert_eq!(ReservationId::decode(&text, &KEY), Ok(sample("sneaker.42")));
    }

    #[test]
    fn the_longest_fits_into_192_characters_of_the_alphabet() {
        let text = sample(&"x".repeat(128)).encode(&KEY);
        assert_eq!(text.len(), 192);
        assert!(
            text.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b".-_:".contains(&b))
        );
    }

    #[test]
    fn every_single_changed_or_missing_character_is_noticed() {
        let text = sample("sneaker").encode(&KEY);
        for at in 0..text.len() {
            let mut cut = text.clone();
            cut.remove(at);
            assert!(ReservationId::decode(&cut, &KEY).is_err(), "{cut}");
            for other in *b"a7.Z" {
                let mut bytes = text.clone().into_bytes();
                if bytes[at] == other {
                    continue;
                }
                bytes[at] = other;
                let forged = String::from_utf8(bytes).unwrap();
                assert!(ReservationId::decode(&forged, &KEY).is_err(), "{forged}");
            }
        }
        assert!(ReservationId::decode("", &KEY).is_err());
        assert!(ReservationId::decode(&text.to_uppercase(), &KEY).is_err());
        assert!(ReservationId::decode(&text, &FingerprintKey([8; 16])).is_err());
    }
}
