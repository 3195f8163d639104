//! What one server frees or changes, the others sell or obey.

use std::time::Duration;

use client::Target;
use proto::v1::{PauseItemRequest, ResumeItemRequest, UpdateItemRequest};
use tokio::time::Instant;

use super::*;

/// Cancels that have to be heard of.
const TRIALS: usize = 200;

/// Has servers that are started afterwards hear nothing of each other.
fn cut_notices(store: &Store) {
    for node in store.nodes() {
        node.ask(&["ACL", "SETUSER", "default", "-ssubscribe"]);
    }
}

/// Sold out, then one server frees a unit and the other sells it, and so on: how
/// long each time the other refused.
async fn delays(servers: &[Server; 2], trials: usize) -> Vec<Duration> {
    let [one, other] = [0, 1].map(|at| servers[at].shop());
    let mut ids = Ids::seeded();
    let mut owner = sell_out(&one, over_shards(3), 1, &mut ids).await;
    let mut all = Vec::new();
    for _ in 0..trials {
        mark(&other, ITEM, &mut ids).await;
        ok(one.cancel(Target::Key(owner)).await);
        let freed = Instant::now();
        let asking = async {
            loop {
                let key = ids.key(ITEM);
                let reply = ask(&other, first(&key, 1)).await;
                match reply.outcome() {
                    ReserveOutcome::Reserved => return key,
                    ReserveOutcome::SoldOut => assert!(reply.from_cache, "{reply:?}"),
                    wrong => panic!("{wrong:?}"),
                }
            }
        };
        owner = e2e::within("a unit that was freed", asking).await;
        all.push(freed.elapsed());
    }
    one.assert_sound(ITEM).await;
    all.sort_unstable();
    all
}

#[expect(clippy::print_stdout, reason = "what a run was like")]
fn tell(what: &str, delays: &[Duration]) {
    let at = |percent: usize| delays[(delays.len() - 1) * percent / 100];
    println!(
        "{what}: {} trials; from the answer to the cancel to the answer to the grant {:.1?} at the \
         median, {:.1?} at p99, {:.1?} at most",
        delays.len(),
        at(50),
        at(99),
        at(100)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_server_frees_the_other_sells() {
    let store = Store::cluster();
    let servers = two_servers(&store).await;
    tell("with notices", &delays(&servers, TRIALS).await);
}

/// Then a mark ends with its deadline.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn also_where_no_notice_comes_through() {
    let store = Store::cluster();
    cut_notices(&store);
    let servers = two_servers(&store).await;
    tell("without notices", &delays(&servers, 10).await);
}

/// ⚔ By the time an operator's change is answered, every server obeys it: also
/// one that hears nothing.
async fn changes_are_obeyed(store: Store) {
    let servers = two_servers(&store).await;
    let [one, other] = [0, 1].map(|at| servers[at].shop());
    let mut ids = Ids::seeded();
    sell_out(&one, over_shards(3), 2, &mut ids).await;
    let (item_id, reason) = (ITEM.to_owned(), String::new());
    for _ in 0..3 {
        mark(&other, ITEM, &mut ids).await;
        let (item_id, reason) = (item_id.clone(), reason.clone());
        let pause = PauseItemRequest { item_id, reason };
        ok(one.admin().pause_item(pause.clone()).await);
        for _ in 0..3 {
            let reply = ask(&other, first(&ids.key(ITEM), 1)).await;
            assert_eq!(reply.outcome(), ReserveOutcome::SalePaused, "{reply:?}");
        }
        let resume = ResumeItemRequest {
            item_id: pause.item_id,
            reason: pause.reason,
        };
        ok(one.admin().resume_item(resume).await);
        let reply = ask(&other, first(&ids.key(ITEM), 1)).await;
        assert_eq!(reply.outcome(), ReserveOutcome::SoldOut, "{reply:?}");
    }
    // What is beyond the item's own maximum is wrong, not sold out.
    mark(&other, ITEM, &mut ids).await;
    let update = UpdateItemRequest {
        item: Some(Item {
            max_units_per_reservation: 1,
            ..item(ITEM)
        }),
        update_mask: Some(prost_types::FieldMask {
            paths: vec!["max_units_per_reservation".to_owned()],
        }),
        ..UpdateItemRequest::default()
    };
    ok(one.admin().update_item(update).await);
    let wrong = other.inventory().reserve(first(&ids.key(ITEM), 2)).await;
    e2e::failure(wrong).is(tonic::Code::InvalidArgument, "FIELD_INVALID");
}

#[tokio::test]
async fn an_operators_change_is_obeyed_everywhere_once_it_is_answered() {
    changes_are_obeyed(Store::cluster()).await;
}

#[tokio::test]
async fn also_by_a_server_that_hears_nothing() {
    let store = Store::cluster();
    cut_notices(&store);
    changes_are_obeyed(store).await;
}
