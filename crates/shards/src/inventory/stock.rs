//! Reading and changing an item's stock.

use super::spec::FieldError;
use super::types::{SalePhase, Stock, StockChanged};
use super::{Error, Inventory, unexpected};
use crate::ids::{ItemId, RequestId, ShardNo, TOTAL_MAX};
use crate::machine::{Reading, SaleNow, ShardOp, ShardReply, StockChange};
use crate::store::Deadline;

impl Inventory {
    /// Reads an item's stock; what lapsed counts as available.
    ///
    /// # Errors
    /// [`Error::ItemNotFound`], and what the store says.
    pub async fn stock(&self, item: &ItemId, deadline: Deadline) -> Result<Stock, Error> {
        let reply = self.ask_ledger(item, &ShardOp::Look, deadline).await?;
        match reply {
            ShardReply::Read(reading) => Ok(stock_of(item.clone(), &reading)),
            other => Err(unexpected(&other)),
        }
    }

    /// Adds or takes units, once per request id. Takes available units only;
    /// with `allow_partial` as many as there are, else all or none.
    ///
    /// # Errors
    /// [`Error::NotEnoughAvailable`], [`Error::RequestIdReused`],
    /// [`Error::Invalid`] beyond [`TOTAL_MAX`], [`Error::ItemNotFound`],
    /// [`Error::ItemDeleting`], [`Error::StoreFull`], and what the store says.
    pub async fn adjust_stock(
        &self,
        item: &ItemId,
        delta: i64,
        allow_partial: bool,
        request: RequestId,
        deadline: Deadline,
    ) -> Result<StockChanged, Error> {
        let change = StockChange::Adjust {
            delta,
            allow_partial,
        };
        self.change_stock(item, request, change, deadline).await
    }

    /// Sets the total, if it is what the caller expects, once per request id.
    ///
    /// # Errors
    /// As [`Inventory::adjust_stock`]; [`Error::TotalMismatch`].
    pub async fn set_stock(
        &self,
        item: &ItemId,
        total: u64,
        expected: u64,
        request: RequestId,
        deadline: Deadline,
    ) -> Result<StockChanged, Error> {
        let change = StockChange::SetTotal { total, expected };
        self.change_stock(item, request, change, deadline).await
    }

    async fn change_stock(
        &self,
        item: &ItemId,
        request: RequestId,
        change: StockChange,
        deadline: Deadline,
    ) -> Result<StockChanged, Error> {
        let op = ShardOp::Change { request, change };
        match self.ask_ledger(item, &op, deadline).await? {
            ShardReply::Changed {
                applied,
                replayed,
                reading,
            } => Ok(StockChanged {
                stock: stock_of(item.clone(), &reading),
                applied,
                replayed,
            }),
            ShardReply::Short { available, held } => {
                Err(Error::NotEnoughAvailable { available, held })
            }
            ShardReply::TotalMismatch { total } => Err(Error::TotalMismatch { total }),
            ShardReply::TotalTooLarge { total } => {
                let field = match change {
                    StockChange::Adjust { .. } => "delta",
                    StockChange::SetTotal { .. } => "total",
                };
                let rule = format!("must keep the total at or below {TOTAL_MAX}; it is {total}");
                Err(Error::Invalid(vec![FieldError::new(field, rule)]))
            }
            ShardReply::Reused => Err(Error::RequestIdReused),
            ShardReply::NotSelling(SaleNow::Deleting) => Err(Error::ItemDeleting(item.clone())),
            other => Err(unexpected(&other)),
        }
    }

    async fn ask_ledger(
        &self,
        item: &ItemId,
        op: &ShardOp,
        deadline: Deadline,
    ) -> Result<ShardReply, Error> {
        loop {
            let entry = self.entry(item, deadline).await?;
            if let Ok(reply) = self
                .ask_shard(&entry, ShardNo::LEDGER, op.clone(), deadline)
                .await?
            {
                return Ok(reply);
            }
        }
    }
}

fn stock_of(item: ItemId, reading: &Reading) -> Stock {
    let counters = &reading.counters;
    let phase = match reading.settings.sale_at(reading.now) {
        SaleNow::Ended | SaleNow::Deleting => SalePhase::Ended,
        SaleNow::Paused => SalePhase::Paused,
        SaleNow::NotStarted { .. } => SalePhase::NotStarted,
        SaleNow::On if counters.available > 0 => SalePhase::OnSale,
        SaleNow::On if counters.held > 0 => SalePhase::AllHeld,
        SaleNow::On => SalePhase::SoldOut,
    };
    Stock {
        item,
        settings: reading.settings,
        available: counters.available,
        held: counters.held,
        sold: counters.sold,
        // One shard, one operation: one instant.
        exact: true,
        as_of: reading.now,
        phase,
    }
}
