//! What is the same for every call, as a tower layer: its deadline, the
//! refusal while the server closes or has no room, its place in the figures, the
//! line in the log.
//!
//! Its own refusals are Trailers-Only like those of handlers, and it never lets
//! headers out before the answer is known: gRPC clients retry nothing else.

use std::convert::Infallible;
use std::error::Error as _;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::{HeaderMap, Request, Response};
use proto::v1::ReserveOutcome;
use shards::rules::{Rule, holds};
use shards::store::Deadline;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};

use super::admission::Admission;
use super::decisions;
use super::problem::{Problem, Reason};
use crate::clock;
use crate::figures::{Rpc, Rpcs};
use crate::lifecycle::Lifecycle;

/// Our own packages: health and reflection go on while the server closes.
const OWN_PATHS: &str = "/holdfast.";
/// Attempts before this one, as gRPC's own retry policy counts them.
const PREVIOUS_ATTEMPTS: &str = "grpc-previous-rpc-attempts";
/// Attempts with this one, as Envoy counts them where it is told to.
const ENVOY_ATTEMPTS: &str = "x-envoy-attempt-count";
/// Less than this is no time: timers tick in milliseconds, and nothing could be
/// stored and answered in it.
const TIMEOUT_MIN: Duration = Duration::from_millis(1);

/// The instant by which the caller wants its answer, as an extension of its
/// request.
#[derive(Clone, Copy, Debug)]
struct CallDeadline(Instant);

/// The deadline of a call.
pub(super) fn deadline_of<T>(request: &tonic::Request<T>) -> Deadline {
    request.extensions().get::<CallDeadline>().map(|d| d.0)
}

/// Ends when the deadline passes. For streams: the layer's own watch over a call
/// ends with the first header.
pub(super) async fn passed(deadline: Deadline) {
    match deadline {
        Some(deadline) => clock::at(deadline).await,
        None => std::future::pending().await,
    }
}

/// What the metadata of a call tells of earlier attempts at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// Nothing.
    Once,
    /// It was sent before, by a retry policy or a proxy; or what is said of that
    /// cannot be read.
    Again,
}

impl Sent {
    /// ⚔ gRPC's retry policy counts the attempts before this one, Envoy counts
    /// this one too.
    pub(super) fn of<T>(request: &tonic::Request<T>) -> Self {
        let is_first = |header: &str, first: &str| {
            let mut values = request.metadata().get_all(header).iter();
            values.all(|value| value.as_encoded_bytes() == first.as_bytes())
        };
        if is_first(PREVIOUS_ATTEMPTS, "0") && is_first(ENVOY_ATTEMPTS, "1")
            || !holds(Rule::CountedAttemptsAreHeeded)
        {
            Self::Once
        } else {
            Self::Again
        }
    }
}

/// What Reserve decided, as an extension of its reply.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome(pub(super) ReserveOutcome);

/// Wraps all services of a server.
#[derive(Clone, Debug)]
pub(super) struct CallLayer {
    life: Lifecycle,
    rpcs: Rpcs,
    admission: Admission,
}

impl CallLayer {
    pub(super) fn new(life: Lifecycle, rpcs: Rpcs, admission: Admission) -> Self {
        Self {
            life,
            rpcs,
            admission,
        }
    }
}

impl<S> Layer<S> for CallLayer {
    type Service = Calls<S>;

    fn layer(&self, inner: S) -> Calls<S> {
        Calls {
            inner,
            life: self.life.clone(),
            rpcs: self.rpcs.clone(),
            admission: self.admission.clone(),
        }
    }
}

/// See [`CallLayer`].
#[derive(Clone, Debug)]
pub(super) struct Calls<S> {
    inner: S,
    life: Lifecycle,
    rpcs: Rpcs,
    admission: Admission,
}

