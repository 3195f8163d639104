//! The names of all keys in Redis. Nothing else builds one.
//!
//! A stripe's keys share one hash tag, so that one script may touch all of them;
//! the tag is chosen for its slot, so that the stripes lie evenly in the slots
//! and every master of a cluster has its part of them.
//!
//! | key | holds |
//! |---|---|
//! | `holdfast:{TAG}:guard` | hash: identity, incarnation, adoptions, seq, time, freeze |
//! | `holdfast:{TAG}:catalog` | hash: item id → entry |
//! | `holdfast:{TAG}:index` | sorted set of the same item ids, in their order |
//! | `holdfast:{TAG}:ITEM:GENERATION:SHARD:PART` | a part of a shard |
//!
//! | channel | says |
//! |---|---|
//! | `holdfast:{TAG}:notices` | what servers may not remember any more |
//! | `holdfast:{TAG}:beat` | nothing: a listener asks for it to see that it is heard |
//!
//! Parts of a shard: `h` header (string); `r` records (hash); `t` returns
//! (hash); `a` stock changes (hash); `b` buyers (hash); and what falls due: `e`
//! expiry (list), `s` sorted (sorted set), `d` ended (list), `u` unarrived
//! (list).
//!
//! Names are for ever: a store that is there is found by them.

use bytes::Bytes;

use crate::ids::{ShardKey, StripeNo};

/// What every key begins with; an ACL needs no other.
pub(super) const PREFIX: &str = "holdfast:";

/// The parts of a shard, in the order in which the script takes them.
pub(super) const PARTS: [char; 9] = ['h', 'r', 't', 'a', 'b', 'e', 's', 'd', 'u'];

/// Slots of a cluster.
const SLOTS: u16 = 16_384;

/// One hash tag for each stripe: its number and what brings it into its slot.
const TAGS: [&str; 64] = [
    "0-7j1", "1-6n4", "2-has", "3-aln", "4-fpu", "5-9q", "6-l5o", "7-e8r", "8-47j", "9-53o",
    "10-2jh", "11-3nm", "12-elr", "13-dhw", "14-ky4", "15-j99", "16-0k9", "17-del", "18-1b9",
    "19-ell", "20-32n", "21-26k", "22-9wt", "23-o8", "24-ni7", "25-2nz", "26-1bu", "27-0fp",
    "28-0o5", "29-1k0", "30-1n9", "31-mit", "32-592", "33-mn", "34-3ad", "35-2ea", "36-9d6",
    "37-mjc", "38-8m6", "39-9i3", "40-3n8", "41-oiu", "42-zj", "43-0b7", "44-b0t", "45-c4q",
    "46-h1f", "47-axs", "48-0fi", "49-1bl", "50-1ge", "51-8jx", "52-nhg", "53-gez", "54-53y",
    "55-4st", "56-3w6", "57-2s3", "58-g0n", "59-3z3", "60-0ji", "61-1nl", "62-2bc", "63-3ff",
];

/// The slot in which all keys of a stripe lie: the stripes at equal distances.
pub(super) fn slot(stripe: StripeNo) -> u16 {
    let width = SLOTS / u16::from(crate::ids::STRIPES);
    u16::from(stripe.0) * width + width / 2
}

/// The keys of a stripe itself: guard, catalog, index.
pub(super) fn of_stripe(stripe: StripeNo) -> [Bytes; 3] {
    ["guard", "catalog", "index"].map(|name| Bytes::from(format!("{}{name}", root(stripe))))
}

/// The channel on which a stripe's runs tell servers what they may not remember.
/// In the stripe's slot: a run can publish nowhere else.
pub(super) fn notices(stripe: StripeNo) -> Bytes {
    Bytes::from(format!("{}notices", root(stripe)))
}

/// A channel in the same slot on which nothing is ever said.
pub(super) fn beat(stripe: StripeNo) -> Bytes {
    Bytes::from(format!("{}beat", root(stripe)))
}

/// The keys of a shard that lies on this stripe, by [`PARTS`].
pub(super) fn of_shard(stripe: StripeNo, key: &ShardKey) -> [Bytes; 9] {
    let generation = u64::from_be_bytes(key.generation.0);
    let shard = format!(
        "{}{}:{generation:016x}:{}:",
        root(stripe),
        key.item,
        key.shard
    );
    PARTS.map(|part| Bytes::from(format!("{shard}{part}")))
}

/// What its keys have in braces.
pub(super) fn tag(stripe: StripeNo) -> &'static str {
    TAGS[usize::from(stripe.0) % TAGS.len()]
}

fn root(stripe: StripeNo) -> String {
    format!("{PREFIX}{{{}}}:", tag(stripe))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use fred::util::redis_keyslot;

    use super::*;
    use crate::ids::{Generation, ItemId, ShardNo};

    fn shard() -> ShardKey {
        ShardKey {
            item: ItemId::parse("a:b").unwrap(),
            generation: Generation([0, 0, 0, 0, 0, 0, 0x12, 0xab]),
            shard: ShardNo(63),
        }
    }

    #[test]
    fn all_keys_of_a_stripe_lie_in_its_slot() {
        for stripe in StripeNo::all() {
            let keys = of_stripe(stripe)
                .into_iter()
                .chain(of_shard(stripe, &shard()))
                .chain([notices(stripe), beat(stripe)]);
            for key in keys {
                assert_eq!(redis_keyslot(&key), slot(stripe), "{key:?}");
            }
        }
    }

    #[test]
    fn slots_are_evenly_spaced() {
        let slots: Vec<_> = StripeNo::all().map(slot).collect();
        assert_eq!(slots[0], 128);
        assert_eq!(slots[63], 16_256);
        assert!(slots.windows(2).all(|pair| pair[1] - pair[0] == 256));
    }

    /// A store that is there is found by these names.
    #[test]
    fn pinned() {
        let [guard, catalog, index] = of_stripe(StripeNo(7));
        assert_eq!(guard, "holdfast:{7-e8r}:guard");
        assert_eq!(catalog, "holdfast:{7-e8r}:catalog");
        assert_eq!(index, "holdfast:{7-e8r}:index");
        assert_eq!(notices(StripeNo(7)), "holdfast:{7-e8r}:notices");
        assert_eq!(beat(StripeNo(7)), "holdfast:{7-e8r}:beat");
        let names = of_shard(StripeNo(7), &shard());
        assert_eq!(names[0], "holdfast:{7-e8r}:a:b:00000000000012ab:63:h");
        let all: String = TAGS.join(" ");
        assert_eq!(crc32fast::hash(all.as_bytes()), 0x54a0_226f);
        let distinct: BTreeSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), PARTS.len());
    }
}
