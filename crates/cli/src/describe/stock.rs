//! Stock.

use proto::v1::{SalePhase, Stock};

use super::{limit, moment, name};
use crate::document::Doc;

/// The stock of an item.
pub(crate) fn stock(stock: &Stock) -> Doc {
    Doc::new()
        .with("item_id", &stock.item_id)
        .with("phase", name::<SalePhase>(stock.phase))
        .with_set("available", stock.available)
        .with_set("held", stock.held)
        .with_set("sold", stock.sold)
        .with_set("total", stock.total)
        .with_set("exact", stock.exact)
        .with_set("as_of", moment(stock.as_of.as_ref()))
        .with_set("sale_start_time", moment(stock.sale_start_time.as_ref()))
        .with_set("sale_end_time", moment(stock.sale_end_time.as_ref()))
        .with("max_units_per_buyer", limit(stock.max_units_per_buyer))
        .with(
            "max_units_per_reservation",
            limit(stock.max_units_per_reservation),
        )
}
