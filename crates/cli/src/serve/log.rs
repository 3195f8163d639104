//! The log: on stderr, so that stdout stays the command's own.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;
use crate::failure::Failure;

/// Sends this process's events to stderr from now on.
pub(super) fn init(filter: EnvFilter, format: LogFormat) -> Result<(), Failure> {
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr);
    let started = match format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().try_init(),
    };
    started.map_err(|error| Failure::local(format!("cannot start the log: {error}")))
}
