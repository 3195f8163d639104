//! `WatchStock`: one stream of the news of many items, each at its own pace. A
//! client that does not read is not sent older news later, but the newest.

use std::time::{Duration, Instant};

use futures_util::stream::{self, SelectAll};
use proto::v1;
use proto::v1::stock_result::Result as Entry;
use shards::inventory::Error;
use shards::store::Deadline;
use tokio_stream::Stream;
use tonic::Status;

use super::call::passed;
use super::problem::Problem;
use super::requests::{StockDetail, WatchStock};
use super::{replies, requests};
use crate::clock;
use crate::lifecycle::{Lifecycle, Phase};
use crate::watches::{Ended, News, Watch, Watches};

type Message = Result<v1::WatchStockResponse, Status>;

/// One item of a stream.
struct Watched {
    /// As it was asked for.
    item_id: String,
    source: Source,
    wish: Wish,
    /// What was sent last, and when.
    last: Option<(Told, Instant)>,
}

enum Source {
    Watch(Watch),
    /// There can be no such item.
    Never(Error),
}

#[derive(Clone, Copy)]
struct Wish {
    min_interval: Duration,
    max_interval: Duration,
    detail: StockDetail,
}

/// What makes one message different from another: not its age.
#[derive(PartialEq)]
enum Told {
    Stock(Box<v1::Stock>),
    Error(Error),
}

/// The stream of these items, until the server leaves or the deadline passes.
pub(super) fn news(
    watches: &Watches,
    wanted: WatchStock,
    life: Lifecycle,
    deadline: Deadline,
) -> impl Stream<Item = Message> + Send + use<> {
    let wish = Wish {
        min_interval: wanted.min_interval,
        max_interval: wanted.max_interval,
        detail: wanted.detail,
    };
    let items = wanted.item_ids.into_iter().enumerate();
    let watched = items.map(|(index, item_id)| {
        let source = match requests::stock_entry(index, &item_id) {
            Ok(item) => Source::Watch(watches.watch(&item, wish.min_interval)),
            Err(error) => Source::Never(error),
        };
        Watched {
            item_id,
            source,
            wish,
            last: None,
        }
    });
    let all: SelectAll<_> = watched
        .map(|item| Box::pin(stream::unfold(item, Watched::next)))
        .collect();
    let end = async move {
        tokio::select! {
            () = life.reached(Phase::Closing) => Err(Problem::stream_closing().into()),
            () = passed(deadline) => Err(Problem::deadline_passed().into()),
        }
    };
    stream::select(all, stream::once(end))
}

impl Watched {
    /// Its next message.
    async fn next(mut self) -> Option<(Message, Self)> {
        let message = match self.wait().await {
            Ok(news) => Ok(self.tell(news)),
            Err(Ended) => Err(Problem::cut_off().into()),
        };
        Some((message, self))
    }

    /// The first news at once; others not too soon, and then when there are any
    /// or it has been silent for too long.
    async fn wait(&mut self) -> Result<News, Ended> {
        let Some((told, at)) = &self.last else {
            return self.source.now().await;
        };
        clock::at(*at + self.wish.min_interval).await;
        let silent_for_long = clock::at(*at + self.wish.max_interval);
        tokio::pin!(silent_for_long);
        loop {
            tokio::select! {
                () = &mut silent_for_long => return self.source.now().await,
                changed = self.source.changed() => {
                    changed?;
                    let news = self.source.now().await?;
                    if Told::of(&news, self.wish.detail) != *told {
                        return Ok(news);
                    }
                }
            }
        }
    }

    fn tell(&mut self, news: News) -> v1::WatchStockResponse {
        let told = Told::of(&news, self.wish.detail);
        self.last = Some((told, clock::now()));
        let entry = match news {
            Ok(stock) => Entry::Stock(replies::stock(&stock, self.wish.detail)),
            Err(error) => Entry::Error(Problem::from(error).into()),
        };
        v1::WatchStockResponse {
            result: Some(v1::StockResult {
                result: Some(entry),
                item_id: self.item_id.clone(),
            }),
        }
    }
}

impl Source {
    async fn now(&mut self) -> Result<News, Ended> {
        match self {
            Self::Watch(watch) => watch.now().await,
            Self::Never(error) => Ok(Err(error.clone())),
        }
    }

    async fn changed(&mut self) -> Result<(), Ended> {
        match self {
            Self::Watch(watch) => watch.changed().await,
            Self::Never(_) => std::future::pending().await,
        }
    }
}

impl Told {
    fn of(news: &News, detail: StockDetail) -> Self {
        match news {
            Ok(stock) => Self::Stock(Box::new(v1::Stock {
                as_of: None,
                ..replies::stock(stock, detail)
            })),
            Err(error) => Self::Error(error.clone()),
        }
    }
}
