//! Servers tell each other what makes untrue what they remember; and whoever may
//! not have heard all of it is told that.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use shards::ids::{Fingerprint, Generation, Quantity, RecordKey, ShardKey, ShardNo, StripeNo};
use shards::machine::{Op, Reply, Selling, Settings, ShardOp, ShardReply};
use shards::redis::{Acknowledge, Credentials, Options};
use shards::store::{Listener, Notice, Store, StoreError};

use crate::sale::single;
use crate::server::{Server, eventually, item, options, request};
use crate::servers::{Cluster, Node};

const STRIPE: StripeNo = StripeNo(5);
const SLOT: u16 = 5 * 256 + 128;

/// Keeps what it hears.
#[derive(Default)]
pub(crate) struct Ear {
    heard: Mutex<Vec<Notice>>,
    /// Whether it is kept from hearing more.
    held: Mutex<bool>,
    goes_on: Condvar,
}

impl Listener for Ear {
    fn hear(&self, notice: &Notice) {
        let held = self.held.lock().unwrap();
        drop(self.goes_on.wait_while(held, |held| *held).unwrap());
        self.all().push(notice.clone());
    }
}

impl Ear {
    pub(crate) fn on(store: &dyn Store) -> Arc<Self> {
        let ear = Arc::new(Self::default());
        store.listen(Arc::<Self>::clone(&ear));
        ear
    }

    fn all(&self) -> MutexGuard<'_, Vec<Notice>> {
        self.heard.lock().unwrap()
    }

    pub(crate) fn count(&self, notice: &Notice) -> usize {
        self.all().iter().filter(|heard| *heard == notice).count()
    }

    fn forget(&self) {
        self.all().clear();
    }

    async fn hears(&self, notice: &Notice) {
        self.hears_often(notice, 1).await;
    }

    async fn hears_often(&self, notice: &Notice, times: usize) {
        eventually(&format!("{notice:?}"), async || {
            if self.count(notice) >= times {
                Ok(())
            } else {
                Err(self.all().clone())
            }
        })
        .await;
    }

    /// Keeps it, and whoever tells it something, until it is let go.
    fn hold(&self, held: bool) {
        *self.held.lock().unwrap() = held;
        self.goes_on.notify_all();
    }
}

/// A shard without any catalog, on a stripe that the test knows.
struct Shop {
    shard: ShardKey,
    asked: Mutex<u32>,
}

fn shop() -> Shop {
    Shop {
        shard: ShardKey {
            item: item("raw"),
            generation: Generation([9; 8]),
            shard: ShardNo::LEDGER,
        },
        asked: Mutex::default(),
    }
}

fn units() -> Notice {
    Notice::Units(item("raw"))
}

impl Shop {
    async fn try_ask(&self, server: &Server, op: ShardOp) -> Result<ShardReply, StoreError> {
        let op = Op::Shard(self.shard.clone(), op);
        match server.store.submit(STRIPE, op, None).await? {
            Reply::Shard(reply) => Ok(reply),
            other => panic!("{other:?}"),
        }
    }

    async fn ask(&self, server: &Server, op: ShardOp) -> ShardReply {
        eventually("an answer", async || self.try_ask(server, op.clone()).await).await
    }

    async fn open(&self, server: &Server, supply: u64) {
        let settings = Settings {
            selling: Selling::Open,
            sale_start: None,
            sale_end: None,
            hold_ttl_ms: 3_600_000,
            max_hold_ms: 3_600_000,
            sell_at_once: false,
            counts_buyers: true,
            max_units_per_buyer: 0,
            max_units_per_reservation: 100,
            retention_ms: 600_000,
        };
        let create = ShardOp::Create {
            settings,
            version: 1,
            supply: Some(supply),
        };
        self.ask(server, create).await;
    }

    /// A unit that a buyer holds from now on.
    async fn hold_one(&self, server: &Server) -> RecordKey {
        let key = {
            let mut asked = self.asked.lock().unwrap();
            *asked += 1;
            RecordKey {
                request: request(*asked),
                buyer: Fingerprint([1; 8]),
            }
        };
        let reserve = ShardOp::Reserve {
            key,
            quantity: Quantity::new(1).unwrap(),
            version: 1,
        };
        let reply = self.ask(server, reserve).await;
        assert!(matches!(reply, ShardReply::Granted { .. }), "{reply:?}");
        key
    }

    async fn free(&self, server: &Server, key: RecordKey) {
        self.ask(server, cancel(key)).await;
    }
}

