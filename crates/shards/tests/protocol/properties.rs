//! What must be true: of every operation, in every state, of every answer, and
//! once all requests have theirs.

use std::collections::BTreeMap;
use std::sync::Arc;

use shards::ids::{RecordKey, ShardNo};
use shards::machine::{Counters, Reply, Shard, ShardOp, ShardReply, State, Stripe};

use crate::model::{Model, key_of, run_on};
use crate::scenario::Job;
use crate::world::{Outcome, Stage, World};

/// A property that does not hold, as a sentence.
#[derive(Clone, Debug)]
pub(crate) struct Broken(pub String);

fn broken<T>(words: String) -> Result<T, Broken> {
    Err(Broken(words))
}

/// What an operation did, as far as others care.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Effect {
    /// Units that went to the request.
    pub got: u64,
    /// Units that were moved for it.
    pub moved: u64,
    /// The request was refused for good.
    pub lost: bool,
    /// It was content with this many.
    pub partly: Option<u64>,
}

/// ⚔ Nothing is noted or moved for a request before it has looked, and nothing
/// at all for one that can never be served.
pub(crate) fn before(
    model: &Model,
    world: &World,
    request: u8,
    op: &ShardOp,
) -> Result<(), Broken> {
    match op {
        ShardOp::Claim { .. } => {}
        // A lend of nothing only asks.
        ShardOp::Lend { wanted, .. } if *wanted > 0 => {}
        _ => return Ok(()),
    }
    let request = usize::from(request);
    if world.requests[request].free.is_none() {
        return broken(format!("before any look: {op:?}"));
    }
    let job = model.job(request);
    if job.units(&model.scenario) > model.scenario.supply() && !job.is_partial() {
        return broken(format!("for a request that can never be served: {op:?}"));
    }
    Ok(())
}

/// Of an operation that changed a shard.
pub(crate) fn after(
    model: &Model,
    before: &Shard,
    after: &Shard,
    op: &ShardOp,
    reply: &Reply,
) -> Result<Effect, Broken> {
    if let Some(violation) = after.check().first() {
        return broken(violation.to_string());
    }
    check_ends(before, after)?;
    let Reply::Shard(reply) = reply else {
        return Ok(Effect::default());
    };
    let mut effect = Effect::default();
    match (op, reply) {
        (
            ShardOp::Reserve { key, quantity, .. },
            ShardReply::Granted {
                replayed: false, ..
            },
        ) => {
            if before.records.contains_key(key) {
                return broken("I3: granted once more".to_owned());
            }
            effect.got = u64::from(quantity.get());
            check_limit(model, after, *key)?;
        }
        (ShardOp::Lend { .. }, ShardReply::Lent { given, .. }) => effect.moved = *given,
        (ShardOp::Confirm { key, .. }, ShardReply::Done(reservation)) => {
            let was = before.records.get(key).map(|record| record.state);
            if reservation.record.late && was != Some(State::Confirmed) {
                effect.got = u64::from(reservation.record.quantity);
                check_limit(model, after, *key)?;
            }
        }
        (ShardOp::Confirm { key, .. }, ShardReply::WrongState(reservation)) => {
            let was = before.records.get(key).map(|record| record.state);
            effect.lost = reservation.record.state == State::Lost && was != Some(State::Lost);
        }
        (
            ShardOp::Change { change, .. },
            ShardReply::Changed {
                applied,
                replayed: false,
                ..
            },
        ) => {
            effect.got = applied.unsigned_abs();
            let shards::machine::StockChange::Adjust { delta, .. } = change else {
                return Ok(effect);
            };
            effect.partly = (applied != delta).then_some(effect.got);
        }
        _ => {}
    }
    Ok(effect)
}

/// I6: a hold leaves HELD once, and what is final stays.
fn check_ends(before: &Shard, after: &Shard) -> Result<(), Broken> {
    for (key, was) in &before.records {
        let is = after.records.get(key);
        let fine = is.is_some_and(|is| match (was.state, is.state) {
            (State::Held, _) | (State::Expired, State::Cancelled | State::Lost) => true,
            (State::Expired, State::Confirmed) => is.late,
            (was, is) => was == is,
        });
        if !fine {
            return broken(format!("I6: {key:?} was {was:?} and is {is:?}"));
        }
    }
    Ok(())
}

/// I5: no grant lifts a buyer above the limit.
fn check_limit(model: &Model, shard: &Shard, key: RecordKey) -> Result<(), Broken> {
    let limit = u64::from(model.scenario.buyer_limit);
    let of_buyer = shard.records.iter().filter(|(k, _)| k.buyer == key.buyer);
    let units: u64 = of_buyer.map(|(_, record)| record.buyer_units()).sum();
    if limit > 0 && units > limit {
        return broken(format!(
            "I5: {:?} has {units}, the limit is {limit}",
            key.buyer
        ));
    }
    Ok(())
}

