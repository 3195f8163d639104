//! Files and directories that cannot be used.

use super::*;
use crate::embedded::row::{FORMAT, Row};

#[test]
fn a_second_process_is_kept_out() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let second = open(dir.path()).err();
    assert!(
        matches!(second, Some(OpenError::Locked { .. })),
        "{second:?}"
    );
    drop(store);
    open(dir.path()).unwrap();
}

#[test]
fn what_is_no_store_of_this_version_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    let file = dir.path().join("holdfast.db");
    let pragma = |sql: &str| {
        rusqlite::Connection::open(&file)
            .unwrap()
            .execute_batch(sql)
            .unwrap();
    };

    let later = i64::from(FORMAT) + 1;
    pragma(&format!("PRAGMA user_version = {later}"));
    let error = open(dir.path()).unwrap_err();
    assert!(
        matches!(error, OpenError::Newer { found, .. } if found == later),
        "{error}"
    );
    pragma(&format!(
        "PRAGMA user_version = {FORMAT}; PRAGMA application_id = 7"
    ));
    let error = open(dir.path()).unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");

    // Emptied, or gone while its log is there: never taken for a new store.
    fs::write(&file, b"").unwrap();
    let error = open(dir.path()).unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    fs::remove_file(&file).unwrap();
    fs::write(dir.path().join("holdfast.db-wal"), b"x").unwrap();
    let error = open(dir.path()).unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    assert!(!file.exists());
}

#[test]
fn a_creation_cut_short_is_begun_again() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("holdfast.db.new"), b"half a").unwrap();
    fs::write(dir.path().join("lock"), b"").unwrap();
    open(dir.path()).unwrap();
    assert!(!dir.path().join("holdfast.db.new").exists());
}

#[test]
fn a_directory_that_cannot_be_used_is_named() {
    // Nobody makes directories there, not even root.
    let error = open(Path::new("/proc/holdfast")).unwrap_err();
    assert!(error.to_string().contains("/proc/holdfast"), "{error}");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, b"").unwrap();
    let error = open(&file).unwrap_err();
    assert!(error.to_string().contains("file"), "{error}");
}

/// A store whose file vanishes under it is gone, not empty: it does not serve
/// on, neither from memory nor from a new file.
#[tokio::test]
async fn a_file_that_vanishes_is_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let (store, faults) = open_faulty(dir.path());
    ask(&store, create(5)).await.unwrap();
    ask(&store, reserve(1)).await.unwrap();
    for name in ["holdfast.db", "holdfast.db-wal", "holdfast.db-shm"] {
        fs::remove_file(dir.path().join(name)).unwrap();
    }
    faults.arm(Fault::Before);
    ask(&store, reserve(2)).await.unwrap_err();
    until_unavailable(&store).await;
    assert!(!store.status().acknowledges());
    assert!(!dir.path().join("holdfast.db").exists());
    // Nor by another store's file.
    let other = tempfile::tempdir().unwrap();
    drop(open(other.path()).unwrap());
    fs::copy(
        other.path().join("holdfast.db"),
        dir.path().join("holdfast.db"),
    )
    .unwrap();
    assert!(ask(&store, reserve(3)).await.is_err());
}

/// Commits into a file that nobody can find again succeed: it is noticed
/// although none fails.
#[tokio::test]
async fn a_file_that_vanishes_is_noticed_though_commits_succeed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    ask(&store, create(5)).await.unwrap();
    fs::remove_file(dir.path().join("holdfast.db")).unwrap();
    until_unavailable(&store).await;
    assert!(!dir.path().join("holdfast.db").exists());
}

#[test]
fn a_removed_or_replaced_file_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let mut disk = disk_of(dir.path());
    let opened = disk.open().unwrap();
    assert!(disk.is_in_place());
    let file = dir.path().join("holdfast.db");
    fs::copy(&file, dir.path().join("copy")).unwrap();
    fs::rename(dir.path().join("copy"), &file).unwrap();
    assert!(!disk.is_in_place());
    drop(opened);
}

