//! Random calls in random orders, over several connections and many at a time,
//! against the real server: it answers every one, with an error of its own
//! where it has to refuse, and is whole afterwards.
//!
//! The seed gives the same values again, not the same order of events: what
//! callers learn from each other depends on who was faster.
//!
//! `draw` has the values, `requests` the messages, `callers` the rpcs, `judge`
//! says what an answer may be.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests, which may fail them"
)]

mod callers;
mod draw;
mod judge;
mod requests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use e2e::{Ids, Memory, Shop, Store, holdfast, item, millis, ok, poll_until};
use proto::v1::{
    AuditItemRequest, AuditLevel, AuditVerdict, Item, ListItemsRequest, ResumeItemRequest,
};
use tokio::task::JoinSet;
use tonic::Code;

use callers::Caller;
use draw::{Draw, Known};
use judge::Tally;

/// How many calls are made; `HOLDFAST_TEST_FUZZ_CALLS` overrides it.
const CALLS: u64 = 10_000;
const CONNECTIONS: usize = 8;
/// Callers of one connection, each with one call under way.
const CALLERS: usize = 16;
/// Memory that a record may take. The store says of itself that it is about
/// 200 bytes; a map that has just grown has room for twice as many.
const RECORD_BYTES: u64 = 400;
/// What there may be beside the records: calls under way, buffers of
/// connections, the store's cache, and what the allocator keeps for later.
const OTHER_BYTES: u64 = 64 << 20;

/// Items that stay, each with stock.
fn items() -> Vec<(i64, Item)> {
    let real = |id: &str| item(&format!("real-{id}"));
    let spread = |id, shard_count| Item {
        shard_count,
        ..real(id)
    };
    vec![
        (1_000_000, real("plenty")),
        (30, real("scarce")),
        (0, real("none")),
        ((1 << 53) - 1, real("full")),
        (100, spread("spread", 5)),
        (40, spread("thin", 64)),
        (
            1_000,
            Item {
                hold_ttl: Some(millis(100)),
                max_hold: Some(millis(3_600_000)),
                ..spread("short", 3)
            },
        ),
        (
            1_000,
            Item {
                max_units_per_buyer: 3,
                ..spread("limited", 2)
            },
        ),
        (
            1_000,
            Item {
                sell_at_once: true,
                max_units_per_reservation: 2,
                ..real("at-once")
            },
        ),
    ]
}

/// Makes calls until so many have been made by all.
async fn work(mut caller: Caller, left: Arc<AtomicU64>) -> Caller {
    while left
        .try_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            left.checked_sub(1)
        })
        .is_ok()
    {
        caller.call().await;
    }
    caller
}

/// The ids of all items, page by page.
async fn all_items(shop: &Shop) -> Vec<String> {
    let mut ids = Vec::new();
    let mut request = ListItemsRequest {
        page_size: 7,
        ..ListItemsRequest::default()
    };
    loop {
        let page = ok(shop.admin().list_items(request.clone()).await);
        ids.extend(page.items.into_iter().map(|item| item.item_id));
        if page.next_page_token.is_empty() {
            return ids;
        }
        request.page_token = page.next_page_token;
    }
}

/// Every item adds up; how many there are.
async fn assert_all_sound(shop: &Shop) -> usize {
    let ids = all_items(shop).await;
    for item_id in &ids {
        poll_until("a sound audit", async || {
            let request = AuditItemRequest {
                item_id: item_id.clone(),
                level: AuditLevel::Records.into(),
            };
            match shop.admin().audit_item(request).await {
                Ok(reply) => {
                    let audit = reply.into_inner();
                    match audit.verdict() {
                        AuditVerdict::Sound => Ok(()),
                        // A hold ran out meanwhile.
                        AuditVerdict::Undecided => Err(format!("{audit:?}")),
                        _ => panic!("{item_id}: {audit:#?}"),
                    }
                }
                // Deleted by a call that nobody waited for.
                Err(status) if status.code() == Code::NotFound => Ok(()),
                Err(status) => Err(status.to_string()),
            }
        })
        .await;
    }
    ids.len()
}

fn assert_quiet(log: &str) {
    for bad in ["panicked", "a defect", "ERROR"] {
        assert!(!log.contains(bad), "{bad} is in the log:\n{log}");
    }
}

#[expect(clippy::print_stdout, reason = "shown if the test fails, or by hand")]
fn show(tally: &Tally, memory: [Memory; 2], records: u64) {
    println!("memory before and after, with {records} records more: {memory:?}");
    for ((rpc, answer), times) in &tally.0 {
        println!("{times:>7} {rpc}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_calls_are_all_answered_and_leave_everything_sound() {
    random_calls(&Store::Embedded, CALLS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_calls_on_redis_are_all_answered_and_leave_everything_sound() {
    random_calls(&Store::redis(), CALLS / 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_calls_on_a_cluster_are_all_answered_and_leave_everything_sound() {
    random_calls(&Store::cluster(), CALLS / 2).await;
}

async fn random_calls(store: &Store, calls: u64) {
    let set = std::env::var("HOLDFAST_TEST_FUZZ_CALLS");
    let calls = set.map_or(calls, |text| text.parse().expect("a number of calls"));
    let mut server = store.serve(holdfast!()).await;
    let (shop, mut ids) = (server.shop(), Ids::seeded());
    let mut names = Vec::new();
    for (stock, item) in items() {
        names.push(item.item_id.clone());
        shop.create(item, stock).await;
    }
    let names: Arc<[String]> = names.into();
    let before = server.memory();

    // A request over many shards takes many ways there and back: as many callers
    // as are answered in time, also where the machine has other things to do.
    let is_store_far = store.url().is_some();
    let callers_of_one = if is_store_far { CALLERS / 4 } else { CALLERS };
    let (known, left) = (Known::default(), Arc::new(AtomicU64::new(calls)));
    let mut callers = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let shop = server.shop();
        for _ in 0..callers_of_one {
            let draw = Draw::new(ids.between(0..u64::MAX), known.clone(), Arc::clone(&names));
            let caller = Caller::new(draw, shop.clone(), is_store_far);
            callers.spawn(work(caller, Arc::clone(&left)));
        }
    }
    let (mut tally, mut records) = (Tally::default(), 0);
    for caller in callers.join_all().await {
        tally.add(caller.tally);
        records += caller.records;
    }
    assert!(server.ended().is_none(), "the server is gone");
    let after = server.memory();
    show(&tally, [before, after], records);
    let bound = before.resident + records * RECORD_BYTES + OTHER_BYTES;
    assert!(
        after.peak <= bound,
        "{before:?}, then {after:?}: more than {bound} for {records} records"
    );
    let found = assert_all_sound(&shop).await;
    assert!(found >= names.len(), "{found} items are left");
    assert_quiet(&server.log());

    // Everything still works, and is there again after a restart.
    server.sigterm();
    server.assert_clean_exit().await;
    assert_quiet(&server.log());
    let server = server.restart().await;
    let shop = server.shop();
    assert!(assert_all_sound(&shop).await >= names.len());
    for item_id in names.iter().cloned() {
        let resume = ResumeItemRequest {
            item_id,
            reason: String::new(),
        };
        ok(shop.admin().resume_item(resume).await);
    }
    assert_quiet(&server.log());
}
