//! Reserve: the one operation that says no all day.

use super::ops::{Claimant, ShardReply};
use super::record::{Record, State};
use super::settings::SaleNow;
use super::shard::Turn;
use crate::ids::{Quantity, RecordKey};

impl Turn<'_> {
    /// Reserve; a request that waited for stock waits no longer, unless it is
    /// still short.
    pub(super) fn reserve(
        &mut self,
        key: RecordKey,
        quantity: Quantity,
        version: u64,
    ) -> ShardReply {
        let reply = self.decide(key, quantity, version);
        if reply.is_decision() {
            self.end_claim(Claimant::Buyer(key));
        }
        reply
    }

    /// In this order: the record of these ids (a replay wins over everything),
    /// state and window, the item's maximum, the buyer's limit, the stock. A
    /// refusal leaves no record.
    fn decide(&mut self, key: RecordKey, quantity: Quantity, version: u64) -> ShardReply {
        if let Some(old) = self.knows_less_than(version) {
            return old;
        }
        if let Some(record) = self.settle(key) {
            return self.replay(record, quantity);
        }
        let settings = self.shard.header.settings;
        let quantity = quantity.get();
        match settings.sale_at(self.now()) {
            SaleNow::On => {}
            not_selling => return ShardReply::NotSelling(not_selling),
        }
        if quantity > settings.max_units_per_reservation {
            return ShardReply::TooMany {
                max: settings.max_units_per_reservation,
            };
        }
        if let Err(refusal) = self.check_limit_and_stock(key, quantity) {
            return refusal;
        }
        if self.batch.full {
            return ShardReply::Full;
        }
        let now = self.now();
        self.take(key.buyer, quantity);
        let record = Record {
            state: State::Held,
            quantity,
            returned: 0,
            granted: now,
            until: now.plus_ms(settings.hold_ttl_ms),
            late: false,
            sorted: false,
        };
        let record = if settings.sell_at_once {
            self.counters().sold += u64::from(quantity);
            self.end(key, record, State::Confirmed, now)
        } else {
            self.counters().held += u64::from(quantity);
            self.put_hold(key, record)
        };
        ShardReply::Granted {
            reservation: self.show(record),
            replayed: false,
        }
    }

    fn replay(&self, record: Record, quantity: Quantity) -> ShardReply {
        let reservation = self.show(record);
        if record.is_unarrived() {
            // Cancelled before it arrived, for any quantity: nothing says
            // which one it would have been.
            return ShardReply::Ended(reservation);
        }
        if record.quantity != quantity.get() {
            return ShardReply::Reused;
        }
        match record.state {
            State::Held | State::Confirmed => ShardReply::Granted {
                reservation,
                replayed: true,
            },
            State::Cancelled | State::Expired | State::Lost => ShardReply::Ended(reservation),
        }
    }

    /// Whether limit and stock allow this many more for this buyer. ⚔ Before
    /// either says no, all that lapsed is given back.
    pub(super) fn check_limit_and_stock(
        &mut self,
        key: RecordKey,
        quantity: u32,
    ) -> Result<(), ShardReply> {
        let units = u64::from(quantity);
        let fits = self.over_limit(key.buyer, quantity).is_none()
            && self.shard.header.counters.available >= units;
        if fits {
            return Ok(());
        }
        let all_given_back = self.expire_due();
        if let Some(has) = self.over_limit(key.buyer, quantity) {
            let max = self.shard.header.settings.max_units_per_buyer;
            return Err(if all_given_back {
                ShardReply::OverLimit { units: has, max }
            } else {
                ShardReply::Again
            });
        }
        let counters = &self.shard.header.counters;
        if counters.available >= units {
            return Ok(());
        }
        Err(if all_given_back {
            ShardReply::Short {
                wanted: units,
                available: counters.available,
                held: counters.held,
            }
        } else {
            ShardReply::Again
        })
    }
}
