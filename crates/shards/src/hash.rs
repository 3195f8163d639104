//! The three hashes that decide where things lie. They are recorded in stores
//! and in reservation ids that shops keep, so they may never change: the tests
//! pin them.
//!
//! All are SipHash-2-4 (Aumasson and Bernstein, 2012) with 64 bits of output.
//! - stripe of a catalog entry: key 0, over the item id; modulo [`STRIPES`].
//! - fingerprint of a buyer: keyed with the store's secret, over the item id's
//!   length (one byte), the item id and the buyer id.
//! - home shard: the fingerprint, scaled to the number of shards (Lemire's
//!   multiply and shift). Being keyed, nobody outside can choose buyer ids that
//!   crowd one shard.

use std::hash::Hasher as _;

use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher24;

use crate::ids::{BuyerId, Fingerprint, ItemId, STRIPES, ShardNo, StripeNo};

/// The store's secret, drawn once when the store is made. Whoever has it can
/// tell which buyer a fingerprint belongs to by trying.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FingerprintKey(pub [u8; 16]);

impl std::fmt::Debug for FingerprintKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FingerprintKey(…)")
    }
}

/// The stripe that holds an item's catalog entry.
#[must_use]
pub fn catalog_stripe(item: &ItemId) -> StripeNo {
    let mut hasher = SipHasher24::new();
    hasher.write(item.as_str().as_bytes());
    let stripe = hasher.finish() % u64::from(STRIPES);
    #[expect(clippy::cast_possible_truncation, reason = "below STRIPES, a u8")]
    StripeNo(stripe as u8)
}

/// What a store keeps of a buyer of an item.
#[must_use]
pub fn fingerprint(key: &FingerprintKey, item: &ItemId, buyer: &BuyerId) -> Fingerprint {
    let item = item.as_str().as_bytes();
    let mut hasher = SipHasher24::new_with_key(&key.0);
    #[expect(
        clippy::cast_possible_truncation,
        reason = "item ids have at most 128 bytes"
    )]
    hasher.write(&[item.len() as u8]);
    hasher.write(item);
    hasher.write(buyer.as_str().as_bytes());
    Fingerprint(hasher.finish().to_be_bytes())
}

/// The one shard that decides about this buyer of an item with `shards` shards.
#[must_use]
pub fn home_shard(buyer: Fingerprint, shards: u8) -> ShardNo {
    let scaled = u128::from(u64::from_be_bytes(buyer.0)) * u128::from(shards);
    #[expect(clippy::cast_possible_truncation, reason = "below `shards`, a u8")]
    ShardNo((scaled >> 64) as u8)
}

/// The check of a reservation id, over its item id and the rest of it.
pub(crate) fn reservation_check(key: &FingerprintKey, item: &ItemId, body: &[u8]) -> [u8; 8] {
    let mut hasher = SipHasher24::new_with_key(&key.0);
    // Fingerprints begin with a length of at most 128, so this byte keeps the
    // two uses of the key apart.
    hasher.write(&[0xff]);
    hasher.write(body);
    hasher.write(item.as_str().as_bytes());
    hasher.finish().to_be_bytes()
}

/// The check of a page token, over its place and the listing's filter.
pub(crate) fn page_check(key: &FingerprintKey, place: &[u8], filter: &str) -> [u8; 8] {
    let mut hasher = SipHasher24::new_with_key(&key.0);
    hasher.write(&[0xfe]);
    hasher.write_u64(place.len() as u64);
    hasher.write(place);
    hasher.write(filter.as_bytes());
    hasher.finish().to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: FingerprintKey = FingerprintKey([7; 16]);

    fn item(text: &str) -> ItemId {
        ItemId::parse(text).unwrap()
    }

    fn buyer(text: &str) -> BuyerId {
        BuyerId::parse(text).unwrap()
    }

    /// These values are in stores and orders out there. A change here loses them.
    #[test]
    fn pinned() {
        assert_eq!(catalog_stripe(&item("sneaker")), StripeNo(22));
        let print = fingerprint(&KEY, &item("sneaker"), &buyer("alice"));
        assert_eq!(u64::from_be_bytes(print.0), 0xa13b_4702_b0a2_0e3b);
        assert_eq!(home_shard(print, 1), ShardNo(0));
        assert_eq!(home_shard(print, 64), ShardNo(40));
    }

    #[test]
    fn item_and_buyer_do_not_run_into_each_other() {
        assert_ne!(
            fingerprint(&KEY, &item("ab"), &buyer("c")),
            fingerprint(&KEY, &item("a"), &buyer("bc")),
        );
    }

    #[test]
    fn homes_are_spread_evenly() {
        let mut counts = [0_u32; 7];
        for n in 0..7_000 {
            let print = fingerprint(&KEY, &item("x"), &buyer(&format!("buyer-{n}")));
            counts[usize::from(home_shard(print, 7).0)] += 1;
        }
        assert!(counts.iter().all(|n| (850..1150).contains(n)), "{counts:?}");
    }
}
