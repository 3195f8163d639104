//! The domain of Holdfast: who may have which units.
//!
//! - [`machine`]: the specification, a pure state machine of shards, catalog and
//!   stripes.
//! - [`store`]: what a store is; [`embedded`]: the one for a single machine.
//! - [`inventory`]: what callers ask for, carried out over a store.
//! - [`ids`], [`hash`], [`reservation_id`], [`time`]: the words of all of these.
//!
//! Knows nothing of the wire: no gRPC type comes in here. What a database
//! library offers stays inside its store's own folder.

pub mod embedded;
pub mod hash;
pub mod ids;
pub mod inventory;
pub mod machine;
pub mod reservation_id;
pub mod store;
pub mod time;
