//! What becomes of a reservation: `holdfast confirm`, `cancel`, `return`,
//! `extend`, `reservation get` and `list`.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use client::Target;
use proto::v1::{
    CancelRequest, ConfirmOutcome, ConfirmRequest, ExtendRequest, GetReservationRequest,
    ListReservationsRequest, Reservation, ReservationKey, ReservationState, ReturnUnitsRequest,
};

use super::item::to_proto;
use super::{At, Outcome, Session, incomplete, request_id};
use crate::describe;
use crate::document::{Doc, Rows};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::printer::{Format, write_line};
use crate::time::parse_duration;

/// `holdfast reservation`.
#[derive(Debug, Subcommand)]
pub(crate) enum ReservationCommand {
    /// Read a reservation, also an ended one
    Get(At<TargetArgs>),
    /// List an item's reservations, of one buyer or of all
    ///
    /// Not a snapshot: what changes meanwhile may be missing or told twice.
    /// Buyers' ids are not stored, so they are not told.
    List(At<ListArgs>),
}

/// Which reservation: its id, or the ids of the Reserve that made it.
#[derive(Debug, Args)]
pub(crate) struct TargetArgs {
    /// The id that `reserve` printed
    #[arg(
        value_name = "RESERVATION_ID",
        required_unless_present = "item",
        conflicts_with_all = ["item", "buyer", "request_id"]
    )]
    reservation_id: Option<String>,

    /// Instead of the id: the item that was reserved ...
    #[arg(long, value_name = "ITEM", requires_all = ["buyer", "request_id"])]
    item: Option<String>,

    /// ... by this buyer ...
    #[arg(long, value_name = "BUYER", requires = "item")]
    buyer: Option<String>,

    /// ... with this request id
    #[arg(long, value_name = "UUID", requires = "item")]
    request_id: Option<String>,
}

/// `holdfast confirm`.
#[derive(Debug, Args)]
pub(crate) struct ConfirmArgs {
    #[command(flatten)]
    target: TargetArgs,

    /// When the hold has expired, take the units anew if there are still some;
    /// if there are none, the reservation is lost for good
    #[arg(long)]
    reacquire: bool,
}

/// `holdfast cancel`.
#[derive(Debug, Args)]
pub(crate) struct CancelArgs {
    #[command(flatten)]
    target: TargetArgs,
}

/// `holdfast extend`.
#[derive(Debug, Args)]
pub(crate) struct ExtendArgs {
    #[command(flatten)]
    target: TargetArgs,

    /// How long from now the hold shall last at least
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration)]
    hold_for: Duration,
}

/// `holdfast return`.
#[derive(Debug, Args)]
pub(crate) struct ReturnArgs {
    #[command(flatten)]
    target: TargetArgs,

    /// Units to take back
    #[arg(long, value_name = "UNITS")]
    quantity: u32,

    /// Do not put them on sale again: they are damaged or gone
    #[arg(long)]
    discard: bool,

    /// A UUID of this return; the same one takes back once [default: a new one]
    #[arg(long, value_name = "UUID")]
    return_id: Option<String>,
}

/// Which reservations.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// The item
    #[arg(value_name = "ITEM")]
    item_id: String,

    /// Only this buyer's, which is quick
    #[arg(long, value_name = "BUYER", default_value_t, hide_default_value = true)]
    buyer: String,

    /// Only reservations in this state; may be given more than once
    #[arg(long, value_enum, value_name = "STATE")]
    state: Vec<StateArg>,

    /// The most to list; 0 for all
    #[arg(long, value_name = "NUMBER", default_value_t = 1_000)]
    limit: usize,
}

/// The states of a reservation.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum StateArg {
    Held,
    Confirmed,
    Cancelled,
    Expired,
    Lost,
}

pub(super) async fn confirm(session: Session, args: ConfirmArgs) -> Outcome {
    let target = args.target.target()?;
    let request = ConfirmRequest {
        target: Some(target.into()),
        reacquire: args.reacquire,
    };
    let reply = session.client.confirm(request).await?;
    let doc = Doc::new()
        .with("outcome", describe::name::<ConfirmOutcome>(reply.outcome))
        .with_set(
            "reservation",
            reply.reservation.as_ref().map(describe::reservation),
        );
    session.printer.print(None, &doc)?;
    Ok(Exit::Done)
}

