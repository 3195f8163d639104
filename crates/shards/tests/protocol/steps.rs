//! What can happen next.
//!
//! Every operation at a shard and every reading is a step of its own. What only
//! one server sees (the end of a question when its last answer is in, the start
//! of a round) is part of the step before it: nobody else can tell when it
//! happens, and a server that vanishes before it has the same effect as one that
//! vanishes after it. The one exception, an answer that its caller never gets,
//! is a step: [`How::AnswerLost`].

use std::sync::Arc;

use shards::allocator::Need;
use shards::ids::ShardNo;
use shards::machine::Claimant;
use shards::time::Millis;

use crate::model::{Model, looking};
use crate::world::{Request, Slot, Stage, World};

/// One step of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A question of a request is carried out.
    Execute { request: u8, slot: u8, how: How },
    /// A look reads a shard.
    Read { request: u8, shard: ShardNo },
    /// The server of a request vanishes; another one begins anew. A question
    /// that was sent and not carried out may be so later.
    Crash { request: u8, late: Option<u8> },
    /// Whoever wanted it does not ask again.
    Abandon { request: u8 },
    /// An operation that nobody waits for is carried out.
    Late(u8),
    /// Time goes on.
    Tick,
    /// Time goes on until a claim that nobody stands behind has ended.
    ClaimEnds,
    /// What a shard has done becomes durable, and is told.
    Durable(ShardNo),
    /// A shard loses what was not durable.
    Restart(ShardNo),
    /// From here on a shard will lose what it does …
    Backup(ShardNo),
    /// … and does so now, durable or not.
    Forget(ShardNo),
}

/// What happens to a question on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Once,
    /// It will be carried out once more, or not.
    Copied,
    /// It is carried out; its answer is lost. Of one that decides or that the
    /// round needs, this is the end of the attempt.
    AnswerLost,
    /// It is not carried out.
    Dropped,
    /// It is not carried out now.
    Delayed,
}

impl Step {
    /// Which request moves; `None`: the world does.
    pub(crate) fn mover(self) -> Option<u8> {
        match self {
            Self::Execute {
                request,
                how: How::Once,
                ..
            }
            | Self::Read { request, .. } => Some(request),
            _ => None,
        }
    }
}

impl Model {
    /// All that can happen next.
    pub(crate) fn steps(&self, world: &World) -> Vec<Step> {
        let mut steps = Vec::new();
        for (request, it) in (0..).zip(&world.requests) {
            self.steps_of(world, request, it, &mut steps);
        }
        for at in 0..world.late.len() {
            steps.push(Step::Late(u8::try_from(at).unwrap()));
        }
        if usize::from(world.ticks) < self.scenario.environment.ticks.len() {
            steps.push(Step::Tick);
        }
        if self.claim_of_nobody(world).is_some() {
            steps.push(Step::ClaimEnds);
        }
        let backed_up = world.places.iter().any(|place| place.backup.is_some());
        for (shard, place) in (0..).map(ShardNo).zip(&world.places) {
            if place.durable.is_some() {
                steps.push(Step::Durable(shard));
                if world.left.restarts > 0 {
                    steps.push(Step::Restart(shard));
                }
            }
            if world.left.forgets > 0 && !backed_up {
                steps.push(Step::Backup(shard));
            }
            let lost = |backup: &Arc<_>| !Arc::ptr_eq(backup, &place.stripe);
            if place.backup.as_ref().is_some_and(lost) {
                steps.push(Step::Forget(shard));
            }
        }
        steps
    }

