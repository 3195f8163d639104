//! Starts that are refused, each with one sentence that names the setting of the
//! store and the flag of ours; and starts that are not, though not all is well.

use std::net::TcpListener;
use std::time::Duration;

use shards::redis::{Acknowledge, Address, Credentials, OpenError, Options, Redis};
use shards::store::Store;

use crate::sale::{Sale, Told, single, single_at};
use crate::server::{Server, eventually, now, options};
use crate::servers::{Cluster, Node, Plan, Settings};

fn clustered(address: &str) -> Options {
    let address = format!("redis-cluster://{address}");
    Options::new(Address::parse(&address).unwrap())
}

/// Why it is refused.
#[track_caller]
fn refused(options: Options) -> OpenError {
    match Redis::open(options) {
        Ok(_) => panic!("it was opened"),
        Err(error) => error,
    }
}

/// That the sentence is one, and has these words.
#[track_caller]
fn says(error: &OpenError, words: &[&str]) {
    let said = error.to_string();
    assert_eq!(said.lines().count(), 1, "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not in: {said}");
    }
}

#[test]
fn settings_that_lose_what_was_acknowledged_are_refused() {
    let node = Settings::default()
        .set("maxmemory-policy", "allkeys-lru")
        .set("appendonly", "no")
        .start();
    let error = refused(single(&node));
    assert!(matches!(error, OpenError::Unsafe(_)), "{error}");
    let flag = "--accept-unsafe-store";
    says(
        &error,
        &[
            "maxmemory-policy noeviction",
            "allkeys-lru",
            "appendonly yes",
            flag,
        ],
    );
    // Each alone, set at run time: what is in force counts, not the file.
    node.ask(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    let error = refused(single(&node));
    says(&error, &["appendonly yes", flag]);
    assert!(!error.to_string().contains("maxmemory-policy"), "{error}");
    node.ask(&["CONFIG", "SET", "appendonly", "yes"]);
    Redis::open(single(&node)).unwrap();
}

#[test]
fn no_replica_and_no_limit_to_how_old_it_may_be_are_refused() {
    let cluster = Plan::new(1, 1)
        .set("cluster-replica-validity-factor", "0")
        .start();
    let error = refused(options(&cluster, Acknowledge::Replicated));
    says(
        &error,
        &[
            "cluster-replica-validity-factor to 1 or more",
            "--accept-unsafe-store",
        ],
    );
    let node = Node::start();
    let error = refused(Options {
        acknowledge: Some(Acknowledge::Replicated),
        ..single(&node)
    });
    says(
        &error,
        &["no replica", "--durability local", "--accept-unsafe-store"],
    );
}

#[tokio::test]
async fn unsafe_settings_that_are_accepted_are_warned_of_for_good() {
    let node = Settings::default()
        .set("maxmemory-policy", "allkeys-lru")
        .set("appendonly", "no")
        .start();
    let sale = Sale::start(Options {
        accept_unsafe: true,
        ..single(&node)
    })
    .await;
    let warnings = sale.server.store.status().warnings;
    for word in ["maxmemory-policy noeviction", "appendonly yes"] {
        let found = warnings.iter().any(|warning| warning.contains(word));
        assert!(found, "{word:?} is not in {warnings:?}");
    }
    sale.settle().await;
}

/// What INFO tells is checked all the same.
#[tokio::test]
async fn where_config_get_is_forbidden_info_is_used_and_a_warning_given() {
    let node = Settings::default()
        .set("maxmemory-policy", "allkeys-lru")
        .start();
    node.ask(&["ACL", "SETUSER", "default", "-config"]);
    let error = refused(single(&node));
    says(
        &error,
        &["maxmemory-policy noeviction", "--accept-unsafe-store"],
    );
    let node = Settings::default().start();
    node.ask(&["ACL", "SETUSER", "default", "-config"]);
    let sale = Sale::start(single(&node)).await;
    let warnings = sale.server.store.status().warnings;
    let found = warnings
        .iter()
        .any(|warning| warning.contains("CONFIG GET"));
    assert!(found, "{warnings:?}");
    sale.settle().await;
}

#[test]
fn who_is_not_let_in_is_told_so_at_once_and_by_which_setting() {
    let node = Node::start();
    node.ask(&[
        "ACL",
        "SETUSER",
        "ada",
        "on",
        ">hunter2",
        "~holdfast:*",
        "+@all",
    ]);
    let as_user = |password: &str| Options {
        credentials: Some(Credentials {
            username: Some("ada".to_owned()),
            password: password.to_owned(),
        }),
        ..single(&node)
    };
    let begun = now();
    let error = refused(as_user("hunter3"));
    let password = ["HOLDFAST_STORE_PASSWORD", "--store-password-file"];
    says(&error, &password);
    says(&error, &["WRONGPASS", "HOLDFAST_STORE_USERNAME"]);
    assert!(
        !format!("{error} {error:?}").contains("hunter"),
        "{error:?}"
    );
    for right in ["info", "time", "evalsha", "script", "hmget"] {
        node.ask(&["ACL", "SETUSER", "ada", &format!("-{right}")]);
        let error = refused(as_user("hunter2"));
        says(&error, &["users.acl", "HOLDFAST_STORE_USERNAME"]);
        node.ask(&["ACL", "SETUSER", "ada", "+@all"]);
    }
    let mut admin = node.connect().unwrap();
    admin
        .command(&["CONFIG", "SET", "requirepass", "hunter4"])
        .unwrap();
    says(&refused(single(&node)), &["NOAUTH"]);
    says(&refused(single(&node)), &password);
    // Where everybody is let in, so is whoever has a password.
    admin
        .command(&["CONFIG", "SET", "requirepass", ""])
        .unwrap();
    Redis::open(Options {
        credentials: Some(Credentials {
            username: None,
            password: "hunter5".to_owned(),
        }),
        ..single(&node)
    })
    .unwrap();
    assert!(begun.elapsed() < Duration::from_secs(8), "no wait helps");
}

#[test]
fn a_server_alone_and_a_cluster_are_told_apart() {
    let node = Node::start();
    let begun = now();
    let error = refused(clustered(&node.address()));
    says(
        &error,
        &[
            "not part of a cluster",
            "--store redis://",
            "cluster-enabled yes",
        ],
    );
    let cluster = Cluster::start(1, 0);
    let error = refused(single(cluster.node(0)));
    says(&error, &["part of a cluster", "--store redis-cluster://"]);
    assert!(begun.elapsed() < Duration::from_secs(8), "no wait helps");
}

#[test]
fn a_store_that_holdfast_never_used_is_made_only_when_told_so() {
    let node = Node::start();
    let cluster = Cluster::start(2, 0);
    let of_cluster = options(&cluster, Acknowledge::Local);
    for options in [single(&node), of_cluster] {
        let closed = Options {
            init: false,
            ..options.clone()
        };
        let error = refused(closed.clone());
        assert!(matches!(error, OpenError::NoStore { .. }), "{error}");
        says(&error, &["--init-store"]);
        let made = Redis::open(options).unwrap().identity();
        let found = Redis::open(closed).unwrap().identity();
        assert_eq!(made, found);
    }
}

/// A node that is about to start, one that hangs, and nobody at all.
#[test]
fn a_store_that_cannot_be_reached_is_waited_for_but_not_for_ever() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = nobody.local_addr().unwrap().to_string();
    drop(nobody);
    // Accepts by the system's backlog, and never answers.
    let hung = TcpListener::bind("127.0.0.1:0").unwrap();
    let hung = hung
        .local_addr()
        .map(|address| (hung, address.to_string()))
        .unwrap();
    let all = [
        (single_at(&closed), "refused"),
        (clustered(&closed), "refused"),
        (single_at(&hung.1), "does not answer"),
        (
            clustered(&format!("{closed},{}", hung.1)),
            "does not answer",
        ),
    ];
    let waits: Vec<_> = all
        .into_iter()
        .map(|(options, cause)| {
            std::thread::spawn(move || {
                let address = options.address.to_string();
                let begun = now();
                let error = refused(options);
                assert!(matches!(error, OpenError::Unreachable { .. }), "{error}");
                says(&error, &[&address, cause, "--store"]);
                let waited = begun.elapsed();
                let bounds = Duration::from_secs(9)..Duration::from_secs(14);
                assert!(bounds.contains(&waited), "{address}: {waited:?}");
            })
        })
        .collect();
    for wait in waits {
        wait.join().unwrap();
    }
}

