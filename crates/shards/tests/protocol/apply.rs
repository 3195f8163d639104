//! What comes of a step.

use std::sync::Arc;

use shards::allocator::{Need, Seen};
use shards::ids::ShardNo;
use shards::machine::{Reply, ShardOp, ShardReply, Stripe};
use shards::rules::{Rule, holds};

use crate::model::{Model, looking, run_on};
use crate::properties::{self, Broken, Effect};
use crate::steps::{How, Step};
use crate::world::{Late, Outcome, Place, Read, Request, Slot, Stage, World};

/// Collects what happened, in words, when somebody wants to read it.
#[derive(Default)]
pub(crate) struct Log(Option<Vec<String>>);

impl Log {
    pub(crate) fn kept() -> Self {
        Self(Some(Vec::new()))
    }

    fn say(&mut self, words: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.0 {
            lines.push(words());
        }
    }

    pub(crate) fn take(&mut self) -> Vec<String> {
        self.0.replace(Vec::new()).unwrap_or_default()
    }
}

impl Model {
    /// Takes a step.
    pub(crate) fn apply(&self, world: &World, step: Step, log: &mut Log) -> Result<World, Broken> {
        let mut world = world.clone();
        match step {
            Step::Execute { request, slot, how } => {
                self.execute(&mut world, request, slot, how, log)?;
            }
            Step::Read { request, shard } => self.read(&mut world, request, shard, log)?,
            Step::Crash { request, late } => {
                log.say(|| format!("the server of {} vanishes", self.name(request)));
                world.left.crashes -= 1;
                if let Some(slot) = late {
                    world.left.copies -= 1;
                    world.keep(request, slot, log);
                }
                self.begin_anew(&mut world, request);
            }
            Step::Abandon { request } => {
                log.say(|| format!("{} is not asked for again", self.name(request)));
                world.request(request).stage = Stage::Abandoned;
            }
            Step::Late(at) => {
                let late = world.late.remove(usize::from(at));
                let (reply, effect) = self.run(&mut world, late.shard, &late.op, late.request)?;
                let name = self.name(late.request);
                log.say(|| format!("an old message of {name}: {}", told(&late.op, &reply)));
                if late.gave && effect.moved > 0 {
                    return Err(Broken("a repeated lend gave units once more".to_owned()));
                }
            }
            Step::Tick => {
                let ms = self.scenario.environment.ticks[usize::from(world.ticks)];
                log.say(|| format!("{ms} ms pass"));
                world.ticks += 1;
                world.now = world.now.plus_ms(ms);
            }
            Step::ClaimEnds => {
                log.say(|| "time passes, until a claim of nobody has ended".to_owned());
                world.now = self.claim_of_nobody(&world).unwrap();
            }
            Step::Durable(shard) => {
                log.say(|| format!("shard {shard} is durable"));
                self.make_durable(&mut world, shard)?;
            }
            Step::Restart(shard) => {
                log.say(|| format!("shard {shard} restarts without what was not durable"));
                world.left.restarts -= 1;
                self.restart(&mut world, shard)?;
            }
            Step::Backup(shard) => {
                log.say(|| format!("shard {shard} will be thrown back to here"));
                world.left.forgets -= 1;
                let place = world.place(shard);
                place.backup = Some(Arc::clone(&place.stripe));
            }
            Step::Forget(shard) => {
                log.say(|| format!("shard {shard} is thrown back, though all was durable"));
                let place = world.place(shard);
                place.stripe = place.backup.take().unwrap();
                world.forgot = true;
            }
        }
        properties::in_every_state(self, &world)?;
        Ok(world)
    }

