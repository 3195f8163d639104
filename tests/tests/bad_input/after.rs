//! What comes after Reserve: every operation on every state, and the names of
//! reservations.

use client::Target;
use e2e::{Failure, Ids, Shop, failure, instant, item, millis, ok, poll_until};
use prost_types::Duration;
use proto::v1::{
    CancelRequest, ConfirmRequest, ExtendRequest, GetReservationRequest, Item, Reservation,
    ReservationKey, ReservationState, ReserveOutcome, ReturnUnitsRequest,
};
use tonic::{Code, Response, Status};

use crate::{Row, World, row};

pub(crate) fn rows() -> Vec<Row> {
    vec![
        row("every operation on every state, twice", every_state),
        row(
            "unknown, cut or forged reservation id; one of a deleted and re-created item",
            reservation_ids,
        ),
        row("neither or both of `reservation_id` and `key`", no_target),
        row("`hold_for` 0 or negative; beyond `max_hold`", hold_for),
        row(
            "return more than was sold; twice with one id; with one id and another quantity; of a held one",
            returns,
        ),
    ]
}

const HOUR: Duration = Duration {
    seconds: 60 * 60,
    nanos: 0,
};

async fn returns(World { shop, mut ids, .. }: World) {
    let limited = Item {
        max_units_per_buyer: 3,
        ..item("it")
    };
    shop.create(limited, 5).await;
    let key = ids.key("it");
    ok(shop.reserve(&key, 3).await);
    let back = |request_id: &str, quantity, discard| ReturnUnitsRequest {
        target: Some(Target::Key(key.clone()).into()),
        request_id: request_id.into(),
        quantity,
        discard,
    };
    let send = async |request| shop.inventory().return_units(request).await;
    let (one, two) = (ids.request(), ids.request());
    let held = failure(send(back(&one, 1, false)).await);
    held.is(Code::FailedPrecondition, "RESERVATION_HELD");
    ok(shop.confirm(Target::Key(key.clone())).await);
    let wrong = ReturnUnitsRequest {
        target: None,
        ..back("", 0, false)
    };
    failure(send(wrong).await).names(&["target", "request_id", "quantity"]);
    let large = failure(send(back(&one, 4, false)).await);
    large.is(Code::FailedPrecondition, "RETURN_TOO_LARGE");
    assert_eq!(shop.units("it").await, [2, 0, 3]);

    for _ in 0..2 {
        let reply = ok(send(back(&one, 1, false)).await);
        assert_eq!(reply.reservation.unwrap().returned_quantity, 1);
        assert_eq!(shop.units("it").await, [3, 0, 2]);
    }
    let reused = failure(send(back(&one, 2, false)).await);
    reused.is(Code::AlreadyExists, "REQUEST_ID_REUSED");
    // A discarded unit is sold to nobody, and not the buyer's any more.
    ok(send(back(&two, 1, true)).await);
    assert_eq!(shop.units("it").await, [3, 0, 2]);
    let again = ReservationKey {
        buyer_id: key.buyer_id.clone(),
        ..ids.key("it")
    };
    let reply = ok(shop.reserve(&again, 2).await);
    assert_eq!(reply.outcome(), ReserveOutcome::Reserved);
    shop.assert_sound("it").await;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Confirm,
    Reacquire,
    Cancel,
    Extend,
    Get,
}

impl Op {
    const ALL: [Self; 5] = [
        Self::Get,
        Self::Extend,
        Self::Confirm,
        Self::Reacquire,
        Self::Cancel,
    ];

    async fn on(self, shop: &Shop, target: Target) -> Result<Reservation, Failure> {
        match self {
            Self::Confirm => taken(shop.confirm(target).await, |reply| reply.reservation),
            Self::Reacquire => taken(shop.reacquire(target).await, |reply| reply.reservation),
            Self::Cancel => taken(shop.cancel(target).await, |reply| reply.reservation),
            Self::Extend => taken(shop.extend(target, HOUR).await, |reply| reply.reservation),
            Self::Get => taken(shop.reservation(target).await, |reply| reply.reservation),
        }
    }
}

fn taken<T>(
    result: Result<Response<T>, Status>,
    take: impl FnOnce(T) -> Option<Reservation>,
) -> Result<Reservation, Failure> {
    match result {
        Ok(reply) => Ok(take(reply.into_inner()).expect("a reservation")),
        Err(status) => Err(Failure::from(&status)),
    }
}

/// States of the contract's table, with ways to get there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    Held,
    Confirmed,
    /// With units left to be taken anew.
    Expired,
    /// With none left.
    ExpiredSoldOut,
    Cancelled,
    Lost,
}

impl Before {
    const ALL: [Self; 6] = [
        Self::Held,
        Self::Confirmed,
        Self::Expired,
        Self::ExpiredSoldOut,
        Self::Cancelled,
        Self::Lost,
    ];

    fn item(self) -> &'static str {
        match self {
            Self::Held | Self::Confirmed | Self::Cancelled => "long",
            Self::Expired => "short",
            Self::ExpiredSoldOut | Self::Lost => "short-and-gone",
        }
    }
}

