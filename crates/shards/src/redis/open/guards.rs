//! The guards of a store: who it is by them, and making them for a new one.

use std::collections::BTreeMap;

use super::{Failed, Reached};
use crate::hash::FingerprintKey;
use crate::ids::{STRIPES, StripeNo};
use crate::machine::{Stamp, StoreIdentity};
use crate::redis::checks;
use crate::redis::error::OpenError;
use crate::redis::fault::Fault;
use crate::redis::keys;
use crate::redis::link::Link;
use crate::redis::options::{Acknowledge, Options};
use crate::redis::script::{Call, Incarnation, Ran, What};
use crate::rules::{Rule, holds};
use crate::time::Millis;

/// What making a guard counts as.
const FRESH_SEQ: u64 = 1;

/// What was found of a store's guards.
struct Guards {
    found: BTreeMap<StripeNo, Found>,
    /// Stripes that have none.
    missing: Vec<StripeNo>,
    /// Why some could not be read.
    unread: Option<String>,
}

impl Guards {
    /// Whether somebody has worked with the store.
    fn are_used(&self) -> bool {
        self.found.values().any(|guard| guard.used)
    }
}

/// A guard as it was found.
struct Found {
    identity: StoreIdentity,
    used: bool,
}

impl Reached {
    /// Who the store is, by its guards; of a new one, what it is made to be. And
    /// the stripes whose guards are missing.
    pub(super) async fn identity(
        &mut self,
        options: &Options,
        acknowledge: Acknowledge,
        waits_for_all: bool,
    ) -> Result<(StoreIdentity, Vec<StripeNo>), Failed> {
        let Guards {
            found,
            missing,
            unread,
        } = self.read_all(waits_for_all).await?;
        let address = || options.address.to_string();
        let Some(first) = found.values().next().map(|guard| guard.identity) else {
            if let Some(why) = unread {
                let cause = format!("a part of it knows no store, the rest does not answer: {why}");
                return Err(Failed::Unready(cause));
            }
            if !options.init {
                return Err(OpenError::NoStore { address: address() }.into());
            }
            let identity = self.make(acknowledge, None).await?;
            return Ok((identity, Vec::new()));
        };
        if let Some((stripe, _)) = found.iter().find(|(_, guard)| guard.identity != first) {
            return Err(Failed::ForGood(OpenError::Unusable(format!(
                "stripe {stripe} belongs to another store than the others"
            ))));
        }
        // Nothing was ever done with it: somebody is making it, or was stopped.
        let fresh = found.values().all(|guard| !guard.used);
        if !missing.is_empty() && fresh && holds(Rule::MissingGuardIsALoss) {
            if !options.init {
                return Err(OpenError::HalfMade { address: address() }.into());
            }
            if let Some(why) = unread {
                let cause = format!("it cannot be completely made: {why}");
                return Err(Failed::Unready(cause));
            }
            let identity = self.make(acknowledge, Some(first)).await?;
            return Ok((identity, Vec::new()));
        }
        Ok((first, missing))
    }

    /// All guards, and the stripes that have none. ⚔ Who makes a store writes
    /// every guard before it uses any: one that is still missing when it is read
    /// after another one was seen used is lost, and not about to be written.
    async fn read_all(&self, waits_for_all: bool) -> Result<Guards, Failed> {
        let mut guards = Guards {
            found: BTreeMap::new(),
            missing: StripeNo::all().collect(),
            unread: self.cause.clone(),
        };
        loop {
            let was_used = guards.are_used();
            let mut still = Vec::new();
            for stripe in std::mem::take(&mut guards.missing) {
                let Some(link) = self.link(stripe) else {
                    continue;
                };
                match self.read(link, stripe).await {
                    Ok(Some(guard)) => {
                        guards.found.insert(stripe, guard);
                    }
                    Ok(None) => still.push(stripe),
                    // As one whose master is away: perhaps its slot is on its way.
                    Err(Failed::Unready(why) | Failed::Unreached(why)) => {
                        if waits_for_all {
                            return Err(Failed::Unready(why));
                        }
                        guards.unread = Some(why);
                    }
                    Err(failed) => return Err(failed),
                }
            }
            guards.missing = still;
            if guards.missing.is_empty() || was_used == guards.are_used() {
                return Ok(guards);
            }
        }
    }

    fn link(&self, stripe: StripeNo) -> Option<&Link> {
        let owner = self.owners.get(usize::from(stripe.0))?.as_ref()?;
        self.links.get(owner)
    }

