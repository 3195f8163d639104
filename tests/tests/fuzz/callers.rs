//! Callers: each makes one call after the other, learns from the replies, and
//! looks at every answer.

use std::fmt::Debug;
use std::time::Duration;

use e2e::{Shop, raw_unary, within};
use prost::Message;
use proto::v1::{
    AuditItemRequest, BatchCancelRequest, BatchConfirmRequest, BatchGetReservationsRequest,
    BatchGetStockRequest, BatchReserveRequest, CloseItemRequest, GetItemRequest, GetStatusRequest,
    PauseItemRequest, ReservationKey, ReserveOutcome, ReserveRequest, ReserveResponse,
    ReserveResult, ReserveStreamRequest, ResumeItemRequest, cancel_result, confirm_result,
    get_reservation_result, reserve_result, stock_result,
};
use rand::RngExt;
use tonic::Request;
use tonic::metadata::{MetadataMap, MetadataValue};

use crate::draw::Draw;
use crate::judge::{How, Tally};

/// Largest message that a server takes.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// A shard that has no records yet takes as much memory as so many.
const SHARD_RECORDS: u64 = 8;

/// Whoever calls.
pub(crate) struct Caller {
    draw: Draw,
    shop: Shop,
    /// It is in other processes.
    is_store_far: bool,
    pub tally: Tally,
    /// Records that the server keeps because of this caller's calls that were
    /// answered, at most.
    pub records: u64,
    /// The last call.
    how: How,
}

/// Calls an rpc by the generated stubs and looks at its answer; the reply, if
/// there is one.
macro_rules! ask {
    ($caller:ident.$client:ident.$rpc:ident($message:expr)) => {{
        let message = $message;
        let request = $caller.dressed(message.clone());
        let result = $caller.shop.$client().$rpc(request).await;
        $caller
            .tally
            .reply(stringify!($rpc), $caller.how, &message, result)
    }};
}

/// Looks at the results of a batch.
macro_rules! results {
    ($caller:ident, $rpc:literal, $asked:expr, $results:expr, $result:ident) => {{
        assert_eq!($asked.len(), $results.len(), "{}: {:?}", $rpc, $asked);
        for (asked, result) in $asked.iter().zip($results) {
            match result.result {
                Some($result::Result::Error(error)) => {
                    $caller.tally.entry($rpc, $caller.how, asked, &error)
                }
                Some(_) => {}
                None => panic!("{}: neither answer nor error: {asked:?}", $rpc),
            }
        }
    }};
}

fn key_of(request: &ReserveRequest) -> ReservationKey {
    ReservationKey {
        item_id: request.item_id.clone(),
        buyer_id: request.buyer_id.clone(),
        request_id: request.request_id.clone(),
    }
}

fn header(metadata: &mut MetadataMap, name: &'static str, value: &str) {
    metadata.insert(name, MetadataValue::try_from(value).expect("a header"));
}

impl Caller {
    pub(crate) fn new(draw: Draw, shop: Shop, is_store_far: bool) -> Self {
        Self {
            draw,
            is_store_far,
            shop,
            tally: Tally::default(),
            records: 0,
            how: How::default(),
        }
    }

    /// Now and then a request has a deadline, or headers that it should not.
    fn dressed<T: Message>(&mut self, message: T) -> Request<T> {
        let mut how = How {
            too_large: message.encoded_len() > MESSAGE_BYTES_MAX,
            // What takes many ways there and back has a deadline of the server's
            // own, and a pipeline one that a busy machine may miss.
            timed: self.is_store_far,
            ..How::default()
        };
        let mut request = Request::new(message);
        if self.draw.percent(4) {
            how.timed = true;
            let micros = self.draw.one_of(&[0, 1, 900, 2_000, 5_000, 20_000]);
            request.set_timeout(Duration::from_micros(micros));
        }
        if self.draw.percent(5) {
            let value = self
                .draw
                .one_of(&["0", "1", "-1", "x", "", "99999999999999999999"]);
            let metadata = request.metadata_mut();
            header(metadata, "grpc-previous-rpc-attempts", value);
            header(metadata, "x-envoy-attempt-count", value);
            header(metadata, "authorization", "Bearer nobody");
            header(metadata, "x-long", &"x".repeat(4_000));
            let bytes = MetadataValue::from_bytes(&self.draw.rng.random::<[u8; 32]>());
            metadata.insert_bin("trace-bin", bytes);
        }
        self.how = how;
        request
    }

