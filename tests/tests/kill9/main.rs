//! `kill -9` at random moments under load: what was acknowledged is there
//! again, and nothing else than what was asked for. The callers' own log of
//! acknowledgements is the witness; the service's books are judged by it.
//!
//! `log` is that log, `callers` those who keep it, `check` holds it against a
//! server.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests, which may fail them"
)]

mod callers;
mod check;
mod log;

use e2e::{Ids, Server, Setup, Shop, holdfast, item, millis, within};
use proto::v1::{Item, ReservationState};
use tokio::sync::watch;
use tokio::task::{JoinSet, yield_now};

use callers::{Caller, Recent};
use check::{check, check_totals};
use log::{Adjustment, Hold, Log, Sighting};

/// How often the server is killed; `HOLDFAST_TEST_KILL9_ROUNDS` overrides it.
const ROUNDS: u32 = 32;
/// Callers at the same time.
const CALLERS: usize = 16;
/// Most answers between two kills; the moment is drawn anew for each.
const ANSWERS_MAX: u64 = 800;

/// What is on sale: id, stock at the start, settings.
fn items() -> Vec<(i64, Item)> {
    let short = Item {
        hold_ttl: Some(millis(200)),
        max_hold: Some(millis(3_600_000)),
        ..item("short")
    };
    let at_once = Item {
        sell_at_once: true,
        ..item("at-once")
    };
    let limited = Item {
        max_units_per_buyer: 3,
        ..item("limited")
    };
    vec![
        (100_000, item("plenty")),
        (40, item("scarce")),
        (100_000, short),
        (100_000, at_once),
        (100_000, limited),
    ]
}

async fn open(shop: &Shop) {
    for (stock, item) in items() {
        shop.create(item, stock).await;
    }
}

/// Lets callers work until this many answers have come, and then a moment
/// more; the server is dead when it returns, and the callers have noticed.
async fn work_until_killed(
    server: &mut Server,
    callers: Vec<Caller>,
    ids: &mut Ids,
) -> Vec<Caller> {
    let (answers, mut answered) = watch::channel(0);
    let recent = Recent::default();
    let mut at_work = JoinSet::new();
    for mut caller in callers {
        let (shop, answers, recent) = (server.shop(), answers.clone(), recent.clone());
        at_work.spawn(async move {
            caller.work(&shop, &answers, &recent).await;
            caller
        });
    }
    let moment = ids.between(0..ANSWERS_MAX);
    let reached = answered.wait_for(|count| *count >= moment);
    within("answers", reached).await.expect("callers at work");
    // Not always with an answer on its way: somewhere within the next batch.
    for _ in 0..ids.between(0..200) {
        yield_now().await;
    }
    server.kill_9();
    within("callers that notice", at_work.join_all()).await
}

/// Holds every caller's log against the server; what is found wrong.
async fn check_all(shop: &Shop, callers: &[Caller]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (_, item) in items() {
        let audit = shop.audit(&item.item_id).await;
        if audit.verdict().as_str_name() != "AUDIT_VERDICT_SOUND" {
            wrong.push(format!("{audit:?}"));
        }
    }
    let checks = callers
        .iter()
        .map(|caller| (shop.clone(), caller.log.clone()));
    let checks: JoinSet<_> = checks
        .map(|(shop, log)| async move { check(&shop, &log).await })
        .collect();
    wrong.extend(checks.join_all().await.into_iter().flatten());
    wrong
}

async fn settle_all(shop: &Shop, callers: Vec<Caller>) -> Vec<Caller> {
    let settled = callers.into_iter().map(|mut caller| {
        let shop = shop.clone();
        async move {
            caller.settle(&shop).await;
            caller
        }
    });
    settled.collect::<JoinSet<_>>().join_all().await
}

