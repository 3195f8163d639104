//! What a run answers.

use super::news::News;
use super::pack::Reader;
use super::places::{ListPlace, ScanPlace};
use super::stored::{counters, entry, record, record_key, settings};
use super::{Adoption, Answer, Call, Garbled, Incarnation, Ran, Seen, What};
use crate::hash::FingerprintKey;
use crate::ids::{ItemId, RecordKey};
use crate::machine::{
    CatalogOp, CatalogReply, Entry, Freeze, Op, Reading, RecordSums, Reply, Reservation, SaleNow,
    ShardOp, ShardReply, State, StockChange, StoreIdentity, StripeReply, Visit,
};
use crate::time::Millis;

pub(super) fn decode(call: &Call<'_>, answer: &[u8]) -> Result<Ran, Garbled> {
    let mut from = Reader::array(answer)?;
    let ran = match from.text()? {
        b"ran" => return ops(call, from),
        b"taken" => Ran::Taken(seen(&mut from)?),
        b"guard" => Ran::Guard {
            identity: identity(from.text()?)?,
            frozen: from.flag()?,
            seen: seen(&mut from)?,
        },
        b"fenced" => Ran::Fenced(seen(&mut from)?),
        b"clock" => Ran::Clock {
            master: from.instant()?,
        },
        b"none" => Ran::NoGuard,
        b"foreign" => Ran::Foreign {
            store_id: from.bytes()?,
        },
        other => return Err(unknown("an outcome", other)),
    };
    from.end()?;
    Ok(ran)
}

fn unknown(what: &str, word: &[u8]) -> Garbled {
    Garbled(format!("{what} called {}", String::from_utf8_lossy(word)))
}

fn identity(bytes: &[u8]) -> Result<StoreIdentity, Garbled> {
    let parts = bytes
        .split_first_chunk()
        .and_then(|(store_id, rest)| Some((store_id, rest.split_first()?)));
    let Some((store_id, (stripes, key))) = parts else {
        return Err(Garbled("a short identity".into()));
    };
    let key = key
        .try_into()
        .map_err(|_| Garbled("a secret of another length".into()))?;
    Ok(StoreIdentity {
        store_id: *store_id,
        stripes: *stripes,
        fingerprint_key: FingerprintKey(key),
    })
}

fn seen(from: &mut Reader<'_>) -> Result<Seen, Garbled> {
    Ok(Seen {
        number: from.number()?,
        incarnation: Incarnation(from.bytes()?),
        seq: from.number()?,
        releases: from.number()?,
        log: from.optional(log)?.unwrap_or_default(),
    })
}

/// An array of its own, as the guard holds it.
fn log(from: &mut Reader<'_>) -> Result<Vec<Adoption>, Garbled> {
    let mut from = Reader::alone(from.text()?);
    let len = from.array_len()?;
    (0..len / 3)
        .map(|_| {
            Ok(Adoption {
                number: from.number()?,
                incarnation: Incarnation(from.bytes()?),
                seq: from.number()?,
            })
        })
        .collect()
}

fn ops(call: &Call<'_>, mut from: Reader<'_>) -> Result<Ran, Garbled> {
    let What::Ops(ops) = &call.what else {
        return Err(Garbled("a batch was run that was not asked for".into()));
    };
    let seen = seen(&mut from)?;
    let mut answers = Answers {
        now: from.instant()?,
        seq: seen.seq,
        full: call.stamp.full,
        alike: 0,
        first_alike: from,
        from,
    };
    let all = answers.to(ops)?;
    let news = News::read(&mut answers.from)?;
    answers.from.end()?;
    Ok(Ran::Ops {
        seen,
        answers: all,
        news,
    })
}

struct Answers<'a> {
    now: Millis,
    seq: u64,
    full: bool,
    /// So many more operations have the answer that begins at `first_alike`.
    alike: u64,
    first_alike: Reader<'a>,
    from: Reader<'a>,
}