    /// Makes one call. One in fifty is not waited for.
    pub(crate) async fn call(&mut self) {
        if !self.draw.percent(2) {
            return self.one_call().await;
        }
        let patience = self.draw.rng.random_range(0..40);
        tokio::select! {
            () = self.one_call() => {}
            () = yields(patience) => {}
        }
    }

    async fn one_call(&mut self) {
        match self.draw.rng.random_range(0..1_000) {
            0..200 => self.reserve().await,
            200..240 => self.batch_reserve().await,
            240..280 => self.reserve_stream().await,
            280..380 => drop(ask!(self.inventory.confirm(self.draw.confirm()))),
            380..480 => self.cancel().await,
            480..530 => drop(ask!(self.inventory.extend(self.draw.extend()))),
            530..600 => self.return_units().await,
            600..640 => drop(ask!(
                self.inventory.get_reservation(self.draw.get_reservation())
            )),
            640..680 => drop(ask!(self.inventory.get_stock(self.draw.get_stock()))),
            680..740 => self.other_batches().await,
            740..760 => self.watch_stock().await,
            760..800 => self.change_stock().await,
            800..880 => self.items().await,
            880..930 => self.states().await,
            930..970 => self.look_after().await,
            _ => self.raw_bytes().await,
        }
    }

    fn learn(&mut self, request: &ReserveRequest, reply: &ReserveResponse) {
        let granted = reply.outcome() == ReserveOutcome::Reserved && !reply.replayed;
        self.records += u64::from(granted);
        if let Some(reservation) = &reply.reservation {
            self.draw.known.reservation(reservation, &key_of(request));
        }
    }

    async fn reserve(&mut self) {
        let request = self.draw.reserve();
        if let Some(reply) = ask!(self.inventory.reserve(request.clone())) {
            self.learn(&request, &reply);
        }
    }

    fn result(&mut self, rpc: &'static str, request: &ReserveRequest, result: ReserveResult) {
        match result.result {
            Some(reserve_result::Result::Response(reply)) => self.learn(request, &reply),
            Some(reserve_result::Result::Error(error)) => {
                self.tally.entry(rpc, self.how, request, &error);
            }
            None => panic!("{rpc}: neither answer nor error: {request:?}"),
        }
    }

    async fn batch_reserve(&mut self) {
        let requests: Vec<_> = (0..self.draw.len()).map(|_| self.draw.reserve()).collect();
        let batch = BatchReserveRequest {
            requests: requests.clone(),
        };
        if let Some(reply) = ask!(self.inventory.batch_reserve(batch)) {
            assert_eq!(requests.len(), reply.results.len(), "{requests:?}");
            for (request, result) in requests.iter().zip(reply.results) {
                self.result("batch_reserve's entry", request, result);
            }
        }
    }

    async fn reserve_stream(&mut self) {
        let mut open = Vec::new();
        for call_id in 0..self.draw.rng.random_range(0..20) {
            let request = self.draw.percent(95).then(|| self.draw.reserve());
            let call_id = u64::MAX - call_id;
            open.push(ReserveStreamRequest { call_id, request });
        }
        let request = self.dressed(());
        let all = open.clone();
        self.how.too_large = all.iter().any(|m| m.encoded_len() > MESSAGE_BYTES_MAX);
        let how = self.how;
        let request = request.map(|()| tokio_stream::iter(all));
        let result = self.shop.inventory().reserve_stream(request).await;
        let Some(mut answers) = self.tally.reply("reserve_stream", how, &open, result) else {
            return;
        };
        loop {
            let next = within("an answer of a stream", answers.message()).await;
            let next = match next {
                Ok(Some(answer)) => answer,
                Ok(None) => break,
                Err(mut status) => {
                    // That of the reply's headers, which were no error.
                    status.metadata_mut().clear();
                    let ended = Err::<tonic::Response<()>, _>(status);
                    self.tally.reply("reserve_stream's end", how, &open, ended);
                    return;
                }
            };
            let at = open.iter().position(|sent| sent.call_id == next.call_id);
            let sent = open.swap_remove(at.unwrap_or_else(|| panic!("not asked: {next:?}")));
            let request = sent.request.unwrap_or_default();
            let result = next.result.expect("an answer");
            self.result("reserve_stream's answer", &request, result);
        }
        assert!(open.is_empty(), "never answered: {open:?}");
    }