/// Every caller's log in one.
fn all_of(callers: &[Caller]) -> Log {
    let mut all = Log::default();
    for caller in callers {
        all.extend(&caller.log);
    }
    all
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_and_nothing_unknown_is_half_done() {
    let rounds = std::env::var("HOLDFAST_TEST_KILL9_ROUNDS").map_or(ROUNDS, |rounds| {
        rounds
            .parse()
            .expect("HOLDFAST_TEST_KILL9_ROUNDS is a number")
    });
    let mut ids = Ids::seeded();
    let mut server = Setup::new(holdfast!()).start().await;
    open(&server.shop()).await;
    let mut callers: Vec<_> = (0..CALLERS).map(|_| Caller::new(ids.fork())).collect();

    for round in 1..=rounds {
        callers = work_until_killed(&mut server, callers, &mut ids).await;
        server = server.restart().await;
        let shop = server.shop();
        let log = all_of(&callers);
        println!("kill {round}: {}", log.summary());

        let wrong = check_all(&shop, &callers).await;
        assert!(wrong.is_empty(), "after kill {round}: {wrong:#?}");
        callers = settle_all(&shop, callers).await;
        let wrong = check_all(&shop, &callers).await;
        assert!(wrong.is_empty(), "after kill {round}, settled: {wrong:#?}");
        let wrong = check_totals(&shop, &items(), &all_of(&callers)).await;
        assert!(wrong.is_empty(), "after kill {round}, in all: {wrong:#?}");
        for caller in &mut callers {
            // Looked up one by one, each time: those of one round will do.
            caller.log.sightings.clear();
        }
    }
}

/// The witness is worth something: a server that is put back to an earlier
/// state, as one that lost its last commits would be, is found out.
#[tokio::test]
async fn a_store_that_lost_acknowledged_work_is_found_out() {
    let mut ids = Ids::seeded();
    let mut server = Setup::new(holdfast!()).start().await;
    open(&server.shop()).await;
    let callers = (0..CALLERS).map(|_| Caller::new(ids.fork())).collect();
    let callers = work_until_killed(&mut server, callers, &mut ids).await;
    let earlier = server.start_on_copy().await;
    let mut server = server.restart().await;
    let callers = settle_all(&server.shop(), callers).await;
    let acknowledged = all_of(&callers).acknowledged();

    let mut later = callers;
    while all_of(&later).acknowledged() == acknowledged {
        later = work_until_killed(&mut server, later, &mut ids).await;
        server = server.restart().await;
    }
    assert_eq!(check_all(&server.shop(), &later).await, [""; 0]);
    let wrong = check_all(&earlier.shop(), &later).await;
    assert!(!wrong.is_empty(), "nothing seemed to be missing");
}

/// Each kind of entry that no server ever acknowledged is found out.
#[tokio::test]
async fn a_faked_acknowledgement_is_found_out() {
    let mut ids = Ids::seeded();
    let server = Server::start(holdfast!()).await;
    let shop = server.shop();
    open(&shop).await;
    let mut caller = Caller::new(ids.fork());
    let held = caller.hold_one(&shop, "plenty").await;
    assert_eq!(check(&shop, &caller.log).await, [""; 0]);

    let of = |hold: Hold| Log {
        holds: vec![hold],
        ..Log::default()
    };
    let in_state = |state| {
        of(Hold {
            state,
            ..held.clone()
        })
    };
    let never_sent = of(Hold {
        key: ids.key("plenty"),
        ..held.clone()
    });
    let adjustment = Log {
        adjustments: vec![Adjustment::acknowledged("plenty", &ids.request(), 7)],
        ..Log::default()
    };
    let sighting = Log {
        sightings: vec![Sighting {
            key: ids.key("plenty"),
            state: ReservationState::Held,
        }],
        ..Log::default()
    };
    let fakes = [
        in_state(ReservationState::Confirmed),
        in_state(ReservationState::Cancelled),
        in_state(ReservationState::Expired),
        never_sent,
        adjustment,
        sighting,
    ];
    for fake in fakes {
        let wrong = check(&shop, &fake).await;
        assert_eq!(wrong.len(), 1, "{fake:?}: {wrong:?}");
    }
}
