//! Audits, and how a server does.

use proto::v1::{
    AuditCounts, AuditItemResponse, AuditVerdict, AuditViolation, Durability, GetStatusResponse,
    ShardAudit, StoreNode,
};

use super::{moment, name};
use crate::document::{Doc, Rows, Value};

/// The columns of an audit's shards: where, and what is there.
const SHARD_COLUMNS: &[&str] = &[
    "shard",
    "stripe",
    "counters.available",
    "counters.held",
    "counters.sold",
];

/// An audit of an item.
pub(crate) fn audit(audit: &AuditItemResponse) -> Doc {
    Doc::new()
        .with("verdict", name::<AuditVerdict>(audit.verdict))
        .with_set("oversold_units", audit.oversold_units)
        .with_set("as_of", moment(audit.as_of.as_ref()))
        .with(
            "violations",
            Rows::new(
                &["invariant", "shard", "description"],
                audit.violations.iter().map(violation).collect(),
            ),
        )
        .with_set("counters", audit.counters.as_ref().map(counts))
        .with_set("records", audit.records.as_ref().map(counts))
        .with(
            "shards",
            Rows::new(SHARD_COLUMNS, audit.shards.iter().map(shard).collect()),
        )
}

fn violation(violation: &AuditViolation) -> Doc {
    Doc::new()
        .with("invariant", &violation.invariant)
        .with_set("shard", violation.shard)
        .with("description", &violation.description)
}

/// A shard's books.
fn shard(shard: &ShardAudit) -> Doc {
    Doc::new()
        .with("shard", shard.shard)
        .with("stripe", shard.stripe)
        .with_set("counters", shard.counters.as_ref().map(counts))
        .with_set("records", shard.records.as_ref().map(counts))
}

fn counts(counts: &AuditCounts) -> Doc {
    Doc::new()
        .with_set("supply", counts.supply)
        .with_set("received", counts.received)
        .with_set("sent", counts.sent)
        .with_set("available", counts.available)
        .with_set("held", counts.held)
        .with_set("sold", counts.sold)
        .with_set("under_way", counts.under_way)
        .with_set("purged_sold", counts.purged_sold)
        .with_set("discarded", counts.discarded)
        .with_set("surplus", counts.surplus)
}

/// A server's view of itself and of its store.
pub(crate) fn status(status: &GetStatusResponse) -> Doc {
    let columns: &[&str] = &[
        "endpoint",
        "acknowledging",
        "replicas_in_step",
        "required_replicas",
        "version",
        "used_bytes",
        "max_bytes",
    ];
    Doc::new()
        .with("server_id", &status.server_id)
        .with("version", &status.version)
        .with("store_kind", &status.store_kind)
        .with("durability", name::<Durability>(status.durability))
        .with("required_replicas", status.required_replicas)
        .with("store_format", status.store_format)
        .with("max_store_format", status.max_store_format)
        .with_set("start_time", moment(status.start_time.as_ref()))
        .with("draining", status.draining)
        .with_set("serving_stripes", status.serving_stripes)
        .with_set("unavailable_stripes", status.unavailable_stripes)
        .with_set("frozen_stripes", status.frozen_stripes)
        .with("warnings", status.warnings.clone())
        .with(
            "nodes",
            Rows::new(columns, status.nodes.iter().map(node).collect()),
        )
}

fn node(node: &StoreNode) -> Doc {
    let max_bytes = match node.max_bytes {
        0 => Value::Means(0, "no bound"),
        bytes => bytes.into(),
    };
    Doc::new()
        .with("endpoint", &node.endpoint)
        .with("acknowledging", node.acknowledging)
        .with("required_replicas", node.required_replicas)
        .with("replicas_in_step", node.replicas_in_step)
        .with("version", &node.version)
        .with("used_bytes", node.used_bytes)
        .with("max_bytes", max_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time;

    #[test]
    fn an_audit_in_both_forms() {
        let counters = AuditCounts {
            supply: Some(10),
            available: Some(7),
            held: Some(1),
            sold: Some(3),
            ..AuditCounts::default()
        };
        let reply = AuditItemResponse {
            verdict: AuditVerdict::Violated.into(),
            oversold_units: Some(1),
            counters: Some(counters),
            violations: vec![AuditViolation {
                invariant: "I1".to_owned(),
                shard: Some(0),
                description: "11 units, 10 supplied".to_owned(),
            }],
            shards: vec![ShardAudit {
                shard: 0,
                stripe: 17,
                counters: Some(counters),
                records: None,
            }],
            ..AuditItemResponse::default()
        };
        let doc = audit(&reply);
        assert_eq!(
            doc.json(),
            concat!(
                r#"{"verdict":"VIOLATED","oversold_units":1,"violations":[{"invariant":"I1","#,
                r#""shard":0,"description":"11 units, 10 supplied"}],"#,
                r#""counters":{"supply":10,"available":7,"held":1,"sold":3},"#,
                r#""shards":[{"shard":0,"stripe":17,"#,
                r#""counters":{"supply":10,"available":7,"held":1,"sold":3}}]}"#
            )
        );
        assert_eq!(
            doc.text(time::parse_time("2026-11-27T09:00:00Z").unwrap()),
            "verdict         VIOLATED\n\
             oversold units  1\n\
             violations\n  \
               INVARIANT  SHARD  DESCRIPTION\n  \
               I1             0  11 units, 10 supplied\n\
             counters\n  \
               supply     10\n  \
               available  7\n  \
               held       1\n  \
               sold       3\n\
             shards\n  \
               SHARD  STRIPE  AVAILABLE  HELD  SOLD\n      \
                   0      17          7     1     3\n"
        );
    }
}
