//! Reservations, and what Reserve decided.

use proto::v1::{Reservation, ReservationKey, ReservationState, ReserveOutcome, ReserveResponse};

use super::{moment, name, span};
use crate::document::Doc;
use crate::time;

/// A reservation as it is.
pub(crate) fn reservation(reservation: &Reservation) -> Doc {
    Doc::new()
        .with("reservation_id", &reservation.reservation_id)
        .with("item_id", &reservation.item_id)
        .with("request_id", &reservation.request_id)
        .with("quantity", reservation.quantity)
        .with("state", name::<ReservationState>(reservation.state))
        .with_set("expire_time", moment(reservation.expire_time.as_ref()))
        .with_set("remaining", span(reservation.remaining.as_ref()))
        .with("returned_quantity", reservation.returned_quantity)
        .with("reacquired", reservation.reacquired)
        .with_set("create_time", moment(reservation.create_time.as_ref()))
        .with_set("purge_time", moment(reservation.purge_time.as_ref()))
}

/// What Reserve decided about the request that `key` names.
pub(crate) fn reserve(key: &ReservationKey, reply: &ReserveResponse) -> Doc {
    Doc::new()
        .with("outcome", name::<ReserveOutcome>(reply.outcome))
        .with("item_id", &key.item_id)
        .with("buyer_id", &key.buyer_id)
        .with("request_id", &key.request_id)
        .with("replayed", reply.replayed)
        .with("from_cache", reply.from_cache)
        .with_set("available_units", reply.available_units)
        .with_set("held_units", reply.held_units)
        .with_set("buyer_units", reply.buyer_units)
        .with_set("max_units_per_buyer", reply.max_units_per_buyer)
        .with_set("sale_start_time", moment(reply.sale_start_time.as_ref()))
        .with_set("reservation", reply.reservation.as_ref().map(reservation))
}

/// What Reserve decided, in a sentence.
pub(crate) fn verdict(key: &ReservationKey, quantity: u32, reply: &ReserveResponse) -> String {
    let item = &key.item_id;
    let units = |count: i64| {
        if count == 1 {
            "1 unit".to_owned()
        } else {
            format!("{count} units")
        }
    };
    let state = reply.reservation.as_ref().map(Reservation::state);
    match ReserveOutcome::try_from(reply.outcome) {
        Ok(ReserveOutcome::Reserved) => match state {
            Some(ReservationState::Confirmed) => {
                format!("sold {} of {item}", units(quantity.into()))
            }
            _ => format!("reserved {} of {item}", units(quantity.into())),
        },
        Ok(ReserveOutcome::SoldOut) => match reply.held_units {
            Some(held) if held > 0 => {
                format!(
                    "{item} is sold out; {} may come back from holds",
                    units(held)
                )
            }
            _ => format!("{item} is sold out"),
        },
        Ok(ReserveOutcome::NotEnough) => format!(
            "{item} has only {} left, not {quantity}",
            units(reply.available_units.unwrap_or_default())
        ),
        Ok(ReserveOutcome::BuyerLimitReached) => format!(
            "{} has {} of {item} and asks for {quantity}; the limit is {}",
            key.buyer_id,
            units(reply.buyer_units.unwrap_or_default()),
            reply.max_units_per_buyer.unwrap_or_default()
        ),
        Ok(ReserveOutcome::SaleNotStarted) => {
            match reply.sale_start_time.as_ref().and_then(time::from_proto) {
                Some(start) => format!("the sale of {item} starts at {start}"),
                None => format!("the sale of {item} has not started"),
            }
        }
        Ok(ReserveOutcome::SaleEnded) => format!("the sale of {item} is over"),
        Ok(ReserveOutcome::SalePaused) => format!("the sale of {item} is paused"),
        Ok(ReserveOutcome::AlreadyEnded) => {
            "these ids were used for a reservation that has ended; take a new request id".to_owned()
        }
        // An outcome that one does not know is a no.
        Ok(ReserveOutcome::Unspecified) | Err(_) => {
            format!("nothing was reserved of {item}, for a reason that this version does not know")
        }
    }
}

#[cfg(test)]
mod tests {
    use prost_types::{Duration, Timestamp};

    use super::*;

