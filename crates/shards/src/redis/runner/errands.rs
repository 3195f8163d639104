//! What a lane has to do for its stripes before it serves from them: take them over
//! for another incarnation of their master, and freeze those that lost something.

use std::collections::BTreeMap;

use super::Runner;
use crate::ids::StripeNo;
use crate::machine::{Op, StripeOp};
use crate::redis::fault::Fault;
use crate::redis::fence::Memory;
use crate::redis::flush::{self, Stamped};
use crate::redis::script::{Call, Ran, Seen, What};
use crate::redis::shared::Suspect;

impl Runner {
    /// Takes stripes over that were another incarnation's, and freezes those
    /// that lost something.
    pub(super) async fn do_errands(&mut self) {
        self.fenced = std::mem::take(&mut self.fenced)
            .into_iter()
            .filter(|(stripe, _)| self.is_mine(*stripe))
            .collect();
        let suspects = self.shared.suspects(|stripe| self.is_mine(stripe));
        let Some(link) = &self.link else { return };
        if self.fenced.is_empty() && suspects.is_empty() {
            return;
        }
        let stamp = match flush::stamp(&self.shared, link) {
            Ok(stamp) => stamp,
            Err(error) => {
                tracing::warn!(%error, "cannot take stripes over");
                return;
            }
        };
        self.fenced
            .retain(|_, seen| seen.incarnation != link.incarnation);
        self.adopt(&stamp).await;
        self.freeze(&stamp, suspects).await;
    }

    async fn adopt(&mut self, stamp: &Stamped) {
        let Some(link) = &self.link else { return };
        let calls: Vec<Call<'_>> = self
            .fenced
            .iter()
            .map(|(stripe, seen)| {
                let expected = seen.number;
                flush::call(
                    &self.shared,
                    link,
                    *stripe,
                    *stamp,
                    What::Adopt { expected },
                )
            })
            .collect();
        if calls.is_empty() {
            return;
        }
        let memories: Vec<_> = self
            .fenced
            .keys()
            .map(|stripe| self.shared.watched(*stripe, |watched| watched.memory))
            .collect();
        let flushed = link
            .run(
                calls.iter().map(Call::encode).collect(),
                self.shared.acknowledge,
            )
            .await;
        let is_broken = flush::is_broken(&flushed);
        let mut done = Vec::new();
        for ((call, answer), memory) in calls.iter().zip(&flushed.answers).zip(memories) {
            let Some((ran, seen)) = flush::guard_after(call, answer) else {
                continue;
            };
            self.judge_unless_frozen(call.stripe, memory, &seen);
            if matches!(ran, Ran::Taken(_)) {
                tracing::warn!(
                    stripe = %call.stripe, number = seen.number, by = ?seen.incarnation,
                    "took the stripe over for another incarnation of its master"
                );
            }
            done.push((call.stripe, seen));
        }
        let incarnation = link.incarnation;
        let mut stale = false;
        for (stripe, seen) in done {
            if seen.incarnation == incarnation {
                self.fenced.remove(&stripe);
            } else {
                // Somebody else was faster, for yet another incarnation.
                stale = true;
                self.fenced.insert(stripe, seen);
            }
        }
        if is_broken {
            self.hang_up("the connection broke");
        } else if stale {
            self.link = None;
        }
    }

    /// Says in the guards that stripes are frozen. Whatever keeps it from being
    /// said is dealt with here: nothing else is asked of these stripes meanwhile.
    async fn freeze(&mut self, stamp: &Stamped, suspects: BTreeMap<StripeNo, Suspect>) {
        let Some(link) = &self.link else { return };
        if suspects.is_empty() {
            return;
        }
        let mut runs = Vec::new();
        for (stripe, suspect) in suspects.iter().filter(|(_, suspect)| suspect.no_guard) {
            let init = What::Init {
                identity: &self.shared.identity,
                frozen: Some(&suspect.reason),
            };
            let mut stamp = *stamp;
            stamp.0.freeze_id = suspect.freeze_id;
            runs.push(flush::call(&self.shared, link, *stripe, stamp, init).encode());
        }
        let inits = runs.len();
        let ops: Vec<Op> = suspects
            .values()
            .map(|suspect| {
                Op::Stripe(StripeOp::Freeze {
                    id: suspect.freeze_id,
                    reason: suspect.reason.clone(),
                })
            })
            .collect();
        let ops: Vec<[&Op; 1]> = ops.iter().map(|op| [op]).collect();
        let calls: Vec<Call<'_>> = suspects
            .keys()
            .zip(&ops)
            .map(|(stripe, ops)| flush::call(&self.shared, link, *stripe, *stamp, What::Ops(ops)))
            .collect();
        runs.extend(calls.iter().map(Call::encode));
        let flushed = link.run(runs, self.shared.acknowledge).await;
        let is_broken = flush::is_broken(&flushed);
        let mut fenced = Vec::new();
        let mut needs_script = false;
        for (call, answer) in calls.iter().zip(flushed.answers.iter().skip(inits)) {
            let ran = match answer {
                Ok(answer) => call.decode(answer),
                Err(fault) => {
                    needs_script |= *fault == Fault::NoScript;
                    continue;
                }
            };
            match ran {
                Ok(Ran::Ops { answers, .. })
                    if flushed.acknowledged.is_ok() && answers.iter().any(flush::says_frozen) =>
                {
                    self.shared.watched(call.stripe, |watched| {
                        watched.frozen = true;
                        watched.suspect = None;
                    });
                }
                Ok(Ran::Fenced(seen)) => fenced.push((call.stripe, seen)),
                Ok(Ran::NoGuard) => self.shared.watched(call.stripe, |watched| {
                    if let Some(suspect) = &mut watched.suspect {
                        suspect.no_guard = true;
                    }
                }),
                _ => {}
            }
        }
        if needs_script && link.load_script().await.is_err() || is_broken {
            self.hang_up("the connection broke");
        } else if !fenced.is_empty() {
            self.fenced.extend(fenced);
            self.link = None;
        }
    }

    /// ⚔ Compares what a guard says with what had been acknowledged to this server
    /// when it was asked.
    pub(super) fn judge(&self, stripe: StripeNo, memory: Memory, seen: &Seen) -> bool {
        match memory.judge(seen) {
            Ok(()) => true,
            Err(reason) => {
                self.shared.suspect(stripe, &reason, false);
                false
            }
        }
    }

    /// Of a stripe that is known to be frozen nothing more can be found out: by
    /// another freeze's name an operator could not release it.
    pub(super) fn judge_unless_frozen(&self, stripe: StripeNo, memory: Memory, seen: &Seen) {
        if !self.shared.watched(stripe, |watched| watched.frozen) {
            self.judge(stripe, memory, seen);
        }
    }
}
