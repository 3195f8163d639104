//! Callers: each does one thing after the other, and writes down what it asked
//! and what it was told.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use client::Target;
use e2e::{Failure, Ids, Killer, Shop, instant, millis};
use proto::v1::{
    BatchReserveRequest, Reservation, ReservationKey, ReservationState, ReserveOutcome,
};
use tokio::sync::watch;
use tonic::{Response, Status};

use crate::log::{Adjustment, Hold, Log, Op, Sighting};

/// How many of the last requests of all callers are looked at by others: about
/// as many as are under way.
const RECENT_MAX: usize = 12;
/// The item of [`crowd`].
pub(crate) const CROWDED: &str = "crowded";
/// Reserves of one batch of [`crowd`].
const CROWD: usize = 256;
/// How many holds a caller keeps open; more are ended first.
const OPEN_MAX: usize = 20;

/// Requests that were sent lately, answered or not.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recent(Arc<Mutex<VecDeque<ReservationKey>>>);

impl Recent {
    fn note(&self, key: &ReservationKey) {
        let mut all = self.0.lock().unwrap();
        all.push_back(key.clone());
        if all.len() > RECENT_MAX {
            all.pop_front();
        }
    }

    fn any(&self, ids: &mut Ids) -> Option<ReservationKey> {
        let mut all = self.0.lock().unwrap();
        let all = all.make_contiguous();
        (!all.is_empty()).then(|| ids.one_of(all).clone())
    }
}

/// When to kill the server: counted in answers, over all callers.
#[derive(Clone, Debug)]
pub(crate) struct Moment {
    /// The answer that it comes with or after.
    pub at: u64,
    /// How many there have been.
    pub answers: watch::Sender<u64>,
    /// Kills with that very answer: if anything is answered before it is on
    /// disk, its commit is under way just then.
    pub killer: Option<Killer>,
}

impl Moment {
    fn answered(&self) {
        self.answers.send_modify(|count| *count += 1);
        let killer = self.killer.filter(|_| *self.answers.borrow() == self.at);
        if let Some(killer) = killer {
            killer.kill_9();
        }
    }
}

/// No answer came: nobody knows what was done.
#[derive(Debug)]
struct Unknown;

/// What a server said of a reservation.
enum Answer {
    /// It is so.
    Is(Reservation),
    /// Nothing was granted.
    Refused,
    /// It is too late: the hold has run out.
    RanOut,
}

fn answer<T>(
    result: Result<Response<T>, Status>,
    take: impl FnOnce(T) -> Option<Reservation>,
) -> Result<Answer, Unknown> {
    match result {
        Ok(reply) => Ok(take(reply.into_inner()).map_or(Answer::Refused, Answer::Is)),
        Err(status) => {
            let failure = Failure::from(&status);
            match failure.reasons.first().map(String::as_str) {
                None => Err(Unknown),
                Some("RESERVATION_EXPIRED") => Ok(Answer::RanOut),
                Some(_) => panic!("an error that nothing here explains: {failure:#?}"),
            }
        }
    }
}

/// Asks for an operation on a reservation.
async fn ask(shop: &Shop, hold: &Hold, op: Op) -> Result<Answer, Unknown> {
    // By key and by id, as it comes: the key is known before any answer.
    let target = if hold.quantity.is_multiple_of(2) && !hold.id.is_empty() {
        Target::Id(hold.id.clone())
    } else {
        Target::Key(hold.key.clone())
    };
    match op {
        Op::Reserve => answer(shop.reserve(&hold.key, hold.quantity).await, |reply| {
            let known = [ReserveOutcome::Reserved, ReserveOutcome::AlreadyEnded];
            reply
                .reservation
                .clone()
                .filter(|_| known.contains(&reply.outcome()))
        }),
        Op::Confirm => answer(shop.confirm(target).await, |reply| reply.reservation),
        Op::Cancel => answer(shop.cancel(target).await, |reply| reply.reservation),
        Op::Extend => answer(shop.extend(target, millis(400_000)).await, |reply| {
            reply.reservation
        }),
    }
}

/// Buys and buys, in large batches, until the server is gone. Nobody logs this;
/// it makes commits large, so that there is time to be killed before their end.
pub(crate) async fn crowd(shop: Shop, mut ids: Ids) {
    loop {
        let keys = (0..CROWD).map(|_| ids.key(CROWDED));
        let requests = keys.map(|key| Shop::request(&key, 1)).collect();
        let batch = BatchReserveRequest { requests };
        if shop.inventory().batch_reserve(batch).await.is_err() {
            return;
        }
    }
}

/// Whoever calls, and what they know.
#[derive(Debug)]
pub(crate) struct Caller {
    ids: Ids,
    pub log: Log,
}

impl Caller {
    pub(crate) fn new(ids: Ids) -> Self {
        Self {
            ids,
            log: Log::default(),
        }
    }

    /// Works until an answer does not come. Every answer is counted.
    pub(crate) async fn work(&mut self, shop: &Shop, moment: &Moment, recent: &Recent) {
        loop {
            let done = match self.ids.between(0..40) {
                0 => self.adjust(shop).await,
                1..13 => self.look(shop, recent).await,
                _ => self.buy_or_go_on(shop, recent).await,
            };
            if done.is_err() {
                return;
            }
            moment.answered();
        }
    }

