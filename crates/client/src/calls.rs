//! The calls of single messages.

use proto::v1::{
    AdjustStockRequest, AdjustStockResponse, AuditItemRequest, AuditItemResponse, CancelRequest,
    CancelResponse, CloseItemRequest, CloseItemResponse, ConfirmRequest, ConfirmResponse,
    CreateItemRequest, CreateItemResponse, DeleteItemRequest, DeleteItemResponse,
    ExplainReserveRequest, ExplainReserveResponse, ExtendRequest, ExtendResponse, GetItemRequest,
    GetItemResponse, GetReservationRequest, GetReservationResponse, GetStatusRequest,
    GetStatusResponse, GetStockRequest, GetStockResponse, ListItemsRequest, ListItemsResponse,
    ListReservationsRequest, ListReservationsResponse, ListStripesRequest, ListStripesResponse,
    PauseItemRequest, PauseItemResponse, ReleaseStripeRequest, ReleaseStripeResponse,
    ResumeItemRequest, ResumeItemResponse, ReturnUnitsRequest, ReturnUnitsResponse,
    SetStockRequest, SetStockResponse, UpdateItemRequest, UpdateItemResponse,
};

use crate::client::Client;
use crate::error::Error;
use crate::retry::Effect;

/// Writes one method per line: the stub, the call, and whether it can change
/// anything. They differ in nothing else.
macro_rules! calls {
    ($(
        $(#[$doc:meta])*
        $effect:ident $stub:ident.$rpc:ident($request:ty) -> $response:ty;
    )*) => {
        impl Client {$(
            $(#[$doc])*
            pub async fn $rpc(&self, request: $request) -> Result<$response, Error> {
                let send = |request| {
                    let mut stub = self.$stub();
                    async move { stub.$rpc(request).await }
                };
                self.unchanged(stringify!($rpc), Effect::$effect, request, send).await
            }
        )*}
    };
}

calls! {
    /// Makes a hold's sale final.
    Changes inventory.confirm(ConfirmRequest) -> ConfirmResponse;
    /// Takes sold units back, once for each request id.
    Changes inventory.return_units(ReturnUnitsRequest) -> ReturnUnitsResponse;
    /// Gives held units back; by key also before the Reserve arrives.
    Changes inventory.cancel(CancelRequest) -> CancelResponse;
    /// Makes a hold last longer.
    Changes inventory.extend(ExtendRequest) -> ExtendResponse;
    /// Reads a reservation.
    Reads inventory.get_reservation(GetReservationRequest) -> GetReservationResponse;
    /// Reads the stock of an item.
    Reads inventory.get_stock(GetStockRequest) -> GetStockResponse;

    /// Creates an item.
    Changes admin.create_item(CreateItemRequest) -> CreateItemResponse;
    /// Reads an item's settings.
    Reads admin.get_item(GetItemRequest) -> GetItemResponse;
    /// Reads a page of items.
    Reads admin.list_items(ListItemsRequest) -> ListItemsResponse;
    /// Changes an item's settings.
    Changes admin.update_item(UpdateItemRequest) -> UpdateItemResponse;
    /// Stops an item's sale until it is resumed.
    Changes admin.pause_item(PauseItemRequest) -> PauseItemResponse;
    /// Ends a pause.
    Changes admin.resume_item(ResumeItemRequest) -> ResumeItemResponse;
    /// Ends an item's sale for good.
    Changes admin.close_item(CloseItemRequest) -> CloseItemResponse;
    /// Deletes an item with its stock and all its reservations.
    Changes admin.delete_item(DeleteItemRequest) -> DeleteItemResponse;
    /// Adds units, or takes some that are available.
    Changes admin.adjust_stock(AdjustStockRequest) -> AdjustStockResponse;
    /// Sets the total, if it is the expected one.
    Changes admin.set_stock(SetStockRequest) -> SetStockResponse;
    /// Checks that an item's books add up.
    Reads admin.audit_item(AuditItemRequest) -> AuditItemResponse;
    /// Says what Reserve would answer now, and why.
    Reads admin.explain_reserve(ExplainReserveRequest) -> ExplainReserveResponse;
    /// Reads a page of an item's reservations.
    Reads admin.list_reservations(ListReservationsRequest) -> ListReservationsResponse;
    /// Reads how the store's stripes do.
    Reads admin.list_stripes(ListStripesRequest) -> ListStripesResponse;
    /// Lets a frozen stripe serve again, accepting loss.
    Changes admin.release_stripe(ReleaseStripeRequest) -> ReleaseStripeResponse;
    /// Reads how the server does.
    Reads admin.get_status(GetStatusRequest) -> GetStatusResponse;
}
