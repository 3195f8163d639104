//! The task of one lane: keeps a connection to its master, flushes what queued
//! up, and draws its conclusions from the answers.

mod errands;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::fault::Fault;
use super::figures::Flushes;
use super::flush::{self, Part};
use super::lane::{Lane, Queued, refuse_overdue};
use super::link::{Link, read_clock};
use super::script::{Answer, Call, Garbled, News, Ran, Seen, What};
use super::shared::Shared;
use crate::ids::StripeNo;
use crate::machine::{Op, StripeOp};
use crate::rules::{Rule, holds};
use crate::store::Notice;
use crate::waiting::Waiting;

/// Longest rest between two flushes: what has to be done now and then is.
const REST: Duration = Duration::from_millis(100);
/// ⚔ How often a stripe is visited, used or not.
const VISIT_EVERY: Duration = Duration::from_millis(500);
/// Rest after an attempt to connect that failed.
const CONNECT_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// What became of a run: what it did, if its answer can be read, or why there is
/// none.
type Done = Result<Result<Ran, Garbled>, Fault>;

pub(super) struct Runner {
    shared: Arc<Shared>,
    lane: Arc<Lane>,
    link: Option<Link>,
    /// ⚔ Stripes that were found to be another incarnation's, and what their
    /// guards said: to be taken over on a connection made since.
    fenced: BTreeMap<StripeNo, Seen>,
    visited: Option<Instant>,
    flushes: Flushes,
}

impl Runner {
    pub(super) fn new(shared: Arc<Shared>, lane: Arc<Lane>, flushes: Flushes) -> Self {
        Self {
            shared,
            lane,
            link: None,
            fenced: BTreeMap::new(),
            visited: None,
            flushes,
        }
    }

    /// Serves until the lane is closed and empty.
    pub(super) async fn run(mut self) {
        while self.lane.wait(REST).await {
            if let Err(why) = self.be_connected().await {
                self.hang_up(&why);
                if self.lane.is_closed() {
                    return;
                }
                // New work is refused meanwhile, and none waits.
                self.lane.wait(CONNECT_AGAIN_AFTER).await;
                continue;
            }
            self.do_errands().await;
            self.queue_visits();
            self.flush_queue().await;
        }
    }

    /// Has a connection to the process that serves here now, and knows how it
    /// does.
    async fn be_connected(&mut self) -> Result<(), String> {
        // What waits need not be told: it goes over the next one.
        self.link.take_if(|link| link.is_over());
        if let Some(link) = &mut self.link {
            let before = link.survey.at;
            if let Err(fault) = link.keep_up().await
                && holds(Rule::ListsAreFresh)
            {
                return Err(fault.to_string());
            }
            if link.survey.at != before {
                self.note_survey();
            }
        }
        // Another one than it was: read on a new connection.
        self.link.take_if(|link| link.is_itself().is_err());
        if self.link.is_none() {
            let shared = &self.shared;
            let opened =
                Link::open(&shared.connector, &self.lane.endpoint, shared.acknowledge).await;
            let link = opened.map_err(|fault| fault.to_string())?;
            self.link = Some(link);
            self.note_survey();
        }
        match &self.link {
            Some(link) => link.is_itself()?,
            None => return Err("not connected".to_owned()),
        }
        if self.lane.is_down() {
            tracing::info!(master = %self.lane.endpoint, "connected");
            self.lane.come_up();
        }
        Ok(())
    }

    fn note_survey(&self) {
        let Some(link) = &self.link else { return };
        let survey = &link.survey;
        self.shared
            .note_sights(&self.lane.endpoint, survey.at, &survey.nodes, survey.clock);
        let full = survey.info.is_full();
        let mut health = self.lane.health();
        if full != health.full {
            tracing::warn!(master = %self.lane.endpoint, full, "the memory in use crossed 85% of maxmemory");
        }
        health.full = full;
        health.version.clone_from(&survey.info.version);
        health.used_bytes = survey.info.used_bytes;
        health.max_bytes = survey.info.max_bytes;
        health.required = survey.required;
    }

    /// Closes the connection; whoever waits is told.
    fn hang_up(&mut self, why: &str) {
        if !self.lane.is_down() {
            tracing::warn!(master = %self.lane.endpoint, why, "not connected");
        }
        self.link = None;
        self.lane.go_down(why);
        self.shared.look_again.notify_one();
    }

