//! `holdfast explain`.

use clap::Args;
use proto::v1::{ExplainReserveRequest, ExplainReserveResponse, ReserveOutcome};

use super::{Outcome, Session};
use crate::describe;
use crate::exit::Exit;

/// Who would want what.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// The item
    #[arg(value_name = "ITEM")]
    item_id: String,

    /// The buyer
    #[arg(value_name = "BUYER")]
    buyer_id: String,

    /// Units
    #[arg(long, value_name = "UNITS", default_value_t = 1)]
    quantity: u32,

    /// A request of this buyer, to be looked up too [default: a new one]
    #[arg(long, value_name = "UUID", default_value_t, hide_default_value = true)]
    request_id: String,
}

pub(super) async fn explain(session: Session, args: ExplainArgs) -> Outcome {
    let request = ExplainReserveRequest {
        item_id: args.item_id,
        buyer_id: args.buyer_id,
        quantity: args.quantity,
        request_id: args.request_id,
    };
    let reply = session.client.explain_reserve(request).await?;
    let headline = Some(reply.description.as_str()).filter(|said| !said.is_empty());
    session
        .printer
        .print(headline, &describe::explanation(&reply))?;
    Ok(exit(&reply))
}

/// Ends as Reserve would.
fn exit(reply: &ExplainReserveResponse) -> Exit {
    match &reply.error {
        Some(error) => client::Error::of_entry(error).kind().into(),
        None if reply.outcome == i32::from(ReserveOutcome::Reserved) => Exit::Done,
        None => Exit::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_as_reserve_would() {
        let mut reply = ExplainReserveResponse {
            outcome: ReserveOutcome::Reserved.into(),
            ..ExplainReserveResponse::default()
        };
        assert_eq!(exit(&reply), Exit::Done);
        reply.outcome = ReserveOutcome::SoldOut.into();
        assert_eq!(exit(&reply), Exit::Refused);
        reply.outcome = 0;
        let unavailable = client::Code::Unavailable as i32;
        reply.error.get_or_insert_default().code = unavailable;
        assert_eq!(exit(&reply), Exit::Undecided);
    }
}
