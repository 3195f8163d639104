//! What a store is: it applies operations to stripes, in batches, and answers
//! only when what it answers is durable. Two stores implement it, and one suite
//! of tests holds both to it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::sync::oneshot;

use crate::ids::{ItemId, StripeNo};
use crate::machine::{Changes, Gain, Op, Reply, StoreIdentity};
use crate::placement::Masters;
use crate::rules::{Rule, holds};
use crate::time::Millis;

/// A place that keeps stripes and applies operations to them.
///
/// - [`submit`](Store::submit) queues at once and never blocks; operations of
///   one stripe run in the order in which one thread submitted them, as long as
///   the stripe stays where it is.
/// - What was queued runs to its end, whatever becomes of the [`Pending`].
/// - An answer is an acknowledgement: what it tells, changes and readings
///   alike, is as durable as the store promises.
/// - No answer is ever a guess: what could not be decided is a [`StoreError`].
pub trait Store: Send + Sync + 'static {
    /// Queues one operation.
    fn submit(&self, stripe: StripeNo, op: Op, deadline: Deadline) -> Pending;

    /// Which of its masters serves each stripe: new items are spread over them.
    fn masters(&self) -> Masters {
        Masters::single()
    }

    /// The store's id, its number of stripes and its secret.
    fn identity(&self) -> StoreIdentity;

    /// How it does, as far as this process can tell without asking it.
    fn status(&self) -> StoreStatus;

    /// Tells this listener, from now on, what makes remembered answers of this
    /// store untrue.
    fn listen(&self, listener: Arc<dyn Listener>);

    /// What time it is by the store's clock, as far as this process can tell
    /// without asking it: off by less than half a second. `None`: not known.
    fn now(&self) -> Option<Millis>;

    /// Whether other processes work on it too.
    fn is_shared(&self) -> bool;
}

/// What makes remembered answers untrue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Units of this item can be bought that could not be bought before. Told of
    /// each shard that had none, by whatever process it was freed; and of each
    /// shard to which an operation of this process added some, before that
    /// operation is answered.
    Units(ItemId),
    /// This item was created, changed or deleted: told before an operation of
    /// this process is answered, and soon after one of another.
    Changed(ItemId),
    /// Notices of other processes may have been missed until now.
    Missed,
}

/// Whoever remembers what a store said.
pub trait Listener: Send + Sync + 'static {
    /// Takes a notice in. Called on the store's own threads, so it must be quick
    /// and never wait; and called twice rather than not at all.
    fn hear(&self, notice: &Notice);
}

/// What a batch has to be told of, before it is answered.
pub(crate) fn notices(changes: &Changes) -> impl Iterator<Item = Notice> {
    let changed = changes.catalog.iter().cloned().map(Notice::Changed);
    let gaining = changes.shards.iter();
    let gaining = gaining.filter(|(_, changes)| changes.gain > Gain::Nothing);
    changed.chain(gaining.map(|(key, _)| Notice::Units(key.item.clone())))
}

/// Those who listen to a store.
#[derive(Default)]
pub(crate) struct Listeners(RwLock<Vec<Arc<dyn Listener>>>);

impl Listeners {
    pub(crate) fn add(&self, listener: Arc<dyn Listener>) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        all.push(listener);
    }

    /// What operations of this process have made untrue. ⚔ Before they are
    /// answered: who was answered finds nothing older here.
    pub(crate) fn tell_own<'a>(&self, notices: impl IntoIterator<Item = &'a Notice>) {
        if !holds(Rule::ToldBeforeAnswered) {
            return;
        }
        for notice in notices {
            self.tell(notice);
        }
    }

    pub(crate) fn tell(&self, notice: &Notice) {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        for listener in all.iter() {
            listener.hear(notice);
        }
    }
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listeners").finish_non_exhaustive()
    }
}

/// Until when an operation is worth sending; `None` = whenever. Judged when it
/// leaves the queue: what is over by then is not sent.
pub type Deadline = Option<Instant>;

/// An answer under way.
#[derive(Debug)]
pub struct Pending(Waiting);

#[derive(Debug)]
enum Waiting {
    Queued(oneshot::Receiver<Result<Reply, StoreError>>),
    Refused(Option<StoreError>),
}

impl Pending {
    /// An answer that somebody else will send.
    #[must_use]
    pub fn queued(answer: oneshot::Receiver<Result<Reply, StoreError>>) -> Self {
        Self(Waiting::Queued(answer))
    }

    /// An operation that was not even queued.
    #[must_use]
    pub fn refused(error: StoreError) -> Self {
        Self(Waiting::Refused(Some(error)))
    }
}

impl Future for Pending {
    type Output = Result<Reply, StoreError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Waiting::Queued(answer) => Pin::new(answer).poll(cx).map(|sent| {
                // Whoever had the operation is gone without a word.
                sent.unwrap_or_else(|_| Err(StoreError::OutcomeUnknown("the store stopped".into())))
            }),
            Waiting::Refused(error) => Poll::Ready(Err(error
                .take()
                .unwrap_or_else(|| StoreError::Unavailable("polled after its answer".into())))),
        }
    }
}

