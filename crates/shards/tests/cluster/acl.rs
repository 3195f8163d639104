//! The rights of deploy/redis/users.acl: they suffice for the whole life of a
//! store, and none of them is one too many.

use std::collections::BTreeSet;
use std::path::Path;

use shards::ids::StripeNo;
use shards::redis::{Acknowledge, Credentials, Options};

use crate::life::{Events, live};
use crate::sale::single;
use crate::server::options;
use crate::servers::{Cluster, Node};

/// Rules that no failure tells of.
const EXEMPT: &[(&str, &str)] = &[
    (
        "+client|id",
        "asked by the driver on each connection; it goes on without, and Redis' ACL log fills",
    ),
    // What they take away nobody has to begin with.
    ("resetkeys", "a file is read into a new user"),
    ("resetchannels", "a file is read into a new user"),
    ("-@all", "a file is read into a new user"),
];
/// Rules that only a cluster, or one with replicas, has a use for.
const OF_CLUSTERS: &[&str] = &["+cluster|nodes", "+cluster|info", "+wait"];

/// The rules of Holdfast's user, without who it is.
fn rules() -> Vec<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/redis/users.acl");
    let text = std::fs::read_to_string(&file).unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("user holdfast on #"));
    let words = line.expect("the user holdfast").split(' ').skip(1);
    words.map(str::to_owned).collect()
}

/// Makes the user with these rules and nothing else.
fn set_user(node: &Node, rules: &[String]) {
    let mut words = ["ACL", "SETUSER", "holdfast", "reset", "on", ">secret"].to_vec();
    words.extend(rules.iter().map(String::as_str));
    node.ask(&words);
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

/// The key of the index of a stripe's catalog.
fn index(node: &Node, stripe: StripeNo) -> Option<String> {
    let pattern = format!("holdfast:{{{}-*}}:index", stripe.0);
    let keys = node.ask(&["KEYS", &pattern]);
    keys.items().first().map(crate::servers::Value::text)
}

#[tokio::test]
async fn the_rights_suffice_for_the_life_of_a_store() {
    let cluster = Cluster::start(3, 1);
    for node in cluster.nodes() {
        set_user(node, &rules());
    }
    let slot = |stripe: StripeNo| u16::from(stripe.0) * 256 + 128;
    let takeover = || {
        for replica in 3..6 {
            cluster.failover(replica);
        }
    };
    let loss = |stripe| {
        let node = cluster.node(cluster.master_of_slot(slot(stripe)));
        node.ask(&["DEL", &index(node, stripe).unwrap()]);
    };
    let events = Events {
        takeover: &takeover,
        loss: &loss,
    };
    let options = as_user(options(&cluster, Acknowledge::Replicated));
    live(&options, &events).await.unwrap();
    for node in cluster.nodes() {
        let log = node.ask(&["ACL", "LOG"]);
        assert_eq!(log.items(), [], "nothing was refused on the way");
    }
}

/// Taking away any one of them is noticed.
#[tokio::test]
async fn none_of_the_rights_is_one_too_many() {
    let rules = rules();
    let exempt: BTreeSet<_> = EXEMPT.iter().map(|(rule, _)| *rule).collect();
    for rule in exempt.iter().chain(OF_CLUSTERS) {
        assert!(
            rules.iter().any(|other| other == rule),
            "{rule} is not there"
        );
    }
    let node = Node::start();
    let of_clusters = |rule: &&String| OF_CLUSTERS.contains(&rule.as_str());
    let needed = |rule: &&String| !exempt.contains(rule.as_str());
    let mut too_many = Vec::new();
    for rule in rules
        .iter()
        .filter(needed)
        .filter(|rule| !of_clusters(rule))
    {
        if try_without(&node, &rules, rule).await.is_ok() {
            too_many.push(rule);
        }
    }
    // The measure itself: with all of them it succeeds.
    try_without(&node, &rules, "").await.unwrap();
    let cluster = Cluster::start(1, 1);
    for rule in rules.iter().filter(of_clusters) {
        for node in cluster.nodes() {
            set_user(node, &without(&rules, rule));
        }
        let options = options(&cluster, Acknowledge::Replicated);
        if shards::redis::Redis::open(as_user(options)).is_ok() {
            too_many.push(rule);
        }
    }
    assert_eq!(too_many, [""; 0], "nothing needs these");
}

fn without(rules: &[String], rule: &str) -> Vec<String> {
    let left = rules.iter().filter(|other| **other != rule);
    left.cloned().collect()
}

async fn try_without(node: &Node, rules: &[String], rule: &str) -> Result<(), String> {
    node.ask(&["FLUSHALL"]);
    set_user(node, &without(rules, rule));
    let takeover = || {
        node.ask(&["DEBUG", "CHANGE-REPL-ID"]);
    };
    let loss = |stripe| {
        if let Some(key) = index(node, stripe) {
            node.ask(&["DEL", &key]);
        }
    };
    let events = Events {
        takeover: &takeover,
        loss: &loss,
    };
    live(&as_user(single(node)), &events).await
}

#[test]
fn keys_of_others_cannot_be_touched() {
    let node = Node::start();
    set_user(&node, &rules());
    node.ask(&["SET", "other", "1"]);
    let mut user = node.connect().unwrap();
    user.command(&["AUTH", "holdfast", "secret"]).unwrap();
    let script = "return redis.call(ARGV[1], KEYS[1], unpack(ARGV, 2))";
    let sha = user.command(&["SCRIPT", "LOAD", script]).unwrap().text();
    for words in [
        &["GET"][..],
        &["SET", "2"],
        &["UNLINK"],
        &["HSET", "a", "b"],
    ] {
        let head = ["EVALSHA", &sha, "1", "other"];
        let refused = user.command(&[&head, words].concat()).unwrap_err();
        assert!(refused.contains("NOPERM"), "{refused}");
    }
    // Nor can others' channels.
    for words in [
        &["SPUBLISH", "other", "1"][..],
        &["SSUBSCRIBE", "other"],
        &["PUBLISH", "holdfast:a", "1"],
        &["SUBSCRIBE", "holdfast:a"],
    ] {
        let refused = user.command(words).unwrap_err();
        assert!(refused.starts_with("NOPERM"), "{words:?}: {refused}");
    }
    // Nor undeclared ones from within a script.
    let script = "return redis.call('SET', 'other', '2')";
    let sha = user.command(&["SCRIPT", "LOAD", script]).unwrap().text();
    let refused = user.command(&["EVALSHA", &sha, "0"]).unwrap_err();
    assert!(refused.contains("can't access"), "{refused}");
    for words in [
        &["FLUSHALL"][..],
        &["KEYS", "*"],
        &["CONFIG", "SET", "appendonly", "no"],
        &["ACL", "SETUSER", "holdfast", "+@all"],
        &["SCRIPT", "FLUSH"],
        &["CLUSTER", "FAILOVER"],
        &["SHUTDOWN"],
        &["DEBUG", "SLEEP", "0"],
        &["REPLICAOF", "NO", "ONE"],
    ] {
        let refused = user.command(words).unwrap_err();
        assert!(refused.starts_with("NOPERM"), "{words:?}: {refused}");
    }
    assert_eq!(node.ask(&["GET", "other"]).text(), "1");
}
