//! From what an operator asks for to the terms of an item: bounds and defaults.

use crate::ids::{QUANTITY_MAX, SHARDS_MAX, TOTAL_MAX};
use crate::machine::{ItemSpec, Selling, Settings, Terms};
use crate::time::Millis;

/// A hold lasts this long where the operator did not say.
pub const HOLD_TTL_DEFAULT_MS: u64 = 5 * 60 * 1000;
/// Bounds of a hold's life: from 100 ms to a year.
pub const HOLD_TTL_MIN_MS: u64 = 100;
/// See [`HOLD_TTL_MIN_MS`].
pub const HOLD_TTL_MAX_MS: u64 = 365 * 24 * 60 * 60 * 1000;
/// A hold can be extended to this many times its first length by default.
pub const MAX_HOLD_DEFAULT_TTLS: u64 = 4;
/// Ended reservations stay known for a day where the operator did not say.
pub const RETENTION_DEFAULT_MS: u64 = 24 * 60 * 60 * 1000;
/// Bounds of the retention: from 10 minutes to 2 years.
pub const RETENTION_MIN_MS: u64 = 10 * 60 * 1000;
/// See [`RETENTION_MIN_MS`].
pub const RETENTION_MAX_MS: u64 = 2 * HOLD_TTL_MAX_MS;
/// Longest text for people, in bytes.
pub const TEXT_LEN_MAX: usize = 256;

/// One value that breaks its rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// Path in the request, such as `item.hold_ttl`.
    pub field: String,
    /// The rule, as the end of the sentence "this field …".
    pub rule: String,
}

impl FieldError {
    /// An error of this field.
    pub fn new(field: impl Into<String>, rule: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            rule: rule.into(),
        }
    }

    /// More units at once than the item allows.
    pub(super) fn above_the_items_maximum(max: u32) -> Self {
        let rule = format!("must be at most {max}, the item's maximum for one reservation");
        Self::new("quantity", rule)
    }

    /// All of them in one sentence.
    #[must_use]
    pub fn list(errors: &[Self]) -> String {
        let all: Vec<_> = errors
            .iter()
            .map(|e| format!("{} {}", e.field, e.rule))
            .collect();
        all.join("; ")
    }
}

/// What becomes of one setting.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Edit<T> {
    /// It stays as it is.
    #[default]
    Keep,
    /// It becomes this.
    Set(T),
}

impl<T> Edit<T> {
    fn value(&self) -> Option<&T> {
        match self {
            Self::Keep => None,
            Self::Set(value) => Some(value),
        }
    }

    fn is_set(&self) -> bool {
        self.value().is_some()
    }
}

/// New values of an item's settings. As in [`ItemSpec`], `None` leaves the
/// choice to the service, and 0 units mean no bound of the item's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edits {
    /// For people.
    pub display_name: Edit<String>,
    /// How long a hold lasts.
    pub hold_ttl_ms: Edit<Option<u64>>,
    /// Longest life of a hold.
    pub max_hold_ms: Edit<Option<u64>>,
    /// 0 = no limit.
    pub max_units_per_buyer: Edit<u32>,
    /// 0 = the service's maximum.
    pub max_units_per_reservation: Edit<u32>,
    /// `None` = at once.
    pub sale_start: Edit<Option<Millis>>,
    /// `None` = never.
    pub sale_end: Edit<Option<Millis>>,
    /// How long ended reservations stay known.
    pub retention_ms: Edit<Option<u64>>,
}

/// The first terms of an item, with every default filled in. Field names are
/// those of `CreateItemRequest`.
///
/// # Errors
/// Every field that breaks its rule.
pub fn terms(spec: &ItemSpec) -> Result<Terms, Vec<FieldError>> {
    let mut errors = Errors::default();
    errors.check(
        spec.shard_count <= SHARDS_MAX,
        "item.shard_count",
        "must be at most 64 (0 lets the service choose)",
    );
    errors.check(
        spec.initial_stock <= TOTAL_MAX,
        "initial_stock",
        "must be 0 to 9007199254740991",
    );
    let fixed = Terms {
        settings: Settings {
            selling: Selling::Open,
            sale_start: None,
            sale_end: None,
            hold_ttl_ms: HOLD_TTL_DEFAULT_MS,
            max_hold_ms: max_hold_default_ms(HOLD_TTL_DEFAULT_MS),
            sell_at_once: spec.sell_at_once,
            counts_buyers: spec.max_units_per_buyer > 0,
            max_units_per_buyer: 0,
            max_units_per_reservation: QUANTITY_MAX,
            retention_ms: RETENTION_DEFAULT_MS,
        },
        display_name: String::new(),
        state_reason: String::new(),
    };
    // All that can be changed later is chosen as if it were changed now.
    let chosen = edited(&fixed, &Edits::all_of(spec));
    match chosen {
        Ok(terms) if errors.0.is_empty() => Ok(terms),
        Ok(_) => Err(errors.0),
        Err(more) => Err([errors.0, more].concat()),
    }
}

