//! Carries the steps of a random history to a stripe.

use std::collections::{BTreeMap, VecDeque};

use super::super::*;
use super::fixture::{T0, buyer, generation, identity, item, request, units};
use super::history::{
    Ask, CROWD, CROWD_BUYER, For, Knows, PlaceSetup, Received, Step, Tick, Version, Who, Whose,
};
use crate::ids::{RecordKey, ShardKey, ShardNo};
use crate::time::Millis;

/// Operations that can be sent a second time.
const RECENT: usize = 12;

/// A stripe, its clock, and which life of which item is there.
#[derive(Clone)]
pub(crate) struct World {
    pub stripe: Stripe,
    pub clock: Millis,
    pub full: bool,
    places: Vec<PlaceSetup>,
    lives: BTreeMap<&'static str, u64>,
    recent: VecDeque<Op>,
    crowds: u32,
}

impl World {
    /// The ledgers are made with all there is, and deal it out.
    pub(crate) fn new(setup: &[PlaceSetup]) -> Self {
        let (mut world, ops) = Self::to_open(setup);
        world
            .stripe
            .run(world.stamp(), &ops, &mut Changes::default());
        world
    }

    /// A world in which nothing is there yet, and the operations that open it.
    pub(crate) fn to_open(setup: &[PlaceSetup]) -> (Self, Vec<Op>) {
        let world = Self {
            stripe: Stripe::new(identity(), T0),
            clock: T0,
            full: false,
            places: setup.to_vec(),
            lives: setup.iter().map(|place| (place.item, 1)).collect(),
            recent: VecDeque::new(),
            crowds: 0,
        };
        let mut ops: Vec<Op> = (0..setup.len()).map(|place| world.create(place)).collect();
        for (place, setup) in setup.iter().enumerate() {
            let (at, opening) = (world.shard_key(place), setup.opening);
            if at.shard == ShardNo::LEDGER || opening == 0 {
                continue;
            }
            let ledger = ShardKey {
                shard: ShardNo::LEDGER,
                ..at.clone()
            };
            let lend = ShardOp::Lend {
                to: at.shard,
                wanted: opening,
                received: 0,
                claim: None,
            };
            let credit = ShardOp::Credit {
                from: ledger.shard,
                sent: opening,
            };
            ops.extend([Op::Shard(ledger, lend), Op::Shard(at, credit)]);
        }
        (world, ops)
    }

    /// The shards of each item of which none is missing.
    pub(crate) fn whole_items(&self) -> Vec<Vec<(ShardNo, &Shard)>> {
        let shard = |place: usize| {
            let key = self.shard_key(place);
            self.stripe.shards.get(&key).map(|shard| (key.shard, shard))
        };
        let items = self.lives.keys();
        items
            .filter_map(|item| self.places_of(item).map(shard).collect())
            .collect()
    }

    fn places_of(&self, item: &str) -> impl Iterator<Item = usize> {
        (0..self.places.len()).filter(move |place| self.places[*place].item == item)
    }

    /// One of the other shards of the item that is there.
    fn sibling(&self, place: usize, n: usize) -> Option<usize> {
        let others = self.places_of(self.places[place].item);
        let others: Vec<_> = others.filter(|other| *other != place).collect();
        others.get(n % others.len().max(1)).copied()
    }

    fn counters(&self, place: usize) -> Counters {
        let shard = self.stripe.shards.get(&self.shard_key(place));
        shard.map_or_else(Counters::default, |shard| shard.header.counters.clone())
    }

    fn open_claim(&self, place: usize) -> Option<Claim> {
        let shard = self.stripe.shards.get(&self.shard_key(place));
        shard.and_then(|shard| shard.header.claim)
    }

    pub(crate) fn stamp(&self) -> Stamp {
        Stamp {
            now: self.clock,
            full: self.full,
            freeze_id: 7,
        }
    }

    fn now(&self) -> Millis {
        self.clock.max(self.stripe.guard.time)
    }

    pub(crate) fn shard_key(&self, place: usize) -> ShardKey {
        let setup = &self.places[place];
        ShardKey {
            item: item(setup.item),
            generation: generation(self.lives[setup.item]),
            shard: setup.shard,
        }
    }

    fn create(&self, place: usize) -> Op {
        let setup = &self.places[place];
        let is_ledger = setup.shard == ShardNo::LEDGER;
        let stock = self.places_of(setup.item).map(|p| self.places[p].opening);
        let create = ShardOp::Create {
            settings: setup.settings,
            version: 3,
            supply: is_ledger.then(|| stock.sum()),
        };
        Op::Shard(self.shard_key(place), create)
    }

