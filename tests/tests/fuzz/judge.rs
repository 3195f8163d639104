//! What an error may be.

use std::collections::BTreeMap;
use std::fmt::Debug;

use e2e::Failure;
use tonic::{Code, Response, Status};
use tonic_types::pb;

/// Reasons of the contract that may come here, and the status each goes with.
/// Not among them: what would mean that the store or this server is in trouble,
/// which it has no cause to be.
const REASONS: [(&str, Code); 24] = [
    ("FIELD_INVALID", Code::InvalidArgument),
    ("ITEM_NOT_FOUND", Code::NotFound),
    ("RESERVATION_NOT_FOUND", Code::NotFound),
    ("REQUEST_ID_REUSED", Code::AlreadyExists),
    ("ITEM_EXISTS", Code::AlreadyExists),
    ("RESERVATION_HELD", Code::FailedPrecondition),
    ("RESERVATION_CONFIRMED", Code::FailedPrecondition),
    ("RESERVATION_EXPIRED", Code::FailedPrecondition),
    ("RESERVATION_CANCELLED", Code::FailedPrecondition),
    ("RESERVATION_LOST", Code::FailedPrecondition),
    ("HOLD_TOO_LONG", Code::FailedPrecondition),
    ("RETURN_TOO_LARGE", Code::FailedPrecondition),
    ("VERSION_MISMATCH", Code::FailedPrecondition),
    ("TOTAL_MISMATCH", Code::FailedPrecondition),
    ("NOT_ENOUGH_AVAILABLE", Code::FailedPrecondition),
    ("LIMIT_NOT_TRACKED", Code::FailedPrecondition),
    ("UNITS_HELD", Code::FailedPrecondition),
    ("ITEM_DELETING", Code::FailedPrecondition),
    ("ITEM_CLOSED", Code::FailedPrecondition),
    ("FREEZE_ID_MISMATCH", Code::FailedPrecondition),
    // Only where the caller's deadline has passed, or nearly.
    ("DEADLINE_TOO_SHORT", Code::DeadlineExceeded),
    ("OUTCOME_UNKNOWN", Code::DeadlineExceeded),
    ("OUTCOME_UNKNOWN", Code::Unavailable),
    ("STORE_UNAVAILABLE", Code::Unavailable),
];

/// How a call was made, which decides what may come of it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct How {
    /// It had a deadline.
    pub timed: bool,
    /// Its bytes were not those of a message.
    pub raw: bool,
    /// It was larger than a message may be.
    pub too_large: bool,
}

/// What came of the calls: how often, by rpc and answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally(pub BTreeMap<(&'static str, String), u64>);

impl Tally {
    fn count(&mut self, rpc: &'static str, answer: &str) {
        *self.0.entry((rpc, answer.to_owned())).or_default() += 1;
    }

    /// Adds another's.
    pub(crate) fn add(&mut self, other: Self) {
        for (what, times) in other.0 {
            *self.0.entry(what).or_default() += times;
        }
    }

    /// The reply; of an error that may be, nothing. One that may not be fails
    /// the test.
    pub(crate) fn reply<T>(
        &mut self,
        rpc: &'static str,
        how: How,
        asked: &impl Debug,
        result: Result<Response<T>, Status>,
    ) -> Option<T> {
        match result {
            Ok(reply) => {
                self.count(rpc, "OK");
                Some(reply.into_inner())
            }
            Err(status) => {
                let failure = Failure::from(&status);
                if let Err(why) = judge(how, &failure) {
                    let mut asked = format!("{asked:?}");
                    asked.truncate(asked.floor_char_boundary(2_000));
                    panic!("{rpc}: {why}: {failure:#?}\nasked, {how:?}: {asked}");
                }
                let reason = failure.reasons.first();
                self.count(rpc, reason.map_or("no reason of ours", |reason| reason));
                None
            }
        }
    }

    /// The error of one entry of a reply.
    pub(crate) fn entry(
        &mut self,
        rpc: &'static str,
        how: How,
        asked: &impl Debug,
        error: &pb::Status,
    ) {
        let failure = Failure::from(error);
        if let Err(why) = judge(how, &failure) {
            panic!("{rpc}: {why}: {failure:#?}\nasked, {how:?}: {asked:?}");
        }
        self.count(rpc, &failure.reasons[0]);
    }
}

fn judge(how: How, failure: &Failure) -> Result<(), &'static str> {
    if failure.trailers_only == Some(false) {
        return Err("headers came before the error");
    }
    let expected = match &failure.reasons[..] {
        // What the transport refuses, and what this client itself gives up.
        [] => match failure.code {
            Code::OutOfRange => how.too_large,
            Code::Internal => how.raw && failure.message.contains("decode"),
            Code::Cancelled | Code::DeadlineExceeded => how.timed,
            _ => false,
        },
        [reason] => {
            let known = REASONS
                .iter()
                .any(|(known, code)| known == reason && *code == failure.code);
            let late = [Code::DeadlineExceeded, Code::Unavailable].contains(&failure.code);
            known && (how.timed || !late)
        }
        _ => return Err("more than one ErrorInfo"),
    };
    if !expected {
        return Err("there is no cause for this error");
    }
    if !failure.message.contains(' ') {
        return Err("no sentence");
    }
    Ok(())
}