#[tokio::test]
async fn a_start_while_a_master_is_down_serves_by_the_others() {
    let cluster = Cluster::start(3, 0);
    let made = Server::open(options(&cluster, Acknowledge::Local));
    made.create("item", 10, 1).await;
    drop(made);
    // Not killed: alone, it could lose its last second.
    cluster.node(1).shut_down();
    let server = Server::open(options(&cluster, Acknowledge::Local));
    let status = server.store.status();
    assert_eq!(status.frozen_stripes, 0, "{status:?}");
    let stripe = shards::ids::StripeNo;
    for n in [0, 63] {
        server.serves(stripe(n)).await;
    }
    server.visit(stripe(32)).await.unwrap_err();
    cluster.node(1).restart();
    server.serves(stripe(32)).await;
    let granted = server.reserve_until_decided("item", 1).await;
    assert!(matches!(
        granted,
        shards::inventory::Reserved::Granted { .. }
    ));
    assert_eq!(server.store.status().frozen_stripes, 0);
}

/// Of a new store nothing is made while a part of it could hold an old one.
#[test]
fn no_store_is_made_while_a_master_is_down() {
    let cluster = Cluster::start(3, 0);
    cluster.node(1).kill_9();
    let error = refused(options(&cluster, Acknowledge::Local));
    says(&error, &["does not answer", &cluster.node(1).address()]);
    for node in [0, 2] {
        let keys = cluster.node(node).ask(&["DBSIZE"]).int();
        assert_eq!(keys, 0);
    }
}

