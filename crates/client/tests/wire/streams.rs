//! Streams of Reserves, and how they outlive their connections.

use std::sync::Arc;
use std::time::Duration;

use client::{Answer, ErrorKind, Policy, ReserveStream, reason};
use proto::v1::{
    ReserveOutcome, ReserveResult, ReserveStreamRequest, ReserveStreamResponse, reserve_result,
};
use tokio::sync::mpsc::UnboundedReceiver;
use tonic::{Code, Status};

use crate::fake::{Fake, Line, Served};
use crate::{any_port, client_of, closed_port, entry, hasty, outcome, wish};

struct World {
    served: Served,
    stream: ReserveStream,
    lines: UnboundedReceiver<Line>,
}

impl World {
    async fn new(policy: Policy) -> Self {
        let fake = Fake::new();
        let lines = fake.lines();
        let served = Served::start(Arc::clone(&fake), any_port()).await;
        let stream = client_of(served.address, policy).reserve_stream().unwrap();
        Self {
            served,
            stream,
            lines,
        }
    }

    async fn line(&mut self) -> Line {
        self.lines.recv().await.unwrap()
    }

    async fn submit(&self, quantity: u32) -> Answer {
        self.stream.submit(wish(quantity)).await.unwrap()
    }

    async fn end(self) {
        drop(self.stream);
        self.served.stop().await;
    }
}

impl Line {
    /// The next message: its call, its quantity, and whether it says to be the
    /// first attempt.
    async fn hear(&mut self) -> (u64, u32, bool) {
        let ReserveStreamRequest { call_id, request } =
            self.requests.message().await.unwrap().unwrap();
        let request = request.unwrap();
        (call_id, request.quantity, request.first_attempt)
    }

    fn answer(&self, call_id: u64, result: reserve_result::Result) {
        let result = Some(ReserveResult {
            result: Some(result),
        });
        self.answers
            .send(Ok(ReserveStreamResponse { call_id, result }))
            .unwrap();
    }

    fn grant(&self, call_id: u64) {
        let granted = outcome(ReserveOutcome::Reserved);
        self.answer(call_id, reserve_result::Result::Response(granted));
    }

    fn refuse(&self, call_id: u64) {
        let no = outcome(ReserveOutcome::SoldOut);
        self.answer(call_id, reserve_result::Result::Response(no));
    }

    fn fail(&self, call_id: u64, code: Code, reason: &str) {
        let error = entry(code, reason);
        self.answer(call_id, reserve_result::Result::Error(error));
    }

    fn break_off(self) {
        let broken = Err(Status::unavailable("broken"));
        self.answers.send(broken).unwrap();
    }
}

async fn told(answer: Answer) -> ReserveOutcome {
    answer.await.unwrap().outcome()
}

#[tokio::test]
async fn answers_find_their_callers_in_any_order() {
    let mut world = World::new(hasty()).await;
    let (first, second) = (world.submit(1).await, world.submit(2).await);
    let mut line = world.line().await;
    let (one, two) = (line.hear().await, line.hear().await);
    assert_eq!((one.1, one.2), (1, true));
    assert_eq!((two.1, two.2), (2, true));
    line.refuse(two.0);
    line.grant(one.0);
    assert_eq!(told(second).await, ReserveOutcome::SoldOut);
    assert_eq!(told(first).await, ReserveOutcome::Reserved);
    drop(line);
    world.end().await;
}

#[tokio::test]
async fn after_a_break_what_was_not_answered_is_sent_again_as_no_first_attempt() {
    let mut world = World::new(hasty()).await;
    let (first, second) = (world.submit(1).await, world.submit(2).await);
    let mut line = world.line().await;
    let (one, _) = (line.hear().await, line.hear().await);
    line.grant(one.0);
    assert_eq!(told(first).await, ReserveOutcome::Reserved);
    line.break_off();

    let mut line = world.line().await;
    let (call, quantity, first_attempt) = line.hear().await;
    assert_eq!((quantity, first_attempt), (2, false));
    let third = world.submit(3).await;
    let (next, quantity, first_attempt) = line.hear().await;
    assert_eq!((quantity, first_attempt), (3, true));
    line.grant(call);
    line.grant(next);
    assert_eq!(told(second).await, ReserveOutcome::Reserved);
    assert_eq!(told(third).await, ReserveOutcome::Reserved);
    drop(line);
    world.end().await;
}

