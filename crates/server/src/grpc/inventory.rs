//! The data plane: holding, selling and reading stock.

use std::pin::Pin;
use std::sync::Arc;

use proto::v1;
use proto::v1::inventory_service_server::InventoryService;
use shards::inventory::{Error, Inventory};
use shards::store::Deadline;
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};

use super::batch::{all_at_once, each};
use super::call::{Outcome, Sent, deadline_of};
use super::decisions::Decisions;
use super::problem::Problem;
use super::requests::StockWish;
use super::stream::{self, Answers, Work};
use super::{answer, replies, requests, watch};
use crate::lifecycle::Lifecycle;
use crate::tier1::{Attempt, Tier1};
use crate::watches::Watches;

/// Where Reserves are decided, alone or as entries of batches and streams, and
/// what was decided is counted.
#[derive(Clone, Debug)]
pub(super) struct Desk {
    tier1: Arc<Tier1>,
    decisions: Decisions,
}

impl Desk {
    pub(super) fn new(tier1: Arc<Tier1>, decisions: Decisions) -> Self {
        Self { tier1, decisions }
    }

    /// Decides one request of a call that was sent so often.
    pub(super) async fn decide(
        &self,
        request: &v1::ReserveRequest,
        sent: Sent,
        deadline: Deadline,
    ) -> Result<v1::ReserveResponse, Error> {
        let decided = async {
            let ask = requests::reserve(request)?;
            let attempt = match sent {
                Sent::Once if request.first_attempt => Attempt::First,
                _ => Attempt::PerhapsRepeated,
            };
            self.tier1.reserve(&ask, attempt, deadline).await
        };
        let reply = decided.await.map(replies::reserved);
        self.decisions.count(reply.as_ref().ok());
        reply
    }

    /// A message without a request.
    pub(super) fn nothing_to_decide(&self) -> Problem {
        self.decisions.count(None);
        Problem::unset("request")
    }
}

/// `InventoryService` over an inventory.
#[derive(Debug)]
pub(super) struct Service {
    inventory: Arc<Inventory>,
    tier1: Arc<Tier1>,
    desk: Desk,
    watches: Watches,
    life: Lifecycle,
}

type WatchNews = Result<v1::WatchStockResponse, Status>;

impl Service {
    pub(super) fn new(
        inventory: Arc<Inventory>,
        tier1: Arc<Tier1>,
        desk: Desk,
        watches: Watches,
        life: Lifecycle,
    ) -> Self {
        Self {
            inventory,
            tier1,
            desk,
            watches,
            life,
        }
    }

    async fn confirm_one(
        &self,
        request: &v1::ConfirmRequest,
        deadline: Deadline,
    ) -> Result<v1::ConfirmResponse, Error> {
        let target = requests::target(&self.inventory, request.target.as_ref())?;
        let confirmed = self.inventory.confirm(&target, request.reacquire, deadline);
        Ok(replies::confirmed(&confirmed.await?))
    }

    async fn cancel_one(
        &self,
        request: &v1::CancelRequest,
        deadline: Deadline,
    ) -> Result<v1::CancelResponse, Error> {
        let target = requests::target(&self.inventory, request.target.as_ref())?;
        let receipt = self.inventory.cancel(&target, deadline).await?;
        Ok(v1::CancelResponse {
            reservation: Some(replies::reservation(&receipt)),
        })
    }

    async fn get_one(
        &self,
        request: &v1::GetReservationRequest,
        deadline: Deadline,
    ) -> Result<v1::GetReservationResponse, Error> {
        let target = requests::target(&self.inventory, request.target.as_ref())?;
        let receipt = self.inventory.reservation(&target, deadline).await?;
        Ok(v1::GetReservationResponse {
            reservation: Some(replies::reservation(&receipt)),
        })
    }

    async fn stock_entry(
        &self,
        index: usize,
        item_id: String,
        wish: StockWish,
        deadline: Deadline,
    ) -> v1::StockResult {
        use v1::stock_result::Result as Entry;
        let read = async {
            let item = requests::stock_entry(index, &item_id)?;
            self.tier1.stock(&item, wish.read, deadline).await
        };
        let entry = match read.await {
            Ok(stock) => Entry::Stock(replies::stock(&stock, wish.detail)),
            Err(error) => Entry::Error(Problem::from(error).into()),
        };
        v1::StockResult {
            result: Some(entry),
            item_id,
        }
    }
}

#[tonic::async_trait]
impl InventoryService for Service {
    async fn reserve(
        &self,
        request: Request<v1::ReserveRequest>,
    ) -> Result<Response<v1::ReserveResponse>, Status> {
        let (deadline, sent) = (deadline_of(&request), Sent::of(&request));
        let mut response = answer(self.desk.decide(request.get_ref(), sent, deadline).await)?;
        let outcome = response.get_ref().outcome();
        response.extensions_mut().insert(Outcome(outcome));
        Ok(response)
    }

    async fn batch_reserve(
        &self,
        request: Request<v1::BatchReserveRequest>,
    ) -> Result<Response<v1::BatchReserveResponse>, Status> {
        let (deadline, sent) = (deadline_of(&request), Sent::of(&request));
        let decide = |entry| self.desk.decide(entry, sent, deadline);
        let results = each(&request.get_ref().requests, decide).await?;
        Ok(Response::new(v1::BatchReserveResponse { results }))
    }

