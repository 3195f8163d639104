//! Clocks that are an hour off: the machine's of a server, and a master's.

use client::Target;
use e2e::redis::{Plan, Settings};
use e2e::{Failure, Setup, Shop, failure, holdfast, item, ok, poll_until};
use proto::v1::{Item, ReservationKey, ReservationState, ReserveOutcome};
use shards::hash::catalog_stripe;
use shards::ids::ItemId;
use tonic::Code;

use crate::{Row, Store, World, row};

pub(crate) fn rows() -> Vec<Row> {
    vec![
        row("one master's clock an hour off", masters_clock)
            .on(&[Store::RedisCluster])
            .with(with_clocks),
        // With no second master there is nobody to tell who is right.
        row("the only master's clock an hour off", only_masters_clock)
            .on(&[Store::Redis])
            .with(with_clocks),
        row("one server's clock an hour off", servers_clock).on(&Store::REDIS),
    ]
}

const HOUR: i64 = 3_600;

/// Nodes whose clocks can be moved.
fn with_clocks(store: Store) -> Setup {
    let moved = |settings: Settings| settings.clock_ahead(0);
    let store = match store {
        Store::RedisCluster => e2e::Store::of_plan(Plan::new(3, 0).settings(moved)),
        _ => e2e::Store::of_node(moved(Settings::default())),
    };
    Setup::new(holdfast!()).on(&store)
}

/// An item of one stripe, with a hold.
struct Held {
    id: String,
    slot: u16,
    key: ReservationKey,
}

impl Held {
    async fn new(world: &mut World, id: &str) -> Self {
        let spec = Item {
            shard_count: 1,
            ..item(id)
        };
        world.shop.create(spec, 100).await;
        let key = world.ids.key(id);
        ok(world.shop.reserve(&key, 1).await);
        let stripe = catalog_stripe(&ItemId::parse(id).expect("an id"));
        Self {
            id: id.into(),
            slot: u16::from(stripe.0) * 256 + 128,
            key,
        }
    }

    async fn is_held(&self, shop: &Shop) {
        let reply = ok(shop.reservation(Target::Key(self.key.clone())).await);
        let state = reply.reservation.expect("a reservation").state();
        assert_eq!(state, ReservationState::Held, "{}", self.id);
    }
}

/// Waits until a call on an item is told of the clocks.
async fn told(world: &mut World, id: &str) {
    let World { shop, ids, .. } = world;
    poll_until("clocks that are told of", async || {
        match shop.reserve(&ids.key(id), 1).await {
            Ok(reply) => Err(format!("{:?}", reply.get_ref())),
            Err(status) => {
                let failure = Failure::from(&status);
                failure.is(Code::Unavailable, "CLOCK_SKEW");
                Ok(())
            }
        }
    })
    .await;
}

async fn serves(world: &mut World, id: &str) {
    let World { shop, ids, .. } = world;
    let key = ids.key(id);
    poll_until("a stripe that serves", async || {
        match shop.reserve(&key, 1).await {
            Ok(reply) => {
                assert_eq!(reply.get_ref().outcome(), ReserveOutcome::Reserved);
                Ok(())
            }
            Err(status) => Err(status.to_string()),
        }
    })
    .await;
}

async fn masters_clock(mut world: World) {
    let mut items = Vec::new();
    for number in 0..12 {
        items.push(Held::new(&mut world, &format!("it-{number}")).await);
    }
    let store = world.server.store().clone();
    let wrong = store.node_of_slot(items[0].slot);
    for ahead in [HOUR, -HOUR] {
        wrong.set_clock_ahead(ahead);
        told(&mut world, &items[0].id).await;
        for held in &items {
            if store.node_of_slot(held.slot).port() == wrong.port() {
                let refused = failure(world.shop.reserve(&world.ids.key(&held.id), 1).await);
                refused.is(Code::Unavailable, "CLOCK_SKEW");
            } else {
                let reply = ok(world.shop.reserve(&world.ids.key(&held.id), 1).await);
                assert_eq!(reply.outcome(), ReserveOutcome::Reserved);
                held.is_held(&world.shop).await;
            }
        }
        // A server that starts now sees the same.
        let second = world.another_shop().await;
        let refused = failure(second.reserve(&world.ids.key(&items[0].id), 1).await);
        refused.is(Code::Unavailable, "CLOCK_SKEW");

        wrong.set_clock_ahead(0);
        serves(&mut world, &items[0].id).await;
        for held in &items {
            held.is_held(&world.shop).await;
        }
    }
    for held in &items {
        world.shop.assert_sound(&held.id).await;
    }
}

async fn only_masters_clock(mut world: World) {
    let held = Held::new(&mut world, "it").await;
    let store = world.server.store().clone();
    for ahead in [HOUR, -HOUR] {
        let node = &store.nodes()[0];
        node.set_clock_ahead(ahead);
        told(&mut world, "it").await;
        node.set_clock_ahead(0);
        serves(&mut world, "it").await;
        held.is_held(&world.shop).await;
    }
    world.shop.assert_sound("it").await;
}

/// Of several masters most are right, whatever a server's machine says; of one
/// it and that machine have to agree.
async fn servers_clock(mut world: World) {
    let held = Held::new(&mut world, "it").await;
    for ahead in [HOUR, -HOUR] {
        let setup = Setup::new(holdfast!()).on(world.server.store());
        let wrong = setup.clock_ahead(ahead).start().await;
        let shop = wrong.shop();
        let reply = shop.reserve(&world.ids.key("it"), 1).await;
        if world.store == Store::RedisCluster {
            assert_eq!(ok(reply).outcome(), ReserveOutcome::Reserved);
            held.is_held(&shop).await;
        } else {
            failure(reply).is(Code::Unavailable, "CLOCK_SKEW");
        }
        let reply = ok(world.shop.reserve(&world.ids.key("it"), 1).await);
        assert_eq!(reply.outcome(), ReserveOutcome::Reserved);
        held.is_held(&world.shop).await;
    }
    world.shop.assert_sound("it").await;
}
