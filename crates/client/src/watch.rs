//! `WatchStock`, with a stream that outlives its connections.

use std::time::Duration;

use futures_util::Stream;
use futures_util::stream::unfold;
use proto::v1::{Stock, StockResult, WatchStockRequest, WatchStockResponse};
use tokio::time::{Instant, timeout};
use tonic::{Status, Streaming};
use tracing::debug;

use crate::batch::read;
use crate::client::Client;
use crate::error::{Error, ErrorKind};
use crate::retry::{Call, Effect, Policy, pause};
use crate::verdict;

/// What the contract says of a watch that names no longest silence.
const MAX_INTERVAL_DEFAULT: Duration = Duration::from_secs(15);

/// News of one item.
#[derive(Clone, Debug)]
pub struct StockNews {
    /// The item, as it was asked for.
    pub item_id: String,
    /// Its stock, or why that cannot be told; other items' news goes on.
    pub stock: Result<Stock, Error>,
}

impl Client {
    /// Watches the stock of items: first the present one of each, then what
    /// changes.
    ///
    /// After a break, or a silence longer than the server promises, it connects
    /// again, and the present stock comes first again. The stream ends after an
    /// error, which comes when trying again is no use, or when nothing came for
    /// all of the policy's deadline. (The number of attempts is bounded until
    /// the first news only.)
    pub fn watch_stock(
        &self,
        request: WatchStockRequest,
    ) -> impl Stream<Item = Result<StockNews, Error>> + Send + use<> {
        let interval = request.max_interval.as_ref();
        let interval = interval.and_then(|interval| Duration::try_from(*interval).ok());
        let watch = Watch {
            client: self.clone(),
            silence_max: interval
                .unwrap_or(MAX_INTERVAL_DEFAULT)
                .saturating_add(self.policy().attempt_timeout),
            request,
            stream: None,
            quiet_since: None,
            attempts: 0,
            heard: false,
        };
        unfold(Some(watch), async |watch| {
            let mut watch = watch?;
            match watch.next().await {
                Ok(news) => Some((Ok(news), Some(watch))),
                Err(error) => Some((Err(error), None)),
            }
        })
    }
}

struct Watch {
    client: Client,
    request: WatchStockRequest,
    /// A server that lives is never silent for longer.
    silence_max: Duration,
    /// `None`: to be opened.
    stream: Option<Streaming<WatchStockResponse>>,
    /// When the last connection broke, or the first was tried; `None` while
    /// news comes.
    quiet_since: Option<Instant>,
    /// Attempts without news since then.
    attempts: u32,
    heard: bool,
}

impl Watch {
    async fn next(&mut self) -> Result<StockNews, Error> {
        loop {
            let patience = if self.stream.is_some() {
                self.silence_max
            } else {
                self.attempts += 1;
                self.quiet_since.get_or_insert_with(Instant::now);
                self.client.policy().attempt_timeout
            };
            let status = match timeout(patience, self.hear()).await {
                Ok(Ok(news)) => {
                    (self.quiet_since, self.attempts, self.heard) = (None, 0, true);
                    return Ok(news);
                }
                Ok(Err(status)) => status,
                Err(_elapsed) => {
                    Status::deadline_exceeded(format!("nothing came within {patience:?}"))
                }
            };
            self.stream = None;
            // An outage lasts until news comes: one stream after another that
            // opens and brings none is still the same outage.
            let since = *self.quiet_since.get_or_insert_with(Instant::now);
            self.attempts = self.attempts.max(1);
            let policy = Policy {
                attempts_max: if self.heard {
                    u32::MAX
                } else {
                    self.client.policy().attempts_max
                },
                ..self.client.policy().clone()
            };
            let call = Call {
                rpc: "watch_stock",
                effect: Effect::Reads,
                address: self.client.address(),
                policy: &policy,
            };
            let verdict = verdict::judge(&status);
            let left = (since + policy.deadline).saturating_duration_since(Instant::now());
            let wait = call.wait(self.attempts, verdict.retry_after, left);
            debug!(attempts = self.attempts, ?verdict, ?wait, %status, "the watch broke");
            match wait {
                Some(wait) => pause(wait).await,
                None => return Err(call.error(status, self.attempts, verdict.kind, false)),
            }
        }
    }

    async fn hear(&mut self) -> Result<StockNews, Status> {
        let stream = if let Some(stream) = &mut self.stream {
            stream
        } else {
            let mut stub = self.client.inventory();
            let opened = stub.watch_stock(self.request.clone()).await?;
            self.stream.insert(opened.into_inner())
        };
        let news = stream.message().await?;
        let news = news.ok_or_else(|| Status::unavailable("the server ended the stream"))?;
        let StockResult { result, item_id } = news.result.unwrap_or_default();
        let stock = read(result).map_err(|status| {
            let kind = match verdict::judge(&status).kind {
                ErrorKind::OutcomeUnknown => ErrorKind::Unavailable,
                kind => kind,
            };
            let call = self.client.call("watch_stock", Effect::Reads);
            call.error(status, 1, kind, false)
        });
        Ok(StockNews { item_id, stock })
    }
}
