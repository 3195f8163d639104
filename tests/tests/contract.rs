//! What of the contract comes with a later version says so, and changes
//! nothing.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests, which may fail them"
)]

use e2e::{Failure, Ids, Server, Shop, failure, holdfast, item};
use proto::v1::{
    BatchCancelRequest, BatchConfirmRequest, BatchGetReservationsRequest, ExplainReserveRequest,
    ListReservationsRequest, ListStripesRequest, ReleaseStripeRequest, ReserveStreamRequest,
    UpdateItemRequest, WatchStockRequest,
};
use tokio_stream::once;
use tonic::{Code, Response, Status, Streaming};

/// The error of a stream that must not open.
fn stream<T>(result: Result<Response<Streaming<T>>, Status>) -> Failure {
    failure(result.map(|_| Response::new("a stream")))
}

async fn all(shop: &Shop, request: ReserveStreamRequest) -> Vec<Failure> {
    let (mut data, mut admin) = (shop.inventory(), shop.admin());
    vec![
        stream(data.reserve_stream(once(request)).await),
        stream(data.watch_stock(WatchStockRequest::default()).await),
        failure(data.batch_confirm(BatchConfirmRequest::default()).await),
        failure(data.batch_cancel(BatchCancelRequest::default()).await),
        failure(
            data.batch_get_reservations(BatchGetReservationsRequest::default())
                .await,
        ),
        failure(admin.update_item(UpdateItemRequest::default()).await),
        failure(
            admin
                .explain_reserve(ExplainReserveRequest::default())
                .await,
        ),
        failure(
            admin
                .list_reservations(ListReservationsRequest::default())
                .await,
        ),
        failure(admin.list_stripes(ListStripesRequest::default()).await),
        failure(admin.release_stripe(ReleaseStripeRequest::default()).await),
    ]
}

#[tokio::test]
async fn rpcs_of_a_later_version_are_unimplemented() {
    let server = Server::start(holdfast!()).await;
    let (shop, mut ids) = (server.shop(), Ids::seeded());
    shop.create(item("sneaker"), 10).await;
    let request = ReserveStreamRequest {
        call_id: 7,
        request: Some(Shop::request(&ids.key("sneaker"), 1)),
    };
    for refused in all(&shop, request).await {
        assert_eq!(refused.code, Code::Unimplemented, "{refused:#?}");
        assert_ne!(refused.trailers_only, Some(false), "{refused:#?}");
    }
    assert_eq!(shop.units("sneaker").await, [10, 0, 0]);
}
