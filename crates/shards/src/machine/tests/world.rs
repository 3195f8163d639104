//! Carries the steps of a random history to a stripe.

use std::collections::VecDeque;

use super::super::*;
use super::fixture::{T0, buyer, generation, identity, item, request, units};
use super::history::{Ask, CROWD, CROWD_BUYER, Knows, PlaceSetup, Step, Tick, Version, Who};
use crate::ids::{RecordKey, ShardKey, ShardNo};
use crate::time::Millis;

/// Operations that can be sent a second time.
const RECENT: usize = 12;

/// A stripe, its clock, and which life of which shard is at each place.
#[derive(Clone)]
pub(super) struct World {
    pub stripe: Stripe,
    pub clock: Millis,
    pub full: bool,
    places: Vec<(PlaceSetup, u64)>,
    recent: VecDeque<Op>,
    crowds: u32,
}

impl World {
    pub(super) fn new(setup: &[PlaceSetup]) -> Self {
        let mut world = Self {
            stripe: Stripe::new(identity(), T0),
            clock: T0,
            full: false,
            places: setup.iter().map(|place| (*place, 1)).collect(),
            recent: VecDeque::new(),
            crowds: 0,
        };
        for (place, PlaceSetup { opening, .. }) in setup.iter().enumerate() {
            let (create, opening) = ([world.create(place)], *opening);
            world
                .stripe
                .run(world.stamp(), &create, &mut Changes::default());
            let key = world.shard_key(place, 1);
            if key.shard != ShardNo::LEDGER && opening > 0 {
                // As if the ledger had lent it: lending comes later.
                let counters = &mut world.stripe.shards.get_mut(&key).unwrap().header.counters;
                counters.available = opening;
                counters.gained = opening;
                counters.received.insert(ShardNo::LEDGER, opening);
            }
        }
        world
    }

    pub(super) fn stamp(&self) -> Stamp {
        Stamp {
            now: self.clock,
            full: self.full,
        }
    }

    fn shard_key(&self, place: usize, life: u64) -> ShardKey {
        let (setup, _) = &self.places[place];
        ShardKey {
            item: item(setup.item),
            // The shards of an item are made anew one by one, so their lives
            // are counted apart; which number it is does not matter here.
            generation: generation(life),
            shard: setup.shard,
        }
    }

    fn create(&self, place: usize) -> Op {
        let (setup, life) = &self.places[place];
        let is_ledger = setup.shard == ShardNo::LEDGER;
        let create = ShardOp::Create {
            settings: setup.settings,
            version: 3,
            supply: is_ledger.then_some(setup.opening),
        };
        Op::Shard(self.shard_key(place, *life), create)
    }

    /// The operations of a step: one, a crowd of them, or none.
    pub(super) fn ops(&mut self, step: Step) -> Vec<Op> {
        match step {
            Step::Tick(tick) => self.tick(tick),
            Step::Full(full) => self.full = full,
            Step::Restart => {
                for shard in self.stripe.shards.values_mut() {
                    shard.rebuild_queues();
                }
            }
            Step::Repeat(back) => return self.recent.get(back).cloned().into_iter().collect(),
            Step::Crowd { place } => return self.crowd(place),
            Step::Ask {
                place,
                former_life,
                ask,
            } => {
                let op = self.op(place, former_life, ask);
                self.recent.push_front(op.clone());
                self.recent.truncate(RECENT);
                return vec![op];
            }
        }
        Vec::new()
    }

    fn crowd(&mut self, place: usize) -> Vec<Op> {
        self.crowds += 1;
        let first = self.crowds * 1_000;
        let shard = self.shard_key(place, self.places[place].1);
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
        let now = self.clock.max(self.stripe.guard.time);
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
        };
        if let Some(at) = next {
            self.clock = Millis(at.0 + off);
        }
    }

    fn op(&mut self, place: usize, former_life: bool, ask: Ask) -> Op {
        let life = self.places[place].1;
        let present = self.shard_key(place, life);
        if matches!(ask, Ask::Create) {
            if !self.stripe.shards.contains_key(&present) {
                self.places[place].1 += 1;
            }
            return self.create(place);
        }
        let shard = if former_life {
            self.shard_key(place, life - 1)
        } else {
            present
        };
        let op = self.shard_op(&shard, self.places[place].0.settings, ask);
        Op::Shard(shard, op)
    }

    /// An operation as the shard's present state makes sense of it.
    fn shard_op(&self, shard: &ShardKey, first: Settings, ask: Ask) -> ShardOp {
        let present = self.stripe.shards.get(shard);
        let header = present.map(|s| &s.header);
        let key = |who| match who {
            Who::Ids(ids) => ids,
            Who::Known(n, ids) => present
                .and_then(|s| s.records.keys().nth(n % s.records.len().max(1)).copied())
                .unwrap_or(ids),
        };
        let version = header.map_or(3, |h| h.version);
        let change = |id, change| {
            let request = request(id);
            ShardOp::Change { request, change }
        };
        match ask {
            Ask::Reserve {
                who,
                units: quantity,
                knows,
            } => ShardOp::Reserve {
                key: key(who),
                quantity: units(quantity),
                version: match knows {
                    Knows::Same => version,
                    Knows::Older => version - 1,
                    Knows::Newer => version + 1,
                },
            },
            Ask::Confirm { who, late } => ShardOp::Confirm {
                key: key(who),
                late,
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
            Ask::Adjust {
                request: id,
                delta,
                allow_partial,
            } => change(
                id,
                StockChange::Adjust {
                    delta,
                    allow_partial,
                },
            ),
            Ask::SetTotal {
                request: id,
                change: by,
                off_by,
            } => {
                let is = header.and_then(|h| h.counters.supply).unwrap_or(0);
                let (total, expected) = (is.saturating_add_signed(by), is + off_by);
                change(id, StockChange::SetTotal { total, expected })
            }
            Ask::Look => ShardOp::Look,
            Ask::Configure {
                edit,
                version: which,
            } => {
                let mut settings = header.map_or(first, |h| h.settings);
                edit.apply(&mut settings, self.clock.max(self.stripe.guard.time));
                let version = match which {
                    Version::Next => version + 1,
                    Version::Later => version + 5,
                    Version::Same => version,
                    Version::Older => version - 1,
                };
                ShardOp::Configure { settings, version }
            }
            Ask::Delete => ShardOp::Delete,
            Ask::Inspect { after, limit } => ShardOp::Inspect {
                after: after.map(key),
                limit,
            },
            Ask::Create => unreachable!("the caller made it"),
        }
    }
}
