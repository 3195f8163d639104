//! Why a server did not run, or did not run to its end.

use std::any::Any;
use std::io;

use shards::{embedded, redis};

/// A server that could not start, or that stopped on its own. `Display` is one
/// sentence for whoever started it.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The embedded store cannot be opened.
    #[error(transparent)]
    Embedded(#[from] embedded::OpenError),
    /// The store in Redis cannot be opened.
    #[error(transparent)]
    Redis(#[from] redis::OpenError),
    /// A listening socket does not work.
    #[error("the {port} port cannot be listened on: {cause}")]
    Listen {
        /// Which.
        port: &'static str,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The system gives no thread or no event queue.
    #[error("the server's threads cannot be started: {0}")]
    Threads(#[source] io::Error),
    /// A defect: part of the server ended although nobody asked it to. The
    /// store was closed in good order.
    #[error("the server stopped since {part} ended: {cause}; this is a defect, please report it")]
    Ended {
        /// Which part.
        part: String,
        /// How.
        cause: String,
    },
}

/// What a panic said.
pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    format!("panic: {}", text.unwrap_or("(no message)"))
}