    fn execute(
        &self,
        world: &mut World,
        request: u8,
        slot: u8,
        how: How,
        log: &mut Log,
    ) -> Result<(), Broken> {
        let at = usize::from(slot);
        let Stage::Asking { asked, .. } = &world.requests[usize::from(request)].stage else {
            panic!("asks nothing")
        };
        let asked = asked[at].clone();
        if matches!(how, How::Copied | How::Delayed) {
            world.left.copies -= 1;
            world.keep(request, slot, log);
        }
        if matches!(how, How::Dropped | How::Delayed) {
            world.left.losses -= 1;
            let name = self.name(request);
            log.say(|| format!("lost: {name} at shard {}: {:?}", asked.shard, asked.op));
            let durable = true;
            world.set_slot(
                request,
                at,
                Slot::Done {
                    reply: None,
                    durable,
                },
            );
            return self.go_on(world, request);
        }
        properties::before(self, world, request, &asked.op)?;
        let (reply, effect) = self.run(world, asked.shard, &asked.op, request)?;
        log.say(|| {
            let told = told(&asked.op, &reply);
            let lost = if how == How::AnswerLost {
                " (not told)"
            } else {
                ""
            };
            format!(
                "{} at shard {}: {told}{lost}",
                self.name(request),
                asked.shard
            )
        });
        properties::at_execution(self, world, request, effect)?;
        if how == How::Copied
            && effect.moved > 0
            && let Some(copy) = world.late.last_mut()
        {
            copy.gave = true;
        }
        let (reply, failed) = match (reply, how) {
            (_, How::AnswerLost) if asked.need == Need::Courtesy => {
                world.left.losses -= 1;
                (None, false)
            }
            (_, How::AnswerLost) => {
                world.left.crashes -= 1;
                (None, true)
            }
            (Reply::Shard(reply), _) => (Some(reply), false),
            (_, _) => (None, asked.need != Need::Courtesy),
        };
        if failed && how == How::AnswerLost {
            self.begin_anew(world, request);
            return Ok(());
        } else if failed {
            world.request(request).stage = Stage::Ended(Outcome::Unavailable);
            return Ok(());
        }
        let durable = Self::is_told_at_once(world, asked.shard) || how == How::AnswerLost;
        world.set_slot(request, at, Slot::Done { reply, durable });
        self.go_on(world, request)
    }

    fn read(
        &self,
        world: &mut World,
        request: u8,
        shard: ShardNo,
        log: &mut Log,
    ) -> Result<(), Broken> {
        let (reply, _) = self.run(world, shard, &ShardOp::Look, request)?;
        let name = self.name(request);
        log.say(|| format!("{name} at shard {shard}: {}", told(&ShardOp::Look, &reply)));
        let durable = Self::is_told_at_once(world, shard);
        let Reply::Shard(ShardReply::Read(reading)) = &reply else {
            world.request(request).stage = Stage::Ended(Outcome::Unavailable);
            return Ok(());
        };
        if let Stage::Looking { readings, .. } = &mut world.request(request).stage {
            readings.push(Read {
                shard,
                seen: Seen::from(&**reading),
                durable,
            });
        }
        self.go_on(world, request)
    }

    /// Carries out an operation at a shard, whoever asked.
    fn run(
        &self,
        world: &mut World,
        shard: ShardNo,
        op: &ShardOp,
        request: u8,
    ) -> Result<(Reply, Effect), Broken> {
        let mut effect = Effect::default();
        let before = Arc::clone(&world.places[usize::from(shard.0)].stripe);
        let mut stripe = Stripe::clone(&before);
        let key = &self.keys[usize::from(shard.0)];
        let (reply, changed) = run_on(&mut stripe, key, world.now, op.clone());
        let volatile = self.scenario.environment.restarts > 0;
        if changed {
            let place = world.place(shard);
            place.stripe = Arc::new(stripe);
            if volatile && place.durable.is_none() {
                place.durable = Some(Arc::clone(&before));
            }
            let after = self.shard(&place.stripe, shard);
            effect = properties::after(self, self.shard(&before, shard), after, op, &reply)?;
            self.others_got(world, request, effect);
        }
        Ok((reply, effect))
    }

    /// Units that went to a request are not free for the others any more. (Nor
    /// are those that were moved for it, for somebody who takes what there is:
    /// that race is lost, too.)
    fn others_got(&self, world: &mut World, request: u8, effect: Effect) {
        let claimant = self.claimant(usize::from(request));
        for other in 0..world.requests.len() {
            let free = world.requests[other].free;
            let partial = self.job(other).is_partial();
            let units = effect.got + if partial { effect.moved } else { 0 };
            if units == 0 {
                continue;
            }
            if let Some(free) = free.filter(|f| *f > 0 && self.claimant(other) != claimant) {
                Arc::make_mut(&mut world.requests[other]).free = Some(free.saturating_sub(units));
            }
        }
    }

    /// Whether an answer of this shard may be told: all that it has done is
    /// durable. ⚔ A server that is told earlier builds on what may be lost.
    fn is_told_at_once(world: &World, shard: ShardNo) -> bool {
        world.places[usize::from(shard.0)].durable.is_none() || !holds(Rule::DurableBeforeAnswer)
    }

