//! What operators and servers do with a stripe as a whole: look whether it
//! serves, stop it, and let it serve again. ⚔ A stripe that lost acknowledged
//! work is made consistent with the others first, as long as it is frozen.

use serde::{Deserialize, Serialize};

use super::catalog;
use super::ops::{Counters, ShardReply};
use super::shard::{Shard, Turn};
use super::stripe::{Freeze, Reply, Stripe};
use crate::ids::{ItemId, ShardNo};
use crate::time::Millis;

/// An operation of a stripe as a whole. All of them are carried out on a frozen
/// one too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StripeOp {
    /// Reads the guard. Changes nothing.
    Visit,
    /// Stops it: acknowledged work may be missing. One that is frozen already
    /// stays so, for the reason that it has.
    Freeze {
        /// Names this freeze; drawn at random.
        id: u64,
        /// Why, in a sentence.
        reason: String,
    },
    /// Lets it serve again; a shard of which something is missing must have been
    /// told to accept that, or it freezes again. Harmless when it serves.
    Release {
        /// The freeze that is meant, and no later one.
        id: u64,
    },
    /// Reads catalog entries in the order of their ids, as `List` does on a
    /// stripe that serves: what is to be repaired must be known.
    Entries {
        /// After this id; `None` = from the first.
        after: Option<ItemId>,
        /// Most entries.
        limit: u32,
    },
}

/// What a stripe answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StripeReply {
    /// How it does now.
    Visited(Visit),
    /// It is frozen, by another freeze than the one that was to be released.
    OtherFreeze(Freeze),
}

/// How a stripe does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Visit {
    /// Why it does not serve.
    pub frozen: Option<Freeze>,
    /// Batches that changed it.
    pub seq: u64,
    /// Its time.
    pub time: Millis,
}

impl Stripe {
    /// The answer, and whether the stripe changed.
    pub(super) fn apply_to_stripe(&mut self, op: &StripeOp) -> (Reply, bool) {
        let changed = match op {
            StripeOp::Visit => false,
            StripeOp::Freeze { id, reason } => self.begin_freeze(*id, reason),
            StripeOp::Release { id } => match &self.guard.frozen {
                None => false,
                Some(freeze) if freeze.id != *id => {
                    let other = StripeReply::OtherFreeze(freeze.clone());
                    return (Reply::Stripe(other), false);
                }
                Some(_) => {
                    self.guard.frozen = None;
                    true
                }
            },
            StripeOp::Entries { after, limit } => {
                let page = catalog::list(&self.catalog, after.as_ref(), *limit);
                return (Reply::Catalog(page), false);
            }
        };
        let visit = Visit {
            frozen: self.guard.frozen.clone(),
            seq: self.guard.seq,
            time: self.guard.time,
        };
        (Reply::Stripe(StripeReply::Visited(visit)), changed)
    }

    fn begin_freeze(&mut self, id: u64, reason: &str) -> bool {
        let serves = self.guard.frozen.is_none();
        if serves {
            self.guard.frozen = Some(Freeze {
                id,
                since: self.guard.time,
                reason: reason.to_owned(),
            });
        }
        serves
    }
}

impl Shard {
    /// What is missing is not missed any more; whether something was.
    pub(super) fn accept_entries(&mut self) -> bool {
        let there = self.count_entries();
        let news = self.known_entries() != there;
        self.know_entries(there);
        news
    }

    /// The answer to a reconciliation that changes nothing.
    pub(super) fn reconciled(&self, peer: ShardNo) -> ShardReply {
        ShardReply::Reconciled {
            surplus: 0,
            received: ever(&self.header.counters.received, peer),
        }
    }
}

impl Turn<'_> {
    /// ⚔ Makes `sent` what the peer has received. The units are gone from here:
    /// from what can be bought, and what is not there any more was given twice,
    /// here too, so it is booked as surplus. I1 holds before and after.
    pub(super) fn reconcile(&mut self, peer: ShardNo, received: u64) -> ShardReply {
        let sent = ever(&self.shard.header.counters.sent, peer);
        let missed = received.saturating_sub(sent);
        let mut surplus = 0;
        if missed > 0 {
            let counters: &mut Counters = self.counters();
            let there = missed.min(counters.available);
            surplus = missed - there;
            counters.sent.insert(peer, received);
            counters.available -= there;
            counters.surplus += surplus;
        }
        ShardReply::Reconciled {
            surplus,
            received: ever(&self.shard.header.counters.received, peer),
        }
    }
}

fn ever(units: &std::collections::BTreeMap<ShardNo, u64>, peer: ShardNo) -> u64 {
    units.get(&peer).copied().unwrap_or(0)
}
