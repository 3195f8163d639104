//! How a server leaves, and what it finds when it comes back.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests, which may fail them"
)]

use client::Target;
use e2e::{Failure, Ids, Setup, Shop, Store, holdfast, item, millis, ok, poll_until, within};
use proto::v1::{
    GetItemRequest, GetStatusRequest, Item, ItemState, PauseItemRequest, Reservation,
    ReservationKey, ReservationState, ReserveOutcome,
};
use rustix::process::Signal;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::{Code, Streaming};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

e2e::on_every_store!(
    a_drain_ends_although_streams_are_open_and_loses_nothing_of_the_work_under_way,
    a_restart_finds_everything_whether_the_server_left_or_was_killed,
    callers_find_a_server_that_comes_back_at_once_on_the_same_port,
);

/// Buyers at the same time.
const BUYERS: usize = 8;

/// A stream of what health says of the server, which stays open until the
/// server closes it.
async fn watch_health(shop: &Shop) -> Streaming<HealthCheckResponse> {
    let request = HealthCheckRequest::default();
    ok(shop.health().watch(request).await)
}

/// What the stream says next; `None` once it is closed.
async fn next(stream: &mut Streaming<HealthCheckResponse>) -> Option<ServingStatus> {
    let message = within("health's next word", stream.message()).await;
    message.ok().flatten().map(|message| message.status())
}

/// Reserves, one after the other, until the server does not answer any more.
/// Returns what was granted; the number of grants is also told meanwhile.
async fn buy(shop: Shop, mut ids: Ids, granted: watch::Sender<u32>) -> Vec<Reservation> {
    let mut all = Vec::new();
    loop {
        match shop.reserve(&ids.key("sneaker"), 1).await {
            Ok(reply) => {
                let reply = reply.into_inner();
                assert_eq!(reply.outcome(), ReserveOutcome::Reserved);
                all.push(reply.reservation.unwrap());
                granted.send_modify(|count| *count += 1);
            }
            Err(status) => {
                // Either the server says that it leaves, or it has left.
                let failure = Failure::from(&status);
                match &failure.reasons[..] {
                    [] => {}
                    _ => drop(failure.is(Code::Unavailable, "DRAINING")),
                }
                return all;
            }
        }
    }
}

#[tokio::test]
async fn sigterm_tells_health_first_and_everything_is_served_on_for_the_grace_period() {
    let setup = Setup::new(holdfast!());
    let server = setup.args(&["--drain-grace", "1h"]).start().await;
    let (shop, mut ids) = (server.shop(), Ids::seeded());
    shop.create(item("sneaker"), 1_000).await;
    let mut health = watch_health(&shop).await;
    assert_eq!(next(&mut health).await, Some(ServingStatus::Serving));

    server.sigterm();
    assert_eq!(next(&mut health).await, Some(ServingStatus::NotServing));
    // On old connections and on new ones.
    for shop in [&shop, &server.shop()] {
        let reply = ok(shop.reserve(&ids.key("sneaker"), 1).await);
        assert_eq!(reply.outcome(), ReserveOutcome::Reserved);
        let said = shop.health_of(&["", "liveness", "store"]).await;
        assert_eq!(said[""].as_deref(), Some("NOT_SERVING"));
        assert_eq!(said["liveness"].as_deref(), Some("SERVING"));
        assert_eq!(said["store"].as_deref(), Some("SERVING"));
        let status = ok(shop.admin().get_status(GetStatusRequest {}).await);
        assert!(status.draining, "{status:?}");
    }
}

async fn a_drain_ends_although_streams_are_open_and_loses_nothing_of_the_work_under_way(
    store: Store,
) {
    let setup = Setup::new(holdfast!()).on(&store);
    let setup = setup.args(&["--drain-grace", "500ms", "--drain-deadline", "1s"]);
    let mut server = setup.start().await;
    let (shop, mut ids) = (server.shop(), Ids::seeded());
    shop.create(item("sneaker"), 1_000_000).await;
    let idle = server.shop();
    idle.stock("sneaker").await;
    let mut health = watch_health(&shop).await;
    let (told, mut granted) = watch::channel(0);
    let mut buyers = JoinSet::new();
    for _ in 0..BUYERS {
        buyers.spawn(buy(server.shop(), ids.fork(), told.clone()));
    }
    let busy = granted.wait_for(|count| *count >= 100);
    drop(within("work under way", busy).await.expect("buyers"));

    server.sigterm();
    // The stream and the idle connection are still open: the deadline ends them.
    server.assert_clean_exit().await;
    let mut said = Vec::new();
    while let Some(status) = next(&mut health).await {
        said.push(status);
    }
    assert_eq!(said, [ServingStatus::Serving, ServingStatus::NotServing]);
    let granted = buyers.join_all().await.concat();

    let server = server.restart().await;
    let shop = server.shop();
    let acknowledged = i64::try_from(granted.len()).unwrap();
    let [_, held, sold] = shop.units("sneaker").await;
    // Work whose answer was cut off may have been done.
    let possible = acknowledged..=acknowledged + i64::try_from(BUYERS).unwrap();
    assert!(
        possible.contains(&held),
        "{held} held, {acknowledged} acknowledged"
    );
    assert_eq!(sold, 0);
    for reservation in granted {
        let target = Target::Id(reservation.reservation_id);
        let now = ok(shop.reservation(target).await).reservation.unwrap();
        assert_eq!(now.state(), ReservationState::Held);
    }
    shop.assert_sound("sneaker").await;
}