    fn make_durable(&self, world: &mut World, shard: ShardNo) -> Result<(), Broken> {
        world.place(shard).durable = None;
        for request in 0..u8::try_from(world.requests.len()).unwrap() {
            world.request(request).stage.tell(shard);
            self.go_on(world, request)?;
        }
        Ok(())
    }

    /// What was carried out and not durable is gone, and with it its answers.
    fn restart(&self, world: &mut World, shard: ShardNo) -> Result<(), Broken> {
        let place = world.place(shard);
        place.stripe = place.durable.take().unwrap();
        for request in 0..u8::try_from(world.requests.len()).unwrap() {
            if world.request(request).stage.forget(shard) {
                self.begin_anew(world, request);
            } else {
                self.go_on(world, request)?;
            }
        }
        Ok(())
    }

    fn begin_anew(&self, world: &mut World, request: u8) {
        *world.request(request) = self.fresh(usize::from(request));
    }

    /// Takes in what has been told, when all of it has.
    fn go_on(&self, world: &mut World, request: u8) -> Result<(), Broken> {
        let shards = self.shards();
        let free = self.first_reading_ends(world, request);
        let it = world.request(request);
        if free.is_some() {
            it.free = free;
        }
        let stage = match &mut it.stage {
            Stage::Asking { round, slots, .. } if Stage::is_answered(slots) => {
                let replies: Vec<_> = slots.iter().map(Slot::reply).collect();
                it.claimed |= replies
                    .iter()
                    .any(|reply| matches!(reply, Some(ShardReply::Claimed { .. })));
                match round {
                    Some(round) => {
                        round.answered(&replies);
                        Stage::of(round.clone())
                    }
                    None => Stage::Ended(Outcome::of(replies[0].as_ref().unwrap())),
                }
            }
            Stage::Looking { round, readings } if readings.iter().all(|read| read.durable) => {
                let Some(look) = looking(shards, readings).finish() else {
                    return Ok(());
                };
                round.looked(&look);
                Stage::of(round.clone())
            }
            _ => return Ok(()),
        };
        it.stage = stage;
        properties::when_told(self, world, request)
    }

    /// Units that are free now, if it is now that the first reading has ended.
    fn first_reading_ends(&self, world: &World, request: u8) -> Option<u64> {
        let Stage::Looking { readings, .. } = &world.requests[usize::from(request)].stage else {
            return None;
        };
        let ended = readings.len() == self.keys.len() && readings.iter().all(|read| read.durable);
        ended.then(|| properties::free(self, world, request))
    }

    /// A request's name in a trace.
    fn name(&self, request: u8) -> String {
        let letter = char::from(b'A' + request);
        let job = self.job(usize::from(request));
        let units = job.units(&self.scenario);
        format!("{letter} ({units} units, home {})", self.home(job))
    }
}

impl World {
    /// An operation of a request will be carried out by nobody's wish any more.
    fn keep(&mut self, request: u8, slot: u8, log: &mut Log) {
        let Stage::Asking { asked, .. } = &self.requests[usize::from(request)].stage else {
            return;
        };
        let asked = &asked[usize::from(slot)];
        log.say(|| format!("to be carried out later, too: {:?}", asked.op));
        let late = Late {
            request,
            gave: false,
            shard: asked.shard,
            op: asked.op.clone(),
        };
        self.late.push(late);
    }

    fn request(&mut self, request: u8) -> &mut Request {
        Arc::make_mut(&mut self.requests[usize::from(request)])
    }

    fn place(&mut self, shard: ShardNo) -> &mut Place {
        Arc::make_mut(&mut self.places[usize::from(shard.0)])
    }

    fn set_slot(&mut self, request: u8, at: usize, slot: Slot) {
        if let Stage::Asking { slots, .. } = &mut self.request(request).stage {
            slots[at] = slot;
        }
    }
}

/// One operation and its answer, for people.
fn told(op: &ShardOp, reply: &Reply) -> String {
    match reply {
        Reply::Shard(ShardReply::Read(reading)) => {
            let c = &reading.counters;
            format!(
                "read: available {}, sent {:?}, received {:?}",
                c.available, c.sent, c.received
            )
        }
        Reply::Shard(ShardReply::Granted { .. }) => format!("{op:?} -> granted"),
        Reply::Shard(reply) => format!("{op:?} -> {reply:?}"),
        Reply::Frozen(freeze) => format!("{op:?} -> frozen: {}", freeze.reason),
        Reply::Catalog(_) | Reply::Stripe(_) => format!("{op:?}"),
    }
}