    fn create_anew(&mut self, place: usize) -> Vec<Op> {
        if self.stripe.shards.contains_key(&self.shard_key(place)) {
            return vec![self.create(place)];
        }
        let item = self.places[place].item;
        let all: Vec<usize> = self.places_of(item).collect();
        let rest = all.iter().map(|place| self.shard_key(*place));
        let rest = rest.filter(|key| self.stripe.shards.contains_key(key));
        let mut ops: Vec<Op> = rest.map(|key| Op::Shard(key, ShardOp::Delete)).collect();
        *self.lives.entry(item).or_default() += 1;
        ops.extend(all.iter().map(|place| self.create(*place)));
        ops
    }

    /// The operations of a step: one, a crowd of them, or none.
    pub(crate) fn ops(&mut self, step: Step) -> Vec<Op> {
        match step {
            Step::Tick(tick) => self.tick(tick),
            Step::Full(full) => self.full = full,
            Step::Restart => {
                for shard in self.stripe.shards.values_mut() {
                    shard.rebuild_queues();
                }
            }
            Step::Repeat(back) => {
                let op = self.recent.get(back).filter(|op| !self.makes(op));
                return op.cloned().into_iter().collect();
            }
            Step::Crowd { place } => return self.crowd(place),
            Step::Ask {
                place,
                former_life,
                ask,
            } => {
                let ops = self.asked(place, former_life, ask);
                for op in &ops {
                    self.recent.push_front(op.clone());
                }
                self.recent.truncate(RECENT);
                return ops;
            }
        }
        Vec::new()
    }

    /// A repeated Create that finds nothing would be a lost shard's, come up
    /// empty: no server does that, for the entry says that it is live.
    fn makes(&self, op: &Op) -> bool {
        matches!(op, Op::Shard(at, ShardOp::Create { .. }) if !self.stripe.shards.contains_key(at))
    }

    fn crowd(&mut self, place: usize) -> Vec<Op> {
        self.crowds += 1;
        let first = self.crowds * 1_000;
        let shard = self.shard_key(place);
        (first..first + CROWD)
            .map(|n| {
                let key = RecordKey {
                    request: request(n),
                    buyer: buyer(CROWD_BUYER),
                };
                let op = ShardOp::Reserve {
                    key,
                    quantity: units(1),
                    version: 0,
                };
                Op::Shard(shard.clone(), op)
            })
            .collect()
    }

    fn tick(&mut self, tick: Tick) {
        let now = self.now();
        let shards = || self.stripe.shards.values();
        let (next, off) = match tick {
            Tick::By(ms) => (Some(self.clock), ms),
            Tick::Deadline(off) => {
                let all = shards().flat_map(|s| s.records.values());
                let held = all.filter(|r| r.state == State::Held).map(|r| r.until);
                (held.filter(|at| *at > now).min(), off)
            }
            Tick::Purge(off) => {
                let all = shards().flat_map(|s| s.records.values().map(|r| s.purge_at(r)));
                (all.flatten().filter(|at| *at > now).min(), off)
            }
            Tick::Window(off) => {
                let all = shards().map(|s| &s.header.settings);
                let edges = all.flat_map(|s| [s.sale_start, s.sale_end]).flatten();
                (edges.filter(|at| *at > now).min(), off)
            }
            Tick::Claim(off) => {
                let ends = shards().filter_map(|s| s.header.claim.map(|c| c.until));
                (ends.filter(|at| *at > now).min(), off)
            }
        };
        if let Some(at) = next {
            self.clock = Millis(at.0 + off);
        }
    }

    fn asked(&mut self, place: usize, former_life: bool, ask: Ask) -> Vec<Op> {
        let mut shard = self.shard_key(place);
        let op = match ask {
            Ask::Create => return self.create_anew(place),
            Ask::Lend { to, .. } | Ask::Credit { from: to, .. } => {
                let Some(other) = self.sibling(place, to) else {
                    return Vec::new();
                };
                self.transfer(place, other, ask)
            }
            ask => self.shard_op(&shard, self.places[place].settings, ask),
        };
        if former_life {
            shard.generation = generation(self.lives[self.places[place].item] - 1);
        }
        vec![Op::Shard(shard, op)]
    }

    fn transfer(&self, place: usize, other: usize, ask: Ask) -> ShardOp {
        let units =
            |of: &BTreeMap<ShardNo, u64>, with: ShardNo| of.get(&with).copied().unwrap_or(0);
        let (mine, theirs) = (self.places[place].shard, self.places[other].shard);
        match ask {
            Ask::Lend {
                wanted,
                received,
                claim,
                ..
            } => {
                let has = units(&self.counters(other).received, mine);
                ShardOp::Lend {
                    to: theirs,
                    wanted,
                    received: match received {
                        Received::Exact => has,
                        Received::Stale(by) => has.saturating_sub(by),
                        Received::Ahead => units(&self.counters(place).sent, theirs) + 1,
                    },
                    claim: match claim {
                        Whose::Nobodys => None,
                        Whose::Theirs => self.open_claim(other).map(|claim| claim.since),
                        Whose::Younger(by) => {
                            let since = self.open_claim(place).map_or(self.now(), |c| c.since);
                            Some(Millis(since.0 + by))
                        }
                    },
                }
            }
            Ask::Credit { stale_by, .. } => ShardOp::Credit {
                from: theirs,
                sent: units(&self.counters(other).sent, mine).saturating_sub(stale_by),
            },
            _ => unreachable!("no transfer"),
        }
    }

