//! A disk that fills up during a sale and gets room again: a small one of the
//! server's own, which nobody else sees.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests, which may fail them"
)]

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::process::Command;

use client::Target;
use e2e::{
    DATA_DIR, Failure, Ids, Server, Setup, Shop, failure, holdfast, item, ok, poll_until, run,
};
use proto::v1::reserve_result::Result as Entry;
use proto::v1::{BatchReserveRequest, ReservationKey, ReservationState, ReserveOutcome};
use tonic::Code;

const MIB: u64 = 1 << 20;
/// What the server keeps free for what ends and what was promised.
const RESERVE: u64 = 64 * MIB;
/// What the sale may still use when it begins.
const ROOM: u64 = 2 * MIB;
const BATCH: usize = 512;

/// Mounts a disk on the server's directory, in a namespace that goes with it.
const MOUNT_AND_BECOME: &str =
    "mkdir -p \"$0\" && mount -t tmpfs -o size=80m holdfast-test \"$0\" && exec \"$@\"";

async fn start_on_small_disk() -> Server {
    let mut probe = Command::new("unshare");
    probe.args(["-m", "sh", "-c", "mount -t tmpfs holdfast-test /tmp"]);
    let probe = run(probe).await;
    assert!(
        probe.code == Some(0),
        "a small disk cannot be mounted here, so this test cannot run: run it as root, and in a \
         container with CAP_SYS_ADMIN: {}",
        probe.stderr
    );
    let wrapper = ["unshare", "-m", "sh", "-c", MOUNT_AND_BECOME, DATA_DIR];
    Setup::new(holdfast!()).under(&wrapper).start().await
}

fn free(dir: &Path) -> u64 {
    let stat = rustix::fs::statvfs(dir).unwrap();
    stat.f_bavail * stat.f_frsize
}

/// Another program's file, of so many bytes or of all that there is.
fn fill(file: &Path, mut len: u64) {
    let mut file = File::create(file).unwrap();
    while len > 0 {
        // Small at the end, to leave nothing.
        let step = usize::try_from(len.min(4_096)).unwrap();
        match file.write(&vec![7; step]) {
            Ok(written) => len -= written as u64,
            Err(error) if error.kind() == ErrorKind::StorageFull => return,
            Err(error) => panic!("{error}"),
        }
    }
}

/// What callers were told, and by whom.
#[derive(Debug, Default)]
struct Log {
    held: Vec<ReservationKey>,
    confirmed: Vec<ReservationKey>,
    cancelled: Vec<ReservationKey>,
    /// Asked for, and no answer.
    unknown: Vec<ReservationKey>,
}

/// Sells until the server takes nothing more.
async fn sell_until_full(shop: &Shop, ids: &mut Ids, log: &mut Log) -> Failure {
    poll_until("a full store", async || {
        let keys: Vec<_> = (0..BATCH).map(|_| ids.key("sneaker")).collect();
        let requests = keys.iter().map(|key| Shop::request(key, 1)).collect();
        let batch = BatchReserveRequest { requests };
        let reply = ok(shop.inventory().batch_reserve(batch).await);
        let mut refusal = None;
        for (key, result) in keys.into_iter().zip(reply.results) {
            match result.result.unwrap() {
                Entry::Response(reply) => {
                    assert_eq!(reply.outcome(), ReserveOutcome::Reserved);
                    log.held.push(key);
                }
                Entry::Error(status) => refusal = Some(Failure::from(&status)),
            }
        }
        refusal.ok_or(format!("{} sold", log.held.len()))
    })
    .await
}

/// Confirms until the disk takes no more: each is confirmed, or what became of
/// it is not known, or nothing was done; and that is what callers are told.
async fn confirm_until_it_fails(shop: &Shop, log: &mut Log) {
    while let Some(key) = log.held.pop() {
        match shop.confirm(Target::Key(key.clone())).await {
            Ok(_) => log.confirmed.push(key),
            Err(status) => {
                let failure = Failure::from(&status);
                failure.is(Code::Unavailable, "OUTCOME_UNKNOWN");
                log.unknown.push(key);
                return;
            }
        }
    }
    panic!("the disk was never full");
}

