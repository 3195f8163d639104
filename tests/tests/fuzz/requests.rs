//! Whole requests.

use prost_types::FieldMask;
use proto::v1::{
    AdjustStockRequest, CancelRequest, ConfirmRequest, CreateItemRequest, DeleteItemRequest,
    ExplainReserveRequest, ExtendRequest, GetReservationRequest, GetStockRequest, Item,
    ListItemsRequest, ListReservationsRequest, ListStripesRequest, ReleaseStripeRequest,
    ReserveRequest, ReturnUnitsRequest, SetStockRequest, UpdateItemRequest, WatchStockRequest,
};

use crate::draw::Draw;

impl Draw {
    pub(crate) fn reserve(&mut self) -> ReserveRequest {
        if self.percent(10) {
            // Again what was asked before, perhaps in other words.
            let key = self.key();
            return ReserveRequest {
                item_id: key.item_id,
                buyer_id: key.buyer_id,
                request_id: key.request_id,
                quantity: self.quantity(),
                first_attempt: self.percent(5),
            };
        }
        ReserveRequest {
            item_id: self.item(),
            buyer_id: self.buyer(),
            request_id: self.id(),
            quantity: self.quantity(),
            first_attempt: self.flag(),
        }
    }

    pub(crate) fn confirm(&mut self) -> ConfirmRequest {
        ConfirmRequest {
            target: self.target().map(Into::into),
            reacquire: self.flag(),
        }
    }

    pub(crate) fn cancel(&mut self) -> CancelRequest {
        CancelRequest {
            target: self.target().map(Into::into),
        }
    }

    pub(crate) fn extend(&mut self) -> ExtendRequest {
        ExtendRequest {
            target: self.target().map(Into::into),
            hold_for: self.duration(),
        }
    }

    pub(crate) fn get_reservation(&mut self) -> GetReservationRequest {
        GetReservationRequest {
            target: self.target().map(Into::into),
        }
    }

    pub(crate) fn return_units(&mut self) -> ReturnUnitsRequest {
        ReturnUnitsRequest {
            target: self.target().map(Into::into),
            request_id: self.id(),
            quantity: self.quantity(),
            discard: self.flag(),
        }
    }

    pub(crate) fn get_stock(&mut self) -> GetStockRequest {
        GetStockRequest {
            item_id: self.item(),
            consistency: self.number(),
            view: self.number(),
        }
    }

    pub(crate) fn watch_stock(&mut self) -> WatchStockRequest {
        let len = self.len();
        WatchStockRequest {
            item_ids: (0..len).map(|_| self.item()).collect(),
            min_interval: self.duration(),
            max_interval: self.duration(),
            view: self.number(),
        }
    }

    pub(crate) fn adjust_stock(&mut self) -> AdjustStockRequest {
        AdjustStockRequest {
            item_id: self.item(),
            delta: self.units(),
            request_id: self.id(),
            allow_partial: self.flag(),
            reason: self.text(),
        }
    }

    pub(crate) fn set_stock(&mut self) -> SetStockRequest {
        let total = self.total();
        SetStockRequest {
            item_id: self.item(),
            total: self.percent(95).then_some(total),
            expected_total: self.percent(95).then(|| self.total()),
            request_id: self.id(),
            reason: self.text(),
        }
    }

    fn settings(&mut self, item_id: String) -> Item {
        Item {
            item_id,
            state: self.number(),
            version: self.units(),
            display_name: self.text(),
            shard_count: self.one_of(&[0, 0, 1, 1, 2, 3, 8, 64, 65, u32::MAX]),
            hold_ttl: self.duration(),
            max_hold: self.duration(),
            sell_at_once: self.percent(20),
            max_units_per_buyer: self.one_of(&[0, 0, 1, 2, 100, u32::MAX]),
            max_units_per_reservation: self.one_of(&[0, 0, 1, 10, 1_000_000, 1_000_001, u32::MAX]),
            sale_start_time: self.timestamp(),
            sale_end_time: self.timestamp(),
            retention: self.duration(),
            create_time: self.timestamp(),
            update_time: self.timestamp(),
            state_reason: self.text(),
        }
    }

