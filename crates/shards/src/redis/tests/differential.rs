//! The script against the machine. What a history asks depends on the machine's
//! state only; so it is carried out there first, then all its batches are sent
//! to Redis at once, and answers and state are compared.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;

use super::dump::{self, OfStripe};
use super::guard::{STRIPE, call};
use super::server::{Redis, Server};
use crate::ids::ShardKey;
use crate::machine::tests::catalog_history::CatalogAsk;
use crate::machine::tests::draw::{lend_after_a_loss, step};
use crate::machine::tests::ensure;
use crate::machine::tests::fixture::{buyer, identity};
use crate::machine::tests::history::{BUYERS, History, PlaceSetup, Step, write_lines};
use crate::machine::tests::random::{Case, Rng, for_cases};
use crate::machine::tests::world::World;
use crate::machine::{
    Changes, Op, Reply, ShardOp, ShardReply, Stamp, State, StripeOp, StripeReply,
};
use crate::redis::script::{Answer, BATCH_LEN_MAX, Call, Ran, What};

/// Steps that are gathered into batches; what moves the clock ends a batch.
#[derive(Clone)]
struct Batches {
    places: Vec<PlaceSetup>,
    steps: Vec<Part>,
}

#[derive(Clone, Copy, Debug)]
enum Part {
    Step(Step),
    Catalog(CatalogAsk),
    Whole(Whole),
    /// The batch ends here.
    End,
}

/// What the machine's own histories do not ask.
#[derive(Clone, Copy, Debug)]
enum Whole {
    Visit,
    Freeze(u64),
    Release(u64),
    Entries(u32),
    Accept(usize),
    /// Of what the other shard is said to have received beyond what was sent.
    Reconcile(usize, u64),
    List(usize, Option<State>),
    Explain(usize, u32),
}

impl fmt::Debug for Batches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_lines(f, &self.places, &self.steps)
    }
}

impl Case for Batches {
    type Step = Part;
    fn steps(&mut self) -> &mut Vec<Part> {
        &mut self.steps
    }
}

impl Batches {
    fn small(rng: &mut Rng) -> Self {
        let History { places, .. } = History::small(rng);
        // Most are never frozen: not much happens after that.
        let freezes = rng.chance(25);
        let steps = (0..rng.between(40, 120))
            .map(|_| match rng.below(100) {
                0..12 => Part::End,
                12..20 => Part::Catalog(CatalogAsk::draw(rng)),
                20..25 => Part::Whole(Whole::draw(rng, freezes, places.len())),
                25 if freezes => Part::Step(lend_after_a_loss(rng, places.len())),
                _ => Part::Step(step(rng, places.len())),
            })
            .collect();
        Self { places, steps }
    }

    fn crowded(rng: &mut Rng) -> Self {
        let History { places, steps } = History::crowded(rng);
        let mut parts = Vec::new();
        for step in steps {
            parts.push(Part::Step(step));
            if rng.chance(20) {
                parts.push(Part::End);
            }
        }
        Self {
            places,
            steps: parts,
        }
    }
}

impl Whole {
    fn draw(rng: &mut Rng, freezes: bool, places: usize) -> Self {
        let place = rng.below(u32::try_from(places).unwrap()) as usize;
        match rng.below(10) {
            1 => Self::Entries(rng.below(3)),
            2 => Self::Accept(place),
            3 => Self::Reconcile(place, u64::from(rng.below(3))),
            4 => Self::List(
                place,
                rng.pick(&[None, Some(State::Held), Some(State::Cancelled)]),
            ),
            5 => Self::Explain(place, rng.below(BUYERS)),
            6 if freezes => Self::Freeze(u64::from(rng.between(7, 8))),
            7.. if freezes => Self::Release(u64::from(rng.between(7, 8))),
            _ => Self::Visit,
        }
    }

