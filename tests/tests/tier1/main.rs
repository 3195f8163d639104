//! What servers refuse from memory, over real stores: nearly everything, and
//! nothing that is untrue for longer than was promised.
//!
//! - `refusals`: what refusing costs the store; ids that are no item's.
//! - `owners`: whoever owns units is told so, however they ask again.
//! - `hearing`: what one server frees or changes, the others sell or obey.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests, which may fail them"
)]

mod hearing;
mod owners;
mod refusals;

use e2e::{Ids, Server, Shop, Store, holdfast, item, ok};
use proto::v1::{Item, ReservationKey, ReserveOutcome, ReserveRequest, ReserveResponse};

/// What is sold out in these tests.
const ITEM: &str = "sneaker";

/// A request that was surely never sent before.
fn first(key: &ReservationKey, quantity: u32) -> ReserveRequest {
    ReserveRequest {
        first_attempt: true,
        ..Shop::request(key, quantity)
    }
}

async fn ask(shop: &Shop, request: ReserveRequest) -> ReserveResponse {
    ok(shop.inventory().reserve(request).await)
}

/// Buys all of an item that has these units, by one request.
async fn sell_out(shop: &Shop, item: Item, units: u32, ids: &mut Ids) -> ReservationKey {
    let key = ids.key(&item.item_id);
    shop.create(item, i64::from(units)).await;
    let granted = ask(shop, first(&key, units)).await;
    assert_eq!(granted.outcome(), ReserveOutcome::Reserved);
    key
}

/// Has a server's memory refuse this item.
async fn mark(shop: &Shop, item: &str, ids: &mut Ids) {
    e2e::poll_until("a refusal from memory", async || {
        let refused = ask(shop, first(&ids.key(item), 1)).await;
        if refused.outcome() == ReserveOutcome::SoldOut && refused.from_cache {
            Ok(())
        } else {
            Err(format!("{refused:?}"))
        }
    })
    .await;
}

async fn two_servers(store: &Store) -> [Server; 2] {
    [
        store.serve(holdfast!()).await,
        store.serve(holdfast!()).await,
    ]
}

fn over_shards(shard_count: u32) -> Item {
    Item {
        shard_count,
        ..item(ITEM)
    }
}
