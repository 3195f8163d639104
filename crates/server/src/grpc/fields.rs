//! Checks of single fields, and the list of those that break their rules. The
//! rules of ids and quantities are those of the domain's own types; here are
//! those of the wire: durations, instants, enums, lengths.

use prost_types::{Duration, Timestamp};
use proto::v1;
use shards::ids::{BuyerId, Invalid, ItemId, RequestId};
use shards::inventory::spec::TEXT_LEN_MAX;
use shards::inventory::{Error, FieldError, Inventory, Target};
use shards::time::Millis;

use super::requests::TargetField;

/// Most entries of a page; more is clamped.
const PAGE_SIZE_MAX: u32 = 1_000;
/// Most seconds of a `google.protobuf.Duration`: 10,000 years.
const DURATION_SECONDS_MAX: i64 = 315_576_000_000;
/// First and last second of a `google.protobuf.Timestamp`: the years 1 to 9999.
const TIMESTAMP_SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
const NANOS: std::ops::RangeInclusive<i32> = 0..=999_999_999;
const NANOS_PER_MILLI: i32 = 1_000_000;

/// The fields of one request that break their rules: all are looked at before
/// any is told.
#[derive(Debug, Default)]
pub(super) struct Fields {
    broken: Vec<FieldError>,
    /// Path of the message that is looked at, with its dot.
    prefix: &'static str,
}

impl Fields {
    /// Notes a broken field.
    pub(super) fn breaks(&mut self, field: &str, rule: impl Into<String>) {
        self.broken
            .push(FieldError::new(format!("{}{field}", self.prefix), rule));
    }

    /// Notes broken fields that others found; their paths are complete.
    pub(super) fn breaks_all(&mut self, broken: Vec<FieldError>) {
        self.broken.extend(broken);
    }

    /// The value, or a broken field.
    pub(super) fn check<T>(&mut self, field: &str, value: Result<T, Invalid>) -> Option<T> {
        value.map_err(|e| self.breaks(field, e.rule)).ok()
    }

    /// The request, if no field is broken. `None` comes from broken ones only.
    pub(super) fn finish<T>(self, request: Option<T>) -> Result<T, Error> {
        match request {
            Some(request) if self.broken.is_empty() => Ok(request),
            _ => Err(Error::Invalid(self.broken)),
        }
    }

    pub(super) fn item_id(&mut self, field: &str, text: &str) -> Option<ItemId> {
        self.check(field, ItemId::parse(text))
    }

    pub(super) fn buyer_id(&mut self, field: &str, text: &str) -> Option<BuyerId> {
        self.check(field, BuyerId::parse(text))
    }

    pub(super) fn request_id(&mut self, field: &str, text: &str) -> Option<RequestId> {
        self.check(field, RequestId::parse(text))
    }

    /// Free text for people.
    pub(super) fn text<'a>(&mut self, field: &str, text: &'a str) -> Option<&'a str> {
        if text.len() > TEXT_LEN_MAX {
            self.breaks(field, format!("must be at most {TEXT_LEN_MAX} bytes"));
            return None;
        }
        Some(text)
    }

    /// Which reservation is meant.
    pub(super) fn target(
        &mut self,
        inventory: &Inventory,
        target: Option<TargetField<'_>>,
    ) -> Option<Target> {
        match target {
            None => {
                self.breaks("target", "must be set: reservation_id or key");
                None
            }
            Some(TargetField::ReservationId(text)) => self
                .check("reservation_id", inventory.parse_reservation_id(text))
                .map(Target::Id),
            Some(TargetField::Key(key)) => self.key(key),
        }
    }

    fn key(&mut self, key: &v1::ReservationKey) -> Option<Target> {
        let item = self.item_id("key.item_id", &key.item_id);
        let buyer = self.buyer_id("key.buyer_id", &key.buyer_id);
        let request = self.request_id("key.request_id", &key.request_id);
        Some(Target::Key {
            item: item?,
            buyer: buyer?,
            request: request?,
        })
    }

    /// A length of time; unset is nothing, broken is nothing too.
    pub(super) fn duration(&mut self, field: &str, value: Option<&Duration>) -> Option<u64> {
        value.and_then(|duration| self.check(field, duration_ms(duration)))
    }

    /// A point in time; unset is nothing, broken is nothing too.
    pub(super) fn timestamp(&mut self, field: &str, value: Option<&Timestamp>) -> Option<Millis> {
        value.and_then(|instant| self.check(field, instant_ms(instant)))
    }

    /// An enum value of this version's contract.
    pub(super) fn known<E: TryFrom<i32>>(&mut self, field: &str, value: i32) -> Option<E> {
        let known = E::try_from(value).ok();
        if known.is_none() {
            self.breaks(field, format!("has no value {value} in this version"));
        }
        known
    }

    /// How much of a listing is wanted.
    pub(super) fn page_size(&mut self, value: i32) -> Option<u32> {
        let size = u32::try_from(value).ok();
        if size.is_none() {
            self.breaks("page_size", "must not be negative");
        }
        size.map(|size| size.min(PAGE_SIZE_MAX))
    }

    /// The version that an item must have; 0 is any.
    pub(super) fn expected_version(&mut self, value: i64) -> Option<u64> {
        let version = u64::try_from(value).ok();
        if version.is_none() {
            self.breaks("expected_version", "must not be negative (0 means any)");
        }
        version
    }

    /// As many entries as a batch may have.
    pub(super) fn batch(&mut self, field: &str, len: usize, max: usize) {
        if len == 0 || len > max {
            self.breaks(field, format!("must have 1 to {max} entries"));
        }
    }

    /// Looks at fields of a message within the request, such as `item.`.
    pub(super) fn within<T>(
        &mut self,
        prefix: &'static str,
        look: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let outer = std::mem::replace(&mut self.prefix, prefix);
        let found = look(self);
        self.prefix = outer;
        found
    }
}

