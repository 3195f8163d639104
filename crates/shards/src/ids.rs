//! Names and numbers of the domain, each a type of its own so that two of them
//! cannot be swapped. Whoever holds one holds a valid one: the bounds of the
//! contract are checked where a value enters, here, and nowhere again.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Most units of one reservation, and of one answer about one.
pub const QUANTITY_MAX: u32 = 1_000_000;

/// Most units an item can be stocked with: 2^53 − 1, the largest integer that
/// JSON readers in the field keep exact.
pub const TOTAL_MAX: u64 = (1 << 53) - 1;

/// Most shards of one item.
pub const SHARDS_MAX: u32 = 64;

/// Stripes of a store. Recorded in every guard; there is no setting.
pub const STRIPES: u8 = 64;

/// Longest item id and longest buyer id, in bytes.
const ID_LEN_MAX: usize = 128;

/// A value that breaks its rule. Says the rule, not the value: the caller knows
/// what it sent, and logs need not repeat it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rule}")]
pub struct Invalid {
    /// The rule, as the end of the sentence "this field …".
    pub rule: &'static str,
}

/// An item, as its shop calls it: 1 to 128 of `[A-Za-z0-9._:-]`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ItemId(Arc<str>);

impl ItemId {
    /// Checks the bounds and takes the id.
    ///
    /// # Errors
    /// [`Invalid`] when it is empty, too long, or has another character.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-');
        if text.is_empty() || text.len() > ID_LEN_MAX || !text.bytes().all(allowed) {
            return Err(Invalid {
                rule: "must be 1 to 128 characters of A-Z, a-z, 0-9, '.', '_', ':' and '-'",
            });
        }
        Ok(Self(Arc::from(text)))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ItemId {
    type Error = Invalid;
    fn try_from(text: String) -> Result<Self, Invalid> {
        Self::parse(&text)
    }
}

impl From<ItemId> for String {
    fn from(id: ItemId) -> Self {
        id.as_str().to_owned()
    }
}

impl fmt::Display for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A buyer, as its shop calls them: 1 to 128 bytes without control characters.
/// Never stored: see [`Fingerprint`].
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct BuyerId(Arc<str>);

impl BuyerId {
    /// Checks the bounds and takes the id.
    ///
    /// # Errors
    /// [`Invalid`] when it is empty, too long, or has a control character
    /// (Unicode Cc).
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() || text.len() > ID_LEN_MAX || text.chars().any(char::is_control) {
            return Err(Invalid {
                rule: "must be 1 to 128 bytes of UTF-8 without control characters",
            });
        }
        Ok(Self(Arc::from(text)))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for BuyerId {
    /// Buyer ids are personal data: they stay out of logs, also by accident.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BuyerId(…)")
    }
}

/// The caller's name for one request: a UUID (RFC 9562), by its 16 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId(pub [u8; 16]);

impl RequestId {
    /// Reads the hyphenated form, either case.
    ///
    /// # Errors
    /// [`Invalid`] for any other form (braces, urn, no hyphens) and for the nil
    /// UUID, which is what forgotten fields look like.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        const RULE: Invalid = Invalid {
            rule: "must be a UUID such as 018f4e6a-3c1d-7b2a-9f00-5e8d7c6b5a49, and not the nil UUID",
        };
        // Of the forms that the parser takes only the hyphenated one is this long.
        if text.len() != 36 {
            return Err(RULE);
        }
        match uuid::Uuid::try_parse(text) {
            Ok(id) if !id.is_nil() => Ok(Self(id.into_bytes())),
            _ => Err(RULE),
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid::Uuid::from_bytes(self.0).hyphenated().fmt(f)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One life of an item id: 8 random bytes drawn at creation, part of every key
/// and of every reservation id, so that nothing late ever touches a later item
/// of the same name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Generation(pub [u8; 8]);

impl fmt::Debug for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

/// What is stored of a buyer: a hash of item and buyer, keyed with the store's
/// secret (see [`crate::hash`]).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fingerprint(pub [u8; 8]);

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

/// Units of one request: 1 to [`QUANTITY_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity(u32);

impl Quantity {
    /// Checks the service's bounds; an item's own maximum is its shard's to check.
    ///
    /// # Errors
    /// [`Invalid`] for 0 and for more than [`QUANTITY_MAX`].
    pub fn new(units: u32) -> Result<Self, Invalid> {
        if units == 0 || units > QUANTITY_MAX {
            return Err(Invalid {
                rule: "must be 1 to 1000000",
            });
        }
        Ok(Self(units))
    }

    /// As a number.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0
    }
}

/// One of the store's [`STRIPES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StripeNo(pub u8);

impl StripeNo {
    /// Every stripe of a store.
    pub fn all() -> impl DoubleEndedIterator<Item = Self> + Clone {
        (0..STRIPES).map(Self)
    }
}

impl fmt::Display for StripeNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One of an item's shards, from 0. Shard 0 is also the item's ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ShardNo(pub u8);

impl ShardNo {
    /// The shard that knows what the item was stocked with.
    pub const LEDGER: Self = Self(0);
}

impl fmt::Display for ShardNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a shard's state is found: one life of one item, one of its shards.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ShardKey {
    /// The item.
    pub item: ItemId,
    /// Which life of that id.
    pub generation: Generation,
    /// Which shard.
    pub shard: ShardNo,
}

/// Names a request within a shard: who asks, and which of their requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RecordKey {
    /// The caller's id of the request.
    pub request: RequestId,
    /// The buyer.
    pub buyer: Fingerprint,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn item_ids_keep_to_their_alphabet() {
        for good in ["a", "SKU-1:red_XL.2", &"x".repeat(128)] {
            assert!(ItemId::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "a{b}", "a\0", "ü", "a\n", &"x".repeat(129)] {
            assert!(ItemId::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn buyer_ids_are_any_text_without_control_characters() {
        for good in ["guest 7", "Zoë", "{x}", &"x".repeat(128)] {
            assert!(BuyerId::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "a\tb", "\u{85}", &"x".repeat(129), &"ü".repeat(65)] {
            assert!(BuyerId::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn request_ids_are_hyphenated_uuids_of_either_case() {
        let lower = RequestId::parse("018f4e6a-3c1d-7b2a-9f00-5e8d7c6b5a49");
        let upper = RequestId::parse("018F4E6A-3C1D-7B2A-9F00-5E8D7C6B5A49");
        assert!(lower.is_ok());
        assert_eq!(lower, upper);
        for bad in [
            "",
            "00000000-0000-0000-0000-000000000000",
            "{018f4e6a-3c1d-7b2a-9f00-5e8d7c6b5a49}",
            "urn:uuid:018f4e6a-3c1d-7b2a-9f00-5e8d7c6b5a49",
            "018f4e6a3c1d7b2a9f005e8d7c6b5a49",
            "018f4e6a-3c1d-7b2a-9f00-5e8d7c6b5a4g",
            "018f4e6a-3c1d7-b2a-9f00-5e8d7c6b5a49",
        ] {
            assert!(RequestId::parse(bad).is_err(), "{bad}");
        }
    }
}
