//! The sale: every buyer a task of its own, over a few connections, as a
//! checkout service would have them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use client::{Client, Error, Ids, Target, new_request_id};
use proto::v1::{
    AuditItemRequest, AuditItemResponse, AuditLevel, CancelRequest, ConfirmRequest,
    CreateItemRequest, DeleteItemRequest, GetReservationRequest, GetStockRequest, Item,
    Reservation, ReservationKey, ReservationState, ReserveOutcome, ReserveResponse,
    StockConsistency,
};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::log::{Log, Told};
use super::plan::{Buyer, HOLD_TTL, LIMIT, Then};

/// How soon a buyer who was told that held units may come back asks again.
const COME_BACK: Duration = Duration::from_millis(700);
/// Reads at a time after the sale.
const READS: usize = 64;

/// A sale and what its callers know.
pub(super) struct Sale {
    /// Its name is new: on a store that was there before, so may be sales.
    item: String,
    clients: Vec<Client>,
    log: Mutex<Log>,
    done: AtomicU64,
}

impl Sale {
    pub(super) fn new(clients: Vec<Client>, log: Log) -> Self {
        Self {
            item: format!("demo-sneaker-{:08x}", rand::random::<u32>()),
            clients,
            log: Mutex::new(log),
            done: AtomicU64::new(0),
        }
    }

    /// The id of what is sold.
    pub(super) fn item(&self) -> &str {
        &self.item
    }

    /// What callers were told so far.
    pub(super) fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Buyers who have left.
    pub(super) fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Puts the units on sale.
    pub(super) async fn open(&self, units: u64, shards: u32) -> Result<(), Error> {
        let item = Item {
            item_id: self.item.clone(),
            display_name: "Demo sneaker".to_owned(),
            hold_ttl: prost_types::Duration::try_from(HOLD_TTL).ok(),
            shard_count: shards,
            max_units_per_buyer: LIMIT,
            ..Item::default()
        };
        let request = CreateItemRequest {
            item: Some(item),
            initial_stock: i64::try_from(units).ok(),
            request_id: new_request_id(),
        };
        self.client(0).create_item(request).await.map(drop)
    }

    /// Takes the item away again, with all its records.
    pub(super) async fn clear_away(&self) -> Result<(), Error> {
        let request = DeleteItemRequest {
            item_id: self.item.clone(),
            ..DeleteItemRequest::default()
        };
        self.client(0).delete_item(request).await.map(drop)
    }

    /// Sends the buyers; each ends by itself.
    pub(super) fn start(self: &Arc<Self>, buyers: Vec<Buyer>) -> JoinSet<()> {
        let opening = Instant::now();
        let mut tasks = JoinSet::new();
        for (n, buyer) in buyers.into_iter().enumerate() {
            let sale = Arc::clone(self);
            tasks.spawn(async move {
                tokio::time::sleep_until(opening + buyer.arrives).await;
                if let Err(error) = sale.attend(n, &buyer).await {
                    sale.log().undecided.push(error.to_string());
                }
                sale.done.fetch_add(1, Ordering::Relaxed);
            });
        }
        tasks
    }

    /// One buyer's visit.
    async fn attend(&self, n: usize, buyer: &Buyer) -> Result<(), Error> {
        let mut quantity = buyer.quantity;
        let mut then = buyer.then;
        loop {
            let reply = self.press_button(n, buyer, quantity).await?;
            if let Some(reservation) = &reply.reservation {
                return self.decide(n, buyer, reservation, then).await;
            }
            match reply.outcome() {
                ReserveOutcome::NotEnough if quantity > 1 => {
                    quantity = 1;
                    continue;
                }
                ReserveOutcome::SoldOut | ReserveOutcome::NotEnough if reply.held_units() > 0 => {}
                _ => {
                    self.log().unserved += 1;
                    return Ok(());
                }
            }
            // Who waited for their units keeps them.
            then = Then::Pay;
            pause(COME_BACK + buyer.thinks / 2).await;
        }
    }

    /// A Reserve, or two equal ones at the same time: over the next connection,
    /// which is another server's if there are several.
    async fn press_button(
        &self,
        n: usize,
        buyer: &Buyer,
        quantity: u32,
    ) -> Result<ReserveResponse, Error> {
        let key = ReservationKey {
            item_id: self.item.clone(),
            buyer_id: buyer.id.clone(),
            request_id: new_request_id(),
        };
        let (client, next) = (self.client(n), self.client(n + 1));
        if !buyer.presses_twice {
            return self.reserve(client, &key, quantity, Ids::NeverSent).await;
        }
        // Equal requests under way together: none of them is surely the first.
        let (one, other) = tokio::join!(
            self.reserve(client, &key, quantity, Ids::MaybeSent),
            self.reserve(next, &key, quantity, Ids::MaybeSent),
        );
        let (one, other) = (one?, other?);
        Ok(if one.reservation.is_some() {
            one
        } else {
            other
        })
    }

