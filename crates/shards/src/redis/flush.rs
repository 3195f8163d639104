//! One flush: which operations go into which run of the script, and what each of
//! them is told afterwards.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::fault::Fault;
use super::fence::Memory;
use super::lane::Queued;
use super::link::{Flushed, Link};
use super::script::{Answer, BATCH_LEN_MAX, Call, Ran, Seen, What};
use super::shared::{Shared, Suspect};
use super::survey::Endpoint;
use crate::ids::StripeNo;
use crate::machine::{Op, Reply, Stamp, StripeReply};
use crate::store::StoreError;

/// How often an operation is sent again that a node did nothing with.
const RETURNS_MAX: u8 = 2;

/// The instant and the limits of a flush.
#[derive(Clone, Copy)]
pub(super) struct Stamped(pub Stamp);

/// The operations of one run of the script.
pub(super) struct Part {
    pub stripe: StripeNo,
    /// ⚔ What was acknowledged before it was sent: that has to be in what it ran
    /// on. By the time of its answer, which waits for replicas, the stripe may
    /// have been taken over, and more be acknowledged there.
    pub memory: Memory,
    pub queued: Vec<Queued>,
}

impl Part {
    pub(super) fn ops(&self) -> Vec<&Op> {
        self.queued.iter().map(|one| &one.waiting.op).collect()
    }
}

/// What time it is, and whether the node is nearly full.
pub(super) fn stamp(shared: &Shared, link: &Link) -> Result<Stamped, StoreError> {
    Ok(Stamped(Stamp {
        now: shared.now()?,
        full: link.survey.info.is_full(),
        freeze_id: rand::random(),
    }))
}

pub(super) fn call<'a>(
    shared: &Shared,
    link: &Link,
    stripe: StripeNo,
    stamp: Stamped,
    what: What<'a>,
) -> Call<'a> {
    let (known, known_releases) = shared.watched(stripe, |watched| {
        (watched.memory.number(), watched.memory.releases())
    });
    Call {
        stripe,
        store_id: shared.identity.store_id,
        incarnation: link.incarnation,
        known,
        known_releases,
        stamp: stamp.0,
        skew_max_ms: shared.options.skew_max_ms,
        what,
    }
}

/// Each stripe's operations in their order, as many together as a run takes.
pub(super) fn parts(shared: &Shared, queued: Vec<Queued>) -> Vec<Part> {
    let mut by_stripe: BTreeMap<StripeNo, Vec<Part>> = BTreeMap::new();
    for one in queued {
        let stripe = one.waiting.stripe;
        let parts = by_stripe.entry(stripe).or_default();
        match parts.last_mut() {
            Some(part) if part.queued.len() < BATCH_LEN_MAX => part.queued.push(one),
            _ => parts.push(Part {
                stripe,
                memory: shared.watched(stripe, |watched| watched.memory),
                queued: vec![one],
            }),
        }
    }
    by_stripe.into_values().flatten().collect()
}

/// Whether nothing more is to be expected of this connection.
pub(super) fn is_broken(flushed: &Flushed) -> bool {
    let is_unknown = |answer: &Result<Bytes, Fault>| matches!(answer, Err(Fault::Unknown(_)));
    !flushed.answers.is_empty() && flushed.answers.iter().all(is_unknown)
}

/// What a guard says after an attempt to take its stripe over.
pub(super) fn guard_after(call: &Call<'_>, answer: &Result<Bytes, Fault>) -> Option<(Ran, Seen)> {
    let ran = call.decode(answer.as_ref().ok()?).ok()?;
    let seen = match &ran {
        Ran::Taken(seen) | Ran::Fenced(seen) => seen.clone(),
        _ => return None,
    };
    Some((ran, seen))
}

/// Whether the stripe is frozen after a run, by the last answer that tells;
/// `None` = none does. What an operator may do to a frozen stripe, and to one
/// that serves, is answered alike.
pub(super) fn tells_frozen(part: &Part, answers: &[Answer]) -> Option<bool> {
    let ops = part.queued.iter().map(|one| &one.waiting.op);
    let tells = |(op, answer): (&Op, &Answer)| match answer {
        Answer::NotYet => None,
        _ if says_frozen(answer) => Some(true),
        Answer::Reply(Reply::Stripe(StripeReply::Visited(_))) => Some(false),
        Answer::Reply(_) => (!op.runs_frozen()).then_some(false),
    };
    ops.zip(answers).rev().find_map(tells)
}

pub(super) fn says_frozen(answer: &Answer) -> bool {
    match answer {
        Answer::Reply(Reply::Frozen(_) | Reply::Stripe(StripeReply::OtherFreeze(_))) => true,
        Answer::Reply(Reply::Stripe(StripeReply::Visited(visit))) => visit.frozen.is_some(),
        _ => false,
    }
}

/// Answers the operations of a run that was carried out.
pub(super) fn answer(part: Part, answers: Vec<Answer>, acknowledged: &Result<(), String>) {
    for (one, answer) in part.queued.into_iter().zip(answers) {
        match (answer, acknowledged) {
            (Answer::NotYet, _) => one.waiting.answer(Err(StoreError::Unavailable(
                "the stripe was taken over a moment ago".to_owned(),
            ))),
            // Nothing was done.
            (Answer::Reply(reply @ Reply::Frozen(_)), _) | (Answer::Reply(reply), Ok(())) => {
                one.waiting.reply(reply);
            }
            (Answer::Reply(_), Err(why)) => {
                one.waiting
                    .answer(Err(StoreError::OutcomeUnknown(why.clone())));
            }
        }
    }
}

/// Answers those that a node did not carry out; what it did nothing with and
/// may carry out the next time comes back.
pub(super) fn failed(part: Part, fault: Fault, node: &Endpoint) -> Vec<Queued> {
    match fault {
        Fault::NoScript => not_done(part, "the node does not keep the script"),
        Fault::WrongType(_) => not_done(part, "a key is not what it has to be"),
        Fault::Closed => not_done(part, "the connection was closed"),
        fault => {
            refuse(part, &fault.into_error(node));
            Vec::new()
        }
    }
}

/// Of a run that did nothing, what is to be sent again.
pub(super) fn not_done(part: Part, why: &str) -> Vec<Queued> {
    let (again, refused): (Vec<_>, Vec<_>) = part
        .queued
        .into_iter()
        .partition(|one| one.returned < RETURNS_MAX);
    for one in refused {
        one.waiting
            .answer(Err(StoreError::Unavailable(why.to_owned())));
    }
    again
}

pub(super) fn unknown(part: Part, why: &str) {
    refuse(part, &StoreError::OutcomeUnknown(why.to_owned()));
}

pub(super) fn refuse(part: Part, error: &StoreError) {
    for one in part.queued {
        one.waiting.answer(Err(error.clone()));
    }
}

/// What a run that did nothing means.
pub(super) fn why_not(ran: &Ran) -> StoreError {
    match ran {
        Ran::Clock { master } => StoreError::ClockSkew(format!(
            "this master's says {} ms since 1970, which is too far from most",
            master.0
        )),
        Ran::Foreign { .. } => {
            StoreError::Unavailable("the stripe belongs to another store".to_owned())
        }
        other => StoreError::Unavailable(format!("the stripe cannot be served: {other:?}")),
    }
}

pub(super) fn frozen(stripe: StripeNo, suspect: &Suspect) -> StoreError {
    StoreError::Frozen {
        stripe,
        freeze_id: suspect.freeze_id,
        reason: suspect.reason.clone(),
    }
}
