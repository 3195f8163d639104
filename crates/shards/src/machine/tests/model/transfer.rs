//! Transfers and claims, as the design words them.

use std::collections::BTreeMap;

use super::super::super::*;
use super::Model;
use crate::ids::{ShardNo, TOTAL_MAX};
use crate::time::Millis;

const HALF_A_SECOND_MS: u64 = 500;

impl Model {
    pub(super) fn claim(&mut self, claimant: Claimant, now: Millis) -> ShardReply {
        let until = now.plus_ms(HALF_A_SECOND_MS);
        let mine = Claim {
            claimant,
            since: now,
            until,
        };
        let open = self.claim.get_or_insert(mine);
        if open.claimant == claimant {
            open.until = until;
        }
        ShardReply::Claimed { since: open.since }
    }

    pub(super) fn unclaim(&mut self, claimant: Claimant) {
        self.claim.take_if(|open| open.claimant == claimant);
    }

    /// A request has its answer: it waits no longer, unless the answer is that
    /// it has to wait.
    pub(super) fn decided(&mut self, claimant: Claimant, reply: ShardReply) -> ShardReply {
        let waits = matches!(
            reply,
            ShardReply::Short { .. } | ShardReply::OldSettings { .. } | ShardReply::Missing
        );
        if !waits {
            self.unclaim(claimant);
        }
        reply
    }

    pub(super) fn lend(
        &mut self,
        to: ShardNo,
        wanted: u64,
        received: u64,
        claim: Option<Millis>,
    ) -> ShardReply {
        let sent = units(&self.sent, to);
        if sent > received {
            return ShardReply::Lent { sent, given: 0 };
        }
        assert_eq!(sent, received, "this shard has lost something");
        let mine = self.claim.map(|open| (open.since, self.me));
        let theirs = claim.map(|since| (since, to));
        if mine.is_some_and(|mine| theirs.is_none_or(|theirs| theirs > mine)) {
            return ShardReply::ClaimedByOlder;
        }
        let room = TOTAL_MAX - sent;
        let given = wanted.min(self.available()).min(room);
        self.sent.insert(to, sent + given);
        ShardReply::Lent {
            sent: sent + given,
            given,
        }
    }

    pub(super) fn credit(&mut self, from: ShardNo, sent: u64) -> ShardReply {
        let before = units(&self.received, from);
        let received = before.max(sent);
        self.gained += received - before;
        self.received.insert(from, received);
        ShardReply::Credited { received }
    }
}

fn units(of: &BTreeMap<ShardNo, u64>, with: ShardNo) -> u64 {
    of.get(&with).copied().unwrap_or(0)
}
