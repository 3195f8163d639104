//! What a single answer, and a single step, must keep to whatever came before.

use std::collections::BTreeMap;

use super::super::shard::Queues;
use super::super::*;
use crate::ids::{ShardKey, ShardNo};
use crate::time::Millis;

/// Units of an item are on its shards, or under way between two of them; and
/// nobody has received what was not sent.
pub(super) fn conserved(shards: &[(ShardNo, &Shard)]) -> Result<(), String> {
    let (mut supply, mut there) = (0_u128, 0_u128);
    for (me, shard) in shards {
        let counters = &shard.header.counters;
        supply += u128::from(counters.supply.unwrap_or(0));
        there += u128::from(counters.available + counters.held + counters.sold);
        for (other, peer) in shards {
            let units =
                |of: &BTreeMap<ShardNo, u64>, with| u128::from(of.get(with).copied().unwrap_or(0));
            let sent = units(&counters.sent, other);
            let received = units(&peer.header.counters.received, me);
            ensure!(
                received <= sent,
                "I2: {other} has received {received} from {me}, which sent {sent}"
            );
            there += sent - received;
        }
    }
    ensure!(
        supply == there,
        "I1: of {supply} units there are {there}, those under way included"
    );
    Ok(())
}

/// An answer by its name: "Confirm Done Confirmed late".
pub(super) fn outcome(op: &ShardOp, reply: &ShardReply) -> String {
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
        ShardReply::Lent { given, .. } => add(*given > 0, "given"),
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
pub(super) fn due(shard: &Shard, now: Millis) -> usize {
    let Queues { expiry, sorted, .. } = &shard.queues;
    expiry
        .iter()
        .chain(sorted)
        .filter(|(at, _)| *at <= now)
        .count()
}

/// Leaves out what is the machine's own business.
pub(super) fn normal(reply: &mut ShardReply) {
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
/// Queues, and how long they are, are nothing that a reader sees.
pub(super) fn revised(before: &Stripe, after: &Stripe) -> Result<(), String> {
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
            .any(|(at, s)| after.shards[at].header.revision != s.header.revision);
    let step = after.guard.seq - before.guard.seq;
    ensure!(
        step == u64::from(changed),
        "changed: {changed}, but the sequence by {step}"
    );
    Ok(())
}

/// A sweep changes as many records as it says, within its limit, and stops
/// early only when nothing is left.
pub(super) fn swept(
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
pub(super) fn inspected(
    before: &Stripe,
    after: &Stripe,
    at: &ShardKey,
    (from, limit): (Option<&Cursor>, u32),
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
    let from = from.and_then(Cursor::record_key);
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
        *next == goes_on.flatten().map(Cursor::after),
        "it goes on at {next:?}, not {goes_on:?}"
    );
    ensure!(
        reading.counters == shard.header.counters,
        "not the header's counters"
    );
    Ok(())
}
