//! From the domain to the wire.

use prost_types::{Duration, Timestamp};
use proto::v1;
use shards::inventory::{
    Audit, AuditLevel, Receipt, Reserved, SalePhase, ShardAudit, Stock, Verdict,
};
use shards::machine::{Counters, Entry, RecordSums, Selling, State, Violation};
use shards::store::{Durability, StoreNode, StoreStatus};
use shards::time::Millis;

use super::requests::StockDetail;
use crate::tier1::Answer;

mod support;

pub(super) use support::{explained, released, stripe};

pub(super) fn reserved(decision: Answer) -> v1::ReserveResponse {
    use v1::ReserveOutcome as Outcome;
    let mut reply = v1::ReserveResponse {
        from_cache: decision.from_memory,
        ..v1::ReserveResponse::default()
    };
    let outcome = match decision.reserved {
        Reserved::Granted { receipt, replayed } => {
            reply.reservation = Some(reservation(&receipt));
            reply.replayed = replayed;
            Outcome::Reserved
        }
        Reserved::AlreadyEnded(receipt) => {
            // Granted before, unless a Cancel by key came first.
            reply.replayed = !receipt.reservation.record.is_unarrived();
            reply.reservation = Some(reservation(&receipt));
            Outcome::AlreadyEnded
        }
        Reserved::Short { available, held } => {
            reply.available_units = Some(units(available));
            reply.held_units = Some(units(held));
            if available == 0 {
                Outcome::SoldOut
            } else {
                Outcome::NotEnough
            }
        }
        Reserved::OverLimit { units: has, max } => {
            reply.buyer_units = Some(units(has));
            reply.max_units_per_buyer = Some(i64::from(max));
            Outcome::BuyerLimitReached
        }
        Reserved::NotStarted { sale_start } => {
            reply.sale_start_time = Some(timestamp(sale_start));
            Outcome::SaleNotStarted
        }
        Reserved::SaleEnded => Outcome::SaleEnded,
        Reserved::SalePaused => Outcome::SalePaused,
    };
    reply.set_outcome(outcome);
    reply
}

pub(super) fn reservation(receipt: &Receipt) -> v1::Reservation {
    let now = &receipt.reservation;
    let record = &now.record;
    let deadline = now.deadline();
    let state = match record.state {
        State::Held => v1::ReservationState::Held,
        State::Confirmed => v1::ReservationState::Confirmed,
        State::Cancelled => v1::ReservationState::Cancelled,
        State::Expired => v1::ReservationState::Expired,
        State::Lost => v1::ReservationState::Lost,
    };
    v1::Reservation {
        reservation_id: receipt.id.clone(),
        item_id: receipt.item.as_str().to_owned(),
        request_id: receipt.request.to_string(),
        quantity: record.quantity,
        state: state.into(),
        expire_time: deadline.map(timestamp),
        remaining: deadline
            .filter(|_| record.state == State::Held)
            .map(|deadline| duration(now.now.ms_until(deadline))),
        returned_quantity: record.returned,
        reacquired: record.late,
        // What never arrived was never granted.
        create_time: (!record.is_unarrived()).then(|| timestamp(record.granted)),
        purge_time: now.purge_at.map(timestamp),
    }
}

pub(super) fn confirmed(receipt: &Receipt) -> v1::ConfirmResponse {
    let outcome = if receipt.reservation.record.late {
        v1::ConfirmOutcome::Reacquired
    } else {
        v1::ConfirmOutcome::Confirmed
    };
    v1::ConfirmResponse {
        outcome: outcome.into(),
        reservation: Some(reservation(receipt)),
    }
}

pub(super) fn stock(stock: &Stock, detail: StockDetail) -> v1::Stock {
    let phase = match stock.phase {
        SalePhase::NotStarted => v1::SalePhase::NotStarted,
        SalePhase::OnSale => v1::SalePhase::OnSale,
        SalePhase::AllHeld => v1::SalePhase::AllHeld,
        SalePhase::SoldOut => v1::SalePhase::SoldOut,
        SalePhase::Paused => v1::SalePhase::Paused,
        SalePhase::Ended => v1::SalePhase::Ended,
    };
    let basic = v1::Stock {
        item_id: stock.item.as_str().to_owned(),
        available: Some(units(stock.available)),
        phase: phase.into(),
        as_of: Some(timestamp(stock.as_of)),
        ..v1::Stock::default()
    };
    if detail == StockDetail::Basic {
        return basic;
    }
    let settings = &stock.settings;
    v1::Stock {
        held: Some(units(stock.held)),
        sold: Some(units(stock.sold)),
        total: Some(units(stock.available + stock.held + stock.sold)),
        exact: Some(stock.exact),
        sale_start_time: settings.sale_start.map(timestamp),
        sale_end_time: settings.sale_end.map(timestamp),
        max_units_per_buyer: settings.max_units_per_buyer,
        max_units_per_reservation: settings.max_units_per_reservation,
        ..basic
    }
}

