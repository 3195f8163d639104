//! What becomes of a reservation: `holdfast confirm`, `cancel`, `extend`,
//! `reservation get`.

use std::time::Duration;

use clap::{Args, Subcommand};
use client::Target;
use proto::v1::{
    CancelRequest, ConfirmOutcome, ConfirmRequest, ExtendRequest, GetReservationRequest,
    Reservation, ReservationKey,
};

use super::item::to_proto;
use super::{At, Outcome, Session, incomplete};
use crate::describe;
use crate::document::Doc;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::time::parse_duration;

/// `holdfast reservation`.
#[derive(Debug, Subcommand)]
pub(crate) enum ReservationCommand {
    /// Read a reservation, also an ended one
    Get(At<TargetArgs>),
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