/// The contract's table: the state afterwards, or the reason of the refusal.
#[expect(clippy::match_same_arms, reason = "in the order of the table")]
fn expected(from: Before, op: Op) -> Result<ReservationState, &'static str> {
    use ReservationState::{Cancelled, Confirmed, Expired, Held, Lost};
    Ok(match (from, op) {
        (Before::Held, Op::Confirm | Op::Reacquire) => Confirmed,
        (Before::Held, Op::Cancel) => Cancelled,
        (Before::Held, Op::Extend | Op::Get) => Held,

        (Before::Confirmed, Op::Confirm | Op::Reacquire | Op::Get) => Confirmed,
        (Before::Confirmed, _) => return Err("RESERVATION_CONFIRMED"),

        (Before::Expired, Op::Reacquire) => Confirmed,
        (Before::ExpiredSoldOut, Op::Reacquire) => return Err("RESERVATION_LOST"),
        (Before::Expired | Before::ExpiredSoldOut, Op::Cancel) => Cancelled,
        (Before::Expired | Before::ExpiredSoldOut, Op::Get) => Expired,
        (Before::Expired | Before::ExpiredSoldOut, _) => return Err("RESERVATION_EXPIRED"),

        (Before::Cancelled, Op::Cancel | Op::Get) => Cancelled,
        (Before::Cancelled, _) => return Err("RESERVATION_CANCELLED"),

        (Before::Lost, Op::Cancel | Op::Get) => Lost,
        (Before::Lost, _) => return Err("RESERVATION_LOST"),
    })
}

/// A reservation to try one operation on.
struct Case {
    from: Before,
    op: Op,
    key: ReservationKey,
    id: String,
    /// Called by its id, else by its key.
    by_id: bool,
}

impl Case {
    fn target(&self) -> Target {
        if self.by_id {
            Target::Id(self.id.clone())
        } else {
            Target::Key(self.key.clone())
        }
    }
}

async fn every_state(World { shop, mut ids, .. }: World) {
    // Units enough for every case, twice over.
    for (id, ttl_ms) in [("long", 600_000), ("short", 100), ("short-and-gone", 100)] {
        let spec = Item {
            hold_ttl: Some(millis(ttl_ms)),
            max_hold: Some(millis(86_400_000)),
            ..item(id)
        };
        shop.create(spec, 100).await;
    }
    let cases = every_case(&shop, &mut ids).await;

    for Case {
        from, op, key, id, ..
    } in &cases
    {
        let now = ok(shop.reservation(Target::Id(id.clone())).await)
            .reservation
            .unwrap();
        let named = (&now.item_id, &now.request_id, &now.reservation_id);
        assert_eq!(
            named,
            (&key.item_id, &key.request_id, id),
            "{from:?} {op:?}"
        );
    }
    for case in &cases {
        let (from, op) = (case.from, case.op);
        let case_is = format!("{op:?} of {from:?}");
        let first = op.on(&shop, case.target()).await;
        let second = op.on(&shop, case.target()).await;
        match (expected(from, op), &first, &second) {
            (Ok(state), Ok(first), Ok(second)) => {
                let states = (first.state(), second.state());
                assert_eq!(states, (state, state), "{case_is}");
                let anew = from == Before::Expired && op == Op::Reacquire;
                assert_eq!(
                    (first.reacquired, second.reacquired),
                    (anew, anew),
                    "{case_is}"
                );
            }
            (Err(reason), Err(first), Err(second)) => {
                for refused in [first, second] {
                    refused.is(Code::FailedPrecondition, reason);
                }
            }
            (expected, ..) => panic!("{case_is}: {first:?}, {second:?}, not {expected:?}"),
        }
    }
    unknown_ones(&shop, &mut ids).await;
    for id in ["long", "short", "short-and-gone"] {
        shop.assert_sound(id).await;
    }
}

/// A reservation in every state for every operation, by id and by key.
async fn every_case(shop: &Shop, ids: &mut Ids) -> Vec<Case> {
    let mut cases = Vec::new();
    for from in Before::ALL {
        for op in Op::ALL {
            for by_id in [true, false] {
                let key = ids.key(from.item());
                let held = ok(shop.reserve(&key, 1).await);
                assert_eq!(held.outcome(), ReserveOutcome::Reserved);
                let id = held.reservation.unwrap().reservation_id;
                cases.push(Case {
                    from,
                    op,
                    key,
                    id,
                    by_id,
                });
            }
        }
    }
    for id in ["short", "short-and-gone"] {
        poll_until("expiry", async || match shop.units(id).await {
            [100, 0, 0] => Ok(()),
            units => Err(format!("{units:?}")),
        })
        .await;
    }
    ok(shop.adjust("short-and-gone", -100, &ids.request()).await);
    for case in &cases {
        let target = Target::Id(case.id.clone());
        match case.from {
            Before::Confirmed => drop(ok(shop.confirm(target).await)),
            Before::Cancelled => drop(ok(shop.cancel(target).await)),
            Before::Lost => drop(failure(shop.reacquire(target).await)),
            Before::Held | Before::Expired | Before::ExpiredSoldOut => {}
        }
    }
    cases
}

