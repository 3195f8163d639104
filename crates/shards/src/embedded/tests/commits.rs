//! Group commits, and a disk that fails them.

use super::*;

#[tokio::test]
async fn what_was_acknowledged_is_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let identity = {
        let store = open(dir.path()).unwrap();
        ask(&store, create(10)).await.unwrap();
        for n in 0..4 {
            ask(&store, reserve(n)).await.unwrap();
        }
        ask(
            &store,
            ShardOp::Confirm {
                key: key(0),
                late: LateConfirm::Refuse,
                version: 0,
            },
        )
        .await
        .unwrap();
        ask(
            &store,
            ShardOp::Cancel {
                key: key(1),
                forbid_unknown: false,
            },
        )
        .await
        .unwrap();
        store.identity()
    };
    let store = open(dir.path()).unwrap();
    assert_eq!(store.identity(), identity);
    let ShardReply::Read(reading) = ask(&store, ShardOp::Look).await.unwrap() else {
        panic!()
    };
    let counters = reading.counters;
    assert_eq!(
        (counters.available, counters.held, counters.sold),
        (7, 2, 1)
    );
    assert!(counters.check_conservation().is_none());
    // A repeat of each gets its first answer.
    let reply = ask(&store, reserve(0)).await.unwrap();
    assert!(
        matches!(reply, ShardReply::Granted { replayed: true, .. }),
        "{reply:?}"
    );
    let reply = ask(&store, reserve(1)).await.unwrap();
    assert!(matches!(reply, ShardReply::Ended(_)), "{reply:?}");
}

#[tokio::test]
async fn holds_still_expire_after_reopening_and_time_does_not_run_back() {
    let dir = tempfile::tempdir().unwrap();
    let clock = HandClock::new();
    {
        let store = Embedded::open(options(dir.path(), &clock)).unwrap();
        ask(&store, create(1)).await.unwrap();
        ask(&store, reserve(1)).await.unwrap();
        clock.0.fetch_add(60_000, Ordering::SeqCst);
        // Seen as free: from now on it is.
        ask(&store, reserve(2)).await.unwrap();
    }
    clock.0.fetch_sub(60_000, Ordering::SeqCst);
    let store = Embedded::open(options(dir.path(), &clock)).unwrap();
    let ShardReply::Done(first) = ask(&store, ShardOp::Lookup { key: key(1) }).await.unwrap()
    else {
        panic!()
    };
    assert_eq!(first.record.state, crate::machine::State::Expired);
    assert_eq!(first.now, START.plus_ms(60_000));
    clock.0.fetch_add(120_000, Ordering::SeqCst);
    let ShardReply::Read(reading) = ask(&store, ShardOp::Look).await.unwrap() else {
        panic!()
    };
    assert_eq!(reading.counters.available, 1);
}

#[tokio::test]
async fn what_queues_up_during_a_commit_is_one_commit() {
    let dir = tempfile::tempdir().unwrap();
    let (store, faults) = open_faulty(dir.path());
    ask(&store, create(1_000)).await.unwrap();
    let before = faults.commits.load(Ordering::SeqCst);
    faults.shut_gate();
    let first = submit(&store, reserve(0));
    while faults.commits.load(Ordering::SeqCst) == before {
        std::thread::yield_now();
    }
    let queued: Vec<_> = (1..=500).map(|n| submit(&store, reserve(n))).collect();
    faults.open_gate();
    first.await.unwrap();
    for pending in queued {
        pending.await.unwrap();
    }
    assert_eq!(faults.commits.load(Ordering::SeqCst) - before, 2);
}

#[tokio::test]
async fn readings_and_refusals_alone_write_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (store, faults) = open_faulty(dir.path());
    ask(&store, create(1)).await.unwrap();
    ask(&store, reserve(0)).await.unwrap();
    let before = faults.commits.load(Ordering::SeqCst);
    ask(&store, reserve(1)).await.unwrap();
    ask(&store, reserve(0)).await.unwrap();
    ask(&store, ShardOp::Look).await.unwrap();
    assert_eq!(faults.commits.load(Ordering::SeqCst), before);
}

/// A reading that shares a batch with a change, or comes while one is being
/// committed, is not answered before that change is on disk.
#[tokio::test]
async fn a_reading_waits_for_the_commit_of_what_it_saw() {
    let dir = tempfile::tempdir().unwrap();
    let (store, faults) = open_faulty(dir.path());
    ask(&store, create(5)).await.unwrap();
    let before = faults.commits.load(Ordering::SeqCst);
    faults.shut_gate();
    let change = submit(&store, reserve(1));
    while faults.commits.load(Ordering::SeqCst) == before {
        std::thread::yield_now();
    }
    let reading = submit(&store, ShardOp::Lookup { key: key(1) });
    // Had it been answered from memory, it would show a hold that never was.
    faults.arm(Fault::Before);
    faults.open_gate();
    assert!(matches!(change.await, Err(StoreError::OutcomeUnknown(_))));
    assert!(matches!(reading.await, Err(StoreError::Unavailable(_))));
}