    fn op(self, world: &World) -> Op {
        let at = |place: usize, op| Op::Shard(world.shard_key(place), op);
        match self {
            Self::Visit => Op::Stripe(StripeOp::Visit),
            Self::Freeze(id) => Op::Stripe(StripeOp::Freeze {
                id,
                reason: format!("for a test, {id}"),
            }),
            Self::Release(id) => Op::Stripe(StripeOp::Release { id }),
            Self::Entries(limit) => Op::Stripe(StripeOp::Entries { after: None, limit }),
            Self::Accept(place) => at(place, ShardOp::Accept),
            Self::Reconcile(place, more) => {
                let peer = crate::ids::ShardNo(1);
                let shard = world.stripe.shards.get(&world.shard_key(place));
                let sent = shard.and_then(|shard| shard.header.counters.sent.get(&peer));
                let received = sent.copied().unwrap_or(0) + more;
                at(place, ShardOp::Reconcile { peer, received })
            }
            Self::List(place, state) => at(
                place,
                ShardOp::List {
                    after: None,
                    limit: 1_000,
                    buyer: None,
                    states: state.into_iter().collect(),
                },
            ),
            Self::Explain(place, n) => at(place, ShardOp::Explain { buyer: buyer(n) }),
        }
    }
}

struct Batch {
    stamp: Stamp,
    ops: Vec<Op>,
    replies: Vec<Reply>,
}

/// A history as the machine went through it.
struct Told {
    world: World,
    batches: Vec<Batch>,
}

impl Told {
    fn of(history: &Batches) -> Self {
        let (world, opening) = World::to_open(&history.places);
        let mut told = Self {
            world,
            batches: Vec::new(),
        };
        told.run(opening);
        let mut pending = Vec::new();
        for part in &history.steps {
            if !matches!(
                part,
                Part::Step(Step::Ask { .. } | Step::Repeat(_)) | Part::Catalog(_) | Part::Whole(_)
            ) {
                told.run(std::mem::take(&mut pending));
            }
            match part {
                // Redis keeps its queues, stale entries and all.
                Part::End | Part::Step(Step::Restart) => {}
                Part::Step(step) => pending.extend(told.world.ops(*step)),
                Part::Catalog(ask) => {
                    pending.push(Op::Catalog(ask.op(&told.world.stripe.catalog)));
                }
                Part::Whole(ask) => pending.push(ask.op(&told.world)),
            }
        }
        told.run(pending);
        told
    }

    fn run(&mut self, mut ops: Vec<Op>) {
        // A place in a scan is the store's own.
        for op in &mut ops {
            if let Op::Shard(_, ShardOp::Inspect { after, .. }) = op {
                *after = None;
            }
        }
        while !ops.is_empty() {
            let rest = ops.split_off(ops.len().min(BATCH_LEN_MAX));
            let stamp = self.world.stamp();
            let replies = self.world.stripe.run(stamp, &ops, &mut Changes::default());
            self.batches.push(Batch {
                stamp,
                ops,
                replies,
            });
            ops = rest;
        }
    }

    fn shards(&self) -> BTreeSet<&ShardKey> {
        let all = self.batches.iter().flat_map(|batch| &batch.ops);
        all.filter_map(|op| match op {
            Op::Shard(key, _) => Some(key),
            _ => None,
        })
        .collect()
    }

