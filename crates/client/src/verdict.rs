//! What the failure of one attempt says. This is the table of errors of the
//! contract, seen from the caller; the only place that reads status codes.

use std::error::Error as _;
use std::time::Duration;

use tonic::{Code, ConnectError, Status};
use tonic_types::{ErrorInfo, StatusExt};

use crate::error::ErrorKind;
use crate::reason;

/// Trailing metadata by which a server steers its callers' retries.
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// Whether another attempt may succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retry {
    /// It gets the same answer.
    Useless,
    /// Only the server can know, and says so by naming a delay.
    IfTold,
    /// It may.
    Worthwhile,
}

/// What an attempt's failure says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// What is known about this attempt.
    pub(crate) kind: ErrorKind,
    /// The shortest wait before another attempt; `None`: make no other.
    pub(crate) retry_after: Option<Duration>,
}

/// Judges the failure of one attempt.
pub(crate) fn judge(status: &Status) -> Verdict {
    let info = our_info(status);
    let reason = info.as_ref().map(|info| info.reason.as_str());
    let (kind, retry) = if was_never_sent(status) {
        (ErrorKind::Unreachable, Retry::Worthwhile)
    } else {
        classify(status.code(), reason)
    };
    Verdict {
        kind,
        retry_after: retry_after(retry, &Told::by(status)),
    }
}

/// The detail that every error of Holdfast's own carries; `None` if something
/// else made the error: a proxy, a library, this process.
pub(crate) fn our_info(status: &Status) -> Option<ErrorInfo> {
    status
        .get_details_error_info()
        .filter(|info| info.domain == reason::DOMAIN)
}

/// The root cause, if no connection could be made.
pub(crate) fn connect_failure(status: &Status) -> Option<String> {
    let mut cause = status.source()?;
    let mut in_connect = false;
    loop {
        in_connect |= cause.is::<ConnectError>();
        match cause.source() {
            Some(next) => cause = next,
            None => return in_connect.then(|| cause.to_string()),
        }
    }
}

fn was_never_sent(status: &Status) -> bool {
    connect_failure(status).is_some()
}

/// The table: what is known, and whether to try again.
fn classify(code: Code, reason: Option<&str>) -> (ErrorKind, Retry) {
    use ErrorKind::{Denied, Invalid, OutcomeUnknown, Refused, Unavailable, Unsupported};
    match code {
        Code::InvalidArgument => return (Invalid, Retry::Useless),
        Code::NotFound | Code::AlreadyExists | Code::FailedPrecondition => {
            return (Refused, Retry::Useless);
        }
        Code::Unauthenticated | Code::PermissionDenied => return (Denied, Retry::Useless),
        Code::Unimplemented => return (Unsupported, Retry::Useless),
        _ => {}
    }
    match reason {
        Some(
            reason::STORE_UNAVAILABLE
            | reason::CLOCK_SKEW
            | reason::DRAINING
            | reason::OVERLOADED
            | reason::DEADLINE_TOO_SHORT,
        ) => return (Unavailable, Retry::Worthwhile),
        Some(reason::DATA_LOSS_SUSPECTED | reason::STORE_FULL) => {
            return (Unavailable, Retry::Useless);
        }
        // OUTCOME_UNKNOWN, a newer server's reason, or none at all.
        _ => {}
    }
    match code {
        Code::Unavailable
        | Code::DeadlineExceeded
        | Code::Cancelled
        | Code::Unknown
        | Code::Internal
        | Code::Aborted => (OutcomeUnknown, Retry::Worthwhile),
        // A proxy's quota passes; a message too large stays too large.
        Code::ResourceExhausted => (OutcomeUnknown, Retry::IfTold),
        _ => (OutcomeUnknown, Retry::Useless),
    }
}

/// What the server said about trying again.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    /// Not to.
    stop: bool,
    /// Not before this time.
    delay: Option<Duration>,
}

impl Told {
    fn by(status: &Status) -> Self {
        let delay = status
            .get_details_retry_info()
            .and_then(|info| info.retry_delay);
        match status.metadata().get(PUSHBACK) {
            None => Self { stop: false, delay },
            // gRPC: negative and unreadable both mean "do not retry".
            Some(value) => match value.to_str().ok().and_then(|ms| ms.parse().ok()) {
                Some(ms) => Self {
                    stop: false,
                    delay: delay.max(Some(Duration::from_millis(ms))),
                },
                None => Self { stop: true, delay },
            },
        }
    }
}