    async fn cancel(&mut self) {
        let reply = ask!(self.inventory.cancel(self.draw.cancel()));
        self.records += u64::from(reply.is_some());
    }

    async fn return_units(&mut self) {
        let reply = ask!(self.inventory.return_units(self.draw.return_units()));
        self.records += u64::from(reply.is_some());
    }

    async fn other_batches(&mut self) {
        let len = self.draw.len();
        match self.draw.rng.random_range(0..4) {
            0 => {
                let requests: Vec<_> = (0..len).map(|_| self.draw.confirm()).collect();
                let batch = BatchConfirmRequest {
                    requests: requests.clone(),
                };
                if let Some(reply) = ask!(self.inventory.batch_confirm(batch)) {
                    results!(
                        self,
                        "batch_confirm",
                        requests,
                        reply.results,
                        confirm_result
                    );
                }
            }
            1 => {
                let requests: Vec<_> = (0..len).map(|_| self.draw.cancel()).collect();
                let batch = BatchCancelRequest {
                    requests: requests.clone(),
                };
                if let Some(reply) = ask!(self.inventory.batch_cancel(batch)) {
                    self.records += requests.len() as u64;
                    results!(self, "batch_cancel", requests, reply.results, cancel_result);
                }
            }
            2 => {
                let requests: Vec<_> = (0..len).map(|_| self.draw.get_reservation()).collect();
                let batch = BatchGetReservationsRequest {
                    requests: requests.clone(),
                };
                if let Some(reply) = ask!(self.inventory.batch_get_reservations(batch)) {
                    let results = reply.results;
                    results!(self, "batch_get", requests, results, get_reservation_result);
                }
            }
            _ => {
                let item_ids: Vec<_> = (0..len).map(|_| self.draw.item()).collect();
                let batch = BatchGetStockRequest {
                    item_ids: item_ids.clone(),
                    consistency: self.draw.number(),
                    view: self.draw.number(),
                };
                if let Some(reply) = ask!(self.inventory.batch_get_stock(batch)) {
                    results!(
                        self,
                        "batch_get_stock",
                        item_ids,
                        reply.results,
                        stock_result
                    );
                }
            }
        }
    }

    async fn watch_stock(&mut self) {
        let request = self.draw.watch_stock();
        let Some(mut news) = ask!(self.inventory.watch_stock(request.clone())) else {
            return;
        };
        // One of each is there at once; then the caller leaves.
        let mut items = request.item_ids.clone();
        items.sort_unstable();
        items.dedup();
        for _ in items {
            let Ok(Some(message)) = within("news", news.message()).await else {
                return;
            };
            let result = message.result.expect("news");
            if let Some(stock_result::Result::Error(error)) = result.result {
                self.tally
                    .entry("watch_stock's news", self.how, &request, &error);
            }
        }
    }

    async fn change_stock(&mut self) {
        let done = if self.draw.percent(70) {
            ask!(self.admin.adjust_stock(self.draw.adjust_stock())).is_some()
        } else {
            ask!(self.admin.set_stock(self.draw.set_stock())).is_some()
        };
        self.records += u64::from(done);
    }