impl<S> Service<Request<Body>> for Calls<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let event = Event::start(&request, self.rpcs.of(request.uri().path()));
        if self.life.is_closing() && request.uri().path().starts_with(OWN_PATHS) {
            return Box::pin(async move { Ok(event.end(refuse(Problem::draining()))) });
        }
        let entered = match self.admission.enter(&mut request) {
            Ok(entered) => entered,
            Err(problem) => return Box::pin(async move { Ok(event.end(refuse(problem))) }),
        };
        let Some(timeout) = timeout_of(request.headers()) else {
            let answer = self.inner.call(request);
            return Box::pin(async move {
                let response = answer.await?;
                drop(entered);
                Ok(event.end(response))
            });
        };
        if timeout < TIMEOUT_MIN {
            let problem = Problem::deadline_too_short();
            return Box::pin(async move { Ok(event.end(refuse(problem))) });
        }
        let deadline = clock::later(timeout);
        request.extensions_mut().insert(CallDeadline(deadline));
        // Made before tonic makes its own, which would say CANCELLED.
        let over = clock::at(deadline);
        let answer = self.inner.call(request);
        Box::pin(async move {
            let response = tokio::select! {
                biased;
                answer = answer => answer?,
                () = over => refuse(Problem::deadline_passed()),
            };
            drop(entered);
            Ok(event.end(response))
        })
    }
}

fn refuse(problem: Problem) -> Response<Body> {
    Status::from(problem).into_http()
}

/// The header `grpc-timeout`: at most eight digits and a unit. One that is
/// malformed counts as none.
fn timeout_of(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count * 60 * 60),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

/// Each call is counted, and is a line in the log if anybody reads it; also
/// those whose caller hung up.
struct Event(Option<Call>);

struct Call {
    rpc: Rpc,
    start: Instant,
    /// Kept only where the log is read.
    line: Option<Line>,
}

/// What the log tells of a call beside its end.
struct Line {
    path: String,
    /// What gRPC's own retry policy says of attempts before this one.
    previous_attempts: u32,
}

impl Line {
    fn of<B>(request: &Request<B>) -> Self {
        let attempts = request.headers().get(PREVIOUS_ATTEMPTS);
        let attempts = attempts.and_then(|value| value.to_str().ok()?.parse().ok());
        Self {
            path: request.uri().path().to_owned(),
            previous_attempts: attempts.unwrap_or(0),
        }
    }
}

impl Event {
    fn start<B>(request: &Request<B>, rpc: Rpc) -> Self {
        Self(Some(Call {
            rpc,
            start: clock::now(),
            line: tracing::enabled!(tracing::Level::DEBUG).then(|| Line::of(request)),
        }))
    }

    fn end(mut self, response: Response<Body>) -> Response<Body> {
        if let Some(call) = self.0.take() {
            // Only errors have their status in the headers: Trailers-Only.
            let code = response.headers().get(Status::GRPC_STATUS);
            let code = code.map_or(Code::Ok, |code| Code::from_bytes(code.as_bytes()));
            let outcome = response.extensions().get::<Outcome>();
            let reason = outcome.map_or_else(
                || reason_of(&response),
                |Outcome(outcome)| decisions::label(*outcome),
            );
            call.end(name_of(code), reason);
        }
        response
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        if let Some(call) = self.0.take() {
            call.end(name_of(Code::Cancelled), "");
        }
    }
}

impl Call {
    fn end(self, status: &'static str, reason: &'static str) {
        let took = clock::now().duration_since(self.start);
        self.rpc.ended(status, reason, took);
        if let Some(line) = self.line {
            let (rpc, previous_attempts) = (line.path, line.previous_attempts);
            tracing::debug!(rpc, status, reason, ?took, previous_attempts, "call");
        }
    }
}

/// The reason of an error of ours; empty for an answer, and for an error that
/// tonic made.
fn reason_of(response: &Response<Body>) -> &'static str {
    let status = response.extensions().get::<Status>();
    let source = status.and_then(|status| status.source());
    let reason = source.and_then(|source| source.downcast_ref::<Reason>());
    reason.map_or("", |Reason(reason)| reason)
}

