//! `WatchStock`: the present, then changes, not too often and not too seldom.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use proto::v1;
use proto::v1::SalePhase;
use proto::v1::stock_result::Result as Entry;
use server::Drain;
use tokio_stream::StreamExt as _;
use tonic::{Code, Streaming};

use crate::harness::{
    Inventory, PATIENCE, SHARD_COUNTS, Server, broken_fields, create, entry_failure, item, reason,
    reserve, sharded,
};

type News = Streaming<v1::WatchStockResponse>;

fn watch(items: &[&str]) -> v1::WatchStockRequest {
    v1::WatchStockRequest {
        item_ids: items.iter().map(|item| (*item).to_owned()).collect(),
        ..v1::WatchStockRequest::default()
    }
}

fn millis(ms: i64) -> prost_types::Duration {
    prost_types::Duration {
        seconds: ms / 1000,
        nanos: i32::try_from(ms % 1000 * 1_000_000).unwrap(),
    }
}

async fn open(inventory: &mut Inventory, request: v1::WatchStockRequest) -> News {
    inventory.watch_stock(request).await.unwrap().into_inner()
}

async fn next(news: &mut News) -> (String, Entry) {
    let told = tokio::time::timeout(PATIENCE, news.next()).await;
    let told = told.expect("nothing is told").unwrap().unwrap();
    let result = told.result.unwrap();
    (result.item_id, result.result.unwrap())
}

async fn stock(news: &mut News) -> v1::Stock {
    match next(news).await {
        (_, Entry::Stock(stock)) => stock,
        other => panic!("{other:?}"),
    }
}

#[expect(clippy::disallowed_methods, reason = "a test's own clock")]
fn now() -> Instant {
    Instant::now()
}

#[tokio::test]
async fn the_present_comes_first_and_then_what_changes() {
    for shards in SHARD_COUNTS {
        let server = Server::start();
        let (mut admin, mut inventory) = (server.admin().await, server.inventory().await);
        admin
            .create_item(create(sharded("hat", shards), 5))
            .await
            .unwrap();
        let mut news = open(&mut inventory, watch(&["hat", "gone", "a b", "hat"])).await;
        let mut first = BTreeMap::new();
        for _ in 0..4 {
            let (item, entry) = next(&mut news).await;
            first.entry(item).or_insert_with(Vec::new).push(entry);
        }
        let [Entry::Stock(hat), Entry::Stock(again)] = &first["hat"][..] else {
            panic!("{first:?}");
        };
        assert_eq!((hat.available, hat.total), (Some(5), Some(5)));
        assert_eq!(hat.available, again.available);
        let failure = |item: &str| match &first[item][..] {
            [Entry::Error(error)] => entry_failure(error),
            other => panic!("{other:?}"),
        };
        assert_eq!(failure("gone").reason, "ITEM_NOT_FOUND");
        assert_eq!(failure("a b").fields, ["item_ids[2]"]);

        inventory
            .reserve(reserve("hat", "ann", 1, 2))
            .await
            .unwrap();
        for _ in 0..2 {
            let hat = stock(&mut news).await;
            assert_eq!((hat.available, hat.held), (Some(3), Some(2)));
        }
        // What was not there may come.
        let request = v1::CreateItemRequest {
            request_id: crate::harness::id(77),
            ..create(item("gone"), 1)
        };
        admin.create_item(request).await.unwrap();
        let (item, entry) = next(&mut news).await;
        assert_eq!(item, "gone");
        assert!(matches!(entry, Entry::Stock(stock) if stock.available == Some(1)));
    }
}

#[tokio::test]
async fn a_basic_view_tells_what_a_product_page_needs() {
    let server = Server::start();
    let (mut admin, mut inventory) = (server.admin().await, server.inventory().await);
    admin.create_item(create(item("hat"), 2)).await.unwrap();
    let request = v1::WatchStockRequest {
        view: v1::StockView::Basic.into(),
        ..watch(&["hat"])
    };
    let mut news = open(&mut inventory, request).await;
    let first = stock(&mut news).await;
    assert_eq!(
        (first.available, first.phase()),
        (Some(2), SalePhase::OnSale)
    );
    assert!(first.as_of.is_some());
    assert_eq!((first.held, first.total, first.exact), (None, None, None));
    inventory
        .reserve(reserve("hat", "ann", 1, 2))
        .await
        .unwrap();
    let second = stock(&mut news).await;
    assert_eq!(
        (second.available, second.phase()),
        (Some(0), SalePhase::AllHeld)
    );
    // That the held units are sold is no news to a product page, until the
    // phase is another.
    let confirm = v1::ConfirmRequest {
        target: Some(v1::confirm_request::Target::Key(crate::harness::key(
            "hat", "ann", 1,
        ))),
        reacquire: false,
    };
    inventory.confirm(confirm).await.unwrap();
    let third = stock(&mut news).await;
    assert_eq!(third.phase(), SalePhase::SoldOut);
}