    async fn buy_or_go_on(&mut self, shop: &Shop, recent: &Recent) -> Result<(), Unknown> {
        let held = |hold: &Hold| hold.state == ReservationState::Held && hold.asked.is_none();
        let open = (0..self.log.holds.len()).filter(|at| held(&self.log.holds[*at]));
        let open: Vec<_> = open.collect();
        if open.is_empty() || (open.len() < OPEN_MAX && self.ids.between(0..2) == 0) {
            let hold = self.new_hold();
            recent.note(&hold.key);
            self.log.holds.push(hold);
            return self
                .perform(shop, self.log.holds.len() - 1, Op::Reserve)
                .await;
        }
        let at = *self.ids.one_of(&open);
        let op = *self
            .ids
            .one_of(&[Op::Confirm, Op::Confirm, Op::Cancel, Op::Extend]);
        recent.note(&self.log.holds[at].key);
        self.perform(shop, at, op).await
    }

    fn new_hold(&mut self) -> Hold {
        let item = *self
            .ids
            .one_of(&["plenty", "scarce", "short", "at-once", "limited"]);
        let key = match item {
            // Few buyers, so that they meet their limit.
            "limited" => {
                let buyer = format!("buyer-{}", self.ids.between(0..50));
                self.ids.key_of(item, &buyer)
            }
            _ => self.ids.key(item),
        };
        Hold::new(key, u32::try_from(self.ids.between(1..4)).unwrap())
    }

    /// Does one operation and writes down what comes of it.
    async fn perform(&mut self, shop: &Shop, at: usize, op: Op) -> Result<(), Unknown> {
        self.log.holds[at].asked = Some(op);
        let answer = ask(shop, &self.log.holds[at], op).await?;
        let hold = &mut self.log.holds[at];
        hold.asked = None;
        match answer {
            Answer::Is(reservation) => {
                hold.state = reservation.state();
                hold.end = reservation
                    .expire_time
                    .as_ref()
                    .map(|end| instant(Some(end)));
                hold.id = reservation.reservation_id;
            }
            Answer::Refused => drop(self.log.holds.swap_remove(at)),
            Answer::RanOut => hold.state = ReservationState::Expired,
        }
        Ok(())
    }

    async fn adjust(&mut self, shop: &Shop) -> Result<(), Unknown> {
        let item = *self.ids.one_of(&["plenty", "scarce"]);
        let delta = *self.ids.one_of(&[5, 3, -1]);
        let change = Adjustment {
            item: item.into(),
            request: self.ids.request(),
            delta,
            applied: None,
        };
        self.log.adjustments.push(change);
        self.send_adjustment(shop, self.log.adjustments.len() - 1)
            .await
    }

    async fn send_adjustment(&mut self, shop: &Shop, at: usize) -> Result<(), Unknown> {
        let Adjustment {
            item,
            request,
            delta,
            ..
        } = &self.log.adjustments[at];
        match shop.adjust(item, *delta, request).await {
            Ok(reply) => {
                let applied = reply.into_inner().applied_delta.expect("what was done");
                self.log.adjustments[at].applied = Some(applied);
            }
            Err(status) => {
                let failure = Failure::from(&status);
                match failure.reasons.first().map(String::as_str) {
                    None => return Err(Unknown),
                    Some("NOT_ENOUGH_AVAILABLE") => {
                        self.log.adjustments.swap_remove(at);
                    }
                    Some(_) => panic!("an error that nothing here explains: {failure:#?}"),
                }
            }
        }
        Ok(())
    }

    /// Looks at somebody's reservation, which may be under way just now.
    async fn look(&mut self, shop: &Shop, recent: &Recent) -> Result<(), Unknown> {
        let Some(key) = recent.any(&mut self.ids) else {
            return Ok(());
        };
        match shop.reservation(Target::Key(key.clone())).await {
            Ok(reply) => {
                let state = reply
                    .into_inner()
                    .reservation
                    .expect("a reservation")
                    .state();
                self.log.sightings.push(Sighting { key, state });
            }
            Err(status) if Failure::from(&status).reasons.is_empty() => return Err(Unknown),
            // Not there yet, or refused.
            Err(_) => {}
        }
        Ok(())
    }

    /// Asks again, with the same ids, for all that was not answered.
    pub(crate) async fn settle(&mut self, shop: &Shop) {
        // From the end: what turns out to be refused is taken out.
        for at in (0..self.log.holds.len()).rev() {
            if let Some(op) = self.log.holds[at].asked {
                self.perform(shop, at, op).await.expect("an answer");
            }
        }
        for at in (0..self.log.adjustments.len()).rev() {
            if self.log.adjustments[at].applied.is_none() {
                self.send_adjustment(shop, at).await.expect("an answer");
            }
        }
    }

    /// Holds two units of an item.
    pub(crate) async fn hold_one(&mut self, shop: &Shop, item: &str) -> Hold {
        let key = self.ids.key(item);
        self.log.holds.push(Hold::new(key, 2));
        let at = self.log.holds.len() - 1;
        self.perform(shop, at, Op::Reserve)
            .await
            .expect("an answer");
        self.log.holds[at].clone()
    }
}
