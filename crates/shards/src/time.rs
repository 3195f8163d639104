//! Instants of the store. Durations come from clients, instants from the
//! store's clock alone, so that no caller's clock ever ends a hold.

use serde::{Deserialize, Serialize};

/// An instant by the store's clock: milliseconds since 1970-01-01T00:00:00Z.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Millis(pub i64);

impl Millis {
    /// This much later. Saturates, so that "for ever" stays for ever.
    #[must_use]
    pub fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add_unsigned(ms))
    }

    /// How long from here to `later`; 0 if that is not later.
    #[must_use]
    pub fn ms_until(self, later: Self) -> u64 {
        u64::try_from(later.0.saturating_sub(self.0)).unwrap_or(0)
    }
}
