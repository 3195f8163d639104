//! The connection that all calls of a test go over.

use std::task::{Context, Poll};

use tonic::body::Body;
use tonic::codegen::http::{HeaderValue, Request, Response};
use tonic::codegen::{BoxFuture, Service};
use tonic::transport::{Channel, Endpoint, Error};

use crate::wait::PATIENCE;

/// Metadata that [`Wire`] adds to every reply.
pub(crate) const TRAILERS_ONLY: &str = "x-test-trailers-only";

/// A channel that notes on each reply whether it was Trailers-Only, which the
/// status alone does not tell any more.
#[derive(Clone, Debug)]
pub struct Wire(Channel);

impl Wire {
    /// Connects when it is first used. A call that is never answered ends when
    /// the test's patience does.
    pub(crate) fn to(address: &str) -> Self {
        let endpoint = Endpoint::from_shared(address.to_owned()).expect("an address");
        let endpoint = endpoint.connect_timeout(PATIENCE).timeout(PATIENCE);
        Self(endpoint.tcp_nodelay(true).connect_lazy())
    }
}

impl Service<Request<Body>> for Wire {
    type Response = Response<Body>;
    type Error = Error;
    type Future = BoxFuture<Self::Response, Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let reply = self.0.call(request);
        Box::pin(async move {
            let mut reply = reply.await?;
            let only = reply.headers().contains_key("grpc-status");
            let noted = HeaderValue::from_static(if only { "yes" } else { "no" });
            reply.headers_mut().insert(TRAILERS_ONLY, noted);
            Ok(reply)
        })
    }
}
