//! The settings of a server: where they are written ([`list`]), how the layers
//! lie over each other ([`layers`]), and what they mean ([`Settings`]).
//!
//! A value is a string until all layers are there, and understood before any
//! port opens. To add a setting: name it in [`list`], read it in
//! [`Settings::read`], and run `holdfast config print --table >
//! docs/SETTINGS.md`.

mod command;
mod file;
mod flags;
mod layers;
mod list;
mod secret;
mod store;
mod table;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use server::{MARK_DEADLINE_MAX, StoreConfig, Tier1Settings};
use tracing_subscriber::EnvFilter;

use crate::environment::Environment;
use crate::failure::Failure;
use crate::time::parse_duration;

pub(crate) use command::{ConfigCommand, run};
pub(crate) use flags::{Flags, StoreFlags};
pub(crate) use layers::Layers;
pub(crate) use list::{PREFIX, environment_name, environment_names, is_ours};
pub(crate) use store::{NamedStore, named as named_store};

/// The settings of a server, all of them valid.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) listen: SocketAddr,
    /// `None`: nothing is served over plain HTTP.
    pub(crate) http_listen: Option<SocketAddr>,
    pub(crate) store: StoreConfig,
    pub(crate) workers: NonZeroUsize,
    pub(crate) tier1: Tier1Settings,
    pub(crate) drain_grace: Duration,
    pub(crate) drain_deadline: Duration,
    pub(crate) server_id: String,
    pub(crate) log: EnvFilter,
    pub(crate) log_format: LogFormat,
}

/// How the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// Lines for people.
    Text,
    /// JSON lines for log collectors.
    Json,
}

impl Settings {
    /// The settings that these flags and this environment come to, with the
    /// file that either names.
    pub(crate) fn load(flags: &Flags, environment: &Environment) -> Result<Self, Failure> {
        Self::read(&Layers::over(flags, environment)?)
    }

    /// Understands every setting.
    fn read(layers: &Layers<'_>) -> Result<Self, Failure> {
        let settings = Self {
            listen: layers.read(&list::LISTEN, parse_listen)?,
            http_listen: layers.read(&list::HTTP_LISTEN, parse_http_listen)?,
            store: store::read(layers)?,
            workers: layers.read(&list::WORKERS, parse_workers)?,
            tier1: Tier1Settings {
                mark_deadline: layers.read(&list::MARK_DEADLINE, parse_mark_deadline)?,
                ignore_first_attempt: layers.read(&list::IGNORE_FIRST_ATTEMPT, parse_switch)?,
            },
            drain_grace: layers.read(&list::DRAIN_GRACE, parse_duration)?,
            drain_deadline: layers.read(&list::DRAIN_DEADLINE, parse_duration)?,
            server_id: layers.read(&list::SERVER_ID, parse_name)?,
            log: layers.read(&list::LOG, parse_filter)?,
            log_format: layers.read(&list::LOG_FORMAT, parse_log_format)?,
        };
        settings.check_together()?;
        Ok(settings)
    }

    /// What no value says by itself.
    fn check_together(&self) -> Result<(), Failure> {
        // Port 0 is another one each time.
        if self.listen.port() != 0 && self.http_listen == Some(self.listen) {
            return Err(Failure::usage(format!(
                "listen and http-listen are both {}: give each an address of its own, or set \
                 http-listen to off",
                self.listen
            )));
        }
        Ok(())
    }
}

/// Names of hosts are not taken: one may stand for several addresses.
fn parse_listen(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse()
        .map_err(|_| "write an IP address and a port, as in 127.0.0.1:50051 or [::]:50051")
}

fn parse_http_listen(text: &str) -> Result<Option<SocketAddr>, &'static str> {
    if text == "off" {
        return Ok(None);
    }
    let address = text
        .parse()
        .map_err(|_| "write an IP address and a port, as in 127.0.0.1:9464 or [::]:9464, or off")?;
    Ok(Some(address))
}

fn parse_workers(text: &str) -> Result<NonZeroUsize, &'static str> {
    text.parse().map_err(|_| "write a whole number from 1 on")
}

/// As generous as other flags' environment names are.
fn parse_switch(text: &str) -> Result<bool, &'static str> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err("write true or false"),
    }
}