pub(super) async fn cancel(session: Session, args: CancelArgs) -> Outcome {
    let target = args.target.target()?;
    let reply = session
        .client
        .cancel(CancelRequest {
            target: Some(target.into()),
        })
        .await?;
    session.show_reservation(reply.reservation.as_ref())
}

pub(super) async fn take_back(session: Session, args: ReturnArgs) -> Outcome {
    let target = args.target.target()?;
    let (return_id, _) = request_id(args.return_id);
    let request = ReturnUnitsRequest {
        target: Some(target.into()),
        request_id: return_id.clone(),
        quantity: args.quantity,
        discard: args.discard,
    };
    let reply = session.client.return_units(request).await;
    let reply = reply.map_err(|error| Failure::from(error).with_id("return-id", &return_id))?;
    let reservation = reply.reservation.as_ref();
    let reservation = reservation.ok_or_else(|| incomplete("reservation"))?;
    let doc = Doc::new()
        .with("return_id", return_id)
        .with("reservation", describe::reservation(reservation));
    session.printer.print(None, &doc)?;
    Ok(Exit::Done)
}

pub(super) async fn list(session: Session, args: ListArgs) -> Outcome {
    let limit = if args.limit == 0 {
        usize::MAX
    } else {
        args.limit
    };
    let states = args.state.iter().map(|state| state.state().into());
    let mut request = ListReservationsRequest {
        item_id: args.item_id,
        states: states.collect(),
        buyer_id: args.buyer,
        page_size: i32::try_from(limit).unwrap_or(PAGE_SIZE).min(PAGE_SIZE),
        page_token: String::new(),
    };
    let mut found = Vec::new();
    let more = loop {
        let page = session.client.list_reservations(request.clone()).await?;
        found.extend(page.reservations.iter().map(describe::reservation));
        let last = page.next_page_token.is_empty();
        if last || found.len() >= limit {
            break !last || found.len() > limit;
        }
        request.page_token = page.next_page_token;
    };
    found.truncate(limit);
    let rows = Rows::new(describe::RESERVATION_COLUMNS, found);
    match session.printer.format() {
        Format::Text => {
            session.printer.print_rows("reservations", rows)?;
            if more {
                write_line("... and perhaps more: --limit 0 lists all")?;
            }
        }
        Format::Json => {
            let doc = Doc::new().with("reservations", rows).with("more", more);
            session.printer.print(None, &doc)?;
        }
    }
    Ok(Exit::Done)
}

/// The most that the service gives at once.
const PAGE_SIZE: i32 = 1_000;

pub(super) async fn extend(session: Session, args: ExtendArgs) -> Outcome {
    let target = args.target.target()?;
    let hold_for = Some(to_proto(args.hold_for)?);
    let request = ExtendRequest {
        target: Some(target.into()),
        hold_for,
    };
    let reply = session.client.extend(request).await?;
    session.show_reservation(reply.reservation.as_ref())
}

pub(super) async fn get(session: Session, args: TargetArgs) -> Outcome {
    let request = GetReservationRequest {
        target: Some(args.target()?.into()),
    };
    let reply = session.client.get_reservation(request).await?;
    session.show_reservation(reply.reservation.as_ref())
}

impl Session {
    fn show_reservation(&self, reservation: Option<&Reservation>) -> Outcome {
        let reservation = reservation.ok_or_else(|| incomplete("reservation"))?;
        self.printer
            .print(None, &describe::reservation(reservation))?;
        Ok(Exit::Done)
    }
}

impl StateArg {
    fn state(self) -> ReservationState {
        match self {
            Self::Held => ReservationState::Held,
            Self::Confirmed => ReservationState::Confirmed,
            Self::Cancelled => ReservationState::Cancelled,
            Self::Expired => ReservationState::Expired,
            Self::Lost => ReservationState::Lost,
        }
    }
}

impl TargetArgs {
    fn target(self) -> Result<Target, Failure> {
        match self {
            Self {
                reservation_id: Some(id),
                ..
            } => Ok(Target::Id(id)),
            Self {
                reservation_id: None,
                item: Some(item_id),
                buyer: Some(buyer_id),
                request_id: Some(request_id),
            } => Ok(Target::Key(ReservationKey {
                item_id,
                buyer_id,
                request_id,
            })),
            // The grammar lets no other combination pass.
            _ => Err(Failure::usage(
                "name a reservation: its id, or --item, --buyer and --request-id together",
            )),
        }
    }
}