    async fn reserve(
        &self,
        client: &Client,
        key: &ReservationKey,
        quantity: u32,
        ids: Ids,
    ) -> Result<ReserveResponse, Error> {
        let asked = Instant::now();
        let reply = client.reserve(key, quantity, ids).await?;
        let mut log = self.log();
        log.took(asked.elapsed());
        match (reply.outcome(), &reply.reservation) {
            (ReserveOutcome::Reserved, Some(got)) => {
                let request = (key.buyer_id.as_str(), key.request_id.as_str());
                log.granted(request, &got.reservation_id, got.quantity, reply.replayed);
            }
            (outcome, _) => log.refused(outcome),
        }
        drop(log);
        Ok(reply)
    }

    /// What the buyer does with the units.
    async fn decide(
        &self,
        n: usize,
        buyer: &Buyer,
        reservation: &Reservation,
        then: Then,
    ) -> Result<(), Error> {
        let client = self.client(n);
        let id = reservation.reservation_id.as_str();
        if then == Then::Abandon {
            return Ok(());
        }
        pause(buyer.thinks).await;
        let told = if then == Then::Cancel {
            let target = Some(Target::Id(id.to_owned()).into());
            client
                .cancel(CancelRequest { target })
                .await
                .map(|_| Told::Cancelled)
        } else {
            confirm(client, id).await.map(|()| Told::Confirmed)
        };
        match told {
            Ok(told) => self.log().told(id, told),
            Err(error) if error.reason() == Some(client::reason::RESERVATION_EXPIRED) => {
                self.log().told(id, Told::Expired);
            }
            Err(error) => return Err(error),
        }
        if then == Then::PayAndWantMore {
            // Whatever they have, this is more than they may have.
            let reply = self.press_button(n, buyer, LIMIT).await?;
            if let Some(more) = reply.reservation {
                confirm(client, &more.reservation_id).await?;
                self.log().told(&more.reservation_id, Told::Confirmed);
            }
        }
        Ok(())
    }

    /// Units that are still held: abandoned ones, until they expire.
    pub(super) async fn held(&self) -> Result<i64, Error> {
        let request = GetStockRequest {
            item_id: self.item.clone(),
            consistency: StockConsistency::Strong.into(),
            ..GetStockRequest::default()
        };
        let reply = self.client(0).get_stock(request).await?;
        Ok(reply.stock.map_or(0, |stock| stock.held()))
    }

    /// Audits every record.
    pub(super) async fn audit(&self) -> Result<AuditItemResponse, Error> {
        let request = AuditItemRequest {
            item_id: self.item.clone(),
            level: AuditLevel::Records.into(),
        };
        self.client(0).audit_item(request).await
    }

    /// The state of every reservation that callers were told of.
    pub(super) async fn states(
        self: &Arc<Self>,
    ) -> Result<BTreeMap<String, Option<ReservationState>>, Error> {
        let ids: Vec<_> = self.log().reservations.keys().cloned().collect();
        let mut states = BTreeMap::new();
        for chunk in ids.chunks(READS) {
            let mut reads = JoinSet::new();
            for (n, id) in chunk.iter().cloned().enumerate() {
                let sale = Arc::clone(self);
                reads.spawn(async move { sale.state(n, id).await });
            }
            for read in reads.join_all().await {
                let (id, state) = read?;
                states.insert(id, state);
            }
        }
        Ok(states)
    }

    async fn state(
        &self,
        n: usize,
        id: String,
    ) -> Result<(String, Option<ReservationState>), Error> {
        let target = Some(Target::Id(id.clone()).into());
        match self
            .client(n)
            .get_reservation(GetReservationRequest { target })
            .await
        {
            Ok(reply) => Ok((id, reply.reservation.map(|it| it.state()))),
            Err(error) if error.kind() == client::ErrorKind::Refused => Ok((id, None)),
            Err(error) => Err(error),
        }
    }

    fn client(&self, n: usize) -> &Client {
        &self.clients[n % self.clients.len()]
    }
}

/// A buyer thinks.
#[expect(
    clippy::disallowed_methods,
    reason = "buyers take their time; nothing waits for this"
)]
pub(super) async fn pause(time: Duration) {
    tokio::time::sleep(time).await;
}

async fn confirm(client: &Client, id: &str) -> Result<(), Error> {
    let request = ConfirmRequest {
        target: Some(Target::Id(id.to_owned()).into()),
        reacquire: false,
    };
    client.confirm(request).await.map(drop)
}
