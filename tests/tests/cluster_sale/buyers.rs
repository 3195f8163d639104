//! Callers: each buys one unit after the other until all are sold, and writes
//! down what it was told.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use client::{Client, Error, Ids as Known, Target};
use e2e::Ids;
use proto::v1::{
    CancelRequest, ConfirmRequest, Reservation, ReservationKey, ReservationState, ReserveOutcome,
    ReserveResponse,
};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::ITEM;

/// How many of a hundred do what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Habits {
    /// Send a request to both servers at the same time.
    pub duplicates: u64,
    /// Give back what they hold.
    pub cancels: u64,
    /// Neither pay nor give back.
    pub leaves: u64,
}

/// How far the sale is.
#[derive(Debug)]
pub(crate) struct Progress {
    sold: watch::Sender<u64>,
    grants: Mutex<Grants>,
}

/// When grants came.
#[derive(Clone, Copy, Debug)]
struct Grants {
    last: Instant,
    longest_pause: Duration,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            sold: watch::Sender::new(0),
            grants: Mutex::new(Grants {
                last: Instant::now(),
                longest_pause: Duration::ZERO,
            }),
        }
    }
}

impl Progress {
    /// Waits until so many units are sold.
    pub(crate) async fn sold(&self, units: u64) {
        let mut sold = self.sold.subscribe();
        let reached = sold.wait_for(|sold| *sold >= units).await;
        drop(reached.expect("its sender is here"));
    }

    /// The longest time in which nobody was granted anything.
    pub(crate) fn longest_pause(&self) -> Duration {
        self.grants().longest_pause
    }

    fn granted(&self) {
        let (now, mut grants) = (Instant::now(), self.grants());
        grants.longest_pause = grants.longest_pause.max(now.duration_since(grants.last));
        grants.last = now;
    }

    fn grants(&self) -> std::sync::MutexGuard<'_, Grants> {
        self.grants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What became of a grant, as its buyer was told.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    pub key: ReservationKey,
    pub id: String,
    pub state: ReservationState,
}

/// What buyers were told.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub grants: Vec<Grant>,
    /// Requests sent to both servers of which one at least was granted.
    pub duplicates: u64,
    /// Of those, the ones of which both answers were replays: the attempt that
    /// was granted was not answered.
    pub duplicates_without_a_first: u64,
    refusals: u64,
    /// Holds that had run out when their grant was answered.
    run_out: u64,
    latencies: Vec<Duration>,
}

impl Log {
    pub(crate) fn add(&mut self, mut other: Self) {
        self.grants.append(&mut other.grants);
        self.duplicates += other.duplicates;
        self.duplicates_without_a_first += other.duplicates_without_a_first;
        self.refusals += other.refusals;
        self.run_out += other.run_out;
        self.latencies.append(&mut other.latencies);
    }

    pub(crate) fn count(&self, state: ReservationState) -> u64 {
        let all = self.grants.iter().filter(|grant| grant.state == state);
        u64::try_from(all.count()).expect("not so many")
    }

    /// In a line, for people.
    pub(crate) fn summary(&self) -> String {
        let mut latencies = self.latencies.clone();
        latencies.sort_unstable();
        let at = |percent: usize| latencies[(latencies.len() - 1) * percent / 100];
        format!(
            "{} grants ({} sold, {} cancelled, {} left to expire, {} lost in time), {} \
             that ran out unanswered, {} ids sent to both servers and granted, {} refusals; a Reserve took {:.1?} at the median, {:.1?} at \
             p99, {:.1?} at most",
            self.grants.len(),
            self.count(ReservationState::Confirmed),
            self.count(ReservationState::Cancelled),
            self.count(ReservationState::Expired),
            self.count(ReservationState::Lost),
            self.run_out,
            self.duplicates,
            self.refusals,
            at(50),
            at(99),
            at(100)
        )
    }
}

/// Whoever calls.
pub(crate) struct Buyer {
    /// The first is asked unless both are.
    servers: [Client; 2],
    ids: Ids,
    habits: Habits,
    progress: Arc<Progress>,
    log: Log,
}

/// What does not depend on when one asks.
fn lasting(reply: &ReserveResponse) -> Reservation {
    Reservation {
        remaining: None,
        ..reply.reservation.clone().expect("a reservation")
    }
}

#[track_caller]
fn answered<T>(result: Result<T, Error>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}

