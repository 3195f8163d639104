//! The one error of this crate.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fmt;

use prost::bytes::Bytes;
use tonic::Status;
use tonic_types::StatusExt;

pub use tonic::Code;

use crate::verdict;

/// What is known about a call that got no OK, all its attempts together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request breaks a rule. Mend it; [`Error::violations`] names the
    /// fields. Nothing was done.
    Invalid,
    /// The service decided against it; [`Error::reason`] says why. The same
    /// request may be granted when the state of things has changed.
    Refused,
    /// The caller may not do that. Nothing was done.
    Denied,
    /// No connection could be made: the server is not there. Nothing was done.
    Unreachable,
    /// The service could not decide, and nothing was done. Try again later.
    Unavailable,
    /// It may have been done, or still be under way. Send it again with the
    /// same ids to learn which.
    OutcomeUnknown,
    /// The server does not have this call.
    Unsupported,
}

/// A field of the request that breaks its rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its path, such as `item.hold_ttl`.
    pub field: String,
    /// The rule, in words.
    pub description: String,
}

/// Why a call got no OK. Its `Display` is one sentence that says what to do.
#[derive(Clone)]
pub struct Error {
    // Results of calls are moved around a lot; errors are rare.
    inner: Box<Inner>,
}

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: String,
    reason: Option<String>,
    metadata: BTreeMap<String, String>,
    violations: Vec<Violation>,
    attempts: u32,
    status: Status,
}

/// How a call went that ends with an error.
pub(crate) struct History<'a> {
    /// Whom it was sent to.
    pub(crate) address: &'a str,
    /// How often.
    pub(crate) attempts: u32,
    /// What is known about the whole call; worse than the last attempt's own
    /// kind if an earlier one may have done something.
    pub(crate) kind: ErrorKind,
}

impl Error {
    /// An address, or another setting of this client, is wrong.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        let message = message.into();
        let status = Status::invalid_argument(message.clone());
        Self::with_message(ErrorKind::Invalid, message, 0, status)
    }

    /// A call ended with `status`.
    pub(crate) fn of_call(status: Status, history: &History<'_>) -> Self {
        let History {
            address,
            attempts,
            kind,
        } = *history;
        let message = match (
            verdict::our_info(&status),
            verdict::connect_failure(&status),
        ) {
            (Some(_), _) => status.message().to_owned(),
            (None, Some(cause)) => {
                format!("cannot reach {address}: {cause}; check the address, and that it runs")
            }
            (None, None) => said_by_others(&status, history),
        };
        Self::with_message(kind, message, attempts, status)
    }

    /// The error of one entry of a batch, which comes inside an OK reply.
    pub fn of_entry(entry: &tonic_types::pb::Status) -> Self {
        let status = entry_status(entry);
        let kind = verdict::judge(&status).kind;
        Self::with_message(kind, entry.message.clone(), 1, status)
    }

    /// After a Cancel by key: whatever became of the call, nothing is held now,
    /// nor will be.
    pub(crate) fn given_up(mut self) -> Self {
        self.inner.kind = ErrorKind::Unavailable;
        self.inner.message = format!(
            "given up, and cancelled by its key so that nothing stays held; the last attempt \
             ended with {}, {}",
            self.code_name(),
            self.inner.status.message()
        );
        self
    }

    /// Something else of the same request is still open.
    pub(crate) fn still_open(mut self) -> Self {
        self.inner.kind = ErrorKind::OutcomeUnknown;
        self
    }

    fn with_message(kind: ErrorKind, message: String, attempts: u32, status: Status) -> Self {
        let info = verdict::our_info(&status);
        let violations = status
            .get_details_bad_request()
            .map(|bad| bad.field_violations);
        let violation = |v: tonic_types::FieldViolation| Violation {
            field: v.field,
            description: v.description,
        };
        let inner = Inner {
            kind,
            message,
            reason: info.as_ref().map(|info| info.reason.clone()),
            metadata: info
                .map(|info| info.metadata.into_iter().collect())
                .unwrap_or_default(),
            violations: violations.into_iter().flatten().map(violation).collect(),
            attempts,
            status,
        };
        Self {
            inner: Box::new(inner),
        }
    }

    /// What is known, and with it what to do.
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// The status code of the last attempt.
    pub fn code(&self) -> Code {
        self.inner.status.code()
    }

    /// The status code by its name in gRPC, such as `FAILED_PRECONDITION`.
    pub fn code_name(&self) -> &'static str {
        code_name(self.code())
    }

    /// Holdfast's reason, one of [`crate::reason`] or a newer one; `None` if
    /// the answer was not Holdfast's.
    pub fn reason(&self) -> Option<&str> {
        self.inner.reason.as_deref()
    }

    /// The values that the reason concerns, such as `max_hold_for`.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.inner.metadata
    }

    /// The fields that break a rule, all at once.
    pub fn violations(&self) -> &[Violation] {
        &self.inner.violations
    }

    /// How many attempts were made.
    pub fn attempts(&self) -> u32 {
        self.inner.attempts
    }

    /// The last attempt's status as it came.
    pub fn status(&self) -> &Status {
        &self.inner.status
    }
}

