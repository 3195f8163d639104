//! One redis-server as a process of its own.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::clock;
use super::connection::Connection;
use super::ports::{Ports, TO_BUS};
use super::settings::Settings;
use super::value::Value;
use super::wait::{PATIENCE, now, poll};

/// Lines of a node's log that a failed test shows.
const LOG_LINES: usize = 60;

/// How often another port is tried when someone was quicker.
const ATTEMPTS: usize = 10;

/// What a redis-server says when someone else listens on its port.
const PORT_TAKEN: &str = "Address already in use";

/// A redis-server with a directory of its own. Dropping it kills it.
///
/// Its methods take `&self`: a test may kill it while others hold it.
#[derive(Debug)]
pub struct Node {
    home: TempDir,
    host: String,
    process: Mutex<Process>,
}

#[derive(Debug)]
struct Process {
    settings: Settings,
    port: u16,
    /// Keeps the port its own, also while it is down.
    ports: Option<Ports>,
    child: Child,
    is_stopped: bool,
}

impl Node {
    /// Starts one with the default settings.
    #[track_caller]
    pub fn start() -> Self {
        Settings::default().start()
    }

    /// Starts one without waiting for it.
    #[track_caller]
    pub(super) fn launch(settings: Settings) -> Self {
        let home = TempDir::with_prefix("holdfast-redis-").expect("a temporary directory");
        let host = settings
            .announced
            .as_ref()
            .unwrap_or(&settings.host)
            .clone();
        let (port, ports) = port_of(&settings);
        let child = spawn(&settings, home.path(), port);
        Self {
            home,
            host,
            process: Mutex::new(Process {
                settings,
                port,
                ports,
                child,
                is_stopped: false,
            }),
        }
    }

    /// Waits until it answers; takes another port where someone was quicker.
    #[track_caller]
    pub(super) fn wait_until_ready(&self) {
        let mut attempts = 1..ATTEMPTS;
        poll("a redis-server that answers", || {
            let mut process = self.process();
            if let Some(status) = process.child.try_wait().expect("the state of a child") {
                let said = self.log();
                let may_move = process.settings.port.is_none() && process.ports.is_some();
                let taken = said.contains(PORT_TAKEN) && may_move;
                assert!(
                    taken && attempts.next().is_some(),
                    "{} has ended, {status}:\n{said}",
                    process.settings.binary.display()
                );
                let (port, ports) = port_of(&process.settings);
                fs::remove_file(self.log_file()).expect("its log");
                process.child = spawn(&process.settings, self.dir(), port);
                (process.port, process.ports) = (port, ports);
            }
            drop(process);
            match self.command(&["PING"]) {
                Err(said) if !said.starts_with("NOAUTH") => Err(said),
                _ => Ok(()),
            }
        });
    }

    /// Where others find it: `127.0.0.1`, unless its cluster has a network of its
    /// own.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Its port for clients.
    pub fn port(&self) -> u16 {
        self.process().port
    }

