//! What the stories have in common: one shard, a clock, and operations with
//! the numbers that a story does not care about filled in.

use super::super::*;
use crate::hash::FingerprintKey;
use crate::ids::{
    Fingerprint, Generation, ItemId, Quantity, RecordKey, RequestId, STRIPES, ShardKey, ShardNo,
};
use crate::time::Millis;

pub(crate) const T0: Millis = Millis(1_700_000_000_000);
pub(crate) const SECOND_MS: u64 = 1_000;
pub(crate) const MINUTE_MS: u64 = 60 * SECOND_MS;
pub(crate) const HOUR_MS: u64 = 60 * MINUTE_MS;
pub(crate) const DAY_MS: u64 = 24 * HOUR_MS;

pub(crate) fn identity() -> StoreIdentity {
    StoreIdentity {
        store_id: [1; 16],
        stripes: STRIPES,
        fingerprint_key: FingerprintKey([7; 16]),
    }
}

pub(crate) fn item(name: &str) -> ItemId {
    ItemId::parse(name).unwrap()
}

pub(crate) fn generation(n: u64) -> Generation {
    Generation(n.to_be_bytes())
}

pub(crate) fn request(n: u32) -> RequestId {
    RequestId(u128::from(n).to_be_bytes())
}

pub(crate) fn buyer(n: u32) -> Fingerprint {
    Fingerprint(u64::from(n).to_be_bytes())
}

pub(crate) fn key(of_buyer: u32, request_no: u32) -> RecordKey {
    RecordKey {
        request: request(request_no),
        buyer: buyer(of_buyer),
    }
}

pub(crate) fn units(n: u32) -> Quantity {
    Quantity::new(n).unwrap()
}

/// Open, five minutes a hold, a day of retention, buyers counted but not
/// limited.
pub(crate) fn settings() -> Settings {
    Settings {
        selling: Selling::Open,
        sale_start: None,
        sale_end: None,
        hold_ttl_ms: 5 * MINUTE_MS,
        max_hold_ms: HOUR_MS,
        sell_at_once: false,
        counts_buyers: true,
        max_units_per_buyer: 0,
        max_units_per_reservation: 1_000,
        retention_ms: DAY_MS,
    }
}

pub(crate) fn reserve(key: RecordKey, quantity: u32) -> ShardOp {
    ShardOp::Reserve {
        key,
        quantity: units(quantity),
        version: 0,
    }
}

pub(crate) fn confirm(key: RecordKey) -> ShardOp {
    let late = LateConfirm::Refuse;
    ShardOp::Confirm {
        key,
        late,
        version: 0,
    }
}

pub(crate) fn reacquire(key: RecordKey) -> ShardOp {
    let late = LateConfirm::RetakeOrLose;
    ShardOp::Confirm {
        key,
        late,
        version: 0,
    }
}

pub(crate) fn cancel(key: RecordKey) -> ShardOp {
    ShardOp::Cancel {
        key,
        forbid_unknown: false,
    }
}

pub(crate) fn cancel_by_key(key: RecordKey) -> ShardOp {
    ShardOp::Cancel {
        key,
        forbid_unknown: true,
    }
}

pub(crate) fn extend(key: RecordKey, hold_for_ms: u64) -> ShardOp {
    ShardOp::Extend { key, hold_for_ms }
}

pub(crate) fn give_back(key: RecordKey, request_no: u32, quantity: u32) -> ShardOp {
    ShardOp::Return {
        key,
        request: request(request_no),
        quantity: units(quantity),
        discard: false,
    }
}

pub(crate) fn lookup(key: RecordKey) -> ShardOp {
    ShardOp::Lookup { key }
}

pub(crate) fn adjust(request_no: u32, delta: i64) -> ShardOp {
    ShardOp::Change {
        request: request(request_no),
        change: StockChange::Adjust {
            delta,
            allow_partial: false,
        },
        gathered: true,
        version: 0,
    }
}

pub(crate) fn lend(to: u8, wanted: u64, received: u64) -> ShardOp {
    lend_for(None, to, wanted, received)
}

/// A lend to a shard whose claim is this old.
pub(crate) fn lend_for(claim: Option<Millis>, to: u8, wanted: u64, received: u64) -> ShardOp {
    ShardOp::Lend {
        to: ShardNo(to),
        wanted,
        received,
        claim,
    }
}

pub(crate) fn lent(sent: u64, given: u64) -> ShardReply {
    ShardReply::Lent { sent, given }
}

pub(crate) fn credit(from: u8, sent: u64) -> ShardOp {
    let from = ShardNo(from);
    ShardOp::Credit { from, sent }
}

/// One item, mostly with one shard, and a clock that the story moves.
#[derive(Clone)]
pub(crate) struct Sale {
    pub stripe: Stripe,
    pub now: Millis,
    /// The store is nearly full.
    pub full: bool,
    pub key: ShardKey,
}