    async fn items(&mut self) {
        match self.draw.rng.random_range(0..10) {
            0..4 => {
                let request = self.draw.create_item();
                if let Some(reply) = ask!(self.admin.create_item(request)) {
                    let shards = reply.item.expect("the item").shard_count;
                    self.records += SHARD_RECORDS * u64::from(shards);
                }
            }
            4 | 5 => drop(ask!(self.admin.delete_item(self.draw.delete_item()))),
            6 | 7 => drop(ask!(self.admin.update_item(self.draw.update_item()))),
            8 => {
                let item_id = self.draw.item();
                ask!(self.admin.get_item(GetItemRequest { item_id }));
            }
            _ => {
                if let Some(reply) = ask!(self.admin.list_items(self.draw.list_items())) {
                    self.draw.known.token(&reply.next_page_token);
                }
            }
        }
    }

    async fn states(&mut self) {
        let (item_id, reason) = (self.draw.item(), self.draw.text());
        match self.draw.rng.random_range(0..10) {
            0..3 => drop(ask!(
                self.admin.pause_item(PauseItemRequest { item_id, reason })
            )),
            3..9 => drop(ask!(
                self.admin
                    .resume_item(ResumeItemRequest { item_id, reason })
            )),
            _ => {
                // For good, so it is not done to what is to go on.
                let item_id = self.draw.scratch_item();
                ask!(self.admin.close_item(CloseItemRequest { item_id, reason }));
            }
        }
    }

    async fn look_after(&mut self) {
        match self.draw.rng.random_range(0..8) {
            0 | 1 => {
                let (item_id, level) = (self.draw.item(), self.draw.number());
                ask!(self.admin.audit_item(AuditItemRequest { item_id, level }));
            }
            2 | 3 => drop(ask!(
                self.admin.explain_reserve(self.draw.explain_reserve())
            )),
            4 => {
                let request = self.draw.list_reservations();
                if let Some(reply) = ask!(self.admin.list_reservations(request)) {
                    self.draw.known.token(&reply.next_page_token);
                }
            }
            5 => drop(ask!(self.admin.list_stripes(self.draw.list_stripes()))),
            6 => drop(ask!(self.admin.release_stripe(self.draw.release_stripe()))),
            _ => drop(ask!(self.admin.get_status(GetStatusRequest {}))),
        }
    }

    /// The bytes of a message, with some of them wrong.
    async fn raw_bytes(&mut self) {
        let (method, mut bytes) = match self.draw.rng.random_range(0..6) {
            0 => (
                "InventoryService/Reserve",
                self.draw.reserve().encode_to_vec(),
            ),
            1 => (
                "InventoryService/Confirm",
                self.draw.confirm().encode_to_vec(),
            ),
            2 => (
                "InventoryService/Cancel",
                self.draw.cancel().encode_to_vec(),
            ),
            3 => (
                "AdminService/CreateItem",
                self.draw.create_item().encode_to_vec(),
            ),
            4 => (
                "AdminService/AdjustStock",
                self.draw.adjust_stock().encode_to_vec(),
            ),
            _ => (
                "AdminService/ListItems",
                self.draw.list_items().encode_to_vec(),
            ),
        };
        let rng = &mut self.draw.rng;
        for _ in 0..rng.random_range(1..3) {
            let at = rng.random_range(0..=bytes.len());
            match rng.random_range(0..12) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, rng.random()),
                2 => bytes.extend(rng.random::<[u8; 16]>()),
                _ => {
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte ^= 1 << rng.random_range(0..8);
                    }
                }
            }
        }
        let how = How {
            raw: true,
            too_large: bytes.len() > MESSAGE_BYTES_MAX,
            timed: self.is_store_far,
        };
        let path = format!("/holdfast.inventory.v1.{method}");
        let result = raw_unary(self.shop.wire(), &path, Request::new(bytes.clone())).await;
        if self
            .tally
            .reply("raw bytes", how, &(method, bytes), result)
            .is_some()
        {
            // It may have made an item.
            self.records += SHARD_RECORDS;
        }
    }
}

async fn yields(times: u32) {
    for _ in 0..times {
        tokio::task::yield_now().await;
    }
}

impl Debug for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Caller").finish_non_exhaustive()
    }
}
