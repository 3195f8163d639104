//! What is the same for every call, as a tower layer: its deadline, the
//! refusal while the server closes, the line in the log.
//!
//! Its own refusals are Trailers-Only like those of handlers, and it never lets
//! headers out before the answer is known: gRPC clients retry nothing else.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::{HeaderMap, Request, Response};
use shards::store::Deadline;
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use super::problem::Problem;
use crate::clock;
use crate::lifecycle::Lifecycle;

/// Our own packages: health and reflection go on while the server closes.
const OWN_PATHS: &str = "/holdfast.";
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

/// What was decided, as an extension of a reply, for the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome(pub(super) &'static str);

/// Wraps all services of a server.
#[derive(Clone, Debug)]
pub(super) struct CallLayer {
    life: Lifecycle,
}

impl CallLayer {
    pub(super) fn new(life: Lifecycle) -> Self {
        Self { life }
    }
}

impl<S> Layer<S> for CallLayer {
    type Service = Calls<S>;

    fn layer(&self, inner: S) -> Calls<S> {
        Calls {
            inner,
            life: self.life.clone(),
        }
    }
}

/// See [`CallLayer`].
#[derive(Clone, Debug)]
pub(super) struct Calls<S> {
    inner: S,
    life: Lifecycle,
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
        let event = Event::start(request.uri().path());
        if self.life.is_closing() && request.uri().path().starts_with(OWN_PATHS) {
            return Box::pin(async move { Ok(event.end(refuse(Problem::draining()))) });
        }
        let Some(timeout) = timeout_of(request.headers()) else {
            let answer = self.inner.call(request);
            return Box::pin(async move { Ok(event.end(answer.await?)) });
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

/// One line in the log for each call, also for those whose caller hung up;
/// nothing at all where nobody reads it.
struct Event(Option<Call>);

struct Call {
    path: String,
    start: Instant,
}

impl Event {
    fn start(path: &str) -> Self {
        Self(tracing::enabled!(tracing::Level::DEBUG).then(|| Call {
            path: path.to_owned(),
            start: clock::now(),
        }))
    }

    fn end(mut self, response: Response<Body>) -> Response<Body> {
        if let Some(call) = self.0.take() {
            // Only errors have their status in the headers: Trailers-Only.
            let status = Status::from_header_map(response.headers());
            let code = status.as_ref().map_or(tonic::Code::Ok, Status::code);
            let outcome = response.extensions().get::<Outcome>().map(|o| o.0);
            call.log(&format!("{code:?}"), outcome);
        }
        response
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        if let Some(call) = self.0.take() {
            call.log("abandoned", None);
        }
    }
}

impl Call {
    fn log(&self, status: &str, outcome: Option<&str>) {
        let took = clock::now().duration_since(self.start);
        tracing::debug!(rpc = self.path, status, outcome, ?took, "call");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use tonic_types::StatusExt as _;

    use super::*;
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
        CallLayer::new(life.clone()).layer(tower::service_fn(move |_: Request<Body>| {
            asked.store(true, Ordering::Relaxed);
            std::future::pending::<Result<Response<Body>, Infallible>>()
        }))
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
        assert_eq!(status.code(), tonic::Code::DeadlineExceeded);
        assert_eq!(reason, "DEADLINE_TOO_SHORT");
        assert!(!asked.load(Ordering::Relaxed));

        let (status, reason) = refusal(&mut service, RESERVE, "50m").await;
        assert_eq!(status.code(), tonic::Code::DeadlineExceeded);
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
        assert_eq!(status.code(), tonic::Code::Unavailable);
        assert_eq!(reason, "DRAINING");
        assert!(!asked.load(Ordering::Relaxed));

        refusal(&mut service, "/grpc.health.v1.Health/Check", "5m").await;
        assert!(asked.load(Ordering::Relaxed));
    }
}
