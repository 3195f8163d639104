//! Reserve and what follows it.

use std::sync::Arc;

use super::rounds::Decision;
use super::types::{NotedReserve, Receipt, Reserve, Reserved, Return, Target};
use super::{Error, Gone, Inventory, shards_of, unexpected};
use crate::allocator::Ask;
use crate::hash;
use crate::ids::{RecordKey, ShardKey, ShardNo};
use crate::machine::{Entry, LateConfirm, Reservation, SaleNow, ShardOp, ShardReply};
use crate::reservation_id::ReservationId;
use crate::store::Deadline;

/// Where a reservation is decided, and by which entry it was found.
struct Place {
    entry: Arc<Entry>,
    shard: ShardNo,
    record: RecordKey,
}

impl Inventory {
    /// Holds units (or sells them at once), all or nothing. The same ids get
    /// the same reservation, however often they are sent.
    ///
    /// # Errors
    /// [`Error::Invalid`] for more units than the item allows at once,
    /// [`Error::RequestIdReused`], [`Error::ItemNotFound`],
    /// [`Error::ItemDeleting`], [`Error::StoreFull`], and what the store says.
    pub async fn reserve(&self, ask: &Reserve, deadline: Deadline) -> Result<Reserved, Error> {
        self.reserve_and_note(ask, deadline)
            .await
            .map(|noted| noted.reserved)
    }

    /// As [`Self::reserve`]; also tells whether a refusal may be remembered.
    ///
    /// # Errors
    /// As [`Self::reserve`].
    pub async fn reserve_and_note(
        &self,
        ask: &Reserve,
        deadline: Deadline,
    ) -> Result<NotedReserve, Error> {
        let mut entry = self.entry(&ask.item, deadline).await?;
        loop {
            let place = self.home(ask, entry);
            let reserve = Ask::Reserve {
                key: place.record,
                quantity: ask.quantity,
                version: place.entry.version,
            };
            match self
                .decide(&place.entry, place.shard, reserve, deadline)
                .await?
            {
                Ok(Decision { reply, steady }) => {
                    let reserved = self.reserved(&place, reply)?;
                    return Ok(NotedReserve { reserved, steady });
                }
                Err(Gone) => entry = self.entry(&ask.item, deadline).await?,
            }
        }
    }

    /// Asks the home shard alone: what it knows of these ids, and whether it has
    /// the units itself. [`Reserved::Short`] then speaks of that shard only; it
    /// is a refusal to whoever knows that the others have too little.
    ///
    /// # Errors
    /// As [`Self::reserve`].
    pub async fn reserve_at_home(
        &self,
        ask: &Reserve,
        deadline: Deadline,
    ) -> Result<Reserved, Error> {
        let mut entry = self.entry(&ask.item, deadline).await?;
        loop {
            let place = self.home(ask, entry);
            let reserve = ShardOp::Reserve {
                key: place.record,
                quantity: ask.quantity,
                version: place.entry.version,
            };
            let asked = self.ask_shard(&place.entry, place.shard, reserve, deadline);
            match asked.await? {
                Ok(reply) => return self.reserved(&place, reply),
                Err(Gone) => entry = self.entry(&ask.item, deadline).await?,
            }
        }
    }

    /// Where a request is decided.
    fn home(&self, ask: &Reserve, entry: Arc<Entry>) -> Place {
        let buyer = self.fingerprint(&ask.item, &ask.buyer);
        Place {
            shard: hash::home_shard(buyer, shards_of(&entry)),
            record: RecordKey {
                request: ask.request,
                buyer,
            },
            entry,
        }
    }

