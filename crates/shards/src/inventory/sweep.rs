//! What ends by itself, carried out without anybody asking: lapsed holds,
//! records past their retention, procedures that a stopped server left behind.
//! Answers never depend on it; the freed units and bytes do.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;

use super::items::shard_numbers;
use super::view::read_clock;
use super::{Error, Inventory};
use crate::ids::{ShardNo, StripeNo};
use crate::machine::{BATCH_STEPS_MAX, CatalogOp, CatalogReply, Entry, Life, ShardOp, ShardReply};

/// Entries read at a time.
const PAGE: u32 = 256;

/// Steps of one sweeping operation: a quarter of a batch's, so that a sweep of
/// one item leaves most of them to the buyers of all others on its stripe.
const SWEEP_STEPS: u32 = BATCH_STEPS_MAX / 4;

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Holds that were given back.
    pub expired: u64,
    /// Records that were forgotten.
    pub purged: u64,
    /// Procedures that were carried on.
    pub resumed: u64,
    /// Items and stripes that could not be swept; the next sweep tries again.
    pub failed: u64,
}

impl std::ops::AddAssign for Swept {
    fn add_assign(&mut self, other: Self) {
        self.expired += other.expired;
        self.purged += other.purged;
        self.resumed += other.resumed;
        self.failed += other.failed;
    }
}

impl Inventory {
    /// Goes over every item once: the stripes of one master after the other, so
    /// that it queues little at once, the masters beside each other, so that one
    /// that hangs delays no other. A stripe that is away is counted, and left to
    /// the next sweep.
    ///
    /// # Errors
    /// The last stripe's, if none could be read.
    pub async fn sweep(&self) -> Result<Swept, Error> {
        let masters = self.store.masters();
        let mut by_master: BTreeMap<u16, Vec<StripeNo>> = BTreeMap::new();
        for stripe in StripeNo::all() {
            let of_master = by_master.entry(masters.of(stripe)).or_default();
            of_master.push(stripe);
        }
        let sweep = async |stripes: Vec<StripeNo>| {
            let mut swept = Vec::new();
            for stripe in stripes {
                swept.push(self.sweep_stripe(stripe).await);
            }
            swept
        };
        let mut done = Swept::default();
        let (mut read, mut away) = (0_u32, None);
        for swept in join_all(by_master.into_values().map(sweep)).await.concat() {
            match swept {
                Ok(swept) => {
                    read += 1;
                    done += swept;
                }
                Err(error) => {
                    done.failed += 1;
                    away = Some(error);
                }
            }
        }
        match away {
            Some(error) if read == 0 => Err(error),
            _ => Ok(done),
        }
    }

    async fn sweep_stripe(&self, stripe: StripeNo) -> Result<Swept, Error> {
        let mut done = Swept::default();
        let mut after = None;
        loop {
            let list = CatalogOp::List {
                after: after.take(),
                limit: PAGE,
            };
            let CatalogReply::Page { entries, more } = self.ask_catalog(stripe, list, None).await?
            else {
                return Err(Error::Unexpected("no page".to_owned()));
            };
            after = entries.last().map(|entry| entry.item.clone());
            for swept in join_all(entries.into_iter().map(|entry| self.sweep_item(entry))).await {
                done += swept;
            }
            if !more {
                return Ok(done);
            }
        }
    }

    async fn sweep_item(&self, entry: Entry) -> Swept {
        self.try_sweep_item(entry).await.unwrap_or(Swept {
            failed: 1,
            ..Swept::default()
        })
    }

    async fn try_sweep_item(&self, entry: Entry) -> Result<Swept, Error> {
        let mut done = Swept::default();
        if entry.life == Life::Creating {
            let asked = read_clock();
            let entry = self.finish_create(entry, None).await?;
            self.deal(&entry, None).await;
            self.views.put(entry, asked);
            return Ok(Swept { resumed: 1, ..done });
        }
        if entry.life.is_ending() {
            self.resume_delete(entry).await?;
            return Ok(Swept { resumed: 1, ..done });
        }
        if entry.spread < entry.version {
            self.spread(&Arc::new(entry.clone()), read_clock(), None)
                .await?;
            done.resumed += 1;
        }
        let sweep = |shard| self.sweep_shard(&entry, shard);
        for swept in join_all(shard_numbers(&entry).map(sweep)).await {
            let (expired, purged) = swept?;
            done.expired += expired;
            done.purged += purged;
        }
        // What a server left under way; nobody else may look here for long.
        if entry.placement.len() > 1
            && let Ok(readings) = self.read_all(&entry, None).await?
        {
            self.carry_on(&entry, &readings, None).await?;
        }
        Ok(done)
    }

    /// Both are queued before either is waited for: one batch.
    async fn sweep_shard(&self, entry: &Entry, shard: ShardNo) -> Result<(u64, u64), Error> {
        futures_util::try_join!(
            self.work_off(entry, shard, ShardOp::Expire { limit: SWEEP_STEPS }),
            self.work_off(entry, shard, ShardOp::Purge { limit: SWEEP_STEPS }),
        )
    }

    async fn work_off(&self, entry: &Entry, shard: ShardNo, op: ShardOp) -> Result<u64, Error> {
        let mut total = 0;
        // What is missing is left to whoever asks for it.
        while let ShardReply::Swept { changed, more } =
            self.ask_once(entry, shard, op.clone(), None).await?
        {
            total += u64::from(changed);
            if !more {
                break;
            }
        }
        Ok(total)
    }
}
