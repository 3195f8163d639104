//! Random histories. After every operation: the machine's own invariants, the
//! naive model's answer, the witness's promises, and on copies of the stripe
//! what every reservation and every counter is said to be now.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::super::*;
use super::checks::{conserved, due, inspected, normal, outcome, revised, swept};
use super::fixture::key;
use super::history::{BUYERS, CROWD_BUYER, History, REQUESTS};
use super::model::Models;
use super::random::for_cases;
use super::shadow::{Seal, Shadow};
use super::world::World;
use crate::ids::ShardKey;
use crate::time::Millis;

/// Few buyers and requests, so that they collide; all settings change.
#[test]
fn random_histories_keep_every_promise() {
    let answers = RefCell::new(BTreeMap::<String, u32>::new());
    for_cases("small histories", 700, History::small, |history| {
        let mut run = Run::of(history);
        let kept = run.all(history);
        for (answer, times) in run.answers {
            *answers.borrow_mut().entry(answer).or_default() += times;
        }
        kept
    });
    // What never happens was not tested.
    let answers = answers.into_inner();
    let missing = |answer: &&str| !answers.contains_key(*answer);
    let missed: Vec<_> = ANSWERS.split(", ").filter(missing).collect();
    assert!(
        missed.is_empty(),
        "never answered: {missed:?}\n{answers:#?}"
    );
}

/// More falls due at once than a batch works off.
#[test]
fn random_crowds_keep_every_promise() {
    for_cases("crowded histories", 12, History::crowded, |history| {
        Run::of(history).all(history)
    });
}

/// The answers that the histories must come to, in the words of [`outcome`]. What
/// else can be answered the table and the stories ask for.
const ANSWERS: &str = "\
    Reserve Granted Held, Reserve Granted Held replayed, Reserve Granted Confirmed, \
    Reserve Granted Confirmed replayed, Reserve Granted Confirmed late replayed, \
    Reserve Ended Cancelled, Reserve Ended Cancelled unarrived, Reserve Ended Expired, \
    Reserve Reused, Reserve OldSettings, Reserve NotSelling Paused, Reserve NotSelling Ended, \
    Reserve NotSelling NotStarted, Reserve NotSelling Deleting, Reserve TooMany, \
    Reserve OverLimit, Reserve Short, Reserve Full, Reserve Missing, \
    Confirm Done Confirmed, Confirm Done Confirmed late, Confirm Short, Confirm NotFound, \
    Confirm WrongState Cancelled, Confirm WrongState Expired, Confirm WrongState Lost, \
    Confirm OldSettings, \
    Cancel Done Cancelled, Cancel Done Cancelled unarrived, \
    Cancel WrongState Confirmed, Cancel WrongState Confirmed late, Cancel NotFound, Cancel Full, \
    Extend Done Held, Extend HoldTooLong, Extend WrongState Confirmed, Extend WrongState Expired, \
    Extend WrongState Cancelled, Return Done Confirmed, Return Done Confirmed late, \
    Return ReturnTooLarge, Return Reused, Return WrongState Held, Return WrongState Expired, \
    Lookup Done Held, Lookup Done Expired, Lookup NotFound, Change Changed, \
    Change Changed replayed, Change Reused, Change Short, Change TotalMismatch, \
    Change TotalTooLarge, Change Full, Change Missing, Change NotSelling Deleting, \
    Change OldSettings, Look Read, Claim Claimed, Claim Missing, Unclaim Unclaimed, Lend Lent, \
    Lend Lent given, Lend ClaimedByOlder, Lend Missing, Credit Credited, Credit Missing, \
    Expire Swept, Purge Swept, Inspect Inspected, Configure Configured, Create Created, \
    Delete Deleted";

struct Run {
    world: World,
    models: Models,
    shadow: Shadow,
    /// How often each answer was given.
    answers: BTreeMap<String, u32>,
}

impl Run {
    fn of(history: &History) -> Self {
        let world = World::new(&history.places);
        let models = Models::of(&world.stripe);
        let shadow = Shadow::of(&world.stripe);
        Self {
            world,
            models,
            shadow,
            answers: BTreeMap::new(),
        }
    }

    fn all(&mut self, history: &History) -> Result<(), String> {
        for (step_no, step) in history.steps.iter().enumerate() {
            let ops = self.world.ops(*step);
            let failed = |why| format!("step {step_no}, {step:?}\n{ops:?}\n{why}");
            self.step(&ops).map_err(failed)?;
        }
        Ok(())
    }

    fn step(&mut self, ops: &[Op]) -> Result<(), String> {
        if let [Op::Shard(at, op)] = ops {
            self.one(at, op)?;
        } else {
            self.crowd(ops)?;
        }
        let now = self.world.stripe.guard.time;
        for (at, shard) in &self.world.stripe.shards {
            let broken = shard.check();
            ensure!(broken.is_empty(), "{at:?} breaks {broken:?}");
            let sizes = shard.known_entries();
            ensure!(
                shard.count_entries() == sizes,
                "{at:?} does not have {sizes:?}"
            );
        }
        let items = self.world.whole_items();
        items.iter().try_for_each(|shards| conserved(shards))?;
        self.models.follow(&self.world.stripe, now)?;
        self.looks(now)?;
        self.lookups(now)
    }

