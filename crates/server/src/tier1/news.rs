//! What the store tells, and what is forgotten then.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use shards::ids::ItemId;
use shards::rules::{Rule, holds};
use shards::store::{Listener, Notice};

use super::Tier1;

/// Notices that were heard.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    units: AtomicU64,
    changed: AtomicU64,
    missed: AtomicU64,
}

/// The same at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeardSoFar {
    /// That units came free.
    pub(crate) units: u64,
    /// That an item was made, changed or deleted.
    pub(crate) changed: u64,
    /// That some may have been missed, and all is forgotten.
    pub(crate) missed: u64,
}

impl Heard {
    pub(super) fn so_far(&self) -> HeardSoFar {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        HeardSoFar {
            units: read(&self.units),
            changed: read(&self.changed),
            missed: read(&self.missed),
        }
    }
}

/// The ear of a [`Tier1`], which the store keeps for as long as it lives.
struct Ear(Weak<Tier1>);

impl Listener for Ear {
    fn hear(&self, notice: &Notice) {
        if let Some(tier1) = self.0.upgrade() {
            tier1.hear(notice);
        }
    }
}

impl Tier1 {
    pub(super) fn listen(self: &Arc<Self>) {
        let ear = Ear(Arc::downgrade(self));
        self.inventory.listen(Arc::new(ear));
    }

    /// ⚔ From here on no mark is believed that was found before, nor one that is
    /// being found: by the time an operation of this server is answered, nothing
    /// here contradicts it.
    fn hear(&self, notice: &Notice) {
        let count = match notice {
            Notice::Units(item) => {
                self.forget_mark(item);
                &self.heard.units
            }
            Notice::Changed(item) => {
                self.forget_mark(item);
                self.views.invalidate(item);
                self.stock.invalidate(item);
                &self.heard.changed
            }
            Notice::Missed => {
                if holds(Rule::MarksHeedMissedNotices) {
                    self.marks.invalidate_all();
                    self.views.invalidate_all();
                    self.stock.invalidate_all();
                }
                &self.heard.missed
            }
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    fn forget_mark(&self, item: &ItemId) {
        if holds(Rule::MarksHeedNotices) {
            self.marks.invalidate(item);
        }
    }
}
