//! Which items to watch, and how.

use std::time::Duration;

use proto::v1;
use shards::inventory::{Error, seconds};

use super::{Fields, STOCK_BATCH_LEN_MAX, StockDetail};
use crate::watches::INTERVAL_MIN;

/// An item that does not change is told again after this long, unless the
/// caller said otherwise.
const MAX_INTERVAL_DEFAULT: Duration = Duration::from_secs(15);

/// The items are checked one by one, by [`super::stock_entry`].
#[derive(Debug)]
pub(in crate::grpc) struct WatchStock {
    pub(in crate::grpc) item_ids: Vec<String>,
    pub(in crate::grpc) min_interval: Duration,
    pub(in crate::grpc) max_interval: Duration,
    pub(in crate::grpc) detail: StockDetail,
}

pub(in crate::grpc) fn watch_stock(request: v1::WatchStockRequest) -> Result<WatchStock, Error> {
    let mut fields = Fields::default();
    fields.batch("item_ids", request.item_ids.len(), STOCK_BATCH_LEN_MAX);
    let min = fields.duration("min_interval", request.min_interval.as_ref());
    let min_is_broken = request.min_interval.is_some() && min.is_none();
    let min_interval = min.map_or(INTERVAL_MIN, Duration::from_millis);
    if min_interval < INTERVAL_MIN {
        fields.breaks("min_interval", "must be at least 100ms");
    }
    let max = fields.duration("max_interval", request.max_interval.as_ref());
    let max_is_broken = request.max_interval.is_some() && max.is_none();
    let max_interval = max.map_or(MAX_INTERVAL_DEFAULT, Duration::from_millis);
    if max_interval < min_interval && !min_is_broken && !max_is_broken {
        let default = u64::try_from(MAX_INTERVAL_DEFAULT.as_millis()).unwrap_or(u64::MAX);
        let unset = seconds(default);
        let rule = format!("must be at least min_interval (unset, it is {unset})");
        fields.breaks("max_interval", rule);
    }
    let detail = super::detail(&mut fields, request.view);
    fields.finish(detail.map(|detail| WatchStock {
        item_ids: request.item_ids,
        min_interval,
        max_interval,
        detail,
    }))
}