    /// One operation, asked again as often as it says AGAIN.
    fn one(&mut self, at: &ShardKey, op: &ShardOp) -> Result<(), String> {
        let stamp = self.world.stamp();
        loop {
            let before = self.world.stripe.clone();
            let reply = self.run(at, op, stamp)?;
            let now = self.world.stripe.guard.time;
            ensure!(
                now == before.guard.time.max(stamp.now),
                "time runs backwards"
            );
            revised(&before, &self.world.stripe)?;
            let was_due = before.shards.get(at).map_or(0, |shard| due(shard, now));
            let budget = BATCH_STEPS_MAX as usize;
            if reply == ShardReply::Again {
                ensure!(was_due > budget, "AGAIN, with {was_due} due");
                let is_due = due(&self.world.stripe.shards[at], now);
                ensure!(is_due == was_due - budget, "{is_due} of {was_due} are left");
                continue;
            }
            let full = stamp.full;
            *self.answers.entry(outcome(op, &reply)).or_default() += 1;
            self.shadow.observe(
                at,
                &Seal {
                    op,
                    reply: &reply,
                    now,
                    full,
                },
            )?;
            let mut expected = self.models.apply(at, op, now, full);
            match (op, &reply) {
                (_, ShardReply::Missing) => {}
                (ShardOp::Expire { limit } | ShardOp::Purge { limit }, _) => {
                    return swept(&before, &self.world.stripe, at, (op, *limit), &reply);
                }
                (ShardOp::Inspect { after, limit }, _) => {
                    return inspected(
                        &before,
                        &self.world.stripe,
                        at,
                        (after.as_ref(), *limit),
                        &reply,
                    );
                }
                _ => {}
            }
            let mut reply = reply;
            normal(&mut reply);
            normal(&mut expected);
            ensure!(reply == expected, "it says {reply:?}\nnot {expected:?}");
            return Ok(());
        }
    }

    fn run(&mut self, at: &ShardKey, op: &ShardOp, stamp: Stamp) -> Result<ShardReply, String> {
        let op = Op::Shard(at.clone(), op.clone());
        match self
            .world
            .stripe
            .run(stamp, [&op], &mut Changes::default())
            .pop()
        {
            Some(Reply::Shard(reply)) => Ok(reply),
            other => Err(format!("not a shard's answer: {other:?}")),
        }
    }

    /// A crowd comes in one batch: its members, one after the other.
    fn crowd(&mut self, ops: &[Op]) -> Result<(), String> {
        let stamp = self.world.stamp();
        let before = self.world.stripe.clone();
        let replies = self.world.stripe.run(stamp, ops, &mut Changes::default());
        let now = self.world.stripe.guard.time;
        for (op, reply) in ops.iter().zip(replies) {
            let (Op::Shard(at, op), Reply::Shard(mut reply)) = (op, reply) else {
                return Err("not a shard's answer".into());
            };
            if reply == ShardReply::Again {
                let due = due(&before.shards[at], now);
                ensure!(due > BATCH_STEPS_MAX as usize, "AGAIN, with {due} due");
                continue;
            }
            self.shadow.observe(
                at,
                &Seal {
                    op,
                    reply: &reply,
                    now,
                    full: stamp.full,
                },
            )?;
            let mut expected = self.models.apply(at, op, now, stamp.full);
            normal(&mut reply);
            normal(&mut expected);
            ensure!(reply == expected, "it says {reply:?}\nnot {expected:?}");
        }
        Ok(())
    }

    /// What a look would find, here and in the books of model and witness.
    fn looks(&self, now: Millis) -> Result<(), String> {
        let mut copy = self.world.stripe.clone();
        let mut models = self.models.clone();
        let stamp = Stamp {
            now,
            full: false,
            freeze_id: 7,
        };
        for at in self.world.stripe.shards.keys() {
            let op = Op::Shard(at.clone(), ShardOp::Look);
            let found = loop {
                match copy.run(stamp, [&op], &mut Changes::default()).pop() {
                    Some(Reply::Shard(ShardReply::Again)) => {}
                    Some(Reply::Shard(ShardReply::Read(mut reading))) => {
                        reading.revision = 0;
                        break reading;
                    }
                    other => return Err(format!("not a look: {other:?}")),
                }
            };
            let ShardReply::Read(expected) = models.apply(at, &ShardOp::Look, now, false) else {
                return Err("the model does not look".into());
            };
            ensure!(
                found == expected,
                "a look finds {found:?}\nnot {expected:?}"
            );
            let Counters {
                available,
                held,
                sold,
                ..
            } = found.counters;
            let found = (available.into(), held.into(), sold.into());
            let books = self.shadow.totals(at, now);
            ensure!(
                found == books,
                "a look finds {found:?}, the books say {books:?}"
            );
            let (counts, expected) = (&copy.shards[at].buyers, models.0[at].buyers());
            ensure!(
                *counts == expected,
                "buyers have {counts:?}\nnot {expected:?}"
            );
        }
        Ok(())
    }

    /// What everybody would hear of their reservation, swept or not.
    fn lookups(&self, now: Millis) -> Result<(), String> {
        let mut copy = self.world.stripe.clone();
        let mut models = self.models.clone();
        let everybody = (0..BUYERS).flat_map(|b| (0..REQUESTS).map(move |r| key(b, r)));
        let crowd = (0..3).map(|n| key(CROWD_BUYER, 1_000 * (n + 1)));
        let everybody: Vec<_> = everybody.chain(crowd).collect();
        for at in self.world.stripe.shards.keys() {
            let lookup = |key: &_| Op::Shard(at.clone(), ShardOp::Lookup { key: *key });
            let ops: Vec<_> = everybody.iter().map(lookup).collect();
            let stamp = Stamp {
                now,
                full: false,
                freeze_id: 7,
            };
            let replies = copy.run(stamp, &ops, &mut Changes::default());
            for (key, reply) in everybody.iter().zip(replies) {
                let Reply::Shard(mut reply) = reply else {
                    return Err("not a shard's answer".into());
                };
                normal(&mut reply);
                let expected = models.apply(at, &ShardOp::Lookup { key: *key }, now, false);
                ensure!(reply == expected, "{key:?} is {reply:?}\nnot {expected:?}");
            }
        }
        Ok(())
    }
}
