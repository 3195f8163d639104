//! What is told to support and to operators about reservations and stripes.

use proto::v1;
use shards::inventory::{Explanation, Foreseen, StripeHealth, StripeReleased, StripeReport};

use super::{item, reservation, stock, timestamp, units};
use crate::grpc::problem::{Problem, freeze_id};
use crate::grpc::requests::StockDetail;

pub(in crate::grpc) fn explained(explanation: Explanation) -> v1::ExplainReserveResponse {
    use v1::ReserveOutcome as Outcome;
    let (outcome, error) = match explanation.outcome {
        Ok(foreseen) => (
            match foreseen {
                Foreseen::Granted => Outcome::Reserved,
                Foreseen::AlreadyEnded => Outcome::AlreadyEnded,
                Foreseen::Short { available: 0 } => Outcome::SoldOut,
                Foreseen::Short { .. } => Outcome::NotEnough,
                Foreseen::OverLimit => Outcome::BuyerLimitReached,
                Foreseen::NotStarted => Outcome::SaleNotStarted,
                Foreseen::SaleEnded => Outcome::SaleEnded,
                Foreseen::SalePaused => Outcome::SalePaused,
            },
            None,
        ),
        Err(error) => (Outcome::Unspecified, Some(Problem::from(error).into())),
    };
    v1::ExplainReserveResponse {
        outcome: outcome.into(),
        error,
        description: explanation.description,
        item: Some(item(&explanation.entry)),
        stock: explanation
            .stock
            .map(|there| stock(&there, StockDetail::Full)),
        home_shard: u32::from(explanation.home.0),
        buyer_units: explanation.buyer_units.map(units),
        reservations: explanation.reservations.iter().map(reservation).collect(),
        // No mark is kept yet.
        sold_out_mark_age: None,
    }
}

pub(in crate::grpc) fn stripe(report: StripeReport) -> v1::Stripe {
    let stripe = v1::Stripe {
        stripe: u32::from(report.stripe.0),
        endpoint: report.endpoint.unwrap_or_default(),
        ..v1::Stripe::default()
    };
    match report.health {
        StripeHealth::Serving { seq } => v1::Stripe {
            state: v1::StripeState::Serving.into(),
            acknowledged_seq: units(seq),
            ..stripe
        },
        StripeHealth::Unavailable => v1::Stripe {
            state: v1::StripeState::Unavailable.into(),
            ..stripe
        },
        StripeHealth::Frozen { seq, freeze } => v1::Stripe {
            state: v1::StripeState::Frozen.into(),
            acknowledged_seq: units(seq),
            freeze_id: freeze_id(freeze.id),
            freeze_time: Some(timestamp(freeze.since)),
            freeze_reason: freeze.reason,
            ..stripe
        },
    }
}

pub(in crate::grpc) fn released(released: StripeReleased) -> v1::ReleaseStripeResponse {
    v1::ReleaseStripeResponse {
        stripe: Some(stripe(released.stripe)),
        surplus_units: released.surplus.map(units),
    }
}
