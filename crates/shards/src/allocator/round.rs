//! One request's way to a decision of its home shard.

use super::look::{Ahead, Look, Transfer};
use super::policy::{self, Loan};
use crate::ids::{Quantity, RecordKey, RequestId, ShardNo};
use crate::machine::{Claimant, LateConfirm, ShardOp, ShardReply, StockChange};
use crate::rules::{Rule, holds};
use crate::time::Millis;

/// What asks for units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ask {
    /// A buyer.
    Reserve {
        /// Whose request.
        key: RecordKey,
        /// Units.
        quantity: Quantity,
        /// The settings version that the server knows.
        version: u64,
    },
    /// A buyer whose hold may have expired.
    Reacquire {
        /// Which reservation.
        key: RecordKey,
        /// The settings version that the server knows.
        version: u64,
    },
    /// An operator who takes (or adds) units.
    Change {
        /// The operator's id of the change.
        request: RequestId,
        /// The change.
        change: StockChange,
        /// The settings version that the server knows.
        version: u64,
    },
}

impl Ask {
    /// The question to the home shard. `settled`: all shards are known to have
    /// too little, so what can be decided without more units is to be decided.
    /// (For a Reserve that is nothing: it only learns whether it was granted.)
    fn op(self, settled: bool) -> ShardOp {
        match self {
            Self::Reserve {
                key,
                quantity,
                version,
            } => ShardOp::Reserve {
                key,
                quantity,
                version,
            },
            Self::Reacquire { key, version } => ShardOp::Confirm {
                key,
                late: if settled {
                    LateConfirm::RetakeOrLose
                } else {
                    LateConfirm::Retake
                },
                version,
            },
            Self::Change {
                request,
                change,
                version,
            } => ShardOp::Change {
                request,
                change,
                gathered: settled,
                version,
            },
        }
    }

    fn claimant(self) -> Claimant {
        match self {
            Self::Reserve { key, .. } | Self::Reacquire { key, .. } => Claimant::Buyer(key),
            Self::Change { request, .. } => Claimant::Operator(request),
        }
    }
}

/// A question to one shard.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Asked {
    /// Which.
    pub shard: ShardNo,
    /// What.
    pub op: ShardOp,
    /// What its failure means.
    pub need: Need,
}

/// What a question's failure means to the round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Need {
    /// It decides the request: its failure is the request's.
    Decision,
    /// The round cannot go on, and nothing of the request was done.
    Step,
    /// The round goes on: whoever looks next carries on what this left behind.
    Courtesy,
}

/// What a round needs next.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Ask these, all at once; those of one shard in this order.
    Ask(Vec<Asked>),
    /// A look that begins from now on.
    Look,
    /// The decision. [`ShardReply::Short`] speaks of all shards.
    Done(ShardReply),
}

/// A request under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Round {
    ask: Ask,
    home: ShardNo,
    shards: u8,
    /// Units that are asked for, once the home shard was short of them.
    wanted: u64,
    /// A claim is noted at home, perhaps.
    claims: bool,
    /// See [`Round::is_steady`].
    steady: bool,
    phase: Phase,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Phase {
    /// Credit what was lent, then ask the home shard.
    Decide {
        credits: Vec<Transfer>,
        settled: Option<Sums>,
    },
    Look,
    /// Somebody's transfers are under way: carry them on, then look again. ⚔ And
    /// ask who seems to have sent less than was received: if that is so it has
    /// lost its tail, and freezes.
    Carry(Vec<Transfer>, Vec<Ahead>),
    Claim(Plan),
    Lend {
        plan: Plan,
        since: Millis,
    },
    /// The answer is a no: take the claim back first.
    Unclaim(ShardReply),
    Done(ShardReply),
}

/// What a look has found on all shards together, too little: home decides with
/// what it has, and if that is no more, this is what a refusal tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Sums {
    available: u64,
    held: u64,
}

/// What to bring home.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Plan {
    /// With what home has received of each so far.
    loans: Vec<(Loan, u64)>,
    /// All there is, and it is too little: afterwards home decides with that.
    settled: Option<Sums>,
}

impl Round {
    /// A request that nobody has asked about yet.
    #[must_use]
    pub fn new(ask: Ask, home: ShardNo, shards: u8) -> Self {
        Self {
            ask,
            home,
            shards,
            wanted: 0,
            claims: false,
            steady: shards <= 1,
            phase: Phase::Decide {
                credits: Vec::new(),
                settled: None,
            },
        }
    }

