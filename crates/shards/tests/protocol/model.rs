//! A scenario, made ready: who is who, and how it all begins.

use std::sync::Arc;

use shards::allocator::{Ask, Asked, Looking, Need, Round};
use shards::hash::FingerprintKey;
use shards::ids::{Fingerprint, Generation, ItemId, Quantity, RecordKey, RequestId, ShardKey};
use shards::ids::{STRIPES, ShardNo};
use shards::machine::{
    Changes, Claimant, Op, Reply, Selling, Settings, Shard, ShardOp, ShardReply, Stamp,
    StockChange, StoreIdentity, Stripe,
};
use shards::time::Millis;

use crate::scenario::{HOLD_MS, Hold, Job, Scenario};
use crate::world::{Left, Place, Read, Request, Stage, World};

/// When it all begins.
const START: Millis = Millis(1_000_000);
/// The settings version that shards and servers agree on.
pub(crate) const VERSION: u64 = 1;

/// A scenario, ready to run.
pub(crate) struct Model {
    pub scenario: Scenario,
    /// Of each shard. They lie on a stripe each, so that one may freeze or
    /// restart without the others.
    pub keys: Vec<ShardKey>,
}

pub(crate) fn key_of(id: u8, buyer: u8) -> RecordKey {
    RecordKey {
        request: RequestId([id; 16]),
        buyer: Fingerprint([buyer; 8]),
    }
}

/// Holds have ids that no request has.
pub(crate) fn key_of_hold(hold: u8) -> RecordKey {
    key_of(100 + hold, 100 + hold)
}

impl Model {
    pub(crate) fn new(scenario: Scenario) -> Self {
        let key = |shard| ShardKey {
            item: ItemId::parse("item").unwrap(),
            generation: Generation([7; 8]),
            shard: ShardNo(shard),
        };
        let keys = (0..).take(scenario.stock.len()).map(key).collect();
        Self { scenario, keys }
    }

    pub(crate) fn shards(&self) -> u8 {
        u8::try_from(self.keys.len()).unwrap()
    }

    pub(crate) fn job(&self, request: usize) -> Job {
        self.scenario.jobs[request]
    }

    fn hold(&self, hold: u8) -> Hold {
        self.scenario.holds[usize::from(hold)]
    }

    /// Where a request is decided.
    pub(crate) fn home(&self, job: Job) -> ShardNo {
        match job {
            Job::Reserve { home, .. } => ShardNo(home),
            Job::Reacquire { hold } | Job::Cancel { hold } => ShardNo(self.hold(hold).shard),
            Job::Take { .. } => ShardNo::LEDGER,
        }
    }

    /// By which ids a request is known.
    pub(crate) fn claimant(&self, request: usize) -> Claimant {
        match self.job(request) {
            Job::Reserve { id, buyer, .. } => Claimant::Buyer(key_of(id, buyer)),
            Job::Reacquire { hold } | Job::Cancel { hold } => Claimant::Buyer(key_of_hold(hold)),
            Job::Take { .. } => Claimant::Operator(RequestId([200; 16])),
        }
    }

    /// What a request asks; `None`: it needs no round.
    fn ask(&self, request: usize) -> Option<Ask> {
        let version = VERSION;
        Some(match self.job(request) {
            Job::Reserve {
                id, buyer, units, ..
            } => Ask::Reserve {
                key: key_of(id, buyer),
                quantity: Quantity::new(units).unwrap(),
                version,
            },
            Job::Reacquire { hold } => Ask::Reacquire {
                key: key_of_hold(hold),
                version,
            },
            Job::Take { units, partial } => Ask::Change {
                request: RequestId([200; 16]),
                change: StockChange::Adjust {
                    delta: -i64::from(units),
                    allow_partial: partial,
                },
                version,
            },
            Job::Cancel { .. } => return None,
        })
    }

    pub(crate) fn new_round(&self, request: usize) -> Option<Round> {
        let home = self.home(self.job(request));
        Some(Round::new(self.ask(request)?, home, self.shards()))
    }

    /// A request in the hands of a server that knows nothing of it yet. (That
    /// server's beginning is no step: nobody can see it.)
    pub(crate) fn fresh(&self, request: usize) -> Request {
        let stage = match self.new_round(request) {
            Some(round) => Stage::of(round),
            None => Stage::asking(None, vec![self.cancel(request)]),
        };
        Request {
            stage,
            claimed: false,
            free: None,
        }
    }

    fn cancel(&self, request: usize) -> Asked {
        let Job::Cancel { hold } = self.job(request) else {
            panic!("needs a round")
        };
        Asked {
            shard: ShardNo(self.hold(hold).shard),
            op: ShardOp::Cancel {
                key: key_of_hold(hold),
                forbid_unknown: true,
            },
            need: Need::Decision,
        }
    }

