//! The one loop that makes every call of this crate.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use tonic::{Request, Response, Status};
use tracing::debug;

use crate::backoff;
use crate::error::{Error, ErrorKind, History};
use crate::verdict;

/// How long a call may take and how it is repeated.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// The time for the whole call, waits between attempts included.
    pub deadline: Duration,
    /// The most time for one attempt. Longer than the server needs on a bad
    /// day: every attempt cut off is an unknown outcome.
    pub attempt_timeout: Duration,
    /// The most attempts; the first is one, so 1 means no retries.
    pub attempts_max: u32,
    /// The longest wait before the first retry; it doubles with each.
    pub backoff_first: Duration,
    /// What the wait does not grow beyond, unless the server asks for more.
    pub backoff_max: Duration,
}

impl Default for Policy {
    /// For services: bridges the restart of a server.
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(10),
            attempt_timeout: Duration::from_secs(3),
            attempts_max: 12,
            backoff_first: Duration::from_millis(50),
            backoff_max: Duration::from_secs(1),
        }
    }
}

/// Whether a call can leave something behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It reads: without an answer there is nothing to be unsure of.
    Reads,
    /// It may change something.
    Changes,
}

/// What stays the same over a call's attempts, besides the request.
pub(crate) struct Call<'a> {
    pub(crate) rpc: &'static str,
    pub(crate) effect: Effect,
    pub(crate) address: &'a str,
    pub(crate) policy: &'a Policy,
}

/// How a call ended, and what its last attempt does not tell.
pub(crate) struct Ended<R> {
    pub(crate) result: Result<R, Error>,
    /// Whether an earlier attempt was sent and never answered: it may still be
    /// under way.
    pub(crate) open: bool,
}

