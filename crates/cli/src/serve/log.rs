//! The log: on stderr, so that stdout stays the command's own.

use std::io::{self, IsTerminal};

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

use crate::failure::Failure;

/// How the log looks.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people
    #[default]
    Text,
    /// JSON lines for log collectors
    Json,
}

/// Sends this process's events to stderr from now on.
pub(super) fn init(filter: &str, format: LogFormat) -> Result<(), Failure> {
    let log = tracing_subscriber::fmt()
        .with_env_filter(parse(filter)?)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr);
    let started = match format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().try_init(),
    };
    started.map_err(|error| Failure::local(format!("cannot start the log: {error}")))
}

fn parse(filter: &str) -> Result<EnvFilter, Failure> {
    EnvFilter::builder().parse(filter).map_err(|error| {
        Failure::usage(format!(
            "--log {filter:?} is no filter ({error}): write it like info, or info,server=debug"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_checked() {
        parse("info").unwrap();
        parse("info,server=debug,shards::machine=trace").unwrap();
        let failure = format!("{:?}", parse("server=loud").unwrap_err());
        assert!(
            failure.contains("is no filter") && failure.contains("exit: Usage"),
            "{failure}"
        );
    }
}