    /// Whether what a [`ShardReply::Short`] tells of the stock may be remembered
    /// for a while: with one shard its own answer is the look.
    #[must_use]
    pub fn is_steady(&self) -> bool {
        self.steady
    }

    /// What it needs next.
    #[must_use]
    pub fn step(&self) -> Step {
        match &self.phase {
            Phase::Decide { credits, settled } => {
                let mut ops: Vec<_> = credits.iter().copied().map(credit).collect();
                // With one shard its own answer is the look.
                let settled = settled.is_some() || self.shards <= 1;
                ops.push(self.at_home(self.ask.op(settled), Need::Decision));
                Step::Ask(ops)
            }
            Phase::Look => Step::Look,
            Phase::Carry(transfers, ahead) => {
                let credits = transfers.iter().copied().map(credit);
                Step::Ask(credits.chain(ahead.iter().copied().map(probe)).collect())
            }
            Phase::Claim(_) => {
                let claimant = self.ask.claimant();
                Step::Ask(vec![self.at_home(ShardOp::Claim { claimant }, Need::Step)])
            }
            Phase::Lend { plan, since } => Step::Ask(
                plan.loans
                    .iter()
                    .map(|loan| self.lend(*loan, *since))
                    .collect(),
            ),
            Phase::Unclaim(_) => {
                let claimant = self.ask.claimant();
                // It ends by itself, too.
                Step::Ask(vec![
                    self.at_home(ShardOp::Unclaim { claimant }, Need::Courtesy),
                ])
            }
            Phase::Done(reply) => Step::Done(reply.clone()),
        }
    }

    /// Takes in the answers to a [`Step::Ask`], in its order; `None` where the
    /// shard did not answer.
    pub fn answered(&mut self, replies: &[Option<ShardReply>]) {
        let last = replies.last().cloned().flatten();
        self.phase = match (self.take_phase(), last) {
            (
                Phase::Decide { settled, .. },
                Some(ShardReply::Short {
                    wanted,
                    available,
                    held,
                }),
            ) if self.shards > 1 => {
                self.wanted = wanted;
                // Has as many, but not to take away: more of them change nothing.
                let final_one = (available >= wanted).then_some(Sums { available, held });
                match settled.or(final_one) {
                    Some(sums) => self.refuse(sums),
                    None => self.when_short(),
                }
            }
            (Phase::Decide { .. }, Some(decision)) => Phase::Done(decision),
            (Phase::Claim(plan), Some(ShardReply::Claimed { since })) => {
                self.claims = true;
                if plan.loans.is_empty() {
                    Phase::Look
                } else {
                    Phase::Lend { plan, since }
                }
            }
            // What the home shard says instead decides nothing: ask it.
            (Phase::Claim(_), Some(_)) => Phase::Decide {
                credits: Vec::new(),
                settled: None,
            },
            (Phase::Lend { plan, .. }, _) => self.after_lending(&plan, replies),
            (Phase::Unclaim(reply) | Phase::Done(reply), _) => Phase::Done(reply),
            (Phase::Carry(..) | Phase::Look, _) => Phase::Look,
            // No answer that decides: whoever drives the round has given up.
            (phase @ (Phase::Decide { .. } | Phase::Claim(_)), None) => phase,
        };
    }

    /// Takes in what a look has shown.
    pub fn looked(&mut self, look: &Look) {
        if self.phase != Phase::Look {
            return;
        }
        self.steady = look.steady;
        let at_home = look.shards.get(usize::from(self.home.0));
        let at_home = at_home.map_or(0, |seen| seen.available);
        let suffices = look.available >= self.wanted || !holds(Rule::LookBeforeMoving);
        self.phase = if !look.still {
            let ahead = if holds(Rule::SendersAreAsked) {
                look.ahead.clone()
            } else {
                Vec::new()
            };
            if look.under_way.is_empty() && ahead.is_empty() {
                Phase::Look
            } else {
                Phase::Carry(look.under_way.clone(), ahead)
            }
        } else if suffices && at_home >= self.wanted {
            Phase::Decide {
                credits: Vec::new(),
                settled: None,
            }
        } else if suffices {
            Phase::Claim(self.plan(look, self.wanted, None))
        } else {
            self.too_little(look)
        };
    }