/// Whole milliseconds of a duration; what is below one is dropped, so that
/// nobody gets longer than they asked for.
fn duration_ms(duration: &Duration) -> Result<u64, Invalid> {
    if duration.seconds < 0 || duration.nanos < 0 {
        return Err(Invalid {
            rule: "must not be negative",
        });
    }
    if duration.seconds > DURATION_SECONDS_MAX || !NANOS.contains(&duration.nanos) {
        return Err(Invalid {
            rule: "must be a duration of at most 10000 years, with nanos below 1000000000",
        });
    }
    Ok(duration.seconds.unsigned_abs() * 1000
        + u64::from((duration.nanos / NANOS_PER_MILLI).unsigned_abs()))
}

/// The millisecond in which an instant lies.
fn instant_ms(instant: &Timestamp) -> Result<Millis, Invalid> {
    if !TIMESTAMP_SECONDS.contains(&instant.seconds) || !NANOS.contains(&instant.nanos) {
        return Err(Invalid {
            rule: "must be a time of the years 1 to 9999, with nanos of 0 to 999999999",
        });
    }
    Ok(Millis(
        instant.seconds * 1000 + i64::from(instant.nanos / NANOS_PER_MILLI),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_keep_whole_milliseconds_and_refuse_what_is_none() {
        let ms = |seconds, nanos| duration_ms(&Duration { seconds, nanos }).ok();
        assert_eq!(ms(0, 0), Some(0));
        assert_eq!(ms(1, 500_999_999), Some(1_500));
        assert_eq!(ms(0, 999_999), Some(0));
        assert_eq!(ms(DURATION_SECONDS_MAX, 0), Some(315_576_000_000_000));
        for (seconds, nanos) in [
            (-1, 0),
            (0, -1),
            (1, -1),
            (0, 1_000_000_000),
            (DURATION_SECONDS_MAX + 1, 0),
            (i64::MAX, 0),
            (i64::MIN, i32::MIN),
        ] {
            assert_eq!(ms(seconds, nanos), None, "{seconds}s {nanos}ns");
        }
    }

    #[test]
    fn instants_keep_their_millisecond_and_refuse_what_is_none() {
        let ms = |seconds, nanos| instant_ms(&Timestamp { seconds, nanos }).ok().map(|m| m.0);
        assert_eq!(ms(0, 0), Some(0));
        assert_eq!(ms(-1, 999_000_000), Some(-1));
        assert_eq!(ms(1_700_000_000, 123_999_999), Some(1_700_000_000_123));
        for (seconds, nanos) in [
            (253_402_300_800, 0),
            (-62_135_596_801, 0),
            (0, -1),
            (0, 1_000_000_000),
            (i64::MAX, 0),
        ] {
            assert_eq!(ms(seconds, nanos), None, "{seconds}s {nanos}ns");
        }
    }
}
