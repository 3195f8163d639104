//! `holdfast serve`: the process around a server. The steps, in order: the settings,
//! logging, the ports, signals, then the server until it has drained.

mod listen;
mod log;
mod signals;

use std::net::{SocketAddr, TcpListener};

use server::{Config, Listeners, StoreConfig};

use crate::config::{Flags, Settings};
use crate::document::Doc;
use crate::environment::Environment;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::printer::{Format, Printer, write_line};
use listen::Port;

/// Serves until the process is asked to leave. Every setting is valid before
/// anything is opened.
pub(crate) fn run(
    flags: &Flags,
    environment: &Environment,
    printer: Printer,
) -> Result<Exit, Failure> {
    let settings = Settings::load(flags, environment)?;
    log::init(settings.log, settings.log_format)?;
    // The ports before the store: a second server on the same command line must
    // not get as far as the first one's data.
    let grpc = listen::bind(settings.listen, Port::Grpc)?;
    let http = settings
        .http_listen
        .map(|addr| listen::bind(addr, Port::Http))
        .transpose()?;
    let shutdown = signals::watch()
        .map_err(|error| Failure::local(format!("cannot listen for signals: {error}")))?;
    let place = Place::of(&settings.store);
    let http_addr = http.as_ref().and_then(address);
    let ready = move |addr| announce(printer, addr, http_addr, &place);
    let config = Config {
        server_id: settings.server_id,
        store: settings.store,
        tier1: settings.tier1,
        workers: settings.workers,
        drain_grace: settings.drain_grace,
        drain_deadline: settings.drain_deadline,
    };
    server::run(config, Listeners { grpc, http }, ready, shutdown)
        .map_err(|error| Failure::local(error.to_string()))?;
    Ok(Exit::Done)
}

/// What a port is bound to; port 0 has become a real one. A socket that cannot
/// tell does not serve either, and says so soon.
fn address(listener: &TcpListener) -> Option<SocketAddr> {
    listener.local_addr().ok()
}

/// Where the items are, for those who start a server.
enum Place {
    /// In this directory.
    Dir(String),
    /// At this address, which names no user and no password.
    Url(String),
}

impl Place {
    fn of(store: &StoreConfig) -> Self {
        match store {
            StoreConfig::Embedded { dir, .. } => Self::Dir(dir.display().to_string()),
            StoreConfig::Redis(options) => Self::Url(options.address.to_string()),
        }
    }
}

/// Says that the server serves. Programs that start one wait for this line.
fn announce(printer: Printer, addr: SocketAddr, http_addr: Option<SocketAddr>, place: &Place) {
    // A server whose stdout is closed goes on; the log has what it says.
    write_line(&announcement(printer.format(), addr, http_addr, place)).ok();
}

fn announcement(
    format: Format,
    addr: SocketAddr,
    http_addr: Option<SocketAddr>,
    place: &Place,
) -> String {
    let http = http_addr.map(|addr| format!("http://{addr}"));
    match format {
        Format::Text => {
            let http = http.map_or_else(String::new, |url| format!(", metrics on {url}"));
            let place = match place {
                Place::Dir(dir) => format!("data in {dir}"),
                Place::Url(url) => format!("store {url}"),
            };
            format!("holdfast is listening on http://{addr}{http}, {place}")
        }
        Format::Json => {
            let doc = Doc::new()
                .with("event", "listening")
                .with("addr", format!("http://{addr}"))
                .with_set("http_addr", http);
            match place {
                Place::Dir(dir) => doc.with("data_dir", dir),
                Place::Url(url) => doc.with("store", url),
            }
            .json()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_that_programs_wait_for() {
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let (addr, http) = (at(4_321), Some(at(4_322)));
        let dir = Place::Dir("./holdfast-data".to_owned());
        assert_eq!(
            announcement(Format::Text, addr, http, &dir),
            "holdfast is listening on http://127.0.0.1:4321, metrics on http://127.0.0.1:4322, \
             data in ./holdfast-data"
        );
        assert_eq!(
            announcement(Format::Text, addr, None, &dir),
            "holdfast is listening on http://127.0.0.1:4321, data in ./holdfast-data"
        );
        let dir = Place::Dir("/tmp/a b".to_owned());
        assert_eq!(
            announcement(Format::Json, addr, http, &dir),
            r#"{"event":"listening","addr":"http://127.0.0.1:4321","http_addr":"http://127.0.0.1:4322","data_dir":"/tmp/a b"}"#
        );
        assert_eq!(
            announcement(Format::Json, addr, None, &dir),
            r#"{"event":"listening","addr":"http://127.0.0.1:4321","data_dir":"/tmp/a b"}"#
        );
        let url = Place::Url("redis-cluster://a:1,b:2".to_owned());
        assert_eq!(
            announcement(Format::Text, addr, http, &url),
            "holdfast is listening on http://127.0.0.1:4321, metrics on http://127.0.0.1:4322, \
             store redis-cluster://a:1,b:2"
        );
        assert_eq!(
            announcement(Format::Json, addr, None, &url),
            r#"{"event":"listening","addr":"http://127.0.0.1:4321","store":"redis-cluster://a:1,b:2"}"#
        );
    }
}