    /// An operation as the shard's present state makes sense of it.
    fn shard_op(&self, shard: &ShardKey, first: Settings, ask: Ask) -> ShardOp {
        let key = |who| self.record_key(shard, who);
        let claimant = |of| match of {
            For::Buyer(who) => Claimant::Buyer(key(who)),
            For::Operator(id) => Claimant::Operator(request(id)),
        };
        let known = |knows| self.known_version(shard, knows);
        match ask {
            Ask::Reserve {
                who,
                units: quantity,
                knows,
            } => ShardOp::Reserve {
                key: key(who),
                quantity: units(quantity),
                version: known(knows),
            },
            Ask::Confirm { who, late, knows } => ShardOp::Confirm {
                key: key(who),
                late,
                version: known(knows),
            },
            Ask::Cancel {
                who,
                forbid_unknown,
            } => ShardOp::Cancel {
                key: key(who),
                forbid_unknown,
            },
            Ask::Return {
                who,
                request: id,
                units: quantity,
                discard,
            } => ShardOp::Return {
                key: key(who),
                request: request(id),
                quantity: units(quantity),
                discard,
            },
            Ask::Extend { who, hold_for_ms } => ShardOp::Extend {
                key: key(who),
                hold_for_ms,
            },
            Ask::Lookup(who) => ShardOp::Lookup { key: key(who) },
            Ask::Expire(limit) => ShardOp::Expire { limit },
            Ask::Purge(limit) => ShardOp::Purge { limit },
            Ask::Look => ShardOp::Look,
            Ask::Claim(of) => ShardOp::Claim {
                claimant: claimant(of),
            },
            Ask::Unclaim(of) => ShardOp::Unclaim {
                claimant: claimant(of),
            },
            Ask::Delete => ShardOp::Delete,
            Ask::Inspect { after, limit } => ShardOp::Inspect {
                after: after.map(|who| Cursor::after(key(who))),
                limit,
            },
            ask => self.operators_op(shard, first, ask),
        }
    }

    /// What operators ask for.
    fn operators_op(&self, shard: &ShardKey, first: Settings, ask: Ask) -> ShardOp {
        let header = self.stripe.shards.get(shard).map(|s| &s.header);
        let known = |knows| self.known_version(shard, knows);
        match ask {
            Ask::Adjust {
                request: id,
                delta,
                allow_partial,
                gathered,
                knows,
            } => ShardOp::Change {
                request: request(id),
                change: StockChange::Adjust {
                    delta,
                    allow_partial,
                },
                gathered,
                version: known(knows),
            },
            Ask::SetTotal {
                request: id,
                change: by,
                off_by,
                knows,
            } => {
                let is = header.and_then(|h| h.counters.supply).unwrap_or(0);
                let (total, expected) = (is.saturating_add_signed(by), is + off_by);
                ShardOp::Change {
                    request: request(id),
                    change: StockChange::SetTotal { total, expected },
                    gathered: true,
                    version: known(knows),
                }
            }
            Ask::Configure {
                edit,
                version: which,
            } => {
                let mut settings = header.map_or(first, |h| h.settings);
                edit.apply(&mut settings, self.now());
                let version = self.version(shard);
                let version = match which {
                    Version::Next => version + 1,
                    Version::Later => version + 5,
                    Version::Same => version,
                    Version::Older => version - 1,
                };
                ShardOp::Configure { settings, version }
            }
            _ => unreachable!("the caller made it"),
        }
    }

    fn record_key(&self, shard: &ShardKey, who: Who) -> RecordKey {
        let (Who::Ids(ids) | Who::Known(_, ids)) = who;
        let (Who::Known(n, _), Some(shard)) = (who, self.stripe.shards.get(shard)) else {
            return ids;
        };
        let mut keys = shard.records.keys();
        keys.nth(n % shard.records.len().max(1))
            .copied()
            .unwrap_or(ids)
    }

    fn version(&self, shard: &ShardKey) -> u64 {
        let shard = self.stripe.shards.get(shard);
        shard.map_or(3, |shard| shard.header.version)
    }

    fn known_version(&self, shard: &ShardKey, knows: Knows) -> u64 {
        let version = self.version(shard);
        match knows {
            Knows::Same => version,
            Knows::Older => version - 1,
            Knows::Newer => version + 1,
        }
    }
}