/// The terms after these edits. Field names are those of `UpdateItemRequest`.
///
/// # Errors
/// Every field that breaks its rule, alone or together with others.
pub fn edited(terms: &Terms, edits: &Edits) -> Result<Terms, Vec<FieldError>> {
    let edited = edits.apply(terms);
    let mut errors = Errors(edits.broken_values());
    edits.check_together(&edited.settings, &mut errors);
    if errors.0.is_empty() {
        Ok(edited)
    } else {
        Err(errors.0)
    }
}

impl Edits {
    fn all_of(spec: &ItemSpec) -> Self {
        Self {
            display_name: Edit::Set(spec.display_name.clone()),
            hold_ttl_ms: Edit::Set(spec.hold_ttl_ms),
            max_hold_ms: Edit::Set(spec.max_hold_ms),
            max_units_per_buyer: Edit::Set(spec.max_units_per_buyer),
            max_units_per_reservation: Edit::Set(spec.max_units_per_reservation),
            sale_start: Edit::Set(spec.sale_start),
            sale_end: Edit::Set(spec.sale_end),
            retention_ms: Edit::Set(spec.retention_ms),
        }
    }

    /// Values that break their rules whatever the item is like.
    #[must_use]
    pub fn broken_values(&self) -> Vec<FieldError> {
        let mut errors = Errors::default();
        let chosen = |edit: &Edit<Option<u64>>| edit.value().copied().flatten();
        errors.check(
            chosen(&self.hold_ttl_ms)
                .is_none_or(|ms| (HOLD_TTL_MIN_MS..=HOLD_TTL_MAX_MS).contains(&ms)),
            "item.hold_ttl",
            "must be 100ms to 1 year (to sell without a hold say sell_at_once)",
        );
        errors.check(
            chosen(&self.retention_ms)
                .is_none_or(|ms| (RETENTION_MIN_MS..=RETENTION_MAX_MS).contains(&ms)),
            "item.retention",
            "must be 10 minutes to 2 years",
        );
        errors.check(
            self.max_units_per_reservation
                .value()
                .is_none_or(|max| *max <= QUANTITY_MAX),
            "item.max_units_per_reservation",
            "must be at most 1000000 (0 means that)",
        );
        errors.check(
            self.display_name
                .value()
                .is_none_or(|name| name.len() <= TEXT_LEN_MAX),
            "item.display_name",
            "must be at most 256 bytes",
        );
        errors.0
    }

    /// Values that do not go together. Named is the one that was edited.
    fn check_together(&self, edited: &Settings, errors: &mut Errors) {
        let Settings {
            hold_ttl_ms,
            max_hold_ms,
            sale_start,
            sale_end,
            ..
        } = *edited;
        if self.max_hold_ms.is_set() {
            let rule = "must be at least hold_ttl";
            errors.check(max_hold_ms >= hold_ttl_ms, "item.max_hold", rule);
        } else {
            let rule = "must be at most max_hold: change both";
            errors.check(max_hold_ms >= hold_ttl_ms, "item.hold_ttl", rule);
        }
        let in_order = match (sale_start, sale_end) {
            (Some(start), Some(end)) => start < end,
            _ => true,
        };
        if self.sale_end.is_set() {
            let rule = "must be after sale_start_time";
            errors.check(in_order, "item.sale_end_time", rule);
        } else {
            let rule = "must be before sale_end_time: change both";
            errors.check(in_order, "item.sale_start_time", rule);
        }
    }

