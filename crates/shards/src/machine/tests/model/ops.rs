//! The model's operations, each as the contract words it.

use super::super::super::*;
use super::{Known, May, Model};
use crate::ids::{RecordKey, RequestId, TOTAL_MAX};
use crate::time::Millis;

impl Model {
    pub(super) fn reserve(
        &mut self,
        key: RecordKey,
        quantity: u32,
        knows: u64,
        now: Millis,
        full: bool,
    ) -> ShardReply {
        if let Some(old) = self.is_older_than(knows) {
            return old;
        }
        if let Some(i) = self.find(key, now) {
            let (record, reservation) = (self.known[i].record, self.show(i, now));
            return match record.state {
                State::Cancelled if record.quantity == 0 => ShardReply::Ended(reservation),
                _ if record.quantity != quantity => ShardReply::Reused,
                State::Held | State::Confirmed => ShardReply::Granted {
                    reservation,
                    replayed: true,
                },
                State::Cancelled | State::Expired | State::Lost => ShardReply::Ended(reservation),
            };
        }
        if let Some(why) = self.not_selling(now) {
            return ShardReply::NotSelling(why);
        }
        let max = self.settings.max_units_per_reservation;
        if quantity > max {
            return ShardReply::TooMany { max };
        }
        if let Some(refusal) = self.refusal(key.buyer, quantity) {
            return refusal;
        }
        if full {
            return ShardReply::Full;
        }
        let (state, until) = if self.settings.sell_at_once {
            (State::Confirmed, now)
        } else {
            (State::Held, now.plus_ms(self.settings.hold_ttl_ms))
        };
        let i = self.add(key, state, quantity, now, until);
        ShardReply::Granted {
            reservation: self.show(i, now),
            replayed: false,
        }
    }

    fn is_older_than(&self, knows: u64) -> Option<ShardReply> {
        let version = self.version;
        (knows > version).then_some(ShardReply::OldSettings { version })
    }

    fn add(
        &mut self,
        key: RecordKey,
        state: State,
        quantity: u32,
        now: Millis,
        until: Millis,
    ) -> usize {
        let record = Record {
            state,
            quantity,
            returned: 0,
            granted: now,
            until,
            late: false,
            sorted: false,
        };
        self.known.push(Known {
            key,
            record,
            returns: Vec::new(),
            may_go: false,
        });
        self.known.len() - 1
    }

    fn end(&mut self, i: usize, state: State, now: Millis) {
        let known = &mut self.known[i];
        (known.record.state, known.record.until, known.may_go) = (state, now, false);
    }

    pub(super) fn confirm(
        &mut self,
        key: RecordKey,
        late: LateConfirm,
        knows: u64,
        now: Millis,
    ) -> ShardReply {
        let Some(i) = self.find(key, now) else {
            return ShardReply::NotFound;
        };
        let record = self.known[i].record;
        match record.state {
            State::Held => self.end(i, State::Confirmed, now),
            State::Confirmed => {}
            State::Expired if late != LateConfirm::Refuse => {
                if let Some(old) = self.is_older_than(knows) {
                    return old;
                }
                if self.settings.selling == Selling::Deleting {
                    return ShardReply::NotSelling(SaleNow::Deleting);
                }
                match self.refusal(key.buyer, record.quantity) {
                    Some(short @ ShardReply::Short { .. }) if late == LateConfirm::Retake => {
                        return short;
                    }
                    Some(_) => {
                        self.end(i, State::Lost, now);
                        return ShardReply::WrongState(self.show(i, now));
                    }
                    None => {
                        self.end(i, State::Confirmed, now);
                        self.known[i].record.late = true;
                    }
                }
            }
            State::Expired | State::Cancelled | State::Lost => {
                return ShardReply::WrongState(self.show(i, now));
            }
        }
        ShardReply::Done(self.show(i, now))
    }

    pub(super) fn cancel(
        &mut self,
        key: RecordKey,
        by_key: bool,
        now: Millis,
        full: bool,
    ) -> ShardReply {
        let i = match self.find(key, now) {
            Some(i) => i,
            None if !by_key => return ShardReply::NotFound,
            None if full => return ShardReply::Full,
            None => self.add(key, State::Cancelled, 0, now, now),
        };
        let record = self.known[i].record;
        match record.state {
            State::Confirmed => return ShardReply::WrongState(self.show(i, now)),
            State::Held => {
                self.gained += u64::from(record.quantity);
                self.end(i, State::Cancelled, now);
            }
            State::Expired => self.end(i, State::Cancelled, now),
            State::Cancelled | State::Lost => {}
        }
        ShardReply::Done(self.show(i, now))
    }

