//! Reserve, and how to give it up.

use proto::v1::{CancelRequest, ReservationKey, ReserveOutcome, ReserveRequest, ReserveResponse};

use crate::client::Client;
use crate::error::{Error, ErrorKind};
use crate::reason;
use crate::retry::{Effect, Ended};
use crate::target::{Ids, Target, Wish};

impl Client {
    /// Holds units for a buyer. A no is an outcome in the reply, not an error.
    ///
    /// A no says nothing of an earlier attempt whose outcome is unknown and
    /// which may still be under way. Whoever gives these ids up for good calls
    /// [`Client::cancel`] by their key, or [`Client::reserve_or_cancel`] in the
    /// first place.
    pub async fn reserve(
        &self,
        key: &ReservationKey,
        quantity: u32,
        ids: Ids,
    ) -> Result<ReserveResponse, Error> {
        self.reserve_to_end(key, quantity, ids).await.result
    }

    /// The same for callers who will not try again: whatever does not end with
    /// RESERVED leaves nothing held, now or later.
    ///
    /// Where an attempt may have been granted without this caller learning of
    /// it, the request is cancelled by its key, for which the policy's deadline
    /// runs once more. Then the ids are used up. Errors:
    ///
    /// - [`ErrorKind::OutcomeUnknown`]: the Cancel was not answered either. If
    ///   the units were granted they come back when the hold ends; only an item
    ///   that sells at once needs another look.
    /// - all others: nothing is held.
    ///
    /// Drop the future, and nothing is cancelled.
    pub async fn reserve_or_cancel(
        &self,
        key: &ReservationKey,
        quantity: u32,
        ids: Ids,
    ) -> Result<ReserveResponse, Error> {
        let Ended { result, open } = self.reserve_to_end(key, quantity, ids).await;
        let granted = matches!(&result, Ok(reply) if reply.outcome() == ReserveOutcome::Reserved);
        // What was sent before this call is as open as an attempt of it, until
        // the service decides.
        let undecided = |error: &Error| {
            use ErrorKind::{OutcomeUnknown, Unavailable, Unreachable};
            matches!(error.kind(), Unreachable | Unavailable | OutcomeUnknown)
        };
        let open = open || (ids == Ids::MaybeSent && result.as_ref().is_err_and(undecided));
        if granted || !open {
            return result;
        }
        let cancelled = self
            .cancel(CancelRequest {
                target: Some(Target::Key(key.clone()).into()),
            })
            .await;
        match (cancelled, result) {
            (Ok(_), Ok(refusal)) => Ok(refusal),
            (Ok(_), Err(error)) if undecided(&error) => Err(error.given_up()),
            // It had been granted, and the item sells at once: that is a yes.
            (Err(error), _) if error.reason() == Some(reason::RESERVATION_CONFIRMED) => {
                self.reserve(key, quantity, Ids::MaybeSent).await
            }
            (Err(error), Ok(_)) if undecided(&error) => Err(error.still_open()),
            (Err(cancel), Err(error)) if undecided(&cancel) => Err(error.still_open()),
            // A decision: there is no such item any more, for example.
            (Ok(_), Err(error)) | (Err(error), _) => Err(error),
        }
    }

    async fn reserve_to_end(
        &self,
        key: &ReservationKey,
        quantity: u32,
        ids: Ids,
    ) -> Ended<ReserveResponse> {
        let wish = Wish {
            key: key.clone(),
            quantity,
            ids,
        };
        let send = |request| {
            let mut stub = self.inventory();
            async move { stub.reserve(request).await }
        };
        self.call("reserve", Effect::Changes)
            .run_to_end(ReserveRequest::from(wish), sent_before, send)
            .await
    }
}

/// From the second attempt on, the server must look.
pub(crate) fn sent_before(request: &mut ReserveRequest) {
    request.first_attempt = false;
}
