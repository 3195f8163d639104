//! Watches, and how they outlive their connections.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use client::{Error, ErrorKind, Policy, StockNews, reason};
use proto::v1::{Stock, StockResult, WatchStockRequest, WatchStockResponse, stock_result};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Code, Status};

use crate::fake::{Fake, Served, View};
use crate::{any_port, client_of, closed_port, entry, hasty, ours};

type News = Pin<Box<dyn Stream<Item = Result<StockNews, Error>> + Send>>;

struct World {
    served: Served,
    news: News,
    views: UnboundedReceiver<View>,
}

fn request() -> WatchStockRequest {
    WatchStockRequest {
        item_ids: vec!["sneaker".to_owned()],
        ..WatchStockRequest::default()
    }
}

impl World {
    async fn new(policy: Policy) -> Self {
        let fake = Fake::new();
        let views = fake.views();
        let served = Served::start(Arc::clone(&fake), any_port()).await;
        let client = client_of(served.address, policy);
        Self {
            served,
            news: Box::pin(client.watch_stock(request())),
            views,
        }
    }

    /// The next watch that the client opens, while it waits for news.
    async fn view(&mut self) -> View {
        tokio::select! {
            view = self.views.recv() => view.unwrap(),
            news = self.news.next() => unreachable!("{news:?}"),
        }
    }

    async fn next(&mut self) -> Result<StockNews, Error> {
        self.news.next().await.unwrap()
    }

    async fn end(self) {
        drop(self.news);
        self.served.stop().await;
    }
}

impl View {
    fn tell(&self, result: stock_result::Result) {
        let result = Some(StockResult {
            item_id: "sneaker".to_owned(),
            result: Some(result),
        });
        self.news.send(Ok(WatchStockResponse { result })).unwrap();
    }

    fn available(&self, units: i64) {
        self.tell(stock_result::Result::Stock(Stock {
            available: Some(units),
            ..Stock::default()
        }));
    }
}

fn units(news: Result<StockNews, Error>) -> i64 {
    news.unwrap().stock.unwrap().available.unwrap()
}

#[tokio::test]
async fn a_watch_goes_on_after_a_break() {
    let mut world = World::new(hasty()).await;
    let view = world.view().await;
    assert_eq!(view.request, request());
    view.available(7);
    view.available(6);
    assert_eq!(units(world.next().await), 7);
    assert_eq!(units(world.next().await), 6);
    let leaving = ours(Code::Unavailable, reason::DRAINING);
    view.news.send(Err(leaving)).unwrap();
    let view = world.view().await;
    assert_eq!(view.request, request());
    view.available(5);
    assert_eq!(units(world.next().await), 5);
    drop(view);
    let view = world.view().await;
    view.available(4);
    assert_eq!(units(world.next().await), 4);
    world.end().await;
}

#[tokio::test]
async fn an_items_error_does_not_end_it() {
    let mut world = World::new(hasty()).await;
    let view = world.view().await;
    let away = entry(Code::Unavailable, reason::STORE_UNAVAILABLE);
    view.tell(stock_result::Result::Error(away));
    view.available(7);
    let news = world.next().await.unwrap();
    assert_eq!(news.item_id, "sneaker");
    let error = news.stock.unwrap_err();
    assert_eq!(error.reason(), Some(reason::STORE_UNAVAILABLE));
    assert_eq!(units(world.next().await), 7);
    world.end().await;
}

#[tokio::test]
async fn a_wrong_request_ends_it_once() {
    let mut world = World::new(hasty()).await;
    let view = world.view().await;
    let wrong = ours(Code::InvalidArgument, reason::FIELD_INVALID);
    view.news.send(Err(wrong)).unwrap();
    let error = world.next().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(world.news.next().await.is_none());
    world.end().await;
}

#[tokio::test]
async fn a_silent_server_is_left() {
    let policy = Policy {
        attempt_timeout: Duration::from_millis(100),
        ..hasty()
    };
    let mut world = World::new(policy).await;
    let silent = world.view().await;
    let view = world.view().await;
    view.available(7);
    assert_eq!(units(world.next().await), 7);
    drop(silent);
    world.end().await;
}

#[tokio::test]
async fn an_outage_longer_than_the_deadline_ends_it() {
    let policy = Policy {
        deadline: Duration::from_millis(200),
        ..hasty()
    };
    let mut world = World::new(policy).await;
    let view = world.view().await;
    view.available(7);
    assert_eq!(units(world.next().await), 7);
    let away = || Status::unavailable("away");
    view.news.send(Err(away())).unwrap();
    let error = loop {
        tokio::select! {
            view = world.views.recv() => view.unwrap().news.send(Err(away())).unwrap(),
            news = world.news.next() => break news.unwrap().unwrap_err(),
        }
    };
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    world.end().await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_after_the_attempts() {
    let policy = Policy {
        attempts_max: 3,
        ..hasty()
    };
    let client = client_of(closed_port().await, policy);
    let mut news: News = Box::pin(client.watch_stock(request()));
    let error = news.next().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error:?}");
    assert_eq!(error.attempts(), 3);
}
