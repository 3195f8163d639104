//! What was granted, refused, and put in.

use super::super::super::*;
use super::{Seal, Seen};
use crate::ids::{RecordKey, RequestId};
use crate::time::Millis;

impl Seen {
    pub(super) fn reserved(
        &mut self,
        key: RecordKey,
        units: u32,
        knows: u64,
        seal: &Seal<'_>,
    ) -> Result<(), String> {
        let now = seal.now;
        let selling = self.sells(now);
        match seal.reply {
            ShardReply::Granted {
                reservation,
                replayed: false,
            } => {
                let record = reservation.record;
                // I3.
                let before = self.last(key);
                ensure!(before.is_none_or(|g| g.may_be_gone), "I3: granted twice");
                ensure!(
                    selling && knows <= self.version && !seal.full,
                    "granted out of turn"
                );
                ensure!(
                    record.quantity == units && record.granted == now,
                    "not as asked"
                );
                ensure!(
                    units <= self.settings.max_units_per_reservation,
                    "too many at once"
                );
                ensure!(
                    !self.short(units, now),
                    "oversold: {} were free",
                    self.available(now)
                );
                ensure!(
                    !self.over_limit(key.buyer, units, now),
                    "I5: beyond the limit"
                );
                let (state, until) = if self.settings.sell_at_once {
                    (State::Confirmed, now)
                } else {
                    (State::Held, now.plus_ms(self.settings.hold_ttl_ms))
                };
                ensure!(
                    (record.state, record.until) == (state, until),
                    "not {state:?} to {until:?}"
                );
                self.push(key, record);
                Ok(())
            }
            ShardReply::Granted {
                reservation,
                replayed: true,
            } => {
                ensure!(
                    reservation.record.quantity == units,
                    "another quantity replayed"
                );
                let state = reservation.record.state;
                ensure!(
                    matches!(state, State::Held | State::Confirmed),
                    "an ended one replayed"
                );
                self.shown(key, reservation, seal)
            }
            ShardReply::Ended(reservation) => {
                let Record {
                    state, quantity, ..
                } = reservation.record;
                ensure!(
                    !matches!(state, State::Held | State::Confirmed),
                    "it has not ended"
                );
                ensure!(
                    quantity == units || quantity == 0,
                    "another quantity replayed"
                );
                self.shown(key, reservation, seal)
            }
            ShardReply::Reused => {
                let reused = self.last(key).is_some_and(|g| {
                    !g.gone && g.record.quantity != units && g.record.quantity != 0
                });
                ensure!(reused, "these ids were not used with another quantity");
                Ok(())
            }
            refusal => {
                // A replay wins over everything; older settings are no answer.
                let old = matches!(refusal, ShardReply::OldSettings { .. });
                ensure!(
                    old || self.last(key).is_none_or(|g| g.may_be_gone),
                    "not a replay"
                );
                self.refused(key, units, knows, seal)
            }
        }
    }

    /// Every no of a Reserve is true now.
    fn refused(
        &self,
        key: RecordKey,
        asked: u32,
        knows: u64,
        seal: &Seal<'_>,
    ) -> Result<(), String> {
        let now = seal.now;
        let Settings {
            selling,
            sale_start,
            sale_end,
            max_units_per_buyer: limit,
            ..
        } = self.settings;
        let truth = match *seal.reply {
            ShardReply::OldSettings { version } => version == self.version && knows > version,
            ShardReply::NotSelling(why) => match why {
                SaleNow::On => false,
                SaleNow::Paused => selling == Selling::Paused,
                SaleNow::Deleting => selling == Selling::Deleting,
                SaleNow::Ended => {
                    selling == Selling::Closed || sale_end.is_some_and(|at| now >= at)
                }
                SaleNow::NotStarted { sale_start: at } => sale_start == Some(at) && now < at,
            },
            ShardReply::TooMany { max } => {
                max == self.settings.max_units_per_reservation && asked > max
            }
            ShardReply::OverLimit { units, max } => {
                let has = self.units_of(key.buyer, now);
                max == limit && i128::from(units) == has && self.over_limit(key.buyer, asked, now)
            }
            ShardReply::Short {
                wanted,
                available,
                held,
            } => {
                let there = (i128::from(available), i128::from(held));
                there == (self.available(now), self.held(now))
                    && wanted == u64::from(asked)
                    && self.short(asked, now)
            }
            ShardReply::Full => seal.full,
            _ => false,
        };
        ensure!(
            truth,
            "not true: {} free, the buyer has {}",
            self.available(now),
            self.units_of(key.buyer, now)
        );
        Ok(())
    }

    fn sells(&self, now: Millis) -> bool {
        self.settings.selling == Selling::Open
            && self.settings.sale_start.is_none_or(|at| at <= now)
            && self.settings.sale_end.is_none_or(|at| now < at)
    }

    pub(super) fn changed(
        &mut self,
        request: RequestId,
        change: StockChange,
        seal: &Seal<'_>,
    ) -> Result<(), String> {
        let (total, free) = (self.total, self.available(seal.now));
        let before = self.changes.get(&request).copied();
        let ShardOp::Change { version: knows, .. } = *seal.op else {
            return Err("not a change".into());
        };
        let wanted = match change {
            StockChange::Adjust { delta, .. } => i128::from(delta),
            StockChange::SetTotal { total: to, .. } => i128::from(to) - total,
        };
        let truth = match *seal.reply {
            ShardReply::Changed {
                applied,
                replayed: true,
                ..
            } => before == Some((change, applied)),
            ShardReply::Changed {
                applied,
                replayed: false,
                ..
            } => {
                let partly = may_be_partial(seal.op);
                let as_asked = i128::from(applied) == wanted;
                self.stocked += i128::from(applied);
                self.total += i128::from(applied);
                self.changes.insert(request, (change, applied));
                before.is_none()
                    && knows <= self.version
                    && !seal.full
                    && self.settings.selling != Selling::Deleting
                    && self.available(seal.now) >= 0
                    && (as_asked || partly && i128::from(applied) == -free && -free > wanted)
            }
            ShardReply::Reused => before.is_some_and(|(earlier, _)| earlier != change),
            ShardReply::Short {
                wanted: asked,
                available,
                ..
            } => {
                let short = i128::from(available) == free && -wanted > free;
                short && i128::from(asked) == -wanted && !may_be_partial(seal.op)
            }
            ShardReply::OldSettings { version } => {
                before.is_none() && version == self.version && knows > version
            }
            ShardReply::TotalMismatch { total: is } => {
                let believed = matches!(change, StockChange::SetTotal { expected, .. } if i128::from(expected) == total);
                i128::from(is) == total && !believed
            }
            ShardReply::TotalTooLarge { total: is } => {
                i128::from(is) == total && total + wanted >= 1 << 53
            }
            ShardReply::Full => seal.full,
            ShardReply::NotSelling(why) => {
                why == SaleNow::Deleting && self.settings.selling == Selling::Deleting
            }
            ShardReply::Missing => !self.is_ledger,
            _ => false,
        };
        ensure!(truth, "not true: {free} of {total} are free");
        Ok(())
    }
}

/// A change that does what can be done, once stock was gathered for it.
fn may_be_partial(op: &ShardOp) -> bool {
    matches!(
        op,
        ShardOp::Change {
            change: StockChange::Adjust {
                allow_partial: true,
                ..
            },
            gathered: true,
            ..
        }
    )
}