    fn is_mine(&self, stripe: StripeNo) -> bool {
        let routes = self.shared.routes();
        let lane = routes.lane(stripe);
        lane.is_some_and(|lane| Arc::ptr_eq(lane, &self.lane))
    }

    /// ⚔ Every stripe, used or not: an acknowledged write like any other, by
    /// which this server's memory keeps up with what others do.
    fn queue_visits(&mut self) {
        let now = read_clock();
        let is_due = self
            .visited
            .is_none_or(|at| now.duration_since(at) >= VISIT_EVERY);
        if !is_due || self.lane.is_closed() || !holds(Rule::StripesAreVisited) {
            return;
        }
        self.visited = Some(now);
        for stripe in StripeNo::all().filter(|stripe| self.is_mine(*stripe)) {
            let (answer, _nobody_waits) = oneshot::channel();
            self.lane.push(Waiting {
                stripe,
                op: Op::Stripe(StripeOp::Visit),
                deadline: None,
                answer,
            });
        }
    }

    async fn flush_queue(&mut self) {
        let mut queued = self.lane.take();
        refuse_overdue(&mut queued);
        let Some(link) = &self.link else {
            self.lane.put_back(queued);
            return;
        };
        let (mine, elsewhere): (Vec<_>, Vec<_>) = queued
            .into_iter()
            .partition(|one| self.is_mine(one.waiting.stripe));
        for one in elsewhere {
            self.shared.push(one.waiting);
        }
        let mine = self.refuse_suspects(mine);
        if mine.is_empty() {
            return;
        }
        let stamp = match flush::stamp(&self.shared, link) {
            Ok(stamp) => stamp,
            Err(error) => {
                for one in mine {
                    one.waiting.answer(Err(error.clone()));
                }
                return;
            }
        };
        let parts = flush::parts(&self.shared, mine);
        let begun = Flushes::begin();
        let ops: Vec<_> = parts.iter().map(Part::ops).collect();
        let calls: Vec<_> = parts
            .iter()
            .zip(&ops)
            .map(|(part, ops)| flush::call(&self.shared, link, part.stripe, stamp, What::Ops(ops)))
            .collect();
        let runs = calls.iter().map(Call::encode).collect();
        let flushed = link.run(runs, self.shared.acknowledge).await;
        let operations = ops.iter().map(Vec::len).sum();
        self.flushes.done(&begun, operations);
        let is_broken = flush::is_broken(&flushed);
        let ran: Vec<_> = calls
            .iter()
            .zip(flushed.answers)
            .map(|(call, answer)| answer.map(|answer| call.decode(&answer)))
            .collect();
        let done = parts.into_iter().zip(ran).collect();
        self.conclude(done, flushed.acknowledged, is_broken).await;
    }

    /// ⚔ What lost acknowledged work is not even asked.
    fn refuse_suspects(&self, queued: Vec<Queued>) -> Vec<Queued> {
        let suspects = self.shared.suspects(|_| true);
        if suspects.is_empty() {
            return queued;
        }
        let (refused, rest): (Vec<_>, Vec<_>) = queued
            .into_iter()
            .partition(|one| suspects.contains_key(&one.waiting.stripe));
        for one in refused {
            if let Some(suspect) = suspects.get(&one.waiting.stripe) {
                let error = flush::frozen(one.waiting.stripe, suspect);
                one.waiting.answer(Err(error));
            }
        }
        rest
    }