#[tokio::test]
async fn an_end_without_an_error_is_a_break_too() {
    let mut world = World::new(hasty()).await;
    let answer = world.submit(1).await;
    let mut line = world.line().await;
    line.hear().await;
    drop(line);
    let mut line = world.line().await;
    let (call, _, first_attempt) = line.hear().await;
    assert!(!first_attempt);
    line.grant(call);
    assert_eq!(told(answer).await, ReserveOutcome::Reserved);
    drop(line);
    world.end().await;
}

#[tokio::test]
async fn what_failed_for_now_is_sent_again_on_the_same_stream() {
    let mut world = World::new(hasty()).await;
    let (first, second) = (world.submit(1).await, world.submit(2).await);
    let mut line = world.line().await;
    let (one, two) = (line.hear().await, line.hear().await);
    line.fail(one.0, Code::ResourceExhausted, reason::OVERLOADED);
    line.fail(two.0, Code::NotFound, reason::ITEM_NOT_FOUND);
    let (call, quantity, first_attempt) = line.hear().await;
    assert_eq!((quantity, first_attempt), (1, false));
    line.grant(call);
    assert_eq!(told(first).await, ReserveOutcome::Reserved);
    let error = second.await.unwrap_err();
    assert_eq!(error.reason(), Some(reason::ITEM_NOT_FOUND));
    drop(line);
    world.end().await;
}

#[tokio::test]
async fn attempts_are_bounded_and_what_may_be_done_is_said() {
    let policy = Policy {
        attempts_max: 2,
        ..hasty()
    };
    let mut world = World::new(policy).await;
    let (first, second) = (world.submit(1).await, world.submit(2).await);
    for reason in [reason::OUTCOME_UNKNOWN, reason::STORE_UNAVAILABLE] {
        let mut line = world.line().await;
        let (one, two) = (line.hear().await, line.hear().await);
        let one = if one.1 == 1 { one } else { two };
        line.fail(one.0, Code::Unavailable, reason);
        // The other one is never answered: two breaks are its two attempts.
        line.break_off();
    }
    let error = first.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error:?}");
    let error = second.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error:?}");
    world.end().await;
}

#[tokio::test]
async fn a_server_that_is_silent_is_left_and_what_it_has_is_sent_again() {
    let policy = Policy {
        attempt_timeout: Duration::from_millis(100),
        ..hasty()
    };
    let mut world = World::new(policy).await;
    let answer = world.submit(1).await;
    let mut silent = world.line().await;
    silent.hear().await;
    let mut line = world.line().await;
    let (call, _, first_attempt) = line.hear().await;
    assert!(!first_attempt);
    line.grant(call);
    assert_eq!(told(answer).await, ReserveOutcome::Reserved);
    drop((silent, line));
    world.end().await;
}

#[tokio::test]
async fn a_deadline_that_passes_leaves_an_unknown_outcome() {
    let policy = Policy {
        deadline: Duration::from_millis(150),
        ..hasty()
    };
    let mut world = World::new(policy).await;
    let answer = world.submit(1).await;
    let mut line = world.line().await;
    let (call, _, _) = line.hear().await;
    let error = answer.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error:?}");
    // An answer that comes too late disturbs nobody.
    line.grant(call);
    let next = world.submit(2).await;
    let (call, _, first_attempt) = line.hear().await;
    assert!(first_attempt);
    line.refuse(call);
    assert_eq!(told(next).await, ReserveOutcome::SoldOut);
    drop(line);
    world.end().await;
}

#[tokio::test]
async fn a_server_that_is_not_there_surely_did_nothing() {
    let policy = Policy {
        attempts_max: 3,
        ..hasty()
    };
    let client = client_of(closed_port().await, policy);
    let stream = client.reserve_stream().unwrap();
    let error = stream.reserve(wish(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error:?}");
    assert_eq!(error.attempts(), 3);
}

#[tokio::test]
async fn a_server_without_streams_is_unsupported() {
    let served = Served::start(Fake::new(), any_port()).await;
    let stream = client_of(served.address, hasty()).reserve_stream().unwrap();
    let error = stream.reserve(wish(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
    drop(stream);
    served.stop().await;
}

#[tokio::test]
async fn an_answer_outlives_the_stream_that_it_came_from() {
    let World {
        served,
        stream,
        mut lines,
    } = World::new(hasty()).await;
    let answer = stream.submit(wish(1)).await.unwrap();
    drop(stream);
    let mut line = lines.recv().await.unwrap();
    let (call, _, _) = line.hear().await;
    line.grant(call);
    assert_eq!(told(answer).await, ReserveOutcome::Reserved);
    // Then nobody is left, and the stream ends.
    assert!(line.requests.message().await.map_or(true, |m| m.is_none()));
    drop(line);
    served.stop().await;
}