    fn key() -> ReservationKey {
        ReservationKey {
            item_id: "sneaker".to_owned(),
            buyer_id: "ada".to_owned(),
            request_id: "2f1d".to_owned(),
        }
    }

    fn refusal(outcome: ReserveOutcome) -> ReserveResponse {
        ReserveResponse {
            outcome: outcome.into(),
            ..ReserveResponse::default()
        }
    }

    #[test]
    fn a_grant_in_both_forms() {
        let reply = ReserveResponse {
            reservation: Some(Reservation {
                reservation_id: "sneaker.AE".to_owned(),
                item_id: "sneaker".to_owned(),
                request_id: "2f1d".to_owned(),
                quantity: 2,
                state: ReservationState::Held.into(),
                expire_time: Some(Timestamp {
                    seconds: 1_795_770_300,
                    nanos: 0,
                }),
                remaining: Some(Duration {
                    seconds: 299,
                    nanos: 500_000_000,
                }),
                ..Reservation::default()
            }),
            ..refusal(ReserveOutcome::Reserved)
        };
        assert_eq!(verdict(&key(), 2, &reply), "reserved 2 units of sneaker");
        let doc = reserve(&key(), &reply);
        assert_eq!(
            doc.json(),
            concat!(
                r#"{"outcome":"RESERVED","item_id":"sneaker","buyer_id":"ada","request_id":"2f1d","#,
                r#""replayed":false,"from_cache":false,"reservation":{"#,
                r#""reservation_id":"sneaker.AE","item_id":"sneaker","request_id":"2f1d","#,
                r#""quantity":2,"state":"HELD","expire_time":"2026-11-27T09:05:00Z","#,
                r#""remaining":"299.500s","returned_quantity":0,"reacquired":false}}"#
            )
        );
        assert_eq!(
            doc.text(time::parse_time("2026-11-27T09:00:00.5Z").unwrap()),
            "outcome     RESERVED\n\
             item id     sneaker\n\
             buyer id    ada\n\
             request id  2f1d\n\
             replayed    no\n\
             from cache  no\n\
             reservation\n  \
               reservation id     sneaker.AE\n  \
               item id            sneaker\n  \
               request id         2f1d\n  \
               quantity           2\n  \
               state              HELD\n  \
               expire time        2026-11-27T09:05:00Z (in 4m 59s)\n  \
               remaining          4m 59s 500ms\n  \
               returned quantity  0\n  \
               reacquired         no\n"
        );
    }

    #[test]
    fn every_refusal_has_its_sentence() {
        let sold_out = ReserveResponse {
            held_units: Some(1),
            ..refusal(ReserveOutcome::SoldOut)
        };
        let not_enough = ReserveResponse {
            available_units: Some(3),
            ..refusal(ReserveOutcome::NotEnough)
        };
        let limit = ReserveResponse {
            buyer_units: Some(2),
            max_units_per_buyer: Some(2),
            ..refusal(ReserveOutcome::BuyerLimitReached)
        };
        let early = ReserveResponse {
            sale_start_time: Some(Timestamp {
                seconds: 1_795_770_000,
                nanos: 0,
            }),
            ..refusal(ReserveOutcome::SaleNotStarted)
        };
        let table = [
            (
                sold_out,
                "sneaker is sold out; 1 unit may come back from holds",
            ),
            (refusal(ReserveOutcome::SoldOut), "sneaker is sold out"),
            (not_enough, "sneaker has only 3 units left, not 5"),
            (
                limit,
                "ada has 2 units of sneaker and asks for 5; the limit is 2",
            ),
            (early, "the sale of sneaker starts at 2026-11-27T09:00:00Z"),
            (
                refusal(ReserveOutcome::SaleEnded),
                "the sale of sneaker is over",
            ),
            (
                refusal(ReserveOutcome::SalePaused),
                "the sale of sneaker is paused",
            ),
        ];
        for (reply, sentence) in table {
            assert_eq!(verdict(&key(), 5, &reply), sentence);
        }
        let unknown = ReserveResponse {
            outcome: 99,
            ..ReserveResponse::default()
        };
        assert!(verdict(&key(), 5, &unknown).starts_with("nothing was reserved"));
    }
}
