//! What is said about the contract's messages: one document for each, with the
//! contract's field names.

mod admin;
mod explain;
mod item;
mod reservation;
mod stock;
mod stripe;

use prost_types::{Duration as ProtoDuration, Timestamp as ProtoTimestamp};
use proto::v1::{
    AuditVerdict, ConfirmOutcome, Durability, ItemState, ReservationState, ReserveOutcome,
    SalePhase, StripeState,
};

use crate::document::Value;
use crate::time;

pub(crate) use admin::{audit, status};
pub(crate) use explain::{RESERVATION_COLUMNS, explanation};
pub(crate) use item::item;
pub(crate) use reservation::{reservation, reserve, verdict};
pub(crate) use stock::stock;
pub(crate) use stripe::stripe;

/// An enum of the contract.
pub(crate) trait Named: TryFrom<i32> {
    /// What all its names begin with.
    const PREFIX: &'static str;

    /// The name in the contract.
    fn contract_name(&self) -> &'static str;
}

/// The name of an enum's value without the enum's; the number of a value that
/// this version does not know.
pub(crate) fn name<E: Named>(value: i32) -> String {
    match E::try_from(value) {
        Ok(known) => {
            let name = known.contract_name();
            name.strip_prefix(E::PREFIX).unwrap_or(name).to_owned()
        }
        Err(_) => value.to_string(),
    }
}

macro_rules! named {
    ($($type:ident: $prefix:literal),* $(,)?) => {$(
        impl Named for $type {
            const PREFIX: &'static str = $prefix;

            fn contract_name(&self) -> &'static str {
                self.as_str_name()
            }
        }
    )*};
}

named! {
    AuditVerdict: "AUDIT_VERDICT_",
    ConfirmOutcome: "CONFIRM_OUTCOME_",
    Durability: "DURABILITY_",
    ItemState: "ITEM_STATE_",
    ReservationState: "RESERVATION_STATE_",
    ReserveOutcome: "RESERVE_OUTCOME_",
    SalePhase: "SALE_PHASE_",
    StripeState: "STRIPE_STATE_",
}

/// A time of the contract. One that no calendar knows is shown as it came.
fn moment(value: Option<&ProtoTimestamp>) -> Option<Value> {
    value.map(|value| match time::from_proto(value) {
        Some(time) => time.into(),
        None => format!("{}s {}ns after 1970", value.seconds, value.nanos).into(),
    })
}

/// A duration of the contract; as above.
fn span(value: Option<&ProtoDuration>) -> Option<Value> {
    value.map(|value| match std::time::Duration::try_from(*value) {
        Ok(duration) => duration.into(),
        Err(_) => format!("{}s {}ns", value.seconds, value.nanos).into(),
    })
}

/// A limit, 0 for none.
fn limit(value: u32) -> Value {
    if value == 0 {
        Value::Means(0, "no limit")
    } else {
        value.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enums_lose_their_prefix_and_unknown_values_stay_numbers() {
        assert_eq!(
            name::<ReserveOutcome>(ReserveOutcome::SoldOut.into()),
            "SOLD_OUT"
        );
        assert_eq!(name::<SalePhase>(SalePhase::AllHeld.into()), "ALL_HELD");
        assert_eq!(
            name::<Durability>(Durability::ReplicatedStrict.into()),
            "REPLICATED_STRICT"
        );
        assert_eq!(name::<ItemState>(0), "UNSPECIFIED");
        assert_eq!(name::<ItemState>(99), "99");
    }

    #[test]
    fn impossible_times_are_shown_as_they_came() {
        let never = ProtoTimestamp {
            seconds: i64::MAX,
            nanos: 0,
        };
        assert_eq!(
            moment(Some(&never)),
            Some(Value::Text(
                "9223372036854775807s 0ns after 1970".to_owned()
            ))
        );
        let back = ProtoDuration {
            seconds: -1,
            nanos: 0,
        };
        assert_eq!(span(Some(&back)), Some(Value::Text("-1s 0ns".to_owned())));
    }
}