#[tokio::test]
async fn messages_are_apart_and_silence_is_bounded() {
    let server = Server::start();
    let (mut admin, mut inventory) = (server.admin().await, server.inventory().await);
    admin
        .create_item(create(item("hat"), 1_000_000))
        .await
        .unwrap();
    let request = v1::WatchStockRequest {
        min_interval: Some(millis(200)),
        max_interval: Some(millis(400)),
        ..watch(&["hat"])
    };
    let begin = now();
    let mut news = open(&mut inventory, request).await;
    let first = stock(&mut news).await;
    // Nothing changes, and yet it is told, with a newer age.
    let second = stock(&mut news).await;
    assert_eq!(second.available, first.available);
    let age = |stock: &v1::Stock| {
        let as_of = stock.as_of.unwrap();
        (as_of.seconds, as_of.nanos)
    };
    assert!(age(&second) > age(&first));
    // It changes all the time, and is told now and then.
    let mut other = server.inventory().await;
    let mut told = 2;
    for number in 1.. {
        other
            .reserve(reserve("hat", "ann", number, 1))
            .await
            .unwrap();
        let wait = Duration::from_millis(1);
        if let Ok(message) = tokio::time::timeout(wait, news.next()).await {
            message.unwrap().unwrap();
            told += 1;
        }
        assert!(now() - begin < PATIENCE, "only {told} messages");
        if told == 6 {
            break;
        }
    }
    let least = Duration::from_millis(200) * (told - 1);
    assert!(now() - begin >= least, "{told} messages too early");
}

#[tokio::test]
async fn what_cannot_be_watched_is_named() {
    let server = Server::start();
    let mut inventory = server.inventory().await;
    let interval = |min_interval, max_interval| v1::WatchStockRequest {
        min_interval,
        max_interval,
        ..watch(&["hat"])
    };
    let table = [
        (watch(&[]), "item_ids"),
        (watch(&["hat"; 257]), "item_ids"),
        (interval(Some(millis(99)), None), "min_interval"),
        (interval(Some(millis(0)), None), "min_interval"),
        (interval(Some(millis(-1)), None), "min_interval"),
        (interval(None, Some(millis(99))), "max_interval"),
        (
            interval(Some(millis(2_000)), Some(millis(1_999))),
            "max_interval",
        ),
        (interval(Some(millis(15_001)), None), "max_interval"),
        (
            v1::WatchStockRequest {
                view: 99,
                ..watch(&["hat"])
            },
            "view",
        ),
    ];
    for (request, field) in table {
        let refused = inventory.watch_stock(request.clone()).await.unwrap_err();
        assert_eq!(broken_fields(&refused), [field], "{request:?}");
    }
    let mut all = open(&mut inventory, watch(&["gone"; 256])).await;
    for _ in 0..256 {
        assert!(matches!(next(&mut all).await.1, Entry::Error(_)));
    }
    open(
        &mut inventory,
        interval(Some(millis(100)), Some(millis(100))),
    )
    .await;
}

#[tokio::test]
async fn a_closing_server_ends_its_watches() {
    let mut server = Server::start_with(|config| config.drain_deadline = PATIENCE);
    let mut inventory = server.inventory().await;
    let mut news = open(&mut inventory, watch(&["gone"])).await;
    next(&mut news).await;
    server.leave(Drain::AtOnce);
    let end = tokio::time::timeout(PATIENCE / 4, news.next()).await;
    let end = end.expect("it goes on").unwrap().unwrap_err();
    assert_eq!(reason(&end), (Code::Unavailable, "DRAINING".to_owned()));
}
