//! Which error is which status: the one place that decides it, for replies and
//! for the entries of batches alike.
//!
//! Every problem carries exactly one `google.rpc.ErrorInfo` (domain
//! `holdfast`, a reason of the contract's table, the values concerned), and
//! what else helps its reader.

use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use prost_types::Any;
use shards::inventory::{Error, FieldError, Receipt, seconds};
use shards::machine::State;
use shards::store::StoreError;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};
use tonic_types::{BadRequest, ErrorInfo, ResourceInfo, RetryInfo, pb};

/// The domain of every reason.
const DOMAIN: &str = "holdfast";
/// Whoever is shed comes again after this long, and a random part of it again,
/// so that they do not come again together.
const SHED_PAUSE: Duration = Duration::from_millis(100);
/// gRPC clients obey this trailer in their retry policy.
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// An error as its caller sees it.
#[derive(Debug)]
pub(super) struct Problem {
    code: Code,
    reason: &'static str,
    message: String,
    values: Vec<(&'static str, String)>,
    /// What there is beside the `ErrorInfo`.
    more: Vec<Any>,
    retry: Retry,
}

/// The reason of a status, on its way through this server: to read it from the
/// status' details would cost more than the rest of the answer. Not sent.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Reason(pub(super) &'static str);

/// What gRPC clients are told about retrying.
#[derive(Clone, Copy, Debug)]
enum Retry {
    /// By their own policy.
    AsYouLike,
    /// Not at all: it would not help.
    Never,
    /// Not before this long.
    After(Duration),
}

impl Problem {
    fn new(code: Code, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            values: Vec::new(),
            more: Vec::new(),
            retry: Retry::AsYouLike,
        }
    }

    fn with(mut self, name: &'static str, value: &dyn ToString) -> Self {
        self.values.push((name, value.to_string()));
        self
    }

    fn about(mut self, kind: &str, name: impl Into<String>, what: &str) -> Self {
        let info = pb::ResourceInfo {
            resource_type: format!("holdfast.inventory.v1.{kind}"),
            resource_name: name.into(),
            owner: String::new(),
            description: what.to_owned(),
        };
        self.more.push(any(ResourceInfo::TYPE_URL, &info));
        self
    }

    fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        if let Retry::After(pause) = retry {
            let info = pb::RetryInfo {
                retry_delay: pause.try_into().ok(),
            };
            self.more.push(any(RetryInfo::TYPE_URL, &info));
        }
        self
    }

    /// This server takes no new work any more.
    pub(super) fn draining() -> Self {
        Self::new(
            Code::Unavailable,
            "DRAINING",
            "this server is leaving and did nothing: retry, and another one answers",
        )
    }

    /// Refused before it was begun.
    pub(super) fn deadline_too_short() -> Self {
        Self::new(
            Code::DeadlineExceeded,
            "DEADLINE_TOO_SHORT",
            "the deadline passed before this could be sent to the store; nothing was done: allow \
             more time",
        )
    }

    /// Its message did not arrive in time.
    pub(super) fn message_too_late() -> Self {
        Self::new(
            Code::DeadlineExceeded,
            "DEADLINE_TOO_SHORT",
            "the rest of the message did not come in time; nothing was done: send it as a whole",
        )
    }

    /// Refused before anything was done for it.
    pub(super) fn overloaded(why: &str) -> Self {
        let pause = SHED_PAUSE + rand::random_range(Duration::ZERO..SHED_PAUSE);
        Self::new(
            Code::ResourceExhausted,
            "OVERLOADED",
            format!("{why}; nothing was done: retry later"),
        )
        .retry(Retry::After(pause))
    }

    /// The caller's time was over while it was under way.
    pub(super) fn deadline_passed() -> Self {
        Self::new(
            Code::DeadlineExceeded,
            "OUTCOME_UNKNOWN",
            "the deadline passed while this was under way; it may still be done: send it again \
             with the same ids to find out",
        )
    }

    /// Under way when the server had to end.
    pub(super) fn cut_off() -> Self {
        Self::new(
            Code::Unavailable,
            "OUTCOME_UNKNOWN",
            "this server had to stop while this was under way; it may have been done: send it \
             again with the same ids to find out",
        )
    }

    /// A stream that ends because this server takes no new work any more.
    pub(super) fn stream_closing() -> Self {
        Self::new(
            Code::Unavailable,
            "DRAINING",
            "this server is leaving, and did nothing about what it has not answered: call again, \
             and another one answers",
        )
    }

    /// A message that must be there.
    pub(super) fn unset(field: &str) -> Self {
        Self::invalid(vec![FieldError::new(field, "must be set")])
    }

    fn invalid(fields: Vec<FieldError>) -> Self {
        let message = format!("the request is not valid: {}", FieldError::list(&fields));
        let violations = fields.into_iter().map(|broken| {
            let FieldError { field, rule } = broken;
            pb::bad_request::FieldViolation {
                field,
                description: rule,
                ..Default::default()
            }
        });
        let info = pb::BadRequest {
            field_violations: violations.collect(),
        };
        let mut problem = Self::new(Code::InvalidArgument, "FIELD_INVALID", message);
        problem.more.push(any(BadRequest::TYPE_URL, &info));
        problem
    }

    fn wrong_state(receipt: &Receipt, message: String) -> Self {
        let reason = match receipt.reservation.record.state {
            State::Held => "RESERVATION_HELD",
            State::Confirmed => "RESERVATION_CONFIRMED",
            State::Cancelled => "RESERVATION_CANCELLED",
            State::Expired => "RESERVATION_EXPIRED",
            State::Lost => "RESERVATION_LOST",
        };
        Self::new(Code::FailedPrecondition, reason, message)
            .with("item_id", &receipt.item)
            .with("reservation_id", &receipt.id)
    }

    fn of_the_store(error: &StoreError) -> Self {
        let message = error.to_string();
        match error {
            StoreError::Unavailable(_) => Self::new(
                Code::Unavailable,
                "STORE_UNAVAILABLE",
                format!("{message}; nothing was done: retry with the same ids"),
            ),
            StoreError::OutcomeUnknown(_) => Self::new(
                Code::Unavailable,
                "OUTCOME_UNKNOWN",
                format!("{message}: send it again with the same ids to find out"),
            ),
            StoreError::Frozen {
                stripe,
                freeze_id,
                reason: _,
            } => Self::new(Code::Unavailable, "DATA_LOSS_SUSPECTED", message)
                .with("stripe", stripe)
                .with("freeze_id", &self::freeze_id(*freeze_id))
                .retry(Retry::Never),
            StoreError::ClockSkew(_) => Self::new(
                Code::Unavailable,
                "CLOCK_SKEW",
                format!("{message}; nothing was done: retry with the same ids"),
            ),
            StoreError::Overloaded => Self::overloaded(&message),
            StoreError::DeadlineTooShort => Self::deadline_too_short(),
        }
    }

    fn defect(what: &str) -> Self {
        // The details are the operator's: callers can do nothing with them.
        tracing::error!(
            what,
            "a defect: the store's answer does not fit the question"
        );
        Self::new(
            Code::Internal,
            // The contract's word for it: by this reason clients know that
            // asking again with the same ids is right.
            "OUTCOME_UNKNOWN",
            "this server met a defect, which is in its log; this may have been done: send it again \
             with the same ids to find out",
        )
    }

    fn trailers(&self) -> MetadataMap {
        let mut trailers = MetadataMap::new();
        let pushback = match self.retry {
            Retry::AsYouLike => return trailers,
            Retry::Never => MetadataValue::from_static("-1"),
            Retry::After(pause) => {
                MetadataValue::from(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX))
            }
        };
        trailers.insert(PUSHBACK, pushback);
        trailers
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        use Code::{AlreadyExists, FailedPrecondition, NotFound, ResourceExhausted, Unavailable};
        let message = error.to_string();
        match error {
            Error::Invalid(fields) => Self::invalid(fields),
            Error::ItemNotFound(item) => Self::new(NotFound, "ITEM_NOT_FOUND", message)
                .with("item_id", &item)
                .about("Item", item, "there is no such item"),
            Error::ReservationNotFound => Self::new(NotFound, "RESERVATION_NOT_FOUND", message),
            Error::RequestIdReused => Self::new(AlreadyExists, "REQUEST_ID_REUSED", message),
            Error::ItemExists(item) => Self::new(AlreadyExists, "ITEM_EXISTS", message)
                .with("item_id", &item)
                .about(
                    "Item",
                    item,
                    "made by another request, or with other contents",
                ),
            Error::WrongState(receipt) => Self::wrong_state(&receipt, message),
            Error::HoldTooLong { max_hold_for_ms } => {
                Self::new(FailedPrecondition, "HOLD_TOO_LONG", message)
                    .with("max_hold_for", &seconds(max_hold_for_ms))
            }
            Error::ReturnTooLarge { left } => {
                Self::new(FailedPrecondition, "RETURN_TOO_LARGE", message)
                    .with("returnable_units", &left)
            }
            Error::TotalMismatch { total } => {
                Self::new(FailedPrecondition, "TOTAL_MISMATCH", message).with("total", &total)
            }
            Error::NotEnoughAvailable { available, held } => {
                Self::new(FailedPrecondition, "NOT_ENOUGH_AVAILABLE", message)
                    .with("available_units", &available)
                    .with("held_units", &held)
            }
            Error::VersionMismatch { item, version } => {
                Self::new(FailedPrecondition, "VERSION_MISMATCH", message)
                    .with("item_id", &item)
                    .with("version", &version)
            }
            Error::LimitNotTracked(item) => {
                Self::new(FailedPrecondition, "LIMIT_NOT_TRACKED", message).with("item_id", &item)
            }
            Error::UnitsHeld { units } => {
                Self::new(FailedPrecondition, "UNITS_HELD", message).with("held_units", &units)
            }
            Error::ItemDeleting(item) => {
                Self::new(FailedPrecondition, "ITEM_DELETING", message).with("item_id", &item)
            }
            Error::ItemClosed(item) => {
                Self::new(FailedPrecondition, "ITEM_CLOSED", message).with("item_id", &item)
            }
            Error::NotSpread {
                version,
                shards_done,
                shards_total,
                cause: _,
            } => Self::new(Unavailable, "OUTCOME_UNKNOWN", message)
                .with("version", &version)
                .with("shards_done", &shards_done)
                .with("shards_total", &shards_total),
            Error::ShardLost { item, stripe } => {
                Self::new(Unavailable, "DATA_LOSS_SUSPECTED", message)
                    .with("item_id", &item)
                    .with("stripe", &stripe)
                    .retry(Retry::Never)
            }
            Error::OtherFreeze { stripe, freeze_id } => {
                Self::new(FailedPrecondition, "FREEZE_ID_MISMATCH", message)
                    .with("stripe", &stripe)
                    .with("freeze_id", &self::freeze_id(freeze_id))
            }
            Error::StoreFull => Self::new(ResourceExhausted, "STORE_FULL", message),
            Error::Store(error) => Self::of_the_store(&error),
            Error::Unexpected(what) => Self::defect(&what),
        }
    }
}