/// By key: `NOT_FOUND`, but for Cancel, which forbids what may still come.
async fn unknown_ones(shop: &Shop, ids: &mut Ids) {
    for op in Op::ALL {
        let target = Target::Key(ids.key("long"));
        let first = op.on(shop, target.clone()).await;
        let second = op.on(shop, target).await;
        for answer in [first, second] {
            match (op, answer) {
                (Op::Cancel, Ok(reservation)) => {
                    assert_eq!(reservation.state(), ReservationState::Cancelled);
                    assert_eq!(reservation.quantity, 0);
                }
                (Op::Cancel, Err(failure)) => panic!("{failure:?}"),
                (_, Err(failure)) => {
                    failure.is(Code::NotFound, "RESERVATION_NOT_FOUND");
                }
                (_, Ok(reservation)) => panic!("{op:?}: {reservation:?}"),
            }
        }
    }
}

async fn reservation_ids(world: World) {
    let World {
        mut server,
        shop,
        mut ids,
        ..
    } = world;
    shop.create(item("it"), 10).await;
    let key = ids.key("it");
    let id = ok(shop.reserve(&key, 1).await)
        .reservation
        .unwrap()
        .reservation_id;

    let last = if id.ends_with('a') { "b" } else { "a" };
    let forged = [
        String::new(),
        "it".into(),
        "it.".into(),
        id[..id.len() - 1].into(),
        id[1..].into(),
        format!("{id}a"),
        format!("{}{last}", &id[..id.len() - 1]),
        id.replacen("it", "at", 1),
        id.to_uppercase(),
        "ü".repeat(60),
        "x".repeat(200_000),
    ];
    for bad in forged {
        for op in Op::ALL {
            let refused = op.on(&shop, Target::Id(bad.clone())).await;
            refused.expect_err("a refusal").names(&["reservation_id"]);
        }
    }

    // Well-formed, but unknown here: made by a copy of this store that has
    // gone its own way. What of a deleted item comes with its deletion.
    server.kill_9();
    let copy = server.start_on_copy().await;
    let server = server.restart().await;
    let key = ids.key("it");
    // A copy in Redis is another process, which takes the stripes over.
    let copy = copy.shop();
    let elsewhere = poll_until("a copy that serves", async || copy.reserve(&key, 1).await).await;
    let elsewhere = elsewhere.into_inner().reservation.unwrap();
    let shop = server.shop();
    for op in Op::ALL {
        let refused = op
            .on(&shop, Target::Id(elsewhere.reservation_id.clone()))
            .await;
        let refused = refused.expect_err("a refusal");
        refused.is(Code::NotFound, "RESERVATION_NOT_FOUND");
    }
    assert_eq!(shop.units("it").await, [9, 1, 0]);
    shop.assert_sound("it").await;
}

/// Both cannot be sent.
async fn no_target(World { shop, .. }: World) {
    let mut inventory = shop.inventory();
    let extend = ExtendRequest {
        target: None,
        hold_for: Some(HOUR),
    };
    let all = [
        failure(inventory.confirm(ConfirmRequest::default()).await),
        failure(inventory.cancel(CancelRequest::default()).await),
        failure(inventory.extend(extend).await),
        failure(
            inventory
                .get_reservation(GetReservationRequest::default())
                .await,
        ),
    ];
    for refused in all {
        refused.names(&["target"]);
    }
}

async fn hold_for(World { shop, mut ids, .. }: World) {
    let spec = Item {
        hold_ttl: Some(millis(60_000)),
        max_hold: Some(millis(120_000)),
        ..item("it")
    };
    shop.create(spec, 10).await;
    let held = ok(shop.reserve(&ids.key("it"), 1).await)
        .reservation
        .unwrap();
    let target = || Target::Id(held.reservation_id.clone());

    let lengths = [
        (0, 0),
        (-1, 0),
        (0, -1),
        (0, 999_999),
        (i64::MIN, 0),
        (i64::MAX, 0),
    ];
    for (seconds, nanos) in lengths {
        let bad = Duration { seconds, nanos };
        failure(shop.extend(target(), bad).await).names(&["hold_for"]);
    }
    let unset = ExtendRequest {
        target: Some(target().into()),
        hold_for: None,
    };
    failure(shop.inventory().extend(unset).await).names(&["hold_for"]);

    let refused = failure(shop.extend(target(), millis(120_001)).await);
    refused.is(Code::FailedPrecondition, "HOLD_TOO_LONG");
    let longest = refused.metadata["max_hold_for"]
        .strip_suffix('s')
        .expect("seconds");
    let longest: f64 = longest.parse().expect("a number");
    assert!(longest > 0.0 && longest <= 120.0, "{refused:?}");

    let now = ok(shop.reservation(target()).await).reservation.unwrap();
    assert_eq!(now.expire_time, held.expire_time);
    let longer = ok(shop.extend(target(), millis(61_000)).await)
        .reservation
        .unwrap();
    assert!(instant(longer.expire_time.as_ref()) > instant(held.expire_time.as_ref()));
}
