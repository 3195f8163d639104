//! Says what Reserve would answer, and why. Takes nothing and notes nothing; as
//! with every reading, what has lapsed is given back.

use std::sync::Arc;

use futures_util::future::join_all;

use super::items::shard_numbers;
use super::stock::{part_of_stock, stock_of};
use super::types::{Explanation, Foreseen, Receipt, Stock, seconds};
use super::{Error, FieldError, Gone, Inventory, shards_of, unexpected};
use crate::hash;
use crate::ids::{BuyerId, Fingerprint, ItemId, Quantity, RecordKey, RequestId, ShardNo};
use crate::machine::{Entry, Reading, SaleNow, Settings, ShardOp, ShardReply, State};
use crate::store::Deadline;

/// A buyer's reservations that are shown, at most.
const RESERVATIONS_MAX: u32 = 100;

/// Whose Reserve is explained.
#[derive(Clone, Debug)]
pub struct Explain {
    /// The item.
    pub item: ItemId,
    /// The buyer.
    pub buyer: BuyerId,
    /// Units.
    pub quantity: Quantity,
    /// A request that may have been sent; `None`: a new one.
    pub request: Option<RequestId>,
}

/// What was read to explain.
struct Evidence {
    home: ShardNo,
    settings: Settings,
    quantity: u32,
    /// What Reserve would be decided by at home, or why it cannot be.
    at_home: Result<AtHome, Error>,
    /// The record of the request, if there is one.
    record: Option<Receipt>,
    /// Available on each shard, or why that is not known.
    elsewhere: Vec<Result<Reading, Error>>,
}

struct AtHome {
    reading: Reading,
    buyer_units: Option<u64>,
    full: bool,
}

/// A decision, and the sentence for support.
type Said = (Result<Foreseen, Error>, String);

impl Inventory {
    /// What Reserve would answer now, and why.
    ///
    /// # Errors
    /// [`Error::ItemNotFound`], and what the store says of the item's entry.
    /// What Reserve would fail with is part of the answer.
    pub async fn explain_reserve(
        &self,
        ask: &Explain,
        deadline: Deadline,
    ) -> Result<Explanation, Error> {
        let entry = self.read_entry(&ask.item, deadline).await?;
        let buyer = self.fingerprint(&ask.item, &ask.buyer);
        let home = hash::home_shard(buyer, shards_of(&entry));
        let at_home = self.read_home(&entry, home, buyer, deadline).await;
        let record = match ask.request {
            None => Ok(None),
            Some(request) => {
                let record = RecordKey { request, buyer };
                self.look_up(&entry, home, record, deadline).await
            }
        };
        let (at_home, record) = match (at_home, record) {
            (Ok(at_home), Ok(record)) => (Ok(at_home), record),
            (Err(error), _) | (_, Err(error)) => (Err(error), None),
        };
        let elsewhere = self.read_each(&entry, deadline).await;
        let reservations = self.shown(&entry, home, buyer, record.as_ref(), deadline);
        let reservations = reservations.await;
        let newest = at_home.as_ref().ok().map(|at_home| &at_home.reading);
        let newest = newest.filter(|reading| reading.version > entry.version);
        let evidence = Evidence {
            home,
            settings: newest.map_or(entry.terms.settings, |reading| reading.settings),
            quantity: ask.quantity.get(),
            at_home,
            record,
            elsewhere,
        };
        let (outcome, description) = evidence.judge(&entry);
        Ok(Explanation {
            outcome,
            description,
            stock: evidence.stock(&entry),
            home,
            buyer_units: evidence.at_home.ok().and_then(|home| home.buyer_units),
            reservations,
            entry,
        })
    }

    async fn read_home(
        &self,
        entry: &Entry,
        home: ShardNo,
        buyer: Fingerprint,
        deadline: Deadline,
    ) -> Result<AtHome, Error> {
        let explain = ShardOp::Explain { buyer };
        match self.ask_shard(entry, home, explain, deadline).await? {
            Ok(ShardReply::Explained {
                reading,
                buyer_units,
                full,
            }) => Ok(AtHome {
                reading: *reading,
                buyer_units,
                full,
            }),
            Ok(other) => Err(unexpected(&other)),
            Err(Gone) => Err(Error::ItemNotFound(entry.item.clone())),
        }
    }

