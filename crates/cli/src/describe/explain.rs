//! What Reserve would say, and why.

use proto::v1::{ExplainReserveResponse, ReserveOutcome};

use super::{item, name, reservation, span, stock};
use crate::document::{Doc, Rows};

/// The columns of a buyer's reservations.
pub(crate) const RESERVATION_COLUMNS: &[&str] = &[
    "reservation_id",
    "state",
    "quantity",
    "returned_quantity",
    "expire_time",
    "request_id",
];

/// What Reserve would say, and why.
pub(crate) fn explanation(reply: &ExplainReserveResponse) -> Doc {
    let error = reply.error.as_ref().map(|error| {
        let error = client::Error::of_entry(error);
        Doc::new()
            .with("code", error.code_name())
            .with("reason", error.reason().unwrap_or_default())
            .with("message", error.to_string())
    });
    let outcome = match &error {
        Some(_) => None,
        None => Some(name::<ReserveOutcome>(reply.outcome)),
    };
    let reservations = reply.reservations.iter().map(reservation).collect();
    Doc::new()
        .with_set("outcome", outcome)
        .with_set("error", error)
        .with("description", &reply.description)
        .with("home_shard", reply.home_shard)
        .with_set("buyer_units", reply.buyer_units)
        .with_set("sold_out_mark_age", span(reply.sold_out_mark_age.as_ref()))
        .with("reservations", Rows::new(RESERVATION_COLUMNS, reservations))
        .with_set("stock", reply.stock.as_ref().map(stock))
        .with_set("item", reply.item.as_ref().map(item))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time;

    #[test]
    fn an_explanation_in_both_forms() {
        let mut reply = ExplainReserveResponse {
            outcome: ReserveOutcome::BuyerLimitReached.into(),
            description: "ada has 2 of at most 2 units".to_owned(),
            home_shard: 3,
            buyer_units: Some(2),
            ..ExplainReserveResponse::default()
        };
        assert_eq!(
            explanation(&reply).json(),
            concat!(
                r#"{"outcome":"BUYER_LIMIT_REACHED","description":"ada has 2 of at most 2 units","#,
                r#""home_shard":3,"buyer_units":2,"reservations":[]}"#
            )
        );
        reply.error.get_or_insert_default().code = client::Code::Unavailable as i32;
        let text = explanation(&reply).text(time::parse_time("2026-11-27T09:00:00Z").unwrap());
        assert!(text.contains("UNAVAILABLE"), "{text}");
        assert!(!text.contains("outcome"), "{text}");
    }
}