async fn assert_kept(shop: &Shop, log: &Log) {
    let state = async |key: &ReservationKey| {
        let reply = ok(shop.reservation(Target::Key(key.clone())).await);
        reply.reservation.expect("a reservation").state()
    };
    for key in &log.confirmed {
        assert_eq!(state(key).await, ReservationState::Confirmed, "{key:?}");
    }
    for key in &log.cancelled {
        assert_eq!(state(key).await, ReservationState::Cancelled, "{key:?}");
    }
    for keys in log.held.chunks(BATCH) {
        let requests = keys.iter().map(|key| Shop::request(key, 1)).collect();
        let batch = BatchReserveRequest { requests };
        let reply = ok(shop.inventory().batch_reserve(batch).await);
        for (key, result) in keys.iter().zip(reply.results) {
            let Some(Entry::Response(reply)) = result.result else {
                panic!("{key:?}: {result:?}")
            };
            assert!(reply.replayed, "{key:?} was granted anew: {reply:?}");
        }
    }
}

#[tokio::test]
async fn a_full_disk_takes_nothing_new_and_serves_again_when_there_is_room() {
    let mut server = start_on_small_disk().await;
    let (shop, mut ids, mut log) = (server.shop(), Ids::seeded(), Log::default());
    let dir = server.data_dir_inside();
    let (others, rest) = (dir.join("others"), dir.join("rest"));
    shop.create(item("sneaker"), 1_000_000).await;

    // Well before it is full, nothing new is taken.
    fill(&others, free(&dir) - RESERVE - ROOM);
    let refusal = sell_until_full(&shop, &mut ids, &mut log).await;
    refusal.is(Code::ResourceExhausted, "STORE_FULL");
    let left = free(&dir);
    assert!(left > RESERVE * 3 / 4, "only {left} bytes were left");
    let refused = shop.reserve(&ids.key("sneaker"), 1).await;
    failure(refused).is(Code::ResourceExhausted, "STORE_FULL");

    // What was promised goes on.
    for _ in 0..20 {
        let key = log.held.pop().unwrap();
        ok(shop.confirm(Target::Key(key.clone())).await);
        log.confirmed.push(key);
        let key = log.held.pop().unwrap();
        ok(shop.cancel(Target::Key(key.clone())).await);
        log.cancelled.push(key);
    }
    assert_kept(&shop, &log).await;

    // Others take the rest.
    fill(&rest, u64::MAX);
    assert_eq!(free(&dir), 0);
    confirm_until_it_fails(&shop, &mut log).await;
    let away = poll_until("a store that says that it is away", async || {
        let key = log.held.last().unwrap().clone();
        match shop.reservation(Target::Key(key)).await {
            Ok(_) => Err("it serves"),
            Err(status) => Ok(Failure::from(&status)),
        }
    });
    away.await.is(Code::Unavailable, "STORE_UNAVAILABLE");

    // Room again: the same process serves again, and knows everything.
    fs::remove_file(rest).unwrap();
    fs::remove_file(others).unwrap();
    let key = ids.key("sneaker");
    let reply = poll_until("a store that sells again", async || {
        shop.reserve(&key, 1).await.map_err(|status| {
            let failure = Failure::from(&status);
            let known = ["STORE_UNAVAILABLE", "STORE_FULL"];
            assert!(known.contains(&&*failure.reasons[0]), "{failure:#?}");
            failure.message
        })
    });
    assert_eq!(reply.await.into_inner().outcome(), ReserveOutcome::Reserved);
    assert!(server.ended().is_none());
    assert_kept(&shop, &log).await;
    for key in log.unknown.drain(..) {
        ok(shop.confirm(Target::Key(key.clone())).await);
        log.confirmed.push(key);
    }
    let sold = i64::try_from(log.confirmed.len()).unwrap();
    let held = i64::try_from(log.held.len()).unwrap() + 1;
    assert_eq!(
        shop.units("sneaker").await,
        [1_000_000 - held - sold, held, sold]
    );
    shop.assert_sound("sneaker").await;
    assert!(!server.log().contains("panicked"));
}
