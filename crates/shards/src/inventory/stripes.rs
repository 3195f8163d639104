//! The store's stripes: how they do, and the release of a frozen one. ⚔ A
//! stripe that lost the end of its history is made consistent with the others
//! before it serves again.

use futures_util::future::join_all;

use super::types::{StripeHealth, StripeReleased, StripeReport};
use super::{Error, Inventory, unexpected};
use crate::hash;
use crate::ids::{ItemId, ShardNo, StripeNo};
use crate::machine::{
    CatalogReply, Entry, Op, Reply, ShardOp, ShardReply, StripeOp, StripeReply, Visit,
};
use crate::store::{Deadline, StoreError};

/// Entries read at a time.
const PAGE: u32 = 256;

/// An item's shards, each with its stripe.
fn shards_of(entry: &Entry) -> impl Iterator<Item = (ShardNo, StripeNo)> {
    (0..).map(ShardNo).zip(entry.placement.iter().copied())
}

/// What a shard on another stripe has received from one that is to be repaired.
struct Pair {
    here: ShardNo,
    peer: ShardNo,
    received: u64,
}

impl Inventory {
    /// How the stripes do, by number; with an item only those that hold shards
    /// of it. One that cannot be asked is told as unavailable.
    ///
    /// # Errors
    /// [`Error::ItemNotFound`], and what the store says of the item's entry.
    pub async fn stripes(
        &self,
        of_item: Option<&ItemId>,
        deadline: Deadline,
    ) -> Result<Vec<StripeReport>, Error> {
        let mut stripes: Vec<StripeNo> = match of_item {
            None => StripeNo::all().collect(),
            Some(item) => self.placement_of(item, deadline).await?,
        };
        stripes.sort_unstable();
        let visit = |stripe| self.report(stripe, deadline);
        join_all(stripes.into_iter().map(visit))
            .await
            .into_iter()
            .collect()
    }

    /// Lets a frozen stripe serve again, after it was made consistent with the
    /// others. One that serves is left as it is.
    ///
    /// # Errors
    /// [`Error::OtherFreeze`]; what the store says, also of another stripe that
    /// must be compared: then this one stays frozen.
    pub async fn release_stripe(
        &self,
        stripe: StripeNo,
        freeze_id: u64,
        deadline: Deadline,
    ) -> Result<StripeReleased, Error> {
        let before = self.visit(stripe, deadline).await?;
        let surplus = match &before.frozen {
            // Somebody was faster, and was told.
            None => None,
            Some(freeze) if freeze.id != freeze_id => {
                let freeze_id = freeze.id;
                return Err(Error::OtherFreeze { stripe, freeze_id });
            }
            Some(_) => Some(self.repair(stripe, deadline).await?),
        };
        let release = StripeOp::Release { id: freeze_id };
        let released = self.ask_stripe(stripe, release, deadline).await;
        match released.map_err(Error::half_done)? {
            Reply::Stripe(StripeReply::Visited(visit)) => Ok(StripeReleased {
                stripe: self.told(stripe, Some(visit)),
                surplus,
            }),
            Reply::Stripe(StripeReply::OtherFreeze(freeze)) => Err(Error::OtherFreeze {
                stripe,
                freeze_id: freeze.id,
            }),
            other => Err(unexpected(&other)),
        }
    }

    /// Has every shard on a frozen stripe know of all that others received from
    /// it, then miss no more what it has lost; the units that were given beyond
    /// the stock. Nothing is changed before all is read.
    async fn repair(&self, stripe: StripeNo, deadline: Deadline) -> Result<u64, Error> {
        let mut all = Vec::new();
        for catalog in StripeNo::all() {
            let mut after = None;
            loop {
                let (entries, more) = self.entries(catalog, after, deadline).await?;
                after = entries.last().map(|entry| entry.item.clone());
                for entry in entries {
                    if entry.placement.contains(&stripe) {
                        let pairs = self.received_from(&entry, stripe, deadline).await?;
                        all.push((entry, pairs));
                    }
                }
                if !more {
                    break;
                }
            }
        }
        let mut surplus = 0;
        for (entry, pairs) in &all {
            for pair in pairs {
                let Pair {
                    here,
                    peer,
                    received,
                } = *pair;
                let booked = self.reconcile(entry, here, peer, received, deadline).await;
                let (booked, _) = booked.map_err(Error::half_done)?;
                if booked > 0 {
                    tracing::warn!(item = %entry.item, shard = %here, booked, "units were given twice");
                }
                surplus += booked;
            }
        }
        for (entry, _) in &all {
            for (here, _) in shards_of(entry).filter(|(_, on)| *on == stripe) {
                let accepted = self.accept(entry, here, deadline).await;
                accepted.map_err(Error::half_done)?;
            }
        }
        Ok(surplus)
    }