    fn when_short(&self) -> Phase {
        if !self.claims && !holds(Rule::ClaimAfterLook) {
            return Phase::Claim(Plan {
                loans: Vec::new(),
                settled: None,
            });
        }
        Phase::Look
    }

    /// A look has shown that all shards together have too little. ⚔ Home has the
    /// last word: meanwhile these very ids may have been granted there, by an
    /// attempt of theirs through another server.
    fn too_little(&self, look: &Look) -> Phase {
        let settled = Some(Sums {
            available: look.available,
            held: look.held,
        });
        if let Ask::Change {
            change:
                StockChange::Adjust {
                    allow_partial: true,
                    ..
                },
            ..
        } = self.ask
        {
            let plan = self.plan(look, look.available, settled);
            if !plan.loans.is_empty() {
                return Phase::Claim(plan);
            }
        }
        if let Some(sums) = settled
            && matches!(self.ask, Ask::Reserve { .. })
            && !holds(Rule::HomeHasTheLastWord)
        {
            return self.refuse(sums);
        }
        Phase::Decide {
            credits: Vec::new(),
            settled,
        }
    }

    fn refuse(&self, Sums { available, held }: Sums) -> Phase {
        let reply = ShardReply::Short {
            wanted: self.wanted,
            available,
            held,
        };
        if self.claims {
            Phase::Unclaim(reply)
        } else {
            Phase::Done(reply)
        }
    }

    fn plan(&self, look: &Look, wanted: u64, settled: Option<Sums>) -> Plan {
        let available: Vec<u64> = look.shards.iter().map(|seen| seen.available).collect();
        let loans = policy::loans(&available, self.home, wanted)
            .into_iter()
            .map(|loan| (loan, look.received(self.home, loan.from)))
            .collect();
        Plan { loans, settled }
    }

    /// Credits what was lent and asks home again; ⚔ with nothing in hand, also
    /// where units are claimed by others, only another look can tell.
    fn after_lending(&self, plan: &Plan, replies: &[Option<ShardReply>]) -> Phase {
        let mut credits = Vec::new();
        let mut claimed = false;
        let mut all = true;
        for ((loan, received), reply) in plan.loans.iter().zip(replies) {
            let come = match reply {
                Some(ShardReply::Lent { sent, .. }) => sent.saturating_sub(*received),
                _ => 0,
            };
            all &= come >= loan.units;
            match reply {
                Some(ShardReply::Lent { sent, .. }) if sent > received => credits.push(Transfer {
                    from: loan.from,
                    to: self.home,
                    sent: *sent,
                }),
                Some(ShardReply::ClaimedByOlder) => claimed = true,
                _ => {}
            }
        }
        if claimed && credits.is_empty() && !holds(Rule::ClaimedIsNotNothing) {
            return self.refuse(Sums {
                available: 0,
                held: 0,
            });
        }
        if credits.is_empty() {
            return Phase::Look;
        }
        // "All there is" only if all of it has come.
        let settled = plan.settled.filter(|_| all);
        Phase::Decide { credits, settled }
    }

    fn take_phase(&mut self) -> Phase {
        std::mem::replace(&mut self.phase, Phase::Look)
    }

    fn at_home(&self, op: ShardOp, need: Need) -> Asked {
        Asked {
            shard: self.home,
            op,
            need,
        }
    }

    fn lend(&self, (loan, received): (Loan, u64), since: Millis) -> Asked {
        Asked {
            shard: loan.from,
            op: ShardOp::Lend {
                to: self.home,
                wanted: loan.units,
                received,
                claim: Some(since),
            },
            need: Need::Courtesy,
        }
    }
}

fn credit(transfer: Transfer) -> Asked {
    let Transfer { from, to, sent } = transfer;
    Asked {
        shard: to,
        op: ShardOp::Credit { from, sent },
        need: Need::Courtesy,
    }
}

/// A lend of nothing: the sender compares, which nobody else can.
fn probe(Ahead { from, to, received }: Ahead) -> Asked {
    Asked {
        shard: from,
        op: ShardOp::Lend {
            to,
            wanted: 0,
            received,
            claim: None,
        },
        need: Need::Courtesy,
    }
}
