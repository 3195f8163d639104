//! The control plane: setting sales up, changing them, finding out how they do.

use std::sync::Arc;

use proto::v1;
use proto::v1::admin_service_server::AdminService;
use shards::ids::ItemId;
use shards::inventory::{Error, Inventory};
use shards::machine::Entry;
use tonic::{Code, Request, Response, Status};

use super::call::deadline_of;
use super::problem::Problem;
use super::requests::StockDetail;
use super::{About, answer, replies, requests};
use crate::lifecycle::{Lifecycle, Phase};
use crate::tasks;
use crate::tier1::Tier1;

/// `AdminService` over an inventory.
#[derive(Debug)]
pub(super) struct Service {
    inventory: Arc<Inventory>,
    tier1: Arc<Tier1>,
    about: Arc<About>,
    life: Lifecycle,
}

impl Service {
    pub(super) fn new(
        inventory: Arc<Inventory>,
        tier1: Arc<Tier1>,
        about: Arc<About>,
        life: Lifecycle,
    ) -> Self {
        Self {
            inventory,
            tier1,
            about,
            life,
        }
    }

    /// Carries out a procedure of several steps, to its end even if the caller
    /// hangs up: it could be started again from anywhere, but why leave it.
    async fn to_its_end<T, F>(&self, steps: impl FnOnce(Arc<Inventory>) -> F) -> Result<T, Status>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        match tasks::start(steps(Arc::clone(&self.inventory))).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err(Problem::from(error).into()),
            Err(tasks::CutOff) => Err(Problem::cut_off().into()),
        }
    }

    /// As [`Self::to_its_end`], of procedures that return the item.
    async fn procedure<F>(
        &self,
        steps: impl FnOnce(Arc<Inventory>) -> F,
    ) -> Result<Option<v1::Item>, Status>
    where
        F: Future<Output = Result<Arc<Entry>, Error>> + Send + 'static,
    {
        let entry = self.to_its_end(steps).await?;
        Ok(Some(replies::item(&entry)))
    }

    /// Answers a change that no server may miss by the time it is answered.
    async fn once_obeyed<T>(&self, changed: Result<T, Status>) -> Result<T, Status> {
        let may_be_done = match &changed {
            Ok(_) => true,
            Err(status) => status.code() == Code::Unavailable,
        };
        if may_be_done {
            self.tier1.obeyed_everywhere().await;
        }
        changed
    }

    /// Pause, resume and close: they differ in what is asked of the inventory.
    async fn change_state<F>(
        &self,
        item_id: &str,
        reason: &str,
        change: impl FnOnce(Arc<Inventory>, ItemId, String) -> F,
    ) -> Result<Option<v1::Item>, Status>
    where
        F: Future<Output = Result<Arc<Entry>, Error>> + Send + 'static,
    {
        let (item, reason) = requests::change_of_state(item_id, reason).map_err(Problem::from)?;
        let changed = self.procedure(|inventory| change(inventory, item, reason));
        self.once_obeyed(changed.await).await
    }
}

#[tonic::async_trait]
impl AdminService for Service {
    async fn create_item(
        &self,
        request: Request<v1::CreateItemRequest>,
    ) -> Result<Response<v1::CreateItemResponse>, Status> {
        let deadline = deadline_of(&request);
        let new = requests::create_item(request.get_ref()).map_err(Problem::from)?;
        let item = self
            .procedure(|inventory| async move {
                inventory
                    .create_item(new.item, new.spec, new.request, deadline)
                    .await
            })
            .await?;
        Ok(Response::new(v1::CreateItemResponse { item }))
    }

    async fn get_item(
        &self,
        request: Request<v1::GetItemRequest>,
    ) -> Result<Response<v1::GetItemResponse>, Status> {
        let deadline = deadline_of(&request);
        let found = async {
            let item = requests::item(&request.get_ref().item_id)?;
            self.inventory.item(&item, deadline).await
        };
        answer(found.await.map(|entry| v1::GetItemResponse {
            item: Some(replies::item(&entry)),
        }))
    }

