//! The script against the machine. What a history asks depends on the machine's
//! state only; so it is carried out there first, then all its batches are sent
//! to Redis at once, and answers and state are compared.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::mem::{Discriminant, discriminant};

use super::dump::{self, OfStripe};
use super::guard::{STRIPE, call, shard_key};
use super::histories::{Batches, Mix, Part};
use super::server::{Redis, Server, Value};
use crate::ids::{ShardKey, TOTAL_MAX};
use crate::machine::tests::catalog_history::outcome_of;
use crate::machine::tests::ensure;
use crate::machine::tests::fixture::{
    credit, extend, identity, key, lend, request, settings, units,
};
use crate::machine::tests::history::Step;
use crate::machine::tests::random::{Rng, for_cases};
use crate::machine::tests::world::World;
use crate::machine::{
    Changes, Gain, Op, RecordSums, Reply, ShardOp, ShardReply, Stamp, StockChange, StripeReply,
};
use crate::redis::keys;
use crate::redis::script::{Answer, BATCH_LEN_MAX, Call, Garbled, News, Ran, What, read_message};
use crate::store::{Notice, notices};

/// What the test itself says after a history.
const END: &[u8] = b"end";

struct Batch {
    stamp: Stamp,
    ops: Vec<Op>,
    replies: Vec<Reply>,
    /// What this server has to be told of.
    own: BTreeSet<String>,
    /// And the others.
    others: BTreeSet<String>,
}

/// In no order, and each once.
fn set_of(notices: impl IntoIterator<Item = Notice>) -> BTreeSet<String> {
    let named = notices.into_iter().map(|notice| format!("{notice:?}"));
    named.collect()
}

