//! Real failures of the disk: a process of its own uses a store, while strace
//! lets one of its system calls on the store's files fail, each in turn, or
//! kills it there. What was acknowledged is the witness.
//!
//! Of each kind of call a sample fails, one in each run; where
//! `HOLDFAST_TEST_CASES` is set, as by `tests/run --long`, every single one.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use rand::RngExt as _;
use rand::seq::SliceRandom as _;

use super::writer::{TINY_FILE, seeded, times};
use super::*;
use crate::embedded::cleaner::Limits;
use crate::machine::State;

/// Tells the victim where its store is.
const DIR: &str = "HOLDFAST_TEST_DIR";
/// How what the victim says begins.
const SAYS: &str = "= ";
/// Calls of a kind that are let fail.
const SAMPLE: usize = 8;
/// How long the victim works, before and after it opens its store once more.
const ROUNDS: u64 = 6;
const SUPPLY: u64 = 1_000_000;

/// Cleans all the time.
const LIMITS_HERE: Limits = Limits {
    live_16ths: 8,
    small_bytes: 0,
    step_values: 16,
    side_values: 16,
    seen_len_max: 8,
    rest: Duration::ZERO,
};

fn open_here(dir: &Path) -> Result<Embedded, OpenError> {
    let identity = StoreIdentity {
        store_id: rand::random(),
        stripes: STRIPES,
        fingerprint_key: FingerprintKey([0; 16]),
    };
    let mut disk = SqliteDisk::new(dir.to_owned(), identity, START);
    disk.limits = TINY_FILE;
    let options = options(dir, &HandClock::new());
    Embedded::open_on(options, Box::new(disk), LIMITS_HERE)
}

/// What a request's buyer does with the hold.
fn end_of(n: u64) -> Option<(ShardOp, State)> {
    let key = key(n);
    match n % 3 {
        0 => {
            let late = LateConfirm::Refuse;
            Some((
                ShardOp::Confirm {
                    key,
                    late,
                    version: 0,
                },
                State::Confirmed,
            ))
        }
        1 => {
            let forbid_unknown = true;
            let cancel = ShardOp::Cancel {
                key,
                forbid_unknown,
            };
            Some((cancel, State::Cancelled))
        }
        _ => None,
    }
}

/// The process that uses the store. It says what was acknowledged, as soon as
/// it was.
#[tokio::test]
#[ignore = "run by the other tests here, as a process of its own"]
async fn victim() {
    let dir = PathBuf::from(std::env::var_os(DIR).expect("a directory in HOLDFAST_TEST_DIR"));
    for life in 0..2 {
        let store = open_whatever_happens(&dir);
        println!(
            "{SAYS}store {:x}",
            u128::from_be_bytes(store.identity().store_id)
        );
        while !is_acknowledged(submit(&store, create(SUPPLY)).await) {
            until_serving(&store).await;
        }
        for round in life * ROUNDS..(life + 1) * ROUNDS {
            use_it(&store, round).await;
        }
    }
    println!("{SAYS}done");
}

/// An open that fails changes nothing, so it may be tried again.
fn open_whatever_happens(dir: &Path) -> Embedded {
    for _ in 0..20 {
        match open_here(dir) {
            Ok(store) => return store,
            Err(error) => println!("{SAYS}not opened: {error}"),
        }
    }
    panic!("it does not open");
}

/// ⚔ Each failure is one of the two that say what they mean.
fn is_acknowledged(answer: Result<Reply, StoreError>) -> bool {
    match answer {
        Ok(reply @ Reply::Shard(ShardReply::NotFound | ShardReply::Missing)) => {
            panic!("what was acknowledged is gone: {reply:?}")
        }
        Ok(_) => true,
        Err(error @ (StoreError::OutcomeUnknown(_) | StoreError::Unavailable(_))) => {
            println!("{SAYS}failed: {error}");
            false
        }
        Err(error) => panic!("{error}"),
    }
}

