//! Deleting an item: stop its grants like a pause, find out whether units are
//! held, decide in the entry, take the shards away, and the entry last.

use std::time::Instant;

use futures_util::future::join_all;

use super::items::shard_numbers;
use super::view::read_clock;
use super::{Error, Gone, Inventory, unexpected};
use crate::ids::{ItemId, ShardNo};
use crate::machine::{CatalogOp, CatalogReply, Entry, Life, ShardOp, ShardReply};
use crate::store::Deadline;

/// What became of a deletion.
enum Found {
    /// It is gone.
    Gone,
    /// Units are held, and it is as it was before.
    Held(u64),
    /// Another server has decided something since: look again.
    Overtaken,
}

impl Inventory {
    /// Deletes an item. Without `force` only if no units are held; what is not
    /// there (any more) is deleted.
    ///
    /// # Errors
    /// [`Error::UnitsHeld`], [`Error::VersionMismatch`], and what the store
    /// says; after an unknown outcome a repeat, or the sweep, carries it on.
    pub async fn delete_item(
        &self,
        item: &ItemId,
        force: bool,
        expected: Option<u64>,
        deadline: Deadline,
    ) -> Result<(), Error> {
        loop {
            let entry = match self.read_entry(item, deadline).await {
                Ok(entry) => entry,
                Err(Error::ItemNotFound(_)) => return Ok(()),
                Err(error) => return Err(error),
            };
            let asked = read_clock();
            let begin = CatalogOp::BeginDelete {
                item: item.clone(),
                generation: entry.generation,
                force,
                expected,
            };
            let entry = match self.ask_entry(item, begin, deadline).await? {
                CatalogReply::Entry(entry) => *entry,
                CatalogReply::NotFound => return Ok(()),
                CatalogReply::VersionMismatch(entry) if entry.life == Life::Live => {
                    return Err(Error::VersionMismatch {
                        item: item.clone(),
                        version: entry.version,
                    });
                }
                // It is still being created: read_entry finishes that.
                CatalogReply::VersionMismatch(_) => continue,
                other => return Err(unexpected(&other)),
            };
            let found = self.finish_delete(entry, asked, deadline).await;
            match found.map_err(Error::half_done)? {
                Found::Gone => return Ok(()),
                Found::Held(units) => return Err(Error::UnitsHeld { units }),
                Found::Overtaken => {}
            }
        }
    }

    /// Carries on a deletion that somebody left behind.
    pub(super) async fn resume_delete(&self, entry: Entry) -> Result<(), Error> {
        let asked = read_clock();
        let entry = self.now(&entry, None).await?;
        self.finish_delete(Entry::clone(&entry), asked, None)
            .await
            .map(drop)
    }

    async fn finish_delete(
        &self,
        entry: Entry,
        asked: Instant,
        deadline: Deadline,
    ) -> Result<Found, Error> {
        if entry.life == Life::Live {
            return Ok(Found::Overtaken);
        }
        let entry = if entry.life == Life::Deleting {
            match self.find_out(entry, asked, deadline).await? {
                Ok(entry) => entry,
                Err(found) => return Ok(found),
            }
        } else {
            entry
        };
        let delete = |shard| self.ask_once(&entry, shard, ShardOp::Delete, deadline);
        for answer in join_all(shard_numbers(&entry).map(delete)).await {
            match answer? {
                ShardReply::Deleted => {}
                other => return Err(unexpected(&other)),
            }
        }
        let finish = CatalogOp::FinishDelete {
            item: entry.item.clone(),
            generation: entry.generation,
        };
        match self.ask_entry(&entry.item, finish, deadline).await? {
            CatalogReply::NotFound => {
                self.views.forget(&entry.item);
                Ok(Found::Gone)
            }
            other => Err(unexpected(&other)),
        }
    }

    /// Whether it goes; then its entry, which says so from now on.
    async fn find_out(
        &self,
        entry: Entry,
        asked: Instant,
        deadline: Deadline,
    ) -> Result<Result<Entry, Found>, Error> {
        let begun = self.views.put(entry, asked);
        let entry = match self.spread(&begun, asked, deadline).await {
            // ⚔ Only what every shard works by is found out about: a later
            // version, of somebody else's change, may still be granting.
            Ok(entry) if entry.spread < entry.version => return Ok(Err(Found::Overtaken)),
            Ok(entry) => entry,
            Err(Error::ItemNotFound(_)) => return Ok(Err(Found::Gone)),
            Err(Error::ItemDeleting(_)) => return self.follow(&begun, deadline).await,
            Err(error) => return Err(error),
        };
        // Nothing is granted any more, so what is held can only grow less.
        let forced = entry.deletion.is_some_and(|deletion| deletion.force);
        let held: u64 = if forced {
            0
        } else {
            match self.read_all(&entry, deadline).await {
                Ok(Ok(readings)) => readings.iter().map(|reading| reading.counters.held).sum(),
                Ok(Err(Gone)) | Err(Error::ItemNotFound(_)) => return Ok(Err(Found::Gone)),
                // A shard is not there: taken away by somebody who has decided,
                // or lost, and then only force deletes the item.
                Err(Error::ItemDeleting(_)) => {
                    return match self.follow(&entry, deadline).await? {
                        Ok(removing) => Ok(Ok(removing)),
                        Err(Found::Gone) => Ok(Err(Found::Gone)),
                        Err(_) => Err(Error::shard_lost(&entry, ShardNo::LEDGER)),
                    };
                }
                Err(error) => return Err(error),
            }
        };
        let decide = CatalogOp::DecideDelete {
            item: entry.item.clone(),
            generation: entry.generation,
            version: entry.version,
            remove: held == 0,
        };
        match self.ask_entry(&entry.item, decide, deadline).await? {
            CatalogReply::Entry(entry) if held == 0 => Ok(Ok(*entry)),
            CatalogReply::Entry(entry) => {
                let entry = self.views.put(*entry, asked);
                self.spread(&entry, asked, deadline).await?;
                Ok(Err(Found::Held(held)))
            }
            CatalogReply::NotFound => Ok(Err(Found::Gone)),
            CatalogReply::VersionMismatch(now) if now.life == Life::Removing => Ok(Ok(*now)),
            CatalogReply::VersionMismatch(now) if now.life == Life::Live && held > 0 => {
                Ok(Err(Found::Held(held)))
            }
            CatalogReply::VersionMismatch(_) => Ok(Err(Found::Overtaken)),
            other => Err(unexpected(&other)),
        }
    }

    /// What somebody else has decided about a deletion.
    async fn follow(
        &self,
        entry: &Entry,
        deadline: Deadline,
    ) -> Result<Result<Entry, Found>, Error> {
        match self.now(entry, deadline).await {
            Ok(now) if now.life == Life::Removing => Ok(Ok(Entry::clone(&now))),
            Ok(_) => Ok(Err(Found::Overtaken)),
            Err(Error::ItemNotFound(_)) => Ok(Err(Found::Gone)),
            Err(error) => Err(error),
        }
    }
}
