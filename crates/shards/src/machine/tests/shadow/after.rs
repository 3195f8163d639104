//! What became of a reservation.

use super::super::super::*;
use super::{Grant, Seal, Seen};
use crate::ids::RecordKey;

impl Seen {
    pub(super) fn handled(&mut self, key: RecordKey, seal: &Seal<'_>) -> Result<(), String> {
        let now = seal.now;
        let forbids = matches!(
            seal.op,
            ShardOp::Cancel {
                forbid_unknown: true,
                ..
            }
        );
        match seal.reply {
            ShardReply::Done(shown)
                if forbids && shown.record.quantity == 0 && shown.record.granted == now =>
            {
                if self.last(key).is_none_or(|g| g.may_be_gone) {
                    ensure!(!seal.full, "remembered although full");
                    self.push(key, shown.record);
                }
                self.shown(key, shown, seal)
            }
            ShardReply::Done(shown) | ShardReply::WrongState(shown) => self.shown(key, shown, seal),
            ShardReply::NotFound => {
                let Some(last) = self.last(key) else {
                    return Ok(());
                };
                ensure!(last.may_be_gone, "it is still known");
                last.gone = true;
                Ok(())
            }
            ShardReply::Short { .. } => {
                let probes = matches!(
                    seal.op,
                    ShardOp::Confirm {
                        late: LateConfirm::Retake,
                        ..
                    }
                );
                let units = self.last(key).map_or(0, |g| g.record.quantity);
                ensure!(
                    probes && self.short(units, now),
                    "{} are free",
                    self.available(now)
                );
                Ok(())
            }
            ShardReply::OldSettings { version } => {
                let (
                    mine,
                    ShardOp::Confirm {
                        late,
                        version: knows,
                        ..
                    },
                ) = (self.version, seal.op)
                else {
                    return Err("not a matter of settings".into());
                };
                let retakes = *late != LateConfirm::Refuse
                    && self
                        .last(key)
                        .is_some_and(|g| g.record.state == State::Expired);
                ensure!(
                    retakes && *version == mine && *knows > mine,
                    "I have {mine}, or it was not asked for anew"
                );
                Ok(())
            }
            ShardReply::NotSelling(SaleNow::Deleting) => {
                let late = matches!(seal.op, ShardOp::Confirm { .. });
                ensure!(
                    late && self.settings.selling == Selling::Deleting,
                    "it is not deleting"
                );
                Ok(())
            }
            ShardReply::Full => {
                let unknown = self.last(key).is_none_or(|g| g.may_be_gone);
                ensure!(seal.full && forbids && unknown, "nothing new was asked for");
                Ok(())
            }
            _ => self.declined(key, seal),
        }
    }

    /// The refusals of Extend and Return.
    fn declined(&mut self, key: RecordKey, seal: &Seal<'_>) -> Result<(), String> {
        let max_hold_ms = self.settings.max_hold_ms;
        let Some(Grant {
            record, returns, ..
        }) = self.last(key)
        else {
            return Err("it was never granted".into());
        };
        let truth = match (seal.op, seal.reply) {
            (ShardOp::Extend { hold_for_ms, .. }, ShardReply::HoldTooLong { max_hold_for_ms }) => {
                let longest = record.granted.plus_ms(max_hold_ms).max(record.until);
                seal.now.plus_ms(*hold_for_ms) > longest
                    && seal.now.plus_ms(*max_hold_for_ms) == longest
            }
            (
                ShardOp::Return {
                    quantity, request, ..
                },
                ShardReply::ReturnTooLarge { left },
            ) => {
                !returns.contains_key(request)
                    && *left == record.quantity - record.returned
                    && quantity.get() > *left
            }
            (ShardOp::Return { request, .. }, ShardReply::Reused) => returns.contains_key(request),
            _ => false,
        };
        ensure!(truth, "not true of {record:?}");
        Ok(())
    }