    async fn look_up(
        &self,
        entry: &Entry,
        home: ShardNo,
        record: RecordKey,
        deadline: Deadline,
    ) -> Result<Option<Receipt>, Error> {
        let lookup = ShardOp::Lookup { key: record };
        match self.ask_shard(entry, home, lookup, deadline).await? {
            Ok(ShardReply::Done(reservation)) => {
                Ok(Some(self.receipt(entry, home, record, reservation)))
            }
            Ok(ShardReply::NotFound) => Ok(None),
            Ok(other) => Err(unexpected(&other)),
            Err(Gone) => Err(Error::ItemNotFound(entry.item.clone())),
        }
    }

    /// Reads every shard for itself: one that is away hides no other.
    async fn read_each(&self, entry: &Entry, deadline: Deadline) -> Vec<Result<Reading, Error>> {
        let read = async |shard| match self
            .ask_shard(entry, shard, ShardOp::Look, deadline)
            .await?
        {
            Ok(ShardReply::Read(reading)) => Ok(*reading),
            Ok(other) => Err(unexpected(&other)),
            Err(Gone) => Err(Error::ItemNotFound(entry.item.clone())),
        };
        join_all(shard_numbers(entry).map(read)).await
    }

    /// The buyer's reservations, the one that was asked for first. Beside a
    /// shard that does not answer there are none to show.
    async fn shown(
        &self,
        entry: &Entry,
        home: ShardNo,
        buyer: Fingerprint,
        record: Option<&Receipt>,
        deadline: Deadline,
    ) -> Vec<Receipt> {
        let listed = self.reservations_of(entry, buyer, RESERVATIONS_MAX, deadline);
        let mut shown: Vec<_> = record.cloned().into_iter().collect();
        for (key, reservation) in listed.await.unwrap_or_default() {
            let known = record.is_some_and(|record| record.request == key.request);
            if !known && shown.len() < RESERVATIONS_MAX as usize {
                shown.push(self.receipt(entry, home, key, reservation));
            }
        }
        shown
    }
}

impl Evidence {
    /// The rules, in the order in which Reserve heeds them.
    fn judge(&self, entry: &Entry) -> Said {
        let at_home = match &self.at_home {
            Ok(at_home) => at_home,
            Err(error) => {
                let told = format!(
                    "Shard {}, which alone decides about this buyer, cannot be asked: {error}.",
                    self.home
                );
                return (Err(error.clone()), told);
            }
        };
        if let Some(record) = &self.record {
            return self.replay(record);
        }
        self.judge_window(entry, at_home)
            .or_else(|| self.judge_quantity())
            .or_else(|| self.judge_limit(at_home))
            .or_else(|| self.judge_stock(at_home))
            .unwrap_or_else(|| self.grant(at_home))
    }

    fn replay(&self, record: &Receipt) -> Said {
        let known = &record.reservation.record;
        let units = known.quantity;
        if known.is_unarrived() {
            let told = "These ids were cancelled before a Reserve with them arrived: they get \
                        nothing, take a new request_id.";
            return (Ok(Foreseen::AlreadyEnded), told.to_owned());
        }
        if units != self.quantity {
            let told = format!(
                "These ids were used for {units} units, not for {}: they are another request's.",
                self.quantity
            );
            return (Err(Error::RequestIdReused), told);
        }
        let ended = match known.state {
            State::Held => {
                let told = format!("These ids hold {units} units already: they are found again.");
                return (Ok(Foreseen::Granted), told);
            }
            State::Confirmed => {
                let told = format!("These ids have bought {units} units: that is found again.");
                return (Ok(Foreseen::Granted), told);
            }
            State::Cancelled => "was cancelled",
            State::Expired => "has expired",
            State::Lost => "has expired, and its units went to others",
        };
        let told = format!("The reservation of these ids {ended}: take a new request_id.");
        (Ok(Foreseen::AlreadyEnded), told)
    }

