//! Batches: many requests in one message, each with an answer of its own. What
//! failed for now is sent again, and only that.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use proto::v1::{
    BatchCancelRequest, BatchConfirmRequest, BatchGetReservationsRequest, BatchGetStockRequest,
    BatchReserveRequest, CancelRequest, CancelResponse, ConfirmRequest, ConfirmResponse,
    GetReservationRequest, GetReservationResponse, ReserveRequest, ReserveResponse, Stock,
    StockConsistency, StockView, cancel_result, confirm_result, get_reservation_result,
    reserve_result, stock_result,
};
use tokio::time::Instant;
use tonic::{Request, Response, Status};
use tracing::debug;

use crate::client::Client;
use crate::error::{Error, ErrorKind, entry_status};
use crate::reserve::sent_before;
use crate::retry::{Call, Effect, pause};
use crate::target::Wish;
use crate::verdict;

/// The most entries of a message; for stock ...
const ENTRIES_MAX: usize = 512;
/// ... and when every shard is to be read.
const STOCKS_MAX: usize = 256;
const STRONG_STOCKS_MAX: usize = 16;

/// What the entries of one message were answered.
type Answers<A> = Result<Response<Vec<Result<A, Status>>>, Status>;

/// An entry that has no final answer yet.
struct Entry<Q> {
    /// Its place in the caller's list.
    index: usize,
    request: Q,
    /// Whether an attempt may have been carried out.
    maybe_done: bool,
}

impl Call<'_> {
    /// Sends `requests` until each has an answer, or no more sense in sending.
    /// `before_retry` is applied to what is sent again.
    pub(crate) async fn run_batch<Q, A, F>(
        &self,
        requests: Vec<Q>,
        before_retry: impl Fn(&mut Q),
        send: impl Fn(Request<Vec<Q>>) -> F,
    ) -> Vec<Result<A, Error>>
    where
        Q: Clone,
        F: Future<Output = Answers<A>>,
    {
        let deadline = Instant::now() + self.policy.deadline;
        let entry = |(index, request)| Entry {
            index,
            request,
            maybe_done: false,
        };
        let mut open: Vec<_> = requests.into_iter().enumerate().map(entry).collect();
        let mut answers = BTreeMap::new();
        let mut attempts = 0;
        while !open.is_empty() {
            attempts += 1;
            let time = self.policy.attempt_timeout.min(deadline - Instant::now());
            let sent = open.iter().map(|entry| entry.request.clone()).collect();
            let said = each(self.attempt(sent, time, &send).await, open.len());
            let left = deadline - Instant::now();
            let mut failed = Vec::new();
            let mut not_before = std::time::Duration::ZERO;
            for (mut entry, said) in open.into_iter().zip(said) {
                let status = match said {
                    Ok(answer) => {
                        answers.insert(entry.index, Ok(answer));
                        continue;
                    }
                    Err(status) => status,
                };
                let verdict = verdict::judge(&status);
                entry.maybe_done |= verdict.kind == ErrorKind::OutcomeUnknown;
                match verdict.retry_after {
                    // One that has to wait too long keeps no other waiting.
                    Some(after) if after < left => {
                        not_before = not_before.max(after);
                        failed.push((entry, status, verdict.kind));
                    }
                    _ => {
                        let error = self.error(status, attempts, verdict.kind, entry.maybe_done);
                        answers.insert(entry.index, Err(error));
                    }
                }
            }
            let wait = self.wait(attempts, Some(not_before), left);
            debug!(
                rpc = self.rpc,
                attempts,
                failed = failed.len(),
                ?wait,
                "a batch was answered"
            );
            open = Vec::new();
            for (mut entry, status, kind) in failed {
                if wait.is_some() {
                    before_retry(&mut entry.request);
                    open.push(entry);
                } else {
                    let error = self.error(status, attempts, kind, entry.maybe_done);
                    answers.insert(entry.index, Err(error));
                }
            }
            if let (Some(wait), false) = (wait, open.is_empty()) {
                pause(wait).await;
            }
        }
        answers.into_values().collect()
    }
}

/// What a message's outcome says of each of its entries.
fn each<A>(said: Result<Vec<Result<A, Status>>, Status>, entries: usize) -> Vec<Result<A, Status>> {
    let status = match said {
        Ok(said) if said.len() == entries => return said,
        Ok(said) => Status::internal(format!(
            "{} answers came for {entries} entries of a batch",
            said.len()
        )),
        Err(status) => status,
    };
    (0..entries).map(|_| Err(status.clone())).collect()
}

/// An entry without an answer, which the contract does not have.
fn no_answer() -> Status {
    Status::internal("an entry of a batch came without an answer")
}

/// Sends `requests` in as many messages as they need, all at once.
async fn in_messages<Q, A, F>(
    requests: &[Q],
    entries_max: usize,
    send: impl Fn(Vec<Q>) -> F,
) -> Vec<Result<A, Error>>
where
    Q: Clone,
    F: Future<Output = Vec<Result<A, Error>>>,
{
    let messages = requests.chunks(entries_max);
    let answers = join_all(messages.map(|message| send(message.to_vec()))).await;
    answers.into_iter().flatten().collect()
}