/// The error of a batch's entry, as the status that a call of its own would
/// have ended with. The wire form of the details is the same in both places.
pub(crate) fn entry_status(entry: &tonic_types::pb::Status) -> Status {
    let details = Bytes::from(prost::Message::encode_to_vec(entry));
    Status::with_details(Code::from_i32(entry.code), entry.message.clone(), details)
}

/// A sentence for an error that Holdfast did not word.
fn said_by_others(status: &Status, history: &History<'_>) -> String {
    let History {
        address,
        attempts,
        kind,
    } = *history;
    let times = if attempts == 1 {
        "1 attempt".to_owned()
    } else {
        format!("{attempts} attempts")
    };
    let what = match status.message() {
        "" => code_name(status.code()).to_owned(),
        message => format!("{}, {message}", code_name(status.code())),
    };
    match kind {
        ErrorKind::OutcomeUnknown => format!(
            "no answer from {address} after {times} ({what}); it may have been done: \
             send it again with the same ids"
        ),
        ErrorKind::Unreachable | ErrorKind::Unavailable => {
            format!("no answer from {address} after {times} ({what}); try again later")
        }
        ErrorKind::Unsupported => {
            format!(
                "{address} does not have this call ({what}); is the server older than the client?"
            )
        }
        ErrorKind::Invalid | ErrorKind::Refused | ErrorKind::Denied => {
            format!("{address} refused it ({what})")
        }
    }
}

/// A status code's name in the gRPC specification.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.inner.kind)
            .field("code", &self.code())
            .field("reason", &self.inner.reason)
            .field("message", &self.inner.message)
            .field("metadata", &self.inner.metadata)
            .field("violations", &self.inner.violations)
            .field("attempts", &self.inner.attempts)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        // A status of Holdfast's own says nothing that the message does not.
        let foreign = self.inner.reason.is_none() && self.inner.attempts > 0;
        if foreign {
            Some(&self.inner.status)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic_types::ErrorDetails;

    use super::*;
    use crate::reason;

    fn history(kind: ErrorKind) -> History<'static> {
        History {
            address: "http://127.0.0.1:50051",
            attempts: 3,
            kind,
        }
    }

    #[test]
    fn holdfasts_own_words_details_and_fields_come_through() {
        let metadata = HashMap::from([("max_hold_for".to_owned(), "123.5s".to_owned())]);
        let mut details =
            ErrorDetails::with_error_info(reason::HOLD_TOO_LONG, reason::DOMAIN, metadata);
        details.add_bad_request_violation("hold_for", "at most 123.5s");
        let status =
            Status::with_error_details(Code::FailedPrecondition, "ask for 123.5s at most", details);
        let error = Error::of_call(status, &history(ErrorKind::Refused));
        assert_eq!(error.to_string(), "ask for 123.5s at most");
        assert_eq!(error.code_name(), "FAILED_PRECONDITION");
        assert_eq!(error.reason(), Some(reason::HOLD_TOO_LONG));
        assert_eq!(error.metadata()["max_hold_for"], "123.5s");
        let expected = Violation {
            field: "hold_for".into(),
            description: "at most 123.5s".into(),
        };
        assert_eq!(error.violations(), [expected]);
        assert_eq!(error.attempts(), 3);
        assert!(error.source().is_none());
    }

    #[test]
    fn an_unknown_outcome_says_to_send_the_same_ids() {
        let status = Status::internal("stream broke");
        let error = Error::of_call(status, &history(ErrorKind::OutcomeUnknown));
        assert_eq!(
            error.to_string(),
            "no answer from http://127.0.0.1:50051 after 3 attempts (INTERNAL, stream broke); \
             it may have been done: send it again with the same ids"
        );
        assert!(error.source().is_some());
    }

    #[test]
    fn an_entry_of_a_batch_is_an_error_like_any_other() {
        let details =
            ErrorDetails::with_error_info(reason::ITEM_NOT_FOUND, reason::DOMAIN, HashMap::new());
        let status = Status::with_error_details(Code::NotFound, "no item x", details);
        let entry: tonic_types::pb::Status =
            prost::Message::decode(status.details()).expect("tonic-types wrote it");
        let error = Error::of_entry(&entry);
        assert_eq!(error.kind(), ErrorKind::Refused);
        assert_eq!(error.reason(), Some(reason::ITEM_NOT_FOUND));
        assert_eq!(error.to_string(), "no item x");
    }
}
