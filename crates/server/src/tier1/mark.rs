//! Why an item's next request is expected to be refused.

use shards::ids::Quantity;
use shards::inventory::{NotedReserve, Reserved, SteadyStock};
use shards::rules::{Rule, holds};

/// What was found out about an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// This is all there was.
    Short {
        /// Could be bought.
        available: u64,
        /// Could come back.
        held: u64,
    },
    /// Its settings refused: before or after its sale, or paused. They tell
    /// which, and whether that is still so.
    NotForSale,
    /// It was found for sale after it had not been.
    ForSale,
}

impl Mark {
    /// What may be remembered of a decision.
    pub(super) fn of(noted: &NotedReserve) -> Option<Self> {
        match noted.reserved {
            Reserved::Short { available, held } => {
                noted.steady.then_some(Self::Short { available, held })
            }
            Reserved::NotStarted { .. } | Reserved::SaleEnded | Reserved::SalePaused => {
                Some(Self::NotForSale)
            }
            Reserved::Granted { .. } | Reserved::AlreadyEnded(_) | Reserved::OverLimit { .. } => {
                None
            }
        }
    }

    /// ⚔ Larger quantities only: 3 units that are left are for whoever asks for
    /// 3, whatever was said to one who wanted 1,000.
    pub(super) fn refuses(self, quantity: Quantity) -> bool {
        match self {
            Self::Short { available, .. } => {
                u64::from(quantity.get()) > available || !holds(Rule::MarksCarryTheirNumber)
            }
            Self::NotForSale => true,
            Self::ForSale => false,
        }
    }

    /// Whether it can still be true where one shard alone has so many.
    pub(super) fn allows_for(self, at_home: u64) -> bool {
        matches!(self, Self::Short { available, .. } if at_home <= available)
    }

    /// The refusal itself, where it is one of too few units.
    pub(super) fn refusal(self, quantity: Quantity) -> Option<Reserved> {
        let Self::Short { available, held } = self else {
            return None;
        };
        self.refuses(quantity)
            .then_some(Reserved::Short { available, held })
    }
}

impl From<SteadyStock> for Mark {
    fn from(SteadyStock { available, held }: SteadyStock) -> Self {
        Self::Short { available, held }
    }
}