/// Writes one method per line; they differ in nothing but their names.
macro_rules! batches {
    ($(
        $(#[$doc:meta])*
        $effect:ident $rpc:ident($request:ty, $batch:ident, $before_retry:expr)
            -> $response:ty, $result:ident;
    )*) => {
        impl Client {$(
            $(#[$doc])*
            pub async fn $rpc(&self, requests: &[$request]) -> Vec<Result<$response, Error>> {
                let send = |request: Request<Vec<$request>>| {
                    let mut stub = self.inventory();
                    let request = request.map(|requests| $batch { requests });
                    async move {
                        let answer = |entry: Option<$result::Result>| match entry {
                            Some($result::Result::Response(response)) => Ok(response),
                            Some($result::Result::Error(error)) => Err(entry_status(&error)),
                            None => Err(no_answer()),
                        };
                        let reply = stub.$rpc(request).await?;
                        Ok(reply.map(|reply| {
                            reply.results.into_iter().map(|entry| answer(entry.result)).collect()
                        }))
                    }
                };
                let call = self.call(stringify!($rpc), Effect::$effect);
                let call = &call;
                in_messages(requests, ENTRIES_MAX, |message| {
                    call.run_batch(message, $before_retry, send)
                })
                .await
            }
        )*}
    };
}

batches! {
    /// Makes many holds' sales final, each on its own: as many answers as
    /// requests, in their order.
    Changes batch_confirm(ConfirmRequest, BatchConfirmRequest, |_| ())
        -> ConfirmResponse, confirm_result;
    /// Gives many holds back, each on its own: as many answers as requests, in
    /// their order.
    Changes batch_cancel(CancelRequest, BatchCancelRequest, |_| ())
        -> CancelResponse, cancel_result;
    /// Reads many reservations, each on its own: as many answers as requests,
    /// in their order.
    Reads batch_get_reservations(
        GetReservationRequest, BatchGetReservationsRequest, |_| ()
    ) -> GetReservationResponse, get_reservation_result;
}

impl Client {
    /// Many Reserves, each decided on its own: as many answers as wishes, in
    /// their order. For each [`Client::reserve`] says what holds.
    pub async fn batch_reserve(&self, wishes: &[Wish]) -> Vec<Result<ReserveResponse, Error>> {
        let requests: Vec<ReserveRequest> = wishes.iter().cloned().map(Into::into).collect();
        let send = |request: Request<Vec<ReserveRequest>>| {
            let mut stub = self.inventory();
            let request = request.map(|requests| BatchReserveRequest { requests });
            async move {
                let reply = stub.batch_reserve(request).await?;
                Ok(reply.map(|reply| {
                    let entries = reply.results.into_iter();
                    entries.map(|entry| decided(entry.result)).collect()
                }))
            }
        };
        let call = &self.call("batch_reserve", Effect::Changes);
        in_messages(&requests, ENTRIES_MAX, |message| {
            call.run_batch(message, sent_before, send)
        })
        .await
    }

    /// Reads the stock of many items, each on its own: as many answers as
    /// items, in their order.
    pub async fn batch_get_stock(
        &self,
        item_ids: &[String],
        consistency: StockConsistency,
        view: StockView,
    ) -> Vec<Result<Stock, Error>> {
        let send = |request: Request<Vec<String>>| {
            let mut stub = self.inventory();
            let request = request.map(|item_ids| BatchGetStockRequest {
                item_ids,
                consistency: consistency.into(),
                view: view.into(),
            });
            async move {
                let reply = stub.batch_get_stock(request).await?;
                Ok(reply.map(|reply| {
                    let entries = reply.results.into_iter();
                    entries.map(|entry| read(entry.result)).collect()
                }))
            }
        };
        let items_max = match consistency {
            StockConsistency::Strong => STRONG_STOCKS_MAX,
            StockConsistency::Cached | StockConsistency::Unspecified => STOCKS_MAX,
        };
        let call = &self.call("batch_get_stock", Effect::Reads);
        in_messages(item_ids, items_max, |message| {
            call.run_batch(message, |_| (), send)
        })
        .await
    }
}

/// What became of a Reserve among others.
pub(crate) fn decided(entry: Option<reserve_result::Result>) -> Result<ReserveResponse, Status> {
    match entry {
        Some(reserve_result::Result::Response(response)) => Ok(response),
        Some(reserve_result::Result::Error(error)) => Err(entry_status(&error)),
        None => Err(no_answer()),
    }
}

/// What was read of an item among others.
pub(crate) fn read(entry: Option<stock_result::Result>) -> Result<Stock, Status> {
    match entry {
        Some(stock_result::Result::Stock(stock)) => Ok(stock),
        Some(stock_result::Result::Error(error)) => Err(entry_status(&error)),
        None => Err(no_answer()),
    }
}
