//! Answers "did we oversell?", from counters and from records. Changes nothing.

use futures_util::future::join_all;

use super::items::shard_numbers;
use super::types::{Audit, AuditLevel, Recount, ShardAudit, Verdict};
use super::{Error, Gone, Inventory, unexpected};
use crate::ids::{ItemId, ShardNo};
use crate::machine::{
    Counters, Cursor, Entry, Reading, RecordSums, ShardOp, ShardReply, Violation,
};
use crate::store::Deadline;
use crate::time::Millis;

/// Records of one step of a recount: short enough that nobody waits for it.
const RECOUNT_STEP: u32 = 4_096;
/// How often a reading or a recount starts again because something changed
/// meanwhile.
const ATTEMPTS_MAX: u32 = 5;

/// All shards as they were at one instant, as far as that could be had.
struct Counted {
    /// By shard; `None`: it could not be read.
    readings: Vec<Option<Reading>>,
    /// No transfer was made and no stock added between two readings, so the
    /// sums and the pairs are those of an instant.
    still: bool,
}

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
        let counted = self.count(&entry, deadline).await?;
        let mut shards = Vec::new();
        for ((shard, reading), stripe) in shard_numbers(&entry)
            .zip(&counted.readings)
            .zip(&entry.placement)
        {
            let Some(reading) = reading else { continue };
            let records = match level {
                AuditLevel::Counters => None,
                AuditLevel::Records => self.recount(&entry, shard, deadline).await?,
            };
            shards.push(ShardAudit {
                shard,
                stripe: *stripe,
                reading: reading.clone(),
                records,
            });
        }
        let unread = shards.len() < entry.placement.len();
        Ok(report(shards, unread, counted.still, level, entry.updated))
    }

    /// Reads all shards, twice or until nothing moved in between.
    async fn count(&self, entry: &Entry, deadline: Deadline) -> Result<Counted, Error> {
        let mut readings = self.inspect_all(entry, deadline).await?;
        // One shard, one operation: one instant.
        let mut still = readings.len() < 2;
        for _ in 0..ATTEMPTS_MAX {
            if still {
                break;
            }
            let again = self.inspect_all(entry, deadline).await?;
            still = again.iter().zip(&readings).all(|pair| match pair {
                (Some(now), Some(before)) => moved(now) == moved(before),
                _ => false,
            });
            readings = again;
        }
        Ok(Counted { readings, still })
    }

    async fn inspect_all(
        &self,
        entry: &Entry,
        deadline: Deadline,
    ) -> Result<Vec<Option<Reading>>, Error> {
        let inspect = |shard| self.inspect(entry, shard, None, 0, deadline);
        let answers = join_all(shard_numbers(entry).map(inspect)).await;
        answers
            .into_iter()
            .map(|answer| match answer {
                Ok((reading, ..)) => Ok(Some(reading)),
                Err(Error::Store(_) | Error::ShardLost { .. }) => Ok(None),
                Err(error) => Err(error),
            })
            .collect()
    }

    /// Recounts a shard's records in bounded steps; `None` if it never stood
    /// still, or could not be read.
    async fn recount(
        &self,
        entry: &Entry,
        shard: ShardNo,
        deadline: Deadline,
    ) -> Result<Option<Recount>, Error> {
        for _ in 0..ATTEMPTS_MAX {
            match self.recount_once(entry, shard, deadline).await {
                Ok(None) => {}
                Err(Error::Store(_) | Error::ShardLost { .. }) => return Ok(None),
                done => return done,
            }
        }
        Ok(None)
    }

    async fn recount_once(
        &self,
        entry: &Entry,
        shard: ShardNo,
        deadline: Deadline,
    ) -> Result<Option<Recount>, Error> {
        // ⚔ A store meets each record once only as long as nothing changes (HSCAN
        // of a hash that moves meets some twice): so every page must have the
        // revision of the first.
        let step = |after| self.inspect(entry, shard, after, RECOUNT_STEP, deadline);
        let (reading, mut sums, mut next) = step(None).await?;
        while let Some(after) = next {
            let (later, more, then) = step(Some(after)).await?;
            if later.revision != reading.revision {
                return Ok(None);
            }
            sums += more;
            next = then;
        }
        Ok(Some(Recount {
            sums,
            counters: reading.counters,
        }))
    }

    async fn inspect(
        &self,
        entry: &Entry,
        shard: ShardNo,
        after: Option<Cursor>,
        limit: u32,
        deadline: Deadline,
    ) -> Result<(Reading, RecordSums, Option<Cursor>), Error> {
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

/// What must not change while the shards are read, or a unit is counted twice.
fn moved(reading: &Reading) -> impl PartialEq {
    let Counters {
        supply,
        surplus,
        sent,
        received,
        ..
    } = reading.counters.clone();
    (supply, surplus, sent, received)
}

fn report(
    shards: Vec<ShardAudit>,
    unread: bool,
    still: bool,
    level: AuditLevel,
    fallback: Millis,
) -> Audit {
    let never_still = |shard: &ShardAudit| level == AuditLevel::Records && shard.records.is_none();
    let undecided = unread || !still || shards.iter().any(never_still);
    let mut violations = Vec::new();
    for ShardAudit {
        shard,
        reading,
        records,
        ..
    } in &shards
    {
        let found =
            reading
                .counters
                .check_conservation()
                .into_iter()
                .chain(records.as_ref().and_then(|Recount { sums, counters }| {
                    counters.check_recount(sums.held, sums.sold)
                }));
        violations.extend(found.map(|v| Violation {
            shard: Some(*shard),
            ..v
        }));
    }
    // Without every shard, or with units on their way between two readings,
    // sums and pairs say nothing.
    let whole = still && !unread;
    if whole {
        violations.extend(check_pairs(&shards));
    }
    let sum =
        |of: fn(&Counters) -> u64| shards.iter().map(|s| of(&s.reading.counters)).sum::<u64>();
    let oversold_units = whole.then(|| {
        let stocked = sum(|c| c.supply.unwrap_or(0));
        sum(|c| c.held + c.sold).saturating_sub(stocked)
    });
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

/// I2 between shards: nothing is received that was not sent.
fn check_pairs(shards: &[ShardAudit]) -> Vec<Violation> {
    let mut found = Vec::new();
    for receiver in shards {
        for (from, received) in &receiver.reading.counters.received {
            let sender = shards.iter().find(|shard| shard.shard == *from);
            let sent = sender.and_then(|s| s.reading.counters.sent.get(&receiver.shard));
            let sent = sent.copied().unwrap_or(0);
            if *received > sent {
                found.push(Violation {
                    invariant: "I2",
                    shard: Some(*from),
                    description: format!(
                        "shard {from} sent {sent} units to shard {}, which has received {received}",
                        receiver.shard
                    ),
                });
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::StripeNo;
    use crate::inventory::spec;
    use crate::machine::ItemSpec;

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
                counters: counters.clone(),
                settings: spec::terms(&spec).unwrap().settings,
                version: 1,
                revision: 1,
            },
            records: Some(Recount {
                sums: RecordSums {
                    records: 6,
                    held: 1,
                    sold: 5,
                },
                counters,
            }),
        }
    }

    fn judge(shard: ShardAudit, unread: bool) -> (Verdict, Option<u64>, Vec<&'static str>) {
        judge_all(vec![shard], unread, true)
    }

    fn judge_all(
        shards: Vec<ShardAudit>,
        unread: bool,
        still: bool,
    ) -> (Verdict, Option<u64>, Vec<&'static str>) {
        let audit = report(shards, unread, still, AuditLevel::Records, Millis(0));
        let broken = audit.violations.iter().map(|v| v.invariant).collect();
        (audit.verdict, audit.oversold_units, broken)
    }

    #[test]
    fn what_adds_up_is_sound_and_what_does_not_is_named() {
        assert_eq!(judge(sound(), false), (Verdict::Sound, Some(0), vec![]));

        let mut oversold = sound();
        oversold.reading.counters.sold = 12;
        oversold.records.as_mut().unwrap().counters.sold = 12;
        let found = judge(oversold, false);
        assert_eq!(found, (Verdict::Violated, Some(3), vec!["I1", "I8"]));

        let mut forgotten = sound();
        forgotten.records.as_mut().unwrap().sums.held = 0;
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

    /// Two shards, three of the ledger's units at the other one.
    fn pair(sent: u64, received: u64) -> Vec<ShardAudit> {
        let mut ledger = sound();
        ledger.reading.counters.available -= sent;
        ledger.reading.counters.sent.insert(ShardNo(1), sent);
        let mut other = sound();
        other.shard = ShardNo(1);
        other.reading.counters = Counters {
            available: received,
            ..Counters::default()
        };
        other
            .reading
            .counters
            .received
            .insert(ShardNo::LEDGER, received);
        other.records = Some(Recount {
            sums: RecordSums::default(),
            counters: other.reading.counters.clone(),
        });
        vec![ledger, other]
    }

    #[test]
    fn what_moves_between_shards_is_counted_once_it_stands_still() {
        assert_eq!(
            judge_all(pair(3, 3), false, true),
            (Verdict::Sound, Some(0), vec![])
        );
        // Under way: neither here nor there, and not missing.
        assert_eq!(
            judge_all(pair(3, 1), false, true),
            (Verdict::Sound, Some(0), vec![])
        );
        let lost = judge_all(pair(1, 3), false, true);
        assert_eq!(lost, (Verdict::Violated, Some(0), vec!["I2"]));
        // Read at different instants this tells nothing.
        assert_eq!(
            judge_all(pair(1, 3), false, false),
            (Verdict::Undecided, None, vec![])
        );
    }
}
