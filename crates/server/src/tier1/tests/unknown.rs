//! Ids that are no item's.

use super::*;

fn invented(n: u32) -> Reserve {
    Reserve {
        item: ItemId::parse(&format!("invented-{n}")).unwrap(),
        ..ask(1, 1)
    }
}

async fn is_unknown(server: &Server, ask: &Reserve, attempt: Attempt) -> bool {
    let answer = server.tier1.reserve(ask, attempt, None).await;
    matches!(answer, Err(Error::ItemNotFound(_)))
}

#[tokio::test(start_paused = true)]
async fn an_unknown_id_costs_one_question_a_deadline() {
    let server = Server::of(Memory::new(), Settings::default());
    for n in 0..10_000 {
        // Many at a time, and again soon after.
        let ask = invented(n);
        let all = (0..3).map(|_| is_unknown(&server, &ask, Attempt::First));
        let all = futures_util::future::join_all(all).await;
        assert!(all.into_iter().all(|unknown| unknown));
    }
    assert_eq!(server.store.take_calls(), 10_000);
    for n in 0..10_000 {
        assert!(is_unknown(&server, &invented(n), Attempt::First).await);
    }
    assert_eq!(server.store.take_calls(), 0);
    let figures = server.tier1.figures().views;
    assert_eq!(figures.unknown_entries, 10_000);
    assert!(figures.unknown_bytes <= UNKNOWN.bytes_max);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_invented_ids_pushes_out_only_its_like() {
    let server = Server::sold_out(1).await;
    server.first(2, 1).await;
    server.first(2, 1).await;
    for n in 0..100_000 {
        assert!(is_unknown(&server, &invented(n), Attempt::First).await);
    }
    let figures = server.tier1.figures().views;
    assert!(figures.unknown_entries <= u64::from(UNKNOWN.entries_max));
    assert_eq!(server.refused_from_memory(3, 1), sold_out());
}

#[tokio::test(start_paused = true)]
async fn an_item_that_is_made_is_known_at_once() {
    let server = Server::of(Memory::new(), Settings::default());
    let other = server.another();
    for server in [&server, &other] {
        assert!(is_unknown(server, &ask(1, 1), Attempt::First).await);
    }
    create(&server.inventory, spec(1)).await;
    receipt(server.first(1, 1).await);
    // The other has not heard yet. ⚔ Whoever may own units there is looked up.
    assert!(is_unknown(&other, &ask(2, 1), Attempt::First).await);
    let again = other.again(1, 1).await;
    assert!(matches!(
        again.reserved,
        Reserved::Granted { replayed: true, .. }
    ));
    let other = server.another();
    other.store.hear();
    receipt(other.first(3, 1).await);
}