    pub(super) fn extend(&mut self, key: RecordKey, hold_for_ms: u64, now: Millis) -> ShardReply {
        let Some(i) = self.find(key, now) else {
            return ShardReply::NotFound;
        };
        let record = self.known[i].record;
        if record.state != State::Held {
            return ShardReply::WrongState(self.show(i, now));
        }
        let longest = record
            .granted
            .plus_ms(self.settings.max_hold_ms)
            .max(record.until);
        if now.plus_ms(hold_for_ms) > longest {
            return ShardReply::HoldTooLong {
                max_hold_for_ms: now.ms_until(longest),
            };
        }
        self.known[i].record.until = record.until.max(now.plus_ms(hold_for_ms));
        ShardReply::Done(self.show(i, now))
    }

    pub(super) fn give_back(
        &mut self,
        key: RecordKey,
        asked: ReturnRecord,
        now: Millis,
    ) -> ShardReply {
        let Some(i) = self.find(key, now) else {
            return ShardReply::NotFound;
        };
        if self.known[i].record.state != State::Confirmed {
            return ShardReply::WrongState(self.show(i, now));
        }
        match self.known[i]
            .returns
            .iter()
            .find(|r| r.request == asked.request)
        {
            Some(earlier) if *earlier == asked => return ShardReply::Done(self.show(i, now)),
            Some(_) => return ShardReply::Reused,
            None => {}
        }
        let left = self.known[i].record.quantity - self.known[i].record.returned;
        if asked.quantity > left {
            return ShardReply::ReturnTooLarge { left };
        }
        self.known[i].record.returned += asked.quantity;
        self.known[i].returns.push(asked);
        if asked.discard {
            self.discarded += u64::from(asked.quantity);
        } else {
            self.gained += u64::from(asked.quantity);
        }
        ShardReply::Done(self.show(i, now))
    }

    pub(super) fn change(
        &mut self,
        request: RequestId,
        change: StockChange,
        may: May,
        knows: u64,
        now: Millis,
    ) -> ShardReply {
        let Some(total) = self.supply else {
            return ShardReply::Missing;
        };
        if let Some((_, earlier, applied)) = self.changes.iter().find(|(id, ..)| *id == request) {
            return if *earlier == change {
                ShardReply::Changed {
                    applied: *applied,
                    replayed: true,
                    reading: self.read(now),
                }
            } else {
                ShardReply::Reused
            };
        }
        if let Some(old) = self.is_older_than(knows) {
            return old;
        }
        if self.settings.selling == Selling::Deleting {
            return ShardReply::NotSelling(SaleNow::Deleting);
        }
        // Wide enough for any delta on any total.
        let (wanted, allow_partial) = match change {
            StockChange::Adjust {
                delta,
                allow_partial,
            } => (
                i128::from(total) + i128::from(delta),
                allow_partial && may.be_partial,
            ),
            StockChange::SetTotal { expected, .. } if expected != total => {
                return ShardReply::TotalMismatch { total };
            }
            StockChange::SetTotal { total, .. } => (i128::from(total), false),
        };
        if wanted > i128::from(TOTAL_MAX) {
            return ShardReply::TotalTooLarge { total };
        }
        let (available, held) = (self.available(), self.held());
        let lowest = total - available;
        if wanted < i128::from(lowest) && !allow_partial {
            return ShardReply::Short {
                wanted: u64::try_from(i128::from(total) - wanted).unwrap(),
                available,
                held,
            };
        }
        if !may.be_new {
            return ShardReply::Full;
        }
        let supply = u64::try_from(wanted.max(i128::from(lowest))).unwrap();
        self.supply = Some(supply);
        let applied = supply.cast_signed() - total.cast_signed();
        self.gained += u64::try_from(applied).unwrap_or(0);
        self.changes.push((request, change, applied));
        ShardReply::Changed {
            applied,
            replayed: false,
            reading: self.read(now),
        }
    }
}