#[tokio::test]
async fn ctrl_c_does_not_wait_for_the_grace_period() {
    let setup = Setup::new(holdfast!());
    let setup = setup.args(&["--drain-grace", "1h", "--drain-deadline", "1s"]);
    let mut server = setup.start().await;
    let shop = server.shop();
    let mut health = watch_health(&shop).await;
    assert_eq!(next(&mut health).await, Some(ServingStatus::Serving));
    server.signal(Signal::INT);
    server.assert_clean_exit().await;
}

#[tokio::test]
async fn a_second_signal_ends_the_server_at_once() {
    let setup = Setup::new(holdfast!());
    let setup = setup.args(&["--drain-grace", "1h", "--drain-deadline", "1h"]);
    let mut server = setup.start().await;
    let shop = server.shop();
    let mut health = watch_health(&shop).await;
    assert_eq!(next(&mut health).await, Some(ServingStatus::Serving));
    server.sigterm();
    assert_eq!(next(&mut health).await, Some(ServingStatus::NotServing));
    server.sigterm();
    assert_eq!(server.exit_status().await.code(), Some(128 + 15));
}

/// What there is to be found again.
struct Made {
    held: ReservationKey,
    confirmed: ReservationKey,
    cancelled: ReservationKey,
    adjustment: String,
}

async fn make(shop: &Shop, ids: &mut Ids) -> Made {
    let limited = Item {
        display_name: "Sneaker 42".into(),
        hold_ttl: Some(millis(3_600_000)),
        max_units_per_buyer: 2,
        ..item("sneaker")
    };
    shop.create(limited, 10).await;
    shop.create(item("paused"), 3).await;
    let (item_id, reason) = ("paused".into(), "wrong price".into());
    ok(shop
        .admin()
        .pause_item(PauseItemRequest { item_id, reason })
        .await);
    let [held, confirmed, cancelled] = [(), (), ()].map(|()| ids.key("sneaker"));
    for key in [&held, &confirmed, &cancelled] {
        ok(shop.reserve(key, 2).await);
    }
    ok(shop.confirm(Target::Key(confirmed.clone())).await);
    ok(shop.cancel(Target::Key(cancelled.clone())).await);
    let adjustment = ids.request();
    ok(shop.adjust("sneaker", 5, &adjustment).await);
    Made {
        held,
        confirmed,
        cancelled,
        adjustment,
    }
}

async fn find(shop: &Shop, made: &Made, ids: &mut Ids) {
    assert_eq!(shop.units("sneaker").await, [11, 2, 2]);
    for (key, state, outcome) in [
        (&made.held, ReservationState::Held, ReserveOutcome::Reserved),
        (
            &made.confirmed,
            ReservationState::Confirmed,
            ReserveOutcome::Reserved,
        ),
        (
            &made.cancelled,
            ReservationState::Cancelled,
            ReserveOutcome::AlreadyEnded,
        ),
    ] {
        let reply = ok(shop.reserve(key, 2).await);
        assert_eq!(reply.outcome(), outcome);
        assert_eq!(reply.reservation.unwrap().state(), state);
    }
    let again = ok(shop.adjust("sneaker", 5, &made.adjustment).await);
    assert_eq!((again.applied_delta, again.replayed), (Some(5), true));
    // The buyers' counts, too.
    let more = ids.key_of("sneaker", &made.confirmed.buyer_id);
    let reply = ok(shop.reserve(&more, 1).await);
    assert_eq!(reply.outcome(), ReserveOutcome::BuyerLimitReached);

    let item_id = "paused".into();
    let paused = ok(shop.admin().get_item(GetItemRequest { item_id }).await)
        .item
        .unwrap();
    assert_eq!(
        (paused.state(), &*paused.state_reason),
        (ItemState::Paused, "wrong price")
    );
    let item_id = "sneaker".into();
    let sneaker = ok(shop.admin().get_item(GetItemRequest { item_id }).await)
        .item
        .unwrap();
    assert_eq!(sneaker.display_name, "Sneaker 42");
    shop.assert_sound("sneaker").await;
}

async fn a_restart_finds_everything_whether_the_server_left_or_was_killed(store: Store) {
    let mut server = store.serve(holdfast!()).await;
    let mut ids = Ids::seeded();
    let made = make(&server.shop(), &mut ids).await;

    server.sigterm();
    server.assert_clean_exit().await;
    let mut server = server.restart().await;
    find(&server.shop(), &made, &mut ids).await;

    server.kill_9();
    let server = server.restart().await;
    find(&server.shop(), &made, &mut ids).await;
}

async fn callers_find_a_server_that_comes_back_at_once_on_the_same_port(store: Store) {
    let mut server = Setup::new(holdfast!())
        .on(&store)
        .on_fixed_port()
        .start()
        .await;
    let mut ids = Ids::seeded();
    // A caller that stays, and one that was connected when the server left:
    // the server closes that connection, and the port remembers it.
    let shop = server.shop();
    let made = make(&shop, &mut ids).await;
    let address = server.address().to_owned();
    for kill in [false, true] {
        if kill {
            server.kill_9();
        } else {
            server.sigterm();
            server.assert_clean_exit().await;
        }
        server = server.restart().await;
        assert_eq!(server.address(), address);
        poll_until("the old connection's replacement", async || {
            let request = GetItemRequest {
                item_id: "sneaker".into(),
            };
            shop.admin().get_item(request).await.map(drop)
        })
        .await;
        find(&shop, &made, &mut ids).await;
    }
}
