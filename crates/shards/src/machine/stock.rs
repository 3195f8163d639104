//! The ledger's part: how many units an item has.

use super::ops::{Claimant, Reading, ShardReply};
use super::record::{Adjustment, StockChange};
use super::settings::{SaleNow, Selling};
use super::shard::Turn;
use crate::ids::{RequestId, TOTAL_MAX};

impl Turn<'_> {
    /// Changes the stock, once per request id. Taking takes available units
    /// only; a refusal leaves no record.
    pub(super) fn change(
        &mut self,
        request: RequestId,
        change: StockChange,
        gathered: bool,
        version: u64,
    ) -> ShardReply {
        let reply = self.decide_change(request, change, gathered, version);
        if reply.is_decision() {
            self.end_claim(Claimant::Operator(request));
        }
        reply
    }

    fn decide_change(
        &mut self,
        request: RequestId,
        change: StockChange,
        gathered: bool,
        version: u64,
    ) -> ShardReply {
        let Some(supply) = self.shard.header.counters.supply else {
            return ShardReply::Missing;
        };
        if let Some(earlier) = self.shard.adjustments.get(&request).copied() {
            if earlier.change != change {
                return ShardReply::Reused;
            }
            if !self.expire_due() {
                return ShardReply::Again;
            }
            return ShardReply::Changed {
                applied: earlier.applied,
                replayed: true,
                reading: self.read(),
            };
        }
        if let Some(old) = self.knows_less_than(version) {
            return old;
        }
        if self.shard.header.settings.selling == Selling::Deleting {
            return ShardReply::NotSelling(SaleNow::Deleting);
        }
        let total = supply + self.shard.header.counters.surplus;
        let (delta, allow_partial) = match change {
            StockChange::Adjust {
                delta,
                allow_partial,
            } => (delta, allow_partial),
            StockChange::SetTotal { expected, .. } if expected != total => {
                return ShardReply::TotalMismatch { total };
            }
            StockChange::SetTotal { total: wanted, .. } if wanted > TOTAL_MAX => {
                return ShardReply::TotalTooLarge { total };
            }
            StockChange::SetTotal { total: wanted, .. } => {
                (wanted.cast_signed().saturating_sub_unsigned(total), false)
            }
        };
        if delta > 0 && delta.unsigned_abs() > TOTAL_MAX.saturating_sub(total) {
            return ShardReply::TotalTooLarge { total };
        }
        // ⚔ Also for a gain: the answer shows the stock after it.
        if !self.expire_due() {
            return ShardReply::Again;
        }
        let available = self.shard.header.counters.available;
        // Units that other shards gave twice (their surplus) may have come here
        // too: they can be sold, but were never stocked, so the ledger's books
        // have nothing to take them from.
        let takeable = available.min(total);
        let there = delta.unsigned_abs() <= available;
        let applied = if delta >= 0 || delta.unsigned_abs() <= takeable {
            delta
        } else if allow_partial && (gathered || there) {
            0_i64.saturating_sub_unsigned(takeable)
        } else {
            return ShardReply::Short {
                wanted: delta.unsigned_abs(),
                available,
                held: self.shard.header.counters.held,
            };
        };
        if self.batch.full {
            return ShardReply::Full;
        }
        let counters = self.counters();
        let units = applied.unsigned_abs();
        if applied >= 0 {
            counters.supply = Some(supply + units);
            self.gain(units);
        } else {
            // What was stocked goes first, then what a release found given
            // twice: I1 holds through both.
            let stocked = units.min(supply);
            counters.available -= units;
            counters.supply = Some(supply - stocked);
            counters.surplus -= units - stocked;
        }
        self.changes.adjustments.insert(request);
        self.shard
            .adjustments
            .insert(request, Adjustment { change, applied });
        ShardReply::Changed {
            applied,
            replayed: false,
            reading: self.read(),
        }
    }

    pub(super) fn look(&mut self) -> ShardReply {
        if self.expire_due() {
            ShardReply::Read(self.read())
        } else {
            ShardReply::Again
        }
    }

    fn read(&self) -> Box<Reading> {
        self.shard.read(self.now())
    }
}
