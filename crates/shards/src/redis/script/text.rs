//! The script's text: the files of `lua/`, one after the other.

/// As it is sent; a run calls it by its SHA-1.
pub(in crate::redis) const SCRIPT: &str = concat!(
    include_str!("../../../lua/begin.lua"),
    include_str!("../../../lua/shard.lua"),
    include_str!("../../../lua/lapse.lua"),
    include_str!("../../../lua/store.lua"),
    include_str!("../../../lua/after.lua"),
    include_str!("../../../lua/stock.lua"),
    include_str!("../../../lua/pages.lua"),
    include_str!("../../../lua/catalog.lua"),
    include_str!("../../../lua/fold.lua"),
);
