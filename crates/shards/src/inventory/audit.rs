//! Answers "did we oversell?", from counters and from records. Changes nothing.

use super::items::shard_numbers;
use super::types::{Audit, AuditLevel, ShardAudit, Verdict};
use super::{Error, Gone, Inventory, unexpected};
use crate::ids::{ItemId, RecordKey, ShardNo};
use crate::machine::{Entry, Reading, RecordSums, ShardOp, ShardReply, Violation};
use crate::store::Deadline;
use crate::time::Millis;

/// Records of one step of a recount: short enough that nobody waits for it.
const RECOUNT_STEP: u32 = 4_096;
/// How often a recount starts again because the shard changed meanwhile.
const RECOUNTS_MAX: u32 = 5;

impl Inventory {
    /// Audits an item.
    ///
    /// # Errors
    /// [`Error::ItemNotFound`], and what the store says about the catalog; a
    /// shard that cannot be read makes the verdict [`Verdict::Undecided`].
    pub async fn audit(
        &self,
        item: &ItemId,
        level: AuditLevel,
        deadline: Deadline,
    ) -> Result<Audit, Error> {
        let entry = self.read_entry(item, deadline).await?;
        let mut shards = Vec::new();
        let mut undecided = false;
        for shard in shard_numbers(&entry) {
            match self.audit_shard(&entry, shard, level, deadline).await {
                Ok(audit) => {
                    undecided |= level == AuditLevel::Records && audit.records.is_none();
                    shards.push(audit);
                }
                Err(Error::Store(_) | Error::ShardLost { .. }) => undecided = true,
                Err(error) => return Err(error),
            }
        }
        Ok(report(shards, undecided, entry.updated))
    }

    async fn audit_shard(
        &self,
        entry: &Entry,
        shard: ShardNo,
        level: AuditLevel,
        deadline: Deadline,
    ) -> Result<ShardAudit, Error> {
        let stripe = entry.placement[usize::from(shard.0)];
        for _ in 0..RECOUNTS_MAX {
            let limit = if level == AuditLevel::Records {
                RECOUNT_STEP
            } else {
                0
            };
            let (reading, mut sums, mut next) =
                self.inspect(entry, shard, None, limit, deadline).await?;
            if level == AuditLevel::Counters {
                return Ok(ShardAudit {
                    shard,
                    stripe,
                    reading,
                    records: None,
                });
            }
            let mut still = true;
            while let Some(after) = next.filter(|_| still) {
                let (later, more, then) = self
                    .inspect(entry, shard, Some(after), limit, deadline)
                    .await?;
                still = later.revision == reading.revision;
                sums += more;
                next = then;
            }
            if still {
                return Ok(ShardAudit {
                    shard,
                    stripe,
                    reading,
                    records: Some(sums),
                });
            }
        }
        let (reading, ..) = self.inspect(entry, shard, None, 0, deadline).await?;
        Ok(ShardAudit {
            shard,
            stripe,
            reading,
            records: None,
        })
    }

    async fn inspect(
        &self,
        entry: &Entry,
        shard: ShardNo,
        after: Option<RecordKey>,
        limit: u32,
        deadline: Deadline,
    ) -> Result<(Reading, RecordSums, Option<RecordKey>), Error> {
        match self
            .ask_shard(entry, shard, ShardOp::Inspect { after, limit }, deadline)
            .await?
        {
            Ok(ShardReply::Inspected {
                reading,
                sums,
                next,
            }) => Ok((*reading, sums, next)),
            Ok(other) => Err(unexpected(&other)),
            Err(Gone) => Err(Error::ItemNotFound(entry.item.clone())),
        }
    }
}

fn report(shards: Vec<ShardAudit>, undecided: bool, fallback: Millis) -> Audit {
    let mut violations = Vec::new();
    let (mut stocked, mut given) = (0, 0);
    for ShardAudit {
        shard,
        reading,
        records,
        ..
    } in &shards
    {
        let counters = &reading.counters;
        let found = counters
            .check_conservation()
            .into_iter()
            .chain(records.and_then(|sums| counters.check_recount(sums.held, sums.sold)));
        violations.extend(found.map(|v| Violation {
            shard: Some(*shard),
            ..v
        }));
        stocked += counters.supply.unwrap_or(0);
        given += counters.held + counters.sold;
    }
    // Without every shard the sums say nothing.
    let oversold_units = if undecided {
        0
    } else {
        given.saturating_sub(stocked)
    };
    let verdict = match (violations.is_empty() && oversold_units == 0, undecided) {
        (false, _) => Verdict::Violated,
        (true, true) => Verdict::Undecided,
        (true, false) => Verdict::Sound,
    };
    let as_of = shards
        .iter()
        .map(|s| s.reading.now)
        .max()
        .unwrap_or(fallback);
    Audit {
        verdict,
        oversold_units,
        shards,
        violations,
        as_of,
    }
}