/// A few holds, an end for most of them, and some that are extended again and
/// again, for the cleaner.
async fn use_it(store: &Embedded, round: u64) {
    let new = round * 6..round * 6 + 6;
    let reserves: Vec<_> = new.map(|n| (n, submit(store, reserve(n)))).collect();
    let mut held = Vec::new();
    for (n, pending) in reserves {
        if is_acknowledged(pending.await) {
            println!("{SAYS}{n} {:?}", State::Held);
            held.push(n);
        }
    }
    let ends = held.into_iter().filter_map(|n| Some((n, end_of(n)?)));
    let ends: Vec<_> = ends
        .map(|(n, (op, state))| (n, submit(store, op), state))
        .collect();
    for (n, pending, state) in ends {
        if is_acknowledged(pending.await) {
            println!("{SAYS}{n} {state:?}");
        }
    }
    let hold_for_ms = 61_000 + round;
    let extended = (0..round * 6).filter(|n| n % 3 == 2).map(|n| {
        let key = key(n);
        submit(store, ShardOp::Extend { key, hold_for_ms })
    });
    for pending in extended.collect::<Vec<_>>() {
        // Of one that was never granted nothing is known.
        let _ = pending.await;
    }
    until_serving(store).await;
}

/// What a victim said.
#[derive(Debug, Default)]
struct Said {
    stores: Vec<String>,
    states: BTreeMap<u64, String>,
    failures: Vec<String>,
    done: bool,
}

impl Said {
    fn of(output: &Output) -> Self {
        let mut said = Self::default();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        for line in text.lines().filter_map(|line| line.strip_prefix(SAYS)) {
            match line.split_once(' ') {
                None => said.done |= line == "done",
                Some(("store", id)) => said.stores.push(id.to_owned()),
                Some((n, state)) => match n.parse() {
                    Ok(n) => drop(said.states.insert(n, state.to_owned())),
                    Err(_) => said.failures.push(line.to_owned()),
                },
            }
        }
        said
    }
}

/// Runs a victim under strace, with these options of it; the log of strace.
fn run(dir: &Path, options: &[String]) -> (Output, String) {
    let log = dir.with_extension("strace");
    let mut strace = Command::new("strace");
    // Without its --seccomp-bpf, by which injected signals get lost.
    strace.args(["-f", "-q", "-o"]).arg(&log);
    strace.args(options);
    for name in [
        "",
        "holdfast.db",
        "holdfast.db-wal",
        "holdfast.db-shm",
        "holdfast.db.new",
        "holdfast.db.new-journal",
    ] {
        strace.arg("-P").arg(if name.is_empty() {
            dir.to_owned()
        } else {
            dir.join(name)
        });
    }
    let victim = concat!(module_path!(), "::victim");
    let victim = victim.split_once("::").unwrap().1;
    strace
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", victim, "--ignored", "--nocapture"])
        .env(DIR, dir)
        .stdin(Stdio::null());
    let output = strace.output().unwrap_or_else(|error| {
        panic!("strace is needed ({error}): run tests/run, or 'apt-get install strace'")
    });
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        !stderr.contains("strace: ") || !output.stdout.starts_with(b"\nrunning"),
        "strace cannot trace a process here; where it is a container, allow it CAP_SYS_PTRACE: {stderr}"
    );
    let log_text = fs::read_to_string(&log).unwrap();
    fs::remove_file(log).unwrap();
    (output, log_text)
}

/// A directory whose name is what the kernel calls it.
fn new_dir() -> (tempfile::TempDir, PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().canonicalize().unwrap().join("store");
    fs::create_dir(&dir).unwrap();
    (home, dir)
}

/// How often each call is made on the store's files, by the thread that makes it
/// most: strace counts for each thread.
fn count_calls() -> BTreeMap<String, usize> {
    let (_home, dir) = new_dir();
    let (output, log) = run(&dir, &["-e".into(), "trace=%file,%desc".into()]);
    assert!(Said::of(&output).done, "{output:?}");
    let mut counts = BTreeMap::new();
    for line in log.lines().filter(|line| !line.contains("resumed>")) {
        let (thread, call) = line.split_once(' ').unwrap();
        let call = call.trim_start().split('(').next().unwrap();
        *counts.entry((call.to_owned(), thread)).or_insert(0) += 1;
    }
    let mut most = BTreeMap::new();
    for ((call, _), count) in counts {
        let so_far = most.entry(call).or_insert(0);
        *so_far = count.max(*so_far);
    }
    most
}