    async fn confirm(
        &self,
        request: Request<v1::ConfirmRequest>,
    ) -> Result<Response<v1::ConfirmResponse>, Status> {
        let deadline = deadline_of(&request);
        answer(self.confirm_one(request.get_ref(), deadline).await)
    }

    async fn batch_confirm(
        &self,
        request: Request<v1::BatchConfirmRequest>,
    ) -> Result<Response<v1::BatchConfirmResponse>, Status> {
        let deadline = deadline_of(&request);
        let confirm = |entry| self.confirm_one(entry, deadline);
        let results = each(&request.get_ref().requests, confirm).await?;
        Ok(Response::new(v1::BatchConfirmResponse { results }))
    }

    async fn cancel(
        &self,
        request: Request<v1::CancelRequest>,
    ) -> Result<Response<v1::CancelResponse>, Status> {
        let deadline = deadline_of(&request);
        answer(self.cancel_one(request.get_ref(), deadline).await)
    }

    async fn batch_cancel(
        &self,
        request: Request<v1::BatchCancelRequest>,
    ) -> Result<Response<v1::BatchCancelResponse>, Status> {
        let deadline = deadline_of(&request);
        let cancel = |entry| self.cancel_one(entry, deadline);
        let results = each(&request.get_ref().requests, cancel).await?;
        Ok(Response::new(v1::BatchCancelResponse { results }))
    }

    async fn extend(
        &self,
        request: Request<v1::ExtendRequest>,
    ) -> Result<Response<v1::ExtendResponse>, Status> {
        let deadline = deadline_of(&request);
        let extended = async {
            let (target, hold_for_ms) = requests::extend(&self.inventory, request.get_ref())?;
            self.inventory.extend(&target, hold_for_ms, deadline).await
        };
        answer(extended.await.map(|receipt| v1::ExtendResponse {
            reservation: Some(replies::reservation(&receipt)),
        }))
    }

    async fn get_reservation(
        &self,
        request: Request<v1::GetReservationRequest>,
    ) -> Result<Response<v1::GetReservationResponse>, Status> {
        let deadline = deadline_of(&request);
        answer(self.get_one(request.get_ref(), deadline).await)
    }

    async fn batch_get_reservations(
        &self,
        request: Request<v1::BatchGetReservationsRequest>,
    ) -> Result<Response<v1::BatchGetReservationsResponse>, Status> {
        let deadline = deadline_of(&request);
        let get = |entry| self.get_one(entry, deadline);
        let results = each(&request.get_ref().requests, get).await?;
        Ok(Response::new(v1::BatchGetReservationsResponse { results }))
    }

    async fn get_stock(
        &self,
        request: Request<v1::GetStockRequest>,
    ) -> Result<Response<v1::GetStockResponse>, Status> {
        let deadline = deadline_of(&request);
        let read = async {
            let (item, wish) = requests::get_stock(request.get_ref())?;
            let stock = self.tier1.stock(&item, wish.read, deadline).await?;
            Ok(v1::GetStockResponse {
                stock: Some(replies::stock(&stock, wish.detail)),
            })
        };
        answer(read.await)
    }

    async fn batch_get_stock(
        &self,
        request: Request<v1::BatchGetStockRequest>,
    ) -> Result<Response<v1::BatchGetStockResponse>, Status> {
        let deadline = deadline_of(&request);
        let request = request.into_inner();
        let wish = requests::batch_get_stock(&request).map_err(Problem::from)?;
        let readings = request
            .item_ids
            .into_iter()
            .enumerate()
            .map(|(index, item_id)| self.stock_entry(index, item_id, wish, deadline));
        Ok(Response::new(v1::BatchGetStockResponse {
            results: all_at_once(readings).await,
        }))
    }

    type ReserveStreamStream = Answers;

    async fn reserve_stream(
        &self,
        request: Request<Streaming<v1::ReserveStreamRequest>>,
    ) -> Result<Response<Answers>, Status> {
        let work = Work {
            desk: self.desk.clone(),
            life: self.life.clone(),
            sent: Sent::of(&request),
            deadline: deadline_of(&request),
        };
        Ok(Response::new(stream::answers(work, request.into_inner())))
    }

    async fn return_units(
        &self,
        request: Request<v1::ReturnUnitsRequest>,
    ) -> Result<Response<v1::ReturnUnitsResponse>, Status> {
        let deadline = deadline_of(&request);
        let returned = async {
            let (target, back) = requests::return_units(&self.inventory, request.get_ref())?;
            self.inventory.return_units(&target, &back, deadline).await
        };
        answer(returned.await.map(|receipt| v1::ReturnUnitsResponse {
            reservation: Some(replies::reservation(&receipt)),
        }))
    }

    type WatchStockStream = Pin<Box<dyn Stream<Item = WatchNews> + Send>>;

    async fn watch_stock(
        &self,
        request: Request<v1::WatchStockRequest>,
    ) -> Result<Response<Self::WatchStockStream>, Status> {
        let deadline = deadline_of(&request);
        let wanted = requests::watch_stock(request.into_inner()).map_err(Problem::from)?;
        let news = watch::news(&self.watches, wanted, self.life.clone(), deadline);
        Ok(Response::new(Box::pin(news)))
    }
}
