//! The harness of the tests over gRPC: starts real servers as processes, waits
//! until they are ready, talks to them, and ends them.
//!
//! ```text
//! #[tokio::test]
//! async fn a_sale() {
//!     let server = Server::start(e2e::holdfast!()).await;
//!     let (shop, mut ids) = (server.shop(), Ids::seeded());
//!     shop.create(item("sneaker"), 10).await;
//!     let reply = ok(shop.reserve(&ids.key("sneaker"), 1).await);
//!     assert_eq!(reply.outcome(), ReserveOutcome::Reserved);
//! }
//! ```
//!
//! What holds on every kind of [`Store`] is one function that takes the store,
//! and [`on_every_store!`] makes its tests.
//!
//! Rules that every test here keeps:
//! - Its own servers, on free ports of the loopback, in its own temporary
//!   directory; ended by the process ids that it started, and by nothing else.
//! - What is random comes from one seed ([`Ids`]), which a failure prints and
//!   `HOLDFAST_TEST_SEED` gives back.
//! - It waits for a condition, with a deadline and the last thing seen
//!   ([`poll_until`]); never for time to pass, and never asserts how long
//!   something took.
//! - A tool that is not there fails the test with the line that installs it
//!   ([`tools`]); nothing is skipped.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a harness that cannot go on fails the test"
)]

mod binary;
mod failure;
mod frames;
mod http1;
mod http2;
mod ids;
mod raw;
pub mod redis;
mod server;
mod shop;
mod store;
pub mod tools;
mod wait;
mod wire;

pub use binary::{Binary, Ended, run};
pub use failure::{Failure, failure, ok};
pub use frames::{End, Frames, Sent};
pub use http1::{Page, http};
pub use http2::Http2;
pub use ids::{Ids, seed};
pub use raw::raw_unary;
pub use server::{DATA_DIR, Killer, Memory, Server, Setup};
pub use shop::{Instant, Shop, instant, item, millis};
pub use store::Store;
pub use wait::{PATIENCE, poll_until, within};
pub use wire::Wire;

/// The binary under test. A macro, because only where a test is compiled does
/// cargo say where it lies.
#[macro_export]
macro_rules! holdfast {
    () => {
        $crate::Binary::at(env!("CARGO_BIN_EXE_holdfast-under-test"))
    };
}