/// Lets calls of these kinds fail, each in its turn and in a run of its own.
/// `how` is strace's word for what happens instead.
fn fail_in_turn(calls: &[&str], how: &str) {
    let (seed, mut random) = seeded();
    let counts = count_calls();
    let mut told = 0;
    let mut cases = 0;
    for call in calls {
        let Some(count) = counts.get(*call) else {
            continue;
        };
        let mut turns: Vec<_> = (1..=*count).collect();
        if times() == 1 {
            turns.shuffle(&mut random);
            turns.truncate(SAMPLE);
        }
        for turn in turns {
            // Some go on for a while.
            let last = turn + if random.random_ratio(1, 4) { 2 } else { 0 };
            let inject = format!("inject={call}:{how}:when={turn}..{last}");
            let options = ["-e", &format!("trace={call}"), "-e", &inject].map(String::from);
            let (happened, failures) = judge(&options, &format!("seed {seed}, {inject}"));
            cases += usize::from(happened);
            told += usize::from(failures);
        }
    }
    println!("{how}: {cases} cases, told of in {told}");
    assert!(cases > SAMPLE / 2, "only {cases} calls failed: no bite");
    let kills = how.contains("signal");
    // SQLite need not tell of one in a copy of its log: the log is still there.
    assert!(kills || told > 0, "of {cases} failures none was told of");
}

/// One run: whether the failure came, and whether the victim was told of one.
fn judge(options: &[String], at: &str) -> (bool, bool) {
    let (_home, dir) = new_dir();
    let (output, log) = run(&dir, options);
    let said = Said::of(&output);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!stderr.contains("panicked"), "{at}: {said:#?}\n{stderr}");
    let killed = log.contains("killed by SIGKILL");
    assert!(said.done || killed, "{at}: {said:#?}\n{stderr}");

    let store = open_here(&dir).unwrap_or_else(|error| panic!("{at}: {error}"));
    let id = format!("{:x}", u128::from_be_bytes(store.identity().store_id));
    assert!(
        said.stores.iter().all(|said| *said == id),
        "{at}: now it is {id}, {said:#?}"
    );
    let opened = {
        drop(store);
        disk_of(&dir).open().unwrap()
    };
    let found = opened.stripes[usize::from(stripe().0)].shards.get(&shard());
    for (n, state) in &said.states {
        let found = found.and_then(|shard| shard.records.get(&key(*n)));
        let found = found.unwrap_or_else(|| panic!("{at}: {n} is gone, {said:#?}"));
        // The buyer may have gone on without hearing of it.
        let went_on = end_of(*n).is_some_and(|(_, end)| found.state == end);
        assert!(
            format!("{:?}", found.state) == *state || went_on,
            "{at}: {n} is {found:?}, {said:#?}"
        );
    }
    if let Some(shard) = found {
        let counters = &shard.header.counters;
        assert!(
            counters.check_conservation().is_none(),
            "{at}: {counters:?}"
        );
    }
    let happened = killed || log.contains("(INJECTED)");
    (happened, !said.failures.is_empty())
}

/// Whichever of these the platform's SQLite uses.
const WRITES: [&str; 3] = ["pwrite64", "write", "ftruncate"];
const SYNCS: [&str; 2] = ["fsync", "fdatasync"];
const OTHERS: [&str; 6] = [
    "pread64", "openat", "unlink", "unlinkat", "rename", "renameat",
];

#[test]
fn failing_writes_lose_nothing() {
    fail_in_turn(&WRITES, "error=EIO");
}

#[test]
fn writes_to_a_full_disk_lose_nothing() {
    fail_in_turn(&WRITES, "error=ENOSPC");
}

#[test]
fn failing_syncs_lose_nothing() {
    fail_in_turn(&SYNCS, "error=EIO");
}

#[test]
fn other_calls_that_fail_lose_nothing() {
    fail_in_turn(&OTHERS, "error=EIO");
}

#[test]
fn a_process_killed_at_any_write_or_sync_loses_nothing() {
    let calls: Vec<_> = WRITES.iter().chain(&SYNCS).copied().collect();
    fail_in_turn(&calls, "signal=KILL");
}