impl Buyer {
    pub(crate) fn new(
        servers: [Client; 2],
        ids: Ids,
        habits: Habits,
        progress: Arc<Progress>,
    ) -> Self {
        Self {
            servers,
            ids,
            habits,
            progress,
            log: Log::default(),
        }
    }

    /// Goes on until all units are sold.
    pub(crate) async fn buy(mut self) -> Log {
        loop {
            let key = self.ids.key(ITEM);
            let answer = if self.ids.between(0..100) < self.habits.duplicates {
                self.ask_both(&key).await
            } else {
                self.ask(0, &key, Known::NeverSent).await
            };
            match answer.outcome() {
                ReserveOutcome::Reserved => self.go_on(key, lasting(&answer)).await,
                ReserveOutcome::SoldOut => {
                    self.log.refusals += 1;
                    // Not from memory, which may not know what came back.
                    if answer.held_units == Some(0) && !answer.from_cache {
                        return self.log;
                    }
                    tokio::task::yield_now().await;
                }
                // Granted by an attempt that was not answered, and run out since.
                ReserveOutcome::AlreadyEnded => self.log.run_out += 1,
                other => panic!("{other:?}: {answer:?}"),
            }
        }
    }

    async fn ask(&mut self, server: usize, key: &ReservationKey, ids: Known) -> ReserveResponse {
        let sent = Instant::now();
        let answer = answered(self.servers[server].reserve(key, 1, ids).await);
        self.log.latencies.push(sent.elapsed());
        if answer.outcome() == ReserveOutcome::Reserved {
            self.progress.granted();
        }
        answer
    }

    /// The same request at the same time to both: one grant at most, and equal
    /// answers where there is one.
    async fn ask_both(&mut self, key: &ReservationKey) -> ReserveResponse {
        let [one, other] = &self.servers;
        let (one, other) = tokio::join!(
            one.reserve(key, 1, Known::MaybeSent),
            other.reserve(key, 1, Known::MaybeSent)
        );
        let (mut one, mut other) = (answered(one), answered(other));
        let is_granted = |answer: &ReserveResponse| answer.outcome() == ReserveOutcome::Reserved;
        if !is_granted(&one) && !is_granted(&other) {
            return one;
        }
        // One may have been refused before something came back.
        for (server, answer) in [(0, &mut one), (1, &mut other)] {
            if answer.reservation.is_none() {
                *answer = self.ask(server, key, Known::MaybeSent).await;
                assert!(answer.replayed, "granted twice: {answer:?}");
            }
        }
        if is_granted(&one) && is_granted(&other) {
            assert_eq!(lasting(&one), lasting(&other));
        } else {
            // One was answered at once, the other when the hold had run out.
            assert_eq!(lasting(&one).reservation_id, lasting(&other).reservation_id);
            if is_granted(&other) {
                std::mem::swap(&mut one, &mut other);
            }
        }
        assert!(one.replayed || other.replayed, "{one:?}, {other:?}");
        self.progress.granted();
        self.log.duplicates += 1;
        self.log.duplicates_without_a_first += u64::from(one.replayed && other.replayed);
        one
    }

    /// Pays, gives back, or leaves.
    async fn go_on(&mut self, key: ReservationKey, granted: Reservation) {
        let target = || Target::Id(granted.reservation_id.clone());
        let whim = self.ids.between(0..100);
        let server = &self.servers[usize::from(self.ids.between(0..2) == 1)];
        let state = if whim < self.habits.cancels {
            let cancel = CancelRequest {
                target: Some(target().into()),
            };
            let reply = answered(server.cancel(cancel).await);
            reply.reservation.expect("a reservation").state()
        } else if whim < self.habits.cancels + self.habits.leaves {
            ReservationState::Expired
        } else {
            let confirm = ConfirmRequest {
                target: Some(target().into()),
                reacquire: true,
            };
            match server.confirm(confirm).await {
                Ok(reply) => {
                    self.progress.sold.send_modify(|sold| *sold += 1);
                    reply.reservation.expect("a reservation").state()
                }
                Err(error) if error.reason() == Some("RESERVATION_LOST") => ReservationState::Lost,
                Err(error) => panic!("{error}"),
            }
        };
        self.log.grants.push(Grant {
            key,
            id: granted.reservation_id,
            state,
        });
    }
}