    /// Has Redis go through it too, and compares.
    fn check(&self, redis: &mut Redis) -> Result<(), String> {
        let shards = self.shards();
        let identity = identity();
        let refs: Vec<Vec<&Op>> = self
            .batches
            .iter()
            .map(|batch| batch.ops.iter().collect())
            .collect();
        let init = call(What::Init {
            identity: &identity,
            frozen: None,
        });
        let calls: Vec<_> = self
            .batches
            .iter()
            .zip(&refs)
            .map(|(batch, refs)| Call {
                stamp: batch.stamp,
                ..call(What::Ops(refs))
            })
            .collect();
        redis.queue(&[b"FLUSHALL"]);
        redis.queue_run(&init);
        for call in &calls {
            redis.queue_run(call);
        }
        dump::queue_stripe(redis, STRIPE);
        for shard in &shards {
            dump::queue_shard(redis, STRIPE, shard);
        }

        redis.answer();
        let mut wrong = redis.ran(&init).err().map(|why| why.to_string());
        for (batch, call) in self.batches.iter().zip(&calls) {
            let ran = redis.ran(call);
            // All answers are read, or the next history would read them.
            wrong = wrong.or_else(|| batch.compare(ran).err());
        }
        let stripe = dump::stripe(redis);
        let states: Vec<_> = shards.iter().map(|_| dump::shard(redis)).collect();
        if let Some(wrong) = wrong {
            return Err(wrong);
        }
        let machine = &self.world.stripe;
        let expected = OfStripe {
            time: machine.guard.time,
            seq: self.batches.len() as u64 + 1,
            frozen: machine.guard.frozen.clone(),
            catalog: machine.catalog.clone(),
        };
        ensure!(
            stripe == expected,
            "Redis has {stripe:#?}\nnot {expected:#?}"
        );
        for (key, state) in shards.iter().zip(states) {
            let expected = machine.shards.get(key);
            ensure!(
                state.as_ref() == expected,
                "{key:?} is in Redis\n{state:?}\nnot\n{expected:?}"
            );
        }
        Ok(())
    }
}

impl Batch {
    fn compare(&self, ran: Result<Ran, crate::redis::script::Garbled>) -> Result<(), String> {
        let place = || format!("{:?} of {:#?}", self.stamp, self.ops);
        let ran = ran.map_err(|why| format!("{why}\n{}", place()))?;
        let Ran::Ops { answers, .. } = ran else {
            return Err(format!("{ran:?}\n{}", place()));
        };
        for ((op, expected), answer) in self.ops.iter().zip(&self.replies).zip(answers) {
            let mut expected = Answer::Reply(expected.clone());
            let mut answer = answer;
            normal(&mut answer);
            normal(&mut expected);
            ensure!(
                answer == expected,
                "{op:?}: Redis says\n{answer:?}\nnot\n{expected:?}\n{}",
                place()
            );
        }
        Ok(())
    }
}

/// Leaves out what each store has its own way about: how far a page goes, and
/// how often a stripe was written.
fn normal(answer: &mut Answer) {
    match answer {
        Answer::Reply(Reply::Shard(ShardReply::Inspected { sums, next, .. })) => {
            (*sums, *next) = (crate::machine::RecordSums::default(), None);
        }
        Answer::Reply(Reply::Shard(ShardReply::Listed { reservations, next })) => {
            reservations.sort_by_key(|(key, _)| *key);
            *next = next.take().filter(|_| false);
        }
        Answer::Reply(Reply::Stripe(StripeReply::Visited(visit))) => visit.seq = 0,
        _ => {}
    }
}

/// Random histories of a run, those with crowds included: 10,000, and of a long
/// run (whose factor is 20) 1,000,000.
fn differ(name: &str, cases: u32, draw: impl Fn(&mut Rng) -> Batches) {
    let long = std::env::var_os("HOLDFAST_TEST_LONG").is_some();
    let cases = if long { 5 * cases } else { cases };
    let server = Server::start();
    let redis = RefCell::new(server.connect());
    for_cases(name, cases, draw, |case| {
        Told::of(case).check(&mut redis.borrow_mut())
    });
}

#[test]
fn the_script_is_the_machine_on_small_histories() {
    differ("small histories in Redis", 4_900, Batches::small);
}

#[test]
fn the_script_is_the_machine_on_other_small_histories() {
    // Another place in the row of seeds, so that both cores have work.
    let other = |rng: &mut Rng| {
        let seed = u64::from(rng.below(u32::MAX)) << 32 | u64::from(rng.below(u32::MAX));
        Batches::small(&mut Rng::new(seed))
    };
    differ("other small histories in Redis", 4_900, other);
}

#[test]
fn the_script_is_the_machine_where_more_lapses_than_a_batch_gives_back() {
    differ("crowded histories in Redis", 200, Batches::crowded);
}