    /// The beginning: the ledger was stocked, dealt the stock out, and sold
    /// what is held.
    pub(crate) fn begin(&self) -> World {
        let identity = StoreIdentity {
            store_id: [1; 16],
            stripes: STRIPES,
            fingerprint_key: FingerprintKey([2; 16]),
        };
        let before = Millis(START.0 - i64::try_from(HOLD_MS).unwrap());
        let stripe = |_| Stripe::new(identity, before);
        let mut stripes: Vec<Stripe> = self.keys.iter().map(stripe).collect();
        let mut run = |shard: u8, now: Millis, op: ShardOp| -> ShardReply {
            let at = usize::from(shard);
            let (reply, _) = run_on(&mut stripes[at], &self.keys[at], now, op);
            match reply {
                Reply::Shard(reply) => reply,
                other => panic!("{other:?}"),
            }
        };
        for shard in 0..self.shards() {
            let create = ShardOp::Create {
                settings: self.settings(),
                version: VERSION,
                supply: (shard == 0).then(|| self.scenario.supply()),
            };
            run(shard, before, create);
        }
        for shard in 1..self.shards() {
            let held = self.scenario.holds.iter().filter(|h| h.shard == shard);
            let units = self.scenario.stock[usize::from(shard)]
                + held.map(|hold| u64::from(hold.units)).sum::<u64>();
            let lend = ShardOp::Lend {
                to: ShardNo(shard),
                wanted: units,
                received: 0,
                claim: None,
            };
            run(0, before, lend);
            let (from, sent) = (ShardNo::LEDGER, units);
            run(shard, before, ShardOp::Credit { from, sent });
        }
        for (n, hold) in (0..).zip(self.scenario.holds) {
            let reserve = ShardOp::Reserve {
                key: key_of_hold(n),
                quantity: Quantity::new(hold.units).unwrap(),
                version: VERSION,
            };
            let now = if hold.lapsed { before } else { START };
            let reply = run(hold.shard, now, reserve);
            assert!(matches!(reply, ShardReply::Granted { .. }), "{reply:?}");
        }
        let place = |stripe| {
            Arc::new(Place {
                stripe: Arc::new(stripe),
                durable: None,
                backup: None,
            })
        };
        let requests = 0..self.scenario.jobs.len();
        World {
            now: START,
            ticks: 0,
            places: stripes.into_iter().map(place).collect(),
            requests: requests.map(|r| Arc::new(self.fresh(r))).collect(),
            late: Vec::new(),
            left: self.begin_left(),
            forgot: false,
        }
    }

    /// How often the world may misbehave, at the beginning.
    pub(crate) fn begin_left(&self) -> Left {
        let environment = self.scenario.environment;
        Left {
            crashes: environment.crashes,
            losses: environment.losses,
            copies: environment.copies,
            restarts: environment.restarts,
            forgets: environment.forgets,
        }
    }

    fn settings(&self) -> Settings {
        Settings {
            selling: Selling::Open,
            sale_start: None,
            sale_end: None,
            hold_ttl_ms: HOLD_MS,
            max_hold_ms: HOLD_MS,
            sell_at_once: false,
            counts_buyers: self.scenario.buyer_limit > 0,
            max_units_per_buyer: self.scenario.buyer_limit,
            max_units_per_reservation: 1_000,
            // Nothing is purged while the model runs.
            retention_ms: 1 << 40,
        }
    }

    pub(crate) fn shard<'s>(&self, stripe: &'s Stripe, shard: ShardNo) -> &'s Shard {
        &stripe.shards[&self.keys[usize::from(shard.0)]]
    }

    /// All shards, as they are now.
    pub(crate) fn each_shard<'w>(
        &'w self,
        world: &'w World,
    ) -> impl Iterator<Item = &'w Shard> + Clone {
        let numbered = (0..).map(ShardNo).zip(&world.places);
        numbered.map(|(shard, place)| self.shard(&place.stripe, shard))
    }
}

/// Carries out one operation; whether it changed anything.
pub(crate) fn run_on(
    stripe: &mut Stripe,
    key: &ShardKey,
    now: Millis,
    op: ShardOp,
) -> (Reply, bool) {
    let stamp = Stamp {
        now,
        full: false,
        freeze_id: 1,
    };
    let mut changes = Changes::default();
    let op = Op::Shard(key.clone(), op);
    let reply = stripe.run(stamp, [&op], &mut changes).remove(0);
    (reply, changes.guard)
}

/// What a look has come to, from what was read in this order.
pub(crate) fn looking(shards: u8, readings: &[Read]) -> Looking {
    let mut looking = Looking::new(shards);
    for read in readings {
        looking.read(read.shard, read.seen.clone());
    }
    looking
}