    /// Answers everybody, and notes what the answers tell.
    async fn conclude(
        &mut self,
        done: Vec<(Part, Done)>,
        acknowledged: Result<(), String>,
        is_broken: bool,
    ) {
        let mut back = Vec::new();
        let mut needs_script = false;
        let mut looks_again = false;
        let mut fenced = false;
        // Whether any stripe was served; `None`: all that was wrong is mended.
        let mut serves = None;
        for (part, ran) in done {
            let stripe = part.stripe;
            let ran = match ran {
                Ok(ran) => ran,
                Err(fault) => {
                    if fault == Fault::NoScript {
                        needs_script = true;
                    } else {
                        serves.get_or_insert(false);
                    }
                    looks_again |= fault.is_about_place();
                    if let Fault::WrongType(text) = &fault {
                        self.shared.suspect(stripe, text, false);
                    }
                    if fault.may_have_run() {
                        self.tell_of_the_unknown();
                    }
                    back.extend(flush::failed(part, fault, &self.lane.endpoint));
                    continue;
                }
            };
            match ran {
                Ok(Ran::Ops {
                    seen,
                    answers,
                    news,
                }) => {
                    serves = Some(true);
                    self.tell(&news);
                    self.answer(part, &seen, answers, &acknowledged);
                }
                Ok(Ran::Fenced(seen)) => {
                    fenced = true;
                    self.judge_unless_frozen(stripe, part.memory, &seen);
                    self.fenced.insert(stripe, seen);
                    back.extend(flush::not_done(
                        part,
                        "the stripe is being taken over for another incarnation of its master",
                    ));
                }
                Ok(Ran::NoGuard) if holds(Rule::MissingGuardIsALoss) => {
                    self.shared.suspect(stripe, "its guard is missing", true);
                    back.extend(flush::not_done(part, "its guard is missing"));
                }
                Ok(other) => flush::refuse(part, &flush::why_not(&other)),
                Err(garbled) => {
                    tracing::error!(%stripe, %garbled, "a defect: an answer that cannot be read");
                    self.tell_of_the_unknown();
                    flush::unknown(part, &garbled.to_string());
                }
            }
        }
        if !back.is_empty() {
            self.lane.put_back(back);
        }
        // A node that refuses everything still answers WAIT.
        if let Some(serves) = serves {
            self.lane.health().acknowledging = serves && acknowledged.is_ok() && !is_broken;
        }
        if is_broken {
            self.hang_up("the connection broke, or did not answer in time");
        } else if fenced && holds(Rule::FencedIsReadAnew) {
            // ⚔ What was read before somebody else took the stripe over may be
            // older than that: only what is read from now on is offered.
            self.link = None;
        } else if needs_script
            && let Some(link) = &self.link
            && let Err(fault) = link.load_script().await
        {
            self.hang_up(&fault.to_string());
        }
        if looks_again {
            self.shared.look_again.notify_one();
        }
    }

    /// Tells those who listen here what a run has made untrue, whatever the
    /// replicas say: it may have been done.
    fn tell(&self, news: &News) {
        self.shared.listeners.tell_own(&news.notices);
        let Some(sent) = &news.sent else { return };
        let mut health = self.lane.health();
        let was_mute = std::mem::replace(&mut health.mute, sent.clone().err());
        match (&was_mute, &health.mute) {
            (None, Some(why)) => tracing::warn!(
                master = %self.lane.endpoint, why,
                "cannot tell other servers what is on sale again, or was changed"
            ),
            (Some(_), None) => {
                tracing::info!(master = %self.lane.endpoint, "other servers are told again");
            }
            _ => {}
        }
    }

    /// What may have been done may have made anything untrue.
    fn tell_of_the_unknown(&self) {
        self.shared.listeners.tell_own([&Notice::Missed]);
    }

    /// Answers the operations of a run that was carried out.
    fn answer(
        &self,
        part: Part,
        seen: &Seen,
        answers: Vec<Answer>,
        acknowledged: &Result<(), String>,
    ) {
        let stripe = part.stripe;
        let told = flush::tells_frozen(&part, &answers);
        let frozen = told.unwrap_or_else(|| self.shared.watched(stripe, |watched| watched.frozen));
        // ⚔ What is frozen is not judged any more: an operator who looks at it, to
        // release it, is to be answered.
        let sound = frozen || self.judge(stripe, part.memory, seen);
        let is_mine = self.is_mine(stripe);
        self.shared.watched(stripe, |watched| {
            // Another lane knows better by now, where the stripe has moved on.
            if is_mine {
                watched.frozen = frozen;
            }
            if sound && !frozen && acknowledged.is_ok() {
                watched.memory.acknowledged(seen);
            }
        });
        let lost = Err("acknowledged work is missing from what it was done on".to_owned());
        let acknowledged = if sound { acknowledged } else { &lost };
        flush::answer(part, answers, acknowledged);
    }
}
