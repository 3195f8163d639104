//! A server as a process of its own.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::iter;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::binary::Binary;
use crate::redis;
use crate::shop::Shop;
use crate::store::Store;
use crate::wait::{poll_until, within};

/// Lines of a failed test's server log that are shown.
const LOG_LINES: usize = 100;

/// How a server is started.
#[derive(Clone, Debug)]
pub struct Setup {
    binary: Binary,
    listen: String,
    args: Vec<String>,
    wrapper: Vec<String>,
    store: Store,
}

/// Whether a server may find that nobody has made its store yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begin {
    /// It makes one then.
    New,
    /// It does not: what was there is lost.
    Again,
}

/// Stands for the server's directory in [`Setup::under`].
pub const DATA_DIR: &str = "{data}";

impl Setup {
    /// On a free port, leaving without a grace period.
    pub fn new(binary: Binary) -> Self {
        Self {
            binary,
            listen: "127.0.0.1:0".into(),
            args: vec!["--drain-grace".into(), "0s".into()],
            wrapper: Vec::new(),
            store: Store::Embedded,
        }
    }

    /// Over this store in place of an embedded one. The first of a store's
    /// servers makes it; one that is started again does not.
    pub fn on(mut self, store: &Store) -> Self {
        self.store = store.clone();
        self
    }

    /// With these arguments of `serve` in place of those that [`Setup::new`]
    /// chose.
    pub fn args(mut self, args: &[&str]) -> Self {
        self.args = args.iter().map(|&arg| arg.into()).collect();
        self
    }

    /// By another program, of which this is the command line up to the server's:
    /// one that becomes the server in the end, so that what is killed is that.
    /// [`DATA_DIR`] in it stands for the server's directory.
    pub fn under(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(|&word| word.into()).collect();
        self
    }

    /// Under a clock that is so many seconds ahead of the machine's; behind,
    /// where negative.
    pub fn clock_ahead(self, seconds: i64) -> Self {
        let set = redis::clock_of(seconds);
        let set = set.iter().map(|(name, value)| format!("{name}={value}"));
        let words: Vec<_> = iter::once("env".to_owned()).chain(set).collect();
        self.under(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// On a port that stays the same over restarts: one that the system does
    /// not hand out to others meanwhile.
    pub fn on_fixed_port(mut self) -> Self {
        let first = 12_000 + u16::try_from(std::process::id() % 10_000).expect("below 10,000");
        let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
        let port = (first..32_000).find(free).expect("a free port");
        self.listen = format!("127.0.0.1:{port}");
        self
    }

    /// Starts it on a new, empty directory, or over its store.
    pub async fn start(self) -> Server {
        let home = TempDir::with_prefix("holdfast-test-").expect("a temporary directory");
        let data_dir = home.path().join("data");
        self.start_in(Arc::new(home), data_dir, Begin::New).await
    }

    async fn start_in(self, home: Arc<TempDir>, data_dir: PathBuf, begin: Begin) -> Server {
        let started = fs::read_dir(home.path()).expect("the directory").count();
        let log = home.path().join(format!("server-{started}.log"));
        let data = data_dir.to_str().expect("a path in UTF-8");
        let url = self.store.url();
        let mut args = vec!["serve", "--listen", &self.listen];
        args.extend(["--http-listen", "127.0.0.1:0"]);
        match &url {
            None => args.extend(["--data-dir", data]),
            Some(url) => args.extend(["--store", url]),
        }
        if url.is_some() && begin == Begin::New {
            args.push("--init-store");
        }
        args.extend(self.args.iter().map(String::as_str));
        let wrapper: Vec<_> = self
            .wrapper
            .iter()
            .map(|word| word.replace(DATA_DIR, data))
            .collect();
        let mut command = self.binary.command_under(&wrapper, &args);
        command
            .stdout(Stdio::piped())
            .stderr(File::create(&log).expect("a log file"));
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (said, mut lines) = mpsc::unbounded_channel();
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let reader = std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                // Nobody need be listening any more.
                let _ = said.send(line);
            }
        });
        let mut server = Server {
            setup: self,
            home,
            data_dir,
            log,
            child,
            reader: Some(reader),
            address: String::new(),
            http_authority: String::new(),
        };
        let first = within("the server's first line", lines.recv()).await;
        let addresses = first.as_deref().and_then(|line| {
            let line = line.strip_prefix("holdfast is listening on ")?;
            let (grpc, line) = line.split_once(", metrics on http://")?;
            let (http, place) = line.split_once(", ")?;
            let is_its_own = match &url {
                None => place == format!("data in {}", server.data_dir.display()),
                Some(url) => place == format!("store {url}"),
            };
            is_its_own.then(|| (grpc.to_owned(), http.to_owned()))
        });
        (server.address, server.http_authority) =
            addresses.unwrap_or_else(|| panic!("said {first:?} when it started"));
        server
    }
}

/// Kills one server, at once and from anywhere; see [`Server::killer`].
#[derive(Clone, Copy, Debug)]
pub struct Killer(Pid);