    /// What an item's other shards have received from those on a stripe.
    async fn received_from(
        &self,
        entry: &Entry,
        stripe: StripeNo,
        deadline: Deadline,
    ) -> Result<Vec<Pair>, Error> {
        let on_it = shards_of(entry).filter(|(_, on)| *on == stripe);
        let pairs = on_it.flat_map(|(here, _)| {
            let peers = shards_of(entry).map(|(peer, _)| peer);
            peers
                .filter(move |peer| *peer != here)
                .map(move |peer| (here, peer))
        });
        let read = pairs.map(async |(here, peer)| {
            // On a frozen peer, too, this only reads.
            let (_, received) = self.reconcile(entry, peer, here, 0, deadline).await?;
            Ok::<_, Error>(Pair {
                here,
                peer,
                received,
            })
        });
        let mut found = Vec::new();
        for pair in join_all(read).await {
            found.push(pair?);
        }
        found.retain(|pair| pair.received > 0);
        Ok(found)
    }

    /// Surplus booked and units received from `peer`, of one shard.
    async fn reconcile(
        &self,
        entry: &Entry,
        shard: ShardNo,
        peer: ShardNo,
        received: u64,
        deadline: Deadline,
    ) -> Result<(u64, u64), Error> {
        let reconcile = ShardOp::Reconcile { peer, received };
        match self.ask_once(entry, shard, reconcile, deadline).await? {
            ShardReply::Reconciled { surplus, received } => Ok((surplus, received)),
            // Not made yet, gone with its item, or lost: it tells nothing, and
            // whoever asks for it will be told.
            ShardReply::Missing => Ok((0, 0)),
            other => Err(unexpected(&other)),
        }
    }

    /// What is missing from a shard is not missed any more.
    async fn accept(&self, entry: &Entry, shard: ShardNo, deadline: Deadline) -> Result<(), Error> {
        match self
            .ask_once(entry, shard, ShardOp::Accept, deadline)
            .await?
        {
            ShardReply::Accepted | ShardReply::Missing => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// Where an item's shards lie, also if its entry lies on a frozen stripe.
    async fn placement_of(
        &self,
        item: &ItemId,
        deadline: Deadline,
    ) -> Result<Vec<StripeNo>, Error> {
        match self.read_entry(item, deadline).await {
            Ok(entry) => return Ok(entry.placement.clone()),
            Err(Error::Store(StoreError::Frozen { .. })) => {}
            Err(error) => return Err(error),
        }
        let mut after = None;
        loop {
            let catalog = hash::catalog_stripe(item);
            let (entries, more) = self.entries(catalog, after, deadline).await?;
            if let Some(entry) = entries.iter().find(|entry| entry.item == *item) {
                return Ok(entry.placement.clone());
            }
            after = entries.into_iter().next_back().map(|entry| entry.item);
            if !more {
                return Err(Error::ItemNotFound(item.clone()));
            }
        }
    }

    /// A page of a stripe's entries, frozen or not.
    async fn entries(
        &self,
        stripe: StripeNo,
        after: Option<ItemId>,
        deadline: Deadline,
    ) -> Result<(Vec<Entry>, bool), Error> {
        let page = StripeOp::Entries { after, limit: PAGE };
        match self.ask_stripe(stripe, page, deadline).await? {
            Reply::Catalog(CatalogReply::Page { entries, more }) => Ok((entries, more)),
            other => Err(unexpected(&other)),
        }
    }

    async fn report(&self, stripe: StripeNo, deadline: Deadline) -> Result<StripeReport, Error> {
        match self.visit(stripe, deadline).await {
            Ok(visit) => Ok(self.told(stripe, Some(visit))),
            Err(Error::Store(_)) => Ok(self.told(stripe, None)),
            Err(error) => Err(error),
        }
    }

    fn told(&self, stripe: StripeNo, visit: Option<Visit>) -> StripeReport {
        let master = usize::from(self.store.masters().of(stripe));
        let nodes = self.store.status().nodes;
        StripeReport {
            stripe,
            endpoint: nodes.into_iter().nth(master).map(|node| node.endpoint),
            health: match visit {
                None => StripeHealth::Unavailable,
                Some(visit) => match visit.frozen {
                    None => StripeHealth::Serving { seq: visit.seq },
                    Some(freeze) => StripeHealth::Frozen {
                        seq: visit.seq,
                        freeze,
                    },
                },
            },
        }
    }

    async fn visit(&self, stripe: StripeNo, deadline: Deadline) -> Result<Visit, Error> {
        match self.ask_stripe(stripe, StripeOp::Visit, deadline).await? {
            Reply::Stripe(StripeReply::Visited(visit)) => Ok(visit),
            other => Err(unexpected(&other)),
        }
    }

    async fn ask_stripe(
        &self,
        stripe: StripeNo,
        op: StripeOp,
        deadline: Deadline,
    ) -> Result<Reply, Error> {
        Ok(self.store.submit(stripe, Op::Stripe(op), deadline).await?)
    }
}
