//! Servers that stop after any step of any procedure, and others that finish.

use shards::ids::RequestId;
use shards::inventory::{AuditLevel, Error, Inventory, Verdict};
use shards::machine::{Life, Selling};

use crate::fixture::{Fixture, buyer_at, create, granted, item, request, sharded, stock};
use crate::wrapped::Stopping;

const SHARDS: u32 = 3;
/// No procedure has more steps.
const STEPS_MAX: i64 = 60;

/// Who finishes what a stopped server began.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Finisher {
    /// Another server, asked for the same.
    Repeat,
    /// Another server that nobody asks.
    Sweep,
}

/// Runs a procedure on servers that stop after no step, one step, two steps …
/// and each time has somebody finish it. `prepare` makes the item, `run` is the
/// procedure, `check` says whether it is as if it had been carried out (`true`)
/// or as if it had never been asked for (`false`).
pub(crate) async fn stop_after_each_step<F: Fixture>(
    fixture: &F,
    prepare: impl AsyncFn(&Inventory),
    run: impl AsyncFn(&Inventory) -> Result<(), Error>,
    check: impl AsyncFn(&Inventory) -> bool,
) {
    for finisher in [Finisher::Repeat, Finisher::Sweep] {
        let mut ended = false;
        for steps in 0..STEPS_MAX {
            let context = format!("{finisher:?} after {steps} steps");
            prepare(&fixture.server()).await;
            let stopping = Stopping::after(fixture.store(), steps);
            let answer = {
                let store = Stopping::as_store(&stopping);
                run(&Inventory::new(store)).await
            };
            let server = fixture.server();
            match finisher {
                Finisher::Repeat => run(&server).await.unwrap(),
                Finisher::Sweep => drop(server.sweep().await.unwrap()),
            }
            let done = check(&fixture.server()).await;
            // What was repeated or acknowledged is so, and what was said to be
            // undone is undone.
            if finisher == Finisher::Repeat || answer.is_ok() {
                assert!(done, "{context}: {answer:?}");
            }
            if finisher == Finisher::Sweep && is_undone(&answer) {
                assert!(!done, "{context}: {answer:?}");
            }
            server
                .delete_item(&item("sneaker"), true, None, None)
                .await
                .unwrap();
            if !stopping.stopped() {
                ended = true;
                break;
            }
        }
        assert!(ended, "longer than {STEPS_MAX} steps");
    }
}

fn is_undone(answer: &Result<(), Error>) -> bool {
    use shards::store::StoreError;
    matches!(answer, Err(Error::Store(StoreError::Unavailable(_))))
}

async fn sound(server: &Inventory) {
    let audit = server
        .audit(&item("sneaker"), AuditLevel::Records, None)
        .await
        .unwrap();
    assert_eq!(audit.verdict, Verdict::Sound, "{:?}", audit.violations);
}

pub(crate) async fn creating(fixture: impl Fixture) {
    let run = async |server: &Inventory| {
        server
            .create_item(item("sneaker"), sharded(SHARDS, 10), request(0), None)
            .await
            .map(drop)
    };
    let check = async |server: &Inventory| match server.item(&item("sneaker"), None).await {
        Ok(entry) => {
            assert_eq!(entry.life, Life::Live);
            // Whoever finished it, and wherever the stock lies: it is there.
            sound(server).await;
            assert_eq!(stock(server).await, (10, 0, 0));
            true
        }
        Err(Error::ItemNotFound(_)) => false,
        Err(error) => panic!("{error}"),
    };
    stop_after_each_step(&fixture, async |_| {}, run, check).await;
}

pub(crate) async fn pausing(fixture: impl Fixture) {
    let prepare = async |server: &Inventory| create(server, sharded(SHARDS, 10)).await;
    let run = async |server: &Inventory| {
        server
            .pause_item(&item("sneaker"), "", None)
            .await
            .map(drop)
    };
    let check = async |server: &Inventory| {
        let entry = server.item(&item("sneaker"), None).await.unwrap();
        assert_eq!(entry.spread, entry.version);
        sound(server).await;
        entry.terms.settings.selling == Selling::Paused
    };
    stop_after_each_step(&fixture, prepare, run, check).await;
}

