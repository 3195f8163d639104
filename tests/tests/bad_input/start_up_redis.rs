//! What keeps a server from starting over a store in Redis: one sentence that
//! names the setting and the flag; and who serves from it already serves on.

use e2e::redis::{Node, Value};
use e2e::{Ended, Setup, holdfast, item, ok, run};
use proto::v1::{GetStatusRequest, ReserveOutcome};

use crate::start_up::{PASSWORD, refused};
use crate::{Row, Store, World, row};

pub(crate) fn rows() -> Vec<Row> {
    vec![
        row("Redis with eviction on, without AOF", unsafe_settings).on(&Store::REDIS),
        row("Redis with too few replicas", too_few_replicas).on(&Store::REDIS),
        row("Redis with a password; a wrong one", passwords).on(&Store::REDIS),
        row("Redis that is not a cluster; that is one", other_kind).on(&Store::REDIS),
        row(
            "a store that Holdfast never used, without `--init-store`",
            never_used,
        )
        .on(&Store::REDIS),
        row("a store of another format", other_format).on(&Store::REDIS),
    ]
}

/// Runs a server to its end.
async fn serve(url: &str, args: &[&str], password: Option<&str>) -> Ended {
    let free = "127.0.0.1:0";
    let ports = ["--listen", free, "--http-listen", free];
    let mut command = holdfast!().command(&[&["serve", "--store", url][..], &ports, args].concat());
    if let Some(password) = password {
        command.env("HOLDFAST_STORE_PASSWORD", password);
    }
    run(command).await
}

impl World {
    fn url(&self) -> String {
        self.server.store().url().expect("a store in Redis")
    }

    /// Another server says why it does not start, in a sentence with these parts.
    async fn refuses(&self, args: &[&str], parts: &[&str]) {
        let ended = serve(&self.url(), args, None).await;
        refused(&ended, 3, parts);
    }

    /// The first server serves on.
    async fn serves(&mut self) {
        let reply = ok(self.shop.reserve(&self.ids.key("it"), 1).await);
        assert_eq!(reply.outcome(), ReserveOutcome::Reserved);
    }

    fn config(&self, name: &str, value: &str) {
        // One that is wrong is enough.
        let node = self.server.store().nodes().last().expect("a node");
        node.ask(&["CONFIG", "SET", name, value]);
    }
}

async fn unsafe_settings(mut world: World) {
    world.shop.create(item("it"), 100).await;
    let cases = [
        (
            ("maxmemory-policy", "allkeys-lru", "noeviction"),
            &["maxmemory-policy noeviction", "allkeys-lru"][..],
        ),
        (("appendonly", "no", "yes"), &["appendonly yes"]),
    ];
    for ((name, bad, good), parts) in cases {
        world.config(name, bad);
        let address = world.server.store().nodes().last().unwrap().address();
        let parts = [parts, &[&*address, "--accept-unsafe-store"]].concat();
        world.refuses(&[], &parts).await;
        world.refuses(&["--init-store"], &parts).await;
        world.serves().await;
        // Whoever insists is warned for as long as it is so.
        let setup = Setup::new(holdfast!()).on(world.server.store());
        let server = setup.args(&["--accept-unsafe-store"]).start().await;
        let status = server.shop().admin().get_status(GetStatusRequest {}).await;
        let warnings = ok(status).warnings;
        let warned = warnings.iter().any(|text| text.contains(parts[0]));
        assert!(warned, "{warnings:?}");
        world.config(name, good);
    }
    // Both at once are one sentence, too.
    world.config("maxmemory-policy", "volatile-ttl");
    world.config("appendonly", "no");
    let both = ["volatile-ttl", "appendonly yes", "--accept-unsafe-store"];
    world.refuses(&[], &both).await;
    world.serves().await;
}

async fn too_few_replicas(mut world: World) {
    world.shop.create(item("it"), 100).await;
    for durability in ["replicated", "replicated-strict"] {
        let parts = ["no replica", "--durability local"];
        world.refuses(&["--durability", durability], &parts).await;
    }
    world.serves().await;
}

async fn passwords(mut world: World) {
    world.shop.create(item("it"), 100).await;
    let nodes = world.server.store().nodes();
    for node in nodes {
        node.ask(&["CONFIG", "SET", "requirepass", "the right one"]);
    }
    let url = world.url();
    let missing = serve(&url, &[], None).await;
    refused(&missing, 3, &["NOAUTH", "--store"]);
    let wrong = serve(&url, &[], Some(PASSWORD)).await;
    refused(&wrong, 3, &["WRONGPASS", "--store"]);
    assert!(!wrong.stderr.contains(PASSWORD), "{}", wrong.stderr);
    let user = ["--store-username", "ada"];
    let wrong = serve(&url, &user, Some(PASSWORD)).await;
    refused(&wrong, 3, &["WRONGPASS", "--store"]);
    assert!(!wrong.stderr.contains(PASSWORD), "{}", wrong.stderr);

    let setup = Setup::new(holdfast!()).on(world.server.store());
    let words = ["env", "HOLDFAST_STORE_PASSWORD=the right one"];
    let server = setup.under(&words).start().await;
    let reply = ok(server.shop().reserve(&world.ids.key("it"), 1).await);
    assert_eq!(reply.outcome(), ReserveOutcome::Reserved);
    assert!(!server.log().contains("the right one"));
    world.serves().await;
}

async fn other_kind(mut world: World) {
    world.shop.create(item("it"), 100).await;
    let node = world.server.store().nodes()[0].address();
    let (url, parts) = match world.store {
        Store::RedisCluster => (
            format!("redis://{node}"),
            ["part of a cluster", "redis-cluster://"],
        ),
        _ => (
            format!("redis-cluster://{node}"),
            ["not part of a cluster", "redis://"],
        ),
    };
    refused(&serve(&url, &[], None).await, 3, &parts);
    refused(&serve(&url, &["--init-store"], None).await, 3, &parts);
    world.serves().await;
}

async fn never_used(world: World) {
    let empty = world.store.start();
    let url = empty.url().expect("a store in Redis");
    for node in empty.nodes() {
        // Whatever else is there is not Holdfast's.
        node.command(&["SET", "{something}", "else"]).ok();
    }
    refused(&serve(&url, &[], None).await, 3, &[&url, "--init-store"]);
    for node in empty.nodes() {
        assert_eq!(node.ask(&["KEYS", "holdfast:*"]).items(), []);
    }
}

/// The guards of all stripes of a node.
fn guards(node: &Node) -> Vec<Vec<u8>> {
    let keys = node.ask(&["KEYS", "holdfast:*:guard"]);
    keys.items().iter().map(Value::bytes).collect()
}

async fn other_format(mut world: World) {
    world.shop.create(item("it"), 100).await;
    ok(world.shop.reserve(&world.ids.key("it"), 1).await);
    world.server.kill_9();
    let nodes = world.server.store().nodes();
    let format = |text: &str| {
        for node in nodes {
            for guard in guards(node) {
                node.ask(&[b"HSET", &*guard, b"format", text.as_bytes()]);
            }
        }
    };
    for newer in ["2", "99"] {
        format(newer);
        for args in [&[][..], &["--init-store"]] {
            world.refuses(args, &["format", newer]).await;
        }
    }
    format("1");
    let server = world.server.restart().await;
    let shop = server.shop();
    assert_eq!(shop.units("it").await, [99, 1, 0]);
    shop.assert_sound("it").await;
}
