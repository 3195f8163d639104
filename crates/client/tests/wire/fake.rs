//! A server that does as it is told.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use proto::v1::inventory_service_server::{InventoryService, InventoryServiceServer};
use proto::v1::{
    BatchCancelRequest, BatchCancelResponse, BatchConfirmRequest, BatchConfirmResponse,
    BatchGetReservationsRequest, BatchGetReservationsResponse, BatchGetStockRequest,
    BatchGetStockResponse, BatchReserveRequest, BatchReserveResponse, CancelRequest,
    CancelResponse, ConfirmRequest, ConfirmResponse, ExtendRequest, ExtendResponse,
    GetReservationRequest, GetReservationResponse, GetStockRequest, GetStockResponse,
    ReserveOutcome, ReserveRequest, ReserveResponse, ReserveStreamRequest, ReserveStreamResponse,
    ReturnUnitsRequest, ReturnUnitsResponse, WatchStockRequest, WatchStockResponse,
};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_stream::Stream;
use tokio_stream::wrappers::{TcpListenerStream, UnboundedReceiverStream};
use tonic::metadata::MetadataMap;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

use crate::outcome;

/// The answers of a call, one after the other, and what it was asked.
pub(crate) struct Script<Q, A> {
    pub(crate) answers: Mutex<VecDeque<Result<A, Status>>>,
    pub(crate) seen: Mutex<Vec<(MetadataMap, Q)>>,
}

impl<Q, A> Default for Script<Q, A> {
    fn default() -> Self {
        Self {
            answers: Mutex::default(),
            seen: Mutex::default(),
        }
    }
}

impl<Q: Clone, A> Script<Q, A> {
    pub(crate) fn then(&self, answer: Result<A, Status>) -> &Self {
        self.answers.lock().unwrap().push_back(answer);
        self
    }

    /// What came, in order.
    pub(crate) fn seen(&self) -> Vec<Q> {
        let seen = self.seen.lock().unwrap();
        seen.iter().map(|(_, request)| request.clone()).collect()
    }

    fn play(&self, request: Request<Q>) -> Option<Result<Response<A>, Status>> {
        let (metadata, _, request) = request.into_parts();
        self.seen.lock().unwrap().push((metadata, request));
        let answer = self.answers.lock().unwrap().pop_front();
        answer.map(|answer| answer.map(Response::new))
    }
}

/// The server's side of a stream of Reserves.
pub(crate) struct Line {
    pub(crate) requests: Streaming<ReserveStreamRequest>,
    pub(crate) answers: mpsc::UnboundedSender<Result<ReserveStreamResponse, Status>>,
}

/// The server's side of a watch.
pub(crate) struct View {
    pub(crate) request: WatchStockRequest,
    pub(crate) news: mpsc::UnboundedSender<Result<WatchStockResponse, Status>>,
}

/// Answers unary calls by their scripts, and hands streams to the test. Where
/// a script has ended, a Reserve is granted, and all else is unimplemented.
#[derive(Default)]
pub(crate) struct Fake {
    pub(crate) reserve: Script<ReserveRequest, ReserveResponse>,
    pub(crate) cancel: Script<CancelRequest, CancelResponse>,
    pub(crate) batch_reserve: Script<BatchReserveRequest, BatchReserveResponse>,
    pub(crate) batch_confirm: Script<BatchConfirmRequest, BatchConfirmResponse>,
    pub(crate) batch_get_stock: Script<BatchGetStockRequest, BatchGetStockResponse>,
    lines: Mutex<Option<mpsc::UnboundedSender<Line>>>,
    views: Mutex<Option<mpsc::UnboundedSender<View>>>,
}

impl Fake {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The streams of Reserves that are opened from now on.
    pub(crate) fn lines(&self) -> mpsc::UnboundedReceiver<Line> {
        let (sender, receiver) = mpsc::unbounded_channel();
        *self.lines.lock().unwrap() = Some(sender);
        receiver
    }

    /// The watches that are opened from now on.
    pub(crate) fn views(&self) -> mpsc::UnboundedReceiver<View> {
        let (sender, receiver) = mpsc::unbounded_channel();
        *self.views.lock().unwrap() = Some(sender);
        receiver
    }
}

fn lacking<T>() -> Result<T, Status> {
    Err(Status::unimplemented("not in this version"))
}

