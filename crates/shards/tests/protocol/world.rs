//! A state of the model: shards, requests, and what is still on its way.

use std::sync::Arc;

use shards::allocator::{Asked, Need, Round, Seen, Step as RoundStep};
use shards::ids::ShardNo;
use shards::machine::{ShardOp, ShardReply, State, Stripe};
use shards::time::Millis;

/// One state. Parts are shared between states, and copied when they change.
#[derive(Clone)]
pub(crate) struct World {
    pub now: Millis,
    /// Ticks of the scenario that have passed.
    pub ticks: u8,
    pub places: Vec<Arc<Place>>,
    pub requests: Vec<Arc<Request>>,
    /// Operations that will be carried out, or not, by nobody's wish any more.
    pub late: Vec<Late>,
    pub left: Left,
    /// A shard has lost what it had acknowledged.
    pub forgot: bool,
}

/// How often the world may still misbehave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Left {
    pub crashes: u8,
    pub losses: u8,
    pub copies: u8,
    pub restarts: u8,
    pub forgets: u8,
}

/// A shard and what keeps it.
#[derive(Clone)]
pub(crate) struct Place {
    pub stripe: Arc<Stripe>,
    /// What a restart would find, if that is not the same.
    pub durable: Option<Arc<Stripe>>,
    /// What it will be thrown back to, beyond what its store promises.
    pub backup: Option<Arc<Stripe>>,
}

/// An operation whose server has forgotten it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Late {
    pub request: u8,
    /// It has given units when it was carried out first.
    pub gave: bool,
    pub shard: ShardNo,
    pub op: ShardOp,
}

/// Somebody's request and the server that has it now.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub stage: Stage,
    /// What no round shows: it may have noted a claim.
    pub claimed: bool,
    /// Units that were free when the first reading of the last look ended, less
    /// what others were granted since; `None` before there was a look.
    pub free: Option<u64>,
}

#[derive(Clone, Debug)]
pub(crate) enum Stage {
    /// Questions are under way, each with what became of it.
    Asking {
        /// `None`: one question is all there is to it.
        round: Option<Round>,
        asked: Vec<Asked>,
        slots: Vec<Slot>,
    },
    /// A look is under way: what was read, in this order.
    Looking {
        round: Round,
        readings: Vec<Read>,
    },
    Ended(Outcome),
    /// Nobody asks any more.
    Abandoned,
}

/// What became of a question.
#[derive(Clone, Debug)]
pub(crate) enum Slot {
    Open,
    /// Carried out, or lost (`None`); not told before it is durable.
    Done {
        reply: Option<ShardReply>,
        durable: bool,
    },
}

#[derive(Clone, Debug)]
pub(crate) struct Read {
    pub shard: ShardNo,
    pub seen: Seen,
    pub durable: bool,
}

/// What a caller was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    Granted,
    /// These ids' reservation has ended.
    Ended,
    Refused,
    OverLimit,
    Changed(i64),
    Confirmed,
    Cancelled,
    Lost,
    /// Another state stands in the way.
    WrongState,
    /// A stripe that is needed is frozen.
    Unavailable,
}

impl Outcome {
    pub(crate) fn of(reply: &ShardReply) -> Self {
        match reply {
            ShardReply::Granted { .. } => Self::Granted,
            ShardReply::Ended(_) => Self::Ended,
            ShardReply::Short { .. } => Self::Refused,
            ShardReply::OverLimit { .. } => Self::OverLimit,
            ShardReply::Changed { applied, .. } => Self::Changed(*applied),
            ShardReply::Done(reservation) => match reservation.record.state {
                State::Confirmed => Self::Confirmed,
                _ => Self::Cancelled,
            },
            ShardReply::WrongState(reservation) => match reservation.record.state {
                State::Lost => Self::Lost,
                _ => Self::WrongState,
            },
            other => panic!("no answer to any of these requests: {other:?}"),
        }
    }
}

impl Stage {
    pub(crate) fn asking(round: Option<Round>, asked: Vec<Asked>) -> Self {
        let slots = vec![Slot::Open; asked.len()];
        Self::Asking {
            round,
            asked,
            slots,
        }
    }

    /// What a round waits for.
    pub(crate) fn of(round: Round) -> Self {
        match round.step() {
            RoundStep::Done(reply) => Self::Ended(Outcome::of(&reply)),
            RoundStep::Look => Self::Looking {
                round,
                readings: Vec::new(),
            },
            RoundStep::Ask(asked) => Self::asking(Some(round), asked),
        }
    }

    /// Whether the caller still waits.
    pub(crate) fn is_undecided(&self) -> bool {
        matches!(self, Self::Asking { .. } | Self::Looking { .. })
    }

    /// Whether all questions that this waits for are answered.
    pub(crate) fn is_answered(slots: &[Slot]) -> bool {
        slots
            .iter()
            .all(|slot| matches!(slot, Slot::Done { durable: true, .. }))
    }
}

impl Stage {
    /// All that this shard has done is durable: its answers arrive.
    pub(crate) fn tell(&mut self, at: ShardNo) {
        match self {
            Self::Asking { asked, slots, .. } => {
                for (asked, slot) in asked.iter().zip(slots) {
                    if let Slot::Done { durable, .. } = slot
                        && asked.shard == at
                    {
                        *durable = true;
                    }
                }
            }
            Self::Looking { readings, .. } => {
                let of_this = readings.iter_mut().filter(|read| read.shard == at);
                of_this.for_each(|read| read.durable = true);
            }
            Self::Ended(_) | Self::Abandoned => {}
        }
    }

    /// What this shard has not told will never be; whether that is the end of
    /// the attempt.
    pub(crate) fn forget(&mut self, at: ShardNo) -> bool {
        match self {
            Self::Asking { asked, slots, .. } => {
                let mut failed = false;
                for (asked, slot) in asked.iter().zip(slots) {
                    if asked.shard == at && matches!(slot, Slot::Done { durable: false, .. }) {
                        failed |= asked.need != Need::Courtesy;
                        let durable = true;
                        *slot = Slot::Done {
                            reply: None,
                            durable,
                        };
                    }
                }
                failed
            }
            Self::Looking { readings, .. } => readings
                .iter()
                .any(|read| read.shard == at && !read.durable),
            Self::Ended(_) | Self::Abandoned => false,
        }
    }
}

impl Slot {
    /// What is told.
    pub(crate) fn reply(&self) -> Option<ShardReply> {
        match self {
            Self::Open => None,
            Self::Done { reply, .. } => reply.clone(),
        }
    }
}

impl World {
    pub(crate) fn is_decided(&self) -> bool {
        let mut stages = self.requests.iter().map(|request| &request.stage);
        !stages.any(Stage::is_undecided)
    }
}