/// What gRPC calls the code.
fn name_of(code: Code) -> &'static str {
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use tonic_types::StatusExt as _;

    use super::*;
    use crate::figures::Figures;
    use crate::lifecycle::Phase;

    #[test]
    fn timeouts_are_read_as_grpc_writes_them() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", text.parse().unwrap());
            timeout_of(&headers)
        };
        assert_eq!(read("5S"), Some(Duration::from_secs(5)));
        assert_eq!(read("250m"), Some(Duration::from_millis(250)));
        assert_eq!(read("0n"), Some(Duration::ZERO));
        assert_eq!(read("99999999H"), Some(Duration::from_hours(99_999_999)));
        for bad in [
            "",
            "S",
            "5",
            "5s",
            "-1S",
            "+1S",
            "999999999S",
            "1.5S",
            "5 S",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert_eq!(timeout_of(&HeaderMap::new()), None);
    }

    /// A service that never answers, and tells whether it was asked.
    fn silent(asked: &Arc<AtomicBool>, life: &Lifecycle) -> impl Calling {
        let asked = Arc::clone(asked);
        let rpcs = Rpcs::new(&Figures::new().unwrap(), &[]);
        CallLayer::new(life.clone(), rpcs, Admission::default()).layer(tower::service_fn(
            move |_: Request<Body>| {
                asked.store(true, Ordering::Relaxed);
                std::future::pending::<Result<Response<Body>, Infallible>>()
            },
        ))
    }

    #[test]
    fn a_call_is_counted_once_also_if_its_caller_hangs_up() {
        let figures = Figures::new().unwrap();
        let rpcs = Rpcs::new(&figures, &[]);
        let layer = CallLayer::new(Lifecycle::new(), rpcs, Admission::default());
        let silence = std::future::pending::<Result<Response<Body>, Infallible>>;
        let mut service = layer.layer(tower::service_fn(move |_: Request<Body>| silence()));
        let call = service.call(Request::new(Body::empty()));
        assert!(!figures.text().contains("holdfast_rpcs_total"));
        drop(call);
        let counted = r#"outcome="CANCELLED",reason=""} 1"#;
        assert!(figures.text().contains(counted), "{}", figures.text());

        let refused =
            Event::start(&Request::new(()), layer.rpcs.of("")).end(refuse(Problem::draining()));
        assert_eq!(refused.headers()[Status::GRPC_STATUS], "14");
        let counted = r#"outcome="UNAVAILABLE",reason="DRAINING"} 1"#;
        assert!(figures.text().contains(counted), "{}", figures.text());
    }

    trait Calling: Service<Request<Body>, Response = Response<Body>, Error = Infallible> {}
    impl<S> Calling for S where S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> {}

    async fn refusal(service: &mut impl Calling, path: &str, timeout: &str) -> (Status, String) {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = path.parse().unwrap();
        request
            .headers_mut()
            .insert("grpc-timeout", timeout.parse().unwrap());
        let answer = tokio::time::timeout(Duration::from_mins(1), service.call(request)).await;
        let response = answer.expect("no answer").unwrap();
        let status = Status::from_header_map(response.headers()).unwrap();
        let reason = status.get_details_error_info().unwrap().reason;
        (status, reason)
    }

    const RESERVE: &str = "/holdfast.inventory.v1.InventoryService/Reserve";

    #[tokio::test(start_paused = true)]
    async fn a_deadline_over_on_arrival_is_not_begun_and_a_later_one_is_unknown() {
        let (asked, life) = (Arc::default(), Lifecycle::new());
        let mut service = silent(&asked, &life);

        let (status, reason) = refusal(&mut service, RESERVE, "999u").await;
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert_eq!(reason, "DEADLINE_TOO_SHORT");
        assert!(!asked.load(Ordering::Relaxed));

        let (status, reason) = refusal(&mut service, RESERVE, "50m").await;
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert_eq!(reason, "OUTCOME_UNKNOWN");
        assert!(asked.load(Ordering::Relaxed));
    }

    #[tokio::test(start_paused = true)]
    async fn a_closing_server_refuses_its_own_rpcs_and_answers_health() {
        let (asked, life) = (Arc::default(), Lifecycle::new());
        let mut service = silent(&asked, &life);
        life.advance(Phase::Leaving);
        refusal(&mut service, RESERVE, "5m").await;
        assert!(asked.swap(false, Ordering::Relaxed), "still served");

        life.advance(Phase::Closing);
        let (status, reason) = refusal(&mut service, RESERVE, "5S").await;
        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(reason, "DRAINING");
        assert!(!asked.load(Ordering::Relaxed));

        refusal(&mut service, "/grpc.health.v1.Health/Check", "5m").await;
        assert!(asked.load(Ordering::Relaxed));
    }
}
