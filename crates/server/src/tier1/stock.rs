//! The stock as product pages see it.

use std::sync::Arc;
use std::time::Duration;

use cache::{Found, Loaded};
use shards::ids::ItemId;
use shards::inventory::{Error, ReadStock, Stock};
use shards::store::Deadline;

use super::{ASKING_TIME_MAX, FAILURE_AGE_MAX, Tier1, in_time, keep_ms, no_answer};
use crate::clock;
use crate::tasks;

/// How long a reading of the stock is shown.
const STOCK_AGE_MAX: Duration = Duration::from_secs(1);
/// How long somebody waits for it to whom something older can be shown.
pub(super) const PATIENCE_MAX: Duration = Duration::from_millis(250);

impl Tier1 {
    /// The stock of an item: by one reading of its shards from memory, and while
    /// the store does not answer the last that is known; by two from the store.
    ///
    /// Where something is known nobody waits for long; the reading goes on all the
    /// same, so that it is there for whoever comes next, however short their time.
    pub(crate) async fn stock(
        self: &Arc<Self>,
        item: &ItemId,
        how: ReadStock,
        deadline: Deadline,
    ) -> Result<Arc<Stock>, Error> {
        if how == ReadStock::Twice {
            return self
                .inventory
                .stock(item, how, deadline)
                .await
                .map(Arc::new);
        }
        if let Some(found) = self.stock.get(item) {
            return self.shown(item, found);
        }
        let (tier1, wanted) = (Arc::clone(self), item.clone());
        let reading = tasks::start(async move {
            let age_max_ms = keep_ms(STOCK_AGE_MAX);
            let reading = tier1.read_stock(&wanted);
            tier1.stock.load(&wanted, age_max_ms, reading).await
        });
        let Some(known) = self.stock.last_known(item) else {
            return match in_time(deadline, reading).await? {
                Ok(found) => self.shown(item, found),
                Err(tasks::CutOff) => Err(no_answer()),
            };
        };
        let patience = clock::later(PATIENCE_MAX);
        let patience = deadline.map_or(patience, |deadline| patience.min(deadline));
        match in_time(Some(patience), reading).await {
            Ok(Ok(found)) => self.shown(item, found),
            Ok(Err(tasks::CutOff)) | Err(_) => Ok(known),
        }
    }

    /// The same by a reading that begins from now on: for those who watch.
    pub(crate) async fn stock_from_now_on(&self, item: &ItemId) -> Result<Arc<Stock>, Error> {
        let found = self.stock.load_later(item, self.read_stock(item)).await;
        self.shown(item, found)
    }

    fn shown(&self, item: &ItemId, found: Found<Arc<Stock>, Error>) -> Result<Arc<Stock>, Error> {
        match found {
            Found::Known(stock) => Ok(stock),
            Found::Absent => Err(Error::ItemNotFound(item.clone())),
            Found::Failed(error @ Error::ItemDeleting(_)) => Err(error),
            Found::Failed(error) => self.stock.last_known(item).ok_or(error),
        }
    }

    async fn read_stock(&self, item: &ItemId) -> Loaded<Arc<Stock>, Error> {
        let deadline = clock::later(ASKING_TIME_MAX);
        let reading = self.inventory.stock(item, ReadStock::Once, Some(deadline));
        match in_time(Some(deadline), reading).await.flatten() {
            Ok(stock) => Loaded::keep(Found::Known(Arc::new(stock)), keep_ms(STOCK_AGE_MAX)),
            Err(Error::ItemNotFound(_)) => Loaded::keep(Found::Absent, keep_ms(STOCK_AGE_MAX)),
            Err(error) => Loaded::keep(Found::Failed(error), keep_ms(FAILURE_AGE_MAX)),
        }
    }
}