fn parse_mark_deadline(text: &str) -> Result<Duration, String> {
    let deadline = parse_duration(text)?;
    if deadline > MARK_DEADLINE_MAX {
        return Err(format!("write {MARK_DEADLINE_MAX:?} or less"));
    }
    Ok(deadline)
}

fn parse_name(text: &str) -> Result<String, &'static str> {
    if text.trim().is_empty() {
        return Err("give the server a name");
    }
    Ok(text.to_owned())
}

fn parse_filter(text: &str) -> Result<EnvFilter, String> {
    if text.trim().is_empty() {
        return Err("write it like info, or info,server=debug; error is the quietest".to_owned());
    }
    let filter = EnvFilter::builder().parse(text);
    filter.map_err(|error| format!("{error}; write it like info, or info,server=debug"))
}

fn parse_log_format(text: &str) -> Result<LogFormat, &'static str> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("write text or json"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::file::File;
    use super::*;

    fn settings(flags: &[(&'static str, &str)], text: &str) -> Result<Settings, String> {
        let (flags, environment) = (Flags::of(flags), Environment::default());
        let file = File::parse("h.toml", text).map_err(|failure| failure.to_string())?;
        let layers = Layers::with_file(&flags, &environment, file);
        Settings::read(&layers).map_err(|failure| failure.to_string())
    }

    #[test]
    fn a_server_that_is_told_nothing_listens_on_loopback() {
        let settings = settings(&[], "").unwrap();
        assert_eq!(settings.listen.to_string(), "127.0.0.1:50051");
        assert_eq!(settings.http_listen.unwrap().to_string(), "127.0.0.1:9464");
        let StoreConfig::Embedded { dir, disk_reserve } = settings.store else {
            panic!("{:?}", settings.store);
        };
        assert_eq!(dir, PathBuf::from("./holdfast-data"));
        assert_eq!(disk_reserve, 64 << 20);
        assert_eq!(settings.tier1.mark_deadline, Duration::from_secs(1));
        assert!(!settings.tier1.ignore_first_attempt);
        assert_eq!(settings.drain_grace, Duration::from_secs(5));
        assert_eq!(settings.drain_deadline, Duration::from_secs(25));
        assert!(!settings.server_id.is_empty());
        assert_eq!(settings.log_format, LogFormat::Text);
    }

    #[test]
    fn every_setting_is_read_and_refuses_what_it_cannot_be() {
        for setting in list::ALL {
            let error = settings(&[(setting.name, "")], "").unwrap_err();
            let shown = match setting.kind {
                list::Kind::Secret => "(secret)",
                _ => "\"\"",
            };
            let place = format!("--{} {shown}: ", setting.name);
            assert!(error.starts_with(&place), "{error}");
        }
    }

    #[test]
    fn wrong_values_say_how_to_write_right_ones() {
        let table = [
            ("listen = \"localhost:50051\"", "IP address and a port"),
            ("listen = 50051", "IP address and a port"),
            ("http-listen = \"on\"", "or off"),
            ("disk-reserve = 64", "needs a unit, such as 64MiB"),
            ("workers = 0", "whole number from 1"),
            ("workers = 1.5", "whole number from 1"),
            ("drain-grace = 5", "needs a unit, such as 5s"),
            ("mark-deadline = 1", "needs a unit, such as 1s"),
            ("mark-deadline = \"2001ms\"", "write 2s or less"),
            ("ignore-first-attempt = 2", "write true or false"),
            ("log = \"server=loud\"", "write it like info"),
            ("log-format = true", "write text or json"),
            ("init-store = \"yes please\"", "write true or false"),
            ("accept-unsafe-store = 2", "write true or false"),
            (
                "durability = \"fsync\"",
                "write replicated, replicated-strict or local",
            ),
            ("store = \"holdfast-data\"", "write embedded, or an address"),
            (
                "store = \"redis-clutser://h:1\"",
                "did you mean redis-cluster://?",
            ),
            (
                "listen = \"[::]:1\"\nhttp-listen = \"[::]:1\"",
                "both [::]:1",
            ),
        ];
        for (text, part) in table {
            let error = settings(&[], text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }

    #[test]
    fn plain_http_can_be_switched_off() {
        let settings = settings(&[], "http-listen = \"off\"").unwrap();
        assert_eq!(settings.http_listen, None);
    }
}
