//! Many requests in one call, each answered by itself.

use futures_util::future::join_all;
use proto::v1;
use shards::inventory::Error;
use tokio::task::unconstrained;
use tonic_types::pb;

use super::problem::{Problem, in_entry};
use super::requests;

/// The answer to one entry of a batch or a stream: a reply or an error.
pub(super) trait Entry {
    type Reply;

    fn of(answer: Result<Self::Reply, Problem>) -> Self;
}

macro_rules! entries {
    ($($entry:ident: $module:ident, $reply:ident;)+) => {$(
        impl Entry for v1::$entry {
            type Reply = v1::$reply;

            fn of(answer: Result<v1::$reply, Problem>) -> Self {
                use v1::$module::Result as Oneof;
                let result = match answer {
                    Ok(reply) => Oneof::Response(reply),
                    Err(problem) => Oneof::Error(pb::Status::from(problem)),
                };
                Self { result: Some(result) }
            }
        }
    )+};
}

entries! {
    ReserveResult: reserve_result, ReserveResponse;
    ConfirmResult: confirm_result, ConfirmResponse;
    CancelResult: cancel_result, CancelResponse;
    GetReservationResult: get_reservation_result, GetReservationResponse;
}

/// Answers each request of a batch, in their order. An error of one is that
/// entry's alone; the batch itself only has to have the right length.
pub(super) async fn each<'a, Q, E, A>(
    requests: &'a [Q],
    ask: impl Fn(&'a Q) -> A,
) -> Result<Vec<E>, Problem>
where
    E: Entry,
    A: Future<Output = Result<E::Reply, Error>>,
{
    requests::batch(requests.len())?;
    let entries = requests.iter().map(ask).enumerate();
    let answers = entries.map(|(index, answer)| async move {
        E::of(
            answer
                .await
                .map_err(|error| in_entry(error, "requests", index).into()),
        )
    });
    Ok(all_at_once(answers).await)
}

/// Waits for all of these. Each is queued before any is waited for, so that
/// they are one commit of the store: hence without the runtime's budget, which
/// would have the task pause in the middle. A batch is bounded by itself.
pub(super) async fn all_at_once<F: Future>(all: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    unconstrained(join_all(all)).await
}