/// Entries that were written, and items of which units were put on sale where
/// there were none.
fn told_to_others(changes: &Changes) -> BTreeSet<String> {
    let changed = changes.catalog.iter().cloned().map(Notice::Changed);
    let shards = changes.shards.iter();
    let freed = shards.filter(|(_, changes)| changes.gain == Gain::First);
    set_of(changed.chain(freed.map(|(key, _)| Notice::Units(key.item.clone()))))
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
            let mut changes = Changes::default();
            let replies = self.world.stripe.run(stamp, &ops, &mut changes);
            self.batches.push(Batch {
                stamp,
                ops,
                replies,
                own: set_of(notices(&changes)),
                others: told_to_others(&changes),
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

    /// Has Redis go through it too, and compares; `listener` hears what is told to
    /// others.
    fn check(&self, redis: &mut Redis, listener: &mut Redis) -> Result<(), String> {
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
        redis.queue(&[b"SPUBLISH", &keys::notices(STRIPE), END]);
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
        assert_eq!(redis.answer(), Value::Number(1), "one listens");
        let told = self.batches.iter().map(|batch| &batch.others);
        let told: Vec<_> = told.filter(|others| !others.is_empty()).collect();
        let heard = listener.hear_until(END);
        let heard = heard
            .iter()
            .map(|message| read_message(message).map(set_of));
        let heard = heard.collect::<Result<Vec<_>, _>>();
        let stripe = dump::stripe(redis);
        let states: Vec<_> = shards.iter().map(|_| dump::shard(redis)).collect();
        if let Some(wrong) = wrong {
            return Err(wrong);
        }
        let heard = heard.map_err(|why| why.to_string())?;
        ensure!(
            heard.iter().eq(told.iter().copied()),
            "others heard\n{heard:?}\nnot\n{told:?}"
        );
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
    fn compare(&self, ran: Result<Ran, Garbled>) -> Result<(), String> {
        let place = || format!("{:?} of {:#?}", self.stamp, self.ops);
        let ran = ran.map_err(|why| format!("{why}\n{}", place()))?;
        let Ran::Ops { answers, news, .. } = ran else {
            return Err(format!("{ran:?}\n{}", place()));
        };
        let News { notices, sent } = news;
        let named = set_of(notices);
        let is_sent = (!self.others.is_empty()).then_some(Ok(()));
        ensure!(
            named == self.own && sent == is_sent,
            "the reply names {named:?} ({sent:?}), not {:?}\n{}",
            self.own,
            place()
        );
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
            (*sums, *next) = (RecordSums::default(), None);
        }
        Answer::Reply(Reply::Shard(ShardReply::Listed { reservations, next })) => {
            reservations.sort_by_key(|(key, _)| *key);
            *next = None;
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
            if !batch.own.is_subset(&batch.others) {
                self.names.insert("News for this server alone".to_owned());
            }
            for notice in &batch.others {
                let name = format!("News for all, {}", first_word(notice));
                self.names.insert(name);
            }
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
    let redis = RefCell::new((server.connect(), server.listen(&keys::notices(STRIPE))));
    let answers = RefCell::new(Answers::default());
    for_cases(name, cases, draw, |case| {
        let told = Told::of(case);
        answers.borrow_mut().note(&told);
        let (redis, listener) = &mut *redis.borrow_mut();
        told.check(redis, listener)
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
         Create Created, Delete Deleted, Accept Accepted, Reconcile Reconciled, \
         News for this server alone, News for all",
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

/// Numbers that Lua has no exact ones for, or that come up to where these end.
#[test]
fn the_script_is_the_machine_at_the_ends_of_numbers() {
    let shard = shard_key();
    let at = |op| Op::Shard(shard.clone(), op);
    let change = |n, change| {
        at(ShardOp::Change {
            request: request(n),
            change,
            gathered: true,
            version: 1,
        })
    };
    let adjust = |n, delta| {
        let allow_partial = n > 5;
        change(
            n,
            StockChange::Adjust {
                delta,
                allow_partial,
            },
        )
    };
    let set = |n, total, expected| change(n, StockChange::SetTotal { total, expected });
    let lend = |to, wanted| at(lend(to, wanted, 0));
    let credit = |from, sent| at(credit(from, sent));
    let reserve = |n, version| {
        at(ShardOp::Reserve {
            key: key(1, n),
            quantity: units(1),
            version,
        })
    };
    let extend = |ms| at(extend(key(1, 1), ms));
    let create = |supply| {
        at(ShardOp::Create {
            settings: settings(),
            version: 1,
            supply,
        })
    };
    let most = i64::try_from(TOTAL_MAX).unwrap();
    let batches = [
        vec![
            create(Some(3)),
            adjust(1, i64::MAX),
            adjust(2, i64::MIN),
            adjust(6, i64::MIN),
            adjust(6, i64::MIN),
            adjust(6, i64::MIN + 1),
            adjust(7, most),
            adjust(7, most + 1),
            adjust(8, 1),
            adjust(3, -most),
        ],
        vec![
            set(10, u64::MAX, 0),
            set(11, TOTAL_MAX + 1, 0),
            set(12, TOTAL_MAX, 0),
            set(12, TOTAL_MAX, 1 << 60),
            set(13, 7, u64::MAX),
            set(14, 0, TOTAL_MAX),
        ],
        vec![adjust(20, most - 5), credit(3, 5), lend(1, u64::MAX)],
        vec![
            credit(4, 9),
            lend(1, 5),
            lend(2, TOTAL_MAX),
            credit(5, most.cast_unsigned() - 40),
        ],
        vec![
            reserve(1, 1),
            reserve(2, u64::MAX),
            extend(u64::MAX),
            extend(1 << 53),
            extend(600_000),
            at(ShardOp::Look),
        ],
    ];
    let mut told = Told {
        world: World::to_open(&[]).0,
        batches: Vec::new(),
    };
    for ops in batches {
        told.run(ops);
    }
    let counters = &told.world.stripe.shards[&shard].header.counters;
    let received: u64 = counters.received.values().sum();
    assert!(counters.gained < received, "it has wrapped");
    let server = Server::start();
    let mut listener = server.listen(&keys::notices(STRIPE));
    told.check(&mut server.connect(), &mut listener).unwrap();
}
