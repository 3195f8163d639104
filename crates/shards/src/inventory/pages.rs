//! Page tokens: where a listing goes on, and of which listing. Checked, so that
//! a token of another listing is refused rather than misread.

use data_encoding::BASE32_NOPAD;

use super::FieldError;
use crate::hash::{FingerprintKey, page_check};
use crate::ids::{ItemId, STRIPES, ShardNo, StripeNo};
use crate::machine::Cursor;

const CHECK_LEN: usize = 8;

/// A place as a token; `filter` is whatever else the listing depends on.
fn encode(mut place: Vec<u8>, key: &FingerprintKey, filter: &str) -> String {
    let check = page_check(key, &place, filter);
    place.extend_from_slice(&check);
    BASE32_NOPAD.encode(&place)
}

fn decode(token: &str, key: &FingerprintKey, filter: &str) -> Option<Vec<u8>> {
    let mut bytes = BASE32_NOPAD.decode(token.as_bytes()).ok()?;
    let place_len = bytes.len().checked_sub(CHECK_LEN)?;
    let (place, check) = bytes.split_at(place_len);
    if check != page_check(key, place, filter) {
        return None;
    }
    bytes.truncate(place_len);
    Some(bytes)
}

/// What is said of a token that was not made here.
pub(super) fn not_from_here() -> FieldError {
    FieldError::new(
        "page_token",
        "must be the next_page_token of a reply to the same request",
    )
}

/// The place after an item, in the order of a listing of items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub stripe: StripeNo,
    pub after: Option<ItemId>,
}

impl Place {
    pub(super) const START: Self = Self {
        stripe: StripeNo(0),
        after: None,
    };

    /// The token.
    pub(super) fn encode(&self, key: &FingerprintKey, filter: &str) -> String {
        let mut place = vec![self.stripe.0];
        if let Some(after) = &self.after {
            place.extend_from_slice(after.as_str().as_bytes());
        }
        encode(place, key, filter)
    }

    /// Reads a token; an empty one is the start.
    pub(super) fn decode(
        token: &str,
        key: &FingerprintKey,
        filter: &str,
    ) -> Result<Self, FieldError> {
        if token.is_empty() {
            return Ok(Self::START);
        }
        Self::read(token, key, filter).ok_or_else(not_from_here)
    }

    fn read(token: &str, key: &FingerprintKey, filter: &str) -> Option<Self> {
        let place = decode(token, key, filter)?;
        let (stripe, after) = place.split_first()?;
        let after = match after {
            [] => None,
            id => Some(ItemId::parse(std::str::from_utf8(id).ok()?).ok()?),
        };
        (*stripe < STRIPES).then_some(Self {
            stripe: StripeNo(*stripe),
            after,
        })
    }
}

/// A place among an item's reservations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PlaceInItem {
    pub shard: ShardNo,
    pub after: Option<Cursor>,
}

impl PlaceInItem {
    pub(super) fn start_of(shard: ShardNo) -> Self {
        Self { shard, after: None }
    }

    /// The token.
    pub(super) fn encode(&self, key: &FingerprintKey, filter: &str) -> String {
        let after = self.after.as_ref().map_or(&[][..], |cursor| &cursor.0);
        encode([&[self.shard.0], after].concat(), key, filter)
    }

    /// Reads a token.
    pub(super) fn decode(token: &str, key: &FingerprintKey, filter: &str) -> Option<Self> {
        let place = decode(token, key, filter)?;
        let (shard, after) = place.split_first()?;
        Some(Self {
            shard: ShardNo(*shard),
            after: (!after.is_empty()).then(|| Cursor(after.to_owned())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: FingerprintKey = FingerprintKey([7; 16]);

    #[test]
    fn a_token_goes_on_where_it_was_made_and_nowhere_else() {
        let place = Place {
            stripe: StripeNo(12),
            after: ItemId::parse("sneaker").ok(),
        };
        let token = place.encode(&KEY, "prefix");
        assert_eq!(Place::decode(&token, &KEY, "prefix"), Ok(place));
        assert!(Place::decode(&token, &KEY, "other").is_err());
        assert!(Place::decode(&token, &FingerprintKey([8; 16]), "prefix").is_err());
        for bad in ["x", "AAAA", "ÄÄ", &token[1..], &token.to_lowercase()] {
            assert!(Place::decode(bad, &KEY, "prefix").is_err(), "{bad}");
        }
    }

    #[test]
    fn a_place_among_reservations_is_any_bytes_of_a_store() {
        for after in [None, Some(Cursor(vec![0])), Some(Cursor(vec![0xff; 24]))] {
            let shard = ShardNo(63);
            let place = PlaceInItem { shard, after };
            let token = place.encode(&KEY, "filter");
            assert_eq!(PlaceInItem::decode(&token, &KEY, "filter"), Some(place));
            assert_eq!(PlaceInItem::decode(&token, &KEY, "another"), None);
            assert_eq!(PlaceInItem::decode(&token[1..], &KEY, "filter"), None);
        }
    }
}