impl Sale {
    pub(crate) fn new(settings: Settings, stock: u64) -> Self {
        let mut sale = Self {
            stripe: Stripe::new(identity(), T0),
            now: T0,
            full: false,
            key: ShardKey {
                item: item("sneaker"),
                generation: generation(1),
                shard: ShardNo::LEDGER,
            },
        };
        let supply = Some(stock);
        let create = ShardOp::Create {
            settings,
            version: 1,
            supply,
        };
        assert_eq!(sale.ask(create), ShardReply::Created);
        sale
    }

    /// An item with several shards in one stripe, each with this stock.
    pub(crate) fn on_shards(settings: Settings, stock: &[u64]) -> Self {
        let mut sale = Self::new(settings, stock.iter().sum());
        for (to, units) in (1..).zip(&stock[1..]) {
            let create = ShardOp::Create {
                settings,
                version: 1,
                supply: None,
            };
            assert_eq!(sale.at(to).ask(create), ShardReply::Created);
            assert_eq!(sale.at(0).ask(lend(to, *units, 0)), lent(*units, *units));
            sale.at(to).ask(credit(0, *units));
        }
        sale.at(0);
        sale
    }

    /// The shard that is asked from now on.
    pub(crate) fn at(&mut self, shard: u8) -> &mut Self {
        self.key.shard = ShardNo(shard);
        self
    }

    pub(crate) fn shard(&self) -> &Shard {
        &self.stripe.shards[&self.key]
    }

    pub(crate) fn record(&self, key: RecordKey) -> Record {
        self.shard().records[&key]
    }

    pub(crate) fn wait(&mut self, ms: u64) {
        self.now = self.now.plus_ms(ms);
    }

    /// One batch of one operation.
    #[track_caller]
    pub(crate) fn ask(&mut self, op: ShardOp) -> ShardReply {
        self.batch([op]).remove(0)
    }

    /// One batch. Every invariant holds after it.
    #[track_caller]
    pub(crate) fn batch(&mut self, ops: impl IntoIterator<Item = ShardOp>) -> Vec<ShardReply> {
        let ops: Vec<Op> = ops
            .into_iter()
            .map(|op| Op::Shard(self.key.clone(), op))
            .collect();
        let (replies, _) = self.run(&ops);
        for shard in self.stripe.shards.values() {
            assert_eq!(shard.check(), [], "after {ops:?}");
        }
        replies
            .into_iter()
            .map(|reply| match reply {
                Reply::Shard(reply) => reply,
                other => panic!("not a shard's answer: {other:?}"),
            })
            .collect()
    }

    /// One batch of any operations; a freeze that it begins has the id 7.
    pub(crate) fn run(&mut self, ops: &[Op]) -> (Vec<Reply>, Changes) {
        let stamp = Stamp {
            freeze_id: 7,
            now: self.now,
            full: self.full,
        };
        let mut changes = Changes::default();
        let replies = self.stripe.run(stamp, ops, &mut changes);
        (replies, changes)
    }

    /// Reserves, and expects it to be granted just now.
    #[track_caller]
    pub(crate) fn grant(&mut self, key: RecordKey, quantity: u32) -> Record {
        match self.ask(reserve(key, quantity)) {
            ShardReply::Granted {
                reservation,
                replayed: false,
            } => reservation.record,
            other => panic!("not granted: {other:?}"),
        }
    }

    /// Reserves for as many requests of this buyer, one unit each.
    #[track_caller]
    pub(crate) fn grant_each(&mut self, of_buyer: u32, requests: std::ops::Range<u32>) {
        for request_no in requests {
            self.grant(key(of_buyer, request_no), 1);
        }
    }

    /// Asks, expects that it is so, and says in which state the record is.
    #[track_caller]
    pub(crate) fn done(&mut self, op: ShardOp) -> State {
        match self.ask(op) {
            ShardReply::Done(reservation) => reservation.record.state,
            other => panic!("not done: {other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn configure(&mut self, edit: impl FnOnce(&mut Settings)) {
        let mut settings = self.shard().header.settings;
        edit(&mut settings);
        let version = self.shard().header.version + 1;
        let configured = self.ask(ShardOp::Configure { settings, version });
        assert_eq!(configured, ShardReply::Configured { version });
    }

    /// What a store does when it is opened again.
    pub(crate) fn restart(&mut self) {
        for shard in self.stripe.shards.values_mut() {
            shard.rebuild_queues();
        }
    }

    /// Available, held and sold as a look finds them; the sale itself is left
    /// as it is, so what has lapsed stays unnoticed.
    pub(crate) fn stock(&self) -> (u64, u64, u64) {
        let mut copy = self.clone();
        loop {
            match copy.ask(ShardOp::Look) {
                ShardReply::Read(reading) => {
                    let Counters {
                        available,
                        held,
                        sold,
                        ..
                    } = reading.counters;
                    return (available, held, sold);
                }
                ShardReply::Again => {}
                other => panic!("not a look: {other:?}"),
            }
        }
    }
}