    pub(crate) fn create_item(&mut self) -> CreateItemRequest {
        let id = if self.percent(85) {
            self.scratch_item()
        } else {
            self.item()
        };
        // Nearly all settings drawn at once would hardly ever be right.
        let drawn = self.settings(id.clone());
        let item = if self.percent(50) {
            drawn
        } else {
            Item {
                item_id: id,
                shard_count: drawn.shard_count.min(8),
                sell_at_once: drawn.sell_at_once,
                max_units_per_buyer: drawn.max_units_per_buyer,
                ..Item::default()
            }
        };
        CreateItemRequest {
            item: self.percent(97).then_some(item),
            initial_stock: self.percent(95).then(|| self.units()),
            request_id: self.id(),
        }
    }

    pub(crate) fn update_item(&mut self) -> UpdateItemRequest {
        const PATHS: [&str; 16] = [
            "display_name",
            "display_name",
            "max_units_per_buyer",
            "max_units_per_buyer",
            "max_units_per_reservation",
            "hold_ttl",
            "max_hold",
            "retention",
            "sale_start_time",
            "sale_end_time",
            "shard_count",
            "sell_at_once",
            "stock",
            "item_id",
            "*",
            "hold_ttl.seconds",
        ];
        let id = self.item();
        let mut item = self.settings(id);
        // Mostly such that it goes on selling.
        if self.percent(80) {
            item.display_name = "plain".into();
            (item.sale_start_time, item.sale_end_time) = (None, None);
            item.max_units_per_reservation = 0;
        }
        let paths = (0..self.rng_len(4)).map(|_| {
            if self.percent(95) {
                self.one_of(&PATHS).to_owned()
            } else {
                self.text()
            }
        });
        let paths = paths.collect();
        UpdateItemRequest {
            item: self.percent(97).then_some(item),
            update_mask: self.percent(97).then_some(FieldMask { paths }),
            expected_version: self.version(),
            reason: self.text(),
        }
    }

    fn rng_len(&mut self, max: u32) -> u32 {
        let all: Vec<_> = (0..=max).collect();
        self.one_of(&all)
    }

    fn version(&mut self) -> i64 {
        if self.percent(70) {
            self.one_of(&[0, 0, 0, 1, 2, 3])
        } else {
            self.units()
        }
    }

    pub(crate) fn delete_item(&mut self) -> DeleteItemRequest {
        let text = self.text();
        // What is to stay is not deleted; its name is not drawn by chance.
        let item_id = if self.percent(90) {
            self.scratch_item()
        } else {
            text
        };
        DeleteItemRequest {
            item_id,
            force: self.flag(),
            expected_version: self.version(),
        }
    }

    pub(crate) fn list_items(&mut self) -> ListItemsRequest {
        ListItemsRequest {
            page_size: self.page_size(),
            page_token: self.token(),
            item_id_prefix: if self.percent(70) {
                self.one_of(&["", "", "scratch-", "real"]).to_owned()
            } else {
                self.text()
            },
            states: (0..self.rng_len(3)).map(|_| self.number()).collect(),
        }
    }

    pub(crate) fn list_reservations(&mut self) -> ListReservationsRequest {
        ListReservationsRequest {
            item_id: self.item(),
            states: (0..self.rng_len(3)).map(|_| self.number()).collect(),
            buyer_id: if self.percent(50) {
                String::new()
            } else {
                self.buyer()
            },
            page_size: self.page_size(),
            page_token: self.token(),
        }
    }

    pub(crate) fn explain_reserve(&mut self) -> ExplainReserveRequest {
        ExplainReserveRequest {
            item_id: self.item(),
            buyer_id: self.buyer(),
            quantity: self.quantity(),
            request_id: if self.percent(50) {
                String::new()
            } else {
                self.id()
            },
        }
    }

    pub(crate) fn list_stripes(&mut self) -> ListStripesRequest {
        ListStripesRequest {
            states: (0..self.rng_len(3)).map(|_| self.number()).collect(),
            item_id: if self.percent(60) {
                String::new()
            } else {
                self.item()
            },
        }
    }

    pub(crate) fn release_stripe(&mut self) -> ReleaseStripeRequest {
        ReleaseStripeRequest {
            stripe: self
                .percent(90)
                .then(|| self.one_of(&[0, 1, 63, 64, u32::MAX])),
            freeze_id: self
                .one_of(&["", "0", "0000000000000001", "ffffffffffffffff", "é"])
                .into(),
            accept_loss: self.percent(70),
            reason: self.text(),
        }
    }
}
