//! The harness of real redis-servers: what it starts, breaks and ends.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests, which may fail them"
)]

use std::path::Path;
use std::time::Duration;

use e2e::redis::{Cluster, Connection, Node, Plan, Proxy, Settings, Value, poll};

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

/// Whether one node reaches another: connections that a node opens by itself
/// would come and go.
fn reaches(cluster: &Cluster, from: usize, to: usize) -> bool {
    let view = Cluster::view_of(cluster.node(from)).unwrap();
    let other = view.member(cluster.id(to)).unwrap();
    !other.is("fail") && !other.is("fail?")
}

fn wait_for_reach(cluster: &Cluster, pairs: &[(usize, usize)], wanted: bool) {
    poll("a link", || {
        let wrong = pairs
            .iter()
            .find(|(a, b)| reaches(cluster, *a, *b) != wanted);
        wrong.map_or(Ok(()), |pair| Err(format!("{pair:?} is not {wanted}")))
    });
}

/// The split of the design: a master, one of its replicas and the clients on
/// one side; the other masters and its other replica on the other.
fn assert_a_split_loses_what_one_replica_has(plan: Plan) {
    let cluster = plan.start();
    let (master, near, far) = (0, 3, 4);
    assert_eq!(cluster.replicas_of(master), [near, far]);
    cluster.split(&[&[master, near], &[far, 1, 2, 5, 6, 7, 8]]);
    cluster.cut_clients_from(&[1]);

    let caller = |index: usize| Connection::tcp(cluster.node(index).socket_address());
    let mut connection = caller(master).unwrap();
    connection.command(&["SET", "{06S}key", "lost"]).unwrap();
    assert_eq!(
        connection.command(&["WAIT", "2", "1000"]).unwrap(),
        Value::Int(1)
    );
    caller(2).unwrap().command(&["PING"]).unwrap();
    let cut_off = caller(1).and_then(|mut connection| {
        connection.timeout(Duration::from_millis(200))?;
        connection.command(&["PING"])
    });
    cut_off.unwrap_err();

    let crossing = [(1, master), (far, near), (near, 2)];
    wait_for_reach(&cluster, &crossing, false);
    poll("an election", || {
        let master = cluster.master_of_slot(0);
        (master == far)
            .then_some(())
            .ok_or(format!("{master} is master"))
    });
    assert!(reaches(&cluster, 1, far) && reaches(&cluster, master, near));

    cluster.heal();
    wait_for_reach(&cluster, &crossing, true);
    cluster.wait_until_ok();
    assert_eq!(cluster.replicas_of(far), [master, near]);
    assert_eq!(
        cluster.node(far).ask(&["EXISTS", "{06S}key"]),
        Value::Int(0)
    );
    caller(1).unwrap().command(&["PING"]).unwrap();
}

#[test]
fn a_split_network_elects_on_one_side_and_heals() {
    let plan = Plan::new(3, 2).splittable();
    assert_a_split_loses_what_one_replica_has(plan);
}

#[test]
fn proxies_split_as_a_network_does() {
    assert_a_split_loses_what_one_replica_has(Plan::new(3, 2).proxied());
}

#[test]
fn a_frozen_node_answers_when_it_goes_on() {
    let node = Node::start();
    let mut connection = node.connect().unwrap();
    connection.timeout(Duration::from_millis(200)).unwrap();
    node.stop();
    assert!(node.is_running() && !node.is_awake());
    connection.send(&["INCR", "n"]).unwrap();
    connection.receive().unwrap_err();
    node.cont();
    let n = poll("what was sent to a frozen node", || {
        match node.command(&["GET", "n"])? {
            Value::Nil => Err("nothing yet".to_owned()),
            value => Ok(value.text()),
        }
    });
    assert_eq!(n, "1");
    node.stop();
    let pid = node.pid();
    drop(node);
    assert_gone(pid);
}

#[test]
fn a_node_goes_back_to_files_it_had() {
    let node = Settings::default().set("appendfsync", "always").start();
    node.ask(&["INCR", "n"]);
    let then = node.copy_files();
    node.ask(&["INCR", "n"]);
    node.shut_down();
    node.replace_files(then.path());
    node.restart();
    assert_eq!(node.ask(&["GET", "n"]).text(), "1");
    assert_eq!(node.info("loading").unwrap(), "0");
}

#[test]
fn a_node_has_a_clock_of_its_own() {
    let node = Settings::default().clock_ahead(3_600).start();
    assert!((3_599..=3_601).contains(&node.clock_ahead()));
    node.set_clock_ahead(-60);
    node.shut_down();
    node.restart();
    assert!((-61..=-59).contains(&node.clock_ahead()));
}

#[test]
fn a_link_is_slow_or_cut_or_closed() {
    let node = Node::start();
    let proxy = Proxy::to(node.socket_address());
    let mut connection = Connection::tcp(proxy.address()).unwrap();
    assert_eq!(connection.command(&["INCR", "n"]).unwrap(), Value::Int(1));

    let delay = Duration::from_millis(300);
    proxy.delay(delay);
    connection.timeout(delay).unwrap();
    connection.send(&["INCR", "n"]).unwrap();
    connection.receive().unwrap_err(); // there and back takes twice as long
    proxy.delay(Duration::ZERO);

    let mut connection = Connection::tcp(proxy.address()).unwrap();
    connection.command(&["SET", "n", "2"]).unwrap();
    proxy.cut();
    connection.send(&["INCR", "n"]).unwrap();
    assert_eq!(node.ask(&["GET", "n"]).text(), "2");
    proxy.heal();
    assert_eq!(connection.receive().unwrap(), Value::Int(3));

    proxy.close();
    connection.command(&["PING"]).unwrap_err();
    let mut connection = Connection::tcp(proxy.address()).unwrap();
    connection.command(&["PING"]).unwrap();
}

#[test]
fn a_cluster_changes_its_nodes_and_slots() {
    let mut cluster = Cluster::start(3, 1);
    cluster.failover(3);
    cluster.wait_until_ok();
    assert_eq!(
        (cluster.masters(), cluster.replicas_of(3)),
        (vec![1, 2, 3], vec![0])
    );

    assert_eq!(cluster.add_replica(1), 6);
    assert_eq!(cluster.replicas_of(1), [4, 6]);
    cluster.node(4).kill_9();
    cluster.forget(4);
    assert_eq!(cluster.replicas_of(1), [6]);

    // A key of slot 16,383.
    for n in 0..3 {
        cluster
            .node(2)
            .ask(&["SET", &format!("{{6ZJ}}{n}"), "value"]);
    }
    let step = cluster.begin_move(16_383, 1);
    assert_eq!((step.from, step.to), (2, 1));
    assert_eq!(cluster.move_keys(step, 2), 2);
    let both = cluster
        .node(2)
        .command(&["MGET", "{6ZJ}0", "{6ZJ}1", "{6ZJ}2"]);
    assert!(
        both.clone()
            .is_err_and(|error| error.starts_with("TRYAGAIN")),
        "{both:?}"
    );
    cluster.finish_move(step);
    assert_eq!(cluster.master_of_slot(16_383), 1);
    assert_eq!(cluster.node(1).ask(&["GET", "{6ZJ}2"]).text(), "value");
}

#[test]
fn networks_are_apart() {
    let plan = || Plan::new(1, 0).splittable();
    let (one, other) = (plan().start(), plan().start());
    assert_ne!(one.addresses(), other.addresses());
    one.cut_clients_from(&[0]);
    drop(one);
    let mut connection = Connection::tcp(other.node(0).socket_address()).unwrap();
    connection.command(&["PING"]).unwrap();
}