    /// Writes all guards. ⚔ The first stripe's decides who the store is: of two
    /// servers that make one at once both go by it. What is there of one that
    /// was half made decides likewise.
    async fn make(
        &mut self,
        acknowledge: Acknowledge,
        begun: Option<StoreIdentity>,
    ) -> Result<StoreIdentity, Failed> {
        let mut identity = begun.unwrap_or_else(|| StoreIdentity {
            store_id: rand::random(),
            stripes: STRIPES,
            fingerprint_key: FingerprintKey(rand::random()),
        });
        tracing::info!("making a new store");
        for stripe in StripeNo::all() {
            self.make_guard(stripe, &identity, acknowledge).await?;
            let Some(link) = self.link(stripe) else {
                continue;
            };
            if stripe.0 == 0
                && let Some(there) = self.read(link, stripe).await?
            {
                identity = there.identity;
            }
        }
        Ok(identity)
    }

    /// Writes one guard, or leaves the one that is there.
    async fn make_guard(
        &mut self,
        stripe: StripeNo,
        identity: &StoreIdentity,
        acknowledge: Acknowledge,
    ) -> Result<(), Failed> {
        let owner = self.owners.get(usize::from(stripe.0));
        let link = owner.and_then(|owner| self.links.get_mut(owner.as_ref()?));
        let Some(link) = link else { return Ok(()) };
        // ⚔ By a list that is old nothing is acknowledged, and so many stripes
        // take a while.
        let kept_up = link.keep_up().await;
        let init = What::Init {
            identity,
            frozen: None,
        };
        let call = call(link, stripe, identity.store_id, init);
        let flushed = link.run(vec![call.encode()], acknowledge).await;
        let ran = match flushed.answers.into_iter().next() {
            Some(answer) => answer.map(|answer| call.decode(&answer)),
            None => Err(Fault::Unknown("no answer".to_owned())),
        };
        let fault = match ran {
            Ok(Ok(Ran::Taken(_))) => flushed.acknowledged.err().map(Fault::Unknown),
            // Another server's first stripe is told from another store by what
            // all others have to be.
            Ok(Ok(Ran::Foreign { .. })) if stripe.0 == 0 => None,
            Ok(Ok(Ran::Foreign { .. })) => {
                return Err(Failed::ForGood(OpenError::Unusable(format!(
                    "stripe {stripe} belongs to another store than the others"
                ))));
            }
            Ok(Ok(other)) => Some(Fault::Unknown(format!("{other:?}"))),
            Ok(Err(garbled)) => Some(Fault::Unknown(garbled.to_string())),
            Err(fault) => Some(kept_up.err().unwrap_or(fault)),
        };
        match fault {
            None => Ok(()),
            Some(fault) => Err(match checks::refused(&link.endpoint, &fault) {
                Some(what) => Failed::ForGood(OpenError::Unusable(what)),
                None => Failed::Unready(format!(
                    "{}: stripe {stripe} could not be made: {fault}",
                    link.endpoint
                )),
            }),
        }
    }

    async fn read(&self, link: &Link, stripe: StripeNo) -> Result<Option<Found>, Failed> {
        let call = call(link, stripe, [0; 16], What::Read);
        let flushed = link.run(vec![call.encode()], Acknowledge::Local).await;
        let about = |why: String| {
            format!(
                "{}, key holdfast:{{{}}}:guard: {why}",
                link.endpoint,
                keys::tag(stripe)
            )
        };
        let unusable = |why| Failed::ForGood(OpenError::Unusable(about(why)));
        let answer = match flushed.answers.into_iter().next() {
            Some(Ok(answer)) => answer,
            // No guard is what this is.
            Some(Err(Fault::WrongType(_))) => return Ok(None),
            Some(Err(fault)) => {
                return Err(match checks::refused(&link.endpoint, &fault) {
                    Some(what) => Failed::ForGood(OpenError::Unusable(what)),
                    None => Failed::Unready(about(fault.to_string())),
                });
            }
            None => return Err(Failed::Unready(about("no answer".to_owned()))),
        };
        match call.decode(&answer) {
            Ok(Ran::Guard { identity, seen, .. }) => Ok(Some(Found {
                identity,
                used: seen.seq > FRESH_SEQ,
            })),
            Ok(Ran::NoGuard) => Ok(None),
            Ok(other) => Err(unusable(format!("{other:?}"))),
            Err(garbled) => Err(unusable(format!(
                "{garbled}; perhaps a newer version of Holdfast wrote it"
            ))),
        }
    }
}

fn call<'a>(link: &Link, stripe: StripeNo, store_id: [u8; 16], what: What<'a>) -> Call<'a> {
    let incarnation: Incarnation = link.incarnation;
    Call {
        stripe,
        store_id,
        incarnation,
        known: 0,
        known_releases: 0,
        stamp: Stamp {
            // The master's own time, so that no clock can be wrong about it.
            now: Millis(link.survey.clock.says.0),
            full: false,
            freeze_id: rand::random(),
        },
        skew_max_ms: u64::from(u32::MAX),
        what,
    }
}
