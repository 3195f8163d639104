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
        .with("required_replicas", replicas(status.required_replicas))
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
    let used_bytes = match node.used_bytes {
        0 => Value::Means(0, "unknown"),
        bytes => bytes.into(),
    };
    Doc::new()
        .with("endpoint", &node.endpoint)
        .with("acknowledging", node.acknowledging)
        .with("required_replicas", replicas(node.required_replicas))
        .with("replicas_in_step", node.replicas_in_step)
        .with("version", &node.version)
        .with("used_bytes", used_bytes)
        .with("max_bytes", max_bytes)
}

/// Replicas that must acknowledge.
fn replicas(required: u32) -> Value {
    match required {
        0 => Value::Means(0, "none"),
        replicas => replicas.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time;

    #[test]
    fn a_status_tells_whom_an_acknowledgement_waits_for() {
        let node = |endpoint: &str, in_step, used_bytes| StoreNode {
            endpoint: endpoint.to_owned(),
            acknowledging: in_step == 2,
            required_replicas: 2,
            replicas_in_step: in_step,
            version: "7.0.15".to_owned(),
            used_bytes,
            max_bytes: 0,
        };
        let mut reply = GetStatusResponse {
            server_id: "pod-1".to_owned(),
            version: "0.1.0".to_owned(),
            store_format: 1,
            max_store_format: 1,
            store_kind: "redis-cluster".to_owned(),
            durability: Durability::ReplicatedStrict.into(),
            required_replicas: 2,
            nodes: vec![node("10.0.0.1:6379", 2, 4_096), node("10.0.0.2:6379", 1, 0)],
            serving_stripes: Some(32),
            unavailable_stripes: Some(32),
            frozen_stripes: Some(0),
            warnings: vec!["10.0.0.2:6379 evicts keys".to_owned()],
            ..GetStatusResponse::default()
        };
        let now = time::parse_time("2026-11-27T09:00:00Z").unwrap();
        assert_eq!(
            status(&reply).text(now),
            "server id            pod-1\n\
             version              0.1.0\n\
             store kind           redis-cluster\n\
             durability           REPLICATED_STRICT\n\
             required replicas    2\n\
             store format         1\n\
             max store format     1\n\
             draining             no\n\
             serving stripes      32\n\
             unavailable stripes  32\n\
             frozen stripes       0\n\
             warnings\n  \
               - 10.0.0.2:6379 evicts keys\n\
             nodes\n  \
               ENDPOINT       ACKNOWLEDGING  REPLICAS IN STEP  REQUIRED REPLICAS  VERSION  \
             USED BYTES  MAX BYTES\n  \
               10.0.0.1:6379  yes                           2                  2  7.0.15   \
             4096        no bound\n  \
               10.0.0.2:6379  no                            1                  2  7.0.15   \
             unknown     no bound\n"
        );
        reply.durability = Durability::Local.into();
        reply.required_replicas = 0;
        let text = status(&reply).text(now);
        assert!(text.contains("\nrequired replicas    none\n"), "{text}");
        assert!(status(&reply).json().contains(r#""required_replicas":0,"#));
    }

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