    fn reserved(&self, place: &Place, reply: ShardReply) -> Result<Reserved, Error> {
        Ok(match reply {
            ShardReply::Granted {
                reservation,
                replayed,
            } => Reserved::Granted {
                receipt: self.receipt_at(place, reservation),
                replayed,
            },
            ShardReply::Ended(reservation) => {
                Reserved::AlreadyEnded(self.receipt_at(place, reservation))
            }
            ShardReply::Short {
                available, held, ..
            } => Reserved::Short { available, held },
            ShardReply::OverLimit { units, max } => Reserved::OverLimit { units, max },
            ShardReply::NotSelling(SaleNow::NotStarted { sale_start }) => {
                Reserved::NotStarted { sale_start }
            }
            ShardReply::NotSelling(SaleNow::Ended) => Reserved::SaleEnded,
            ShardReply::NotSelling(SaleNow::Paused) => Reserved::SalePaused,
            ShardReply::TooMany { max } => {
                let broken = super::FieldError::above_the_items_maximum(max);
                return Err(Error::Invalid(vec![broken]));
            }
            other => return Err(self.refusal(place, other)),
        })
    }

    /// Makes the sale final; with `reacquire` takes the units of an expired
    /// hold anew, if stock and limit allow.
    ///
    /// # Errors
    /// [`Error::WrongState`] if the state stands in the way,
    /// [`Error::ReservationNotFound`], and what the store says.
    pub async fn confirm(
        &self,
        target: &Target,
        reacquire: bool,
        deadline: Deadline,
    ) -> Result<Receipt, Error> {
        if !reacquire {
            let late = LateConfirm::Refuse;
            return self
                .after(target, deadline, |key| ShardOp::Confirm {
                    key,
                    late,
                    version: 0,
                })
                .await;
        }
        let mut entry = self.entry_of(target, deadline).await?;
        loop {
            let place = self.place(target, entry);
            let ask = Ask::Reacquire {
                key: place.record,
                version: place.entry.version,
            };
            let decided = self.decide(&place.entry, place.shard, ask, deadline).await;
            let reply = decided.map(|decided| decided.map(|decision| decision.reply));
            match self.outcome(target, &place, reply)? {
                Some(receipt) => return Ok(receipt),
                None => entry = self.entry_of(target, deadline).await?,
            }
        }
    }

    /// Gives held units back. By key it also forbids a request that has not
    /// arrived yet.
    ///
    /// # Errors
    /// As [`Inventory::confirm`]; [`Error::StoreFull`] if an unknown key would
    /// have to be remembered.
    pub async fn cancel(&self, target: &Target, deadline: Deadline) -> Result<Receipt, Error> {
        let forbid_unknown = matches!(target, Target::Key { .. });
        self.after(target, deadline, |key| ShardOp::Cancel {
            key,
            forbid_unknown,
        })
        .await
    }

    /// Makes a hold last at least this long from now; never shortens it.
    ///
    /// # Errors
    /// As [`Inventory::confirm`]; [`Error::HoldTooLong`].
    pub async fn extend(
        &self,
        target: &Target,
        hold_for_ms: u64,
        deadline: Deadline,
    ) -> Result<Receipt, Error> {
        self.after(target, deadline, |key| ShardOp::Extend { key, hold_for_ms })
            .await
    }

    /// Takes sold units back, once per `request`, and lowers the buyer's count;
    /// with `discard` they stay off sale.
    ///
    /// # Errors
    /// As [`Inventory::confirm`]; [`Error::ReturnTooLarge`],
    /// [`Error::RequestIdReused`].
    pub async fn return_units(
        &self,
        target: &Target,
        back: &Return,
        deadline: Deadline,
    ) -> Result<Receipt, Error> {
        let Return {
            request,
            quantity,
            discard,
        } = *back;
        self.after(target, deadline, |key| ShardOp::Return {
            key,
            request,
            quantity,
            discard,
        })
        .await
    }

    /// Reads a reservation, also an ended one until it is purged.
    ///
    /// # Errors
    /// [`Error::ReservationNotFound`], [`Error::ItemNotFound`], and what the
    /// store says.
    pub async fn reservation(&self, target: &Target, deadline: Deadline) -> Result<Receipt, Error> {
        self.after(target, deadline, |key| ShardOp::Lookup { key })
            .await
    }

