//! The server says when to come back, or not to.

use std::collections::HashMap;
use std::time::Duration;

use client::{ErrorKind, Ids, reason};
use tokio::time::Instant;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::fake::{Fake, Served};
use crate::{any_port, client_of, hasty, key, ours};

const DELAY: Duration = Duration::from_millis(60);

fn pushed_back(value: &str) -> Status {
    let mut status = ours(Code::ResourceExhausted, reason::OVERLOADED);
    let value = value.parse().unwrap();
    status
        .metadata_mut()
        .insert("grpc-retry-pushback-ms", value);
    status
}

/// How long a Reserve takes whose first attempt gets this error, and what it
/// comes to.
async fn reserve_after(status: Status) -> (Duration, Result<(), (ErrorKind, u32)>) {
    let fake = Fake::new();
    fake.reserve.then(Err(status));
    let served = Served::start(fake, any_port()).await;
    let client = client_of(served.address, hasty());
    let start = Instant::now();
    let reply = client.reserve(&key(), 1, Ids::NeverSent).await;
    let took = start.elapsed();
    drop(client);
    served.stop().await;
    let known = reply.map(drop).map_err(|e| (e.kind(), e.attempts()));
    (took, known)
}

#[tokio::test]
async fn a_delay_is_kept() {
    let (took, reply) = reserve_after(pushed_back("60")).await;
    assert_eq!(reply, Ok(()));
    assert!(took >= DELAY, "{took:?}");
}

#[tokio::test]
async fn so_is_that_of_retry_info() {
    let mut details =
        ErrorDetails::with_error_info(reason::OVERLOADED, reason::DOMAIN, HashMap::new());
    details.set_retry_info(Some(DELAY));
    let status = Status::with_error_details(Code::ResourceExhausted, "busy", details);
    let (took, reply) = reserve_after(status).await;
    assert_eq!(reply, Ok(()));
    assert!(took >= DELAY, "{took:?}");
}

#[tokio::test]
async fn minus_one_ends_the_call() {
    let (_, reply) = reserve_after(pushed_back("-1")).await;
    assert_eq!(reply, Err((ErrorKind::Unavailable, 1)));
}