fn retry_after(retry: Retry, told: &Told) -> Option<Duration> {
    if told.stop {
        return None;
    }
    match retry {
        Retry::Useless => None,
        Retry::IfTold => told.delay,
        Retry::Worthwhile => Some(told.delay.unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic::metadata::MetadataMap;
    use tonic_types::ErrorDetails;

    use super::*;

    fn ours(code: Code, reason: &str) -> Status {
        let details = ErrorDetails::with_error_info(reason, reason::DOMAIN, HashMap::new());
        Status::with_error_details(code, "a sentence", details)
    }

    fn with_pushback(mut status: Status, pushback: &'static str) -> Status {
        let mut metadata = MetadataMap::new();
        metadata.insert(PUSHBACK, pushback.parse().unwrap());
        *status.metadata_mut() = metadata;
        status
    }

    #[test]
    fn every_error_of_the_contract_has_its_verdict() {
        use ErrorKind::{Denied, Invalid, OutcomeUnknown, Refused, Unavailable};
        let table = [
            (Code::InvalidArgument, reason::FIELD_INVALID, Invalid, false),
            (Code::NotFound, reason::ITEM_NOT_FOUND, Refused, false),
            (
                Code::AlreadyExists,
                reason::REQUEST_ID_REUSED,
                Refused,
                false,
            ),
            (
                Code::FailedPrecondition,
                reason::RESERVATION_EXPIRED,
                Refused,
                false,
            ),
            (
                Code::FailedPrecondition,
                "OF_A_NEWER_SERVER",
                Refused,
                false,
            ),
            (
                Code::Unavailable,
                reason::STORE_UNAVAILABLE,
                Unavailable,
                true,
            ),
            (
                Code::Unavailable,
                reason::OUTCOME_UNKNOWN,
                OutcomeUnknown,
                true,
            ),
            (Code::Unavailable, reason::CLOCK_SKEW, Unavailable, true),
            (Code::Unavailable, reason::DRAINING, Unavailable, true),
            (
                Code::Unavailable,
                reason::DATA_LOSS_SUSPECTED,
                Unavailable,
                false,
            ),
            (Code::Unavailable, "OF_A_NEWER_SERVER", OutcomeUnknown, true),
            (
                Code::ResourceExhausted,
                reason::OVERLOADED,
                Unavailable,
                true,
            ),
            (
                Code::ResourceExhausted,
                reason::STORE_FULL,
                Unavailable,
                false,
            ),
            (
                Code::DeadlineExceeded,
                reason::DEADLINE_TOO_SHORT,
                Unavailable,
                true,
            ),
            (
                Code::Unauthenticated,
                reason::CREDENTIALS_REQUIRED,
                Denied,
                false,
            ),
            (Code::PermissionDenied, reason::ROLE_REQUIRED, Denied, false),
        ];
        for (code, reason, kind, retried) in table {
            let verdict = judge(&ours(code, reason));
            assert_eq!(verdict.kind, kind, "{code:?} {reason}");
            assert_eq!(verdict.retry_after.is_some(), retried, "{code:?} {reason}");
        }
    }

    #[test]
    fn an_error_without_our_detail_is_an_unknown_outcome() {
        let retried = [
            Code::Unavailable,
            Code::DeadlineExceeded,
            Code::Cancelled,
            Code::Unknown,
            Code::Internal,
        ];
        for code in retried {
            let verdict = judge(&Status::new(code, ""));
            assert_eq!(verdict.kind, ErrorKind::OutcomeUnknown, "{code:?}");
            assert_eq!(verdict.retry_after, Some(Duration::ZERO), "{code:?}");
        }
        for code in [Code::ResourceExhausted, Code::OutOfRange, Code::DataLoss] {
            let verdict = judge(&Status::new(code, ""));
            assert_eq!(verdict.kind, ErrorKind::OutcomeUnknown, "{code:?}");
            assert_eq!(verdict.retry_after, None, "{code:?}");
        }
    }

    #[test]
    fn a_reason_of_another_domain_is_not_ours() {
        let details = ErrorDetails::with_error_info(
            reason::STORE_UNAVAILABLE,
            "proxy.example",
            HashMap::new(),
        );
        let status = Status::with_error_details(Code::Unavailable, "", details);
        assert_eq!(judge(&status).kind, ErrorKind::OutcomeUnknown);
    }

    #[test]
    fn pushback_stops_or_delays() {
        let overloaded = || ours(Code::ResourceExhausted, reason::OVERLOADED);
        let after = |pushback| judge(&with_pushback(overloaded(), pushback)).retry_after;
        assert_eq!(after("250"), Some(Duration::from_millis(250)));
        assert_eq!(after("0"), Some(Duration::ZERO));
        assert_eq!(after("-1"), None);
        assert_eq!(after("soon"), None);
        // It does not make sense of an error that stays.
        let full = with_pushback(ours(Code::ResourceExhausted, reason::STORE_FULL), "250");
        assert_eq!(judge(&full).retry_after, None);
        // It does make sense of one that nobody else could judge.
        let quota = with_pushback(Status::new(Code::ResourceExhausted, ""), "250");
        assert_eq!(judge(&quota).retry_after, Some(Duration::from_millis(250)));
    }

    #[test]
    fn the_longer_of_pushback_and_retry_info_counts() {
        let mut details =
            ErrorDetails::with_error_info(reason::OVERLOADED, reason::DOMAIN, HashMap::new());
        details.set_retry_info(Some(Duration::from_millis(400)));
        let status = Status::with_error_details(Code::ResourceExhausted, "", details);
        assert_eq!(judge(&status).retry_after, Some(Duration::from_millis(400)));
        let both = with_pushback(status, "250");
        assert_eq!(judge(&both).retry_after, Some(Duration::from_millis(400)));
    }
}