    async fn list_items(
        &self,
        request: Request<v1::ListItemsRequest>,
    ) -> Result<Response<v1::ListItemsResponse>, Status> {
        let deadline = deadline_of(&request);
        let request = request.into_inner();
        let listed = async {
            let wanted = requests::list_items(&request)?;
            let prefix = &request.item_id_prefix;
            self.inventory
                .list_items(
                    prefix,
                    &wanted.states,
                    wanted.page_size,
                    &request.page_token,
                    deadline,
                )
                .await
        };
        answer(listed.await.map(|page| v1::ListItemsResponse {
            items: page.entries.iter().map(replies::item).collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn adjust_stock(
        &self,
        request: Request<v1::AdjustStockRequest>,
    ) -> Result<Response<v1::AdjustStockResponse>, Status> {
        let deadline = deadline_of(&request);
        let adjusted = async {
            let ask = requests::adjust_stock(request.get_ref())?;
            self.inventory
                .adjust_stock(
                    &ask.item,
                    ask.delta,
                    ask.allow_partial,
                    ask.request,
                    deadline,
                )
                .await
        };
        answer(adjusted.await.map(|changed| v1::AdjustStockResponse {
            stock: Some(replies::stock(&changed.stock, StockDetail::Full)),
            applied_delta: Some(changed.applied),
            replayed: changed.replayed,
        }))
    }

    async fn pause_item(
        &self,
        request: Request<v1::PauseItemRequest>,
    ) -> Result<Response<v1::PauseItemResponse>, Status> {
        let deadline = deadline_of(&request);
        let v1::PauseItemRequest { item_id, reason } = request.get_ref();
        let item = self
            .change_state(item_id, reason, |inventory, item, reason| async move {
                inventory.pause_item(&item, &reason, deadline).await
            })
            .await?;
        Ok(Response::new(v1::PauseItemResponse { item }))
    }

    async fn resume_item(
        &self,
        request: Request<v1::ResumeItemRequest>,
    ) -> Result<Response<v1::ResumeItemResponse>, Status> {
        let deadline = deadline_of(&request);
        let v1::ResumeItemRequest { item_id, reason } = request.get_ref();
        let item = self
            .change_state(item_id, reason, |inventory, item, reason| async move {
                inventory.resume_item(&item, &reason, deadline).await
            })
            .await?;
        Ok(Response::new(v1::ResumeItemResponse { item }))
    }

    async fn close_item(
        &self,
        request: Request<v1::CloseItemRequest>,
    ) -> Result<Response<v1::CloseItemResponse>, Status> {
        let deadline = deadline_of(&request);
        let v1::CloseItemRequest { item_id, reason } = request.get_ref();
        let item = self
            .change_state(item_id, reason, |inventory, item, reason| async move {
                inventory.close_item(&item, &reason, deadline).await
            })
            .await?;
        Ok(Response::new(v1::CloseItemResponse { item }))
    }

    async fn audit_item(
        &self,
        request: Request<v1::AuditItemRequest>,
    ) -> Result<Response<v1::AuditItemResponse>, Status> {
        let deadline = deadline_of(&request);
        let audited = async {
            let (item, level) = requests::audit_item(request.get_ref())?;
            let audit = self.inventory.audit(&item, level, deadline).await?;
            Ok(replies::audit(&audit, level))
        };
        answer(audited.await)
    }

    async fn get_status(
        &self,
        _: Request<v1::GetStatusRequest>,
    ) -> Result<Response<v1::GetStatusResponse>, Status> {
        let About { server_id, start } = &*self.about;
        let draining = self.life.phase() >= Phase::Leaving;
        let store = self.inventory.store_status();
        Ok(Response::new(replies::status(
            store, server_id, *start, draining,
        )))
    }

    async fn update_item(
        &self,
        request: Request<v1::UpdateItemRequest>,
    ) -> Result<Response<v1::UpdateItemResponse>, Status> {
        let deadline = deadline_of(&request);
        let ask = requests::update_item(request.get_ref()).map_err(Problem::from)?;
        let changed = self
            .procedure(|inventory| async move {
                let expected = ask.expected_version;
                let entry = inventory
                    .update_item(&ask.item, &ask.edits, expected, deadline)
                    .await?;
                let (item, version, reason) = (&entry.item, entry.version, ask.reason);
                tracing::info!(%item, version, reason, "an item's settings were changed");
                Ok(entry)
            })
            .await;
        let item = self.once_obeyed(changed).await?;
        Ok(Response::new(v1::UpdateItemResponse { item }))
    }

    async fn set_stock(
        &self,
        request: Request<v1::SetStockRequest>,
    ) -> Result<Response<v1::SetStockResponse>, Status> {
        let deadline = deadline_of(&request);
        let set = async {
            let ask = requests::set_stock(request.get_ref())?;
            self.inventory
                .set_stock(&ask.item, ask.total, ask.expected, ask.request, deadline)
                .await
        };
        answer(set.await.map(|changed| v1::SetStockResponse {
            stock: Some(replies::stock(&changed.stock, StockDetail::Full)),
            replayed: changed.replayed,
        }))
    }

    async fn delete_item(
        &self,
        request: Request<v1::DeleteItemRequest>,
    ) -> Result<Response<v1::DeleteItemResponse>, Status> {
        let deadline = deadline_of(&request);
        let ask = requests::delete_item(request.get_ref()).map_err(Problem::from)?;
        let deleted = self.to_its_end(|inventory| async move {
            inventory
                .delete_item(&ask.item, ask.force, ask.expected_version, deadline)
                .await
        });
        self.once_obeyed(deleted.await).await?;
        Ok(Response::new(v1::DeleteItemResponse {}))
    }

    async fn explain_reserve(
        &self,
        request: Request<v1::ExplainReserveRequest>,
    ) -> Result<Response<v1::ExplainReserveResponse>, Status> {
        let deadline = deadline_of(&request);
        let explained = async {
            let ask = requests::explain_reserve(request.get_ref())?;
            self.inventory.explain_reserve(&ask, deadline).await
        };
        answer(explained.await.map(replies::explained))
    }

    async fn list_reservations(
        &self,
        request: Request<v1::ListReservationsRequest>,
    ) -> Result<Response<v1::ListReservationsResponse>, Status> {
        let deadline = deadline_of(&request);
        let request = request.get_ref();
        let listed = async {
            let ask = requests::list_reservations(request)?;
            let (size, token) = (ask.page_size, &request.page_token);
            self.inventory
                .list_reservations(&ask.wanted, size, token, deadline)
                .await
        };
        answer(listed.await.map(|page| v1::ListReservationsResponse {
            reservations: page.reservations.iter().map(replies::reservation).collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn list_stripes(
        &self,
        request: Request<v1::ListStripesRequest>,
    ) -> Result<Response<v1::ListStripesResponse>, Status> {
        let deadline = deadline_of(&request);
        let listed = async {
            let ask = requests::list_stripes(request.get_ref())?;
            let all = self.inventory.stripes(ask.item.as_ref(), deadline).await?;
            let mut stripes: Vec<_> = all.into_iter().map(replies::stripe).collect();
            stripes.retain(|stripe| ask.states.is_empty() || ask.states.contains(&stripe.state()));
            Ok(v1::ListStripesResponse { stripes })
        };
        answer(listed.await)
    }

    async fn release_stripe(
        &self,
        request: Request<v1::ReleaseStripeRequest>,
    ) -> Result<Response<v1::ReleaseStripeResponse>, Status> {
        let deadline = deadline_of(&request);
        let ask = requests::release_stripe(request.get_ref()).map_err(Problem::from)?;
        let requests::ReleaseStripe {
            stripe,
            freeze_id,
            reason,
        } = ask;
        let released = self
            .to_its_end(|inventory| async move {
                let released = inventory
                    .release_stripe(stripe, freeze_id, deadline)
                    .await?;
                if let Some(surplus) = released.surplus {
                    tracing::warn!(%stripe, reason, surplus, "an operator released a stripe");
                }
                Ok(released)
            })
            .await?;
        Ok(Response::new(replies::released(released)))
    }
}
