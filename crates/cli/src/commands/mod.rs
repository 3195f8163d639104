//! The commands that ask a server.

mod audit;
mod consent;
mod explain;
mod item;
mod reservation;
mod reserve;
mod status;
mod stock;
mod stripes;
mod update;
mod watch;

use std::time::Duration;

use clap::{Args, Subcommand};
use client::{Client, Ids, Options, Policy};

use crate::args::Connection;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::printer::Printer;

/// The commands that ask a server.
#[derive(Debug, Subcommand)]
pub(crate) enum Remote {
    /// Create items, read and change them, and open or stop their sale
    #[command(subcommand)]
    Item(item::ItemCommand),
    /// Read, watch and change stock
    #[command(subcommand)]
    Stock(stock::StockCommand),
    /// Hold units for a buyer
    Reserve(At<reserve::ReserveArgs>),
    /// Make the sale of held units final
    Confirm(At<reservation::ConfirmArgs>),
    /// Give held units back
    Cancel(At<reservation::CancelArgs>),
    /// Take sold units back
    ///
    /// They count no longer as the buyer's, and are put on sale again unless
    /// they are discarded. Possible until the reservation's purge time.
    Return(At<reservation::ReturnArgs>),
    /// Make a hold last longer
    Extend(At<reservation::ExtendArgs>),
    /// Read and list reservations
    #[command(subcommand)]
    Reservation(reservation::ReservationCommand),
    /// Say what `reserve` would answer now, and why; changes nothing
    ///
    /// Ends with the code with which `reserve` would end.
    Explain(At<explain::ExplainArgs>),
    /// Check that an item's books add up and nothing is oversold
    Audit(At<audit::AuditArgs>),
    /// Tell how the server and its store do
    Status(At<status::StatusArgs>),
    /// See the parts of the store, and release frozen ones
    #[command(subcommand)]
    Stripes(stripes::StripesCommand),
    /// Tell whether the server, or one of its services, serves
    Health(At<status::HealthArgs>),
}

/// A command's own arguments, and the server that it is for.
#[derive(Debug, Args)]
pub(crate) struct At<A: Args> {
    #[command(flatten)]
    args: A,
    #[command(flatten)]
    connection: Connection,
}

/// What a command works with.
struct Session {
    client: Client,
    printer: Printer,
}

/// What a command comes to.
type Outcome = Result<Exit, Failure>;

/// Runs a command to its end.
pub(crate) fn run(command: Remote, printer: Printer) -> Outcome {
    use item::ItemCommand;
    use reservation::ReservationCommand;
    use stock::StockCommand;
    use stripes::StripesCommand;
    match command {
        Remote::Item(ItemCommand::Create(at)) => at.run(printer, item::create),
        Remote::Item(ItemCommand::Get(at)) => at.run(printer, item::get),
        Remote::Item(ItemCommand::List(at)) => at.run(printer, item::list),
        Remote::Item(ItemCommand::Update(at)) => at.run(printer, update::update),
        Remote::Item(ItemCommand::Pause(at)) => at.run(printer, item::pause),
        Remote::Item(ItemCommand::Resume(at)) => at.run(printer, item::resume),
        Remote::Item(ItemCommand::Close(at)) => at.run(printer, item::close),
        Remote::Item(ItemCommand::Delete(at)) => at.run(printer, item::delete),
        Remote::Stock(StockCommand::Get(at)) => at.run(printer, stock::get),
        Remote::Stock(StockCommand::Adjust(at)) => at.run(printer, stock::adjust),
        Remote::Stock(StockCommand::Set(at)) => at.run(printer, stock::set),
        Remote::Stock(StockCommand::Watch(at)) => at.run(printer, watch::watch),
        Remote::Reserve(at) => at.run(printer, reserve::reserve),
        Remote::Confirm(at) => at.run(printer, reservation::confirm),
        Remote::Cancel(at) => at.run(printer, reservation::cancel),
        Remote::Return(at) => at.run(printer, reservation::take_back),
        Remote::Extend(at) => at.run(printer, reservation::extend),
        Remote::Reservation(ReservationCommand::Get(at)) => at.run(printer, reservation::get),
        Remote::Reservation(ReservationCommand::List(at)) => at.run(printer, reservation::list),
        Remote::Explain(at) => at.run(printer, explain::explain),
        Remote::Audit(at) => at.run(printer, audit::audit),
        Remote::Status(at) => at.run(printer, status::status),
        Remote::Stripes(StripesCommand::List(at)) => at.run(printer, stripes::list),
        Remote::Stripes(StripesCommand::Release(at)) => at.run(printer, stripes::release),
        Remote::Health(at) => at.run(printer, status::health),
    }
}

impl<A: Args> At<A> {
    /// One command, one connection, one thread.
    fn run<F>(self, printer: Printer, command: impl FnOnce(Session, A) -> F) -> Outcome
    where
        F: Future<Output = Outcome>,
    {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::local(format!("cannot start the client: {error}")))?;
        runtime.block_on(async {
            let client = Client::lazy(&self.connection.addr, options(self.connection.timeout))?;
            command(Session { client, printer }, self.args).await
        })
    }
}

/// Somebody waits at the terminal: a server that is not there is said so
/// within a second; one that works may take all the time there is.
fn options(timeout: Duration) -> Options {
    Options {
        connect_timeout: timeout.min(Duration::from_secs(2)),
        policy: Policy {
            deadline: timeout,
            attempt_timeout: timeout,
            attempts_max: 5,
            ..Policy::default()
        },
    }
}

/// The request id to send: the one given, which may have been sent before, or
/// a new one, which was not.
fn request_id(given: Option<String>) -> (String, Ids) {
    match given {
        Some(id) => (id, Ids::MaybeSent),
        None => (client::new_request_id(), Ids::NeverSent),
    }
}

/// What OK must hold and does not.
fn incomplete(what: &str) -> Failure {
    Failure::local(format!(
        "the server's reply holds no {what}; is it a Holdfast server?"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_id_drawn_here_was_surely_never_sent() {
        assert_eq!(
            request_id(Some("7".to_owned())),
            ("7".to_owned(), Ids::MaybeSent)
        );
        let (first, ids) = request_id(None);
        assert_eq!(ids, Ids::NeverSent);
        assert_ne!(request_id(None).0, first);
    }
}