fn cancel(key: RecordKey) -> ShardOp {
    ShardOp::Cancel {
        key,
        forbid_unknown: false,
    }
}

/// The channels of notices on a node, and how many hear each.
fn channels(node: &Node) -> Result<Vec<(String, i64)>, String> {
    let found = node.command(&["PUBSUB", "SHARDCHANNELS", "holdfast:*:notices"])?;
    let names: Vec<String> = found.items().iter().map(|name| name.text()).collect();
    let words = ["PUBSUB", "SHARDNUMSUB"];
    let words: Vec<&str> = words
        .into_iter()
        .chain(names.iter().map(String::as_str))
        .collect();
    let counts = node.command(&words)?;
    let counts = counts.items().chunks_exact(2);
    Ok(counts.map(|pair| (pair[0].text(), pair[1].int())).collect())
}

/// Waits until so many servers hear all stripes at the masters as of now.
async fn hear_all(cluster: &Cluster, servers: i64) {
    eventually("servers that listen", async || {
        let mut stripes = 0;
        for master in cluster.masters() {
            let node = cluster.node(master);
            if !node.is_awake() {
                return Err(format!("{} is asleep", node.address()));
            }
            let slots = &cluster.view()?.0;
            let serves = |slot: u16| {
                let mut its = slots
                    .iter()
                    .filter(|member| member.id == cluster.id(master));
                its.any(|member| member.serves(slot))
            };
            for (name, count) in channels(node)? {
                let number = name.split(['{', '-']).nth(1).unwrap();
                let slot = number.parse::<u16>().unwrap() * 256 + 128;
                if serves(slot) && count != servers {
                    return Err(format!("{count} hear {name} at {}", node.address()));
                }
                stripes += u32::from(serves(slot));
            }
        }
        if stripes == 64 {
            Ok(())
        } else {
            Err(format!("{stripes} stripes are heard"))
        }
    })
    .await;
}

/// Two servers, of which one does something and the other hears of it.
struct Pair {
    one: Server,
    other: Server,
    ear: Arc<Ear>,
    shop: Shop,
}

impl Pair {
    /// On a cluster whose masters alone acknowledge.
    async fn on(cluster: &Cluster, supply: u64) -> Self {
        Self::by(
            || Server::open(options(cluster, Acknowledge::Local)),
            cluster,
            supply,
        )
        .await
    }

    async fn by(open: impl Fn() -> Server, cluster: &Cluster, supply: u64) -> Self {
        let (one, other) = (open(), open());
        let ear = Ear::on(&*other.store);
        hear_all(cluster, 2).await;
        let shop = shop();
        shop.open(&one, supply).await;
        Self {
            one,
            other,
            ear,
            shop,
        }
    }

    /// Whether what one server frees is heard by the other.
    async fn is_well(&self) {
        let key = self.shop.hold_one(&self.one).await;
        self.ear.forget();
        self.shop.free(&self.one, key).await;
        self.ear.hears(&units()).await;
    }
}

#[tokio::test]
async fn what_one_server_frees_or_changes_the_others_hear() {
    let cluster = Cluster::start(3, 0);
    let pair = Pair::on(&cluster, 2).await;
    let Pair { one, ear, shop, .. } = &pair;
    // Units that come to others on sale are not told; those that come where there
    // were none are.
    let (first, second) = (shop.hold_one(one).await, shop.hold_one(one).await);
    shop.free(one, first).await;
    ear.hears(&units()).await;
    let third = shop.hold_one(one).await;
    shop.free(one, second).await;
    shop.free(one, third).await;
    let (fourth, _) = (shop.hold_one(one).await, shop.hold_one(one).await);
    shop.free(one, fourth).await;
    // Of one channel what is told later is heard later.
    ear.hears_often(&units(), 3).await;
    assert_eq!(ear.count(&units()), 3, "{:?}", ear.all());

    let id = item("sneaker");
    let changed = Notice::Changed(id.clone());
    let hears = async || {
        ear.hears(&changed).await;
        ear.forget();
    };
    one.create("sneaker", 5, 2).await;
    hears().await;
    one.inventory.pause_item(&id, "", None).await.unwrap();
    hears().await;
    one.inventory
        .delete_item(&id, true, None, None)
        .await
        .unwrap();
    hears().await;
}

