//! The client against a server on a real socket: what it sends, and how it
//! lives through refused connections, broken streams and restarts.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "helpers of tests, which may fail them"
)]

mod batches;
mod fake;
mod giving_up;
mod pushback;
mod streams;
mod unary;
mod watches;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use client::{Client, Ids, Options, Policy, Wish, new_request_id, reason};
use proto::v1::{ReservationKey, ReserveOutcome, ReserveResponse};
use tokio::net::TcpListener;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt, pb};

fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// A port on which nobody listens.
async fn closed_port() -> SocketAddr {
    TcpListener::bind(any_port())
        .await
        .unwrap()
        .local_addr()
        .unwrap()
}

/// Waits little between attempts.
fn hasty() -> Policy {
    Policy {
        backoff_first: Duration::from_millis(2),
        backoff_max: Duration::from_millis(10),
        ..Policy::default()
    }
}

fn client_of(address: SocketAddr, policy: Policy) -> Client {
    let options = Options {
        policy,
        ..Options::default()
    };
    Client::lazy(&address.to_string(), options).unwrap()
}

fn key() -> ReservationKey {
    ReservationKey {
        item_id: "sneaker".to_owned(),
        buyer_id: "ada".to_owned(),
        request_id: new_request_id(),
    }
}

fn wish(quantity: u32) -> Wish {
    Wish {
        key: key(),
        quantity,
        ids: Ids::NeverSent,
    }
}

fn outcome(outcome: ReserveOutcome) -> ReserveResponse {
    ReserveResponse {
        outcome: outcome.into(),
        ..ReserveResponse::default()
    }
}

fn ours(code: Code, reason: &str) -> Status {
    let details = ErrorDetails::with_error_info(reason, reason::DOMAIN, HashMap::new());
    Status::with_error_details(code, "a sentence", details)
}

/// The same as the error of an entry.
fn entry(code: Code, reason: &str) -> pb::Status {
    prost::Message::decode(ours(code, reason).details()).expect("tonic-types wrote it")
}
