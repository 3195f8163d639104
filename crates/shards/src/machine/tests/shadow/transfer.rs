//! What was moved, and who waits for it.

use super::super::super::*;
use super::{Seal, Seen};
use crate::ids::ShardNo;
use crate::time::Millis;

impl Seen {
    /// The claim that is open, as far as anybody was told.
    fn open_claim(&self, now: Millis) -> Option<Claim> {
        self.claim.filter(|claim| now.0 < claim.until.0)
    }

    pub(super) fn claimed(&mut self, claimant: Claimant, seal: &Seal<'_>) -> Result<(), String> {
        let ShardReply::Claimed { since } = *seal.reply else {
            return Err("no claim".into());
        };
        let until = seal.now.plus_ms(500);
        let open = self.open_claim(seal.now).unwrap_or(Claim {
            claimant,
            since: seal.now,
            until,
        });
        ensure!(since == open.since, "the oldest claim is {open:?}");
        self.claim = Some(Claim {
            until: if open.claimant == claimant {
                until
            } else {
                open.until
            },
            ..open
        });
        Ok(())
    }

    /// Whoever hears what became of the request waits no longer.
    pub(super) fn hear(&mut self, seal: &Seal<'_>) {
        let who = match *seal.op {
            ShardOp::Reserve { key, .. } | ShardOp::Confirm { key, .. } => Claimant::Buyer(key),
            ShardOp::Change { request, .. } => Claimant::Operator(request),
            ShardOp::Unclaim { claimant } => claimant,
            _ => return,
        };
        let goes_on = matches!(
            seal.reply,
            ShardReply::Short { .. } | ShardReply::OldSettings { .. } | ShardReply::Missing
        );
        if !goes_on && self.claim.is_some_and(|claim| claim.claimant == who) {
            self.claim = None;
        }
    }

    pub(super) fn lent(&mut self, to: ShardNo, seal: &Seal<'_>) -> Result<(), String> {
        let ShardOp::Lend {
            wanted,
            received,
            claim,
            ..
        } = *seal.op
        else {
            return Err("not a lend".into());
        };
        let before = self.sent.get(&to).copied().unwrap_or(0);
        let free = self.available(seal.now);
        let mine = self.open_claim(seal.now);
        let comes_first =
            mine.is_none_or(|mine| claim.is_some_and(|at| (at, to) < (mine.since, self.me)));
        match *seal.reply {
            ShardReply::Lent { sent, given: 0 } => {
                ensure!(sent == before, "{before} were sent");
                let nothing = before > received || wanted == 0 || free == 0;
                ensure!(nothing, "{free} were free to be lent");
            }
            ShardReply::Lent { sent, given } => {
                ensure!(before == received, "something is under way: {before}");
                ensure!(comes_first, "lent away from {mine:?}");
                ensure!(sent == before + given, "{before} were sent before");
                ensure!(
                    given <= wanted && i128::from(given) <= free,
                    "more than there is, or was asked for: {free} were free"
                );
                self.sent.insert(to, sent);
                self.stocked -= i128::from(given);
            }
            ShardReply::ClaimedByOlder => {
                ensure!(before == received && !comes_first, "nobody is before it");
            }
            _ => return Err("no answer to a lend".into()),
        }
        Ok(())
    }

    pub(super) fn credited(
        &mut self,
        from: ShardNo,
        sent: u64,
        seal: &Seal<'_>,
    ) -> Result<(), String> {
        let before = self.received.get(&from).copied().unwrap_or(0);
        let received = before.max(sent);
        ensure!(
            *seal.reply == ShardReply::Credited { received },
            "{before} were received"
        );
        self.received.insert(from, received);
        self.stocked += i128::from(received - before);
        Ok(())
    }
}