/// ⚔ A no that an operation has just made final is true, and so is "that was
/// all there is".
pub(crate) fn at_execution(
    model: &Model,
    world: &World,
    request: u8,
    effect: Effect,
) -> Result<(), Broken> {
    let request = usize::from(request);
    let free = world.requests[request].free;
    let units = model.job(request).units(&model.scenario);
    if effect.lost && model.scenario.buyer_limit == 0 {
        check_no(world, free, units)?;
    }
    match effect.partly {
        // A lost credit may leave units behind, until somebody looks again.
        Some(got) if world.left.losses == model.begin_left().losses => {
            check_no(world, free, got + 1)
        }
        _ => Ok(()),
    }
}

/// Of an answer that a request was given.
pub(crate) fn when_told(model: &Model, world: &World, request: u8) -> Result<(), Broken> {
    let request = usize::from(request);
    match world.requests[request].stage {
        Stage::Ended(Outcome::Refused) => {
            let units = model.job(request).units(&model.scenario);
            check_no(world, world.requests[request].free, units)
        }
        _ => Ok(()),
    }
}

/// A refusal is true up to a lost race: of the units that were free when the
/// first reading of its look ended, too few were left by others.
fn check_no(world: &World, free: Option<u64>, units: u64) -> Result<(), Broken> {
    match free {
        _ if world.forgot => Ok(()),
        None => broken("a refusal without a look".to_owned()),
        Some(free) if free >= units => broken(format!(
            "a false refusal: {free} units were free and not granted to others, {units} suffice"
        )),
        Some(_) => Ok(()),
    }
}

/// What nobody has: available, under way, or held beyond the deadline. For a
/// request that needs more than that it does not matter how many they are: they
/// only become fewer, so this saves states.
pub(crate) fn free(model: &Model, world: &World, request: u8) -> u64 {
    let mut free = 0;
    for shard in model.each_shard(world) {
        free += shard.header.counters.available;
        let records = shard.records.values();
        let lapsed = records.filter(|r| r.state == State::Held && r.until <= world.now);
        free += lapsed.map(|record| u64::from(record.quantity)).sum::<u64>();
    }
    free += under_way(model, world).values().sum::<u64>();
    let job = model.job(usize::from(request));
    if free < job.units(&model.scenario) && !job.is_partial() {
        return 0;
    }
    free
}

fn sum(model: &Model, world: &World, of: impl Fn(&Counters) -> u64) -> u64 {
    let shards = model.each_shard(world);
    shards.map(|shard| of(&shard.header.counters)).sum()
}

/// What was sent and not received, by pair.
fn under_way(model: &Model, world: &World) -> BTreeMap<(ShardNo, ShardNo), u64> {
    let mut found = BTreeMap::new();
    for (from, sender) in (0..).map(ShardNo).zip(model.each_shard(world)) {
        for (to, sent) in &sender.header.counters.sent {
            let receiver = model.shard(&world.places[usize::from(to.0)].stripe, *to);
            let received = receiver.header.counters.received.get(&from);
            let units = sent.saturating_sub(received.copied().unwrap_or(0));
            if units > 0 {
                found.insert((from, *to), units);
            }
        }
    }
    found
}

/// Of the item at any time, as long as no shard lost what it had acknowledged.
pub(crate) fn in_every_state(model: &Model, world: &World) -> Result<(), Broken> {
    let mut records: BTreeMap<RecordKey, u32> = BTreeMap::new();
    for shard in model.each_shard(world) {
        for (key, record) in &shard.records {
            let has = matches!(record.state, State::Held | State::Confirmed);
            *records.entry(*key).or_default() += u32::from(has);
        }
    }
    if let Some((key, n)) = records.iter().find(|(_, n)| **n > 1) {
        return broken(format!("I3: {key:?} was granted {n} times"));
    }
    if world.forgot {
        return Ok(());
    }
    if let Some(place) = world
        .places
        .iter()
        .find(|p| p.stripe.guard.frozen.is_some())
    {
        let freeze = &place.stripe.guard.frozen;
        return broken(format!("frozen, though nothing was lost: {freeze:?}"));
    }
    check_pairs(model, world)?;
    let total = sum(model, world, |c| c.supply.unwrap_or(0) + c.surplus);
    let given = sum(model, world, |c| c.held + c.sold);
    let there = given + sum(model, world, |c| c.available);
    let moving: u64 = under_way(model, world).values().sum();
    if total != there + moving {
        return broken(format!(
            "I1: stocked with {total}, but {there} are there and {moving} under way"
        ));
    }
    if given > total {
        return broken(format!("oversold: {given} of {total}"));
    }
    check_acknowledged(model, world)
}

