//! The server of the demo: a process of its own, so that it can be killed.

use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// Opening a small store takes milliseconds; this is for a machine that is busy.
const START_TIME_MAX: Duration = Duration::from_secs(20);
/// Draining without a grace period.
const STOP_TIME_MAX: Duration = Duration::from_secs(10);

/// A running server. Killed when dropped.
pub(super) struct Server {
    data_dir: PathBuf,
    child: Child,
    /// Kept open, or the server would write into a closed pipe.
    _stdout: BufReader<ChildStdout>,
    /// Where it listens, as `http://host:port`.
    pub address: String,
}

impl Server {
    /// Starts one on a free loopback port, with an embedded store in this
    /// directory.
    pub(super) async fn start(data_dir: &Path) -> io::Result<Self> {
        Self::spawn(data_dir, "127.0.0.1:0").await
    }

    async fn spawn(data_dir: &Path, listen: &str) -> io::Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        // Settings meant for a real server are not meant for this one.
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("HOLDFAST_") {
                command.env_remove(name);
            }
        }
        let mut child = command
            .args(["serve", "--output", "json", "--log", "warn"])
            // Nobody watches it, and a real server may have that port.
            .args(["--http-listen", "off", "--listen", listen])
            .arg("--data-dir")
            .arg(data_dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdout = child
            .stdout
            .take()
            .ok_or_else(|| io::Error::other("no pipe"))?;
        let mut stdout = BufReader::new(stdout);
        let mut line = String::new();
        timeout(START_TIME_MAX, stdout.read_line(&mut line))
            .await
            .map_err(|_| {
                io::Error::other(format!("the server said nothing for {START_TIME_MAX:?}"))
            })??;
        let address = serde_json::from_str::<Value>(&line)
            .ok()
            .and_then(|said| said["addr"].as_str().map(str::to_owned))
            .ok_or_else(|| io::Error::other("the server did not start: see its message above"))?;
        Ok(Self {
            data_dir: data_dir.to_owned(),
            child,
            _stdout: stdout,
            address,
        })
    }

    /// The process id, for people.
    pub(super) fn pid(&self) -> String {
        self.child
            .id()
            .map_or_else(|| "gone".to_owned(), |pid| pid.to_string())
    }

    /// `kill -9`, then the same again on the same port and the same directory.
    pub(super) async fn kill_and_restart(&mut self) -> io::Result<()> {
        self.child.kill().await?;
        let listen = self.address.trim_start_matches("http://").to_owned();
        *self = Self::spawn(&self.data_dir.clone(), &listen).await?;
        Ok(())
    }

    /// Ends it.
    pub(super) async fn stop(mut self) -> io::Result<()> {
        self.child.start_kill()?;
        timeout(STOP_TIME_MAX, self.child.wait())
            .await
            .map_err(|_| io::Error::other("the server did not end"))?
            .map(drop)
    }
}