pub(super) fn item(entry: &Entry) -> v1::Item {
    let settings = &entry.terms.settings;
    let state = match settings.selling {
        Selling::Open => v1::ItemState::Open,
        Selling::Paused => v1::ItemState::Paused,
        // It will never sell again; the contract has no word of its own.
        Selling::Closed | Selling::Deleting => v1::ItemState::Closed,
    };
    v1::Item {
        item_id: entry.item.as_str().to_owned(),
        state: state.into(),
        version: units(entry.version),
        display_name: entry.terms.display_name.clone(),
        shard_count: count(entry.placement.len()),
        hold_ttl: Some(duration(settings.hold_ttl_ms)),
        max_hold: Some(duration(settings.max_hold_ms)),
        sell_at_once: settings.sell_at_once,
        max_units_per_buyer: settings.max_units_per_buyer,
        max_units_per_reservation: settings.max_units_per_reservation,
        sale_start_time: settings.sale_start.map(timestamp),
        sale_end_time: settings.sale_end.map(timestamp),
        retention: Some(duration(settings.retention_ms)),
        create_time: Some(timestamp(entry.created)),
        update_time: Some(timestamp(entry.updated)),
        state_reason: entry.terms.state_reason.clone(),
    }
}

pub(super) fn audit(audit: &Audit, level: AuditLevel) -> v1::AuditItemResponse {
    let verdict = match audit.verdict {
        Verdict::Sound => v1::AuditVerdict::Sound,
        Verdict::Violated => v1::AuditVerdict::Violated,
        Verdict::Undecided => v1::AuditVerdict::Undecided,
    };
    v1::AuditItemResponse {
        verdict: verdict.into(),
        oversold_units: audit.oversold_units.map(units),
        counters: Some(item_counters(&audit.shards)),
        records: (level == AuditLevel::Records)
            .then(|| item_records(&audit.shards))
            .flatten(),
        violations: audit.violations.iter().map(violation).collect(),
        shards: audit.shards.iter().map(shard_audit).collect(),
        as_of: Some(timestamp(audit.as_of)),
    }
}

fn violation(violation: &Violation) -> v1::AuditViolation {
    v1::AuditViolation {
        invariant: violation.invariant.to_owned(),
        shard: violation.shard.map(|shard| u32::from(shard.0)),
        description: violation.description.clone(),
    }
}

fn shard_audit(shard: &ShardAudit) -> v1::ShardAudit {
    v1::ShardAudit {
        shard: u32::from(shard.shard.0),
        stripe: u32::from(shard.stripe.0),
        counters: Some(counts(&shard.reading.counters)),
        records: shard.records.as_ref().map(|r| record_counts(&r.sums)),
    }
}

fn counts(counters: &Counters) -> v1::AuditCounts {
    v1::AuditCounts {
        // Unset where it does not apply: only the ledger has it.
        supply: counters.supply.map(units),
        received: Some(units(counters.received.values().sum())),
        sent: Some(units(counters.sent.values().sum())),
        available: Some(units(counters.available)),
        held: Some(units(counters.held)),
        sold: Some(units(counters.sold)),
        // Between shards, so of no single one.
        under_way: None,
        purged_sold: Some(units(counters.purged_sold)),
        discarded: Some(units(counters.discarded)),
        surplus: Some(units(counters.surplus)),
    }
}

fn item_counters(shards: &[ShardAudit]) -> v1::AuditCounts {
    let sum = |part: fn(&Counters) -> u64| -> u64 {
        shards
            .iter()
            .map(|shard| part(&shard.reading.counters))
            .sum()
    };
    let received = sum(|c| c.received.values().sum());
    let sent = sum(|c| c.sent.values().sum());
    v1::AuditCounts {
        supply: Some(units(sum(|c| c.supply.unwrap_or(0)))),
        received: Some(units(received)),
        sent: Some(units(sent)),
        available: Some(units(sum(|c| c.available))),
        held: Some(units(sum(|c| c.held))),
        sold: Some(units(sum(|c| c.sold))),
        under_way: Some(units(sent.saturating_sub(received))),
        purged_sold: Some(units(sum(|c| c.purged_sold))),
        discarded: Some(units(sum(|c| c.discarded))),
        surplus: Some(units(sum(|c| c.surplus))),
    }
}

