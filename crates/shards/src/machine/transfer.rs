//! Stock on its way from one shard to another. ⚔ Both sides keep what was ever
//! sent or received, and nothing else: no transfer has a number, none is settled
//! or rolled back, and any server may carry any of them on at any time.

use super::ops::{Claim, Claimant, ShardReply};
use super::shard::Turn;
use crate::ids::{ShardNo, TOTAL_MAX};
use crate::rules::{Rule, holds};
use crate::time::Millis;

/// A claim that nobody renews ends after this long: its server is gone.
pub const CLAIM_MS: u64 = 500;

/// ⚔ This shard sent less than was received: it has lost the end of its
/// history, and with it perhaps acknowledged work. Its stripe freezes.
pub(super) struct TailLost {
    pub to: ShardNo,
    pub sent: u64,
    pub received: u64,
}

/// What a shard is asked to give.
#[derive(Clone, Copy)]
pub(super) struct Loan {
    pub to: ShardNo,
    pub wanted: u64,
    pub received: u64,
    pub claim: Option<Millis>,
}

impl Turn<'_> {
    pub(super) fn claim(&mut self, claimant: Claimant) -> ShardReply {
        let now = self.now();
        let since = match self.open_claim() {
            Some(open) if open.claimant != claimant => {
                return ShardReply::Claimed { since: open.since };
            }
            Some(open) => open.since,
            None => now,
        };
        let until = now.plus_ms(CLAIM_MS);
        self.touch();
        self.shard.header.claim = Some(Claim {
            claimant,
            since,
            until,
        });
        ShardReply::Claimed { since }
    }

    pub(super) fn unclaim(&mut self, claimant: Claimant) -> ShardReply {
        self.end_claim(claimant);
        ShardReply::Unclaimed
    }

    /// ⚔ A claim ends with the decision, whatever that is.
    pub(super) fn end_claim(&mut self, claimant: Claimant) {
        let is_his = self
            .shard
            .header
            .claim
            .is_some_and(|c| c.claimant == claimant);
        if is_his && holds(Rule::ClaimEndsWithDecision) {
            self.touch();
            self.shard.header.claim = None;
        }
    }

    fn open_claim(&self) -> Option<Claim> {
        let open = |claim: &Claim| self.now() < claim.until || !holds(Rule::ClaimEndsByItself);
        self.shard.header.claim.filter(open)
    }

    pub(super) fn lend(&mut self, loan: Loan) -> Result<ShardReply, TailLost> {
        let Loan {
            to,
            wanted,
            received,
            claim,
        } = loan;
        let sent = self
            .shard
            .header
            .counters
            .sent
            .get(&to)
            .copied()
            .unwrap_or(0);
        if received > sent && holds(Rule::LenderKnowsItsLoss) {
            return Err(TailLost { to, sent, received });
        }
        if sent > received && holds(Rule::OneTransferUnderWay) {
            return Ok(ShardReply::Lent { sent, given: 0 });
        }
        if !self.expire_due() {
            return Ok(ShardReply::Again);
        }
        if self
            .open_claim()
            .is_some_and(|mine| !self.is_older(claim, to, mine))
        {
            return Ok(ShardReply::ClaimedByOlder);
        }
        let available = self.shard.header.counters.available;
        // The counters never decrease, so they are kept from growing beyond
        // what every reader of numbers keeps exact.
        let given = wanted.min(available).min(TOTAL_MAX.saturating_sub(sent));
        if given > 0 {
            let counters = self.counters();
            counters.available -= given;
            counters.sent.insert(to, sent + given);
        }
        Ok(ShardReply::Lent {
            sent: sent + given,
            given,
        })
    }

    /// Whether the claim of shard `to` comes before `mine`, which is open here.
    fn is_older(&self, theirs: Option<Millis>, to: ShardNo, mine: Claim) -> bool {
        if !holds(Rule::ClaimGuardsStock) {
            return true;
        }
        let Some(theirs) = theirs else { return false };
        if !holds(Rule::OlderClaimWins) {
            return false;
        }
        (theirs, to) < (mine.since, self.me)
    }

    pub(super) fn credit(&mut self, from: ShardNo, sent: u64) -> ShardReply {
        let received = self
            .shard
            .header
            .counters
            .received
            .get(&from)
            .copied()
            .unwrap_or(0);
        let news = if holds(Rule::CreditsAreCumulative) {
            sent.saturating_sub(received)
        } else {
            sent
        };
        if news > 0 {
            self.gain(news);
            self.counters().received.insert(from, received + news);
        }
        ShardReply::Credited {
            received: received + news,
        }
    }
}
