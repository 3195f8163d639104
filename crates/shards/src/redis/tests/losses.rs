//! What was lost, or put there, by whatever hand: it is noticed before anything
//! is decided without it, and before anything is written.

use super::guard::{STRIPE, call, init, shard_key};
use super::server::{Redis, Server, Value};
use crate::ids::ItemId;
use crate::machine::tests::catalog::new_entry;
use crate::machine::tests::fixture::{
    HOUR_MS, T0, adjust, cancel, cancel_by_key, confirm, extend, give_back, item, key, reserve,
    settings,
};
use crate::machine::{
    CatalogOp, CatalogReply, Entry, Op, Reply, Settings, ShardOp, ShardReply, StripeOp, StripeReply,
};
use crate::redis::keys;
use crate::redis::script::{Answer, Ran, What};

fn run(redis: &mut Redis, ops: &[Op]) -> Vec<Reply> {
    let refs: Vec<_> = ops.iter().collect();
    match redis.run(&call(What::Ops(&refs))) {
        Ok(Ran::Ops { answers, .. }) => answers
            .into_iter()
            .map(|answer| match answer {
                Answer::Reply(reply) => reply,
                Answer::NotYet => panic!("it does not serve yet"),
            })
            .collect(),
        other => panic!("{other:?}"),
    }
}

fn of_shard(op: ShardOp) -> Op {
    Op::Shard(shard_key(), op)
}

fn release() -> Op {
    Op::Stripe(StripeOp::Release { id: 7 })
}

fn get(name: &str) -> Op {
    let item = item(name);
    Op::Catalog(CatalogOp::Get { item })
}

/// Every part of the shard has entries, and so has the catalog.
fn everything(redis: &mut Redis) {
    redis.ask(&[b"FLUSHALL"]);
    init(redis);
    let settings = Settings {
        max_hold_ms: 2 * HOUR_MS,
        ..settings()
    };
    let create = ShardOp::Create {
        settings,
        version: 1,
        supply: Some(50),
    };
    let [held, long, sold, gone] = [1, 2, 3, 4].map(|n| key(1, n));
    let ops = [
        create,
        reserve(held, 2),
        reserve(long, 2),
        reserve(sold, 2),
        reserve(gone, 2),
        extend(long, HOUR_MS),
        confirm(sold),
        give_back(sold, 1, 1),
        cancel(gone),
        cancel_by_key(key(1, 5)),
        adjust(1, 5),
    ];
    run(redis, &ops.map(of_shard));
    let begin = |name| {
        let new = new_entry(&item(name), 1);
        Op::Catalog(CatalogOp::BeginCreate(Box::new(new)))
    };
    run(redis, &[begin("a"), begin("b")]);
}

/// All there is but the guard, whose time and number of runs go on.
fn state(redis: &mut Redis) -> Vec<Value> {
    let [_, catalog, index] = keys::of_stripe(STRIPE);
    let shard = keys::of_shard(STRIPE, &shard_key());
    let names = shard.into_iter().chain([catalog, index]);
    names.map(|name| redis.ask(&[b"DUMP", &name])).collect()
}

