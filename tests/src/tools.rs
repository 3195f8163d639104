//! Programs of others that tests run: grpcurl, buf, and Python with gRPC's
//! own health client and Prometheus' own parser. `tests/run` installs them and
//! says where they are; those of the system, too, which are found by their names.

use std::path::PathBuf;
use std::process::Command;

use crate::binary::without_our_names;
use crate::{Ended, run};

/// Names the directory that `tests/run` installs into.
const HOME: &str = "HOLDFAST_TEST_TOOLS";

/// A tool of this name, to be run.
#[track_caller]
fn tool(name: &str) -> Command {
    let home = std::env::var_os(HOME).unwrap_or_else(|| {
        panic!(
            "{name} is needed: run tests/run once, which installs it and says where, or set {HOME} \
             to a Python environment made by:\n  python3 -m venv DIR && \
             DIR/bin/pip install -r tests/python/requirements.txt"
        )
    });
    let path = PathBuf::from(home).join("bin").join(name);
    assert!(
        path.is_file(),
        "{} is missing: run tests/run, which installs it",
        path.display()
    );
    let mut command = Command::new(path);
    without_our_names(&mut command);
    command
}

/// Runs grpcurl.
pub async fn grpcurl(args: &[&str]) -> Ended {
    let mut command = tool("grpcurl");
    command.args(args);
    run(command).await
}

/// Runs buf, which also calls rpcs.
pub async fn buf(args: &[&str]) -> Ended {
    let mut command = tool("buf");
    command.args(args);
    run(command).await
}

/// A script of `tests/python`, to be run.
pub fn python_command(script: &str, args: &[&str]) -> Command {
    let mut command = tool("python");
    let scripts = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("python");
    command.arg(scripts.join(script)).args(args);
    command
}

/// Runs a script of `tests/python`.
pub async fn python(script: &str, args: &[&str]) -> Ended {
    run(python_command(script, args)).await
}

/// Fails the test unless a program of the system is there: `args` make it do
/// nothing.
pub async fn installed(name: &str, args: &[&str], package: &str) {
    let mut command = tokio::process::Command::new(name);
    let output = command.args(args).output().await;
    assert!(
        output.is_ok_and(|output| output.status.success()),
        "{name} is needed: run tests/run, which installs it, or 'apt-get install {package}'"
    );
}
