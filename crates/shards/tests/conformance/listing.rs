//! Listing an item's reservations, over any number of shards.

use std::collections::BTreeMap;

use shards::ids::{BuyerId, RequestId};
use shards::inventory::{Error, Inventory, Receipt, Reservations};
use shards::machine::State;

use crate::fixture::{Fixture, by_id, by_key, create, granted, item, request, sharded, state};
use crate::wrapped::Spy;

const SHARD_COUNTS: [u32; 2] = [1, 5];

fn all() -> Reservations {
    Reservations {
        item: item("sneaker"),
        buyer: None,
        states: Vec::new(),
    }
}

/// Every page; no page has more than it may.
async fn list(server: &Inventory, wanted: &Reservations, size: u32) -> Vec<Receipt> {
    let (mut found, mut token) = (Vec::new(), String::new());
    loop {
        let page = server.list_reservations(wanted, size, &token, None).await;
        let page = page.unwrap();
        assert!(page.reservations.len() <= size as usize);
        found.extend(page.reservations);
        token = page.next_page_token;
        if token.is_empty() {
            return found;
        }
    }
}

fn states(listed: &[Receipt]) -> BTreeMap<RequestId, State> {
    let states: BTreeMap<_, _> = listed.iter().map(|r| (r.request, state(r))).collect();
    assert_eq!(
        states.len(),
        listed.len(),
        "each once, while nothing changes"
    );
    states
}

/// A buyer with a reservation in each state but LOST, and 30 with a hold.
async fn people(fixture: &impl Fixture, server: &Inventory, shards: u32) {
    create(server, sharded(shards, 1_000)).await;
    for n in 1..=4 {
        granted(server, "ann", n, 1).await;
    }
    fixture.advance_ms(60_000);
    server.cancel(&by_key("ann", 2), None).await.unwrap();
    server.confirm(&by_key("ann", 3), true, None).await.unwrap();
    for n in 100..130 {
        granted(server, &format!("buyer-{n}"), n, 1).await;
    }
}

pub(crate) async fn every_reservation_is_listed_as_it_is_now(fixture: impl Fixture) {
    for shards in SHARD_COUNTS {
        let server = fixture.server();
        people(&fixture, &server, shards).await;
        let mut expected: BTreeMap<_, _> = (100..130).map(|n| (request(n), State::Held)).collect();
        expected.insert(request(1), State::Expired);
        expected.insert(request(2), State::Cancelled);
        expected.insert(request(3), State::Confirmed);
        expected.insert(request(4), State::Expired);
        for size in [1, 7, 1_000] {
            assert_eq!(states(&list(&server, &all(), size).await), expected);
        }
        // Their names are those that Reserve returned.
        for receipt in list(&server, &all(), 1_000).await {
            let read = server.reservation(&by_id(&server, &receipt), None).await;
            assert_eq!(read, Ok(receipt));
        }
        server
            .delete_item(&item("sneaker"), true, None, None)
            .await
            .unwrap();
    }
}

pub(crate) async fn a_buyers_list_reads_one_shard(fixture: impl Fixture) {
    let spy = Spy::on(fixture.store());
    let server = Inventory::new(Spy::as_store(&spy));
    people(&fixture, &server, 5).await;
    let of_ann = |states: &[State]| Reservations {
        buyer: BuyerId::parse("ann").ok(),
        states: states.to_vec(),
        ..all()
    };
    spy.take();
    let listed = states(&list(&server, &of_ann(&[]), 10).await);
    assert_eq!(
        listed.keys().copied().collect::<Vec<_>>(),
        [1, 2, 3, 4].map(request)
    );
    assert_eq!(spy.take(), ["get", "list shard"]);
    let some = [State::Expired, State::Confirmed];
    let listed = states(&list(&server, &of_ann(&some), 10).await);
    assert_eq!(
        listed.keys().copied().collect::<Vec<_>>(),
        [1, 3, 4].map(request)
    );
    let none = list(&server, &of_ann(&[State::Lost]), 10).await;
    assert_eq!(none, []);
    let nobody = Reservations {
        buyer: BuyerId::parse("nobody").ok(),
        ..all()
    };
    assert_eq!(list(&server, &nobody, 10).await, []);
}

/// A token belongs to its listing: item, its life, buyer and states.
pub(crate) async fn a_token_from_elsewhere_is_refused(fixture: impl Fixture) {
    let server = fixture.server();
    people(&fixture, &server, 5).await;
    let page = |wanted: Reservations, token: String| {
        let server = &server;
        async move {
            let page = server.list_reservations(&wanted, 3, &token, None).await;
            page.map(|page| page.next_page_token)
        }
    };
    let token = page(all(), String::new()).await.unwrap();
    assert!(page(all(), token.clone()).await.is_ok());
    let refused = |answer: Result<String, Error>| {
        let Err(Error::Invalid(fields)) = answer else {
            panic!("{answer:?}");
        };
        assert_eq!(fields[0].field, "page_token");
    };
    let others = [
        Reservations {
            buyer: BuyerId::parse("ann").ok(),
            ..all()
        },
        Reservations {
            states: vec![State::Held],
            ..all()
        },
    ];
    for other in others {
        refused(page(other, token.clone()).await);
    }
    for bad in ["x", "ü", &token[1..], &token.to_lowercase()] {
        refused(page(all(), bad.to_owned()).await);
    }
    let id = item("sneaker");
    server.delete_item(&id, true, None, None).await.unwrap();
    create(&server, sharded(5, 1)).await;
    refused(page(all(), token).await);
    server.delete_item(&id, true, None, None).await.unwrap();
    let gone = page(all(), String::new()).await;
    assert_eq!(gone, Err(Error::ItemNotFound(id)));
}
