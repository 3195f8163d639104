//! How a node is started.

use std::ffi::OsString;
use std::path::PathBuf;

use super::node::Node;

/// Names another binary than redis-server, such as a valkey-server.
const BINARY: &str = "HOLDFAST_TEST_REDIS_SERVER";

/// Lines of a configuration file, and what else a node is started with.
#[derive(Clone, Debug)]
pub struct Settings {
    pub(super) lines: Vec<(String, String)>,
    pub(super) binary: OsString,
    /// How far its clock is ahead, in seconds; `None` is the machine's own.
    pub(super) clock: Option<i64>,
    /// Who asks by [`Node::connect`]: a user and a password.
    pub(super) login: Option<[String; 2]>,
    /// The port, where it must be this one.
    pub(super) port: Option<u16>,
    /// Where it listens.
    pub(super) host: String,
    /// Where others find it, if that is somewhere else.
    pub(super) announced: Option<String>,
    /// Whether its port is for TLS.
    pub(super) tls: bool,
    /// A program and its arguments that become the server in the end.
    pub(super) wrapper: Vec<String>,
}

impl Default for Settings {
    /// A server as Holdfast asks for it, which notices quickly that a link is
    /// dead and makes a new replica wait for nothing.
    fn default() -> Self {
        let lines = [
            ("protected-mode", "no"),
            ("appendonly", "yes"),
            ("appendfsync", "everysec"),
            ("save", "\"\""),
            ("maxmemory-policy", "noeviction"),
            ("repl-timeout", "5"),
            ("repl-ping-replica-period", "1"),
            ("repl-diskless-sync", "yes"),
            ("repl-diskless-sync-delay", "0"),
            // DEBUG SLEEP and the like, by the socket that tests use.
            ("enable-debug-command", "local"),
        ];
        Self {
            lines: lines
                .map(|(name, value)| (name.into(), value.into()))
                .into(),
            binary: std::env::var_os(BINARY).unwrap_or_else(|| "redis-server".into()),
            clock: None,
            login: None,
            port: None,
            host: "127.0.0.1".into(),
            announced: None,
            tls: false,
            wrapper: Vec::new(),
        }
    }
}

impl Settings {
    /// With this line in place of any of its name. The value stands in the
    /// file as it is: text that may be empty or has blanks needs its quotes.
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.lines.retain(|(other, _)| other != name);
        self.add(name, value)
    }

    /// With one more line, of a name that may come several times.
    pub fn add(mut self, name: &str, value: &str) -> Self {
        self.lines.push((name.into(), value.into()));
        self
    }

    /// As a member of a cluster that notices a dead node within two seconds.
    pub fn in_cluster(self) -> Self {
        self.set("cluster-enabled", "yes")
            .set("cluster-node-timeout", "2000")
            .set("cluster-replica-validity-factor", "10")
            .set("cluster-allow-replica-migration", "no")
            // The other masters go on without the one that is lost.
            .set("cluster-require-full-coverage", "no")
    }

    /// Under a clock that is so many seconds ahead of the machine's; behind,
    /// where negative. [`Node::set_clock_ahead`] moves it on.
    pub fn clock_ahead(mut self, seconds: i64) -> Self {
        self.clock = Some(seconds);
        self
    }

    /// Whose port, and whose bus, is for TLS alone; certificates are settings
    /// like others.
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self.set("tls-cluster", "yes").set("tls-replication", "yes")
    }

    /// Where everyone must log in: who the harness itself is.
    pub fn login(mut self, user: &str, password: &str) -> Self {
        self.login = Some([user.into(), password.into()]);
        self
    }

    /// By another binary.
    pub fn binary(mut self, path: impl Into<PathBuf>) -> Self {
        self.binary = path.into().into();
        self
    }

    /// Starts one node on a new directory and waits until it answers.
    #[track_caller]
    pub fn start(self) -> Node {
        let node = Node::launch(self);
        node.wait_until_ready();
        node
    }
}
