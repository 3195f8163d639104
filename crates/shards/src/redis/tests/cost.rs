//! What a reservation costs: `cargo test -p shards --lib redis::tests::cost --
//! --ignored --nocapture`. Figures, not promises: nothing is asserted.

use super::guard::{STRIPE, call, init, shard_key};
use super::server::{Redis, Server};
use crate::ids::{Fingerprint, Quantity, RecordKey, RequestId};
use crate::machine::tests::fixture::{T0, settings};
use crate::machine::tests::random::Rng;
use crate::machine::{LateConfirm, Op, Reply, Settings, ShardOp, ShardReply, Stamp};
use crate::redis::keys;
use crate::redis::script::{Answer, Call, Ran, What};

/// Seconds of CPU that the server has used, and microseconds in scripts.
fn used(redis: &mut Redis) -> (f64, f64) {
    let mut number = |section: &str, after: &[&str]| {
        let info = redis.ask(&[b"INFO", section.as_bytes()]).bulk();
        let info = String::from_utf8(info).unwrap();
        let mut rest = &*info;
        for text in after {
            rest = rest.split_once(text)?.1;
        }
        let end = rest.find(['\r', ',']).unwrap();
        Some(rest[..end].parse::<f64>().unwrap())
    };
    let user = number("cpu", &["used_cpu_user:"]).unwrap();
    let system = number("cpu", &["used_cpu_sys:"]).unwrap();
    let script = number("commandstats", &["cmdstat_evalsha:", "usec="]);
    (user + system, script.unwrap_or(0.0))
}

fn memory(redis: &mut Redis) -> f64 {
    let info = redis.ask(&[b"INFO", b"memory"]).bulk();
    let info = String::from_utf8(info).unwrap();
    let line = info
        .lines()
        .find_map(|line| line.strip_prefix("used_memory:"));
    line.unwrap().parse().unwrap()
}

fn run(redis: &mut Redis, ops: &[Op], ms: u64) -> Vec<Answer> {
    let refs: Vec<&Op> = ops.iter().collect();
    let call = Call {
        stamp: Stamp {
            now: T0.plus_ms(ms),
            full: false,
            freeze_id: 1,
        },
        ..call(What::Ops(&refs))
    };
    match redis.run(&call).unwrap() {
        Ran::Ops { answers, .. } => answers,
        other => panic!("{other:?}"),
    }
}

fn open(redis: &mut Redis, settings: Settings, stock: u64) {
    redis.ask(&[b"FLUSHALL"]);
    init(redis);
    let create = ShardOp::Create {
        settings,
        version: 1,
        supply: Some(stock),
    };
    run(redis, &[Op::Shard(shard_key(), create)], 0);
}

fn random_key(rng: &mut Rng) -> RecordKey {
    let mut part = || rng.below(u32::MAX).to_be_bytes();
    let request = [part(), part(), part(), part()].concat();
    let buyer = [part(), part()].concat();
    RecordKey {
        request: RequestId(request.try_into().unwrap()),
        buyer: Fingerprint(buyer.try_into().unwrap()),
    }
}

struct Costs {
    keys: Vec<RecordKey>,
    cpu_us: f64,
    script_us: f64,
}

fn measured(
    redis: &mut Redis,
    keys: Vec<RecordKey>,
    batch: usize,
    op: impl Fn(RecordKey) -> ShardOp,
    good: impl Fn(&ShardReply) -> bool,
) -> Costs {
    let before = used(redis);
    for (n, keys) in keys.chunks(batch).enumerate() {
        let ops: Vec<_> = keys
            .iter()
            .map(|key| Op::Shard(shard_key(), op(*key)))
            .collect();
        for answer in run(redis, &ops, n as u64 / 100) {
            let Answer::Reply(Reply::Shard(reply)) = answer else {
                panic!("{answer:?}");
            };
            assert!(good(&reply), "{reply:?}");
        }
    }
    let after = used(redis);
    let each = keys.len() as f64;
    Costs {
        keys,
        cpu_us: (after.0 - before.0) * 1e6 / each,
        script_us: (after.1 - before.1) / each,
    }
}

#[test]
#[ignore = "takes a minute and asserts nothing"]
fn microseconds_and_bytes_of_a_reservation() {
    let server = Server::start();
    let redis = &mut server.connect();
    let rng = &mut Rng::new(1);
    let plain = Settings {
        counts_buyers: false,
        ..settings()
    };
    let limited = Settings {
        max_units_per_buyer: 4,
        ..settings()
    };
    println!("us of the server's CPU (of these in the script) for one operation");
    for (name, settings) in [("no limit", plain), ("limit", limited)] {
        for batch in [1, 16, 64, 128] {
            let number = if batch == 1 { 20_000 } else { 100_000 };
            open(redis, settings, 10_000_000);
            let keys = (0..number).map(|_| random_key(rng)).collect();
            let reserve = |key| ShardOp::Reserve {
                key,
                quantity: Quantity::new(1).unwrap(),
                version: 1,
            };
            let granted = |reply: &ShardReply| matches!(reply, ShardReply::Granted { .. });
            let reserved = measured(redis, keys, batch, reserve, granted);
            let confirm = |key| ShardOp::Confirm {
                key,
                late: LateConfirm::Refuse,
                version: 1,
            };
            let done = |reply: &ShardReply| matches!(reply, ShardReply::Done(_));
            let confirmed = measured(redis, reserved.keys, batch, confirm, done);

            open(redis, settings, 0);
            let keys = (0..number).map(|_| random_key(rng)).collect();
            let short = |reply: &ShardReply| matches!(reply, ShardReply::Short { .. });
            let refused = measured(redis, keys, batch, reserve, short);
            println!(
                "{name}, batch {batch:3}: reserve {:5.2} ({:5.2}), confirm {:5.2} ({:5.2}), refusal {:5.2} ({:5.2})",
                reserved.cpu_us,
                reserved.script_us,
                confirmed.cpu_us,
                confirmed.script_us,
                refused.cpu_us,
                refused.script_us,
            );
        }
    }
    for (name, settings) in [("no limit", plain), ("limit", limited)] {
        open(redis, settings, 10_000_000);
        let before = memory(redis);
        for n in 0..1_000_000_u32.div_ceil(128) {
            let ops: Vec<_> = (0..128)
                .map(|_| {
                    let reserve = ShardOp::Reserve {
                        key: random_key(rng),
                        quantity: Quantity::new(1).unwrap(),
                        version: 1,
                    };
                    Op::Shard(shard_key(), reserve)
                })
                .collect();
            run(redis, &ops, u64::from(n) / 10);
        }
        let [_, records, ..] = keys::of_shard(STRIPE, &shard_key());
        let there = redis.ask(&[b"HLEN", &records]);
        println!(
            "{name}: {:.0} bytes a held reservation at {there:?}",
            (memory(redis) - before) / 1e6
        );
    }
}
