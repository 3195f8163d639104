//! What `deploy/redis` gives to those who run a cluster.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests, which may fail them"
)]

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::redis::{Connection, Plan, Ports, Settings, Value};
use e2e::{Ended, run};
use tempfile::TempDir;

fn deploy(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    root.join("deploy/redis").join(name)
}

/// A directory and ports for `local-cluster`, which ends what runs there.
struct Local {
    dir: TempDir,
    ports: Ports,
}

impl Local {
    fn new() -> Self {
        Self {
            dir: TempDir::with_prefix("holdfast-test-").unwrap(),
            ports: Ports::take(6),
        }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(deploy("local-cluster"));
        command.args(args).arg("--dir").arg(self.dir.path());
        command
    }

    async fn run(&self, args: &[&str]) -> Ended {
        run(self.command(args)).await
    }

    async fn start(&self) -> Ended {
        let port = self.ports.first().to_string();
        self.run(&["start", "--port", &port]).await
    }

    fn pids(&self) -> Vec<u32> {
        let first = self.ports.first();
        let pid = |port: u16| {
            let file = self.dir.path().join(port.to_string()).join("redis.pid");
            fs::read_to_string(file).unwrap().trim().parse().unwrap()
        };
        (first..first + 6).map(pid).collect()
    }

    fn connect(&self) -> Connection {
        Connection::tcp(([127, 0, 0, 1], self.ports.first()).into()).unwrap()
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        // Of a test that failed: nothing may be left.
        let _ = self.command(&["stop"]).output();
    }
}