    /// Asks the shard that a target names, once more if the item's entry
    /// turns out to be of an earlier life.
    async fn after(
        &self,
        target: &Target,
        deadline: Deadline,
        op: impl Fn(RecordKey) -> ShardOp,
    ) -> Result<Receipt, Error> {
        let mut entry = self.entry_of(target, deadline).await?;
        loop {
            let place = self.place(target, entry);
            let asked = self.ask_shard(&place.entry, place.shard, op(place.record), deadline);
            match self.outcome(target, &place, asked.await)? {
                Some(receipt) => return Ok(receipt),
                None => entry = self.entry_of(target, deadline).await?,
            }
        }
    }

    /// What a shard's answer means to whoever asked about a reservation;
    /// `None`: the item has another life by now.
    fn outcome(
        &self,
        target: &Target,
        place: &Place,
        answer: Result<Result<ShardReply, Gone>, Error>,
    ) -> Result<Option<Receipt>, Error> {
        match answer {
            Ok(Ok(ShardReply::Done(reservation))) => Ok(Some(self.receipt_at(place, reservation))),
            Ok(Ok(other)) => Err(self.refusal(place, other)),
            Ok(Err(Gone)) => Ok(None),
            Err(Error::ItemNotFound(_)) if matches!(target, Target::Id(_)) => {
                Err(Error::ReservationNotFound)
            }
            Err(error) => Err(error),
        }
    }

    /// The entry that a target belongs to. An id of an earlier life of the item
    /// is not found; one of a later life than the remembered entry is looked up.
    async fn entry_of(&self, target: &Target, deadline: Deadline) -> Result<Arc<Entry>, Error> {
        let id = match target {
            Target::Key { item, .. } => return self.entry(item, deadline).await,
            Target::Id(id) => id,
        };
        let same = |entry: &Arc<Entry>| entry.generation == id.shard.generation;
        if let Some(entry) = self.views.get(&id.shard.item).filter(same) {
            return Ok(entry);
        }
        match self.read_entry(&id.shard.item, deadline).await {
            Ok(entry) if same(&entry) => Ok(entry),
            Ok(_) | Err(Error::ItemNotFound(_)) => Err(Error::ReservationNotFound),
            Err(error) => Err(error),
        }
    }

    fn place(&self, target: &Target, entry: Arc<Entry>) -> Place {
        match target {
            Target::Id(id) => Place {
                entry,
                shard: id.shard.shard,
                record: id.record,
            },
            Target::Key {
                item,
                buyer,
                request,
            } => {
                let buyer = self.fingerprint(item, buyer);
                let shard = hash::home_shard(buyer, shards_of(&entry));
                Place {
                    entry,
                    shard,
                    record: RecordKey {
                        request: *request,
                        buyer,
                    },
                }
            }
        }
    }

    fn receipt_at(&self, place: &Place, reservation: Reservation) -> Receipt {
        self.receipt(&place.entry, place.shard, place.record, reservation)
    }

    /// A reservation of this shard with its name.
    pub(super) fn receipt(
        &self,
        entry: &Entry,
        shard: ShardNo,
        record: RecordKey,
        reservation: Reservation,
    ) -> Receipt {
        let item = entry.item.clone();
        let shard = ShardKey {
            item: item.clone(),
            generation: entry.generation,
            shard,
        };
        let id = ReservationId { shard, record };
        Receipt {
            id: id.encode(&self.identity.fingerprint_key),
            item,
            request: record.request,
            reservation,
        }
    }

    /// What a shard's no means to whoever asked about a reservation.
    fn refusal(&self, place: &Place, reply: ShardReply) -> Error {
        match reply {
            ShardReply::NotFound => Error::ReservationNotFound,
            ShardReply::WrongState(reservation) => {
                Error::WrongState(Box::new(self.receipt_at(place, reservation)))
            }
            ShardReply::Reused => Error::RequestIdReused,
            ShardReply::NotSelling(SaleNow::Deleting) => {
                Error::ItemDeleting(place.entry.item.clone())
            }
            ShardReply::ReturnTooLarge { left } => Error::ReturnTooLarge { left },
            ShardReply::HoldTooLong { max_hold_for_ms } => Error::HoldTooLong { max_hold_for_ms },
            other => unexpected(&other),
        }
    }
}
