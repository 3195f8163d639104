//! A service that answers each Reserve with the same refusal. Of the contract it
//! knows only the bytes: whatever it would do with them is what it leaves out.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use proto::v1::{ReserveOutcome, ReserveRequest, ReserveResponse};
use tonic::body::Body;
use tonic::codegen::{BoxFuture, http};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

/// Serves on one thread until the process ends.
pub(crate) fn serve(ready: impl FnOnce(SocketAddr)) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        ready(listener.local_addr().unwrap());
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        tonic::transport::Server::builder()
            .add_service(Echo)
            .serve_with_incoming(incoming)
            .await
            .unwrap();
    });
}

#[derive(Clone)]
struct Echo;

impl NamedService for Echo {
    const NAME: &'static str = "holdfast.inventory.v1.InventoryService";
}

impl tower::Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            let mut grpc = Grpc::new(ProstCodec::default());
            Ok(grpc.unary(Refuse, request).await)
        })
    }
}

struct Refuse;

impl UnaryService<ReserveRequest> for Refuse {
    type Response = ReserveResponse;
    type Future = BoxFuture<Response<ReserveResponse>, Status>;

    fn call(&mut self, _: Request<ReserveRequest>) -> Self::Future {
        let mut reply = ReserveResponse {
            from_cache: true,
            available_units: Some(0),
            held_units: Some(1),
            ..ReserveResponse::default()
        };
        reply.set_outcome(ReserveOutcome::SoldOut);
        Box::pin(async move { Ok(Response::new(reply)) })
    }
}
