//! The harness of real redis-servers: what it starts, breaks and ends.

use std::path::Path;

use e2e::redis::{Cluster, Node, Value, poll};

/// Fails the test while a process is there.
fn assert_gone(pid: u32) {
    assert!(
        !Path::new(&format!("/proc/{pid}")).exists(),
        "{pid} is there"
    );
}

#[test]
fn a_node_keeps_its_data_over_a_kill_and_ends_with_its_value() {
    let node = Node::start();
    let first = node.pid();
    node.ask(&["SET", "key", "value"]);
    node.ask(&["CONFIG", "SET", "appendfsync", "always"]);
    node.ask(&["SET", "other", "value"]);
    let port = node.port();
    node.kill_9();
    assert!(!node.is_running());
    assert_gone(first);
    node.restart_with(node.settings().set("maxmemory", "64mb"));
    assert_eq!(node.port(), port);
    assert_eq!(node.ask(&["GET", "key"]), Value::Bulk(b"value".into()));
    assert_eq!(node.ask(&["GET", "other"]).text(), "value");
    assert_eq!(
        node.ask(&["CONFIG", "GET", "maxmemory"]).items()[1].text(),
        "67108864"
    );
    let second = node.pid();
    drop(node);
    assert_gone(second);
}

#[test]
fn a_connection_pipelines_and_tells_errors_from_answers() {
    let node = Node::start();
    let mut connection = node.connect().unwrap();
    let answers = connection.pipeline(&[
        &["SET", "a", "1"][..],
        &["INCR", "a"],
        &["LLEN", "a"],
        &["GET", "b"],
    ]);
    let answers = answers.unwrap();
    assert_eq!(answers[..2], [Value::Simple("OK".into()), Value::Int(2)]);
    assert!(matches!(&answers[2], Value::Error(error) if error.starts_with("WRONGTYPE")));
    assert_eq!(answers[3], Value::Nil);
    let error = node.command(&["LLEN", "a"]).unwrap_err();
    assert!(error.starts_with("WRONGTYPE"), "{error}");
}

#[test]
fn a_cluster_elects_a_replica_after_a_kill() {
    let cluster = Cluster::start(3, 1);
    assert_eq!(cluster.masters(), [0, 1, 2]);
    assert_eq!(cluster.replicas_of(1), [4]);
    assert_eq!(cluster.master_of_slot(16_383), 2);
    let pids: Vec<_> = cluster.nodes().iter().map(Node::pid).collect();
    cluster.node(2).kill_9();
    poll("an election", || {
        let master = cluster.master_of_slot(16_383);
        (master == 5)
            .then_some(())
            .ok_or(format!("{master} is master"))
    });
    cluster.wait_until_ok();
    assert_eq!(cluster.masters(), [0, 1, 5]);
    drop(cluster);
    pids.into_iter().for_each(assert_gone);
}