    fn steps_of(&self, world: &World, request: u8, it: &Request, steps: &mut Vec<Step>) {
        match &it.stage {
            Stage::Asking { asked, slots, .. } => {
                let is_open = |at: &usize| matches!(slots[*at], Slot::Open);
                let open: Vec<usize> = (0..slots.len()).filter(is_open).collect();
                for (n, at) in open.iter().enumerate() {
                    // Those of one shard go out on one connection, in order.
                    let shard = asked[*at].shard;
                    if open[..n].iter().any(|before| asked[*before].shard == shard) {
                        continue;
                    }
                    let hows = hows(world, asked[*at].need, open.len() == 1);
                    let slot = u8::try_from(*at).unwrap();
                    steps.extend(hows.map(|how| Step::Execute { request, slot, how }));
                }
            }
            Stage::Looking { readings, .. } => {
                let first_is_told = readings.len() < self.keys.len()
                    || readings[..self.keys.len()].iter().all(|read| read.durable);
                if first_is_told {
                    let unread = looking(self.shards(), readings).unread();
                    steps.extend(unread.iter().map(|shard| Step::Read {
                        request,
                        shard: *shard,
                    }));
                }
            }
            Stage::Ended(_) | Stage::Abandoned => return,
        }
        let untouched = self.is_untouched(request, it);
        if world.left.crashes > 0 && !untouched {
            steps.push(Step::Crash {
                request,
                late: None,
            });
            if let Stage::Asking { slots, .. } = &it.stage
                && world.left.copies > 0
            {
                let open = (0..).zip(slots).filter(|(_, s)| matches!(s, Slot::Open));
                steps.extend(open.map(|(at, _)| Step::Crash {
                    request,
                    late: Some(at),
                }));
            }
        }
        let environment = &self.scenario.environment;
        if environment.abandons && untouched && world.left.crashes < environment.crashes {
            steps.push(Step::Abandon { request });
        }
    }

    fn is_untouched(&self, request: u8, it: &Request) -> bool {
        matches!(&it.stage, Stage::Asking { round, slots, .. }
            if slots.iter().all(|slot| matches!(slot, Slot::Open))
                && *round == self.new_round(usize::from(request)))
    }

    /// The end of a claim whose claimant will not come to take it back: it is
    /// abandoned, or messages went astray. (In a world where nothing goes wrong
    /// nobody may depend on time: there this is never.)
    pub(crate) fn claim_of_nobody(&self, world: &World) -> Option<Millis> {
        let stands_behind = |claimant: Claimant| {
            (0..)
                .zip(&world.requests)
                .any(|(request, it)| it.stage.is_undecided() && self.claimant(request) == claimant)
        };
        let abandoned = |claimant: Claimant| {
            (0..).zip(&world.requests).any(|(request, it)| {
                matches!(it.stage, Stage::Abandoned) && self.claimant(request) == claimant
            })
        };
        let wrong = world.left != self.begin_left() || world.forgot;
        let claims = self.each_shard(world).filter_map(|s| s.header.claim);
        let of_nobody = claims
            .filter(|claim| world.now < claim.until && !stands_behind(claim.claimant))
            .filter(|claim| wrong || abandoned(claim.claimant));
        of_nobody.map(|claim| claim.until).min()
    }

    /// Whether waiting would change something: then going round in circles in
    /// less than no time is no livelock.
    pub(crate) fn time_would_help(&self, world: &World) -> bool {
        usize::from(world.ticks) < self.scenario.environment.ticks.len()
            || self.claim_of_nobody(world).is_some()
    }
}

/// What may happen to a question. Of one that the round cannot do without, a
/// loss is the end of the attempt: that is a crash, unless it was carried out as
/// the last of its step, which is told apart here.
fn hows(world: &World, need: Need, last: bool) -> impl Iterator<Item = How> {
    let left = world.left;
    let courtesy = need == Need::Courtesy;
    let answer_lost = if courtesy {
        left.losses > 0
    } else {
        left.crashes > 0 && last
    };
    let dropped = courtesy && left.losses > 0;
    [
        (How::Once, true),
        (How::Copied, left.copies > 0),
        (How::AnswerLost, answer_lost),
        (How::Dropped, dropped),
        (How::Delayed, dropped && left.copies > 0),
    ]
    .into_iter()
    .filter_map(|(how, can)| can.then_some(how))
}
