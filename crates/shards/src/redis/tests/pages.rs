//! Reading many records by HSCAN, whose steps have a size of their own.

use std::collections::{BTreeMap, BTreeSet};

use super::guard::{call, init, shard_key};
use super::server::{Redis, Server};
use crate::ids::RecordKey;
use crate::machine::tests::fixture::{DAY_MS, buyer, key, reserve, settings};
use crate::machine::tests::random::Rng;
use crate::machine::{
    Cursor, LIST_LOOKS_MAX, Op, RecordSums, Reply, Settings, ShardOp, ShardReply, Stamp, State,
};
use crate::redis::script::{Answer, Call, Ran, What};

fn run(redis: &mut Redis, ops: Vec<ShardOp>) -> Vec<ShardReply> {
    run_at(redis, 0, ops)
}

fn run_at(redis: &mut Redis, seconds: u64, ops: Vec<ShardOp>) -> Vec<ShardReply> {
    let ops: Vec<_> = ops
        .into_iter()
        .map(|op| Op::Shard(shard_key(), op))
        .collect();
    let refs: Vec<_> = ops.iter().collect();
    let call = call(What::Ops(&refs));
    let now = call.stamp.now.plus_ms(1_000 * seconds);
    let stamp = Stamp { now, ..call.stamp };
    match redis.run(&Call { stamp, ..call }) {
        Ok(Ran::Ops { answers, .. }) => answers
            .into_iter()
            .map(|answer| match answer {
                Answer::Reply(Reply::Shard(reply)) => reply,
                other => panic!("{other:?}"),
            })
            .collect(),
        other => panic!("{other:?}"),
    }
}

/// A shard with as many holds, of two buyers in turn.
fn with_holds(redis: &mut Redis, holds: u32) {
    redis.ask(&[b"FLUSHALL"]);
    init(redis);
    let create = ShardOp::Create {
        settings: Settings {
            retention_ms: 1_000,
            hold_ttl_ms: DAY_MS,
            ..settings()
        },
        version: 1,
        supply: Some(1_000_000),
    };
    run(redis, vec![create]);
    add(redis, 0..holds);
}

fn hold(n: u32) -> RecordKey {
    // Spread, as ids are.
    key(n % 2, n.wrapping_mul(0x9e37_79b9))
}

fn add(redis: &mut Redis, holds: std::ops::Range<u32>) {
    let all: Vec<_> = holds.map(|n| reserve(hold(n), 1)).collect();
    for some in all.chunks(128) {
        run(redis, some.to_vec());
    }
}

/// Has them cancelled and purged: the table becomes smaller. Takes two seconds
/// of the store's time.
fn remove(redis: &mut Redis, at: u64, holds: std::ops::Range<u32>) {
    let cancels: Vec<_> = holds
        .map(|n| ShardOp::Cancel {
            key: hold(n),
            forbid_unknown: false,
        })
        .collect();
    for some in cancels.chunks(128) {
        run_at(redis, at, some.to_vec());
    }
    let purge = || vec![ShardOp::Purge { limit: u32::MAX }];
    while let [ShardReply::Swept { more: true, .. }] = run_at(redis, at + 2, purge())[..] {}
}

type Page = (Vec<RecordKey>, Option<Cursor>);

fn page(redis: &mut Redis, after: Option<Cursor>, limit: u32, of_one: bool) -> Page {
    let list = ShardOp::List {
        after,
        limit,
        buyer: of_one.then(|| buyer(1)),
        states: vec![State::Held],
    };
    match run(redis, vec![list]).remove(0) {
        ShardReply::Listed { reservations, next } => {
            assert!(reservations.len() <= limit as usize);
            let keys = reservations.into_iter().map(|(key, _)| key).collect();
            (keys, next)
        }
        other => panic!("no page: {other:?}"),
    }
}

