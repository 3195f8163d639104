//! What can be done with a reservation. The table of these operations and of
//! the states is the contract's ("After Reserve"); `tests::table` runs it.

use super::ops::{Claimant, LateConfirm, ShardReply};
use super::record::{Record, ReturnRecord, State};
use super::settings::SaleNow;
use super::settings::Selling;
use super::shard::Turn;
use crate::ids::{Quantity, RecordKey, RequestId};

impl Turn<'_> {
    pub(super) fn confirm(
        &mut self,
        key: RecordKey,
        late: LateConfirm,
        version: u64,
    ) -> ShardReply {
        let reply = self.decide_confirm(key, late, version);
        if reply.is_decision() {
            self.end_claim(Claimant::Buyer(key));
        }
        reply
    }

    fn decide_confirm(&mut self, key: RecordKey, late: LateConfirm, version: u64) -> ShardReply {
        let Some(record) = self.settle(key) else {
            return ShardReply::NotFound;
        };
        match record.state {
            State::Held => {
                let counters = self.counters();
                counters.held -= u64::from(record.quantity);
                counters.sold += u64::from(record.quantity);
                let record = self.end(key, record, State::Confirmed, self.now());
                ShardReply::Done(self.show(record))
            }
            State::Confirmed => ShardReply::Done(self.show(record)),
            State::Expired if late != LateConfirm::Refuse => match self.knows_less_than(version) {
                Some(old) => old,
                None => self.retake(key, record, late),
            },
            State::Expired | State::Cancelled | State::Lost => {
                ShardReply::WrongState(self.show(record))
            }
        }
    }

    /// A late confirm: takes the same quantity anew, by limit and stock, not by
    /// window or pause. Without units the loss is recorded, so that every
    /// repeat hears the same.
    fn retake(&mut self, key: RecordKey, record: Record, late: LateConfirm) -> ShardReply {
        if self.shard.header.settings.selling == Selling::Deleting {
            return ShardReply::NotSelling(SaleNow::Deleting);
        }
        match self.check_limit_and_stock(key, record.quantity) {
            Ok(()) => {
                self.take(key.buyer, record.quantity);
                self.counters().sold += u64::from(record.quantity);
                let record = Record {
                    late: true,
                    ..record
                };
                let record = self.end(key, record, State::Confirmed, self.now());
                ShardReply::Done(self.show(record))
            }
            Err(ShardReply::Short { .. }) if late == LateConfirm::RetakeOrLose => {
                self.lose(key, record)
            }
            Err(ShardReply::OverLimit { .. }) => self.lose(key, record),
            Err(refusal) => refusal,
        }
    }

    fn lose(&mut self, key: RecordKey, record: Record) -> ShardReply {
        let record = self.end(key, record, State::Lost, self.now());
        ShardReply::WrongState(self.show(record))
    }

    pub(super) fn cancel(&mut self, key: RecordKey, forbid_unknown: bool) -> ShardReply {
        let Some(record) = self.settle(key) else {
            return if forbid_unknown {
                self.forbid(key)
            } else {
                ShardReply::NotFound
            };
        };
        let now = self.now();
        let record = match record.state {
            State::Held => {
                self.unhold(key.buyer, record.quantity);
                self.end(key, record, State::Cancelled, now)
            }
            State::Expired => self.end(key, record, State::Cancelled, now),
            State::Cancelled | State::Lost => record,
            State::Confirmed => return ShardReply::WrongState(self.show(record)),
        };
        ShardReply::Done(self.show(record))
    }

    /// Cancels a request that is not here (yet), so that it is refused if it
    /// still arrives.
    fn forbid(&mut self, key: RecordKey) -> ShardReply {
        if self.batch.full {
            return ShardReply::Full;
        }
        let now = self.now();
        let record = Record {
            state: State::Held,
            quantity: 0,
            returned: 0,
            granted: now,
            until: now,
            late: false,
            sorted: false,
        };
        let record = self.end(key, record, State::Cancelled, now);
        ShardReply::Done(self.show(record))
    }

    pub(super) fn extend(&mut self, key: RecordKey, hold_for_ms: u64) -> ShardReply {
        let Some(record) = self.settle(key) else {
            return ShardReply::NotFound;
        };
        if record.state != State::Held {
            return ShardReply::WrongState(self.show(record));
        }
        let now = self.now();
        let wanted = now.plus_ms(hold_for_ms);
        if wanted <= record.until {
            return ShardReply::Done(self.show(record));
        }
        let longest = record
            .granted
            .plus_ms(self.shard.header.settings.max_hold_ms);
        if wanted > longest {
            let max_hold_for_ms = now.ms_until(longest.max(record.until));
            return ShardReply::HoldTooLong { max_hold_for_ms };
        }
        let record = self.move_deadline(key, record, wanted);
        ShardReply::Done(self.show(record))
    }

    pub(super) fn give_back(
        &mut self,
        key: RecordKey,
        request: RequestId,
        quantity: Quantity,
        discard: bool,
    ) -> ShardReply {
        let Some(mut record) = self.settle(key) else {
            return ShardReply::NotFound;
        };
        if record.state != State::Confirmed {
            return ShardReply::WrongState(self.show(record));
        }
        let asked = ReturnRecord {
            request,
            quantity: quantity.get(),
            discard,
        };
        let earlier = self
            .shard
            .returns
            .get(&key)
            .and_then(|all| all.iter().find(|r| r.request == request));
        if let Some(earlier) = earlier {
            return if *earlier == asked {
                ShardReply::Done(self.show(record))
            } else {
                ShardReply::Reused
            };
        }
        let left = record.quantity - record.returned;
        if asked.quantity > left {
            return ShardReply::ReturnTooLarge { left };
        }
        record.returned += asked.quantity;
        let units = u64::from(asked.quantity);
        let counters = self.counters();
        if discard {
            // Still sold, as far as the stock goes: the unit exists no more.
            counters.discarded += units;
        } else {
            counters.sold -= units;
            self.gain(units);
        }
        self.uncount(key.buyer, units);
        self.changes.returns.insert(key);
        self.shard.returns.entry(key).or_default().push(asked);
        self.put_record(key, record);
        ShardReply::Done(self.show(record))
    }

    pub(super) fn lookup(&mut self, key: RecordKey) -> ShardReply {
        match self.settle(key) {
            Some(record) => ShardReply::Done(self.show(record)),
            None => ShardReply::NotFound,
        }
    }
}