    /// Where others find it, as `host:port`.
    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.port())
    }

    /// The same, for sockets.
    pub fn socket_address(&self) -> SocketAddr {
        self.address().parse().expect("a host that is a number")
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process().child.id()
    }

    /// Its directory, with its files in `data`.
    pub fn dir(&self) -> &Path {
        self.home.path()
    }

    /// What it was last started with.
    pub fn settings(&self) -> Settings {
        self.process().settings.clone()
    }

    /// Whether its process is there, if only stopped.
    pub fn is_running(&self) -> bool {
        let state = self.process().child.try_wait();
        state.expect("the state of a child").is_none()
    }

    /// Whether it can answer: running, and not stopped.
    pub fn is_awake(&self) -> bool {
        self.is_running() && !self.process().is_stopped
    }

    /// A connection of one's own, not over the network: it reaches the node
    /// whatever is cut.
    pub fn connect(&self) -> Result<Connection, String> {
        let mut connection = Connection::unix(&self.dir().join("redis.sock"))?;
        if let Some([user, password]) = &self.settings().login {
            connection.command(&["AUTH", user, password])?;
        }
        Ok(connection)
    }

    /// A command on a new connection, with its answer.
    pub fn command<A: AsRef<[u8]>>(&self, args: &[A]) -> Result<Value, String> {
        self.connect()?.command(args)
    }

    /// The same, of a command that cannot fail here.
    #[track_caller]
    pub fn ask<A: AsRef<[u8]>>(&self, args: &[A]) -> Value {
        let answer = self.command(args);
        answer.unwrap_or_else(|error| {
            let words = args.iter().map(|arg| arg.as_ref().escape_ascii());
            let words: Vec<_> = words.map(|word| word.to_string()).collect();
            panic!("{} at {}: {error}", words.join(" "), self.address())
        })
    }

    /// A field of `INFO`, empty where there is none of this name.
    pub fn info(&self, name: &str) -> Result<String, String> {
        let info = self.command(&["INFO", "everything"])?.text();
        let value = info
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find_map(|(field, value)| (field == name).then(|| value.trim().to_owned()));
        Ok(value.unwrap_or_default())
    }

    /// `kill -9`: it gets no chance to do anything more.
    pub fn kill_9(&self) {
        let mut process = self.process();
        process.child.kill().expect("a child to kill");
        process.child.wait().expect("its end");
        process.is_stopped = false;
        clock::tidy(process.child.id());
    }

    /// SIGTERM: it saves what it has and leaves.
    #[track_caller]
    pub fn shut_down(&self) {
        self.signal(Signal::TERM);
        poll("a redis-server's end", || {
            let ended = !self.is_running();
            ended.then_some(()).ok_or("it still runs")
        });
        clock::tidy(self.pid());
    }

    /// SIGSTOP: frozen in mid-work, its connections stay open. Done when it is.
    #[track_caller]
    pub fn stop(&self) {
        self.signal(Signal::STOP);
        self.process().is_stopped = true;
        let stat = format!("/proc/{}/stat", self.pid());
        poll("a frozen redis-server", || {
            let stat = fs::read_to_string(&stat).map_err(|error| error.to_string())?;
            let frozen = stat.contains(") T ");
            frozen.then_some(()).ok_or(stat)
        });
    }

    /// SIGCONT: goes on as if nothing had been.
    pub fn cont(&self) {
        self.signal(Signal::CONT);
        self.process().is_stopped = false;
    }

    fn signal(&self, signal: Signal) {
        let process = self.process();
        // It is our child and not yet waited for, so the id is still its own.
        kill_process(Pid::from_child(&process.child), signal).expect("a child to signal");
    }

    /// Starts it again on the same port, directory and settings.
    #[track_caller]
    pub fn restart(&self) {
        self.restart_with(self.settings());
    }

    /// The same with other settings.
    #[track_caller]
    pub fn restart_with(&self, settings: Settings) {
        assert!(!self.is_running(), "it still runs");
        {
            let mut process = self.process();
            // Others know it by its port by now.
            let settings = Settings {
                port: Some(process.port),
                ..settings
            };
            process.child = spawn(&settings, self.dir(), process.port);
            process.settings = settings;
        }
        self.wait_until_ready();
    }

    /// A copy of its files as they are now: an append-only file is whole at
    /// every moment, up to its end.
    pub fn copy_files(&self) -> TempDir {
        let copy = TempDir::with_prefix("holdfast-redis-copy-").expect("a temporary directory");
        copy_into(&self.data(), copy.path());
        copy
    }

    /// Puts a copy in the place of its files, while it does not run.
    pub fn replace_files(&self, copy: &Path) {
        assert!(!self.is_running(), "it still runs");
        fs::remove_dir_all(self.data()).expect("its files");
        fs::create_dir(self.data()).expect("a directory");
        copy_into(copy, &self.data());
    }

    /// Moves its clock; only of a node with [`Settings::clock_ahead`]. Done
    /// when its time says so.
    #[track_caller]
    pub fn set_clock_ahead(&self, seconds: i64) {
        let mut process = self.process();
        assert!(process.settings.clock.is_some(), "it has the real clock");
        process.settings.clock = Some(seconds);
        clock::set(self.dir(), seconds);
        drop(process);
        poll("another clock", || {
            let ahead = self.clock_ahead();
            let there = (seconds - 1..=seconds + 1).contains(&ahead);
            there
                .then_some(())
                .ok_or_else(|| format!("{ahead} s ahead"))
        });
    }

    /// How far its clock is ahead of the machine's, in seconds.
    #[track_caller]
    pub fn clock_ahead(&self) -> i64 {
        let its = self.ask(&["TIME"]).items()[0].text();
        let its: i64 = its.parse().expect("a number");
        #[expect(
            clippy::disallowed_methods,
            reason = "compares a node's clock with the machine's"
        )]
        let ours = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let ours = ours.expect("a clock after 1970").as_secs();
        its - i64::try_from(ours).expect("a time of our days")
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        let log = fs::read(self.log_file()).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// The end of what it has logged.
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }

    fn log_file(&self) -> PathBuf {
        self.dir().join("redis.log")
    }

    fn data(&self) -> PathBuf {
        self.dir().join("data")
    }

    fn process(&self) -> MutexGuard<'_, Process> {
        // A test that failed meanwhile still ends its processes.
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let process = self.process.get_mut();
        let process = process.unwrap_or_else(PoisonError::into_inner);
        // Both fail only for a child that has been waited for.
        let _ = process.child.kill();
        let _ = process.child.wait();
        clock::tidy(process.child.id());
        if std::thread::panicking() {
            self.show_log();
        }
    }
}