/// New stock is added at the ledger, then dealt out.
pub(crate) async fn adding_and_dealing(fixture: impl Fixture) {
    changing_stock(fixture, 0, 10).await;
}

/// What is taken away is gathered at the ledger first.
pub(crate) async fn gathering_and_taking(fixture: impl Fixture) {
    changing_stock(fixture, 10, -9).await;
}

/// All of a change, or nothing of it.
async fn changing_stock(fixture: impl Fixture, before: u64, delta: i64) {
    let after = before.strict_add_signed(delta);
    let prepare = async |server: &Inventory| create(server, sharded(SHARDS, before)).await;
    let run = async |server: &Inventory| {
        server
            .adjust_stock(&item("sneaker"), delta, false, request(5), None)
            .await
            .map(drop)
    };
    let check = async |server: &Inventory| {
        sound(server).await;
        let (available, held, sold) = stock(server).await;
        assert_eq!((held, sold), (0, 0));
        assert!(available == before || available == after);
        available == after
    };
    stop_after_each_step(&fixture, prepare, run, check).await;
}

/// A Reserve that has to bring its units from other shards.
pub(crate) async fn reserving_what_lies_elsewhere(fixture: impl Fixture) {
    let store = fixture.store();
    let buyer = buyer_at(&*store, 1, 3, 0);
    drop(store);
    let prepare = async |server: &Inventory| create(server, sharded(SHARDS, 10)).await;
    let run = async |server: &Inventory| {
        let ask = crate::fixture::ask(&buyer, 1, 9);
        server.reserve(&ask, None).await.map(drop)
    };
    let check = async |server: &Inventory| {
        sound(server).await;
        let (available, held, _) = stock(server).await;
        assert_eq!(available + held, 10);
        assert!(held == 0 || held == 9);
        held == 9
    };
    stop_after_each_step(&fixture, prepare, run, check).await;
}

pub(crate) async fn deleting(fixture: impl Fixture) {
    let prepare = async |server: &Inventory| {
        create(server, sharded(SHARDS, 10)).await;
        let receipt = granted(server, "ann", 1, 1).await;
        let target = crate::fixture::by_id(server, &receipt);
        server.confirm(&target, false, None).await.unwrap();
    };
    let run = async |server: &Inventory| {
        server
            .delete_item(&item("sneaker"), false, None, None)
            .await
    };
    let check = async |server: &Inventory| match server.item(&item("sneaker"), None).await {
        Err(Error::ItemNotFound(_)) => true,
        Ok(entry) => {
            assert_eq!(entry.life, Life::Live);
            sound(server).await;
            false
        }
        Err(error) => panic!("{error}"),
    };
    stop_after_each_step(&fixture, prepare, run, check).await;
}

/// What is not deleted since units are held sells on, whoever brings it back.
pub(crate) async fn failing_to_delete(fixture: impl Fixture) {
    let prepare = async |server: &Inventory| {
        create(server, sharded(SHARDS, 10)).await;
        granted(server, "ann", 1, 1).await;
    };
    let run = async |server: &Inventory| match server
        .delete_item(&item("sneaker"), false, None, None)
        .await
    {
        Err(Error::UnitsHeld { units: 1 }) => Ok(()),
        Ok(()) => panic!("deleted"),
        Err(error) => Err(error),
    };
    let check = async |server: &Inventory| {
        let entry = server.item(&item("sneaker"), None).await.unwrap();
        assert_eq!((entry.life, entry.spread), (Life::Live, entry.version));
        assert_eq!(entry.terms.settings.selling, Selling::Open);
        sound(server).await;
        let ask = crate::fixture::ask("bob", 2, 9);
        let ask = shards::inventory::Reserve {
            request: RequestId([5; 16]),
            ..ask
        };
        server.reserve(&ask, None).await.unwrap();
        assert_eq!(stock(server).await, (0, 10, 0));
        entry.version > 1
    };
    stop_after_each_step(&fixture, prepare, run, check).await;
}
