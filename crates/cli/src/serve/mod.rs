//! `holdfast serve`: the process around a server. The steps, in order: logging,
//! the port, signals, then the server until it has drained.

mod listen;
mod log;
mod signals;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::thread;

use server::{Config, Listeners};

use crate::args::ServeArgs;
use crate::document::Doc;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::printer::{Format, Printer, write_line};

pub(crate) use log::LogFormat;

/// Serves until the process is asked to leave.
pub(crate) fn run(args: ServeArgs, printer: Printer) -> Result<Exit, Failure> {
    log::init(&args.log, args.log_format)?;
    // The port before the store: a second server on the same command line must
    // not get as far as the first one's data.
    let grpc = listen::bind(args.listen)?;
    let shutdown = signals::watch()
        .map_err(|error| Failure::local(format!("cannot listen for signals: {error}")))?;
    let data_dir = args.data_dir.display().to_string();
    let ready = move |addr| announce(printer, addr, &data_dir);
    server::run(config(args)?, Listeners { grpc }, ready, shutdown)
        .map_err(|error| Failure::local(error.to_string()))?;
    Ok(Exit::Done)
}

fn config(args: ServeArgs) -> Result<Config, Failure> {
    let server_id = match args.server_id {
        Some(id) if id.trim().is_empty() => {
            return Err(Failure::usage(
                "--server-id is empty: give the server a name",
            ));
        }
        Some(id) => id,
        None => rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned(),
    };
    let cores = || thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    Ok(Config {
        server_id,
        data_dir: args.data_dir,
        workers: args.workers.unwrap_or_else(cores),
        drain_grace: args.drain_grace,
        drain_deadline: args.drain_deadline,
    })
}

/// Says that the server serves. Programs that start one wait for this line.
fn announce(printer: Printer, addr: SocketAddr, data_dir: &str) {
    // A server whose stdout is closed goes on; the log has what it says.
    write_line(&announcement(printer.format(), addr, data_dir)).ok();
}

fn announcement(format: Format, addr: SocketAddr, data_dir: &str) -> String {
    match format {
        Format::Text => format!("holdfast is listening on http://{addr}, data in {data_dir}"),
        Format::Json => Doc::new()
            .with("event", "listening")
            .with("addr", format!("http://{addr}"))
            .with("data_dir", data_dir)
            .json(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_that_programs_wait_for() {
        let addr = SocketAddr::from(([127, 0, 0, 1], 4_321));
        assert_eq!(
            announcement(Format::Text, addr, "./holdfast-data"),
            "holdfast is listening on http://127.0.0.1:4321, data in ./holdfast-data"
        );
        assert_eq!(
            announcement(Format::Json, addr, "/tmp/a b"),
            r#"{"event":"listening","addr":"http://127.0.0.1:4321","data_dir":"/tmp/a b"}"#
        );
    }
}
