//! From the wire to the domain: each request whole, with all its broken fields
//! named at once.

use proto::v1;
use shards::ids::{ItemId, Quantity, RequestId, TOTAL_MAX};
use shards::inventory::{AuditLevel, Error, Inventory, ReadStock, Reserve, Return, Target, spec};
use shards::machine::{ItemSpec, Selling};

use super::fields::Fields;

mod support;
mod update;
mod watch;

pub(super) use support::{
    ReleaseStripe, explain_reserve, list_reservations, list_stripes, release_stripe,
};
pub(super) use update::update_item;
pub(super) use watch::{WatchStock, watch_stock};

/// Most entries of a batch.
const BATCH_LEN_MAX: usize = 512;
/// Most items of a stock reading, and of one that reads every shard.
const STOCK_BATCH_LEN_MAX: usize = 256;
const STRONG_BATCH_LEN_MAX: usize = 16;

/// The oneof `target`, which each request has as a type of its own.
#[derive(Clone, Copy, Debug)]
pub(super) enum TargetField<'a> {
    /// By the id that Reserve returned.
    ReservationId(&'a str),
    /// By the ids that Reserve was sent.
    Key(&'a v1::ReservationKey),
}

macro_rules! target_fields {
    ($($oneof:path),+ $(,)?) => {$(
        impl<'a> From<&'a $oneof> for TargetField<'a> {
            fn from(target: &'a $oneof) -> Self {
                use $oneof as Oneof;
                match target {
                    Oneof::ReservationId(id) => Self::ReservationId(id),
                    Oneof::Key(key) => Self::Key(key),
                }
            }
        }
    )+};
}

target_fields!(
    v1::confirm_request::Target,
    v1::cancel_request::Target,
    v1::extend_request::Target,
    v1::get_reservation_request::Target,
    v1::return_units_request::Target,
);

/// How much of the stock is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StockDetail {
    Basic,
    Full,
}

pub(super) fn reserve(request: &v1::ReserveRequest) -> Result<Reserve, Error> {
    let mut fields = Fields::default();
    let item = fields.item_id("item_id", &request.item_id);
    let buyer = fields.buyer_id("buyer_id", &request.buyer_id);
    let id = fields.request_id("request_id", &request.request_id);
    let quantity = fields.check("quantity", Quantity::new(request.quantity));
    fields.finish((|| {
        Some(Reserve {
            item: item?,
            buyer: buyer?,
            request: id?,
            quantity: quantity?,
        })
    })())
}

pub(super) fn batch(len: usize) -> Result<(), Error> {
    let mut fields = Fields::default();
    fields.batch("requests", len, BATCH_LEN_MAX);
    fields.finish(Some(()))
}

pub(super) fn target<'a>(
    inventory: &Inventory,
    target: Option<impl Into<TargetField<'a>>>,
) -> Result<Target, Error> {
    let mut fields = Fields::default();
    let target = fields.target(inventory, target.map(Into::into));
    fields.finish(target)
}

pub(super) fn extend(
    inventory: &Inventory,
    request: &v1::ExtendRequest,
) -> Result<(Target, u64), Error> {
    let mut fields = Fields::default();
    let target = fields.target(inventory, request.target.as_ref().map(Into::into));
    let hold_for_ms = match &request.hold_for {
        None => {
            fields.breaks("hold_for", "must be set");
            None
        }
        hold_for => fields.duration("hold_for", hold_for.as_ref()),
    };
    if hold_for_ms == Some(0) {
        fields.breaks("hold_for", "must be at least 1ms");
    }
    fields.finish(target.zip(hold_for_ms))
}

pub(super) fn return_units(
    inventory: &Inventory,
    request: &v1::ReturnUnitsRequest,
) -> Result<(Target, Return), Error> {
    let mut fields = Fields::default();
    let target = fields.target(inventory, request.target.as_ref().map(Into::into));
    let id = fields.request_id("request_id", &request.request_id);
    let quantity = fields.check("quantity", Quantity::new(request.quantity));
    let back = id.zip(quantity).map(|(request_id, quantity)| Return {
        request: request_id,
        quantity,
        discard: request.discard,
    });
    fields.finish(target.zip(back))
}

/// How stock is to be read, and how much of it sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct StockWish {
    pub(super) read: ReadStock,
    pub(super) detail: StockDetail,
}

pub(super) fn get_stock(request: &v1::GetStockRequest) -> Result<(ItemId, StockWish), Error> {
    let mut fields = Fields::default();
    let item = fields.item_id("item_id", &request.item_id);
    let read = consistency(&mut fields, request.consistency);
    let detail = detail(&mut fields, request.view);
    let wish = read
        .zip(detail)
        .map(|(read, detail)| StockWish { read, detail });
    fields.finish(item.zip(wish))
}