type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl InventoryService for Fake {
    async fn reserve(
        &self,
        request: Request<ReserveRequest>,
    ) -> Result<Response<ReserveResponse>, Status> {
        let grant = || Ok(Response::new(outcome(ReserveOutcome::Reserved)));
        self.reserve.play(request).unwrap_or_else(grant)
    }

    async fn cancel(
        &self,
        request: Request<CancelRequest>,
    ) -> Result<Response<CancelResponse>, Status> {
        self.cancel.play(request).unwrap_or_else(lacking)
    }

    async fn batch_reserve(
        &self,
        request: Request<BatchReserveRequest>,
    ) -> Result<Response<BatchReserveResponse>, Status> {
        self.batch_reserve.play(request).unwrap_or_else(lacking)
    }

    async fn batch_confirm(
        &self,
        request: Request<BatchConfirmRequest>,
    ) -> Result<Response<BatchConfirmResponse>, Status> {
        self.batch_confirm.play(request).unwrap_or_else(lacking)
    }

    async fn batch_get_stock(
        &self,
        request: Request<BatchGetStockRequest>,
    ) -> Result<Response<BatchGetStockResponse>, Status> {
        self.batch_get_stock.play(request).unwrap_or_else(lacking)
    }

    type ReserveStreamStream = Messages<ReserveStreamResponse>;

    async fn reserve_stream(
        &self,
        request: Request<Streaming<ReserveStreamRequest>>,
    ) -> Result<Response<Self::ReserveStreamStream>, Status> {
        let (answers, messages) = mpsc::unbounded_channel();
        let requests = request.into_inner();
        match &*self.lines.lock().unwrap() {
            Some(lines) => lines.send(Line { requests, answers }).unwrap(),
            None => return lacking(),
        }
        let messages = UnboundedReceiverStream::new(messages);
        Ok(Response::new(Box::pin(messages)))
    }

    type WatchStockStream = Messages<WatchStockResponse>;

    async fn watch_stock(
        &self,
        request: Request<WatchStockRequest>,
    ) -> Result<Response<Self::WatchStockStream>, Status> {
        let (news, messages) = mpsc::unbounded_channel();
        let request = request.into_inner();
        match &*self.views.lock().unwrap() {
            Some(views) => views.send(View { request, news }).unwrap(),
            None => return lacking(),
        }
        let messages = UnboundedReceiverStream::new(messages);
        Ok(Response::new(Box::pin(messages)))
    }

    async fn confirm(
        &self,
        _: Request<ConfirmRequest>,
    ) -> Result<Response<ConfirmResponse>, Status> {
        lacking()
    }

    async fn batch_cancel(
        &self,
        _: Request<BatchCancelRequest>,
    ) -> Result<Response<BatchCancelResponse>, Status> {
        lacking()
    }

    async fn return_units(
        &self,
        _: Request<ReturnUnitsRequest>,
    ) -> Result<Response<ReturnUnitsResponse>, Status> {
        lacking()
    }

    async fn extend(&self, _: Request<ExtendRequest>) -> Result<Response<ExtendResponse>, Status> {
        lacking()
    }

    async fn get_reservation(
        &self,
        _: Request<GetReservationRequest>,
    ) -> Result<Response<GetReservationResponse>, Status> {
        lacking()
    }

    async fn batch_get_reservations(
        &self,
        _: Request<BatchGetReservationsRequest>,
    ) -> Result<Response<BatchGetReservationsResponse>, Status> {
        lacking()
    }

    async fn get_stock(
        &self,
        _: Request<GetStockRequest>,
    ) -> Result<Response<GetStockResponse>, Status> {
        lacking()
    }
}

/// A served [`Fake`].
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Served {
    #[expect(
        clippy::disallowed_methods,
        reason = "the handle is kept, and joined in stop()"
    )]
    pub(crate) async fn start(fake: Arc<Fake>, address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            Server::builder()
                .add_service(InventoryServiceServer::from_arc(fake))
                .serve_with_incoming_shutdown(TcpListenerStream::new(listener), async {
                    stopped.await.ok();
                })
                .await
                .unwrap();
        });
        Self {
            address,
            stop,
            task,
        }
    }

    /// Every client must be gone: it ends when the last connection does.
    pub(crate) async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap();
    }
}