#[tokio::test]
async fn a_failed_commit_is_an_unknown_outcome_and_the_disk_decides() {
    for (fault, on_disk) in [(Fault::Before, false), (Fault::After, true)] {
        let dir = tempfile::tempdir().unwrap();
        let (store, faults) = open_faulty(dir.path());
        ask(&store, create(5)).await.unwrap();
        ask(&store, reserve(1)).await.unwrap();

        faults.arm(fault);
        let unknown = ask(&store, reserve(2)).await;
        assert!(
            matches!(unknown, Err(StoreError::OutcomeUnknown(_))),
            "{unknown:?}"
        );
        until_serving(&store).await;
        assert_eq!(faults.opens.load(Ordering::SeqCst), 2);

        assert!(
            is_known(&store, 1).await,
            "{fault:?}: an acknowledged grant is gone"
        );
        assert_eq!(is_known(&store, 2).await, on_disk, "{fault:?}");
        // A retry with the same ids settles it, either way with one grant.
        let ShardReply::Granted { replayed, .. } = ask(&store, reserve(2)).await.unwrap() else {
            panic!()
        };
        assert_eq!(replayed, on_disk);
        let ShardReply::Read(reading) = ask(&store, ShardOp::Look).await.unwrap() else {
            panic!()
        };
        assert_eq!((reading.counters.available, reading.counters.held), (3, 2));
        drop(store);

        let store = open(dir.path()).unwrap();
        assert!(
            is_known(&store, 1).await && is_known(&store, 2).await,
            "{fault:?}"
        );
    }
}

#[tokio::test]
async fn random_failures_lose_nothing_acknowledged_and_show_nothing_else() {
    use rand::{RngExt as _, SeedableRng as _};
    let seed = std::env::var("HOLDFAST_TEST_SEED")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(1);
    println!("HOLDFAST_TEST_SEED={seed}");
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let dir = tempfile::tempdir().unwrap();
    let (store, faults) = open_faulty(dir.path());
    ask(&store, create(100_000)).await.unwrap();
    let mut acknowledged = Vec::new();
    let mut n = 0;
    for _ in 0..60 {
        if random.random_bool(0.4) {
            let after = random.random_bool(0.5);
            faults.arm(if after { Fault::After } else { Fault::Before });
        }
        let burst = random.random_range(1..20);
        let pending: Vec<_> = (n..n + burst)
            .map(|n| (n, submit(&store, reserve(n))))
            .collect();
        n += burst;
        for (n, pending) in pending {
            if pending.await.is_ok() {
                acknowledged.push(n);
            }
        }
        until_serving(&store).await;
        // Whatever a reader is shown now must be there for ever.
        let shown = random.random_range(0..n);
        if is_known(&store, shown).await {
            acknowledged.push(shown);
        }
    }
    drop(store);
    let store = open(dir.path()).unwrap();
    for n in acknowledged {
        assert!(
            is_known(&store, n).await,
            "seed {seed}: {n} was acknowledged or shown, and is gone"
        );
    }
}

#[tokio::test]
async fn what_comes_too_late_or_too_much_is_not_sent() {
    let dir = tempfile::tempdir().unwrap();
    let (_, faults) = open_faulty(dir.path());
    let disk = SqliteDisk::new(dir.path().to_owned(), identity_of(dir.path()), START);
    let disk = FaultyDisk {
        disk,
        faults: Arc::clone(&faults),
    };
    let few = Options {
        queue_len_max: 2,
        ..options(dir.path(), &HandClock::new())
    };
    let store = Embedded::open_on(few, Box::new(disk), LIMITS).unwrap();
    ask(&store, create(5)).await.unwrap();
    let before = faults.commits.load(Ordering::SeqCst);
    faults.shut_gate();
    let blocked = submit(&store, reserve(0));
    while faults.commits.load(Ordering::SeqCst) == before {
        std::thread::yield_now();
    }
    #[expect(clippy::disallowed_methods, reason = "a deadline that is over")]
    let over = Instant::now();
    let late = store.submit(stripe(), Op::Shard(shard(), reserve(1)), Some(over));
    let kept = submit(&store, reserve(2));
    assert_eq!(
        submit(&store, reserve(3)).await,
        Err(StoreError::Overloaded)
    );
    // Nobody waits for this one any more: it is carried out all the same.
    drop(kept);
    faults.open_gate();
    blocked.await.unwrap();
    assert_eq!(late.await, Err(StoreError::DeadlineTooShort));
    assert!(!is_known(&store, 1).await);
    assert!(is_known(&store, 2).await);
}

fn identity_of(dir: &Path) -> StoreIdentity {
    open(dir).unwrap().identity()
}

#[tokio::test]
async fn a_nearly_full_disk_takes_nothing_new_and_lets_holds_end() {
    let dir = tempfile::tempdir().unwrap();
    {
        let store = open(dir.path()).unwrap();
        ask(&store, create(5)).await.unwrap();
        ask(&store, reserve(1)).await.unwrap();
        ask(&store, reserve(2)).await.unwrap();
    }
    let full = Options {
        reserve_bytes: u64::MAX,
        ..options(dir.path(), &HandClock::new())
    };
    let store = Embedded::open(full).unwrap();
    assert_eq!(ask(&store, reserve(3)).await, Ok(ShardReply::Full));
    let forbid = ShardOp::Cancel {
        key: key(4),
        forbid_unknown: true,
    };
    assert_eq!(ask(&store, forbid).await, Ok(ShardReply::Full));
    let replay = ask(&store, reserve(1)).await.unwrap();
    assert!(
        matches!(replay, ShardReply::Granted { replayed: true, .. }),
        "{replay:?}"
    );
    for op in [
        ShardOp::Confirm {
            key: key(1),
            late: LateConfirm::Refuse,
            version: 0,
        },
        ShardOp::Cancel {
            key: key(2),
            forbid_unknown: true,
        },
    ] {
        let reply = ask(&store, op).await.unwrap();
        assert!(matches!(reply, ShardReply::Done(_)), "{reply:?}");
    }
    assert!(!store.status().warnings.is_empty());
}
