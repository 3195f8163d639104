//! Which states are the same: a state's fingerprint.
//!
//! 128 bits of `SipHash` over what decides how things go on. Of a million states
//! two are taken for one with a chance of 10^12 / 2^129, less than 10^-26.
//!
//! Left out, because nothing that can happen depends on it:
//! - of a shard: `gained`, `revision`, the stripe's `seq` (no round reads them),
//!   the queues and sizes (they follow from the records: all that is due is given
//!   back at once, as fewer than a batch's steps are ever due; nothing is purged),
//!   buyers' counts (they follow from the records), a claim that has ended;
//! - of a record: when it was granted and when it ended (nothing is extended);
//! - of the two readings: `held`, and the first one's `available`, which decide
//!   nothing (a mutant decides by the latter, then it is in);
//! - of answers under way: what the round does not read.
//!
//! Counters of what was sent from one shard to another only ever grow, and are
//! only ever compared with each other and subtracted. So they are taken relative
//! to what the sender's counter is now: states that differ by earlier transfers
//! are the same, and two requests that pass units to and fro for ever come back
//! to the same state.

use siphasher::sip128::SipHasher13;

use shards::allocator::{Asked, Round, Seen, Step as RoundStep};
use shards::ids::ShardNo;
use shards::machine::{Claimant, LateConfirm, Shard, ShardOp, ShardReply, State, Stripe};
use shards::rules::{Rule, holds};
use shards::time::Millis;

use crate::model::Model;
use crate::world::{Outcome, Request, Slot, Stage, World};

/// A state's fingerprint.
pub(crate) fn print(model: &Model, world: &World) -> u128 {
    let mut ink = Ink {
        model,
        world,
        bytes: Vec::with_capacity(1_024),
    };
    ink.world();
    SipHasher13::new().hash(&ink.bytes).as_u128()
}

struct Ink<'w> {
    model: &'w Model,
    world: &'w World,
    bytes: Vec<u8>,
}