#[tokio::test]
async fn a_start_while_a_slot_is_on_its_way_serves_by_the_others() {
    let cluster = Cluster::start(2, 0);
    drop(Server::open(options(&cluster, Acknowledge::Local)));
    let step = cluster.begin_move(128, 1);
    let sale = Sale::start(options(&cluster, Acknowledge::Local)).await;
    assert_eq!(sale.ask().await, Told::Granted);
    let stripe = shards::ids::StripeNo(0);
    let error = sale.server.visit(stripe).await.unwrap_err().to_string();
    assert!(error.contains("TRYAGAIN"), "{error}");
    cluster.finish_move(step);
    sale.server.serves(stripe).await;
    assert_eq!(sale.server.store.status().frozen_stripes, 0);
}

/// A node that reads its data, and one that is a replica until its failover.
#[tokio::test]
async fn a_node_that_is_not_ready_is_waited_for() {
    let node = Node::start();
    node.ask(&["REPLICAOF", "127.0.0.1", "1"]);
    let waiting = single(&node);
    let open = std::thread::spawn(move || Redis::open(waiting).map(drop));
    eventually("somebody who asks", async || {
        let clients = node.ask(&["CLIENT", "LIST"]).text();
        let asked = node.info("total_connections_received").unwrap();
        if clients.lines().count() > 1 || asked.parse::<u32>().unwrap() > 10 {
            Ok(())
        } else {
            Err(clients)
        }
    })
    .await;
    node.ask(&["REPLICAOF", "NO", "ONE"]);
    open.join().unwrap().unwrap();
}
