//! The servers of the demo: processes of their own, so that one can be killed.

use std::env;
use std::io;
use std::iter;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader,
};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::show;
use crate::config::NamedStore;

/// Opening a small store takes milliseconds; this is for a machine that is busy.
const START_TIME_MAX: Duration = Duration::from_secs(20);
/// Draining without a grace period.
const STOP_TIME_MAX: Duration = Duration::from_secs(10);
/// What a server that does not start may say about it.
const LAST_WORDS_BYTES_MAX: u64 = 64 * 1_024;

/// Where the demo's items are.
pub(super) enum Store {
    /// In a directory of its own, which goes with it.
    Own(TempDir),
    /// In Redis, with whatever else is there.
    Shared(NamedStore),
}

impl Store {
    /// The named one, or one of its own.
    pub(super) fn of(named: Option<NamedStore>) -> io::Result<Self> {
        if let Some(named) = named {
            return Ok(Self::Shared(named));
        }
        let dir = tempfile::Builder::new().prefix("holdfast-demo-").tempdir();
        dir.map(Self::Own)
    }

    /// Whether several servers can sell from it: a directory has one.
    fn is_shared(&self) -> bool {
        matches!(self, Self::Shared(_))
    }

    /// What it is called.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Own(_) => "embedded".to_owned(),
            Self::Shared(store) => store.address.to_string(),
        }
    }

    /// Tells a server of it.
    fn name_to(&self, command: &mut Command, start: Start) {
        match self {
            Self::Own(dir) => {
                command.arg("--data-dir").arg(dir.path().join("store"));
            }
            Self::Shared(NamedStore { address, variables }) => {
                command.arg("--store").arg(address.to_string());
                let variables = variables.iter().map(|(name, value)| (name, value));
                command.envs(variables);
                if start == Start::First {
                    command.arg("--init-store");
                }
            }
        }
    }
}

/// Whether a server may find no store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// Nobody was there before.
    First,
    /// The store is there, or lost.
    Later,
}

/// All servers of the demo.
pub(super) struct Servers {
    /// The one that is to be killed.
    victim: Server,
    others: Vec<Server>,
}

impl Servers {
    /// Starts them, each on a free loopback port.
    pub(super) async fn start(store: &Arc<Store>) -> io::Result<Self> {
        let free = "127.0.0.1:0";
        let victim = Server::spawn(store, free, Start::First).await?;
        let mut others = Vec::new();
        if store.is_shared() {
            others.push(Server::spawn(store, free, Start::Later).await?);
        }
        Ok(Self { victim, others })
    }

    fn all(&self) -> impl Iterator<Item = &Server> + Clone {
        iter::once(&self.victim).chain(&self.others)
    }

    /// Where they listen, as `http://host:port`.
    pub(super) fn addresses(&self) -> impl Iterator<Item = &str> + Clone {
        self.all().map(|server| server.address.as_str())
    }

    /// Who they are, for people.
    pub(super) fn names(&self) -> String {
        let name = |server: &Server| format!("{} at {}", server.pid(), server.address);
        let names: Vec<_> = self.all().map(name).collect();
        names.join(" and ")
    }

    /// What they have done so far between shards.
    pub(super) async fn work(&self) -> Work {
        let mut work = Work::default();
        for server in self.all() {
            work += server.work().await;
        }
        work
    }

    /// The one that is to be killed.
    pub(super) fn victim(&mut self) -> &mut Server {
        &mut self.victim
    }

    /// Ends them.
    pub(super) async fn stop(self) -> io::Result<()> {
        for server in iter::once(self.victim).chain(self.others) {
            server.stop().await?;
        }
        Ok(())
    }
}

/// A running server. Killed when dropped.
pub(super) struct Server {
    store: Arc<Store>,
    child: Child,
    /// Kept open, or the server would write into a closed pipe.
    _stdout: BufReader<ChildStdout>,
    /// What it says to people goes on to ours.
    _said: JoinSet<()>,
    /// Where it listens, as `http://host:port`.
    address: String,
    /// Where its metrics are, as `host:port`.
    metrics: String,
}

