//! `holdfast stripes`.

use clap::{Args, Subcommand, ValueEnum};
use proto::v1::{ListStripesRequest, ReleaseStripeRequest, StripeState};

use super::consent::Consent;
use super::{At, Outcome, Session, incomplete};
use crate::describe;
use crate::document::{Doc, Rows};
use crate::exit::Exit;

/// `holdfast stripes`.
#[derive(Debug, Subcommand)]
pub(crate) enum StripesCommand {
    /// List the parts of the store, and which of them wait for a decision
    List(At<ListArgs>),
    /// Let a frozen stripe serve again, accepting that acknowledged work is
    /// lost
    ///
    /// A stripe is frozen when work that was acknowledged may be missing. First
    /// see what froze it (`stripes list`) and whether the data can be brought
    /// back; once released, what is missing is given up.
    Release(At<ReleaseArgs>),
}

/// Which stripes.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only stripes in this state; may be given more than once
    #[arg(long, value_enum, value_name = "STATE")]
    state: Vec<StateArg>,

    /// Only stripes that hold shards of this item
    #[arg(long, value_name = "ITEM", default_value_t, hide_default_value = true)]
    item: String,
}

/// How stripes do.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum StateArg {
    Serving,
    Unavailable,
    Frozen,
}

/// Which stripe, and what is accepted.
#[derive(Debug, Args)]
pub(crate) struct ReleaseArgs {
    /// The stripe's number
    #[arg(value_name = "STRIPE")]
    stripe: u32,

    /// The freeze to end, as `stripes list` tells it; a later one stays
    #[arg(long, value_name = "ID")]
    freeze_id: String,

    /// Why; goes to the change log
    #[arg(long, value_name = "TEXT")]
    reason: String,

    /// Acknowledged work may be gone for good
    #[arg(long, required = true)]
    accept_loss: bool,

    #[command(flatten)]
    consent: Consent,
}

/// The columns of a table of stripes.
const COLUMNS: &[&str] = &[
    "stripe",
    "state",
    "endpoint",
    "adoption",
    "freeze_id",
    "freeze_time",
    "freeze_reason",
];

pub(super) async fn list(session: Session, args: ListArgs) -> Outcome {
    let states = args.state.iter().map(|state| state.state().into());
    let request = ListStripesRequest {
        states: states.collect(),
        item_id: args.item,
    };
    let reply = session.client.list_stripes(request).await?;
    let stripes = reply.stripes.iter().map(describe::stripe).collect();
    session
        .printer
        .print_rows("stripes", Rows::new(COLUMNS, stripes))?;
    Ok(Exit::Done)
}

pub(super) async fn release(session: Session, args: ReleaseArgs) -> Outcome {
    args.consent.ask(&format!(
        "release stripe {} and give up acknowledged work that is missing",
        args.stripe
    ))?;
    let request = ReleaseStripeRequest {
        stripe: Some(args.stripe),
        freeze_id: args.freeze_id,
        accept_loss: args.accept_loss,
        reason: args.reason,
    };
    let reply = session.client.release_stripe(request).await?;
    let stripe = reply.stripe.as_ref().ok_or_else(|| incomplete("stripe"))?;
    let doc = Doc::new()
        .with_set("surplus_units", reply.surplus_units)
        .with("stripe", describe::stripe(stripe));
    session.printer.print(None, &doc)?;
    Ok(Exit::Done)
}

impl StateArg {
    fn state(self) -> StripeState {
        match self {
            Self::Serving => StripeState::Serving,
            Self::Unavailable => StripeState::Unavailable,
            Self::Frozen => StripeState::Frozen,
        }
    }
}
