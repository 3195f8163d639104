//! How a call names what it is about.

use proto::v1::{
    ReservationKey, ReserveRequest, cancel_request, confirm_request, extend_request,
    get_reservation_request, return_units_request,
};

/// What the caller knows about the ids of a Reserve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ids {
    /// Surely never sent before, by this process or any other: the server may
    /// refuse from memory, which is the fast path of a sold-out sale.
    NeverSent,
    /// Perhaps sent before, and perhaps granted: the server must look.
    MaybeSent,
}

/// Which reservation a call is about. Either name finds it.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// The id that Reserve returned; all that an order has to keep.
    Id(String),
    /// The Reserve's own ids, for callers that never saw its answer.
    Key(ReservationKey),
}

/// The contract has a `oneof` per request, each a type of its own.
macro_rules! into_targets {
    ($($request:ident),*) => {$(
        impl From<Target> for $request::Target {
            fn from(target: Target) -> Self {
                match target {
                    Target::Id(id) => Self::ReservationId(id),
                    Target::Key(key) => Self::Key(key),
                }
            }
        }
    )*};
}

into_targets!(
    confirm_request,
    cancel_request,
    extend_request,
    get_reservation_request,
    return_units_request
);

/// A Reserve, for batches and streams.
#[derive(Clone, Debug, PartialEq)]
pub struct Wish {
    /// Its ids.
    pub key: ReservationKey,
    /// Units, all or none.
    pub quantity: u32,
    /// What is known about the ids.
    pub ids: Ids,
}

impl From<Wish> for ReserveRequest {
    fn from(wish: Wish) -> Self {
        let Wish { key, quantity, ids } = wish;
        Self {
            item_id: key.item_id,
            buyer_id: key.buyer_id,
            request_id: key.request_id,
            quantity,
            first_attempt: ids == Ids::NeverSent,
        }
    }
}
