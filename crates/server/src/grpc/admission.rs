//! Which calls are let in: so many are worked on at a time that whoever is let
//! in is answered soon, however many more come. Those others are refused before
//! anything is done for them, and told when to come again.
//!
//! A call takes its place when its message has arrived as a whole. So a client
//! that begins calls and never ends them holds no place; it has its own bounds:
//! the time for a message to arrive, and the bytes of all messages together.
//!
//! Health and reflection are always let in. Streams of messages
//! (`ReserveStream`) are, too, once the door is open to their first; what they
//! have under way is bounded by each of them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Request;
use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};
use tokio::time::Sleep;
use tonic::Status;
use tonic::body::Body;

use super::problem::Problem;
use crate::clock;

/// Calls of the data plane that are worked on at a time. One core answers some
/// 25,000 a second, so who is let in waits for about a sixth of a second; and
/// commits of this size are far beyond where larger ones still gain.
const BUYING_MAX: usize = 4_096;
/// The same for those who have units already: they paid, or give them back.
/// A crowd that wants units leaves this room to them.
const ENDING_MAX: usize = BUYING_MAX + 1_024;
/// Calls of the control plane, apart from the others: a sale is paused when it
/// is at its busiest, and many audits must not stop it.
const OPERATING_MAX: usize = 256;
/// Bytes of all messages that are arriving or worked on.
const MESSAGES_BYTES_MAX: usize = 128 << 20;
/// How long a message may take to arrive, from when the server waits for it.
const ARRIVAL_TIME_MAX: Duration = Duration::from_secs(10);

const ADMIN: &str = "/holdfast.inventory.v1.AdminService/";
const INVENTORY: &str = "/holdfast.inventory.v1.InventoryService/";

/// What a call is about, which decides about its room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Wants units, or to know whether there are any.
    Buying,
    /// Is about units that somebody has.
    Ending,
    /// Looks after the sale.
    Operating,
}

impl Kind {
    /// `None` = always let in.
    fn of(path: &str) -> Option<Self> {
        if path.starts_with(ADMIN) {
            return Some(Self::Operating);
        }
        Some(match path.strip_prefix(INVENTORY)? {
            "Confirm" | "BatchConfirm" | "Cancel" | "BatchCancel" | "Extend" | "ReturnUnits" => {
                Self::Ending
            }
            _ => Self::Buying,
        })
    }
}

/// The doors of a server; clones are the same doors.
#[derive(Clone, Debug, Default)]
pub(super) struct Admission(Arc<Inside>);

#[derive(Debug, Default)]
struct Inside {
    data: AtomicUsize,
    control: AtomicUsize,
    /// Bytes.
    messages: AtomicUsize,
}

impl Inside {
    fn room(&self, kind: Kind) -> (&AtomicUsize, usize) {
        match kind {
            Kind::Buying => (&self.data, BUYING_MAX),
            Kind::Ending => (&self.data, ENDING_MAX),
            Kind::Operating => (&self.control, OPERATING_MAX),
        }
    }
}

impl Admission {
    /// Lets a call in, or not. Its body is watched until it is there.
    pub(super) fn enter(&self, request: &mut Request<Body>) -> Result<Entered, Problem> {
        let path = request.uri().path();
        let Some(kind) = Kind::of(path) else {
            return Ok(Entered(None));
        };
        let (places, max) = self.0.room(kind);
        if places.load(Ordering::Relaxed) >= max {
            return Err(overloaded());
        }
        if path.ends_with("/ReserveStream") {
            return Ok(Entered(None));
        }
        let ticket = Arc::new(Ticket {
            inside: Arc::clone(&self.0),
            kind,
            has_place: AtomicBool::new(false),
            bytes: AtomicUsize::new(0),
        });
        let body = std::mem::take(request.body_mut());
        *request.body_mut() = Body::new(Arriving {
            body,
            ticket: Arc::clone(&ticket),
            patience: None,
        });
        Ok(Entered(Some(ticket)))
    }
}

fn overloaded() -> Problem {
    Problem::overloaded("more calls are under way than this server can soon answer")
}

/// A call that was let in, until it is dropped.
#[derive(Debug)]
pub(super) struct Entered(
    #[expect(dead_code, reason = "held for what its end does")] Option<Arc<Ticket>>,
);

/// What a call takes up.
#[derive(Debug)]
struct Ticket {
    inside: Arc<Inside>,
    kind: Kind,
    has_place: AtomicBool,
    bytes: AtomicUsize,
}

impl Ticket {
    /// More of the message is kept.
    fn keep(&self, bytes: usize) -> Result<(), Problem> {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let kept = self.inside.messages.fetch_add(bytes, Ordering::Relaxed);
        if kept.saturating_add(bytes) > MESSAGES_BYTES_MAX {
            return Err(Problem::overloaded(
                "the messages under way take up all the memory that this server has for them",
            ));
        }
        Ok(())
    }

    /// The message is there.
    fn arrived(&self) -> Result<(), Problem> {
        if self.has_place.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        let (places, max) = self.inside.room(self.kind);
        if places.fetch_add(1, Ordering::Relaxed) >= max {
            return Err(overloaded());
        }
        Ok(())
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if *self.has_place.get_mut() {
            let (places, _) = self.inside.room(self.kind);
            places.fetch_sub(1, Ordering::Relaxed);
        }
        let bytes = *self.bytes.get_mut();
        self.inside.messages.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// A body that is watched until it is there.
struct Arriving {
    body: Body,
    ticket: Arc<Ticket>,
    /// Made only for a body that is waited for: most are there at once.
    patience: Option<Pin<Box<Sleep>>>,
}

impl HttpBody for Arriving {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        let fail = |problem: Problem| Poll::Ready(Some(Err(problem.into())));
        let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) else {
            let patience = this
                .patience
                .get_or_insert_with(|| Box::pin(clock::after(ARRIVAL_TIME_MAX)));
            return match patience.as_mut().poll(cx) {
                Poll::Ready(()) => fail(Problem::message_too_late()),
                Poll::Pending => Poll::Pending,
            };
        };
        let kept = match &frame {
            Some(Ok(frame)) => this.ticket.keep(frame.data_ref().map_or(0, Bytes::len)),
            _ => Ok(()),
        };
        let is_there = frame.is_none() || this.body.is_end_stream();
        let arrived = if is_there {
            kept.and_then(|()| this.ticket.arrived())
        } else {
            kept
        };
        match arrived {
            Ok(()) => Poll::Ready(frame),
            Err(problem) => fail(problem),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