/// Small hashes come whole, large ones in steps of a few.
#[test]
fn a_listing_meets_each_record_once_if_nothing_changes() {
    let server = Server::start();
    let redis = &mut server.connect();
    for holds in [0, 1, 2, 100, 128, 129, 600, 3_000] {
        with_holds(redis, holds);
        for limit in [1, 2, 7, 100, u32::MAX] {
            if limit < 7 && holds > 600 {
                continue;
            }
            for of_one in [false, true] {
                let mut found: BTreeMap<RecordKey, u32> = BTreeMap::new();
                let (mut after, mut pages) = (None, 0);
                loop {
                    let (keys, next) = page(redis, after, limit, of_one);
                    for key in keys {
                        *found.entry(key).or_default() += 1;
                    }
                    pages += 1;
                    after = next;
                    if after.is_none() {
                        break;
                    }
                }
                let all = (0..holds)
                    .map(hold)
                    .filter(|key| !of_one || key.buyer == buyer(1));
                assert!(all.clone().all(|key| found.contains_key(&key)));
                assert_eq!(found.len(), all.count(), "{holds}, {limit}");
                assert!(found.values().all(|times| *times == 1), "{holds}, {limit}");
                if limit == u32::MAX {
                    assert_eq!(pages, holds.div_ceil(LIST_LOOKS_MAX).max(1));
                }
            }
        }
    }
}

/// What is there from the first page to the last is met, though the table grows
/// and shrinks meanwhile. Pages of one record: a step of the scan that has two
/// is cut, and where it was cut others may stand when it goes on.
#[test]
fn a_listing_misses_nothing_that_stays() {
    let server = Server::start();
    let redis = &mut server.connect();
    for seed in 0..60 {
        let mut rng = Rng::new(seed);
        let limit = rng.pick(&[1, 1, 1, 2, 5]);
        // The first stay.
        let stay = rng.between(2, 60);
        let mut there = rng.between(200, 800);
        with_holds(redis, there);
        let mut found = BTreeSet::new();
        let (mut after, mut at) = (None, 0);
        let mut changes_in = rng.between(1, 40);
        loop {
            let (keys, next) = page(redis, after, limit, false);
            found.extend(keys);
            after = next;
            if after.is_none() {
                break;
            }
            changes_in -= 1;
            if changes_in == 0 {
                changes_in = rng.between(1, 40);
                let to = rng.pick(&[stay, stay, 129, 800]).max(stay);
                if to > there {
                    add(redis, there..to);
                } else {
                    remove(redis, at, to..there);
                    at += 2;
                }
                there = to;
            }
        }
        for n in 0..stay {
            assert!(found.contains(&hold(n)), "{n} of {stay}, seed {seed}");
        }
    }
}

#[test]
fn a_recount_counts_each_record_once() {
    let server = Server::start();
    let redis = &mut server.connect();
    for holds in [0, 1, 128, 129, 3_000] {
        with_holds(redis, holds);
        for limit in [1, 100, 4_096] {
            let (mut sums, mut after, mut first) = (RecordSums::default(), None, None);
            loop {
                let inspect = ShardOp::Inspect { after, limit };
                let ShardReply::Inspected {
                    reading,
                    sums: more,
                    next,
                } = run(redis, vec![inspect]).remove(0)
                else {
                    panic!("no recount");
                };
                assert_eq!(*first.get_or_insert(reading.revision), reading.revision);
                sums += more;
                after = next;
                if after.is_none() {
                    break;
                }
            }
            let expected = RecordSums {
                records: holds.into(),
                held: holds.into(),
                sold: 0,
            };
            assert_eq!(sums, expected, "{holds}, {limit}");
        }
    }
}

/// A page sees what was done before it in its batch, and what comes after it in
/// its batch is whole.
#[test]
fn a_page_in_the_middle_of_a_batch() {
    let server = Server::start();
    let redis = &mut server.connect();
    with_holds(redis, 3);
    let list = ShardOp::List {
        after: None,
        limit: 100,
        buyer: None,
        states: Vec::new(),
    };
    let cancel = |n| ShardOp::Cancel {
        key: hold(n),
        forbid_unknown: true,
    };
    let ops = vec![
        reserve(hold(5), 1),
        cancel(1),
        list.clone(),
        cancel(5),
        cancel(9),
        reserve(hold(6), 1),
        list,
        ShardOp::Look,
    ];
    let replies = run(redis, ops);
    let listed = |at: usize| match &replies[at] {
        ShardReply::Listed { reservations, .. } => reservations.len(),
        other => panic!("{other:?}"),
    };
    assert_eq!((listed(2), listed(6)), (4, 6));
    // The sizes are still those of the parts.
    let after = run(redis, vec![ShardOp::Look]);
    assert!(matches!(after[..], [ShardReply::Read(_)]), "{after:?}");
}