/// I2 between shards: nothing is received that was not sent.
fn check_pairs(model: &Model, world: &World) -> Result<(), Broken> {
    for (to, receiver) in (0..).map(ShardNo).zip(model.each_shard(world)) {
        for (from, received) in &receiver.header.counters.received {
            let sender = model.shard(&world.places[usize::from(from.0)].stripe, *from);
            let sent = sender.header.counters.sent.get(&to).copied().unwrap_or(0);
            if *received > sent {
                return broken(format!(
                    "I2: shard {to} received {received} of shard {from}, which sent {sent}"
                ));
            }
        }
    }
    Ok(())
}

/// I4: what was acknowledged is where a restart would find it.
fn check_acknowledged(model: &Model, world: &World) -> Result<(), Broken> {
    for (request, it) in world.requests.iter().enumerate() {
        let Stage::Ended(outcome) = it.stage else {
            continue;
        };
        let job = model.job(request);
        let home = model.home(job);
        let place = &world.places[usize::from(home.0)];
        let shard = model.shard(place.durable.as_ref().unwrap_or(&place.stripe), home);
        let there = match (outcome, job) {
            (Outcome::Granted, Job::Reserve { id, buyer, .. }) => {
                shard.records.contains_key(&key_of(id, buyer))
            }
            (Outcome::Changed(applied), _) => shard
                .adjustments
                .values()
                .any(|change| change.applied == applied),
            _ => true,
        };
        if !there {
            return broken(format!("I4: {job:?} was told {outcome:?}, and it is lost"));
        }
    }
    Ok(())
}

/// Once all requests are answered.
pub(crate) fn at_rest(model: &Model, world: &World) -> Result<(), Broken> {
    if world.forgot {
        return check_loss_is_noticed(model, world);
    }
    let mut world = world.clone();
    for ((from, to), _) in under_way(model, &world) {
        let sender = model.shard(&world.places[usize::from(from.0)].stripe, from);
        let sent = sender.header.counters.sent[&to];
        ask(model, &mut world, to, ShardOp::Credit { from, sent });
    }
    in_every_state(model, &world)?;
    let stranded: u64 = under_way(model, &world).values().sum();
    if stranded > 0 {
        return broken(format!("{stranded} units are stranded"));
    }
    if model.scenario.gives_back() {
        return Ok(());
    }
    // Nothing came back, so what is free now was free at every refusal.
    let free = sum(model, &world, |c| c.available);
    for (request, it) in world.requests.iter().enumerate() {
        let units = model.job(request).units(&model.scenario);
        if matches!(it.stage, Stage::Ended(Outcome::Refused)) && units <= free {
            return broken(format!("{units} units were refused, and {free} are left"));
        }
    }
    Ok(())
}

/// A unit too many never is there in silence: whoever asks the lenders, as any
/// request does that needs their units, finds a frozen stripe.
fn check_loss_is_noticed(model: &Model, world: &World) -> Result<(), Broken> {
    let mut world = world.clone();
    for from in (0..model.shards()).map(ShardNo) {
        for to in (0..model.shards()).map(ShardNo).filter(|to| *to != from) {
            let receiver = model.shard(&world.places[usize::from(to.0)].stripe, to);
            let received = receiver.header.counters.received.get(&from).copied();
            let lend = ShardOp::Lend {
                to,
                wanted: 0,
                received: received.unwrap_or(0),
                claim: None,
            };
            ask(model, &mut world, from, lend);
        }
    }
    let total = sum(model, &world, |c| c.supply.unwrap_or(0) + c.surplus);
    let there = sum(model, &world, |c| c.available + c.held + c.sold);
    let moving: u64 = under_way(model, &world).values().sum();
    let frozen = world.places.iter().any(|p| p.stripe.guard.frozen.is_some());
    if there + moving > total && !frozen {
        return broken(format!(
            "of {total} units {there} are there and {moving} under way, and nobody notices"
        ));
    }
    Ok(())
}

fn ask(model: &Model, world: &mut World, shard: ShardNo, op: ShardOp) {
    let at = usize::from(shard.0);
    let place = Arc::make_mut(&mut world.places[at]);
    let mut stripe = Stripe::clone(&place.stripe);
    run_on(&mut stripe, &model.keys[at], world.now, op);
    place.stripe = Arc::new(stripe);
    place.durable = None;
}
