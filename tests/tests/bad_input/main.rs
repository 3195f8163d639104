//! What bad input gets: one table, one test for each of its rows on each store
//! that the row applies to. A row's name is the input as the table's page
//! words it.
//!
//! To add a row: write its check in the module of its subject, and name it in
//! that module's `rows()`. To add a store: add it to [`Store`], and say there
//! how its server is started.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a check that fails fails its row's test"
)]

mod after;
mod clocks;
mod edge;
mod items;
mod losses;
mod memory;
mod names;
mod operators;
mod pages;
mod replays;
mod reserve;
mod start_up;
mod start_up_redis;
mod stock;
mod streams;
mod wire;

use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;

use e2e::{Ids, Server, Setup, Shop, holdfast};
use libtest_mimic::{Arguments, Trial};

/// Where a row's server keeps its items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Store {
    /// In a directory of its own.
    Embedded,
    /// The same, each item over three shards.
    EmbeddedShards,
    /// In one redis-server.
    Redis,
    /// In a cluster of three masters, each with a shard of each item.
    RedisCluster,
}

impl Store {
    const ALL: [Self; 4] = [
        Self::Embedded,
        Self::EmbeddedShards,
        Self::Redis,
        Self::RedisCluster,
    ];
    const REDIS: [Self; 2] = [Self::Redis, Self::RedisCluster];

    fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::EmbeddedShards => "embedded, 3 shards",
            Self::Redis => "redis",
            Self::RedisCluster => "redis cluster",
        }
    }

    fn start(self) -> e2e::Store {
        match self {
            Self::Embedded | Self::EmbeddedShards => e2e::Store::Embedded,
            Self::Redis => e2e::Store::redis(),
            Self::RedisCluster => e2e::Store::cluster(),
        }
    }

    /// A server over a new store.
    fn setup(self) -> Setup {
        Setup::new(holdfast!()).on(&self.start())
    }

    /// A caller whose items lie as this store's do.
    fn shop(self, server: &Server) -> Shop {
        match self {
            // As many shards as the service chooses: one for each master.
            Self::Embedded | Self::Redis | Self::RedisCluster => server.shop(),
            Self::EmbeddedShards => server.shop().over_shards(3),
        }
    }
}

/// What a check works with: a server of its own, and no items yet.
struct World {
    store: Store,
    server: Server,
    /// Over the same store.
    others: Vec<Server>,
    shop: Shop,
    ids: Ids,
}

impl World {
    async fn on(store: Store, setup: fn(Store) -> Setup) -> Self {
        let server = setup(store).start().await;
        Self {
            store,
            shop: store.shop(&server),
            server,
            others: Vec::new(),
            ids: Ids::seeded(),
        }
    }

    /// A caller of another server, where the store allows several; else of the
    /// same one, over a connection of its own.
    async fn another_shop(&mut self) -> Shop {
        if let e2e::Store::Embedded = self.server.store() {
            return self.server.shop();
        }
        let other = self.server.store().serve(holdfast!()).await;
        let shop = self.store.shop(&other);
        self.others.push(other);
        shop
    }

    /// Kills the server and starts it again on the same store.
    async fn restarted(mut self) -> Self {
        self.server.kill_9();
        let server = self.server.restart().await;
        Self {
            shop: self.store.shop(&server),
            server,
            ..self
        }
    }
}

type Check = Arc<dyn Fn(World) -> Pin<Box<dyn Future<Output = ()>>> + Send + Sync>;

/// One row of the table.
#[derive(Clone)]
struct Row {
    input: &'static str,
    stores: &'static [Store],
    /// How its server is started.
    setup: fn(Store) -> Setup,
    check: Check,
}

/// A row that holds on every store.
fn row<F>(input: &'static str, check: fn(World) -> F) -> Row
where
    F: Future<Output = ()> + 'static,
{
    Row {
        input,
        stores: &Store::ALL,
        setup: Store::setup,
        check: Arc::new(move |world| Box::pin(check(world))),
    }
}

impl Row {
    /// A row that means something on these stores only.
    fn on(self, stores: &'static [Store]) -> Self {
        Self { stores, ..self }
    }

    /// A row whose store or server is not a usual one.
    fn with(self, setup: fn(Store) -> Setup) -> Self {
        Self { setup, ..self }
    }

    /// Its test on one store.
    fn test(&self, store: Store) -> Trial {
        let (check, setup) = (Arc::clone(&self.check), self.setup);
        Trial::test(format!("{}: {}", store.name(), self.input), move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async { check(World::on(store, setup).await).await });
            Ok(())
        })
    }
}

fn main() -> ExitCode {
    let table = [
        names::rows(),
        reserve::rows(),
        replays::rows(),
        after::rows(),
        items::rows(),
        pages::rows(),
        operators::rows(),
        stock::rows(),
        streams::rows(),
        wire::rows(),
        edge::rows(),
        start_up::rows(),
        start_up_redis::rows(),
        losses::rows(),
        memory::rows(),
        clocks::rows(),
    ]
    .concat();
    let tests = table
        .iter()
        .flat_map(|row| row.stores.iter().map(|store| row.test(*store)));
    libtest_mimic::run(&Arguments::from_args(), tests.collect()).exit_code()
}
