//! Whoever calls a server: the generated stubs, and the calls that tests make
//! all the time in a shorter form.

use std::collections::BTreeMap;

use client::Target;
use prost_types::{Duration, Timestamp};
use proto::v1::admin_service_client::AdminServiceClient;
use proto::v1::inventory_service_client::InventoryServiceClient;
use proto::v1::{
    AdjustStockRequest, AdjustStockResponse, AuditItemRequest, AuditItemResponse, AuditLevel,
    AuditVerdict, CancelRequest, CancelResponse, ConfirmRequest, ConfirmResponse,
    CreateItemRequest, DeleteItemRequest, DeleteItemResponse, ExtendRequest, ExtendResponse,
    GetReservationRequest, GetReservationResponse, GetStockRequest, Item, ReservationKey,
    ReserveRequest, ReserveResponse, Stock, StockConsistency,
};
use tonic::{Response, Status};
use tonic_health::pb::health_client::HealthClient;

use crate::failure::ok;
use crate::wait::poll_until;
use crate::wire::Wire;

/// What a call gives.
type Reply<T> = Result<Response<T>, Status>;

/// The request id of every item that [`Shop::create`] creates.
const CREATE_REQUEST: &str = "5a1e0000-0000-4000-8000-000000000001";

/// A caller of one server. Clones share the connection.
#[derive(Clone, Debug)]
pub struct Shop {
    wire: Wire,
    /// Shards of the items that it creates, where they do not say.
    shards: u32,
}

/// An item of this id, with the service's own settings.
pub fn item(id: &str) -> Item {
    Item {
        item_id: id.into(),
        ..Item::default()
    }
}

/// A length of time in milliseconds.
pub fn millis(ms: u32) -> Duration {
    Duration {
        seconds: i64::from(ms / 1000),
        nanos: i32::try_from(ms % 1000).expect("below 1000") * 1_000_000,
    }
}

/// A point in time by the store's clock, to be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(i64, i32);

/// A timestamp that must be set, to be compared.
#[track_caller]
pub fn instant(timestamp: Option<&Timestamp>) -> Instant {
    let timestamp = timestamp.expect("a timestamp");
    Instant(timestamp.seconds, timestamp.nanos)
}

impl Shop {
    pub(crate) fn at(address: &str) -> Self {
        Self {
            wire: Wire::to(address),
            shards: 0,
        }
    }

    /// The same, whose items lie on this many shards.
    #[must_use]
    pub fn over_shards(self, shards: u32) -> Self {
        Self { shards, ..self }
    }

    /// The connection itself.
    pub fn wire(&self) -> Wire {
        self.wire.clone()
    }

    /// All calls of the data plane.
    pub fn inventory(&self) -> InventoryServiceClient<Wire> {
        InventoryServiceClient::new(self.wire())
    }

    /// All calls of the control plane.
    pub fn admin(&self) -> AdminServiceClient<Wire> {
        AdminServiceClient::new(self.wire())
    }

    /// The health service.
    pub fn health(&self) -> HealthClient<Wire> {
        HealthClient::new(self.wire())
    }

    /// Creates an item; it must succeed.
    pub async fn create(&self, mut item: Item, stock: i64) -> Item {
        if item.shard_count == 0 {
            item.shard_count = self.shards;
        }
        let request = CreateItemRequest {
            item: Some(item),
            initial_stock: Some(stock),
            request_id: CREATE_REQUEST.into(),
        };
        ok(self.admin().create_item(request).await)
            .item
            .expect("the item")
    }

    /// Reserve, by these ids.
    pub async fn reserve(&self, key: &ReservationKey, quantity: u32) -> Reply<ReserveResponse> {
        self.inventory().reserve(Self::request(key, quantity)).await
    }

    /// The message of [`Shop::reserve`].
    pub fn request(key: &ReservationKey, quantity: u32) -> ReserveRequest {
        ReserveRequest {
            item_id: key.item_id.clone(),
            buyer_id: key.buyer_id.clone(),
            request_id: key.request_id.clone(),
            quantity,
            first_attempt: false,
        }
    }

    /// Confirm.
    pub async fn confirm(&self, target: Target) -> Reply<ConfirmResponse> {
        let request = ConfirmRequest {
            target: Some(target.into()),
            reacquire: false,
        };
        self.inventory().confirm(request).await
    }

