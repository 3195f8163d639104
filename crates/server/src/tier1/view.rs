//! An item's settings as far as they can refuse.

use shards::ids::Quantity;
use shards::inventory::Reserved;
use shards::machine::{Entry, SaleNow, Settings};
use shards::time::Millis;

/// This close to the start or the end of a sale the store is asked: only its
/// clock says on which side of it a request falls.
const EDGE_MS: u64 = 1_000;

/// What was read of an item's entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct View {
    settings: Settings,
    /// It is being deleted, which is found out by asking.
    is_ending: bool,
    /// The store's time when the entry was read, and this server's, in ms of its
    /// memory's clock.
    read: Option<(Millis, u64)>,
}

/// What settings say to a request.
#[derive(Debug, PartialEq)]
pub(super) enum Judgement {
    /// It is refused, whatever there is.
    Refused(Reserved),
    /// The stock decides.
    OnSale,
    /// The store has to be asked.
    Unsure,
}

impl View {
    /// Of an entry that was read just now: at `clock_ms` of the memory's clock,
    /// and at this time of the store, if it is known.
    pub(super) fn new(entry: &Entry, now: Option<Millis>, clock_ms: u64) -> Self {
        Self {
            settings: entry.terms.settings,
            is_ending: entry.life.is_ending(),
            read: now.map(|now| (now, clock_ms)),
        }
    }

    /// Whether one request may ask for so many.
    pub(super) fn permits(&self, quantity: Quantity) -> bool {
        quantity.get() <= self.settings.max_units_per_reservation
    }

    /// By the store's time, as far as it can be told without asking.
    pub(super) fn judge(&self, clock_ms: u64) -> Judgement {
        let Settings {
            sale_start,
            sale_end,
            ..
        } = self.settings;
        let now = self
            .read
            .map(|(then, at_ms)| then.plus_ms(clock_ms.saturating_sub(at_ms)));
        let now = match now {
            _ if self.is_ending => return Judgement::Unsure,
            Some(now) => now,
            // Without edges any time will do.
            None if sale_start.is_none() && sale_end.is_none() => Millis::default(),
            None => return Judgement::Unsure,
        };
        let is_near = |edge: Millis| now.ms_until(edge) < EDGE_MS && edge.ms_until(now) < EDGE_MS;
        if [sale_start, sale_end].into_iter().flatten().any(is_near) {
            return Judgement::Unsure;
        }
        match self.settings.sale_at(now) {
            SaleNow::On => Judgement::OnSale,
            SaleNow::NotStarted { sale_start } => {
                Judgement::Refused(Reserved::NotStarted { sale_start })
            }
            SaleNow::Ended => Judgement::Refused(Reserved::SaleEnded),
            SaleNow::Paused => Judgement::Refused(Reserved::SalePaused),
            SaleNow::Deleting => Judgement::Unsure,
        }
    }
}