    /// A reservation was shown: it is the one that was granted, and got from
    /// where it was last seen to where it is by the operation that was asked.
    pub(super) fn shown(
        &mut self,
        key: RecordKey,
        shown: &Reservation,
        seal: &Seal<'_>,
    ) -> Result<(), String> {
        let now = seal.now;
        let Some(grant) = self.last(key) else {
            return Err("it was never granted".into());
        };
        ensure!(!grant.gone, "it came back after it was forgotten");
        let (was, is) = (
            grant.record,
            Record {
                sorted: false,
                ..shown.record
            },
        );
        ensure!(
            (was.quantity, was.granted) == (is.quantity, is.granted),
            "I3: another than {was:?}"
        );
        ensure!(shown.now == now, "not of now");
        let quantity = was.quantity;
        let units = i128::from(quantity);
        if was.state == is.state {
            self.stayed(key, was, is, seal)?;
        } else {
            let no_stock = self.short(quantity, now);
            let no_more = no_stock || self.over_limit(key.buyer, quantity, now);
            ensure!(is.until == now, "it ended at another time");
            // I6: from Held there is one way out; pass_time took the third.
            let by_the_rules = match (was.state, is.state, seal.op) {
                (State::Held, State::Confirmed, ShardOp::Confirm { .. }) => !is.late,
                (State::Held | State::Expired, State::Cancelled, ShardOp::Cancel { .. }) => true,
                (State::Expired, State::Confirmed, ShardOp::Confirm { late, .. }) => {
                    ensure!(
                        !no_more,
                        "I5, or oversold: {units} of {}",
                        self.available(now)
                    );
                    is.late && *late != LateConfirm::Refuse
                }
                (State::Expired, State::Lost, ShardOp::Confirm { late, .. }) => match late {
                    LateConfirm::Refuse => false,
                    LateConfirm::Retake => no_more && self.over_limit(key.buyer, quantity, now),
                    LateConfirm::RetakeOrLose => no_more,
                },
                _ => false,
            };
            ensure!(by_the_rules, "I6: it was {was:?}");
        }
        let grant = self.last(key).ok_or("gone")?;
        if was.until != is.until {
            grant.may_be_gone = false;
        }
        grant.record = is;
        Ok(())
    }

    fn stayed(
        &mut self,
        key: RecordKey,
        was: Record,
        is: Record,
        seal: &Seal<'_>,
    ) -> Result<(), String> {
        let (mut until, mut returned) = (was.until, was.returned);
        let done = matches!(seal.reply, ShardReply::Done(_));
        let stands = match (seal.op, is.state) {
            (ShardOp::Extend { hold_for_ms, .. }, State::Held) => {
                until = until.max(seal.now.plus_ms(*hold_for_ms));
                let longest = was.granted.plus_ms(self.settings.max_hold_ms);
                ensure!(until <= longest.max(was.until), "it lasts too long");
                done
            }
            (
                ShardOp::Return {
                    request,
                    quantity,
                    discard,
                    ..
                },
                State::Confirmed,
            ) => {
                let grant = self.last(key).ok_or("gone")?;
                if grant.returns.insert(*request, quantity.get()).is_none() {
                    returned += quantity.get();
                    self.discarded += if *discard {
                        i128::from(quantity.get())
                    } else {
                        0
                    };
                }
                ensure!(returned <= is.quantity, "more came back than was sold");
                done
            }
            (ShardOp::Extend { .. } | ShardOp::Return { .. }, _) => !done,
            (ShardOp::Confirm { .. }, State::Confirmed)
            | (ShardOp::Cancel { .. }, State::Cancelled | State::Lost)
            | (ShardOp::Lookup { .. }, _) => done,
            // A hold that stays one was not confirmed, and not cancelled.
            (ShardOp::Confirm { late, .. }, State::Expired) => {
                !done && *late == LateConfirm::Refuse
            }
            (ShardOp::Confirm { .. }, state) => !done && state != State::Held,
            (ShardOp::Cancel { .. }, state) => !done && state == State::Confirmed,
            _ => true,
        };
        let expected = Record {
            returned,
            until,
            ..was
        };
        ensure!(stands && is == expected, "not as it was: {was:?}");
        Ok(())
    }
}