    /// Confirm with `reacquire`.
    pub async fn reacquire(&self, target: Target) -> Reply<ConfirmResponse> {
        let request = ConfirmRequest {
            target: Some(target.into()),
            reacquire: true,
        };
        self.inventory().confirm(request).await
    }

    /// Cancel.
    pub async fn cancel(&self, target: Target) -> Reply<CancelResponse> {
        let target = Some(target.into());
        self.inventory().cancel(CancelRequest { target }).await
    }

    /// Extend.
    pub async fn extend(&self, target: Target, hold_for: Duration) -> Reply<ExtendResponse> {
        let request = ExtendRequest {
            target: Some(target.into()),
            hold_for: Some(hold_for),
        };
        self.inventory().extend(request).await
    }

    /// `GetReservation`.
    pub async fn reservation(&self, target: Target) -> Reply<GetReservationResponse> {
        let target = Some(target.into());
        self.inventory()
            .get_reservation(GetReservationRequest { target })
            .await
    }

    /// `AdjustStock`.
    pub async fn adjust(&self, item: &str, delta: i64, id: &str) -> Reply<AdjustStockResponse> {
        let request = AdjustStockRequest {
            item_id: item.into(),
            delta,
            request_id: id.into(),
            ..AdjustStockRequest::default()
        };
        self.admin().adjust_stock(request).await
    }

    /// `DeleteItem`.
    pub async fn delete(&self, item: &str, force: bool) -> Reply<DeleteItemResponse> {
        let request = DeleteItemRequest {
            item_id: item.into(),
            force,
            expected_version: 0,
        };
        self.admin().delete_item(request).await
    }

    /// The stock, read from the store; it must succeed.
    pub async fn stock(&self, item: &str) -> Stock {
        let request = GetStockRequest {
            item_id: item.into(),
            consistency: StockConsistency::Strong.into(),
            ..GetStockRequest::default()
        };
        ok(self.inventory().get_stock(request).await)
            .stock
            .expect("the stock")
    }

    /// Available, held and sold units, read from the store.
    pub async fn units(&self, item: &str) -> [i64; 3] {
        let stock = self.stock(item).await;
        let units = [stock.available, stock.held, stock.sold].map(|n| n.expect("a number"));
        assert_eq!(stock.total, Some(units.iter().sum()), "{stock:?}");
        units
    }

    /// An audit down to the records; the call must succeed.
    pub async fn audit(&self, item: &str) -> AuditItemResponse {
        let request = AuditItemRequest {
            item_id: item.into(),
            level: AuditLevel::Records.into(),
        };
        ok(self.admin().audit_item(request).await)
    }

    /// An audit down to the records that must find nothing wrong.
    pub async fn assert_sound(&self, item: &str) {
        let audit = self.audit(item).await;
        assert_eq!(audit.verdict(), AuditVerdict::Sound, "{audit:#?}");
        assert_eq!(audit.oversold_units, Some(0), "{audit:#?}");
    }

    /// The same, once all shards can be read and stand still.
    pub async fn assert_sound_soon(&self, item: &str) {
        let decided = poll_until("an audit that is decided", async || {
            let audit = self.audit(item).await;
            match audit.verdict() {
                AuditVerdict::Undecided => Err(format!("{audit:?}")),
                verdict => Ok((verdict, audit)),
            }
        });
        let (verdict, audit) = decided.await;
        assert_eq!(verdict, AuditVerdict::Sound, "{audit:#?}");
    }

    /// What health says of each of these services; `None` for an unknown one.
    pub async fn health_of<'a>(&self, services: &[&'a str]) -> BTreeMap<&'a str, Option<String>> {
        let mut all = BTreeMap::new();
        for service in services {
            let request = tonic_health::pb::HealthCheckRequest {
                service: (*service).into(),
            };
            let said = match self.health().check(request).await {
                Ok(reply) => Some(reply.into_inner().status().as_str_name().to_owned()),
                Err(status) if status.code() == tonic::Code::NotFound => None,
                Err(status) => panic!("{service}: {status}"),
            };
            all.insert(*service, said);
        }
        all
    }
}