fn record_counts(sums: &RecordSums) -> v1::AuditCounts {
    v1::AuditCounts {
        held: Some(units(sums.held)),
        sold: Some(units(sums.sold)),
        ..v1::AuditCounts::default()
    }
}

/// Only if every shard that was read was also recounted: a sum that leaves some
/// out would look like a loss.
fn item_records(shards: &[ShardAudit]) -> Option<v1::AuditCounts> {
    let mut sums = RecordSums::default();
    for shard in shards {
        sums += shard.records.as_ref()?.sums;
    }
    Some(record_counts(&sums))
}

/// What the store and the server say of themselves.
pub(super) fn status(
    store: StoreStatus,
    server_id: &str,
    start: Millis,
    draining: bool,
) -> v1::GetStatusResponse {
    let durability = match store.durability {
        Durability::Embedded => v1::Durability::Embedded,
        Durability::Local => v1::Durability::Local,
        Durability::Replicated => v1::Durability::Replicated,
        Durability::ReplicatedStrict => v1::Durability::ReplicatedStrict,
    };
    v1::GetStatusResponse {
        server_id: server_id.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        store_format: store.format,
        max_store_format: store.max_format,
        store_kind: store.kind.to_owned(),
        durability: durability.into(),
        required_replicas: store.required_replicas,
        start_time: Some(timestamp(start)),
        draining,
        nodes: store.nodes.into_iter().map(node).collect(),
        serving_stripes: Some(i64::from(store.serving_stripes)),
        unavailable_stripes: Some(i64::from(store.unavailable_stripes)),
        frozen_stripes: Some(i64::from(store.frozen_stripes)),
        warnings: store.warnings,
    }
}

fn node(node: StoreNode) -> v1::StoreNode {
    v1::StoreNode {
        endpoint: node.endpoint,
        acknowledging: node.acknowledging,
        required_replicas: node.required_replicas,
        replicas_in_step: node.replicas_in_step,
        version: node.version,
        used_bytes: units(node.used_bytes),
        max_bytes: units(node.max_bytes),
    }
}

/// Units and versions are far below the edge; at it they stay there.
fn units(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

fn timestamp(instant: Millis) -> Timestamp {
    Timestamp {
        seconds: instant.0.div_euclid(1000),
        nanos: nanos(instant.0.rem_euclid(1000).unsigned_abs()),
    }
}

fn duration(ms: u64) -> Duration {
    Duration {
        seconds: units(ms / 1000),
        nanos: nanos(ms % 1000),
    }
}

fn nanos(ms_below_a_second: u64) -> i32 {
    i32::try_from(ms_below_a_second * 1_000_000).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_what_an_acknowledgement_means() {
        let node = StoreNode {
            endpoint: "10.0.0.1:6379".to_owned(),
            acknowledging: false,
            required_replicas: 2,
            replicas_in_step: 1,
            version: "7.0.15".to_owned(),
            used_bytes: 5,
            max_bytes: 7,
        };
        let store = |durability| StoreStatus {
            kind: "redis-cluster",
            durability,
            required_replicas: 2,
            format: 1,
            max_format: 1,
            nodes: vec![node.clone()],
            serving_stripes: 0,
            unavailable_stripes: 64,
            frozen_stripes: 0,
            warnings: Vec::new(),
        };
        for (durability, told) in [
            (Durability::Embedded, v1::Durability::Embedded),
            (Durability::Local, v1::Durability::Local),
            (Durability::Replicated, v1::Durability::Replicated),
            (
                Durability::ReplicatedStrict,
                v1::Durability::ReplicatedStrict,
            ),
        ] {
            let reply = status(store(durability), "pod-1", Millis(0), false);
            assert_eq!(reply.durability(), told);
            assert_eq!(reply.required_replicas, 2);
            let node = &reply.nodes[0];
            assert_eq!((node.required_replicas, node.replicas_in_step), (2, 1));
        }
    }
}
