//! A clock of a node's own, by libfaketime.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the library reads: how far it is ahead.
const FILE: &str = "clock";

/// Sets it, also of a node that runs.
pub(super) fn set(dir: &Path, seconds_ahead: i64) {
    // Read at any time: never half of it.
    let new = dir.join("clock.new");
    fs::write(&new, format!("{seconds_ahead:+}s")).expect("a file for a clock");
    fs::rename(new, dir.join(FILE)).expect("a file for a clock");
}

/// Makes a command take its time from there.
pub(super) fn preload(command: &mut Command, dir: &Path) {
    // The library cannot start below jemalloc, which asks for the time before
    // it can be given memory. libc in front of it makes malloc libc's own; a
    // server that has jemalloc linked in does not start.
    let preload = format!("{} libc.so.6", library());
    command
        .env("LD_PRELOAD", preload)
        .env("FAKETIME_TIMESTAMP_FILE", dir.join(FILE))
        // How soon it notices that the file has changed, in seconds.
        .env("FAKETIME_CACHE_DURATION", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
}

/// What gives another process a clock that is so many seconds ahead for as long
/// as it lives, as its environment.
#[track_caller]
pub fn clock_of(seconds_ahead: i64) -> [(&'static str, String); 3] {
    [
        ("LD_PRELOAD", library()),
        ("FAKETIME", format!("{seconds_ahead:+}s")),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
    ]
}

#[track_caller]
fn library() -> String {
    let dirs = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let library = dirs
        .map(|dir| dir.path())
        .chain(["/usr/lib", "/usr/lib64"].map(PathBuf::from))
        .map(|dir| dir.join("faketime/libfaketimeMT.so.1"))
        .find(|path| path.is_file())
        .expect("libfaketime is missing: run apt-get install faketime, or tests/run, which does");
    library.display().to_string()
}

/// Removes what the library leaves of a process that was killed.
pub fn tidy(pid: u32) {
    for name in ["faketime_shm_", "sem.faketime_sem_"] {
        // Not there, but for a node with a clock of its own.
        let _ = fs::remove_file(format!("/dev/shm/{name}{pid}"));
    }
}
