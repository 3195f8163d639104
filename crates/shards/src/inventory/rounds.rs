//! Drives [`Round`]s over the store, and moves stock on that is under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;

use super::view::read_clock;
use super::{Error, Gone, Inventory, PROCEDURE_TIME_MAX, lookout};
use crate::allocator::{Ask, Asked, Need, Pairs, Round, Seen, Step, Transfer, policy};
use crate::ids::ShardNo;
use crate::machine::{Entry, Reading, ShardOp, ShardReply};
use crate::store::{Deadline, StoreError};

/// What is kept of a caller's time to tell it that nothing could be decided.
const TELLING: Duration = Duration::from_millis(5);

/// What this process has done so far, for operators.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub looks: AtomicU64,
    pub transfers: AtomicU64,
    pub transferred_units: AtomicU64,
}

/// What a server has done since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Looks at all shards of an item.
    pub looks: u64,
    /// Times that stock was moved from one shard to another.
    pub transfers: u64,
    /// Units that were moved.
    pub transferred_units: u64,
}

/// What came of a request's way.
pub(super) struct Decision {
    pub reply: ShardReply,
    /// See [`Round::is_steady`].
    pub steady: bool,
}

impl Inventory {
    /// What this server has done so far.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Figures {
            looks: read(&self.figures.looks),
            transfers: read(&self.figures.transfers),
            transferred_units: read(&self.figures.transferred_units),
        }
    }

    /// Carries a request to the decision of its home shard. What it says of
    /// stock is of all shards.
    pub(super) async fn decide(
        &self,
        entry: &Arc<Entry>,
        home: ShardNo,
        ask: Ask,
        deadline: Deadline,
    ) -> Result<Result<Decision, Gone>, Error> {
        // Where others go on moving, looks could go on for ever; so that their
        // end can be told, it comes before the caller's.
        let end = match deadline {
            Some(deadline) => deadline.checked_sub(TELLING).unwrap_or(deadline),
            None => read_clock() + PROCEDURE_TIME_MAX,
        };
        let mut round = Round::new(ask, home, super::shards_of(entry));
        loop {
            match round.step() {
                Step::Done(reply) => {
                    let steady = round.is_steady();
                    return Ok(Ok(Decision { reply, steady }));
                }
                Step::Look => match self.look(entry, Some(end)).await.map_err(undone)? {
                    Ok(look) => round.looked(&look),
                    Err(gone) => return Ok(Err(gone)),
                },
                Step::Ask(asked) => match self.ask_each(entry, &asked, deadline).await? {
                    Ok(replies) => round.answered(&replies),
                    Err(gone) => return Ok(Err(gone)),
                },
            }
        }
    }

    /// Asks these, all at once; the store keeps the order of each shard's.
    async fn ask_each(
        &self,
        entry: &Entry,
        asked: &[Asked],
        deadline: Deadline,
    ) -> Result<Result<Vec<Option<ShardReply>>, Gone>, Error> {
        let ask = |asked: &Asked| self.ask_shard(entry, asked.shard, asked.op.clone(), deadline);
        let answers = match asked {
            [one] => vec![ask(one).await],
            many => join_all(many.iter().map(ask)).await,
        };
        let mut replies = Vec::with_capacity(asked.len());
        for (asked, answer) in asked.iter().zip(answers) {
            replies.push(match (answer, asked.need) {
                (Ok(Ok(reply)), _) => {
                    self.count_moved(&reply);
                    Some(reply)
                }
                (Ok(Err(gone)), _) => return Ok(Err(gone)),
                (Err(_), Need::Courtesy) => None,
                (Err(error), Need::Step) => return Err(undone(error)),
                (Err(error), Need::Decision) => return Err(error),
            });
        }
        Ok(Ok(replies))
    }

    fn count_moved(&self, reply: &ShardReply) {
        if let ShardReply::Lent { given, .. } = reply
            && *given > 0
        {
            self.figures.transfers.fetch_add(1, Ordering::Relaxed);
            self.figures
                .transferred_units
                .fetch_add(*given, Ordering::Relaxed);
        }
    }

    /// Hands new stock from the ledger to the other shards: a courtesy, since
    /// they fetch it themselves when they miss it. Whatever fails is left.
    pub(super) async fn deal(&self, entry: &Entry, deadline: Deadline) {
        if entry.placement.len() < 2 {
            return;
        }
        if let Err(error) = self.try_to_deal(entry, deadline).await {
            tracing::info!(item = %entry.item, %error, "new stock was not dealt out to every shard");
        }
    }

    async fn try_to_deal(&self, entry: &Entry, deadline: Deadline) -> Result<(), Error> {
        let Ok(readings) = self.read_all(entry, deadline).await? else {
            return Ok(());
        };
        self.carry_on(entry, &readings, deadline).await?;
        let available: Vec<_> = readings.iter().map(|r| r.counters.available).collect();
        let lends: Vec<_> = policy::deal(&available)
            .into_iter()
            .map(|(to, wanted)| Asked {
                shard: ShardNo::LEDGER,
                op: ShardOp::Lend {
                    to,
                    wanted,
                    received: received(&readings, to, ShardNo::LEDGER),
                    claim: None,
                },
                need: Need::Courtesy,
            })
            .collect();
        let Ok(lent) = self.ask_each(entry, &lends, deadline).await? else {
            return Ok(());
        };
        let transfers = lends.iter().zip(lent).filter_map(|(asked, reply)| {
            let (ShardOp::Lend { to, .. }, Some(ShardReply::Lent { sent, .. })) =
                (&asked.op, reply)
            else {
                return None;
            };
            let from = ShardNo::LEDGER;
            Some(Transfer {
                from,
                to: *to,
                sent,
            })
        });
        self.credit(entry, transfers, deadline).await
    }

    /// Credits what a reading of all shards shows as under way.
    pub(super) async fn carry_on(
        &self,
        entry: &Entry,
        readings: &[Reading],
        deadline: Deadline,
    ) -> Result<(), Error> {
        let seen: Vec<_> = readings.iter().map(Seen::from).collect();
        self.credit(entry, Pairs::of(&seen).under_way, deadline)
            .await
    }

    async fn credit(
        &self,
        entry: &Entry,
        transfers: impl IntoIterator<Item = Transfer>,
        deadline: Deadline,
    ) -> Result<(), Error> {
        let credit = |Transfer { from, to, sent }| Asked {
            shard: to,
            op: ShardOp::Credit { from, sent },
            need: Need::Courtesy,
        };
        let credits: Vec<_> = transfers.into_iter().map(credit).collect();
        self.ask_each(entry, &credits, deadline).await.map(drop)
    }
}

fn received(readings: &[Reading], by: ShardNo, from: ShardNo) -> u64 {
    let reading = readings.get(usize::from(by.0));
    reading
        .and_then(|reading| reading.counters.received.get(&from))
        .copied()
        .unwrap_or(0)
}

/// A step on the way failed: of the request itself nothing was done, whatever
/// became of that step, and its own question had been sent in time.
fn undone(error: Error) -> Error {
    match error {
        Error::Store(StoreError::OutcomeUnknown(why)) => StoreError::Unavailable(why).into(),
        Error::Store(StoreError::DeadlineTooShort) => lookout::too_late(),
        other => other,
    }
}