/// The google.rpc form, as batches carry it.
impl From<Problem> for pb::Status {
    fn from(problem: Problem) -> Self {
        let info = pb::ErrorInfo {
            reason: problem.reason.to_owned(),
            domain: DOMAIN.to_owned(),
            metadata: problem
                .values
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
        };
        let mut details = vec![any(ErrorInfo::TYPE_URL, &info)];
        details.extend(problem.more);
        Self {
            code: problem.code.into(),
            message: problem.message,
            details,
        }
    }
}

impl From<Problem> for Status {
    fn from(problem: Problem) -> Self {
        let trailers = problem.trailers();
        let code = problem.code;
        let reason = Reason(problem.reason);
        let rpc = pb::Status::from(problem);
        let details = rpc.encode_to_vec();
        let mut status =
            Self::with_details_and_metadata(code, rpc.message, details.into(), trailers);
        status.set_source(Arc::new(reason));
        status
    }
}

/// A freeze's name as callers see it.
pub(super) fn freeze_id(id: u64) -> String {
    format!("{id:016x}")
}

fn any(type_url: &str, message: &impl prost::Message) -> Any {
    Any {
        type_url: type_url.to_owned(),
        value: message.encode_to_vec(),
    }
}

/// The same error, of an entry of a batch: its fields are named from the
/// request's root, such as `requests[3].quantity`.
pub(super) fn in_entry(error: Error, list: &str, index: usize) -> Error {
    match error {
        Error::Invalid(fields) => Error::Invalid(
            fields
                .into_iter()
                .map(|broken| {
                    FieldError::new(format!("{list}[{index}].{}", broken.field), broken.rule)
                })
                .collect(),
        ),
        other => other,
    }
}

#[cfg(test)]
mod tests;