    /// The terms with the new values, right or not.
    fn apply(&self, terms: &Terms) -> Terms {
        let mut edited = terms.clone();
        let settings = &mut edited.settings;
        if let Edit::Set(name) = &self.display_name {
            edited.display_name.clone_from(name);
        }
        if let Edit::Set(ms) = self.hold_ttl_ms {
            settings.hold_ttl_ms = ms.unwrap_or(HOLD_TTL_DEFAULT_MS);
        }
        if let Edit::Set(ms) = self.max_hold_ms {
            settings.max_hold_ms = ms.unwrap_or(max_hold_default_ms(settings.hold_ttl_ms));
        }
        if let Edit::Set(max) = self.max_units_per_buyer {
            settings.max_units_per_buyer = max;
        }
        if let Edit::Set(max) = self.max_units_per_reservation {
            settings.max_units_per_reservation = if max == 0 { QUANTITY_MAX } else { max };
        }
        if let Edit::Set(start) = self.sale_start {
            settings.sale_start = start;
        }
        if let Edit::Set(end) = self.sale_end {
            settings.sale_end = end;
        }
        if let Edit::Set(ms) = self.retention_ms {
            settings.retention_ms = ms.unwrap_or(RETENTION_DEFAULT_MS);
        }
        edited
    }
}

fn max_hold_default_ms(hold_ttl_ms: u64) -> u64 {
    hold_ttl_ms.saturating_mul(MAX_HOLD_DEFAULT_TTLS)
}

/// What was found so far.
#[derive(Default)]
struct Errors(Vec<FieldError>);

impl Errors {
    fn check(&mut self, ok: bool, field: &str, rule: &str) {
        if !ok {
            self.0.push(FieldError::new(field, rule));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain() -> ItemSpec {
        ItemSpec {
            display_name: "Sneaker".to_owned(),
            shard_count: 0,
            hold_ttl_ms: None,
            max_hold_ms: None,
            sell_at_once: false,
            max_units_per_buyer: 2,
            max_units_per_reservation: 0,
            sale_start: None,
            sale_end: Some(Millis(2_000)),
            retention_ms: None,
            initial_stock: 1,
        }
    }

    fn broken(edits: &Edits) -> Vec<String> {
        match edited(&terms(&plain()).unwrap(), edits) {
            Ok(_) => Vec::new(),
            Err(errors) => errors.into_iter().map(|e| e.field).collect(),
        }
    }

    #[test]
    fn what_is_not_named_stays_and_what_is_unset_gets_its_default_again() {
        let before = terms(&plain()).unwrap();
        assert_eq!(edited(&before, &Edits::default()), Ok(before.clone()));

        let edits = Edits {
            hold_ttl_ms: Edit::Set(Some(60_000)),
            max_hold_ms: Edit::Set(None),
            max_units_per_reservation: Edit::Set(5),
            sale_end: Edit::Set(None),
            ..Edits::default()
        };
        let after = edited(&before, &edits).unwrap();
        let expected = Settings {
            hold_ttl_ms: 60_000,
            max_hold_ms: 240_000,
            max_units_per_reservation: 5,
            sale_end: None,
            ..before.settings
        };
        assert_eq!(
            (after.settings, &after.display_name),
            (expected, &before.display_name)
        );

        let back = Edits {
            hold_ttl_ms: Edit::Set(None),
            max_hold_ms: Edit::Set(None),
            max_units_per_reservation: Edit::Set(0),
            sale_end: Edit::Set(Some(Millis(2_000))),
            ..Edits::default()
        };
        assert_eq!(edited(&after, &back), Ok(before));
    }

    #[test]
    fn of_values_that_do_not_go_together_the_edited_one_is_named() {
        let hold = |ms| Edits {
            hold_ttl_ms: Edit::Set(Some(ms)),
            ..Edits::default()
        };
        assert!(broken(&hold(1_200_000)).is_empty(), "as long as max_hold");
        assert_eq!(broken(&hold(1_200_001)), ["item.hold_ttl"]);
        let longest = Edits {
            max_hold_ms: Edit::Set(Some(299_999)),
            ..Edits::default()
        };
        assert_eq!(broken(&longest), ["item.max_hold"]);
        let start = |ms| Edits {
            sale_start: Edit::Set(Some(Millis(ms))),
            ..Edits::default()
        };
        assert!(broken(&start(1_999)).is_empty());
        assert_eq!(broken(&start(2_000)), ["item.sale_start_time"]);
        let window = Edits {
            sale_end: Edit::Set(Some(Millis(1_000))),
            ..start(1_000)
        };
        assert_eq!(broken(&window), ["item.sale_end_time"]);
        let later = Edits {
            sale_end: Edit::Set(Some(Millis(3_000))),
            ..start(2_000)
        };
        assert!(broken(&later).is_empty());
    }
}
