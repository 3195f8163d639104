//! What `ExplainReserve` says is what Reserve then answers.

use std::sync::Arc;

use shards::ids::{BuyerId, Quantity, ShardNo};
use shards::inventory::{Error, Explain, Explanation, Foreseen, Inventory, Reserved};
use shards::machine::{ItemSpec, State};
use shards::store::{Store, StoreError};
use shards::time::Millis;

use crate::fixture::{
    Fixture, ask, buyer_at, by_key, create, granted, item, request, sharded, state, stock,
};
use crate::wrapped::{Spy, Without};

const SHARD_COUNTS: [u32; 2] = [1, 4];

async fn explain(server: &Inventory, buyer: &str, n: Option<u32>, quantity: u32) -> Explanation {
    let ask = Explain {
        item: item("sneaker"),
        buyer: BuyerId::parse(buyer).unwrap(),
        quantity: Quantity::new(quantity).unwrap(),
        request: n.map(request),
    };
    server.explain_reserve(&ask, None).await.unwrap()
}

fn foreseen(answer: Result<Reserved, Error>) -> Result<Foreseen, Error> {
    answer.map(|reserved| match reserved {
        Reserved::Granted { .. } => Foreseen::Granted,
        Reserved::AlreadyEnded(_) => Foreseen::AlreadyEnded,
        Reserved::Short { available, .. } => Foreseen::Short { available },
        Reserved::OverLimit { .. } => Foreseen::OverLimit,
        Reserved::NotStarted { .. } => Foreseen::NotStarted,
        Reserved::SaleEnded => Foreseen::SaleEnded,
        Reserved::SalePaused => Foreseen::SalePaused,
    })
}

/// Explains, reserves, and holds one against the other; the sentence.
async fn agree(server: &Inventory, buyer: &str, n: u32, quantity: u32) -> String {
    let before = stock(server).await;
    let explained = explain(server, buyer, Some(n), quantity).await;
    assert_eq!(stock(server).await, before, "nothing is taken");
    let answered = server.reserve(&ask(buyer, n, quantity), None).await;
    assert_eq!(explained.outcome, foreseen(answered), "{explained:?}");
    explained.description
}

#[track_caller]
fn says(told: &str, words: &str) {
    assert!(told.contains(words), "{told:?} does not say {words:?}");
}

pub(crate) async fn what_is_explained_is_what_happens(fixture: impl Fixture) {
    for shards in SHARD_COUNTS {
        let server = fixture.server();
        let id = item("sneaker");
        let spec = ItemSpec {
            max_units_per_buyer: 5,
            max_units_per_reservation: 6,
            ..sharded(shards, 12)
        };
        create(&server, spec).await;

        // The ids' record comes before all else.
        says(
            &agree(&server, "ann", 1, 2).await,
            "Nothing stands in the way",
        );
        says(&agree(&server, "ann", 1, 2).await, "hold 2 units already");
        says(&agree(&server, "ann", 1, 3).await, "used for 2 units");
        server
            .confirm(&by_key("ann", 1), false, None)
            .await
            .unwrap();
        says(&agree(&server, "ann", 1, 2).await, "have bought 2 units");
        agree(&server, "ann", 2, 1).await;
        server.cancel(&by_key("ann", 2), None).await.unwrap();
        says(&agree(&server, "ann", 2, 1).await, "was cancelled");
        server.cancel(&by_key("ann", 3), None).await.unwrap();
        says(&agree(&server, "ann", 3, 9).await, "before a Reserve");
        agree(&server, "bob", 4, 1).await;
        fixture.advance_ms(60_000);
        says(&agree(&server, "bob", 4, 1).await, "has expired");

        // Maximum, limit, stock.
        says(&agree(&server, "ann", 5, 7).await, "in one reservation: 6");
        says(&agree(&server, "ann", 5, 4).await, "2 of at most 5 units");
        says(&agree(&server, "cleo", 6, 5).await, "Nothing stands");
        says(&agree(&server, "dora", 7, 4).await, "Nothing stands");
        says(
            &agree(&server, "emil", 8, 5).await,
            "1 units are available on all shards",
        );
        agree(&server, "emil", 8, 1).await;
        says(&agree(&server, "fred", 9, 1).await, "0 units are available");
        // What lapses counts as free.
        fixture.advance_ms(60_000);
        agree(&server, "fred", 9, 5).await;

        // State and window come before stock and limit, after the record.
        server.pause_item(&id, "wrong price", None).await.unwrap();
        says(&agree(&server, "gina", 10, 9).await, "paused: wrong price");
        agree(&server, "fred", 9, 5).await;
        server.close_item(&id, "", None).await.unwrap();
        says(&agree(&server, "gina", 10, 9).await, "closed.");
        server.delete_item(&id, true, None, None).await.unwrap();
    }
}