/// ⚔ Without the checkpoint a reader could be shown what a power loss takes
/// away again; so a store that cannot make it does not open.
#[tokio::test]
async fn a_store_that_cannot_be_checkpointed_does_not_open() {
    let dir = tempfile::tempdir().unwrap();
    let mut disk = disk_of(dir.path());
    let mut opened = disk.open().unwrap();
    let row = Row {
        oldest: opened.oldest,
        stripes: Vec::new(),
    };
    let mut commit = |number| {
        opened.journal.commit(Commit {
            number,
            body: &row.encode(number).unwrap(),
            oldest: row.oldest,
        })
    };
    commit(opened.next).unwrap();
    let reader = rusqlite::Connection::open(dir.path().join("holdfast.db")).unwrap();
    reader
        .execute_batch("BEGIN; SELECT count(*) FROM journal")
        .unwrap();
    commit(opened.next + 1).unwrap();
    drop(opened);
    let Err(error) = disk_of(dir.path()).open() else {
        panic!("opened")
    };
    assert!(error.to_string().contains("another program"), "{error}");
    drop(reader);
    disk_of(dir.path()).open().unwrap();
}

/// Rows missing at either end or in the middle, and rows changed within SQLite,
/// where its own checks see nothing.
#[tokio::test]
async fn missing_and_changed_rows_are_noticed() {
    let dir = tempfile::tempdir().unwrap();
    {
        let store = open(dir.path()).unwrap();
        ask(&store, create(100)).await.unwrap();
        for n in 0..20 {
            ask(&store, reserve(n)).await.unwrap();
        }
    }
    let whole = fs::read(dir.path().join("holdfast.db")).unwrap();
    for (sql, expected) in [
        ("DELETE FROM journal WHERE number = 1", Damage::Missing(1)),
        ("DELETE FROM journal WHERE number = 5", Damage::Missing(5)),
        ("DELETE FROM journal", Damage::Missing(1)),
        (
            "UPDATE journal SET body = zeroblob(length(body)) WHERE number = 7",
            Damage::Checksum(7),
        ),
        (
            "UPDATE journal SET body = x'00' WHERE number = 7",
            Damage::Checksum(7),
        ),
        (
            "UPDATE journal SET body = (SELECT body FROM journal WHERE number = 8) WHERE number = 7",
            Damage::Checksum(7),
        ),
    ] {
        let other = tempfile::tempdir().unwrap();
        let file = other.path().join("holdfast.db");
        fs::write(&file, &whole).unwrap();
        rusqlite::Connection::open(&file)
            .unwrap()
            .execute_batch(sql)
            .unwrap();
        match open(other.path()) {
            Err(OpenError::Damaged { what, .. }) => assert_eq!(what, expected, "{sql}"),
            other => panic!("{sql}: {other:?}"),
        }
    }
}

/// Damage anywhere in the file is noticed, or changed nothing that counts.
#[tokio::test]
async fn damage_is_noticed() {
    use rand::{RngExt as _, SeedableRng as _};
    let seed = std::env::var("HOLDFAST_TEST_SEED")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(1);
    println!("HOLDFAST_TEST_SEED={seed}");
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let dir = tempfile::tempdir().unwrap();
    {
        let store = open(dir.path()).unwrap();
        ask(&store, create(100_000)).await.unwrap();
        for burst in 0..40_u64 {
            let pending: Vec<_> = (0..50)
                .map(|n| submit(&store, reserve(burst * 50 + n)))
                .collect();
            for pending in pending {
                pending.await.unwrap();
            }
        }
    }
    let mut disk = disk_of(dir.path());
    let expected = disk.open().unwrap().stripes;
    let whole = fs::read(dir.path().join("holdfast.db")).unwrap();
    let mut noticed = 0;
    for case in 0..60 {
        let mut bytes = whole.clone();
        let at = random.random_range(0..bytes.len());
        match case % 3 {
            0 => bytes[at] ^= 1 << random.random_range(0..8),
            1 => {
                let page = at / 4096 * 4096;
                bytes[page..page + 4096].fill(0);
            }
            _ => bytes.truncate(at),
        }
        let copy = tempfile::tempdir().unwrap();
        fs::write(copy.path().join("holdfast.db"), &bytes).unwrap();
        match disk_of(copy.path()).open() {
            Ok(opened) => assert!(
                opened.stripes == expected,
                "seed {seed}, case {case} at {at}: silently another store"
            ),
            Err(OpenError::Full { .. } | OpenError::Locked { .. }) => panic!("case {case}"),
            Err(_) => noticed += 1,
        }
    }
    assert!(
        noticed > 30,
        "only {noticed} of 60 damages mattered: the test has no bite"
    );
}
