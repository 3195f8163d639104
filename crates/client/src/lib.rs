//! The Rust client of Holdfast: the calls of the contract with a deadline, and
//! retries that send the same ids again, so that nothing is done twice.
//!
//! # A sale in a few lines
//!
//! ```no_run
//! use client::{Client, Ids, Options, Target, new_request_id};
//! use proto::v1::{ConfirmRequest, ReservationKey, ReserveOutcome};
//!
//! # async fn buy() -> Result<(), client::Error> {
//! let holdfast = Client::lazy("http://127.0.0.1:50051", Options::default())?;
//! let key = ReservationKey {
//!     item_id: "sneaker".into(),
//!     buyer_id: "ada".into(),
//!     request_id: new_request_id(),
//! };
//! let reply = holdfast.reserve(&key, 1, Ids::NeverSent).await?;
//! if reply.outcome() == ReserveOutcome::Reserved {
//!     // ... the buyer pays ...
//!     holdfast
//!         .confirm(ConfirmRequest { target: Some(Target::Key(key).into()), reacquire: true })
//!         .await?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What a call does
//!
//! Every call has one deadline for all that it does ([`Policy::deadline`]). It
//! makes attempts until one is answered for good, the deadline or the number of
//! attempts is used up, or the server says that trying again is no use. An
//! attempt carries its own, shorter deadline to the server (`grpc-timeout`),
//! which also runs here, because a server that hangs keeps no deadlines.
//!
//! Between attempts the client waits: a random time between half and all of a
//! span that doubles from [`Policy::backoff_first`] to [`Policy::backoff_max`],
//! or as long as the server asked for (`grpc-retry-pushback-ms`, `RetryInfo`)
//! if that is longer.
//!
//! All attempts of a call send the same ids. That makes each call of the
//! contract safe to repeat, also after an attempt whose outcome nobody knows.
//! There is one difference between attempts: `first_attempt` of a Reserve, by
//! which a server may refuse from memory, is set at most on the first.
//!
//! # Many at once
//!
//! Batches ([`Client::batch_confirm`] and its kin) answer each entry by itself.
//! Entries that failed for now are sent again, and only those; more entries than
//! a message may have are several messages. A [`ReserveStream`] is cheapest for
//! callers that reserve all the time, and [`Client::watch_stock`] is told of
//! changes; both outlive their connections.
//!
//! ```no_run
//! use client::{Client, Ids, Options, Wish, new_request_id};
//! use proto::v1::{ReservationKey, ReserveOutcome};
//!
//! # async fn rush() -> Result<(), client::Error> {
//! let holdfast = Client::lazy("http://127.0.0.1:50051", Options::default())?;
//! let stream = holdfast.reserve_stream()?;
//! let mut answers = Vec::new();
//! for buyer in ["ada", "bob", "eve"] {
//!     let key = ReservationKey {
//!         item_id: "sneaker".into(),
//!         buyer_id: buyer.into(),
//!         request_id: new_request_id(),
//!     };
//!     let wish = Wish { key, quantity: 1, ids: Ids::NeverSent };
//!     answers.push(stream.submit(wish).await?); // sent; the answer comes later
//! }
//! for answer in answers {
//!     let granted = answer.await?.outcome() == ReserveOutcome::Reserved;
//!     println!("{granted}");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What to make of an error
//!
//! [`Error::kind`] says what is known about the call as a whole, all attempts
//! together; [`ErrorKind`] says what to do about each. A no of Reserve is no
//! error: it is an outcome inside the reply.
//!
//! After [`ErrorKind::OutcomeUnknown`] send the call again with the same ids, as
//! often as it takes. To give up on a Reserve for good, cancel it by its key:
//! that also refuses an attempt that is still under way. Callers who will not
//! try again use [`Client::reserve_or_cancel`], which does so when it must:
//!
//! ```no_run
//! # use client::{Client, Error, ErrorKind, Ids};
//! # use proto::v1::{ReservationKey, ReserveOutcome};
//! # async fn page(holdfast: Client, key: ReservationKey) -> Result<&'static str, Error> {
//! Ok(match holdfast.reserve_or_cancel(&key, 1, Ids::NeverSent).await {
//!     Ok(reply) if reply.outcome() == ReserveOutcome::Reserved => "yours for five minutes",
//!     Ok(_) => "sold out",
//!     Err(error) if error.kind() == ErrorKind::Unavailable => "nothing is held; try again later",
//!     Err(error) => return Err(error),
//! })
//! # }
//! ```
//!
//! # Costs and limits
//!
//! - A [`Client`] is one HTTP/2 connection, and cheap to clone: clones share
//!   it. It reconnects by itself when it is used after a break.
//! - The connection's task lives on the runtime on which the client was made
//!   and ends with it. A client that outlives that runtime can do nothing.
//! - A request is cloned for each attempt.
//! - A stream of Reserves is a task, and keeps at most 1,024 of them unanswered.
//! - The generated stubs ([`Client::inventory`], [`Client::admin`]) have every
//!   call too; they neither retry nor watch a deadline.
//! - No TLS, no credentials and no throttling over calls yet.

mod backoff;
mod batch;
mod calls;
mod client;
mod error;
pub mod reason;
mod reserve;
mod retry;
mod stream;
mod target;
mod verdict;
mod watch;

pub use crate::client::{Client, Health, Options};
pub use crate::error::{Code, Error, ErrorKind, Violation};
pub use crate::retry::Policy;
pub use crate::stream::{Answer, ReserveStream};
pub use crate::target::{Ids, Target, Wish};
pub use crate::watch::StockNews;

/// A new request id: a random UUID in the form that the contract wants.
pub fn new_request_id() -> String {
    uuid::Uuid::new_v4().to_string()
}
