//! What is sold: items of the bench's own, or one that is there.

use std::time::Duration;

use client::{Client, Options, Policy, new_request_id};
use proto::v1::{
    AuditItemRequest, AuditItemResponse, AuditVerdict, CreateItemRequest, DeleteItemRequest,
    GetItemRequest, Item,
};

use super::args::GoodsArgs;
use crate::failure::Failure;

/// How long holds last: longer than anybody measures, so that in the end all
/// that was granted is still held.
const HOLD_TTL: Duration = Duration::from_hours(30 * 24);

/// Deleting an item with a million reservations takes its time.
const TIMEOUT: Duration = Duration::from_mins(2);

/// The items, and who is asked about them.
pub(super) struct Goods {
    client: Client,
    pub(super) items: Vec<String>,
    /// Nobody else sells them.
    pub(super) own: bool,
}

/// What the audits of all items say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Audit {
    /// The worst of them.
    pub(super) verdict: AuditVerdict,
    /// Units held and sold, if all of them were counted.
    pub(super) taken: Option<u64>,
    /// What is broken, in sentences.
    pub(super) violations: Vec<String>,
}

impl Goods {
    pub(super) fn new(server: &str) -> Result<Self, Failure> {
        let options = Options {
            policy: Policy {
                deadline: TIMEOUT,
                attempt_timeout: TIMEOUT,
                attempts_max: 5,
                ..Policy::default()
            },
            ..Options::default()
        };
        Ok(Self {
            client: Client::lazy(server, options)?,
            items: Vec::new(),
            own: true,
        })
    }

    /// Creates items, or sees that the given one is there. After an error, what
    /// was created is still to be deleted.
    pub(super) async fn prepare(&mut self, args: &GoodsArgs, run: u64) -> Result<(), Failure> {
        if let Some(item) = &args.item {
            self.own = false;
            let request = GetItemRequest {
                item_id: item.clone(),
            };
            self.client.get_item(request).await?;
            self.items.push(item.clone());
            return Ok(());
        }
        for number in 0..args.items {
            let item_id = format!("bench-{run:016x}-{number}");
            let item = Item {
                item_id: item_id.clone(),
                display_name: "Made by holdfast bench".to_owned(),
                hold_ttl: prost_types::Duration::try_from(HOLD_TTL).ok(),
                shard_count: args.shards,
                max_units_per_buyer: args.buyer_limit,
                ..Item::default()
            };
            // An attempt without an answer may have created it.
            self.items.push(item_id);
            let request = CreateItemRequest {
                item: Some(item),
                initial_stock: Some(args.stock),
                request_id: new_request_id(),
            };
            self.client.create_item(request).await?;
        }
        Ok(())
    }

    /// Audits all items by their counters.
    pub(super) async fn audit(&self) -> Result<Audit, Failure> {
        let mut all = Audit {
            verdict: AuditVerdict::Sound,
            taken: Some(0),
            violations: Vec::new(),
        };
        for item_id in &self.items {
            let request = AuditItemRequest {
                item_id: item_id.clone(),
                ..AuditItemRequest::default()
            };
            all.add(item_id, &self.client.audit_item(request).await?);
        }
        Ok(all)
    }

    /// Deletes its own items with all that is held of them.
    pub(super) async fn clear(&self) -> Result<(), Failure> {
        if !self.own {
            return Ok(());
        }
        for item_id in &self.items {
            let request = DeleteItemRequest {
                item_id: item_id.clone(),
                force: true,
                expected_version: 0,
            };
            match self.client.delete_item(request).await {
                // Its creation failed.
                Err(error) if error.reason() == Some(client::reason::ITEM_NOT_FOUND) => {}
                ended => drop(ended?),
            }
        }
        Ok(())
    }
}

impl Audit {
    fn add(&mut self, item: &str, audit: &AuditItemResponse) {
        let rank = |verdict| match verdict {
            AuditVerdict::Sound => 0,
            AuditVerdict::Undecided | AuditVerdict::Unspecified => 1,
            AuditVerdict::Violated => 2,
        };
        if rank(audit.verdict()) > rank(self.verdict) {
            self.verdict = audit.verdict();
        }
        let counters = audit.counters.unwrap_or_default();
        let units = |units: Option<i64>| u64::try_from(units?).ok();
        let taken = units(counters.held).zip(units(counters.sold));
        self.taken = self
            .taken
            .zip(taken)
            .map(|(all, (held, sold))| all + held + sold);
        let violations = audit.violations.iter();
        self.violations
            .extend(violations.map(|it| format!("{item}: {}: {}", it.invariant, it.description)));
    }

    /// The verdict in a word.
    pub(super) fn name(&self) -> &'static str {
        self.verdict
            .as_str_name()
            .trim_start_matches("AUDIT_VERDICT_")
    }
}

#[cfg(test)]
mod tests {
    use proto::v1::{AuditCounts, AuditViolation};

    use super::*;

    fn audit(verdict: AuditVerdict, held: Option<i64>) -> AuditItemResponse {
        AuditItemResponse {
            verdict: verdict.into(),
            counters: Some(AuditCounts {
                held,
                sold: Some(1),
                ..AuditCounts::default()
            }),
            ..AuditItemResponse::default()
        }
    }

    #[test]
    fn the_worst_audit_counts_and_units_add_up() {
        use AuditVerdict::{Sound, Undecided, Violated};
        let mut all = Audit {
            verdict: Sound,
            taken: Some(0),
            violations: Vec::new(),
        };
        all.add("a", &audit(Sound, Some(4)));
        all.add("b", &audit(Undecided, Some(5)));
        assert_eq!((all.name(), all.taken), ("UNDECIDED", Some(11)));
        let mut broken = audit(Violated, None);
        broken.violations.push(AuditViolation {
            invariant: "I2".to_owned(),
            description: "below zero".to_owned(),
            ..AuditViolation::default()
        });
        all.add("c", &broken);
        all.add("d", &audit(Sound, Some(1)));
        assert_eq!((all.name(), all.taken), ("VIOLATED", None));
        assert_eq!(all.violations, ["c: I2: below zero"]);
    }
}