/// The items are checked one by one, by [`stock_entry`].
pub(super) fn batch_get_stock(request: &v1::BatchGetStockRequest) -> Result<StockWish, Error> {
    let mut fields = Fields::default();
    let read = consistency(&mut fields, request.consistency);
    let max = match read {
        Some(ReadStock::Twice) => STRONG_BATCH_LEN_MAX,
        _ => STOCK_BATCH_LEN_MAX,
    };
    fields.batch("item_ids", request.item_ids.len(), max);
    let detail = detail(&mut fields, request.view);
    fields.finish(
        read.zip(detail)
            .map(|(read, detail)| StockWish { read, detail }),
    )
}

pub(super) fn stock_entry(index: usize, item_id: &str) -> Result<ItemId, Error> {
    let mut fields = Fields::default();
    let item = fields.item_id(&format!("item_ids[{index}]"), item_id);
    fields.finish(item)
}

/// STRONG makes sure that nothing moved meanwhile.
fn consistency(fields: &mut Fields, value: i32) -> Option<ReadStock> {
    Some(match fields.known("consistency", value)? {
        v1::StockConsistency::Strong => ReadStock::Twice,
        v1::StockConsistency::Unspecified | v1::StockConsistency::Cached => ReadStock::Once,
    })
}

fn detail(fields: &mut Fields, value: i32) -> Option<StockDetail> {
    Some(match fields.known("view", value)? {
        v1::StockView::Basic => StockDetail::Basic,
        v1::StockView::Unspecified | v1::StockView::Full => StockDetail::Full,
    })
}

/// An item to be made.
#[derive(Debug)]
pub(super) struct CreateItem {
    pub(super) item: ItemId,
    pub(super) spec: ItemSpec,
    pub(super) request: RequestId,
}

pub(super) fn create_item(request: &v1::CreateItemRequest) -> Result<CreateItem, Error> {
    let mut fields = Fields::default();
    let id = fields.request_id("request_id", &request.request_id);
    let stock = match request.initial_stock {
        None => {
            fields.breaks("initial_stock", "must be set (0 is allowed)");
            None
        }
        Some(stock) => {
            let units = u64::try_from(stock).ok();
            if units.is_none() {
                fields.breaks("initial_stock", "must not be negative");
            }
            units
        }
    };
    let Some(item) = &request.item else {
        fields.breaks("item", "must be set");
        return fields.finish(None);
    };
    // Output only fields are ignored, as AIP-203 asks.
    let item_id = fields.within("item.", |fields| fields.item_id("item_id", &item.item_id));
    let spec = item_spec(&mut fields, item, stock.unwrap_or(0));
    // The inventory checks the terms again; asked here, so that they are named
    // together with all else.
    if let Err(broken) = spec::terms(&spec) {
        fields.breaks_all(broken);
    }
    fields.finish((|| {
        Some(CreateItem {
            item: item_id?,
            spec,
            request: id?,
        })
    })())
}

fn item_spec(fields: &mut Fields, item: &v1::Item, initial_stock: u64) -> ItemSpec {
    fields.within("item.", |fields| {
        let hold_ttl_ms = fields.duration("hold_ttl", item.hold_ttl.as_ref());
        let max_hold_ms = fields.duration("max_hold", item.max_hold.as_ref());
        // A broken hold_ttl must not be blamed on max_hold as well, which would
        // be compared with the default.
        let hold_ttl_is_broken = item.hold_ttl.is_some() && hold_ttl_ms.is_none();
        ItemSpec {
            display_name: item.display_name.clone(),
            shard_count: item.shard_count,
            hold_ttl_ms,
            max_hold_ms: max_hold_ms.filter(|_| !hold_ttl_is_broken),
            sell_at_once: item.sell_at_once,
            max_units_per_buyer: item.max_units_per_buyer,
            max_units_per_reservation: item.max_units_per_reservation,
            sale_start: fields.timestamp("sale_start_time", item.sale_start_time.as_ref()),
            sale_end: fields.timestamp("sale_end_time", item.sale_end_time.as_ref()),
            retention_ms: fields.duration("retention", item.retention.as_ref()),
            initial_stock,
        }
    })
}

pub(super) fn item(item_id: &str) -> Result<ItemId, Error> {
    let mut fields = Fields::default();
    let item = fields.item_id("item_id", item_id);
    fields.finish(item)
}

