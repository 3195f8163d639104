//! Operands of operations, and the parts of stored values that the server makes.

use super::pack::Writer;
use crate::machine::{
    Claimant, LateConfirm, NewEntry, Selling, Settings, State, StockChange, StoreIdentity,
};

/// Store id, stripes, secret: as the guard holds them.
pub(super) fn identity_bytes(identity: &StoreIdentity) -> Vec<u8> {
    let StoreIdentity {
        store_id,
        stripes,
        fingerprint_key,
    } = identity;
    [&store_id[..], &[*stripes], &fingerprint_key.0].concat()
}

pub(super) fn late_no(late: LateConfirm) -> u64 {
    match late {
        LateConfirm::Refuse => 0,
        LateConfirm::Retake => 1,
        LateConfirm::RetakeOrLose => 2,
    }
}

/// As records are stored.
pub(super) fn state_no(state: State) -> u8 {
    match state {
        State::Held => 0,
        State::Confirmed => 1,
        State::Cancelled => 2,
        State::Expired => 3,
        State::Lost => 4,
    }
}

pub(super) fn selling_no(selling: Selling) -> u64 {
    match selling {
        Selling::Open => 0,
        Selling::Paused => 1,
        Selling::Closed => 2,
        Selling::Deleting => 3,
    }
}

pub(super) fn settings_array(settings: &Settings) -> Writer {
    let Settings {
        selling,
        sale_start,
        sale_end,
        hold_ttl_ms,
        max_hold_ms,
        sell_at_once,
        counts_buyers,
        max_units_per_buyer,
        max_units_per_reservation,
        retention_ms,
    } = *settings;
    let mut to = Writer::default();
    to.count(selling_no(selling));
    to.optional(sale_start, Writer::instant);
    to.optional(sale_end, Writer::instant);
    to.count(hold_ttl_ms);
    to.count(max_hold_ms);
    to.flag(sell_at_once);
    to.flag(counts_buyers);
    to.count(max_units_per_buyer.into());
    to.count(max_units_per_reservation.into());
    to.count(retention_ms);
    to
}

/// First as it is stored, for a repeat must ask for the same, whatever numbers
/// it asked for; then as the script computes with it.
pub(super) fn write_change(to: &mut Writer, change: &StockChange) {
    match *change {
        StockChange::Adjust {
            delta,
            allow_partial,
        } => {
            let kind = u8::from(allow_partial);
            to.text(&[&[kind][..], &delta.to_be_bytes()].concat());
            to.flag(false);
            to.signed(delta);
            to.flag(allow_partial);
        }
        StockChange::SetTotal { total, expected } => {
            to.text(&[&[2][..], &total.to_be_bytes(), &expected.to_be_bytes()].concat());
            to.flag(true);
            to.count(total);
            to.count(expected);
        }
    }
}

/// Told apart by their length.
pub(super) fn write_claimant(to: &mut Writer, claimant: &Claimant) {
    match claimant {
        Claimant::Buyer(key) => to.text(&[&key.request.0[..], &key.buyer.0].concat()),
        Claimant::Operator(request) => to.text(&request.0),
    }
}

/// An entry as it is stored; the script fills in the time.
pub(super) fn new_entry(new: &NewEntry) -> Writer {
    let mut to = Writer::default();
    to.text(&new.generation.0);
    // Life, version, and the version that is spread: the shards are made with it.
    for number in [0, 1, 1] {
        to.count(number);
    }
    to.count(selling_no(new.terms.settings.selling));
    // Created, updated, deletion, former selling.
    for _ in 0..4 {
        to.count(0);
    }
    to.text(&to_bytes(&new.terms));
    let placement: Vec<u8> = new.placement.iter().map(|stripe| stripe.0).collect();
    to.text(&placement);
    to.text(&[&new.create_request.0[..], &to_bytes(&new.spec)].concat());
    to
}

/// What the script keeps without looking into it.
pub(super) fn to_bytes(value: &impl serde::Serialize) -> Vec<u8> {
    // Fails for types that have no length or no form; these have both. Nothing at
    // all would be refused by whoever reads it.
    postcard::to_stdvec(value).unwrap_or_default()
}
