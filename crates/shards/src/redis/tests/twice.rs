//! A batch that is sent again since its answer was lost: the very same run, twice.
//! What is there afterwards, and what is told, is as after one.

use super::server::{Redis, Server, Value};
use crate::hash::FingerprintKey;
use crate::ids::{
    Fingerprint, Generation, ItemId, Quantity, RecordKey, RequestId, STRIPES, ShardKey, ShardNo,
    StripeNo,
};
use crate::machine::{
    Changes, Op, Reply, Selling, Settings, ShardOp, ShardReply, Stamp, StockChange, StoreIdentity,
    Stripe, StripeOp,
};
use crate::redis::keys;
use crate::redis::script::{Answer, Call, Incarnation, Ran, What};
use crate::time::Millis;

const STRIPE: StripeNo = StripeNo(7);
const MINUTE_MS: u64 = 60_000;

fn identity() -> StoreIdentity {
    StoreIdentity {
        store_id: [1; 16],
        stripes: STRIPES,
        fingerprint_key: FingerprintKey([7; 16]),
    }
}

fn call(what: What<'_>) -> Call<'_> {
    Call {
        stripe: STRIPE,
        store_id: identity().store_id,
        incarnation: Incarnation([1; 40]),
        known: 1,
        known_releases: 0,
        stamp: Stamp {
            now: Millis(1_700_000_000_000),
            full: false,
            freeze_id: 7,
        },
        skew_max_ms: u64::MAX,
        what,
    }
}

fn run(redis: &mut Redis, ops: &[Op]) -> Vec<Reply> {
    let ops: Vec<_> = ops.iter().collect();
    let Ok(Ran::Ops { answers, .. }) = redis.run(&call(What::Ops(&ops))) else {
        panic!("it was not carried out")
    };
    let reply = |answer| match answer {
        Answer::Reply(reply) => reply,
        Answer::NotYet => panic!("it does not serve"),
    };
    answers.into_iter().map(reply).collect()
}

/// As a server tells it: what was done before is told like what is done now.
fn told(mut replies: Vec<Reply>) -> Vec<Reply> {
    for reply in &mut replies {
        match reply {
            Reply::Shard(
                ShardReply::Granted { replayed, .. } | ShardReply::Changed { replayed, .. },
            ) => *replayed = false,
            // By now it is on its way; `sent` is what is credited.
            Reply::Shard(ShardReply::Lent { given, .. }) => *given = 0,
            _ => {}
        }
    }
    replies
}

/// All there is, but for how often the script ran.
fn everything(redis: &mut Redis) -> Vec<(Vec<u8>, Value)> {
    let [guard, ..] = keys::of_stripe(STRIPE);
    let mut names = redis.ask(&[b"KEYS", b"*"]).bulks();
    names.retain(|name| *name != guard);
    names.sort_unstable();
    let fields: [&[u8]; 9] = [
        b"id", b"inc", b"n", b"from", b"rel", b"time", b"frz", b"items", b"log",
    ];
    let mut words: Vec<&[u8]> = vec![b"HMGET", &guard];
    words.extend(fields);
    let mut all = vec![(guard.to_vec(), redis.ask(&words))];
    for name in names {
        let dump = redis.ask(&[b"DUMP", &name]);
        all.push((name, dump));
    }
    all
}

fn key(n: u8) -> RecordKey {
    RecordKey {
        request: RequestId([n; 16]),
        buyer: Fingerprint([n; 8]),
    }
}

fn settings() -> Settings {
    Settings {
        selling: Selling::Open,
        sale_start: None,
        sale_end: None,
        hold_ttl_ms: MINUTE_MS,
        max_hold_ms: 60 * MINUTE_MS,
        sell_at_once: false,
        counts_buyers: true,
        max_units_per_buyer: 5,
        max_units_per_reservation: 5,
        retention_ms: 60 * MINUTE_MS,
    }
}

/// The life of two shards, an operation after the other.
fn story() -> Vec<Op> {
    let shard = |shard: u8| ShardKey {
        item: ItemId::parse("shoe").unwrap(),
        generation: Generation([9; 8]),
        shard: ShardNo(shard),
    };
    let create = |supply| ShardOp::Create {
        settings: settings(),
        version: 1,
        supply,
    };
    let reserve = |n| ShardOp::Reserve {
        key: key(n),
        quantity: Quantity::new(2).unwrap(),
        version: 1,
    };
    let give_back = |request, discard| ShardOp::Return {
        key: key(1),
        request: RequestId([request; 16]),
        quantity: Quantity::new(1).unwrap(),
        discard,
    };
    let change = |request, change| ShardOp::Change {
        request: RequestId([request; 16]),
        change,
        gathered: true,
        version: 1,
    };
    let adjust = |delta| StockChange::Adjust {
        delta,
        allow_partial: true,
    };
    let cancel = |n, forbid_unknown| ShardOp::Cancel {
        key: key(n),
        forbid_unknown,
    };
    let ledger = [
        create(Some(20)),
        reserve(1),
        reserve(2),
        reserve(3),
        ShardOp::Confirm {
            key: key(1),
            late: crate::machine::LateConfirm::Refuse,
            version: 1,
        },
        give_back(51, false),
        give_back(52, true),
        cancel(2, false),
        cancel(9, true),
        ShardOp::Extend {
            key: key(3),
            hold_for_ms: 5 * MINUTE_MS,
        },
        change(61, adjust(7)),
        change(62, adjust(-3)),
        change(63, adjust(-1_000)),
        change(
            64,
            StockChange::SetTotal {
                total: 40,
                expected: 3,
            },
        ),
        ShardOp::Lend {
            to: ShardNo(1),
            wanted: 4,
            received: 0,
            claim: None,
        },
        ShardOp::Configure {
            settings: Settings {
                max_units_per_buyer: 4,
                ..settings()
            },
            version: 2,
        },
    ];
    let other = [
        create(None),
        ShardOp::Credit {
            from: ShardNo(0),
            sent: 4,
        },
        reserve(4),
        ShardOp::Lookup { key: key(4) },
    ];
    let ledger = ledger.map(|op| Op::Shard(shard(0), op));
    let other = other.map(|op| Op::Shard(shard(1), op));
    ledger.into_iter().chain(other).collect()
}

fn new_stripe(redis: &mut Redis) {
    redis.ask(&[b"FLUSHALL"]);
    let identity = identity();
    let init = What::Init {
        identity: &identity,
        frozen: None,
    };
    redis.run(&call(init)).unwrap();
}

#[test]
fn each_operation_twice_is_as_once() {
    let server = Server::start();
    let mut redis = server.connect();
    new_stripe(&mut redis);
    for op in story() {
        let before = everything(&mut redis);
        let first = run(&mut redis, std::slice::from_ref(&op));
        let after = everything(&mut redis);
        let reads = matches!(&op, Op::Shard(_, ShardOp::Lookup { .. }));
        assert_eq!(before == after, reads, "{op:?}");
        let again = run(&mut redis, std::slice::from_ref(&op));
        assert_eq!(told(again), told(first), "{op:?}");
        assert_eq!(everything(&mut redis), after, "{op:?}");
    }
}

/// Also when one batch has them all: what it finds the second time is their end.
#[test]
fn a_batch_twice_is_as_once() {
    let server = Server::start();
    let mut redis = server.connect();
    new_stripe(&mut redis);
    let ops = story();
    run(&mut redis, &ops);
    let once = everything(&mut redis);
    run(&mut redis, &ops);
    assert_eq!(everything(&mut redis), once);
}

/// The machine and the script on a ledger that gave some of its units twice, and
/// has others that another shard gave twice.
#[test]
fn surplus_is_taken_away_as_by_the_machine() {
    let server = Server::start();
    let mut redis = server.connect();
    let shard = ShardKey {
        item: ItemId::parse("shoe").unwrap(),
        generation: Generation([9; 8]),
        shard: ShardNo::LEDGER,
    };
    let of_shard = |op| Op::Shard(shard.clone(), op);
    let change = |request, delta, allow_partial| {
        of_shard(ShardOp::Change {
            request: RequestId([request; 16]),
            change: StockChange::Adjust {
                delta,
                allow_partial,
            },
            gathered: request % 2 == 0,
            version: 1,
        })
    };
    let begin = [
        of_shard(ShardOp::Create {
            settings: settings(),
            version: 1,
            supply: Some(5),
        }),
        of_shard(ShardOp::Reserve {
            key: key(1),
            quantity: Quantity::new(5).unwrap(),
            version: 1,
        }),
        Op::Stripe(StripeOp::Freeze {
            id: 7,
            reason: "a loss".to_owned(),
        }),
        of_shard(ShardOp::Reconcile {
            peer: ShardNo(1),
            received: 3,
        }),
        Op::Stripe(StripeOp::Release { id: 7 }),
        of_shard(ShardOp::Cancel {
            key: key(1),
            forbid_unknown: false,
        }),
        of_shard(ShardOp::Credit {
            from: ShardNo(1),
            sent: 6,
        }),
    ];
    // 11 are there, of which the ledger's books have 8.
    let stories = [
        vec![change(1, -4, false), change(2, -4, false)],
        vec![
            change(1, -7, false),
            change(2, 3, false),
            change(3, -4, true),
        ],
        vec![change(1, -8, false), change(2, -1, true)],
        vec![
            change(1, -9, false),
            change(2, -9, false),
            change(3, -9, true),
        ],
        vec![
            change(1, -12, true),
            change(2, -12, true),
            change(3, -12, false),
        ],
    ];
    for story in stories {
        new_stripe(&mut redis);
        let call = call(What::Read);
        let mut machine = Stripe::new(identity(), call.stamp.now);
        let ops = begin.iter().chain(&story);
        for op in ops.chain([&of_shard(ShardOp::Look)]) {
            let one = std::slice::from_ref(op);
            let expected = machine.run(call.stamp, one, &mut Changes::default());
            let replies = run(&mut redis, one);
            if let Op::Shard(..) = op {
                assert_eq!(replies, expected, "{op:?}");
            }
        }
        assert_eq!(machine.shards[&shard].check(), []);
    }
}
