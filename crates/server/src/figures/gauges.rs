//! What is read when somebody asks, because it is known elsewhere.

use std::sync::Arc;

use metrics::{Counter, Gauge, Unit};
use shards::inventory::Inventory;

use super::tier1::Memories;
use crate::connection::Load;
use crate::tier1::Tier1;

const BUILD_INFO: &str = "holdfast_build_info";
const CONNECTIONS: &str = "holdfast_connections";
const STRIPES: &str = "holdfast_stripes";
const LOOKS: &str = "holdfast_looks_total";
const TRANSFERS: &str = "holdfast_transfers_total";
const TRANSFERRED_UNITS: &str = "holdfast_transferred_units_total";

/// Tells which version this is.
pub(super) fn tell_build() {
    metrics::describe_gauge!(BUILD_INFO, "Always 1; the version of this server.");
    metrics::gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
}

/// Gauges and where their values come from.
pub(super) struct Gauges {
    inventory: Arc<Inventory>,
    loads: Vec<Load>,
    connections: Gauge,
    serving: Gauge,
    unavailable: Gauge,
    frozen: Gauge,
    looks: Counter,
    transfers: Counter,
    transferred_units: Counter,
    memories: Memories,
}

impl Gauges {
    /// Must be made within the figures that they belong to.
    pub(super) fn new(inventory: Arc<Inventory>, tier1: Arc<Tier1>, loads: Vec<Load>) -> Self {
        metrics::describe_gauge!(CONNECTIONS, Unit::Count, "Open gRPC connections.");
        metrics::describe_gauge!(
            STRIPES,
            Unit::Count,
            "Stripes of the store by what they do: serve, not answer, or wait for an operator."
        );
        metrics::describe_counter!(
            LOOKS,
            Unit::Count,
            "Looks at all shards of an item, each of two readings, that this server took."
        );
        metrics::describe_counter!(
            TRANSFERS,
            Unit::Count,
            "Times that this server moved stock from one shard to another."
        );
        metrics::describe_counter!(
            TRANSFERRED_UNITS,
            Unit::Count,
            "Units that this server moved from one shard to another."
        );
        let stripes = |state: &'static str| metrics::gauge!(STRIPES, "state" => state);
        Self {
            inventory,
            loads,
            connections: metrics::gauge!(CONNECTIONS),
            serving: stripes("serving"),
            unavailable: stripes("unavailable"),
            frozen: stripes("frozen"),
            looks: metrics::counter!(LOOKS),
            transfers: metrics::counter!(TRANSFERS),
            transferred_units: metrics::counter!(TRANSFERRED_UNITS),
            memories: Memories::new(tier1),
        }
    }

    /// Sets them to what is true now.
    pub(super) fn read(&self) {
        let connections: usize = self.loads.iter().map(Load::connections).sum();
        self.connections.set(connections as f64);
        let store = self.inventory.store_status();
        self.serving.set(f64::from(store.serving_stripes));
        self.unavailable.set(f64::from(store.unavailable_stripes));
        self.frozen.set(f64::from(store.frozen_stripes));
        let moved = self.inventory.figures();
        self.looks.absolute(moved.looks);
        self.transfers.absolute(moved.transfers);
        self.transferred_units.absolute(moved.transferred_units);
        self.memories.read();
    }

    /// See [`Memories::write_hot_items`].
    pub(super) fn write_hot_items(&self, text: &mut String) {
        self.memories.write_hot_items(text);
    }
}

impl std::fmt::Debug for Gauges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gauges").finish_non_exhaustive()
    }
}