/// Whoever is answered has been told, also of what need not be told to others, and
/// also if it is not known whether it will last.
#[tokio::test]
async fn a_server_tells_its_own_before_it_answers() {
    let cluster = Cluster::start(1, 1);
    let server = Server::start(&cluster);
    let ear = Ear::on(&*server.store);
    let shop = shop();
    shop.open(&server, 5).await;
    let key = shop.hold_one(&server).await;
    shop.free(&server, key).await;
    assert_eq!(ear.count(&units()), 1, "at once, and not to all");

    let key = shop.hold_one(&server).await;
    let replica = cluster.node(1);
    replica.stop();
    let answer = shop.try_ask(&server, cancel(key)).await;
    assert!(
        matches!(answer, Err(StoreError::OutcomeUnknown(_))),
        "{answer:?}"
    );
    assert_eq!(ear.count(&units()), 2);
    replica.cont();
}

/// A run whose answer does not come may have been carried out.
#[tokio::test]
async fn what_may_have_been_done_may_have_been_missed() {
    let cluster = Cluster::start(1, 1);
    let server = Server::start(&cluster);
    let ear = Ear::on(&*server.store);
    let shop = shop();
    shop.open(&server, 5).await;
    let key = shop.hold_one(&server).await;
    let master = cluster.node(0);
    // It may be given up, and so not sent, for what was sent just before.
    eventually("an unknown outcome", async || {
        server.serves(STRIPE).await;
        ear.forget();
        master.stop();
        let answer = shop.try_ask(&server, cancel(key)).await;
        let missed = ear.count(&Notice::Missed);
        master.cont();
        match answer {
            Err(StoreError::OutcomeUnknown(_)) => {
                assert!(missed > 0);
                Ok(())
            }
            other => Err(other),
        }
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_is_closed_is_missed_and_replaced() {
    let cluster = Cluster::start(3, 0);
    let pair = Pair::on(&cluster, 1).await;
    pair.is_well().await;
    pair.ear.forget();
    for node in cluster.nodes() {
        let closed = node.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]).int();
        assert_eq!(closed, 2, "of each server one connection");
    }
    // Its end, and that it hears again.
    pair.ear.hears_often(&Notice::Missed, 6).await;
    hear_all(&cluster, 2).await;
    pair.is_well().await;
    let warnings = pair.other.store.status().warnings;
    assert!(
        !warnings.iter().any(|said| said.contains("heard")),
        "{warnings:?}"
    );
}

#[tokio::test]
async fn a_master_that_dies_is_missed_and_its_replica_heard() {
    let cluster = Cluster::start(3, 1);
    let open = || Server::open(options(&cluster, Acknowledge::Replicated));
    let pair = Pair::by(open, &cluster, 1).await;
    pair.ear.forget();
    cluster.node(cluster.master_of_slot(SLOT)).kill_9();
    pair.ear.hears(&Notice::Missed).await;
    cluster.wait_until_ok();
    hear_all(&cluster, 2).await;
    // It may have died alone: its replica has nobody to wait for.
    for node in cluster.nodes().iter().filter(|node| !node.is_running()) {
        node.restart();
    }
    pair.is_well().await;
}

/// It is silent and its connection stays open.
#[tokio::test]
async fn a_master_that_hangs_is_missed_and_heard_again() {
    let cluster = Cluster::start(3, 0);
    let pair = Pair::on(&cluster, 1).await;
    let master = cluster.node(cluster.master_of_slot(SLOT));
    pair.ear.forget();
    master.stop();
    pair.ear.hears(&Notice::Missed).await;
    eventually("a warning", async || {
        let warnings = pair.other.store.status().warnings;
        let is_said = |said: &String| said.contains("nothing is heard");
        warnings.iter().any(is_said).then_some(()).ok_or(warnings)
    })
    .await;
    master.cont();
    cluster.wait_until_ok();
    hear_all(&cluster, 2).await;
    pair.is_well().await;
}

/// The connection stays, and so do its other channels.
#[tokio::test]
async fn a_slot_that_moves_is_missed_and_heard_where_it_went() {
    let cluster = Cluster::start(2, 0);
    let pair = Pair::on(&cluster, 1).await;
    let from = cluster.master_of_slot(SLOT);
    for to in [1 - from, from] {
        pair.ear.forget();
        cluster.move_slot(SLOT, to);
        // Two connections that end, two that hear.
        pair.ear.hears_often(&Notice::Missed, 4).await;
        hear_all(&cluster, 2).await;
        pair.is_well().await;
    }
}

/// Gone and back before anybody looks: the routes are as they were.
#[tokio::test]
async fn a_slot_that_moves_and_comes_back_at_once_is_missed() {
    let cluster = Cluster::start(2, 0);
    let pair = Pair::on(&cluster, 1).await;
    let from = cluster.master_of_slot(SLOT);
    pair.is_well().await;
    pair.ear.forget();
    for to in [1 - from, from] {
        cluster.move_slot(SLOT, to);
    }
    pair.ear.hears(&Notice::Missed).await;
    hear_all(&cluster, 2).await;
    pair.is_well().await;
}

#[tokio::test]
async fn what_comes_too_fast_or_is_garbage_is_missed() {
    let node = Node::start();
    let server = Server::open(single(&node));
    let ear = Ear::on(&*server.store);
    let channel = eventually("a channel", async || {
        let mut channels = channels(&node)?;
        if channels.len() == 64 {
            Ok(channels.remove(0).0)
        } else {
            Err(format!("{channels:?}"))
        }
    })
    .await;
    ear.forget();
    node.ask(&["SPUBLISH", &channel, "garbage"]);
    ear.hears(&Notice::Missed).await;

    // {1, {}, {"raw"}}, more often than there is room for.
    let message: &[u8] = b"\x93\x01\x90\x91\xa3raw";
    let words: [&[u8]; 3] = [b"SPUBLISH", channel.as_bytes(), message];
    ear.forget();
    ear.hold(true);
    let mut connection = node.connect().unwrap();
    for _ in 0..20 {
        connection.pipeline(&[&words[..]; 1_000]).unwrap();
    }
    ear.hold(false);
    eventually("all of it, or that some is missing", async || {
        if ear.count(&Notice::Missed) > 0 || ear.count(&units()) == 20_000 {
            Ok(())
        } else {
            Err(ear.all().len())
        }
    })
    .await;
    // And is heard as before.
    ear.forget();
    node.ask(&["SPUBLISH", &channel, "garbage"]);
    ear.hears(&Notice::Missed).await;
}

fn as_user(options: Options) -> Options {
    Options {
        credentials: Some(Credentials {
            username: Some("holdfast".to_owned()),
            password: "secret".to_owned(),
        }),
        ..options
    }
}

/// A user that may not tell or hear does all else; operators are warned.
#[tokio::test]
async fn without_the_rights_a_store_serves_and_warns() {
    let node = Node::start();
    let set = |rule: &str| {
        let all = [
            "ACL", "SETUSER", "holdfast", "on", ">secret", "~*", "&*", "+@all",
        ];
        node.ask(&[&all[..], &[rule]].concat());
    };
    set("-spublish");
    let one = Server::open(as_user(single(&node)));
    let other = Server::open(single(&node));
    let ears = [&one, &other].map(|server| Ear::on(&*server.store));
    let heard_by = async |servers| {
        eventually("servers that listen", async || {
            let channels = channels(&node)?;
            let all = channels.len() == 64 && channels.iter().all(|(_, count)| *count == servers);
            if all {
                Ok(())
            } else {
                Err(format!("{channels:?}"))
            }
        })
        .await;
    };
    heard_by(2).await;
    let warns = async |words: &str| {
        eventually(words, async || {
            let warnings = one.store.status().warnings;
            let is_said = |said: &String| said.contains(words);
            warnings.iter().any(is_said).then_some(()).ok_or(warnings)
        })
        .await;
    };
    let is_quiet = async || {
        eventually("no warning", async || {
            let warnings = one.store.status().warnings;
            let is_said = |said: &String| said.contains("other servers");
            if warnings.iter().any(is_said) {
                Err(warnings)
            } else {
                Ok(())
            }
        })
        .await;
    };
    let shop = shop();
    shop.open(&one, 1).await;
    let key = shop.hold_one(&one).await;
    shop.free(&one, key).await;
    assert_eq!(ears[0].count(&units()), 1, "its own");
    let key = shop.hold_one(&one).await;
    warns("cannot tell other servers").await;
    set("+spublish");
    shop.free(&one, key).await;
    ears[1].hears(&units()).await;
    assert_eq!(ears[1].count(&units()), 1, "what could not be told");
    is_quiet().await;

    // To take the right away does not end what has begun.
    set("-ssubscribe");
    node.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    ears[0].hears_often(&Notice::Missed, 1).await;
    warns("nothing is heard").await;
    let key = shop.hold_one(&one).await;
    shop.free(&one, key).await;
    set("+ssubscribe");
    heard_by(2).await;
    is_quiet().await;
}
