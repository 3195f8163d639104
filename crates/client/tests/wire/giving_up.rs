//! Reserves of callers who will not try again.

use std::sync::Arc;

use client::{Client, Error, ErrorKind, Ids, Policy, reason};
use proto::v1::cancel_request;
use proto::v1::{CancelResponse, ReservationKey, ReserveOutcome, ReserveResponse};
use tonic::{Code, Status};

use crate::fake::{Fake, Served};
use crate::{any_port, client_of, hasty, key, ours, outcome};

struct World {
    fake: Arc<Fake>,
    served: Served,
    client: Client,
    key: ReservationKey,
}

impl World {
    /// A server whose Reserve and Cancel go by these scripts; two attempts each.
    async fn of(
        reserves: impl IntoIterator<Item = Result<ReserveResponse, Status>>,
        cancels: impl IntoIterator<Item = Result<CancelResponse, Status>>,
    ) -> Self {
        let fake = Fake::new();
        for answer in reserves {
            fake.reserve.then(answer);
        }
        for answer in cancels {
            fake.cancel.then(answer);
        }
        let served = Served::start(Arc::clone(&fake), any_port()).await;
        let policy = Policy {
            attempts_max: 2,
            ..hasty()
        };
        let client = client_of(served.address, policy);
        Self {
            fake,
            served,
            client,
            key: key(),
        }
    }

    /// What it comes to, after `cancels` Cancels by the key.
    async fn give_up(self, ids: Ids, cancels: usize) -> Result<ReserveResponse, Error> {
        let reply = self.client.reserve_or_cancel(&self.key, 1, ids).await;
        let seen = self.fake.cancel.seen();
        assert_eq!(seen.len(), cancels, "{reply:?}");
        for cancel in seen {
            let by_key = cancel_request::Target::Key(self.key.clone());
            assert_eq!(cancel.target, Some(by_key));
        }
        drop(self.client);
        self.served.stop().await;
        reply
    }
}

fn unknown<T>() -> Result<T, Status> {
    Err(ours(Code::Unavailable, reason::OUTCOME_UNKNOWN))
}

fn unavailable<T>() -> Result<T, Status> {
    Err(ours(Code::Unavailable, reason::STORE_UNAVAILABLE))
}

#[tokio::test]
async fn a_decision_is_returned_as_it_is() {
    let world = World::of([unavailable(), Ok(outcome(ReserveOutcome::Reserved))], []).await;
    let reply = world.give_up(Ids::NeverSent, 0).await.unwrap();
    assert_eq!(reply.outcome(), ReserveOutcome::Reserved);

    let world = World::of([unavailable(), Ok(outcome(ReserveOutcome::SoldOut))], []).await;
    let reply = world.give_up(Ids::NeverSent, 0).await.unwrap();
    assert_eq!(reply.outcome(), ReserveOutcome::SoldOut);
}

#[tokio::test]
async fn an_unknown_outcome_is_cancelled_by_key() {
    let world = World::of(
        [unknown(), unavailable()],
        [unavailable(), Ok(CancelResponse::default())],
    )
    .await;
    let error = world.give_up(Ids::NeverSent, 2).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("nothing stays held"), "{error}");
}

#[tokio::test]
async fn a_refusal_does_not_settle_an_attempt_that_is_still_under_way() {
    let world = World::of(
        [unknown(), Ok(outcome(ReserveOutcome::SoldOut))],
        [Ok(CancelResponse::default())],
    )
    .await;
    let reply = world.give_up(Ids::NeverSent, 1).await.unwrap();
    assert_eq!(reply.outcome(), ReserveOutcome::SoldOut);
}

#[tokio::test]
async fn ids_that_were_sent_before_are_cancelled_even_if_this_call_did_nothing() {
    let world = World::of([unavailable(), unavailable()], []).await;
    let error = world.give_up(Ids::NeverSent, 0).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);

    let world = World::of(
        [unavailable(), unavailable()],
        [Ok(CancelResponse::default())],
    )
    .await;
    let error = world.give_up(Ids::MaybeSent, 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("nothing stays held"), "{error}");
}

#[tokio::test]
async fn what_was_sold_at_once_is_a_yes() {
    let sold = Err(ours(
        Code::FailedPrecondition,
        reason::RESERVATION_CONFIRMED,
    ));
    let world = World::of([unknown(), unavailable()], [sold]).await;
    let reply = world.give_up(Ids::NeverSent, 1).await.unwrap();
    assert_eq!(reply.outcome(), ReserveOutcome::Reserved);
}

#[tokio::test]
async fn without_an_answer_to_the_cancel_it_stays_unknown() {
    for first in [unknown(), Ok(outcome(ReserveOutcome::SoldOut))] {
        let world = World::of([unknown(), first], [unavailable(), unavailable()]).await;
        let error = world.give_up(Ids::NeverSent, 2).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error:?}");
    }
}
