//! From what an operator asks for to the terms of an item: bounds and defaults.

use crate::ids::TOTAL_MAX;
use crate::ids::{QUANTITY_MAX, SHARDS_MAX};
use crate::machine::{ItemSpec, Selling, Settings, Terms};

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

/// The first terms of an item, with every default filled in. Field names are
/// those of `CreateItemRequest`.
///
/// # Errors
/// Every field that breaks its rule.
pub fn terms(spec: &ItemSpec) -> Result<Terms, Vec<FieldError>> {
    let mut errors = Vec::new();
    let mut check = |ok: bool, field: &str, rule: &str| {
        if !ok {
            errors.push(FieldError::new(field, rule));
        }
    };
    let hold_ttl_ms = spec.hold_ttl_ms.unwrap_or(HOLD_TTL_DEFAULT_MS);
    check(
        (HOLD_TTL_MIN_MS..=HOLD_TTL_MAX_MS).contains(&hold_ttl_ms),
        "item.hold_ttl",
        "must be 100ms to 1 year (to sell without a hold say sell_at_once)",
    );
    let max_hold_ms = spec.max_hold_ms.unwrap_or_else(|| {
        hold_ttl_ms
            .saturating_mul(MAX_HOLD_DEFAULT_TTLS)
            .max(hold_ttl_ms)
    });
    check(
        max_hold_ms >= hold_ttl_ms,
        "item.max_hold",
        "must be at least hold_ttl",
    );
    let retention_ms = spec.retention_ms.unwrap_or(RETENTION_DEFAULT_MS);
    check(
        (RETENTION_MIN_MS..=RETENTION_MAX_MS).contains(&retention_ms),
        "item.retention",
        "must be 10 minutes to 2 years",
    );
    check(
        spec.shard_count <= SHARDS_MAX,
        "item.shard_count",
        "must be at most 64 (0 lets the service choose)",
    );
    check(
        spec.max_units_per_reservation <= QUANTITY_MAX,
        "item.max_units_per_reservation",
        "must be at most 1000000 (0 means that)",
    );
    check(
        spec.display_name.len() <= TEXT_LEN_MAX,
        "item.display_name",
        "must be at most 256 bytes",
    );
    check(
        spec.initial_stock <= TOTAL_MAX,
        "initial_stock",
        "must be 0 to 9007199254740991",
    );
    if let (Some(start), Some(end)) = (spec.sale_start, spec.sale_end) {
        check(
            start < end,
            "item.sale_end_time",
            "must be after sale_start_time",
        );
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(Terms {
        settings: Settings {
            selling: Selling::Open,
            sale_start: spec.sale_start,
            sale_end: spec.sale_end,
            hold_ttl_ms,
            max_hold_ms,
            sell_at_once: spec.sell_at_once,
            counts_buyers: spec.max_units_per_buyer > 0,
            max_units_per_buyer: spec.max_units_per_buyer,
            max_units_per_reservation: match spec.max_units_per_reservation {
                0 => QUANTITY_MAX,
                max => max,
            },
            retention_ms,
        },
        display_name: spec.display_name.clone(),
        state_reason: String::new(),
    })
}
