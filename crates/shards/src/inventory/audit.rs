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
        let mut unread = false;
        for shard in shard_numbers(&entry) {
            match self.audit_shard(&entry, shard, level, deadline).await {
                Ok(audit) => shards.push(audit),
                Err(Error::Store(_) | Error::ShardLost { .. }) => unread = true,
                Err(error) => return Err(error),
            }
        }
        Ok(report(shards, unread, level, entry.updated))
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

fn report(shards: Vec<ShardAudit>, unread: bool, level: AuditLevel, fallback: Millis) -> Audit {
    let never_still = |shard: &ShardAudit| level == AuditLevel::Records && shard.records.is_none();
    let undecided = unread || shards.iter().any(never_still);
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
    let oversold_units = (!unread).then(|| given.saturating_sub(stocked));
    let broken = !violations.is_empty() || oversold_units.is_some_and(|units| units > 0);
    let verdict = match (broken, undecided) {
        (true, _) => Verdict::Violated,
        (false, true) => Verdict::Undecided,
        (false, false) => Verdict::Sound,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::StripeNo;
    use crate::inventory::spec;
    use crate::machine::{Counters, ItemSpec};

    /// A shard with 10 units: 4 available, 1 held, 5 sold; the records say so.
    fn sound() -> ShardAudit {
        let spec = ItemSpec {
            display_name: String::new(),
            shard_count: 1,
            hold_ttl_ms: None,
            max_hold_ms: None,
            sell_at_once: false,
            max_units_per_buyer: 0,
            max_units_per_reservation: 0,
            sale_start: None,
            sale_end: None,
            retention_ms: None,
            initial_stock: 10,
        };
        let counters = Counters {
            supply: Some(10),
            available: 4,
            held: 1,
            sold: 5,
            ..Counters::default()
        };
        ShardAudit {
            shard: ShardNo::LEDGER,
            stripe: StripeNo(3),
            reading: Reading {
                now: Millis(7),
                counters,
                settings: spec::terms(&spec).unwrap().settings,
                version: 1,
                revision: 1,
            },
            records: Some(RecordSums {
                records: 6,
                held: 1,
                sold: 5,
            }),
        }
    }

    fn judge(shard: ShardAudit, unread: bool) -> (Verdict, Option<u64>, Vec<&'static str>) {
        let audit = report(vec![shard], unread, AuditLevel::Records, Millis(0));
        let broken = audit.violations.iter().map(|v| v.invariant).collect();
        (audit.verdict, audit.oversold_units, broken)
    }

    #[test]
    fn what_adds_up_is_sound_and_what_does_not_is_named() {
        assert_eq!(judge(sound(), false), (Verdict::Sound, Some(0), vec![]));

        let mut oversold = sound();
        oversold.reading.counters.sold = 12;
        let found = judge(oversold, false);
        assert_eq!(found, (Verdict::Violated, Some(3), vec!["I1", "I8"]));

        let mut forgotten = sound();
        forgotten.records.as_mut().unwrap().held = 0;
        let found = judge(forgotten, false);
        assert_eq!(found, (Verdict::Violated, Some(0), vec!["I8"]));
    }

    #[test]
    fn what_was_not_read_or_did_not_stand_still_is_undecided() {
        assert_eq!(judge(sound(), true), (Verdict::Undecided, None, vec![]));
        let mut moving = sound();
        moving.records = None;
        assert_eq!(judge(moving, false), (Verdict::Undecided, Some(0), vec![]));
        // A violation is one, whatever else could not be read.
        let mut broken = sound();
        broken.reading.counters.available = 5;
        assert_eq!(judge(broken, true), (Verdict::Violated, None, vec!["I1"]));
    }
}