impl Server {
    async fn spawn(store: &Arc<Store>, listen: &str, start: Start) -> io::Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        // Settings meant for a real server are not meant for this one.
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("HOLDFAST_") {
                command.env_remove(name);
            }
        }
        command
            .args(["serve", "--output", "json", "--log", "warn"])
            // Nobody watches it, and a real server may have that port.
            .args(["--http-listen", "127.0.0.1:0", "--listen", listen]);
        store.name_to(&mut command, start);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let no_pipe = || io::Error::other("no pipe");
        let mut stdout = BufReader::new(child.stdout.take().ok_or_else(no_pipe)?);
        let stderr = child.stderr.take().ok_or_else(no_pipe)?;
        let Some((address, metrics)) = announced(&mut stdout).await else {
            child.start_kill()?;
            return Err(io::Error::other(last_words(stderr).await));
        };
        Ok(Self {
            store: Arc::clone(store),
            child,
            _stdout: stdout,
            _said: pass_on(stderr),
            address,
            metrics,
        })
    }

    /// What it has done so far between shards. Nothing, if it does not say.
    pub(super) async fn work(&self) -> Work {
        let page = timeout(STOP_TIME_MAX, read_page(&self.metrics, "/metrics")).await;
        let page = page.unwrap_or_else(|_| Ok(String::new()));
        Work::read(&page.unwrap_or_default())
    }

    /// The process id, for people.
    pub(super) fn pid(&self) -> String {
        self.child
            .id()
            .map_or_else(|| "gone".to_owned(), |pid| pid.to_string())
    }

    /// `kill -9`, then the same again on the same port and the same store.
    pub(super) async fn kill_and_restart(&mut self) -> io::Result<()> {
        self.child.kill().await?;
        let listen = self.address.trim_start_matches("http://").to_owned();
        let store = Arc::clone(&self.store);
        *self = Self::spawn(&store, &listen, Start::Later).await?;
        Ok(())
    }

    async fn stop(mut self) -> io::Result<()> {
        self.child.start_kill()?;
        timeout(STOP_TIME_MAX, self.child.wait())
            .await
            .map_err(|_| io::Error::other("the server did not end"))?
            .map(drop)
    }
}

/// Where a server listens, and where its metrics are: its first line, once it
/// serves. `None` if it ends without one, or takes too long.
async fn announced(stdout: &mut BufReader<ChildStdout>) -> Option<(String, String)> {
    let mut line = String::new();
    let read = timeout(START_TIME_MAX, stdout.read_line(&mut line)).await;
    read.ok()?.ok()?;
    let said: Value = serde_json::from_str(&line).ok()?;
    let metrics = said["http_addr"].as_str()?.trim_start_matches("http://");
    Some((said["addr"].as_str()?.to_owned(), metrics.to_owned()))
}

/// Why a server did not start: its own sentence, or all that it said.
async fn last_words(stderr: impl AsyncRead + Unpin) -> String {
    let mut said = String::new();
    let mut stderr = stderr.take(LAST_WORDS_BYTES_MAX);
    // Whatever has come until it breaks off or the time is over.
    let _ = timeout(STOP_TIME_MAX, stderr.read_to_string(&mut said)).await;
    let error = said.lines().rev().find_map(|line| {
        let said: Value = serde_json::from_str(line).ok()?;
        said["error"]["message"].as_str().map(str::to_owned)
    });
    match (error, said.trim()) {
        (Some(sentence), _) => sentence,
        (None, "") => format!("it did not say that it serves within {START_TIME_MAX:?}"),
        (None, said) => format!("it said: {said}"),
    }
}

/// Writes what a server says to people where the demo does.
fn pass_on(stderr: ChildStderr) -> JoinSet<()> {
    let mut task = JoinSet::new();
    task.spawn(async move {
        let mut lines = BufReader::new(stderr).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            show::say_aside(&line);
        }
    });
    task
}

/// What servers did to bring stock to those who decide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Work {
    /// Looks at all shards.
    pub looks: u64,
    /// Times that stock was moved.
    pub transfers: u64,
    /// Units that were moved.
    pub units: u64,
}

impl Work {
    /// From a page of metrics.
    fn read(page: &str) -> Self {
        let value = |name: &str| {
            page.lines()
                .find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
                .unwrap_or(0)
        };
        Self {
            looks: value("holdfast_looks_total "),
            transfers: value("holdfast_transfers_total "),
            units: value("holdfast_transferred_units_total "),
        }
    }
}

impl std::ops::AddAssign for Work {
    fn add_assign(&mut self, other: Self) {
        self.looks += other.looks;
        self.transfers += other.transfers;
        self.units += other.units;
    }
}

/// The server closes after its answer, so reading to the end is all it takes.
async fn read_page(address: &str, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut page = String::new();
    stream.read_to_string(&mut page).await?;
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_read_from_metrics() {
        let page = "# TYPE holdfast_looks_total counter\nholdfast_looks_total 12\n\
                    holdfast_transfers_total 3\nholdfast_transferred_units_total 40\n";
        let work = Work {
            looks: 12,
            transfers: 3,
            units: 40,
        };
        assert_eq!(Work::read(page), work);
        assert_eq!(Work::read(""), Work::default());
    }

    #[tokio::test]
    async fn a_server_that_does_not_start_says_why_in_a_sentence() {
        let error = r#"{"error":{"code":"UNAVAILABLE","message":"no such store"}}"#;
        for (said, told) in [
            (format!("WARN slow\n{error}\n"), "no such store"),
            ("thread panicked\n".to_owned(), "it said: thread panicked"),
            (String::new(), "it did not say that it serves"),
        ] {
            let words = last_words(said.as_bytes()).await;
            assert!(words.starts_with(told), "{words}");
        }
    }
}