/// Whether a process works; one that has ended may be listed until its parent
/// asks for it.
fn works(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

#[tokio::test]
async fn a_local_cluster_starts_and_stops() {
    let local = Local::new();
    let first = local.ports.first();
    let started = local.start().await;
    assert_eq!(started.code, Some(0), "{started:#?}");
    let nodes: Vec<_> = (first..first + 3)
        .map(|port| format!("127.0.0.1:{port}"))
        .collect();
    let store = format!("redis-cluster://{}", nodes.join(","));
    for line in [
        format!("store:  {store}\n"),
        format!("try:    holdfast demo --store {store}\n"),
    ] {
        assert!(started.stdout.contains(&line), "{started:#?}");
    }
    let status = local.run(&["status"]).await;
    assert_eq!(status.code, Some(0), "{status:#?}");
    assert_eq!(status.stdout.matches(": master, process ").count(), 3);
    assert_eq!(status.stdout.matches(": replica, process ").count(), 3);

    let mut connection = local.connect();
    connection.command(&["SET", "{06S}key", "value"]).unwrap();
    assert_eq!(
        connection.command(&["WAIT", "1", "5000"]).unwrap(),
        Value::Int(1)
    );

    let pids = local.pids();
    let again = local.start().await;
    assert!(again.stdout.starts_with("it runs already"), "{again:#?}");
    assert_eq!(local.pids(), pids);

    let stopped = local.run(&["stop"]).await;
    assert_eq!(stopped.code, Some(0), "{stopped:#?}");
    assert!(!pids.into_iter().any(works), "{stopped:#?}");
    let status = local.run(&["status"]).await;
    assert_eq!(status.code, Some(1), "{status:#?}");
    assert_eq!(status.stdout.matches(": does not run").count(), 6);

    let restarted = local.run(&["start"]).await;
    assert_eq!(restarted.code, Some(0), "{restarted:#?}");
    let value = local.connect().command(&["GET", "{06S}key"]).unwrap();
    assert_eq!(value.text(), "value");
}

#[tokio::test]
async fn what_a_local_cluster_cannot_do_is_a_sentence() {
    let local = Local::new();
    let bus = local.ports.first() + 10_004;
    let other = TcpListener::bind(("127.0.0.1", bus)).unwrap();
    let refused = local.start().await;
    assert_eq!(refused.code, Some(1));
    let wanted = format!("port {bus} is in use by something else");
    assert!(refused.sentence().contains(&wanted), "{refused:#?}");
    drop(other);

    let unknown = local.run(&["start", "--replica", "1"]).await;
    assert!(unknown.sentence().contains("'--replica' is not known"));
    let stopped = local.run(&["stop"]).await;
    assert_eq!((stopped.code, stopped.stderr.as_str()), (Some(0), ""));

    // What the script needs before it looks for a server, and nothing else.
    let tools = TempDir::new().unwrap();
    for name in ["bash", "dirname"] {
        let found = Command::new("sh")
            .args(["-c", "command -v \"$0\"", name])
            .output();
        let path = String::from_utf8(found.unwrap().stdout).unwrap();
        std::os::unix::fs::symlink(path.trim(), tools.path().join(name)).unwrap();
    }
    let mut command = local.command(&["start"]);
    command.env("PATH", tools.path());
    let missing = run(command).await;
    assert_eq!(missing.code, Some(1));
    assert!(missing.sentence().contains("apt-get install redis-server"));
}

/// The users, with "secret" as everyone's password.
fn users() -> String {
    let secret = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
    let file = fs::read_to_string(deploy("users.acl")).unwrap();
    let rule = |word: &str| match word.strip_prefix("#REPLACE-") {
        Some(_) => format!("#{secret}"),
        None => word.to_owned(),
    };
    let lines = file.lines().map(|line| {
        let words: Vec<_> = line.split(' ').map(rule).collect();
        words.join(" ") + "\n"
    });
    lines.collect()
}

#[test]
fn the_users_suffice_for_a_cluster() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("users.acl");
    fs::write(&file, users()).unwrap();
    let plan = Plan::new(1, 1).settings(|settings: Settings| {
        settings
            .set("aclfile", file.to_str().unwrap())
            .set("masteruser", "replica")
            .set("masterauth", "secret")
            .login("admin", "secret")
    });
    let cluster = plan.start();
    let mut caller = Connection::tcp(cluster.node(0).socket_address()).unwrap();
    let denied = caller.command(&["GET", "holdfast:x"]).unwrap_err();
    assert!(denied.starts_with("NOAUTH"), "{denied}");
    caller.command(&["AUTH", "holdfast", "secret"]).unwrap();
    let mut load = |script: &str| caller.command(&["SCRIPT", "LOAD", script]).unwrap().text();
    let useful = load("redis.call('SET', KEYS[1], ARGV[1]); return redis.call('GET', KEYS[1])");
    let harmful = load("return redis.call('FLUSHALL')");
    let ran = caller.command(&["EVALSHA", &useful, "1", "holdfast:x", "1"]);
    assert_eq!(ran.unwrap().text(), "1");
    assert_eq!(
        caller.command(&["WAIT", "1", "5000"]).unwrap(),
        Value::Int(1)
    );
    for (command, why) in [
        (
            &["GET", "other:x"][..],
            "no permissions to access one of the keys",
        ),
        (
            &["EVALSHA", &useful, "1", "other:x", "1"],
            "no permissions to access one of the keys",
        ),
        (&["EVALSHA", &harmful, "0"], "can't run this command"),
        (&["FLUSHALL"], "'flushall' command"),
        (
            &["CONFIG", "SET", "appendonly", "no"],
            "'config|set' command",
        ),
        (&["CLUSTER", "FAILOVER"], "'cluster|failover' command"),
        (&["PUBLISH", "other", "x"], "'publish' command"),
    ] {
        let denied = caller.command(command).unwrap_err();
        assert!(denied.contains(why), "{command:?}: {denied}");
    }
}

/// Every setting is one that servers know, with its reason above it.
#[test]
fn the_settings_are_known_and_explained() {
    let text = fs::read_to_string(deploy("redis.conf")).unwrap();
    let settings = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut with = Settings::default();
    for line in settings {
        let (name, value) = line.split_once(' ').unwrap();
        with = with.set(name, value);
    }
    let node = with.start();
    let policy = node.ask(&["CONFIG", "GET", "maxmemory-policy"]);
    assert_eq!(policy.items()[1].text(), "noeviction");
    for (before, line) in text.lines().zip(text.lines().skip(1)) {
        let is_setting = !line.is_empty() && !line.starts_with('#');
        assert!(!(is_setting && before.is_empty()), "no reason for: {line}");
    }
}
