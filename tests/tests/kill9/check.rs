//! Holds a log against a server: what is wrong, in sentences.

use client::Target;
use e2e::{Shop, instant, ok};
use proto::v1::reserve_result::Result as Entry;
use proto::v1::{
    BatchReserveRequest, Item, Reservation, ReservationState, ReserveOutcome, ReserveResponse,
};

use crate::log::{Adjustment, Hold, Log, Sighting};

/// Entries of one batch.
const BATCH: usize = 512;

/// Every acknowledged operation is there. Changes nothing, if it is.
pub(crate) async fn check(shop: &Shop, log: &Log) -> Vec<String> {
    let mut wrong = Vec::new();
    let holds: Vec<_> = log
        .holds
        .iter()
        .filter(|hold| hold.is_acknowledged())
        .collect();
    for holds in holds.chunks(BATCH) {
        let requests = holds
            .iter()
            .map(|hold| Shop::request(&hold.key, hold.quantity));
        let requests = requests.collect();
        let reply = ok(shop
            .inventory()
            .batch_reserve(BatchReserveRequest { requests })
            .await);
        for (hold, result) in holds.iter().zip(reply.results) {
            let verdict = match result.result {
                Some(Entry::Response(reply)) => judge(hold, &reply),
                other => Err(format!("{other:?}")),
            };
            wrong.extend(verdict.err().map(|what| format!("{hold:?}: {what}")));
        }
    }
    for change in &log.adjustments {
        wrong.extend(check_adjustment(shop, change).await.err());
    }
    for sighting in &log.sightings {
        wrong.extend(check_sighting(shop, sighting).await.err());
    }
    wrong
}

/// Whether a repeated Reserve tells of what was acknowledged.
fn judge(hold: &Hold, reply: &ReserveResponse) -> Result<(), String> {
    let outcome = reply.outcome();
    let Some(now) = &reply.reservation else {
        return Err(format!("now it is refused: {outcome:?}"));
    };
    if outcome == ReserveOutcome::Reserved && !reply.replayed {
        return Err("it was granted anew".into());
    }
    if now.reservation_id != hold.id || now.quantity != hold.quantity {
        return Err(format!("now it is another: {now:?}"));
    }
    if !hold.allows(now.state()) {
        return Err(format!("now it is {:?}", now.state()));
    }
    let end = now.expire_time.as_ref().map(|end| instant(Some(end)));
    if now.state() == ReservationState::Held && !hold.allows_end(end) {
        return Err(format!("now it is held until {end:?}"));
    }
    Ok(())
}

/// Whether the same change again is known to have been made. One whose outcome
/// is unknown is not sent: that would settle it.
async fn check_adjustment(shop: &Shop, change: &Adjustment) -> Result<(), String> {
    let Some(applied) = change.applied else {
        return Ok(());
    };
    let again = shop.adjust(&change.item, change.delta, &change.request);
    let again = match again.await {
        Ok(reply) => reply.into_inner(),
        // One that was never made may not be possible by now.
        Err(status) => return Err(format!("{change:?}: {status}")),
    };
    if (again.replayed, again.applied_delta) != (true, Some(applied)) {
        return Err(format!("{change:?}: now it is {again:?}"));
    }
    Ok(())
}

/// Whether what was shown to somebody is there, and has not gone backwards.
async fn check_sighting(shop: &Shop, sighting: &Sighting) -> Result<(), String> {
    let Sighting { key, state } = sighting;
    let now = match shop.reservation(Target::Key(key.clone())).await {
        Ok(reply) => reply.into_inner().reservation.expect("a reservation"),
        Err(status) => return Err(format!("{sighting:?}: {status}")),
    };
    let stays = match state {
        ReservationState::Held => true,
        // A hold that ran out can still be cancelled.
        ReservationState::Expired => now.state() != ReservationState::Held,
        _ => now.state() == *state,
    };
    if stays {
        Ok(())
    } else {
        Err(format!("{sighting:?}: now {}", shown(&now)))
    }
}

fn shown(reservation: &Reservation) -> &'static str {
    reservation.state().as_str_name()
}

/// The items' stock is what the log of all callers adds up to. Nothing may be
/// unknown any more.
pub(crate) async fn check_totals(shop: &Shop, items: &[(i64, Item)], log: &Log) -> Vec<String> {
    let mut wrong = Vec::new();
    for (opening, item) in items {
        let id = &item.item_id;
        let holds = || log.holds.iter().filter(|hold| hold.key.item_id == *id);
        let sum = |state| {
            let units = holds()
                .filter(|hold| hold.state == state)
                .map(|hold| hold.quantity);
            i64::from(units.sum::<u32>())
        };
        let changes = log.adjustments.iter().filter(|change| change.item == *id);
        let total = opening + changes.filter_map(|change| change.applied).sum::<i64>();
        let (held, sold) = (
            sum(ReservationState::Held),
            sum(ReservationState::Confirmed),
        );
        let [available_now, held_now, sold_now] = shop.units(id).await;
        let held_fits = held_now == held || (id == "short" && held_now < held);
        if !held_fits || sold_now != sold || available_now + held_now + sold_now != total {
            wrong.push(format!(
                "{id}: available {available_now}, held {held_now}, sold {sold_now}; \
                 by the log held {held}, sold {sold}, {total} in all"
            ));
        }
    }
    wrong
}