/// Which items to list.
#[derive(Debug)]
pub(super) struct ListItems {
    pub(super) states: Vec<Selling>,
    pub(super) page_size: u32,
}

pub(super) fn list_items(request: &v1::ListItemsRequest) -> Result<ListItems, Error> {
    let mut fields = Fields::default();
    let page_size = fields.page_size(request.page_size);
    let mut states = Vec::new();
    for (index, state) in request.states.iter().enumerate() {
        let field = format!("states[{index}]");
        match fields.known(&field, *state) {
            Some(v1::ItemState::Unspecified) => fields.breaks(&field, "must be a state"),
            Some(v1::ItemState::Open) => states.push(Selling::Open),
            Some(v1::ItemState::Paused) => states.push(Selling::Paused),
            // What is being deleted is shown as closed.
            Some(v1::ItemState::Closed) => states.extend([Selling::Closed, Selling::Deleting]),
            None => {}
        }
    }
    fields.finish(page_size.map(|page_size| ListItems { states, page_size }))
}

/// A change of an item's stock.
#[derive(Debug)]
pub(super) struct AdjustStock {
    pub(super) item: ItemId,
    pub(super) delta: i64,
    pub(super) allow_partial: bool,
    pub(super) request: RequestId,
}

pub(super) fn adjust_stock(request: &v1::AdjustStockRequest) -> Result<AdjustStock, Error> {
    let mut fields = Fields::default();
    let item = fields.item_id("item_id", &request.item_id);
    if request.delta == 0 {
        fields.breaks("delta", "must not be 0");
    }
    let id = fields.request_id("request_id", &request.request_id);
    fields.text("reason", &request.reason);
    fields.finish((|| {
        Some(AdjustStock {
            item: item?,
            delta: request.delta,
            allow_partial: request.allow_partial,
            request: id?,
        })
    })())
}

/// A new total of an item's stock.
#[derive(Debug)]
pub(super) struct SetStock {
    pub(super) item: ItemId,
    pub(super) total: u64,
    pub(super) expected: u64,
    pub(super) request: RequestId,
}

pub(super) fn set_stock(request: &v1::SetStockRequest) -> Result<SetStock, Error> {
    let mut fields = Fields::default();
    let item = fields.item_id("item_id", &request.item_id);
    let total = total(&mut fields, "total", request.total);
    let expected = self::total(&mut fields, "expected_total", request.expected_total);
    let id = fields.request_id("request_id", &request.request_id);
    fields.text("reason", &request.reason);
    fields.finish((|| {
        Some(SetStock {
            item: item?,
            total: total?,
            expected: expected?,
            request: id?,
        })
    })())
}

fn total(fields: &mut Fields, field: &str, value: Option<i64>) -> Option<u64> {
    let Some(value) = value else {
        fields.breaks(field, "must be set (0 is allowed)");
        return None;
    };
    let units = u64::try_from(value)
        .ok()
        .filter(|units| *units <= TOTAL_MAX);
    if units.is_none() {
        fields.breaks(field, "must be 0 to 9007199254740991");
    }
    units
}

/// Pause, resume and close all say which item and why.
pub(super) fn change_of_state(item_id: &str, reason: &str) -> Result<(ItemId, String), Error> {
    let mut fields = Fields::default();
    let item = fields.item_id("item_id", item_id);
    let reason = fields.text("reason", reason).map(str::to_owned);
    fields.finish(item.zip(reason))
}

/// Which item is to go.
#[derive(Debug)]
pub(super) struct DeleteItem {
    pub(super) item: ItemId,
    pub(super) force: bool,
    pub(super) expected_version: Option<u64>,
}

pub(super) fn delete_item(request: &v1::DeleteItemRequest) -> Result<DeleteItem, Error> {
    let mut fields = Fields::default();
    let item = fields.item_id("item_id", &request.item_id);
    let expected = fields.expected_version(request.expected_version);
    fields.finish(item.zip(expected).map(|(item, expected)| DeleteItem {
        item,
        force: request.force,
        expected_version: (expected > 0).then_some(expected),
    }))
}

pub(super) fn audit_item(request: &v1::AuditItemRequest) -> Result<(ItemId, AuditLevel), Error> {
    let mut fields = Fields::default();
    let item = fields.item_id("item_id", &request.item_id);
    let level = fields
        .known("level", request.level)
        .map(|level| match level {
            v1::AuditLevel::Unspecified | v1::AuditLevel::Counters => AuditLevel::Counters,
            v1::AuditLevel::Records => AuditLevel::Records,
        });
    fields.finish(item.zip(level))
}

#[cfg(test)]
mod tests;
