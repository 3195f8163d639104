//! Holds what buyers were told against what a server says.

use std::collections::BTreeSet;

use client::Target;
use e2e::{Server, ok};
use proto::v1::get_reservation_result::Result as Entry;
use proto::v1::{
    BatchGetReservationsRequest, GetReservationRequest, GetStatusRequest, ReservationState,
};

use crate::ITEM;
use crate::buyers::Log;

/// Entries of one batch.
const BATCH: usize = 512;

/// Exactly so many units are sold, each to one buyer who was told so; and all
/// that was acknowledged is there.
pub(crate) async fn judge(server: &Server, log: &Log, units: u64) {
    let shop = server.shop();
    assert_eq!(log.count(ReservationState::Confirmed), units);
    assert!(log.duplicates > 0, "nobody sent ids to both");
    let ids: BTreeSet<_> = log.grants.iter().map(|grant| &grant.id).collect();
    assert_eq!(ids.len(), log.grants.len(), "an id was granted twice");

    let request = |id: &String| GetReservationRequest {
        target: Some(Target::Id(id.clone()).into()),
    };
    for grants in log.grants.chunks(BATCH) {
        let requests = grants.iter().map(|grant| request(&grant.id)).collect();
        let batch = BatchGetReservationsRequest { requests };
        let reply = ok(shop.inventory().batch_get_reservations(batch).await);
        for (grant, found) in grants.iter().zip(reply.results) {
            let Some(Entry::Response(reply)) = found.result else {
                panic!("{grant:?}: {found:?}");
            };
            let now = reply.reservation.expect("a reservation");
            assert_eq!(
                (now.state(), &now.request_id, &now.reservation_id),
                (grant.state, &grant.key.request_id, &grant.id),
                "{grant:?}"
            );
        }
    }

    assert_eq!(shop.units(ITEM).await, [0, 0, units.cast_signed()]);
    shop.assert_sound(ITEM).await;
    let status = ok(shop.admin().get_status(GetStatusRequest {}).await);
    let stripes = (status.serving_stripes, status.frozen_stripes);
    assert_eq!(stripes, (Some(64), Some(0)), "{status:?}");
    for bad in ["panicked", "a defect", "ERROR"] {
        let log = server.log();
        assert!(!log.contains(bad), "{bad} is in the log:\n{log}");
    }
}
