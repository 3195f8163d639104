//! Page tokens: where a listing goes on, and of which listing. Checked, so that
//! a token of another listing is refused rather than misread.

use data_encoding::BASE32_NOPAD;

use super::FieldError;
use crate::hash::{FingerprintKey, page_check};
use crate::ids::{ItemId, STRIPES, StripeNo};

const CHECK_LEN: usize = 8;

/// The place after an item, in the order of a listing.
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

    /// The token; `filter` is whatever else the listing depends on.
    pub(super) fn encode(&self, key: &FingerprintKey, filter: &str) -> String {
        let mut bytes = vec![self.stripe.0];
        if let Some(after) = &self.after {
            bytes.extend_from_slice(after.as_str().as_bytes());
        }
        let check = page_check(key, &bytes, filter);
        bytes.extend_from_slice(&check);
        BASE32_NOPAD.encode(&bytes)
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
        Self::read(token, key, filter).ok_or_else(|| {
            FieldError::new(
                "page_token",
                "must be the next_page_token of a reply to the same request",
            )
        })
    }

    fn read(token: &str, key: &FingerprintKey, filter: &str) -> Option<Self> {
        let bytes = BASE32_NOPAD.decode(token.as_bytes()).ok()?;
        let (place, check) = bytes.split_at_checked(bytes.len().checked_sub(CHECK_LEN)?)?;
        if check != page_check(key, place, filter) {
            return None;
        }
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
}