pub(crate) async fn a_sale_that_has_not_begun_or_is_over(fixture: impl Fixture) {
    let server = fixture.server();
    let now = Millis(1_800_000_000_000);
    let spec = ItemSpec {
        sale_start: Some(now.plus_ms(1_500)),
        sale_end: Some(now.plus_ms(3_000)),
        ..sharded(2, 5)
    };
    create(&server, spec).await;
    says(&agree(&server, "ann", 1, 1).await, "in 1.5s");
    fixture.advance_ms(1_500);
    agree(&server, "ann", 1, 1).await;
    fixture.advance_ms(1_500);
    says(&agree(&server, "ann", 2, 1).await, "window has ended");
    agree(&server, "ann", 1, 1).await;
}

/// Beside the answer: the buyer's home, count and reservations, and the stock.
pub(crate) async fn an_explanation_shows_what_it_is_made_of(fixture: impl Fixture) {
    let spy = Spy::on(fixture.store());
    let server = Inventory::new(Spy::as_store(&spy));
    let spec = ItemSpec {
        max_units_per_buyer: 200,
        ..sharded(4, 200)
    };
    create(&server, spec).await;
    let buyer = buyer_at(&*fixture.store(), 2, 4, 0);
    for n in 1..=110 {
        granted(&server, &buyer, n, 1).await;
    }
    server
        .confirm(&by_key(&buyer, 105), false, None)
        .await
        .unwrap();
    spy.take();
    let explained = explain(&server, &buyer, Some(105), 1).await;
    let asked = spy.take();
    let only_reads = ["get", "explain", "lookup", "look", "list shard"];
    assert!(asked.iter().all(|op| only_reads.contains(op)), "{asked:?}");
    assert_eq!(explained.home, ShardNo(2));
    assert_eq!(explained.buyer_units, Some(110));
    assert_eq!(explained.reservations.len(), 100);
    assert_eq!(explained.reservations[0].request, request(105));
    assert_eq!(state(&explained.reservations[0]), State::Confirmed);
    let stock = explained.stock.unwrap();
    assert_eq!((stock.available, stock.held, stock.sold), (90, 109, 1));

    let stranger = explain(&server, "stranger", None, 1).await;
    assert_eq!(stranger.outcome, Ok(Foreseen::Granted));
    assert_eq!(
        (stranger.buyer_units, stranger.reservations.len()),
        (Some(0), 0)
    );
}

/// A shard that is away hides neither the others nor what it keeps from being
/// answered.
pub(crate) async fn a_shard_that_is_away_is_part_of_the_explanation(fixture: impl Fixture) {
    let whole = fixture.server();
    create(&whole, sharded(3, 9)).await;
    let entry = whole.item(&item("sneaker"), None).await.unwrap();
    let away: Arc<dyn Store> = Arc::new(Without {
        store: fixture.store(),
        stripe: entry.placement[1],
    });
    let server = Inventory::new(away);
    let (here, there) = {
        let store = fixture.store();
        (buyer_at(&*store, 2, 3, 0), buyer_at(&*store, 1, 3, 0))
    };
    let unavailable = |outcome: &Result<Foreseen, Error>| {
        matches!(outcome, Err(Error::Store(StoreError::Unavailable(_))))
    };
    let explained = explain(&server, &here, None, 3).await;
    assert_eq!(explained.outcome, Ok(Foreseen::Granted));
    assert_eq!(
        explained.stock.unwrap().available,
        6,
        "of those that answered"
    );
    let explained = explain(&server, &here, None, 4).await;
    assert!(unavailable(&explained.outcome), "{explained:?}");
    says(&explained.description, "whether others have them");
    let explained = explain(&server, &there, None, 1).await;
    assert!(unavailable(&explained.outcome), "{explained:?}");
    says(&explained.description, "alone decides about this buyer");
    for (buyer, quantity) in [(&here, 4), (&there, 1)] {
        let answered = server.reserve(&ask(buyer, 1, quantity), None).await;
        assert!(unavailable(&foreseen(answered)));
    }
    let gone = Explain {
        item: item("gone"),
        buyer: BuyerId::parse("ann").unwrap(),
        quantity: Quantity::new(1).unwrap(),
        request: None,
    };
    let gone = server.explain_reserve(&gone, None).await;
    assert!(matches!(gone, Err(Error::ItemNotFound(_))), "{gone:?}");
}