impl Call<'_> {
    /// Sends `request` until there is an answer, or no more sense in sending.
    /// `before_retry` is applied to it between the first attempt and the second.
    pub(crate) async fn run<Q, R, F>(
        &self,
        request: Q,
        before_retry: impl FnOnce(&mut Q),
        send: impl Fn(Request<Q>) -> F,
    ) -> Result<R, Error>
    where
        Q: Clone,
        F: Future<Output = Result<Response<R>, Status>>,
    {
        self.run_to_end(request, before_retry, send).await.result
    }

    /// The same for callers who must know whether attempts are still open.
    pub(crate) async fn run_to_end<Q, R, F>(
        &self,
        mut request: Q,
        before_retry: impl FnOnce(&mut Q),
        send: impl Fn(Request<Q>) -> F,
    ) -> Ended<R>
    where
        Q: Clone,
        F: Future<Output = Result<Response<R>, Status>>,
    {
        let deadline = Instant::now() + self.policy.deadline;
        let mut before_retry = Some(before_retry);
        let mut attempts = 0;
        let mut maybe_done = false;
        loop {
            attempts += 1;
            let time = self.policy.attempt_timeout.min(deadline - Instant::now());
            let status = match self.attempt(request.clone(), time, &send).await {
                Ok(response) => {
                    let (result, open) = (Ok(response), maybe_done);
                    return Ended { result, open };
                }
                Err(status) => status,
            };
            let verdict = verdict::judge(&status);
            maybe_done |= verdict.kind == ErrorKind::OutcomeUnknown;
            let wait = self.wait(attempts, verdict.retry_after, deadline - Instant::now());
            debug!(rpc = self.rpc, attempts, ?verdict, ?wait, %status, "attempt failed");
            let Some(wait) = wait else {
                let result = Err(self.error(status, attempts, verdict.kind, maybe_done));
                let open = maybe_done;
                return Ended { result, open };
            };
            pause(wait).await;
            if let Some(before_retry) = before_retry.take() {
                before_retry(&mut request);
            }
        }
    }

    /// The error of a call whose last attempt ended with `status`, by itself of
    /// the kind `last`.
    pub(crate) fn error(
        &self,
        status: Status,
        attempts: u32,
        last: ErrorKind,
        maybe_done: bool,
    ) -> Error {
        let history = History {
            address: self.address,
            attempts,
            kind: self.kind(last, maybe_done),
        };
        Error::of_call(status, &history)
    }

    /// One attempt. The timer runs on both sides: the server drops work whose
    /// caller has gone, and a server that hangs does not hang its callers.
    pub(crate) async fn attempt<Q, R, F>(
        &self,
        request: Q,
        time: Duration,
        send: &impl Fn(Request<Q>) -> F,
    ) -> Result<R, Status>
    where
        F: Future<Output = Result<Response<R>, Status>>,
    {
        let mut request = Request::new(request);
        request.set_timeout(time);
        match timeout(time, send(request)).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(status),
            Err(_elapsed) => Err(Status::deadline_exceeded(format!(
                "nothing came within {time:?}"
            ))),
        }
    }

    /// The wait before the next attempt; `None` if there shall be none.
    pub(crate) fn wait(
        &self,
        attempts: u32,
        told: Option<Duration>,
        left: Duration,
    ) -> Option<Duration> {
        let told = told?;
        if attempts >= self.policy.attempts_max || told >= left {
            return None;
        }
        let wait = backoff::wait(self.policy, attempts, told, rand::random());
        // An attempt that is cut off at once only makes the outcome unknown.
        let worthwhile = left > wait.saturating_add(self.policy.backoff_first);
        worthwhile.then_some(wait)
    }

    /// What is known about the call. A last attempt that surely did nothing
    /// says nothing of the earlier ones; a decision does.
    fn kind(&self, last: ErrorKind, maybe_done: bool) -> ErrorKind {
        let undecided = matches!(last, ErrorKind::Unreachable | ErrorKind::Unavailable);
        match (self.effect, last) {
            (Effect::Changes, _) if undecided && maybe_done => ErrorKind::OutcomeUnknown,
            (Effect::Reads, ErrorKind::OutcomeUnknown) => ErrorKind::Unavailable,
            _ => last,
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a backoff is time to pass: the other side tells nobody when it is well again"
)]
pub(crate) async fn pause(time: Duration) {
    tokio::time::sleep(time).await;
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::{HashMap, VecDeque};

    use tonic::Code;
    use tonic_types::{ErrorDetails, StatusExt};

    use super::*;
    use crate::reason;

    const SECOND: Duration = Duration::from_secs(1);

    /// What a scripted server does with one attempt.
    enum Step {
        Answer(&'static str),
        Fail(Status),
        Hang,
    }

    /// A server that follows a script and keeps what it was sent, and when.
    struct Script {
        steps: RefCell<VecDeque<Step>>,
        seen: RefCell<Vec<(&'static str, Duration)>>,
        start: Instant,
    }

    impl Script {
        fn new(steps: impl IntoIterator<Item = Step>) -> Self {
            let steps = RefCell::new(steps.into_iter().collect());
            Self {
                steps,
                seen: RefCell::default(),
                start: Instant::now(),
            }
        }

        /// Runs a call whose request turns from "first" to "again".
        async fn run(&self, effect: Effect, policy: &Policy) -> Result<&'static str, Error> {
            let call = Call {
                rpc: "Test",
                effect,
                address: "http://server",
                policy,
            };
            let again = |request: &mut &'static str| *request = "again";
            call.run("first", again, |request| self.serve(request.into_inner()))
                .await
        }

        async fn serve(&self, request: &'static str) -> Result<Response<&'static str>, Status> {
            self.seen.borrow_mut().push((request, self.start.elapsed()));
            let step = self.steps.borrow_mut().pop_front();
            match step.expect("the script has a step for every attempt") {
                Step::Answer(answer) => Ok(Response::new(answer)),
                Step::Fail(status) => Err(status),
                Step::Hang => std::future::pending().await,
            }
        }

        fn requests(&self) -> Vec<&'static str> {
            self.seen
                .borrow()
                .iter()
                .map(|(request, _)| *request)
                .collect()
        }
    }

    fn unavailable(reason: &str) -> Step {
        let details = ErrorDetails::with_error_info(reason, reason::DOMAIN, HashMap::new());
        Step::Fail(Status::with_error_details(
            Code::Unavailable,
            "a sentence",
            details,
        ))
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_ends_the_call() {
        let script = Script::new([Step::Answer("yes")]);
        let answer = script.run(Effect::Changes, &Policy::default()).await;
        assert_eq!(answer.unwrap(), "yes");
        assert_eq!(script.requests(), ["first"]);
    }

    #[tokio::test(start_paused = true)]
    async fn retries_send_what_the_first_attempt_sent_but_for_its_mark() {
        let script = Script::new([
            unavailable(reason::STORE_UNAVAILABLE),
            unavailable(reason::OUTCOME_UNKNOWN),
            Step::Fail(Status::unknown("transport error")),
            Step::Answer("yes"),
        ]);
        let answer = script.run(Effect::Changes, &Policy::default()).await;
        assert_eq!(answer.unwrap(), "yes");
        assert_eq!(script.requests(), ["first", "again", "again", "again"]);
        // Waits of 25 to 50, 50 to 100 and 100 to 200 ms.
        let last = script.seen.borrow()[3].1;
        assert!((175..=360).contains(&last.as_millis()), "{last:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_decision_is_not_asked_for_twice() {
        let script = Script::new([Step::Fail(Status::failed_precondition("no"))]);
        let error = script
            .run(Effect::Changes, &Policy::default())
            .await
            .unwrap_err();
        assert_eq!((error.kind(), error.attempts()), (ErrorKind::Refused, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn frozen_stores_are_left_alone() {
        let script = Script::new([unavailable(reason::DATA_LOSS_SUSPECTED)]);
        let error = script
            .run(Effect::Changes, &Policy::default())
            .await
            .unwrap_err();
        assert_eq!(
            (error.kind(), error.attempts()),
            (ErrorKind::Unavailable, 1)
        );
        assert_eq!(error.to_string(), "a sentence");
    }

    #[tokio::test(start_paused = true)]
    async fn a_hanging_attempt_is_cut_off_and_repeated() {
        let script = Script::new([Step::Hang, Step::Answer("yes")]);
        let policy = Policy {
            attempt_timeout: SECOND,
            ..Policy::default()
        };
        assert_eq!(script.run(Effect::Changes, &policy).await.unwrap(), "yes");
        assert!(script.seen.borrow()[1].1 > SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_holds_over_all_attempts() {
        let script = Script::new([Step::Hang, Step::Hang, Step::Hang]);
        let policy = Policy {
            attempt_timeout: SECOND,
            deadline: 2 * SECOND,
            ..Policy::default()
        };
        let error = script.run(Effect::Changes, &policy).await.unwrap_err();
        assert!(script.start.elapsed() <= 2 * SECOND + Duration::from_millis(5));
        assert_eq!(error.kind(), ErrorKind::OutcomeUnknown);
        assert_eq!(error.code(), Code::DeadlineExceeded);
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_are_counted() {
        let script = Script::new((0..3).map(|_| unavailable(reason::DRAINING)));
        let policy = Policy {
            attempts_max: 3,
            ..Policy::default()
        };
        let error = script.run(Effect::Changes, &policy).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.attempts()),
            (ErrorKind::Unavailable, 3)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn one_unknown_attempt_makes_the_whole_call_unknown() {
        let steps = || {
            [
                unavailable(reason::OUTCOME_UNKNOWN),
                unavailable(reason::STORE_UNAVAILABLE),
            ]
        };
        let policy = Policy {
            attempts_max: 2,
            ..Policy::default()
        };
        let error = Script::new(steps())
            .run(Effect::Changes, &policy)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutcomeUnknown);
        let error = Script::new(steps())
            .run(Effect::Reads, &policy)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }

    #[tokio::test(start_paused = true)]
    async fn a_decision_settles_what_was_unknown() {
        let script = Script::new([
            unavailable(reason::OUTCOME_UNKNOWN),
            Step::Fail(Status::failed_precondition("no")),
        ]);
        let error = script
            .run(Effect::Changes, &Policy::default())
            .await
            .unwrap_err();
        assert_eq!((error.kind(), error.attempts()), (ErrorKind::Refused, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_delay_beyond_the_deadline_ends_the_call_at_once() {
        let mut details =
            ErrorDetails::with_error_info(reason::OVERLOADED, reason::DOMAIN, HashMap::new());
        details.set_retry_info(Some(60 * SECOND));
        let status = Status::with_error_details(Code::ResourceExhausted, "busy", details);
        let script = Script::new([Step::Fail(status)]);
        let error = script
            .run(Effect::Changes, &Policy::default())
            .await
            .unwrap_err();
        assert_eq!(
            (error.kind(), error.attempts()),
            (ErrorKind::Unavailable, 1)
        );
        assert_eq!(script.start.elapsed(), Duration::ZERO);
    }
}
