//! Writes and syncs of a serving process that fail for a while: strace lets
//! them. Every single one is the store's own tests' business; here it is what
//! callers are told, and that the process goes on.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests, which may fail them"
)]

use e2e::{DATA_DIR, Failure, Ids, Server, Setup, Shop, holdfast, item, ok, poll_until, tools};
use proto::v1::{ReservationKey, ReserveOutcome};
use tonic::Code;

/// Later than any call of the thread that opens the store, for strace counts
/// for each thread; so it is the writer whose calls fail.
const FIRST: u64 = 60;
/// So many in a row: the first attempts to open the store again fail, too.
const IN_A_ROW: u64 = 4;

async fn start_on_failing_disk(call: &str, error: &str, turn: u64) -> Server {
    let last = turn + IN_A_ROW - 1;
    let trace = format!("trace={call}");
    let inject = format!("inject={call}:error={error}:when={turn}..{last}");
    let file = format!("{DATA_DIR}/holdfast.db");
    let (log, wal) = (format!("{DATA_DIR}.strace"), format!("{file}-wal"));
    // -D: what is started here becomes the server, and strace looks on.
    let mut wrapper = vec!["strace", "-D", "-f", "-q", "-o", &log];
    wrapper.extend(["-e", &trace, "-e", &inject, "-P", &file, "-P", &wal]);
    Setup::new(holdfast!()).under(&wrapper).start().await
}

/// Reserves until it was refused and then served again; what was acknowledged.
async fn reserve_through_it(shop: &Shop, ids: &mut Ids) -> (Vec<ReservationKey>, Vec<String>) {
    let (mut known, mut reasons) = (Vec::new(), Vec::new());
    poll_until("a failure, and its end", async || {
        let key = ids.key("sneaker");
        match shop.reserve(&key, 1).await {
            Ok(reply) => {
                assert_eq!(reply.into_inner().outcome(), ReserveOutcome::Reserved);
                known.push(key);
                if reasons.is_empty() {
                    Err("nothing failed")
                } else {
                    Ok(())
                }
            }
            Err(status) => {
                let failure = Failure::from(&status);
                assert_eq!(failure.code, Code::Unavailable, "{failure:#?}");
                reasons.push(failure.reasons[0].clone());
                Err("it fails")
            }
        }
    })
    .await;
    (known, reasons)
}

async fn assert_known(shop: &Shop, known: &[ReservationKey]) {
    for key in known {
        let again = ok(shop.reserve(key, 1).await);
        assert!(again.replayed, "{key:?} was granted anew: {again:?}");
    }
    shop.assert_sound("sneaker").await;
}

async fn goes_on_after(call: &str, error: &str) {
    tools::installed("strace", &["--version"], "strace").await;
    let mut ids = Ids::seeded();
    let turn = ids.between(FIRST..FIRST + 100);
    let mut server = start_on_failing_disk(call, error, turn).await;
    let shop = server.shop();
    shop.create(item("sneaker"), 1_000_000).await;
    let (known, reasons) = reserve_through_it(&shop, &mut ids).await;
    assert_eq!(reasons[0], "OUTCOME_UNKNOWN", "{reasons:?}");
    let others = reasons[1..].iter();
    assert!(
        others.clone().count() > 0 && others.clone().all(|reason| reason == "STORE_UNAVAILABLE"),
        "{reasons:?}"
    );
    assert_known(&shop, &known).await;
    assert!(server.ended().is_none());
    assert!(!server.log().contains("panicked"));
    // On disk, too. Nothing is written from here on.
    server.kill_9();
    let server = server.restart().await;
    assert_known(&server.shop(), &known).await;
}

#[tokio::test]
async fn a_server_goes_on_after_failing_syncs() {
    goes_on_after("fsync,fdatasync", "EIO").await;
}

#[tokio::test]
async fn a_server_goes_on_after_failing_writes() {
    goes_on_after("pwrite64", "EIO").await;
}

#[tokio::test]
async fn a_server_goes_on_after_writes_without_room() {
    goes_on_after("pwrite64", "ENOSPC").await;
}