impl Node {
    #[allow(
        clippy::print_stderr,
        reason = "shown by the test runner, as the test fails"
    )]
    fn show_log(&self) {
        eprintln!(
            "--- the log of {} ends with:\n{}\n---",
            self.address(),
            self.log_tail()
        );
    }
}

/// The port to start on.
fn port_of(settings: &Settings) -> (u16, Option<Ports>) {
    if let Some(port) = settings.port {
        return (port, None);
    }
    let ports = Ports::take(1);
    (ports.first(), Some(ports))
}

fn spawn(settings: &Settings, dir: &Path, port: u16) -> Child {
    let data = dir.join("data");
    fs::create_dir_all(&data).expect("a directory");
    let ports = if settings.tls {
        format!("port 0\ntls-port {port}")
    } else {
        format!("port {port}")
    };
    let mut text = format!(
        "bind {}\n{ports}\nunixsocket {}\ndir {}\n",
        settings.host,
        dir.join("redis.sock").display(),
        data.display()
    );
    if settings
        .lines
        .iter()
        .any(|(name, _)| name == "cluster-enabled")
    {
        let _ = writeln!(text, "cluster-port {}", port + TO_BUS);
    }
    for (name, value) in &settings.lines {
        let _ = writeln!(text, "{name} {value}");
    }
    let config = dir.join("redis.conf");
    fs::write(&config, text).expect("its settings");
    let log = File::options()
        .create(true)
        .append(true)
        .open(dir.join("redis.log"))
        .expect("a log file");
    let mut words = settings.wrapper.iter().map(AsRef::as_ref);
    let words: Vec<_> = words
        .by_ref()
        .chain([settings.binary.as_os_str()])
        .collect();
    let mut command = Command::new(words[0]);
    command
        .args(&words[1..])
        .arg(&config)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a log file"))
        .stderr(log);
    if let Some(clock) = &settings.clock {
        clock::set(dir, *clock);
        clock::preload(&mut command, dir);
    }
    command.spawn().unwrap_or_else(|error| {
        assert!(
            error.kind() != ErrorKind::NotFound,
            "{} is missing: run apt-get install redis-server, or tests/run, which does",
            command.get_program().display()
        );
        panic!("{command:?}: {error}")
    })
}

fn copy_into(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("a file");
        let to = to.join(entry.file_name());
        if entry.file_type().expect("its type").is_dir() {
            fs::create_dir(&to).expect("a directory");
            copy_into(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).expect("room for a copy");
        }
    }
}
