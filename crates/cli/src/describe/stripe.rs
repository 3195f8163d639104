//! Stripes.

use proto::v1::{Stripe, StripeState};

use super::{moment, name};
use crate::document::Doc;

/// A stripe of the store. What a freeze adds is left out where there is none.
pub(crate) fn stripe(stripe: &Stripe) -> Doc {
    let said = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    Doc::new()
        .with("stripe", stripe.stripe)
        .with("state", name::<StripeState>(stripe.state))
        .with("endpoint", &stripe.endpoint)
        .with("adoption", stripe.adoption)
        .with("acknowledged_seq", stripe.acknowledged_seq)
        .with("adopted_seq", stripe.adopted_seq)
        .with_set("freeze_id", said(&stripe.freeze_id))
        .with_set("freeze_time", moment(stripe.freeze_time.as_ref()))
        .with_set("freeze_reason", said(&stripe.freeze_reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freeze_is_told_where_there_is_one() {
        let serving = Stripe {
            stripe: 7,
            state: StripeState::Serving.into(),
            endpoint: "127.0.0.1:7000".to_owned(),
            ..Stripe::default()
        };
        assert_eq!(
            stripe(&serving).json(),
            concat!(
                r#"{"stripe":7,"state":"SERVING","endpoint":"127.0.0.1:7000","adoption":0,"#,
                r#""acknowledged_seq":0,"adopted_seq":0}"#
            )
        );
        let frozen = Stripe {
            state: StripeState::Frozen.into(),
            freeze_id: "f1".to_owned(),
            freeze_reason: "seq fell back".to_owned(),
            ..serving
        };
        let said = stripe(&frozen).json();
        assert!(
            said.contains(r#""freeze_id":"f1","freeze_reason":"seq fell back""#),
            "{said}"
        );
    }
}
