//! The domain of Holdfast: who may have which units.
//!
//! - [`machine`]: the specification, a pure state machine of shards, catalog and
//!   stripes.
//! - [`store`]: what a store is; [`embedded`]: the one for a single machine.
//! - [`inventory`]: what callers ask for, carried out over a store.
//! - [`allocator`]: how stock comes to the shard that decides, as pure steps.
//! - [`placement`]: on which stripes an item's shards lie.
//! - [`ids`], [`hash`], [`reservation_id`], [`time`]: the words of all of these.
//! - [`rules`]: what may be switched off to see that the tests miss it.
//!
//! Knows nothing of the wire: no gRPC type comes in here. What a database
//! library offers stays inside its store's own folder.

pub mod allocator;
pub mod embedded;
pub mod hash;
pub mod ids;
pub mod inventory;
pub mod machine;
pub mod placement;
pub mod redis;
pub mod reservation_id;
pub mod rules;
pub mod store;
pub mod time;
mod waiting;
