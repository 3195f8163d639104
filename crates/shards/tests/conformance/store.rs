//! What the trait promises.

use std::time::Instant;

use shards::ids::{Fingerprint, Generation, Quantity, RecordKey, ShardKey, ShardNo, StripeNo};
use shards::machine::{LateConfirm, Op, Reply, Selling, Settings, ShardOp, ShardReply, State};
use shards::store::{Store, StoreError};

use crate::fixture::{Fixture, item, request};

const STRIPE: StripeNo = StripeNo(5);

fn shard() -> ShardKey {
    ShardKey {
        item: item("raw"),
        generation: Generation([9; 8]),
        shard: ShardNo::LEDGER,
    }
}

fn key(n: u32) -> RecordKey {
    RecordKey {
        request: request(n),
        buyer: Fingerprint([1; 8]),
    }
}

fn op(op: ShardOp) -> Op {
    Op::Shard(shard(), op)
}

fn create(supply: u64) -> Op {
    let settings = Settings {
        selling: Selling::Open,
        sale_start: None,
        sale_end: None,
        hold_ttl_ms: 60_000,
        max_hold_ms: 60_000,
        sell_at_once: false,
        counts_buyers: true,
        max_units_per_buyer: 0,
        max_units_per_reservation: 100,
        retention_ms: 600_000,
    };
    op(ShardOp::Create {
        settings,
        version: 1,
        supply: Some(supply),
    })
}

fn reserve(n: u32) -> Op {
    op(ShardOp::Reserve {
        key: key(n),
        quantity: Quantity::new(1).unwrap(),
        version: 1,
    })
}

fn confirm(n: u32) -> Op {
    op(ShardOp::Confirm {
        key: key(n),
        late: LateConfirm::Refuse,
        version: 0,
    })
}

fn cancel(n: u32) -> Op {
    op(ShardOp::Cancel {
        key: key(n),
        forbid_unknown: true,
    })
}

async fn ask(store: &dyn Store, op: Op) -> ShardReply {
    match store.submit(STRIPE, op, None).await.unwrap() {
        Reply::Shard(reply) => reply,
        other => panic!("{other:?}"),
    }
}

fn state(reply: &ShardReply) -> Option<State> {
    match reply {
        ShardReply::Granted { reservation, .. }
        | ShardReply::Done(reservation)
        | ShardReply::WrongState(reservation)
        | ShardReply::Ended(reservation) => Some(reservation.record.state),
        _ => None,
    }
}

pub(crate) async fn operations_of_one_stripe_run_in_the_order_in_which_they_were_queued(
    fixture: impl Fixture,
) {
    let store = fixture.store();
    let pending: Vec<_> = [
        create(1),
        reserve(1),
        reserve(2),
        cancel(1),
        reserve(2),
        confirm(2),
    ]
    .into_iter()
    .map(|op| store.submit(STRIPE, op, None))
    .collect();
    let mut replies = Vec::new();
    for pending in pending {
        let Ok(Reply::Shard(reply)) = pending.await else {
            panic!()
        };
        replies.push(reply);
    }
    assert_eq!(replies[0], ShardReply::Created);
    assert_eq!(state(&replies[1]), Some(State::Held));
    assert_eq!(
        replies[2],
        ShardReply::Short {
            wanted: 1,
            available: 0,
            held: 1
        }
    );
    assert_eq!(state(&replies[3]), Some(State::Cancelled));
    assert_eq!(state(&replies[4]), Some(State::Held));
    assert_eq!(state(&replies[5]), Some(State::Confirmed));
}

pub(crate) async fn one_batch_gives_the_answers_of_one_by_one(fixture: impl Fixture) {
    let store = fixture.store();
    ask(&*store, create(100)).await;
    // Cancel and Confirm of one hold, both orders; one id twice.
    for (n, first, second, expected) in [
        (1, cancel(1), confirm(1), State::Cancelled),
        (2, confirm(2), cancel(2), State::Confirmed),
    ] {
        let ops = [reserve(n), reserve(n), first, second];
        let pending: Vec<_> = ops
            .map(|op| store.submit(STRIPE, op, None))
            .into_iter()
            .collect();
        let mut last = None;
        for pending in pending {
            let Ok(Reply::Shard(reply)) = pending.await else {
                panic!()
            };
            last = state(&reply);
        }
        assert_eq!(last, Some(expected));
    }
    let ShardReply::Read(reading) = ask(&*store, op(ShardOp::Look)).await else {
        panic!()
    };
    let counters = reading.counters;
    assert_eq!(
        (counters.available, counters.held, counters.sold),
        (99, 0, 1)
    );
}

pub(crate) async fn an_operation_runs_though_nobody_waits_for_it(fixture: impl Fixture) {
    let store = fixture.store();
    ask(&*store, create(1)).await;
    drop(store.submit(STRIPE, reserve(1), None));
    let reply = ask(&*store, reserve(1)).await;
    assert!(
        matches!(reply, ShardReply::Granted { replayed: true, .. }),
        "{reply:?}"
    );
}

pub(crate) async fn an_overdue_operation_is_not_sent(fixture: impl Fixture) {
    let store = fixture.store();
    ask(&*store, create(1)).await;
    #[expect(clippy::disallowed_methods, reason = "a deadline that is over")]
    let over = Some(Instant::now());
    let reply = store.submit(STRIPE, reserve(1), over).await;
    assert_eq!(reply, Err(StoreError::DeadlineTooShort));
    let reply = ask(&*store, op(ShardOp::Lookup { key: key(1) })).await;
    assert_eq!(reply, ShardReply::NotFound);
}

pub(crate) async fn only_create_makes_a_shard(fixture: impl Fixture) {
    let store = fixture.store();
    for op in [reserve(1), confirm(1), cancel(1), op(ShardOp::Look)] {
        assert_eq!(ask(&*store, op).await, ShardReply::Missing);
    }
    ask(&*store, create(3)).await;
    ask(&*store, reserve(1)).await;
    // A second create finds it, and resets nothing.
    assert_eq!(ask(&*store, create(3)).await, ShardReply::Created);
    let ShardReply::Read(reading) = ask(&*store, op(ShardOp::Look)).await else {
        panic!()
    };
    assert_eq!((reading.counters.available, reading.counters.held), (2, 1));
}

pub(crate) async fn everything_acknowledged_survives_reopening(mut fixture: impl Fixture) {
    let before = {
        let store = fixture.store();
        ask(&*store, create(10)).await;
        for n in 1..=5 {
            ask(&*store, reserve(n)).await;
        }
        ask(&*store, confirm(1)).await;
        ask(&*store, cancel(2)).await;
        ask(&*store, cancel(99)).await;
        ask(&*store, op(ShardOp::Look)).await
    };
    let identity = fixture.store().identity();
    fixture.reopen();
    let store = fixture.store();
    assert_eq!(store.identity(), identity);
    assert_eq!(ask(&*store, op(ShardOp::Look)).await, before);
    for (n, expected) in [
        (1, State::Confirmed),
        (2, State::Cancelled),
        (3, State::Held),
        (99, State::Cancelled),
    ] {
        let reply = ask(&*store, op(ShardOp::Lookup { key: key(n) })).await;
        assert_eq!(state(&reply), Some(expected), "{n}");
    }
}
