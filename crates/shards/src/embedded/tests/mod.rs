//! The embedded store against a disk that fails, a file that is damaged, and
//! callers that do not wait.

mod broken_disk;
mod churn;
mod cleaner;
mod commits;
mod faults;
mod files;
mod writer;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use super::cleaner::LIMITS;
use super::error::{CommitError, Damage, OpenError};
use super::journal::{Commit, Disk, Journal, Opened, SqliteDisk};
use super::{Embedded, Options};
use crate::hash::{FingerprintKey, catalog_stripe};
use crate::ids::{
    Fingerprint, Generation, ItemId, Quantity, RecordKey, RequestId, STRIPES, ShardKey, ShardNo,
    StripeNo,
};
use crate::machine::{
    LateConfirm, Op, Reply, Selling, Settings, ShardOp, ShardReply, StoreIdentity,
};
use crate::store::{Clock, Pending, Store, StoreError};
use crate::time::Millis;

use faults::{Fault, Faults, FaultyDisk, open_faulty};

const START: Millis = Millis(1_800_000_000_000);

fn settings() -> Settings {
    Settings {
        selling: Selling::Open,
        sale_start: None,
        sale_end: None,
        hold_ttl_ms: 60_000,
        max_hold_ms: 240_000,
        sell_at_once: false,
        counts_buyers: true,
        max_units_per_buyer: 0,
        max_units_per_reservation: 1_000,
        retention_ms: 600_000,
    }
}

fn shard() -> ShardKey {
    ShardKey {
        item: ItemId::parse("sneaker").unwrap(),
        generation: Generation([1; 8]),
        shard: ShardNo::LEDGER,
    }
}

fn stripe() -> StripeNo {
    catalog_stripe(&shard().item)
}

fn key(n: u64) -> RecordKey {
    let mut request = [0; 16];
    request[8..].copy_from_slice(&n.to_be_bytes());
    request[0] = 1;
    RecordKey {
        request: RequestId(request),
        buyer: Fingerprint(n.to_be_bytes()),
    }
}

fn reserve(n: u64) -> ShardOp {
    ShardOp::Reserve {
        key: key(n),
        quantity: Quantity::new(1).unwrap(),
        version: 1,
    }
}

fn create(supply: u64) -> ShardOp {
    ShardOp::Create {
        settings: settings(),
        version: 1,
        supply: Some(supply),
    }
}

/// A clock that stands still until it is moved.
#[derive(Clone)]
struct HandClock(Arc<AtomicI64>);

impl HandClock {
    fn new() -> Self {
        Self(Arc::new(AtomicI64::new(START.0)))
    }
}

impl Clock for HandClock {
    fn now(&mut self, seen: Millis) -> Millis {
        Millis(self.0.load(Ordering::SeqCst)).max(seen)
    }
}

fn options(dir: &Path, clock: &HandClock) -> Options {
    Options {
        clock: Box::new(clock.clone()),
        reserve_bytes: 0,
        ..Options::new(dir)
    }
}

fn open(dir: &Path) -> Result<Embedded, OpenError> {
    Embedded::open(options(dir, &HandClock::new()))
}

fn disk_of(dir: &Path) -> SqliteDisk {
    let identity = StoreIdentity {
        store_id: [0; 16],
        stripes: STRIPES,
        fingerprint_key: FingerprintKey([0; 16]),
    };
    SqliteDisk::new(dir.to_owned(), identity, START)
}

fn submit(store: &Embedded, op: ShardOp) -> Pending {
    store.submit(stripe(), Op::Shard(shard(), op), None)
}

async fn ask(store: &Embedded, op: ShardOp) -> Result<ShardReply, StoreError> {
    match submit(store, op).await? {
        Reply::Shard(reply) => Ok(reply),
        other => panic!("{other:?}"),
    }
}

async fn is_known(store: &Embedded, n: u64) -> bool {
    let reply = ask(store, ShardOp::Lookup { key: key(n) }).await.unwrap();
    match reply {
        ShardReply::Done(_) => true,
        ShardReply::NotFound => false,
        other => panic!("{other:?}"),
    }
}

/// Waits until the store refuses.
async fn until_unavailable(store: &Embedded) {
    #[expect(clippy::disallowed_methods, reason = "a test's deadline")]
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let reply = ask(store, ShardOp::Look).await;
        if matches!(reply, Err(StoreError::Unavailable(_))) {
            return;
        }
        #[expect(clippy::disallowed_methods, reason = "a test's deadline")]
        let now = Instant::now();
        assert!(now < end, "still answering: {reply:?}");
        tokio::task::yield_now().await;
    }
}

/// Waits until the store serves again, with the last answer in the failure.
async fn until_serving(store: &Embedded) {
    #[expect(clippy::disallowed_methods, reason = "a test's deadline")]
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let reply = ask(store, ShardOp::Look).await;
        match reply {
            Ok(_) => return,
            #[expect(clippy::disallowed_methods, reason = "a test's deadline")]
            Err(error) => assert!(Instant::now() < end, "still not serving: {error}"),
        }
        tokio::task::yield_now().await;
    }
}
