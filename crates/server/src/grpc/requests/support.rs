//! What support and operators ask about reservations and stripes.

use proto::v1;
use shards::ids::{ItemId, QUANTITY_MAX, Quantity, STRIPES, StripeNo};
use shards::inventory::{Error, Explain, Reservations};
use shards::machine::State;

use super::Fields;

/// Which reservations to list.
#[derive(Debug)]
pub(in crate::grpc) struct ListReservations {
    pub(in crate::grpc) wanted: Reservations,
    pub(in crate::grpc) page_size: u32,
}

pub(in crate::grpc) fn list_reservations(
    request: &v1::ListReservationsRequest,
) -> Result<ListReservations, Error> {
    let mut fields = Fields::default();
    let item = fields.item_id("item_id", &request.item_id);
    let buyer = match &*request.buyer_id {
        "" => None,
        text => fields.buyer_id("buyer_id", text),
    };
    let page_size = fields.page_size(request.page_size);
    let mut states = Vec::new();
    for (index, state) in request.states.iter().enumerate() {
        let field = format!("states[{index}]");
        match fields.known(&field, *state) {
            Some(v1::ReservationState::Unspecified) => fields.breaks(&field, "must be a state"),
            Some(v1::ReservationState::Held) => states.push(State::Held),
            Some(v1::ReservationState::Confirmed) => states.push(State::Confirmed),
            Some(v1::ReservationState::Cancelled) => states.push(State::Cancelled),
            Some(v1::ReservationState::Expired) => states.push(State::Expired),
            Some(v1::ReservationState::Lost) => states.push(State::Lost),
            None => {}
        }
    }
    fields.finish((|| {
        let item = item?;
        Some(ListReservations {
            wanted: Reservations {
                item,
                buyer,
                states,
            },
            page_size: page_size?,
        })
    })())
}

pub(in crate::grpc) fn explain_reserve(
    request: &v1::ExplainReserveRequest,
) -> Result<Explain, Error> {
    let mut fields = Fields::default();
    let item = fields.item_id("item_id", &request.item_id);
    let buyer = fields.buyer_id("buyer_id", &request.buyer_id);
    let quantity = Quantity::new(request.quantity.max(1)).ok();
    if quantity.is_none() {
        let rule = format!("must be at most {QUANTITY_MAX} (0 means 1)");
        fields.breaks("quantity", rule);
    }
    let id = match &*request.request_id {
        "" => None,
        text => fields.request_id("request_id", text),
    };
    fields.finish((|| {
        Some(Explain {
            item: item?,
            buyer: buyer?,
            quantity: quantity?,
            request: id,
        })
    })())
}

/// Which stripes to list.
#[derive(Debug)]
pub(in crate::grpc) struct ListStripes {
    pub(in crate::grpc) item: Option<ItemId>,
    /// Empty = all.
    pub(in crate::grpc) states: Vec<v1::StripeState>,
}

pub(in crate::grpc) fn list_stripes(
    request: &v1::ListStripesRequest,
) -> Result<ListStripes, Error> {
    let mut fields = Fields::default();
    let item = match &*request.item_id {
        "" => None,
        text => fields.item_id("item_id", text),
    };
    let mut states = Vec::new();
    for (index, state) in request.states.iter().enumerate() {
        let field = format!("states[{index}]");
        match fields.known(&field, *state) {
            Some(v1::StripeState::Unspecified) => fields.breaks(&field, "must be a state"),
            known => states.extend(known),
        }
    }
    fields.finish(Some(ListStripes { item, states }))
}

/// Which freeze is to end.
#[derive(Debug)]
pub(in crate::grpc) struct ReleaseStripe {
    pub(in crate::grpc) stripe: StripeNo,
    pub(in crate::grpc) freeze_id: u64,
    pub(in crate::grpc) reason: String,
}

pub(in crate::grpc) fn release_stripe(
    request: &v1::ReleaseStripeRequest,
) -> Result<ReleaseStripe, Error> {
    let mut fields = Fields::default();
    let stripe = match request.stripe {
        None => {
            fields.breaks("stripe", "must be set (0 is a stripe)");
            None
        }
        Some(number) => {
            let stripe = u8::try_from(number).ok().filter(|n| *n < STRIPES);
            if stripe.is_none() {
                fields.breaks("stripe", "must be 0 to 63");
            }
            stripe.map(StripeNo)
        }
    };
    let freeze_id = freeze_id(&request.freeze_id);
    if freeze_id.is_none() {
        fields.breaks("freeze_id", "must be a freeze_id as ListStripes tells it");
    }
    if !request.accept_loss {
        let rule = "must be true: acknowledged work may be gone for good";
        fields.breaks("accept_loss", rule);
    }
    if request.reason.is_empty() {
        fields.breaks("reason", "must be set");
    }
    let reason = fields.text("reason", &request.reason).map(str::to_owned);
    fields.finish((|| {
        Some(ReleaseStripe {
            stripe: stripe?,
            freeze_id: freeze_id?,
            reason: reason?,
        })
    })())
}

/// As [`super::super::problem::freeze_id`] prints it.
fn freeze_id(text: &str) -> Option<u64> {
    let hex = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
    hex.then(|| u64::from_str_radix(text, 16).ok()).flatten()
}