/// Why a store did not answer. Whether anything was done is part of the kind,
/// decided where the failure happens and never guessed later.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Nothing was done.
    #[error("the store cannot be used at the moment: {0}")]
    Unavailable(String),
    /// It was sent, and what became of it is not known.
    #[error("the store may or may not have done this: {0}")]
    OutcomeUnknown(String),
    /// ⚔ The stripe waits for an operator; nothing was done.
    #[error("stripe {stripe} is frozen since acknowledged work may be missing: {reason}")]
    Frozen {
        /// Which.
        stripe: StripeNo,
        /// Names this freeze.
        freeze_id: u64,
        /// Why.
        reason: String,
    },
    /// ⚔ Clocks are too far apart to say what time it is; nothing was done.
    #[error("the store's clocks disagree: {0}")]
    ClockSkew(String),
    /// The queue is full; nothing was done.
    #[error("more operations are waiting for the store than it can keep up with")]
    Overloaded,
    /// The caller's time was over before it was sent; nothing was done.
    #[error("the deadline passed before this could be sent to the store")]
    DeadlineTooShort,
}

/// What an acknowledgement of this store means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// On this machine's disk.
    Embedded,
    /// In one process, whose own settings decide about its disk.
    Local,
    /// On every replica that the cluster does not call failed, at least one.
    Replicated,
    /// On every replica that the cluster lists.
    ReplicatedStrict,
}

/// A store as this process sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreStatus {
    /// "embedded", "redis" or "redis-cluster".
    pub kind: &'static str,
    /// What an acknowledgement means.
    pub durability: Durability,
    /// Replicas that must acknowledge: the least over all nodes.
    pub required_replicas: u32,
    /// Format it writes.
    pub format: u32,
    /// Newest format it understands.
    pub max_format: u32,
    /// The processes or files that hold it.
    pub nodes: Vec<StoreNode>,
    /// Stripes that serve.
    pub serving_stripes: u32,
    /// Stripes that do not answer.
    pub unavailable_stripes: u32,
    /// Stripes that wait for an operator.
    pub frozen_stripes: u32,
    /// Sentences about what is unsafe.
    pub warnings: Vec<String>,
}

impl StoreStatus {
    /// Whether something of it acknowledges.
    #[must_use]
    pub fn acknowledges(&self) -> bool {
        self.nodes.iter().any(|node| node.acknowledging)
    }
}

/// One process or file that holds stripes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreNode {
    /// Where.
    pub endpoint: String,
    /// Whether it acknowledges.
    pub acknowledging: bool,
    /// Replicas that must acknowledge; 0 = it alone does.
    pub required_replicas: u32,
    /// Those of them that are in step.
    pub replicas_in_step: u32,
    /// Its version.
    pub version: String,
    /// Bytes used.
    pub used_bytes: u64,
    /// Bytes allowed; 0 = no bound.
    pub max_bytes: u64,
}

/// The clock that a store stamps its batches with.
pub trait Clock: Send + 'static {
    /// Now; never before `seen`, the latest instant that the store has seen.
    fn now(&mut self, seen: Millis) -> Millis;
}

/// The wall clock of this machine. Where it is set back, time goes on from where
/// it was at its usual pace: it neither runs backwards nor stands still, so holds
/// go on expiring.
#[derive(Clone, Copy, Debug, Default)]
pub struct WallClock {
    last: Option<(Millis, Instant)>,
    told_ahead: bool,
}

/// A store this much ahead of the wall clock says so in the log.
const AHEAD_WORTH_TELLING_MS: u64 = 5_000;

impl Clock for WallClock {
    fn now(&mut self, seen: Millis) -> Millis {
        let (wall, pace) = read_clocks();
        let goes_on = self.last.map_or(seen, |(last, at)| {
            let passed = pace.saturating_duration_since(at).as_millis();
            last.plus_ms(u64::try_from(passed).unwrap_or(u64::MAX))
        });
        let now = wall.max(goes_on).max(seen);
        let ahead_ms = wall.ms_until(now);
        if ahead_ms > AHEAD_WORTH_TELLING_MS && !self.told_ahead {
            tracing::warn!(
                ahead_ms,
                "the store's time is ahead of this machine's clock, which was set back"
            );
        }
        self.told_ahead = ahead_ms > AHEAD_WORTH_TELLING_MS;
        self.last = Some((now, pace));
        now
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the wall clock"
)]
fn read_clocks() -> (Millis, Instant) {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    // A clock set before 1970 reads as 0.
    let wall = Millis(since.map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX)));
    (wall, Instant::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_back_goes_on_and_does_not_stand_still() {
        let mut clock = WallClock::default();
        let ahead = read_clocks().0.plus_ms(3_600_000);
        assert_eq!(clock.now(ahead), ahead);
        let (_, at) = clock.last.unwrap();
        clock.last = at
            .checked_sub(std::time::Duration::from_mins(1))
            .map(|at| (ahead, at));
        let later = clock.now(ahead);
        assert!(later >= ahead.plus_ms(60_000), "{later:?}");
    }
}
