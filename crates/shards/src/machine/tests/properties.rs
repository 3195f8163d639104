//! Random histories. After every operation: the machine's own invariants, the
//! naive model's answer, the witness's promises, and on copies of the stripe
//! what every reservation and every counter is said to be now.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::super::shard::Queues;
use super::super::*;
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
    for_cases("small histories", 1_000, History::small, |history| {
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
    Cancel Done Cancelled, Cancel Done Cancelled unarrived, \
    Cancel WrongState Confirmed, Cancel WrongState Confirmed late, Cancel NotFound, Cancel Full, \
    Extend Done Held, Extend HoldTooLong, Extend WrongState Confirmed, Extend WrongState Expired, \
    Extend WrongState Cancelled, Return Done Confirmed, Return Done Confirmed late, \
    Return ReturnTooLarge, Return Reused, Return WrongState Held, Return WrongState Expired, \
    Lookup Done Held, Lookup Done Expired, Lookup NotFound, Change Changed, \
    Change Changed replayed, Change Reused, Change Short, Change TotalMismatch, \
    Change TotalTooLarge, Change Full, Change Missing, Change NotSelling Deleting, Look Read, \
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
        }
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
                    return inspected(&before, &self.world.stripe, at, (*after, *limit), &reply);
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
        let stamp = Stamp { now, full: false };
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
            let stamp = Stamp { now, full: false };
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

/// An answer by its name: "Confirm Done Confirmed late".
fn outcome(op: &ShardOp, reply: &ShardReply) -> String {
    let name = |value: &dyn std::fmt::Debug| {
        let text = format!("{value:?}");
        text.split([' ', '(', '{'])
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    let mut words = vec![name(op), name(reply)];
    let mut add = |holds: bool, word: &str| words.extend(holds.then(|| word.to_owned()));
    match reply {
        ShardReply::Granted { reservation, .. }
        | ShardReply::Ended(reservation)
        | ShardReply::Done(reservation)
        | ShardReply::WrongState(reservation) => {
            add(true, &name(&reservation.record.state));
            add(reservation.record.late, "late");
            add(reservation.record.is_unarrived(), "unarrived");
        }
        ShardReply::NotSelling(why) => add(true, &name(why)),
        _ => {}
    }
    let (ShardReply::Granted { replayed, .. } | ShardReply::Changed { replayed, .. }) = reply
    else {
        return words.join(" ");
    };
    add(*replayed, "replayed");
    words.join(" ")
}

/// Entries of the expiry queues that are due, stale or not.
fn due(shard: &Shard, now: Millis) -> usize {
    let Queues { expiry, sorted, .. } = &shard.queues;
    expiry
        .iter()
        .chain(sorted)
        .filter(|(at, _)| *at <= now)
        .count()
}

/// Leaves out what is the machine's own business.
fn normal(reply: &mut ShardReply) {
    match reply {
        ShardReply::Granted { reservation, .. }
        | ShardReply::Ended(reservation)
        | ShardReply::Done(reservation)
        | ShardReply::WrongState(reservation) => reservation.record.sorted = false,
        ShardReply::Read(reading) | ShardReply::Changed { reading, .. } => {
            reading.revision = 0;
        }
        _ => {}
    }
}

/// One operation raises the revision of a shard by one if it changed what a
/// reader can see, and leaves it alone if not; the stripe's sequence likewise.
fn revised(before: &Stripe, after: &Stripe) -> Result<(), String> {
    for (at, was) in &before.shards {
        let Some(is) = after.shards.get(at) else {
            continue;
        };
        let mut expected = is.clone();
        expected.queues = was.queues.clone();
        let changed = expected != *was;
        let step = is.header.revision - was.header.revision;
        ensure!(
            step == u64::from(changed),
            "changed: {changed}, but the revision by {step}"
        );
    }
    let changed = before.shards.keys().ne(after.shards.keys())
        || before
            .shards
            .iter()
            .any(|(at, s)| after.shards[at].header != s.header);
    let step = after.guard.seq - before.guard.seq;
    ensure!(
        step == u64::from(changed),
        "changed: {changed}, but the sequence by {step}"
    );
    Ok(())
}

/// A sweep changes as many records as it says, within its limit, and stops
/// early only when nothing is left.
fn swept(
    before: &Stripe,
    after: &Stripe,
    at: &ShardKey,
    (op, limit): (&ShardOp, u32),
    reply: &ShardReply,
) -> Result<(), String> {
    let ShardReply::Swept { changed, more } = *reply else {
        return Err(format!("not a sweep: {reply:?}"));
    };
    let (was, is, now) = (&before.shards[at], &after.shards[at], after.guard.time);
    let (ended, left) = if matches!(op, ShardOp::Expire { .. }) {
        let held = |s: &Shard| {
            s.records
                .values()
                .filter(|r| r.state == State::Held)
                .count()
        };
        let overdue = |r: &&Record| r.state == State::Held && r.until <= now;
        (
            held(was) - held(is),
            is.records.values().filter(overdue).count(),
        )
    } else {
        // Entries are looked at in the order in which records ended, as far as
        // that was noticed; what is behind one that is not due waits for it.
        let Queues {
            ended, unarrived, ..
        } = &is.queues;
        let overdue = |entry: Option<&(Millis, _)>, keep_ms| {
            usize::from(entry.is_some_and(|(at, _)| at.plus_ms(keep_ms) <= now))
        };
        let left = overdue(ended.front(), is.header.settings.retention_ms)
            + overdue(unarrived.front(), 900_000);
        (was.records.len() - is.records.len(), left)
    };
    ensure!(
        changed as usize == ended && changed <= limit,
        "{ended} changed of {limit}"
    );
    ensure!(more || left == 0, "{left} are left");
    Ok(())
}

/// An inspection changes nothing, and its sums are those of the records.
fn inspected(
    before: &Stripe,
    after: &Stripe,
    at: &ShardKey,
    (from, limit): (Option<crate::ids::RecordKey>, u32),
    reply: &ShardReply,
) -> Result<(), String> {
    let ShardReply::Inspected {
        reading,
        sums,
        next,
    } = reply
    else {
        return Err(format!("not an inspection: {reply:?}"));
    };
    ensure!(
        before.shards == after.shards,
        "an inspection changed something"
    );
    let shard = &after.shards[at];
    let rest: Vec<_> = shard
        .records
        .iter()
        .filter(|(key, _)| Some(**key) > from)
        .collect();
    let page = &rest[..rest.len().min(limit as usize)];
    let sum = |state, units: fn(&Record) -> u32| {
        let of_state = page.iter().filter(|(_, r)| r.state == state);
        of_state.map(|(_, r)| u64::from(units(r))).sum::<u64>()
    };
    let expected = RecordSums {
        records: page.len() as u64,
        held: sum(State::Held, |r| r.quantity),
        sold: sum(State::Confirmed, |r| r.quantity - r.returned),
    };
    ensure!(*sums == expected, "sums of {expected:?}");
    let goes_on = (rest.len() > page.len()).then(|| page.last().map(|(key, _)| **key).or(from));
    ensure!(
        *next == goes_on.flatten(),
        "it goes on at {next:?}, not {goes_on:?}"
    );
    ensure!(
        reading.counters == shard.header.counters,
        "not the header's counters"
    );
    Ok(())
}