impl Ink<'_> {
    fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    fn units(&mut self, units: u64) {
        self.bytes.extend_from_slice(&units.to_le_bytes());
    }

    fn time(&mut self, at: Millis) {
        self.bytes.extend_from_slice(&at.0.to_le_bytes());
    }

    /// A counter of what went from one shard to another.
    fn counter(&mut self, from: ShardNo, to: ShardNo, value: u64) {
        let sender = self
            .model
            .shard(&self.world.places[usize::from(from.0)].stripe, from);
        let now = sender.header.counters.sent.get(&to).copied().unwrap_or(0);
        self.units(value.wrapping_sub(now));
    }

    fn world(&mut self) {
        let World {
            now,
            ticks,
            places,
            requests,
            late,
            left,
            forgot,
        } = self.world;
        self.time(*now);
        let crate::world::Left {
            crashes,
            losses,
            copies,
            restarts,
            forgets,
        } = *left;
        for byte in [*ticks, crashes, losses, copies, restarts, forgets] {
            self.byte(byte);
        }
        self.byte(u8::from(*forgot));
        for (shard, place) in (0..).map(ShardNo).zip(places) {
            self.stripe(shard, &place.stripe);
            for other in [&place.durable, &place.backup] {
                self.byte(u8::from(other.is_some()));
                if let Some(other) = other {
                    self.stripe(shard, other);
                }
            }
        }
        for request in requests {
            self.request(request);
        }
        // In any order: each may be carried out before the others.
        let mut all: Vec<Vec<u8>> = Vec::new();
        for late in late {
            let start = self.bytes.len();
            self.byte(late.request);
            self.byte(u8::from(late.gave));
            self.op(late.shard, &late.op);
            all.push(self.bytes.split_off(start));
        }
        all.sort();
        self.byte(u8::try_from(all.len()).unwrap());
        self.bytes.extend(all.into_iter().flatten());
    }

    fn stripe(&mut self, me: ShardNo, stripe: &Stripe) {
        self.byte(u8::from(stripe.guard.frozen.is_some()));
        self.shard(me, self.model.shard(stripe, me));
    }

    fn shard(&mut self, me: ShardNo, shard: &Shard) {
        let counters = &shard.header.counters;
        self.units(counters.supply.unwrap_or(0));
        for units in [counters.available, counters.held, counters.sold] {
            self.units(units);
        }
        for peer in (0..self.model.shards()).map(ShardNo).filter(|p| *p != me) {
            self.counter(me, peer, counters.sent.get(&peer).copied().unwrap_or(0));
            self.counter(peer, me, counters.received.get(&peer).copied().unwrap_or(0));
        }
        let ended = |until| until <= self.world.now && holds(Rule::ClaimEndsByItself);
        match shard.header.claim.filter(|claim| !ended(claim.until)) {
            None => self.byte(0),
            Some(claim) => {
                self.byte(1);
                self.claimant(claim.claimant);
                self.time(claim.since);
                self.time(claim.until);
            }
        }
        self.byte(u8::try_from(shard.records.len()).unwrap());
        for (key, record) in &shard.records {
            self.byte(key.request.0[0]);
            self.byte(record.state as u8);
            self.byte(u8::from(record.late));
            self.units(u64::from(record.quantity));
            if record.state == State::Held {
                self.time(record.until);
            }
        }
        self.byte(u8::try_from(shard.adjustments.len()).unwrap());
        for change in shard.adjustments.values() {
            self.units(change.applied.cast_unsigned());
        }
    }

    fn claimant(&mut self, claimant: Claimant) {
        match claimant {
            Claimant::Buyer(key) => self.byte(key.request.0[0]),
            Claimant::Operator(request) => self.byte(request.0[0]),
        }
    }

    fn request(&mut self, request: &Request) {
        match &request.stage {
            Stage::Ended(outcome) => {
                self.byte(0);
                // Nothing of it matters any more, only how it ended.
                return self.outcome(*outcome);
            }
            Stage::Abandoned => return self.byte(1),
            Stage::Asking {
                round,
                asked,
                slots,
            } => {
                self.byte(2);
                self.asked(asked);
                for (asked, slot) in asked.iter().zip(slots) {
                    self.slot(asked, slot);
                }
                if let Some(round) = round {
                    self.what_next(round, asked, 2);
                }
            }
            Stage::Looking { readings, .. } => {
                self.byte(3);
                let shards = usize::from(self.model.shards());
                for (pass, readings) in readings.chunks(shards).enumerate() {
                    let mut in_order: Vec<_> = readings.iter().collect();
                    // What was read first does not matter.
                    in_order.sort_by_key(|read| read.shard);
                    self.byte(u8::try_from(in_order.len()).unwrap());
                    for read in in_order {
                        self.byte(read.shard.0);
                        self.byte(u8::from(read.durable));
                        self.seen(read.shard, &read.seen, pass == 0);
                    }
                }
            }
        }
        self.byte(u8::from(request.claimed));
        self.units(request.free.map_or(u64::MAX, |free| free));
    }

    fn outcome(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Changed(applied) => self.units(applied.cast_unsigned()),
            Outcome::Granted => self.byte(1),
            Outcome::Ended => self.byte(2),
            Outcome::Refused => self.byte(3),
            Outcome::OverLimit => self.byte(4),
            Outcome::Confirmed => self.byte(5),
            Outcome::Cancelled => self.byte(6),
            Outcome::Lost => self.byte(7),
            Outcome::WrongState => self.byte(8),
            Outcome::Unavailable => self.byte(9),
        }
    }

    fn seen(&mut self, by: ShardNo, seen: &Seen, first: bool) {
        let decides = !first || !holds(Rule::SecondSumDecides) || !holds(Rule::LookReadsTwice);
        if decides {
            self.units(seen.available);
        }
        for peer in (0..self.model.shards()).map(ShardNo).filter(|p| *p != by) {
            self.counter(by, peer, seen.sent.get(&peer).copied().unwrap_or(0));
            self.counter(peer, by, seen.received.get(&peer).copied().unwrap_or(0));
        }
    }

    fn asked(&mut self, asked: &[Asked]) {
        self.byte(u8::try_from(asked.len()).unwrap());
        for asked in asked {
            self.op(asked.shard, &asked.op);
        }
    }

    /// What differs between the operations of one request.
    fn op(&mut self, at: ShardNo, op: &ShardOp) {
        self.byte(at.0);
        match op {
            ShardOp::Reserve { .. } => self.byte(1),
            ShardOp::Confirm { late, .. } => {
                self.byte(2);
                self.byte(u8::from(*late == LateConfirm::RetakeOrLose));
            }
            ShardOp::Cancel { .. } => self.byte(3),
            ShardOp::Change { gathered, .. } => {
                self.byte(4);
                self.byte(u8::from(*gathered));
            }
            ShardOp::Claim { .. } => self.byte(5),
            ShardOp::Unclaim { .. } => self.byte(6),
            ShardOp::Lend {
                to,
                wanted,
                received,
                claim,
            } => {
                self.byte(7);
                self.byte(to.0);
                self.units(*wanted);
                self.counter(at, *to, *received);
                self.time(claim.unwrap_or(Millis(-1)));
            }
            ShardOp::Credit { from, sent } => {
                self.byte(8);
                self.byte(from.0);
                self.counter(*from, at, *sent);
            }
            other => panic!("no round asks this: {other:?}"),
        }
    }

    fn slot(&mut self, asked: &Asked, slot: &Slot) {
        let Slot::Done { reply, durable } = slot else {
            return self.byte(0);
        };
        self.byte(if *durable { 1 } else { 2 });
        match (reply, &asked.op) {
            (None, _) => self.byte(1),
            (Some(ShardReply::Lent { sent, .. }), ShardOp::Lend { to, .. }) => {
                self.byte(2);
                self.counter(asked.shard, *to, *sent);
            }
            (Some(ShardReply::ClaimedByOlder), _) => self.byte(3),
            (Some(ShardReply::Credited { .. }), _) => self.byte(4),
            (Some(ShardReply::Unclaimed), _) => self.byte(5),
            (Some(ShardReply::Claimed { since }), _) => {
                self.byte(6);
                self.time(*since);
            }
            (Some(reply), _) => {
                self.byte(7);
                self.outcome(Outcome::of(reply));
            }
        }
    }

    /// A round shows what it asks now, not what it will ask: so it is tried
    /// out. `deep`: how many answers ahead.
    fn what_next(&mut self, round: &Round, asked: &[Asked], deep: u8) {
        let answer = match &asked[asked.len() - 1].op {
            ShardOp::Claim { .. } => Some(ShardReply::Claimed { since: Millis(0) }),
            ShardOp::Reserve { .. } | ShardOp::Confirm { .. } | ShardOp::Change { .. } => {
                Some(ShardReply::Short {
                    wanted: 1,
                    available: 0,
                    held: 0,
                })
            }
            _ => None,
        };
        let mut replies = vec![None; asked.len() - 1];
        replies.push(answer);
        let mut round = round.clone();
        round.answered(&replies);
        match round.step() {
            RoundStep::Done(reply) => {
                self.byte(1);
                self.outcome(Outcome::of(&reply));
            }
            RoundStep::Look => self.byte(2),
            RoundStep::Ask(asked) => {
                self.byte(3);
                self.asked(&asked);
                if deep > 0 {
                    self.what_next(&round, &asked, deep - 1);
                }
            }
        }
    }
}
