//! Who serves a stripe, and since when.

use super::server::{Redis, Server};
use crate::ids::{ShardKey, ShardNo, StripeNo};
use crate::machine::tests::fixture::{T0, generation, identity, item};
use crate::machine::{
    CatalogOp, Freeze, Op, Reply, ShardOp, ShardReply, Stamp, StripeOp, StripeReply, Visit,
};
use crate::redis::keys;
use crate::redis::script::{Adoption, Answer, Call, Garbled, Incarnation, News, Ran, Seen, What};

pub(super) const STRIPE: StripeNo = StripeNo(7);

/// A call of the first incarnation; the clocks may differ as they like.
pub(super) fn call(what: What<'_>) -> Call<'_> {
    Call {
        stripe: STRIPE,
        store_id: identity().store_id,
        incarnation: Incarnation([1; 40]),
        known: 1,
        known_releases: 0,
        stamp: Stamp {
            now: T0,
            full: false,
            freeze_id: 7,
        },
        skew_max_ms: u64::MAX,
        what,
    }
}

/// A shard that nobody has made yet.
pub(super) fn shard_key() -> ShardKey {
    ShardKey {
        item: item("sneaker"),
        generation: generation(1),
        shard: ShardNo::LEDGER,
    }
}

pub(super) fn init(redis: &mut Redis) -> Ran {
    let identity = identity();
    let what = What::Init {
        identity: &identity,
        frozen: None,
    };
    redis.run(&call(what)).unwrap()
}

fn seen(number: u64, seq: u64) -> Seen {
    Seen {
        number,
        incarnation: Incarnation([1; 40]),
        seq,
        releases: 0,
        log: Vec::new(),
    }
}

fn visit() -> Op {
    Op::Stripe(StripeOp::Visit)
}

fn by(incarnation: u8, what: What<'_>) -> Call<'_> {
    Call {
        incarnation: Incarnation([incarnation; 40]),
        ..call(what)
    }
}

#[test]
fn a_stripe_is_made_once_and_visited() {
    let server = Server::start();
    let redis = &mut server.connect();
    assert_eq!(redis.run(&call(What::Read)), Ok(Ran::NoGuard));
    let visit = visit();
    assert_eq!(redis.run(&call(What::Ops(&[&visit]))), Ok(Ran::NoGuard));
    for _ in 0..2 {
        assert_eq!(init(redis), Ran::Taken(seen(1, 1)));
    }
    let ran = redis.run(&call(What::Ops(&[&visit])));
    let visited = Visit {
        frozen: None,
        seq: 2,
        time: T0,
    };
    let answer = Answer::Reply(Reply::Stripe(StripeReply::Visited(visited)));
    assert_eq!(
        ran,
        Ok(Ran::Ops {
            seen: seen(1, 2),
            answers: vec![answer],
            news: News::default(),
        })
    );
    let read = Ran::Guard {
        identity: identity(),
        seen: Seen {
            log: vec![Adoption {
                number: 1,
                incarnation: Incarnation([1; 40]),
                seq: 0,
            }],
            ..seen(1, 2)
        },
        frozen: false,
    };
    assert_eq!(redis.run(&call(What::Read)), Ok(read));
}

/// ⚔ Whoever is not the one that the guard names does nothing, and is told who
/// it is.
#[test]
fn a_stripe_serves_one_incarnation_and_is_taken_over_once() {
    let server = Server::start();
    let redis = &mut server.connect();
    init(redis);
    let visit = visit();
    let adopt = |expected| What::Adopt { expected };
    let fenced = |ran| match ran {
        Ok(Ran::Fenced(seen)) => seen,
        other => panic!("not fenced: {other:?}"),
    };
    let told = fenced(redis.run(&by(2, What::Ops(&[&visit]))));
    assert_eq!((told.number, told.seq, told.log.len()), (1, 1, 1));
    assert_eq!(told.incarnation, Incarnation([1; 40]));

    let Ok(Ran::Taken(taken)) = redis.run(&by(2, adopt(1))) else {
        panic!("not taken over");
    };
    let second = Incarnation([2; 40]);
    assert_eq!((taken.number, taken.seq), (2, 2));
    assert_eq!(taken.incarnation, second);
    let numbers: Vec<_> = taken.log.iter().map(|a| (a.number, a.seq)).collect();
    assert_eq!(numbers, [(1, 0), (2, 1)]);
    // Of two that saw the same only the first takes it.
    assert_eq!(fenced(redis.run(&by(3, adopt(1)))).number, 2);
    assert_eq!(fenced(redis.run(&by(1, What::Ops(&[&visit])))).number, 2);

    // The log is sent to those who do not know of the last one, and is bounded.
    for expected in 2..40 {
        let taken = redis.run(&by(4, adopt(expected)));
        assert!(matches!(taken, Ok(Ran::Taken(_))), "{taken:?}");
    }
    let ops = [&visit];
    for (known, len) in [(39, 16), (40, 0)] {
        let call = Call {
            known,
            ..by(4, What::Ops(&ops))
        };
        let Ok(Ran::Ops { seen, .. }) = redis.run(&call) else {
            panic!("not run");
        };
        assert_eq!((seen.number, seen.log.len()), (40, len));
        let newest = seen.log.last().map(|a| (a.number, a.seq));
        assert_eq!(newest, (len > 0).then_some((40, 39)));
    }
}

/// ⚔ What lost a stripe may still be at work; and units that were lost with it
/// must not be sold before that is noticed.
#[test]
fn a_stripe_that_was_taken_over_does_not_serve_for_a_second() {
    let server = Server::start();
    let redis = &mut server.connect();
    init(redis);
    let taken = redis.run(&by(2, What::Adopt { expected: 1 }));
    assert!(matches!(taken, Ok(Ran::Taken(_))), "{taken:?}");
    let get = Op::Catalog(CatalogOp::Get { item: item("x") });
    let look = Op::Shard(shard_key(), ShardOp::Look);
    let accept = Op::Shard(shard_key(), ShardOp::Accept);
    let entries = Op::Stripe(StripeOp::Entries {
        after: None,
        limit: 1,
    });
    let freeze = Op::Stripe(StripeOp::Freeze {
        id: 9,
        reason: "a test".into(),
    });
    let release = Op::Stripe(StripeOp::Release { id: 9 });
    let visit = visit();
    let ops = [
        &get, &look, &visit, &freeze, &accept, &look, &release, &entries,
    ];
    for (after_ms, waits) in [(999, true), (1_000, false)] {
        let call = Call {
            stamp: Stamp {
                now: T0.plus_ms(after_ms),
                ..by(2, What::Read).stamp
            },
            ..by(2, What::Ops(&ops))
        };
        let Ok(Ran::Ops { answers, .. }) = redis.run(&call) else {
            panic!("not run");
        };
        let waiting: Vec<_> = answers.iter().map(|a| *a == Answer::NotYet).collect();
        let w = waits;
        assert_eq!(waiting, [w, w, false, false, w, w, false, false]);
    }
}

/// ⚔ Instants are compared over all masters.
#[test]
fn a_stamp_that_is_too_far_off_changes_nothing() {
    let server = Server::start();
    let redis = &mut server.connect();
    init(redis);
    let visit = visit();
    for what in [What::Ops(&[&visit]), What::Adopt { expected: 1 }] {
        let call = Call {
            skew_max_ms: 5_000,
            ..call(what)
        };
        let Ok(Ran::Clock { master }) = redis.run(&call) else {
            panic!("not told");
        };
        assert!(master > T0);
        // By the master's own clock it runs.
        let call = Call {
            stamp: Stamp {
                now: master,
                ..call.stamp
            },
            ..call
        };
        let ran = redis.run(&call);
        assert!(
            matches!(ran, Ok(Ran::Ops { .. } | Ran::Taken(_))),
            "{ran:?}"
        );
    }
}

#[test]
fn another_stores_guard_is_refused() {
    let server = Server::start();
    let redis = &mut server.connect();
    init(redis);
    let mine = identity();
    let visit = visit();
    for what in [
        What::Ops(&[&visit]),
        What::Adopt { expected: 1 },
        What::Init {
            identity: &mine,
            frozen: None,
        },
    ] {
        let call = Call {
            store_id: [9; 16],
            ..call(what)
        };
        let store_id = mine.store_id;
        assert_eq!(redis.run(&call), Ok(Ran::Foreign { store_id }));
    }
    // Whoever reads it does not know yet which store it is.
    let read = Call {
        store_id: [0; 16],
        ..call(What::Read)
    };
    let ran = redis.run(&read);
    assert!(
        matches!(&ran, Ok(Ran::Guard { identity, .. }) if *identity == mine),
        "{ran:?}"
    );
}

/// A guard that is missing is a loss, and so is what stands in its place.
#[test]
fn a_lost_guard_is_written_as_frozen_and_released() {
    let server = Server::start();
    let redis = &mut server.connect();
    let [guard, ..] = keys::of_stripe(STRIPE);
    redis.ask(&[b"SET", &guard, b"what is this"]);
    let visit = visit();
    assert_eq!(redis.run(&call(What::Ops(&[&visit]))), Ok(Ran::NoGuard));
    let identity = identity();
    let what = What::Init {
        identity: &identity,
        frozen: Some("its guard is missing"),
    };
    assert_eq!(redis.run(&call(what)), Ok(Ran::Taken(seen(1, 1))));

    let look = Op::Shard(shard_key(), ShardOp::Look);
    let release = Op::Stripe(StripeOp::Release { id: 7 });
    let ops = [&look, &visit, &release, &look];
    let call = Call {
        known_releases: 4,
        ..call(What::Ops(&ops))
    };
    let Ok(Ran::Ops { seen, answers, .. }) = redis.run(&call) else {
        panic!("not run");
    };
    let freeze = Freeze {
        id: 7,
        since: T0,
        reason: "its guard is missing".into(),
    };
    let visited = |frozen| {
        let (seq, time) = (2, T0);
        Reply::Stripe(StripeReply::Visited(Visit { frozen, seq, time }))
    };
    let expected = [
        Reply::Frozen(freeze.clone()),
        visited(Some(freeze)),
        visited(None),
        Reply::Shard(ShardReply::Missing),
    ];
    assert_eq!(answers, expected.map(Answer::Reply));
    // More than any server knows of, so that all forget what came before.
    assert_eq!(seen.releases, 5);
}

/// A newer server may have written what this one would misread.
#[test]
fn another_format_is_left_alone() {
    let server = Server::start();
    let redis = &mut server.connect();
    init(redis);
    let [guard, ..] = keys::of_stripe(STRIPE);
    redis.ask(&[b"HSET", &guard, b"format", b"2"]);
    let visit = visit();
    let ran = redis.run(&call(What::Ops(&[&visit])));
    let Err(Garbled(why)) = ran else {
        panic!("{ran:?}");
    };
    assert!(why.contains("this store has the format 2"), "{why}");
}
