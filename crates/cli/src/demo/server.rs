//! The server of the demo: a process of its own, so that it can be killed.

use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
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
    /// Where its metrics are, as `host:port`.
    metrics: String,
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
            .args(["--http-listen", "127.0.0.1:0", "--listen", listen])
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
        let said = serde_json::from_str::<Value>(&line).unwrap_or_default();
        let (Some(address), Some(metrics)) = (said["addr"].as_str(), said["http_addr"].as_str())
        else {
            let why = "the server did not start: see its message above";
            return Err(io::Error::other(why));
        };
        Ok(Self {
            data_dir: data_dir.to_owned(),
            child,
            _stdout: stdout,
            address: address.to_owned(),
            metrics: metrics.trim_start_matches("http://").to_owned(),
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
}
