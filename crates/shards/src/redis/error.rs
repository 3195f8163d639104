//! Why a store in Redis cannot be opened, in a sentence that says what to do.

/// Nothing was changed, but of a new store perhaps some guards made.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No node answered in time.
    #[error("cannot reach the store at {address}: {cause} (--store names it)")]
    Unreachable {
        /// Where it should be.
        address: String,
        /// What the last attempt said.
        cause: String,
    },
    /// It is reached, but not what it should be.
    #[error("the store cannot be used: {0}")]
    Unusable(String),
    /// Its settings lose acknowledged work.
    #[error("the store would lose what it acknowledges: {}; or go on all the same with --accept-unsafe-store", .0.join("; "))]
    Unsafe(Vec<String>),
    /// Holdfast never used it.
    #[error(
        "there is no Holdfast store at {address}: make one with --init-store, once, if that is meant"
    )]
    NoStore {
        /// Where.
        address: String,
    },
    /// Somebody makes it at this moment, or did not get far.
    #[error(
        "the store at {address} is not completely made: wait a moment, or start one server with --init-store to go on"
    )]
    HalfMade {
        /// Where.
        address: String,
    },
    /// Its thread cannot be started.
    #[error("cannot start the store's thread: {0}")]
    Thread(std::io::Error),
}