impl Answers<'_> {
    fn to(&mut self, ops: &[&Op]) -> Result<Vec<Answer>, Garbled> {
        let all = ops.iter().map(|op| self.next(op));
        let all = all.collect::<Result<_, _>>()?;
        if self.alike > 0 {
            return Err(Garbled(format!("{} answers too many", self.alike)));
        }
        Ok(all)
    }

    fn next(&mut self, op: &Op) -> Result<Answer, Garbled> {
        let mut ahead = self.from;
        if let Some(alike) = self.alike.checked_sub(1) {
            self.alike = alike;
            self.from = self.first_alike;
        } else if ahead.text()? == b"alike" {
            let times: u64 = ahead.number()?;
            let no_ops = || Garbled("an answer of no operation".into());
            self.alike = times.checked_sub(1).ok_or_else(no_ops)?;
            self.first_alike = ahead;
            self.from = ahead;
        }
        self.read(op)
    }

    fn read(&mut self, op: &Op) -> Result<Answer, Garbled> {
        let word = self.from.text()?;
        let reply = match word {
            b"not_yet" => return Ok(Answer::NotYet),
            b"frozen" => Reply::Frozen(self.freeze()?),
            b"visited" => {
                let frozen = self.from.optional(freeze)?;
                Reply::Stripe(StripeReply::Visited(Visit {
                    frozen,
                    seq: self.seq,
                    time: self.now,
                }))
            }
            b"other_freeze" => Reply::Stripe(StripeReply::OtherFreeze(self.freeze()?)),
            word => match op {
                Op::Shard(_, op) => Reply::Shard(self.of_shard(op, word)?),
                Op::Catalog(op) => Reply::Catalog(self.of_catalog(item_of(op), word)?),
                Op::Stripe(_) => Reply::Catalog(self.of_catalog(None, word)?),
            },
        };
        Ok(Answer::Reply(reply))
    }

    fn freeze(&mut self) -> Result<Freeze, Garbled> {
        freeze(&mut self.from)
    }

    fn of_shard(&mut self, op: &ShardOp, word: &[u8]) -> Result<ShardReply, Garbled> {
        Ok(match word {
            b"granted" => ShardReply::Granted {
                reservation: self.reservation()?,
                replayed: false,
            },
            b"replayed" => ShardReply::Granted {
                reservation: self.reservation()?,
                replayed: true,
            },
            b"ended" => ShardReply::Ended(self.reservation()?),
            b"done" => ShardReply::Done(self.reservation()?),
            b"wrong_state" => ShardReply::WrongState(self.reservation()?),
            b"not_found" => ShardReply::NotFound,
            b"reused" => ShardReply::Reused,
            b"not_started" => ShardReply::NotSelling(SaleNow::NotStarted {
                sale_start: self.from.instant()?,
            }),
            b"sale_ended" => ShardReply::NotSelling(SaleNow::Ended),
            b"paused" => ShardReply::NotSelling(SaleNow::Paused),
            b"deleting" => ShardReply::NotSelling(SaleNow::Deleting),
            b"too_many" => ShardReply::TooMany {
                max: self.from.number()?,
            },
            b"over" => ShardReply::OverLimit {
                units: self.from.number()?,
                max: self.from.number()?,
            },
            b"short" => self.short(op)?,
            b"missing" => ShardReply::Missing,
            b"old_settings" => ShardReply::OldSettings {
                version: self.from.number()?,
            },
            b"again" => ShardReply::Again,
            b"full" => ShardReply::Full,
            b"hold_too_long" => ShardReply::HoldTooLong {
                max_hold_for_ms: self.from.number()?,
            },
            b"return_too_large" => ShardReply::ReturnTooLarge {
                left: self.from.number()?,
            },
            b"swept" => ShardReply::Swept {
                changed: self.from.number()?,
                more: self.from.flag()?,
            },
            b"read" => ShardReply::Read(self.reading()?),
            word => return self.rarely(word),
        })
    }

    fn rarely(&mut self, word: &[u8]) -> Result<ShardReply, Garbled> {
        Ok(match word {
            b"changed" => ShardReply::Changed {
                applied: self.from.number()?,
                replayed: self.from.flag()?,
                reading: self.reading()?,
            },
            b"total_too_large" => ShardReply::TotalTooLarge {
                total: self.from.number()?,
            },
            b"total_mismatch" => ShardReply::TotalMismatch {
                total: self.from.number()?,
            },
            b"claimed" => ShardReply::Claimed {
                since: self.from.instant()?,
            },
            b"unclaimed" => ShardReply::Unclaimed,
            b"lent" => ShardReply::Lent {
                sent: self.from.number()?,
                given: self.from.number()?,
            },
            b"claimed_by_older" => ShardReply::ClaimedByOlder,
            b"credited" => ShardReply::Credited {
                received: self.from.number()?,
            },
            b"reconciled" => ShardReply::Reconciled {
                surplus: self.from.number()?,
                received: self.from.number()?,
            },
            b"accepted" => ShardReply::Accepted,
            b"created" => ShardReply::Created,
            b"configured" => ShardReply::Configured {
                version: self.from.number()?,
            },
            b"deleted" => ShardReply::Deleted,
            b"inspected" => ShardReply::Inspected {
                reading: self.reading()?,
                sums: RecordSums {
                    records: self.from.number()?,
                    held: self.from.number()?,
                    sold: self.from.number()?,
                },
                next: ScanPlace::decode(&mut self.from)?,
            },
            b"listed" => ShardReply::Listed {
                reservations: self.listed()?,
                next: ListPlace::decode(&mut self.from)?,
            },
            b"explained" => ShardReply::Explained {
                reading: self.reading()?,
                buyer_units: self.from.optional(Reader::number)?,
                full: self.full,
            },
            word => return Err(unknown("a shard's answer", word)),
        })
    }

    fn short(&mut self, op: &ShardOp) -> Result<ShardReply, Garbled> {
        let wanted = self.from.number()?;
        let wanted = match op {
            // The script was told of so many at most.
            ShardOp::Change {
                change: StockChange::Adjust { delta, .. },
                ..
            } => delta.unsigned_abs(),
            _ => wanted,
        };
        Ok(ShardReply::Short {
            wanted,
            available: self.from.number()?,
            held: self.from.number()?,
        })
    }

    fn listed(&mut self) -> Result<Vec<(RecordKey, Reservation)>, Garbled> {
        let len: usize = self.from.number()?;
        (0..len)
            .map(|_| Ok((record_key(self.from.bytes()?), self.reservation()?)))
            .collect()
    }

    fn reservation(&mut self) -> Result<Reservation, Garbled> {
        let record = record(self.from.bytes()?)?;
        let is_held = record.state == State::Held;
        Ok(Reservation {
            record,
            now: self.now,
            purge_at: if is_held {
                None
            } else {
                Some(self.from.instant()?)
            },
        })
    }

    fn reading(&mut self) -> Result<Box<Reading>, Garbled> {
        let from = &mut self.from;
        Ok(Box::new(Reading {
            now: self.now,
            version: from.number()?,
            revision: from.number()?,
            settings: settings(from)?,
            counters: counters(from)?,
        }))
    }

    fn of_catalog(&mut self, item: Option<&ItemId>, word: &[u8]) -> Result<CatalogReply, Garbled> {
        let mut boxed = || -> Result<Box<Entry>, Garbled> {
            let item = item.ok_or_else(|| Garbled("an entry that was not asked for".into()))?;
            Ok(Box::new(entry(item, self.from.text()?)?))
        };
        Ok(match word {
            b"entry" => CatalogReply::Entry(boxed()?),
            b"exists" => CatalogReply::Exists(boxed()?),
            b"mismatch" => CatalogReply::VersionMismatch(boxed()?),
            b"no_entry" => CatalogReply::NotFound,
            b"full" => CatalogReply::Full,
            b"page" => {
                let len: usize = self.from.number()?;
                let entries = (0..len).map(|_| {
                    let item = ItemId::try_from(self.from.string()?)
                        .map_err(|_| Garbled("a bad item id".into()))?;
                    entry(&item, self.from.text()?)
                });
                CatalogReply::Page {
                    entries: entries.collect::<Result<_, _>>()?,
                    more: self.from.flag()?,
                }
            }
            word => return Err(unknown("an answer", word)),
        })
    }
}