impl Killer {
    /// `kill -9`, without waiting for the end.
    pub fn kill_9(self) {
        kill_process(self.0, Signal::KILL).expect("a child to kill");
    }
}

/// What a process takes of the machine's memory, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Now.
    pub resident: u64,
    /// The most that it ever took.
    pub peak: u64,
}

/// A running server. Dropping it kills it.
#[derive(Debug)]
pub struct Server {
    setup: Setup,
    home: Arc<TempDir>,
    data_dir: PathBuf,
    log: PathBuf,
    child: Child,
    reader: Option<JoinHandle<()>>,
    address: String,
    http_authority: String,
}

impl Server {
    /// Starts one on a new, empty directory and a free port.
    pub async fn start(binary: Binary) -> Self {
        Setup::new(binary).start().await
    }

    /// Where it keeps its items.
    pub fn store(&self) -> &Store {
        &self.setup.store
    }

    /// Where it listens, as `http://127.0.0.1:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The same as `host:port`.
    pub fn authority(&self) -> &str {
        self.address.trim_start_matches("http://")
    }

    /// Where it has metrics and health, as `host:port`.
    pub fn http_authority(&self) -> &str {
        &self.http_authority
    }

    /// Its directory, where its store is an embedded one.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Its directory as it sees it itself, where it has a mount there of its own.
    pub fn data_dir_inside(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.child.id()));
        root.join(self.data_dir.strip_prefix("/").expect("a whole path"))
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).expect("its log")
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its memory.
    pub fn memory(&self) -> Memory {
        let path = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(path).expect("Linux, and a living server");
        let field = |name| {
            let value = status.lines().find_map(|line| line.strip_prefix(name));
            let kib = value.and_then(|value| value.trim().strip_suffix(" kB"));
            kib.and_then(|kib| kib.parse::<u64>().ok())
                .unwrap_or_else(|| panic!("{name} in {status}"))
                * 1024
        };
        Memory {
            resident: field("VmRSS:"),
            peak: field("VmHWM:"),
        }
    }

    /// A caller with a connection of its own.
    pub fn shop(&self) -> Shop {
        Shop::at(&self.address)
    }

    /// Tells it to leave.
    pub fn signal(&self, signal: Signal) {
        // It is our child and not yet waited for, so the id is still its own.
        kill_process(Pid::from_child(&self.child), signal).expect("a child to signal");
    }

    /// SIGTERM: what systemd and Kubernetes send.
    pub fn sigterm(&self) {
        self.signal(Signal::TERM);
    }

    /// Whether it has ended, and how.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the state of a child")
    }

    /// Waits until it has ended by itself.
    pub async fn exit_status(&mut self) -> ExitStatus {
        poll_until("the server's end", async || {
            self.ended().ok_or("it still runs")
        })
        .await
    }

    /// Waits until it has ended by itself with exit code 0.
    pub async fn assert_clean_exit(&mut self) {
        let status = self.exit_status().await;
        assert_eq!(status.code(), Some(0), "{status}");
    }

    /// What kills it while others hold it. For as long as this server lives:
    /// its process id is its own until then.
    pub fn killer(&self) -> Killer {
        Killer(Pid::from_child(&self.child))
    }

    /// `kill -9`: it gets no chance to do anything more.
    pub fn kill_9(&mut self) {
        self.child.kill().expect("a child to kill");
        self.child.wait().expect("its end");
    }

    /// Starts it again on the same directory or store, as it was started before.
    pub async fn restart(mut self) -> Self {
        assert!(self.ended().is_some(), "it still runs");
        let (setup, home, dir) = (
            self.setup.clone(),
            Arc::clone(&self.home),
            self.data_dir.clone(),
        );
        drop(self);
        setup.start_in(home, dir, Begin::Again).await
    }

    /// Starts another one of the same kind on a copy of this one's directory or
    /// store, which must not change meanwhile.
    pub async fn start_on_copy(&self) -> Self {
        let dir = TempDir::with_prefix("holdfast-test-").expect("a temporary directory");
        let copy = dir.path().join("data");
        let setup = self.setup.clone().on(&self.setup.store.copy());
        if let Store::Embedded = setup.store {
            copy_files(&self.data_dir, &copy);
        }
        setup.start_in(Arc::new(dir), copy, Begin::Again).await
    }
}

/// Copies the files of a directory.
fn copy_files(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a directory");
    for file in fs::read_dir(from).expect("a directory") {
        let file = file.expect("a file");
        fs::copy(file.path(), to.join(file.file_name())).expect("room for a copy");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only for a child that has been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
        redis::tidy_clock(self.child.id());
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        if std::thread::panicking() {
            self.show_log();
        }
    }
}

impl Server {
    #[expect(
        clippy::print_stderr,
        reason = "shown by the test runner, as the test fails"
    )]
    fn show_log(&self) {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        let tail = &lines[lines.len().saturating_sub(LOG_LINES)..];
        eprintln!(
            "--- {} ends with:\n{}\n---",
            self.log.display(),
            tail.join("\n")
        );
    }
}
