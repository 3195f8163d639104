//! `holdfast reserve`.

use clap::Args;
use proto::v1::{ReservationKey, ReserveOutcome};

use super::{Outcome, Session, request_id};
use crate::describe;
use crate::exit::Exit;
use crate::failure::Failure;

/// Who wants what.
#[derive(Debug, Args)]
pub(crate) struct ReserveArgs {
    /// The item
    #[arg(value_name = "ITEM")]
    item_id: String,

    /// The buyer
    #[arg(value_name = "BUYER")]
    buyer_id: String,

    /// Units, all or none
    #[arg(long, value_name = "UNITS", default_value_t = 1)]
    quantity: u32,

    /// A UUID; the same one is granted once [default: a new one]
    #[arg(long, value_name = "UUID")]
    request_id: Option<String>,
}

pub(super) async fn reserve(session: Session, args: ReserveArgs) -> Outcome {
    let (request_id, ids) = request_id(args.request_id);
    let key = ReservationKey {
        item_id: args.item_id,
        buyer_id: args.buyer_id,
        request_id,
    };
    let reply = session.client.reserve(&key, args.quantity, ids).await;
    let reply = reply.map_err(|error| Failure::from(error).with_request_id(&key.request_id))?;
    let verdict = describe::verdict(&key, args.quantity, &reply);
    session
        .printer
        .print(Some(&verdict), &describe::reserve(&key, &reply))?;
    Ok(exit(ReserveOutcome::try_from(reply.outcome).ok()))
}

/// Only RESERVED is a yes, also among outcomes that one does not know.
fn exit(outcome: Option<ReserveOutcome>) -> Exit {
    if outcome == Some(ReserveOutcome::Reserved) {
        Exit::Done
    } else {
        Exit::Refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_but_one_is_a_refusal() {
        assert_eq!(exit(Some(ReserveOutcome::Reserved)), Exit::Done);
        assert_eq!(exit(Some(ReserveOutcome::SoldOut)), Exit::Refused);
        assert_eq!(exit(Some(ReserveOutcome::AlreadyEnded)), Exit::Refused);
        assert_eq!(exit(Some(ReserveOutcome::Unspecified)), Exit::Refused);
        assert_eq!(exit(None), Exit::Refused);
    }
}