fn freeze(from: &mut Reader<'_>) -> Result<Freeze, Garbled> {
    Ok(Freeze {
        id: u64::from_be_bytes(from.bytes()?),
        since: from.instant()?,
        reason: from.string()?,
    })
}

/// The item that the answer is about, where it does not say so itself.
fn item_of(op: &CatalogOp) -> Option<&ItemId> {
    match op {
        CatalogOp::BeginCreate(new) => Some(&new.item),
        CatalogOp::FinishCreate { item, .. }
        | CatalogOp::Update { item, .. }
        | CatalogOp::FinishUpdate { item, .. }
        | CatalogOp::BeginDelete { item, .. }
        | CatalogOp::DecideDelete { item, .. }
        | CatalogOp::FinishDelete { item, .. }
        | CatalogOp::Get { item } => Some(item),
        CatalogOp::List { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Generation, ShardKey, ShardNo};
    use crate::redis::script::pack::Writer;

    /// What is answered to that many Looks.
    fn answers(looks: usize, write: impl FnOnce(&mut Writer)) -> Result<Vec<Answer>, Garbled> {
        let key = ShardKey {
            item: ItemId::parse("sneaker").unwrap(),
            generation: Generation([1; 8]),
            shard: ShardNo::LEDGER,
        };
        let look = Op::Shard(key, ShardOp::Look);
        let mut to = Writer::default();
        write(&mut to);
        let bytes = to.finish();
        let from = Reader::array(&bytes)?;
        let mut answers = Answers {
            now: Millis(0),
            seq: 1,
            full: false,
            alike: 0,
            first_alike: from,
            from,
        };
        let all = answers.to(&vec![&look; looks])?;
        answers.from.end()?;
        Ok(all)
    }

    fn alike(to: &mut Writer, times: u64) {
        to.text(b"alike");
        to.count(times);
    }

    #[test]
    fn an_answer_is_that_of_as_many_operations_as_it_says() {
        let missing = Answer::Reply(Reply::Shard(ShardReply::Missing));
        let again = Answer::Reply(Reply::Shard(ShardReply::Again));
        let read = answers(5, |to| {
            to.text(b"again");
            alike(to, 2);
            to.text(b"missing");
            alike(to, 1);
            to.text(b"again");
            to.text(b"missing");
        });
        let all = [&again, &missing, &missing, &again, &missing].map(Clone::clone);
        assert_eq!(read, Ok(all.to_vec()));
    }

    #[test]
    fn more_or_fewer_alike_than_there_are_operations_are_an_error() {
        for (times, is_right) in [(0, false), (2, false), (3, true), (4, false)] {
            let read = answers(3, |to| {
                alike(to, times);
                to.text(b"missing");
            });
            assert_eq!(read.is_ok(), is_right, "{times}: {read:?}");
        }
        let twice = answers(2, |to| {
            alike(to, 2);
            alike(to, 2);
            to.text(b"missing");
        });
        assert!(twice.is_err(), "{twice:?}");
    }
}
