//! The path that README shows: one command starts a local cluster, one sells from
//! it, one ends it.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests, which may fail them"
)]

use std::path::Path;
use std::process::Command;

use e2e::redis::Ports;
use e2e::{Ended, holdfast, run, seed};
use serde_json::json;
use tempfile::TempDir;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/redis/local-cluster");
/// Masters of it, each with one replica.
const NODES: u16 = 6;

fn script(words: &[&str], dir: &Path) -> Command {
    let mut command = Command::new(SCRIPT);
    command.args(words).arg("--dir").arg(dir);
    command
}

/// The cluster, ended when this is dropped.
struct Local {
    dir: TempDir,
    ports: Ports,
}

impl Drop for Local {
    fn drop(&mut self) {
        // A test that has ended it finds nothing left to do.
        let stopped = script(&["stop"], self.dir.path()).output();
        assert!(stopped.is_ok() || std::thread::panicking(), "{stopped:?}");
    }
}

impl Local {
    fn new() -> Self {
        Self {
            dir: TempDir::with_prefix("holdfast-local-cluster-").expect("a directory"),
            ports: Ports::take(NODES),
        }
    }

    async fn done(&self, words: &[&str]) -> Ended {
        let ended = run(script(words, self.dir.path())).await;
        assert_eq!(ended.code, Some(0), "{words:?}: {ended:#?}");
        ended
    }

    /// Starts it; its address for `--store`.
    async fn start(&self) -> String {
        let port = self.ports.first().to_string();
        let ended = self
            .done(&["start", "--replicas", "1", "--port", &port])
            .await;
        let store = ended
            .stdout
            .lines()
            .find_map(|line| line.strip_prefix("store:"));
        store.expect("its address").trim().to_owned()
    }
}

/// Sells from it.
async fn sell(url: &str) {
    let seed = (seed() % 1_000_000).to_string();
    let small = ["--units", "100", "--buyers", "500", "--seed", &seed];
    let args = [&["demo", "--store", url, "--output", "json"][..], &small].concat();
    let ended = holdfast!().run(&args).await;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    let verdict = ended.json();
    assert_eq!(
        (&verdict["sound"], &verdict["sold"]),
        (&json!(true), &json!(100)),
        "{verdict}"
    );
}

#[tokio::test]
async fn one_command_starts_a_cluster_and_one_sells_from_it() {
    let local = Local::new();
    let url = local.start().await;
    local.done(&["status"]).await;
    sell(&url).await;
    // It goes on where it was.
    local.done(&["stop"]).await;
    assert_eq!(local.start().await, url);
    sell(&url).await;
    local.done(&["stop"]).await;
}
