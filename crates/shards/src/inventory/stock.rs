//! Reading and changing an item's stock.

use super::spec::FieldError;
use super::types::{ReadStock, SalePhase, Stock, StockChanged};
use super::{Error, Inventory, unexpected};
use crate::allocator::Ask;
use crate::ids::{ItemId, RequestId, ShardNo, TOTAL_MAX};
use crate::machine::{Counters, Entry, Reading, SaleNow, ShardReply, StockChange};
use crate::store::Deadline;

impl Inventory {
    /// Reads an item's stock; what lapsed counts as available. `Twice` reads
    /// every shard a second time, to know whether anything changed meanwhile.
    ///
    /// # Errors
    /// [`Error::ItemNotFound`], and what the store says.
    pub async fn stock(
        &self,
        item: &ItemId,
        how: ReadStock,
        deadline: Deadline,
    ) -> Result<Stock, Error> {
        loop {
            let entry = self.entry(item, deadline).await?;
            let Ok(first) = self.read_all(&entry, deadline).await? else {
                continue;
            };
            if first.len() < 2 || how == ReadStock::Once {
                let exact = first.len() < 2;
                return stock_of(&entry, &first, exact);
            }
            let Ok(second) = self.read_all(&entry, deadline).await? else {
                continue;
            };
            let revisions = |readings: &[Reading]| -> Vec<_> {
                readings.iter().map(|reading| reading.revision).collect()
            };
            let exact = revisions(&first) == revisions(&second);
            return stock_of(&entry, &second, exact);
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
        let (entry, reply) = loop {
            let entry = self.entry(item, deadline).await?;
            let ask = Ask::Change {
                request,
                change,
                version: entry.version,
            };
            if let Ok(decision) = self.decide(&entry, ShardNo::LEDGER, ask, deadline).await? {
                break (entry, decision.reply);
            }
        };
        match reply {
            ShardReply::Changed {
                applied,
                replayed,
                reading,
            } => {
                if applied > 0 {
                    self.deal(&entry, deadline).await;
                }
                let stock = if entry.placement.len() < 2 {
                    stock_of(&entry, &[*reading], true)?
                } else {
                    self.stock(item, ReadStock::Once, deadline)
                        .await
                        .map_err(Error::half_done)?
                };
                Ok(StockChanged {
                    stock,
                    applied,
                    replayed,
                })
            }
            ShardReply::Short {
                available, held, ..
            } => Err(Error::NotEnoughAvailable { available, held }),
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
}

/// The sums over all shards, as one reading of each found them.
pub(super) fn stock_of(entry: &Entry, readings: &[Reading], exact: bool) -> Result<Stock, Error> {
    let sum = |of: fn(&Counters) -> u64| readings.iter().map(|r| of(&r.counters)).sum::<u64>();
    let held = sum(|c| c.held);
    let sold = sum(|c| c.sold);
    // What is neither held nor sold is available or under way to where it will
    // be. By each shard's own equation this is their sum, at whatever instants
    // they were read: transfers cannot disturb it.
    let total = sum(|c| c.supply.unwrap_or(0) + c.surplus);
    let available = total.saturating_sub(held + sold);
    put_together(entry, readings, available, exact)
        .ok_or_else(|| Error::Unexpected("an item without shards".to_owned()))
}

/// The sums over the shards that answered, where some did not; `None`: none
/// did. What is under way is in none of them.
pub(super) fn part_of_stock(entry: &Entry, readings: &[Reading]) -> Option<Stock> {
    let available = readings.iter().map(|r| r.counters.available).sum();
    put_together(entry, readings, available, false)
}

fn put_together(entry: &Entry, readings: &[Reading], available: u64, exact: bool) -> Option<Stock> {
    let newest = readings.iter().max_by_key(|reading| reading.version)?;
    // The oldest of them: what is told is no older than that.
    let as_of = readings.iter().map(|reading| reading.now).min()?;
    let held = readings.iter().map(|r| r.counters.held).sum();
    let sold = readings.iter().map(|r| r.counters.sold).sum();
    let phase = match newest.settings.sale_at(as_of) {
        SaleNow::Ended | SaleNow::Deleting => SalePhase::Ended,
        SaleNow::Paused => SalePhase::Paused,
        SaleNow::NotStarted { .. } => SalePhase::NotStarted,
        SaleNow::On if available > 0 => SalePhase::OnSale,
        SaleNow::On if held > 0 => SalePhase::AllHeld,
        SaleNow::On => SalePhase::SoldOut,
    };
    Some(Stock {
        item: entry.item.clone(),
        settings: newest.settings,
        available,
        held,
        sold,
        exact,
        as_of,
        phase,
    })
}
