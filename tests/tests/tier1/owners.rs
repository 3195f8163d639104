//! ⚔ Whoever owns units is never told that there are none: by any server, by
//! whatever way the request came again.

use client::{Client, Ids as Known, Options};
use proto::v1::reserve_result::Result as Entry;
use proto::v1::{BatchReserveRequest, ReserveStreamRequest};
use tokio_stream::StreamExt as _;
use tonic::Request;

use super::*;

e2e::on_every_store!(who_owns_units_is_told_so_however_they_ask_again);

/// Metadata by which retry policies and proxies count.
const COUNTED: [(&str, &str); 2] = [
    ("grpc-previous-rpc-attempts", "1"),
    ("x-envoy-attempt-count", "2"),
];

async fn who_owns_units_is_told_so_however_they_ask_again(store: Store) {
    let servers = match store {
        Store::Embedded => vec![store.serve(holdfast!()).await],
        _ => Vec::from(two_servers(&store).await),
    };
    let mut ids = Ids::seeded();
    // The reply to this is lost.
    let key = sell_out(&servers[0].shop(), over_shards(4), 3, &mut ids).await;
    for server in &servers {
        let shop = server.shop();
        mark(&shop, ITEM, &mut ids).await;
        let owns = |how: &str, reply: &ReserveResponse| {
            assert_eq!(
                reply.outcome(),
                ReserveOutcome::Reserved,
                "{how}: {reply:?}"
            );
            assert!(reply.replayed && !reply.from_cache, "{how}: {reply:?}");
        };
        owns("again", &ask(&shop, Shop::request(&key, 3)).await);
        for (name, value) in COUNTED {
            let counted = |message| {
                let mut request = Request::new(message);
                request
                    .metadata_mut()
                    .insert(name, value.parse().expect("a value"));
                request
            };
            let reply = shop.inventory().reserve(counted(first(&key, 3))).await;
            owns(name, &ok(reply));
        }
        let mut batch = Request::new(BatchReserveRequest {
            requests: vec![first(&key, 3), Shop::request(&key, 3)],
        });
        let (name, value) = COUNTED[0];
        batch
            .metadata_mut()
            .insert(name, value.parse().expect("a value"));
        for result in ok(shop.inventory().batch_reserve(batch).await).results {
            let Some(Entry::Response(reply)) = result.result else {
                panic!("{result:?}");
            };
            owns("in a batch", &reply);
        }
        let message = ReserveStreamRequest {
            call_id: 1,
            request: Some(Shop::request(&key, 3)),
        };
        let stream = tokio_stream::iter([message]);
        let mut answers = ok(shop.inventory().reserve_stream(stream).await);
        let answer = answers.next().await.expect("an answer").expect("an answer");
        let Some(Entry::Response(reply)) = answer.result.and_then(|result| result.result) else {
            panic!("no reply");
        };
        owns("in a stream", &reply);
        let client = Client::lazy(server.address(), Options::default()).expect("an address");
        let reply = client.reserve(&key, 3, Known::MaybeSent).await;
        owns("by the client", &reply.expect("a reply"));
        // All the while memory refuses whoever is new.
        mark(&shop, ITEM, &mut ids).await;
    }
}
