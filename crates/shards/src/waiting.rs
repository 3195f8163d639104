//! An operation that waits in a store's queue, and how it is answered.

use std::time::Instant;

use tokio::sync::oneshot;

use crate::ids::StripeNo;
use crate::machine::{Op, Reply};
use crate::store::{Deadline, StoreError};

/// An operation in a queue.
pub(crate) struct Waiting {
    pub stripe: StripeNo,
    pub op: Op,
    pub deadline: Deadline,
    pub answer: oneshot::Sender<Result<Reply, StoreError>>,
}

impl Waiting {
    pub(crate) fn answer(self, answer: Result<Reply, StoreError>) {
        // Whoever asked may be gone; the operation stands all the same.
        let _ = self.answer.send(answer);
    }

    /// Answers with what the machine said.
    pub(crate) fn reply(self, reply: Reply) {
        let stripe = self.stripe;
        self.answer(match reply {
            Reply::Frozen(freeze) => Err(StoreError::Frozen {
                stripe,
                freeze_id: freeze.id,
                reason: freeze.reason,
            }),
            reply => Ok(reply),
        });
    }

    /// Whether nobody waits for it any more.
    pub(crate) fn is_overdue(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|at| at <= now)
    }
}
