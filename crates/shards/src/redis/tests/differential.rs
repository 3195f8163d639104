//! The script against the machine. What a history asks depends on the machine's
//! state only; so it is carried out there first, then all its batches are sent
//! to Redis at once, and answers and state are compared.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::mem::{Discriminant, discriminant};

use super::dump::{self, OfStripe};
use super::guard::{STRIPE, call};
use super::server::{Redis, Server};
use crate::ids::ShardKey;
use crate::machine::tests::catalog_history::{CatalogAsk, outcome_of};
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

/// What histories mostly consist of, in percent; the rest is asked of shards.
#[derive(Clone, Copy)]
struct Mix {
    ends: u32,
    catalog: u32,
    whole: u32,
    freezes: bool,
}

impl Batches {
    fn small(rng: &mut Rng, mix: Mix) -> Self {
        let History { places, .. } = History::small(rng);
        let Mix {
            ends,
            catalog,
            whole,
            freezes,
        } = mix;
        let steps = (0..rng.between(40, 120))
            .map(|_| match rng.below(100) {
                at if at < ends => Part::End,
                at if at < ends + catalog => Part::Catalog(CatalogAsk::draw(rng)),
                at if at < ends + catalog + whole => {
                    Part::Whole(Whole::draw(rng, freezes, places.len()))
                }
                99 if freezes => Part::Step(lend_after_a_loss(rng, places.len())),
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

/// Which operations were asked, and what was answered to them.
#[derive(Default)]
struct Answers {
    met: HashSet<(Discriminant<ShardOp>, Discriminant<ShardReply>)>,
    names: BTreeSet<String>,
}

fn first_word(value: &impl fmt::Debug) -> String {
    let text = format!("{value:?}");
    text.split([' ', '(', '{'])
        .next()
        .unwrap_or_default()
        .to_owned()
}

impl Answers {
    fn note(&mut self, told: &Told) {
        for batch in &told.batches {
            for (op, reply) in batch.ops.iter().zip(&batch.replies) {
                let is_new = match (op, reply) {
                    (Op::Shard(_, op), Reply::Shard(reply)) => {
                        self.met.insert((discriminant(op), discriminant(reply)))
                    }
                    _ => true,
                };
                if is_new {
                    self.names.insert(match (op, reply) {
                        (Op::Shard(_, op), Reply::Shard(reply)) => {
                            format!("{} {}", first_word(op), first_word(reply))
                        }
                        _ => outcome_of(op, reply, false),
                    });
                }
            }
        }
    }

    /// What never happens was not compared.
    #[track_caller]
    fn must_have(&self, answers: &str) {
        let missed: Vec<_> = answers
            .split(", ")
            .filter(|answer| !self.names.iter().any(|name| name.contains(answer)))
            .collect();
        assert!(
            missed.is_empty(),
            "never answered: {missed:?}\n{:?}",
            self.names
        );
    }
}

/// With `HOLDFAST_TEST_LONG`, and `HOLDFAST_TEST_CASES=20` as `tests/run --long`
/// has it, all tests together compare a million histories; else ten thousand.
fn differ(name: &str, cases: u32, draw: impl Fn(&mut Rng) -> Batches) -> Answers {
    let long = std::env::var_os("HOLDFAST_TEST_LONG").is_some_and(|value| !value.is_empty());
    let cases = if long { 5 * cases } else { cases };
    let server = Server::start();
    let redis = RefCell::new(server.connect());
    let answers = RefCell::new(Answers::default());
    for_cases(name, cases, draw, |case| {
        let told = Told::of(case);
        answers.borrow_mut().note(&told);
        told.check(&mut redis.borrow_mut())
    });
    answers.into_inner()
}

#[test]
fn the_script_is_the_machine_operation_by_operation() {
    let mix = Mix {
        ends: 60,
        catalog: 0,
        whole: 1,
        freezes: false,
    };
    let draw = |rng: &mut Rng| Batches::small(rng, mix);
    let answers = differ("single operations in Redis", 2_000, draw);
    answers.must_have(
        "Reserve Granted, Reserve Ended, Reserve Reused, Reserve OldSettings, \
         Reserve NotSelling, Reserve TooMany, Reserve OverLimit, Reserve Short, Reserve Full, \
         Reserve Missing, Confirm Done, Confirm WrongState, Confirm Short, Confirm OldSettings, \
         Confirm NotSelling, Confirm NotFound, Cancel Done, Cancel WrongState, Cancel Full",
    );
}

#[test]
fn the_script_is_the_machine_in_batches() {
    let mix = Mix {
        ends: 8,
        catalog: 2,
        whole: 4,
        freezes: false,
    };
    let draw = |rng: &mut Rng| Batches::small(rng, mix);
    let answers = differ("batches in Redis", 3_000, draw);
    answers.must_have(
        "Return Done, Return Reused, Return ReturnTooLarge, Extend Done, Extend HoldTooLong, \
         Extend WrongState, Lookup Done, Change Changed, Change Reused, Change Short, \
         Change TotalMismatch, Change TotalTooLarge, Change Full, Change Missing, \
         Change NotSelling, Change OldSettings, Look Read, Claim Claimed, Unclaim Unclaimed, \
         Lend Lent, Lend ClaimedByOlder, Credit Credited, Expire Swept, Purge Swept, \
         Inspect Inspected, List Listed, Explain Explained, Configure Configured, \
         Create Created, Delete Deleted, Accept Accepted, Reconcile Reconciled",
    );
}

/// Crowds of one stamp, and batches as long as they may be.
#[test]
fn the_script_is_the_machine_in_long_batches() {
    let mix = Mix {
        ends: 0,
        catalog: 1,
        whole: 2,
        freezes: false,
    };
    differ("long batches in Redis", 1_000, |rng| {
        let mut history = Batches::small(rng, mix);
        // The clock and the store's fill end a batch: few of them.
        let mut kept = rng.below(6);
        history.steps.retain(|part| {
            let ends = matches!(part, Part::Step(Step::Tick(_) | Step::Full(_)));
            kept += u32::from(ends);
            !ends || kept.is_multiple_of(6)
        });
        history
    });
}

#[test]
fn the_script_is_the_machine_while_stripes_freeze_and_are_released() {
    let mix = Mix {
        ends: 15,
        catalog: 5,
        whole: 15,
        freezes: true,
    };
    let draw = |rng: &mut Rng| Batches::small(rng, mix);
    let answers = differ("freezes in Redis", 2_000, draw);
    answers.must_have(
        "Lend Frozen, Reserve Frozen, BeginCreate Frozen, Release Stripe, Freeze Stripe, \
         Entries Page, Configure Configured, Reconcile Reconciled, Accept Accepted",
    );
}

#[test]
fn the_script_is_the_machine_in_its_catalog() {
    let mix = Mix {
        ends: 10,
        catalog: 60,
        whole: 10,
        freezes: false,
    };
    let draw = |rng: &mut Rng| Batches::small(rng, mix);
    let answers = differ("catalogs in Redis", 2_000, draw);
    answers.must_have(
        "BeginCreate Entry, BeginCreate Exists, BeginCreate Full, FinishCreate Entry, \
         FinishCreate NotFound, Update Entry, Update VersionMismatch, FinishUpdate Entry, \
         BeginDelete Entry, BeginDelete VersionMismatch, DecideDelete Entry, \
         DecideDelete VersionMismatch, FinishDelete NotFound, Get Entry, List Page, Entries Page",
    );
}

#[test]
fn the_script_is_the_machine_where_more_lapses_than_a_batch_gives_back() {
    let answers = differ("crowded histories in Redis", 60, Batches::crowded);
    answers.must_have("Look Again, Lend Again, Change Again, Expire Swept");
}