/// Each part of the shard, made shorter and longer by hand.
fn hands() -> Vec<(usize, &'static str, Vec<&'static [u8]>)> {
    let of = |part, name, words: &[&'static [u8]]| (part, name, words.to_vec());
    vec![
        of(1, "records", &[b"DEL", b""]),
        of(1, "records", &[b"HSET", b"", b"x", b"y"]),
        of(2, "returns", &[b"DEL", b""]),
        of(2, "returns", &[b"HSET", b"", b"x", b"y"]),
        of(3, "adjustments", &[b"DEL", b""]),
        of(3, "adjustments", &[b"HSET", b"", b"x", b"y"]),
        of(4, "buyers", &[b"DEL", b""]),
        of(4, "buyers", &[b"HSET", b"", b"x", b"1"]),
        of(5, "expiry queue", &[b"LPOP", b""]),
        of(5, "expiry queue", &[b"RPUSH", b"", b"x"]),
        of(6, "sorted queue", &[b"DEL", b""]),
        of(6, "sorted queue", &[b"ZADD", b"", b"1", b"x"]),
        of(7, "ended queue", &[b"RPOP", b""]),
        of(7, "ended queue", &[b"RPUSH", b"", b"x"]),
        of(8, "unarrived queue", &[b"DEL", b""]),
        of(8, "unarrived queue", &[b"RPUSH", b"", b"x"]),
    ]
}

fn by_hand(redis: &mut Redis, part: usize, words: &[&[u8]]) {
    let name = &keys::of_shard(STRIPE, &shard_key())[part];
    let mut words = words.to_vec();
    words[1] = name;
    redis.ask(&words);
}

#[track_caller]
fn is_frozen(reply: &Reply, word: &str) {
    match reply {
        Reply::Frozen(freeze) => {
            assert_eq!((freeze.id, freeze.since), (7, T0));
            assert!(freeze.reason.contains(word), "{word}: {}", freeze.reason);
        }
        other => panic!("not frozen for {word}: {other:?}"),
    }
}

/// ⚔ Also the operations on what is whole wait, and nothing is changed.
#[test]
fn a_part_with_other_entries_than_the_header_says_freezes() {
    let server = Server::start();
    let redis = &mut server.connect();
    for (part, name, words) in hands() {
        everything(redis);
        by_hand(redis, part, &words);
        let before = state(redis);
        let batch = [
            get("a"),
            of_shard(reserve(key(2, 2), 1)),
            of_shard(ShardOp::Look),
        ];
        for reply in run(redis, &batch) {
            is_frozen(&reply, name);
            is_frozen(&reply, "shard 0 of item sneaker");
        }
        assert_eq!(state(redis), before, "{name}");
        // It stays so, and is still missed after a release that nobody prepared.
        is_frozen(&run(redis, &[get("a")])[0], name);
        run(redis, &[release()]);
        is_frozen(&run(redis, &[of_shard(ShardOp::Look)])[0], name);
        let ops = [
            of_shard(ShardOp::Accept),
            release(),
            of_shard(ShardOp::Lookup { key: key(7, 7) }),
        ];
        let replies = run(redis, &ops);
        assert_eq!(replies[0], Reply::Shard(ShardReply::Accepted), "{name}");
        assert_eq!(replies[2], Reply::Shard(ShardReply::NotFound), "{name}");
        let again = run(redis, &[of_shard(ShardOp::Lookup { key: key(7, 7) })]);
        assert_eq!(again, [Reply::Shard(ShardReply::NotFound)], "{name}");
    }
}

#[test]
fn the_evidence_stays_while_the_stripe_is_frozen() {
    let server = Server::start();
    let redis = &mut server.connect();
    for (part, name, words) in hands() {
        everything(redis);
        by_hand(redis, part, &words);
        for version in [5, 6] {
            let configure = ShardOp::Configure {
                settings: settings(),
                version,
            };
            let configured = Reply::Shard(ShardReply::Configured { version });
            assert_eq!(run(redis, &[of_shard(configure)]), [configured]);
        }
        let before = [release(), of_shard(reserve(key(2, 2), 1))];
        run(redis, &before);
        is_frozen(&run(redis, &[of_shard(ShardOp::Look)])[0], name);
    }
}

/// A script that fails is not undone: so it fails before its first write.
#[test]
fn a_key_of_another_type_fails_the_run_and_nothing_is_written() {
    let server = Server::start();
    let redis = &mut server.connect();
    let [guard, catalog, index] = keys::of_stripe(STRIPE);
    let shard = keys::of_shard(STRIPE, &shard_key());
    for name in shard.iter().chain([&catalog, &index]) {
        everything(redis);
        redis.ask(&[b"DEL", name]);
        redis.ask(&[b"SETBIT", name, b"100", b"1"]);
        if *name == shard[0] {
            redis.ask(&[b"DEL", name]);
            redis.ask(&[b"RPUSH", name, b"x"]);
        }
        let before = (state(redis), redis.ask(&[b"DUMP", &guard]));
        let ops = [of_shard(reserve(key(2, 2), 1)), get("a")];
        let refs: Vec<_> = ops.iter().collect();
        let failed = redis.run(&call(What::Ops(&refs))).unwrap_err();
        assert!(failed.0.contains("WRONGTYPE"), "{name:?}: {failed}");
        let after = (state(redis), redis.ask(&[b"DUMP", &guard]));
        assert_eq!(after, before, "{name:?}");
    }
}

/// Only `Create` makes a shard: what is left of one is not one.
#[test]
fn a_shard_without_its_header_is_missing() {
    let server = Server::start();
    let redis = &mut server.connect();
    everything(redis);
    by_hand(redis, 0, &[b"DEL", b""]);
    let before = state(redis);
    let ops = [
        reserve(key(2, 2), 1),
        ShardOp::Look,
        cancel_by_key(key(3, 3)),
    ];
    let replies = run(redis, &ops.map(of_shard));
    assert_eq!(replies, [(); 3].map(|()| Reply::Shard(ShardReply::Missing)));
    assert_eq!(state(redis), before);
    // Deleted, nothing of it stays behind.
    run(redis, &[of_shard(ShardOp::Delete)]);
    for name in keys::of_shard(STRIPE, &shard_key()) {
        assert_eq!(redis.ask(&[b"EXISTS", &name]), Value::Number(0), "{name:?}");
    }
}

fn entries_of(reply: &Reply) -> Vec<ItemId> {
    match reply {
        Reply::Catalog(CatalogReply::Page {
            entries,
            more: false,
        }) => entries
            .iter()
            .map(|Entry { item, .. }| item.clone())
            .collect(),
        other => panic!("no page: {other:?}"),
    }
}

#[test]
fn a_catalog_that_lost_entries_freezes_and_is_released_with_those_it_has() {
    let server = Server::start();
    let redis = &mut server.connect();
    let [_, catalog, index] = keys::of_stripe(STRIPE);
    let entries = Op::Stripe(StripeOp::Entries {
        after: None,
        limit: 10,
    });
    let tampers: [(&[&[u8]], &[&str]); 4] = [
        (&[b"HDEL", &catalog, b"a"], &["b"]),
        (&[b"DEL", &catalog], &[]),
        (&[b"DEL", &index], &["a", "b"]),
        (&[b"ZADD", &index, b"0", b"c"], &["a", "b"]),
    ];
    for (tamper, left) in tampers {
        everything(redis);
        redis.ask(tamper);
        is_frozen(&run(redis, &[get("b")])[0], "the catalog");
        let left: Vec<_> = left.iter().map(|name| item(name)).collect();
        // What is to be repaired must be known.
        assert_eq!(
            entries_of(&run(redis, std::slice::from_ref(&entries))[0]),
            left
        );
        let released = run(redis, &[release()]);
        assert!(matches!(
            &released[..],
            [Reply::Stripe(StripeReply::Visited(visit))] if visit.frozen.is_none()
        ));
        let list = Op::Catalog(CatalogOp::List {
            after: None,
            limit: 10,
        });
        assert_eq!(entries_of(&run(redis, &[list])[0]), left, "{tamper:?}");
    }
}
