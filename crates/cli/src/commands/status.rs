//! `holdfast status` and `holdfast health`.

use clap::Args;
use client::Health;
use proto::v1::GetStatusRequest;

use super::{Outcome, Session};
use crate::describe;
use crate::document::Doc;
use crate::exit::Exit;

/// `holdfast status` needs nothing but the server.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {}

/// Whose health.
#[derive(Debug, Args)]
pub(crate) struct HealthArgs {
    /// A service: `holdfast.inventory.v1.InventoryService`,
    /// `holdfast.inventory.v1.AdminService`, `store`, `liveness`, or nothing
    /// for the server as a whole
    #[arg(value_name = "SERVICE", default_value_t, hide_default_value = true)]
    service: String,
}

pub(super) async fn status(session: Session, _: StatusArgs) -> Outcome {
    let reply = session.client.get_status(GetStatusRequest {}).await?;
    session.printer.print(None, &describe::status(&reply))?;
    Ok(Exit::Done)
}

pub(super) async fn health(session: Session, args: HealthArgs) -> Outcome {
    let health = session.client.health(&args.service).await?;
    let doc = Doc::new()
        .with("service", args.service)
        .with("status", name(health));
    session.printer.print(None, &doc)?;
    Ok(if health == Health::Serving {
        Exit::Done
    } else {
        Exit::Undecided
    })
}

/// As in `grpc.health.v1`.
fn name(health: Health) -> &'static str {
    match health {
        Health::Serving => "SERVING",
        Health::NotServing => "NOT_SERVING",
        Health::Unknown => "UNKNOWN",
    }
}