    fn judge_window(&self, entry: &Entry, at_home: &AtHome) -> Option<Said> {
        let now = at_home.reading.now;
        Some(match self.settings.sale_at(now) {
            SaleNow::On => return None,
            SaleNow::NotStarted { sale_start } => {
                let wait = seconds(now.ms_until(sale_start));
                let told = format!("The sale has not started: it does in {wait}.");
                (Ok(Foreseen::NotStarted), told)
            }
            SaleNow::Ended if self.settings.sale_end.is_some_and(|end| now >= end) => {
                let told = "The sale is over: its window has ended.";
                (Ok(Foreseen::SaleEnded), told.to_owned())
            }
            SaleNow::Ended => {
                let told = format!("The item is closed{}.", because(&entry.terms.state_reason));
                (Ok(Foreseen::SaleEnded), told)
            }
            SaleNow::Paused => {
                let told = format!("The sale is paused{}.", because(&entry.terms.state_reason));
                (Ok(Foreseen::SalePaused), told)
            }
            SaleNow::Deleting => {
                let told = "The item is being deleted: nothing of it is sold any more.";
                let error = Error::ItemDeleting(entry.item.clone());
                (Err(error), told.to_owned())
            }
        })
    }

    fn judge_quantity(&self) -> Option<Said> {
        let max = self.settings.max_units_per_reservation;
        (self.quantity > max).then(|| {
            let error = Error::Invalid(vec![FieldError::above_the_items_maximum(max)]);
            let told = format!(
                "{} units are more than the item allows in one reservation: {max}.",
                self.quantity
            );
            (Err(error), told)
        })
    }

    fn judge_limit(&self, at_home: &AtHome) -> Option<Said> {
        let max = u64::from(self.settings.max_units_per_buyer);
        let has = at_home.buyer_units.filter(|_| max > 0)?;
        (has + u64::from(self.quantity) > max).then(|| {
            let told = format!(
                "This buyer has {has} of at most {max} units, and would have {} with these.",
                has + u64::from(self.quantity)
            );
            (Ok(Foreseen::OverLimit), told)
        })
    }

    fn judge_stock(&self, at_home: &AtHome) -> Option<Said> {
        let wanted = u64::from(self.quantity);
        if at_home.reading.counters.available < wanted {
            // One shard that cannot be read, and nobody knows.
            let away = self.elsewhere.iter().find_map(|shard| shard.as_ref().err());
            if let Some(error) = away {
                let told = format!(
                    "Shard {} has too few units, and whether others have them cannot be found \
                     out: {error}.",
                    self.home
                );
                return Some((Err(error.clone()), told));
            }
            let sum =
                |of: fn(&Reading) -> u64| self.elsewhere.iter().flatten().map(of).sum::<u64>();
            let available = sum(|reading| reading.counters.available);
            let held = sum(|reading| reading.counters.held);
            if available < wanted {
                let told = format!(
                    "{available} units are available on all shards together, {wanted} are asked \
                     for; {held} are held and may come back."
                );
                return Some((Ok(Foreseen::Short { available }), told));
            }
        }
        at_home.full.then(|| {
            let told = "The store is nearly full and takes no new reservations.";
            (Err(Error::StoreFull), told.to_owned())
        })
    }

    fn grant(&self, at_home: &AtHome) -> Said {
        let (home, quantity) = (self.home, self.quantity);
        let there = at_home.reading.counters.available;
        let told = if there >= u64::from(quantity) {
            format!("Nothing stands in the way: shard {home}, this buyer's, has {there} units.")
        } else {
            format!(
                "Nothing stands in the way: shard {home}, this buyer's, has {there} units, and \
                 others have the rest."
            )
        };
        (Ok(Foreseen::Granted), told)
    }

    fn stock(&self, entry: &Arc<Entry>) -> Option<Stock> {
        let readings: Vec<_> = self.elsewhere.iter().flatten().cloned().collect();
        if readings.len() == self.elsewhere.len() {
            stock_of(entry, &readings, readings.len() < 2).ok()
        } else {
            part_of_stock(entry, &readings)
        }
    }
}

fn because(reason: &str) -> String {
    if reason.is_empty() {
        String::new()
    } else {
        format!(": {reason}")
    }
}
