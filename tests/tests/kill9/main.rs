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

use std::ops::RangeInclusive;

use e2e::{Ids, Server, Setup, Shop, Store, holdfast, item, millis, within};
use proto::v1::{Item, ReservationState};
use tokio::sync::watch;
use tokio::task::{JoinSet, yield_now};

use callers::{CROWDED, Caller, Moment, Recent, crowd};
use check::{check, check_totals};
use log::{Adjustment, Hold, Log, Sighting};

/// How often the server is killed; `HOLDFAST_TEST_KILL9_ROUNDS` overrides it.
const ROUNDS: u32 = 32;
/// After so many a new store is begun: the whole log is checked each time.
const ROUNDS_OF_A_STORE: usize = 16;
/// Callers at the same time.
const CALLERS: usize = 16;
/// Most answers between two kills; the moment is drawn anew for each.
const ANSWERS_MAX: u64 = 500;

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
    // Stock under way from one shard to another when the server dies.
    let spread = |id| Item {
        shard_count: 5,
        ..item(id)
    };
    let spread_short = Item {
        item_id: "spread-short".into(),
        shard_count: 5,
        ..short.clone()
    };
    vec![
        (60, spread("spread")),
        (200, spread_short),
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
    shop.create(item(CROWDED), 1_000_000_000).await;
}

/// Lets callers work up to a random answer, and kills the server with that
/// answer or a moment later; it is dead when this returns, and the callers have
/// noticed.
async fn work_until_killed(
    server: &mut Server,
    callers: Vec<Caller>,
    ids: &mut Ids,
) -> Vec<Caller> {
    let (answers, mut answered) = watch::channel(0);
    let with_the_answer = ids.between(0..4) > 0;
    let moment = Moment {
        at: ids.between(1..ANSWERS_MAX),
        answers,
        killer: with_the_answer.then(|| server.killer()),
    };
    let recent = Recent::default();
    let mut at_work = JoinSet::new();
    for mut caller in callers {
        let (shop, moment, recent) = (server.shop(), moment.clone(), recent.clone());
        at_work.spawn(async move {
            caller.work(&shop, &moment, &recent).await;
            caller
        });
    }
    let mut others = JoinSet::new();
    others.spawn(crowd(server.shop(), ids.fork()));
    let reached = answered.wait_for(|count| *count >= moment.at);
    within("answers", reached).await.expect("callers at work");
    // Somewhere within the next commit, or the one after.
    for _ in 0..ids.between(0..200) {
        yield_now().await;
    }
    server.kill_9();
    within("a crowd that notices", others.join_all()).await;
    within("callers that notice", at_work.join_all()).await
}

/// Holds every caller's log against the server; what is found wrong.
async fn check_all(shop: &Shop, callers: &[Caller]) -> Vec<String> {
    let mut wrong = Vec::new();
    let ids = items().into_iter().map(|(_, item)| item.item_id);
    for id in ids.chain([CROWDED.into()]) {
        let audit = shop.audit(&id).await;
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
    kill_often(|| Store::Embedded, ROUNDS).await;
}

/// What a dead server had sent is done or not, and its store goes on; fewer
/// kills, for there is no disk of the server's own.
#[tokio::test]
async fn nothing_acknowledged_is_lost_in_redis() {
    kill_often(Store::redis, ROUNDS / 8).await;
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_in_a_cluster() {
    kill_often(Store::cluster, ROUNDS / 8).await;
}

async fn kill_often(store: fn() -> Store, rounds: u32) {
    let kills = std::env::var("HOLDFAST_TEST_KILL9_ROUNDS").map_or(rounds, |rounds| {
        rounds
            .parse()
            .expect("HOLDFAST_TEST_KILL9_ROUNDS is a number")
    });
    let mut ids = Ids::seeded();
    for first in (1..=kills).step_by(ROUNDS_OF_A_STORE) {
        let end = kills.min(first - 1 + u32::try_from(ROUNDS_OF_A_STORE).unwrap());
        kill_one_store(&store(), first..=end, &mut ids).await;
    }
}

#[expect(clippy::print_stdout, reason = "what a failure was preceded by")]
async fn kill_one_store(store: &Store, rounds: RangeInclusive<u32>, ids: &mut Ids) {
    let mut server = store.serve(holdfast!()).await;
    open(&server.shop()).await;
    let mut callers: Vec<_> = (0..CALLERS).map(|_| Caller::new(ids.fork())).collect();
    for round in rounds {
        callers = work_until_killed(&mut server, callers, ids).await;
        server = server.restart().await;
        let shop = server.shop();
        println!("kill {round}: {}", all_of(&callers).summary());

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
