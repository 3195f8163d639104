//! What callers were answered, counted.

use std::collections::BTreeMap;
use std::time::Duration;

use client::{ErrorKind, Wish};
use hdrhistogram::Histogram;
use proto::v1::{ReserveOutcome, ReserveResponse};
use serde::Serialize;

use super::judge::{Answer, Case, Pair, Units, Verdict, Wrong, judge};

/// Longest latency that the histogram tells apart, in microseconds.
const LATENCY_MAX_US: u64 = 60_000_000;

/// What became of requests that were sent twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Duplicates {
    pub(super) sent: u64,
    pub(super) equal: u64,
    pub(super) refused_twice: u64,
    pub(super) one_refused: u64,
    pub(super) undecided: u64,
}

/// Answers that must not be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Mismatches {
    pub(super) granted_twice: u64,
    pub(super) unequal_replays: u64,
    pub(super) replays_refused: u64,
    pub(super) false_replays: u64,
    pub(super) wrong_answers: u64,
}

impl Mismatches {
    /// Each kind, and how often it was seen.
    pub(super) fn each(self) -> [(&'static str, u64); 5] {
        [
            ("requests were granted twice", self.granted_twice),
            (
                "requests were granted once and told so in two ways",
                self.unequal_replays,
            ),
            (
                "requests were granted, and refused when sent again",
                self.replays_refused,
            ),
            (
                "requests were answered as known that were never sent before",
                self.false_replays,
            ),
            (
                "requests were answered with something else than they asked for",
                self.wrong_answers,
            ),
        ]
    }
}

/// Sums of what was answered.
#[derive(Debug)]
pub(super) struct Tally {
    /// Messages that carried Reserves.
    pub(super) calls: u64,
    /// Answers by outcome; what is granted and what is replayed are apart.
    pub(super) outcomes: BTreeMap<&'static str, u64>,
    /// Refusals from a server's memory.
    pub(super) from_cache: u64,
    /// Reserves without a decision, by reason.
    pub(super) errors: BTreeMap<String, u64>,
    /// Latencies of calls that were answered, in microseconds.
    latencies_us: Histogram<u64>,
    pub(super) duplicates: Duplicates,

    // These are of the warm-up too.
    /// Units that callers were granted, each request once.
    pub(super) units_granted: u64,
    /// Units that callers may have been granted.
    pub(super) units_unknown: u64,
    pub(super) mismatches: Mismatches,
}

/// The key of what is granted.
pub(super) const GRANTED: &str = "granted";
/// The key of what had been granted before.
pub(super) const REPLAYED: &str = "replayed";

impl Tally {
    pub(super) fn new() -> Option<Self> {
        Some(Self {
            calls: 0,
            outcomes: BTreeMap::new(),
            from_cache: 0,
            errors: BTreeMap::new(),
            latencies_us: Histogram::new_with_max(LATENCY_MAX_US, 3).ok()?,
            duplicates: Duplicates::default(),
            units_granted: 0,
            units_unknown: 0,
            mismatches: Mismatches::default(),
        })
    }

    /// A call ended.
    pub(super) fn call(&mut self, took: Duration, answers: &[Answer]) {
        self.calls += 1;
        // What was not answered says nothing of how long answers take.
        if answers.iter().any(Result::is_ok) {
            let us = u64::try_from(took.as_micros()).unwrap_or(LATENCY_MAX_US);
            self.latencies_us.saturating_record(us);
        }
        for answer in answers {
            match answer {
                Ok(reply) => {
                    *self.outcomes.entry(outcome(reply)).or_default() += 1;
                    self.from_cache += u64::from(reply.from_cache);
                }
                Err(error) => {
                    let why = match (error.reason(), error.kind()) {
                        (Some(reason), _) => reason,
                        (None, ErrorKind::Unreachable) => "UNREACHABLE",
                        (None, _) => error.code_name(),
                    };
                    *self.errors.entry(why.to_owned()).or_default() += 1;
                }
            }
        }
    }

    /// A request was answered, once or twice. `counted` where it is part of the
    /// figures, and not of the warm-up.
    pub(super) fn judge(&mut self, case: Case<'_>, counted: bool) {
        let Verdict { units, pair, wrong } = judge(case);
        let Wish { quantity, .. } = case.wish;
        let quantity = u64::from(*quantity);
        match units {
            Units::Granted => self.units_granted += quantity,
            Units::Unknown => self.units_unknown += quantity,
            Units::None => {}
        }
        if let (Some(pair), true) = (pair, counted) {
            let all = &mut self.duplicates;
            all.sent += 1;
            match pair {
                Pair::Equal => all.equal += 1,
                Pair::RefusedTwice => all.refused_twice += 1,
                Pair::OneRefused => all.one_refused += 1,
                Pair::Undecided => all.undecided += 1,
                Pair::Wrong => {}
            }
        }
        let all = &mut self.mismatches;
        match wrong {
            Some(Wrong::GrantedTwice) => all.granted_twice += 1,
            Some(Wrong::UnequalReplay) => all.unequal_replays += 1,
            Some(Wrong::ReplayRefused) => all.replays_refused += 1,
            Some(Wrong::FalseReplay) => all.false_replays += 1,
            Some(Wrong::NotAskedFor) => all.wrong_answers += 1,
            None => {}
        }
    }

    /// What this one and another one counted.
    pub(super) fn merge(&mut self, other: &Self) {
        self.calls += other.calls;
        for (outcome, n) in &other.outcomes {
            *self.outcomes.entry(outcome).or_default() += n;
        }
        self.from_cache += other.from_cache;
        for (reason, n) in &other.errors {
            *self.errors.entry(reason.clone()).or_default() += n;
        }
        // Histograms of one shape always add up.
        self.latencies_us.add(&other.latencies_us).ok();
        let (all, more) = (&mut self.duplicates, &other.duplicates);
        all.sent += more.sent;
        all.equal += more.equal;
        all.refused_twice += more.refused_twice;
        all.one_refused += more.one_refused;
        all.undecided += more.undecided;
        self.units_granted += other.units_granted;
        self.units_unknown += other.units_unknown;
        let (all, more) = (&mut self.mismatches, &other.mismatches);
        all.granted_twice += more.granted_twice;
        all.unequal_replays += more.unequal_replays;
        all.replays_refused += more.replays_refused;
        all.false_replays += more.false_replays;
        all.wrong_answers += more.wrong_answers;
    }

    pub(super) fn granted(&self) -> u64 {
        self.outcomes.get(GRANTED).copied().unwrap_or_default()
    }

    /// Reserves that were decided.
    pub(super) fn decided(&self) -> u64 {
        self.outcomes.values().sum()
    }

    /// Reserves that were not.
    pub(super) fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Latencies; `None` if nothing was answered.
    pub(super) fn latency_us(&self) -> Option<Latency> {
        let at = |quantile| self.latencies_us.value_at_quantile(quantile);
        (!self.latencies_us.is_empty()).then(|| Latency {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: self.latencies_us.max(),
        })
    }
}

/// The latencies that these shares of the calls stayed below, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Latency {
    pub(super) p50: u64,
    pub(super) p90: u64,
    pub(super) p99: u64,
    pub(super) p999: u64,
    pub(super) max: u64,
}

/// What an answer counts as.
pub(super) fn outcome(reply: &ReserveResponse) -> &'static str {
    match reply.outcome() {
        ReserveOutcome::Reserved if reply.replayed => REPLAYED,
        ReserveOutcome::Reserved => GRANTED,
        ReserveOutcome::SoldOut => "sold_out",
        ReserveOutcome::NotEnough => "not_enough",
        ReserveOutcome::BuyerLimitReached => "buyer_limit_reached",
        ReserveOutcome::SaleNotStarted => "sale_not_started",
        ReserveOutcome::SaleEnded => "sale_ended",
        ReserveOutcome::SalePaused => "sale_paused",
        ReserveOutcome::AlreadyEnded => "already_ended",
        ReserveOutcome::Unspecified => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use client::Ids;
    use proto::v1::{ExplainReserveResponse, ReservationKey};

    use super::*;

    fn reply(outcome: ReserveOutcome) -> ReserveResponse {
        ReserveResponse {
            outcome: outcome.into(),
            ..ReserveResponse::default()
        }
    }

    fn unavailable() -> Answer {
        let mut entry = ExplainReserveResponse::default();
        entry.error.get_or_insert_default().code = client::Code::Unavailable as i32;
        Err(client::Error::of_entry(&entry.error.unwrap()))
    }

    #[test]
    fn percentiles_of_a_known_spread() {
        let mut tally = Tally::new().unwrap();
        assert_eq!(tally.latency_us(), None);
        let answer = [Ok(reply(ReserveOutcome::SoldOut))];
        for us in 1..=1_000 {
            tally.call(Duration::from_micros(us), &answer);
        }
        let expected = Latency {
            p50: 500,
            p90: 900,
            p99: 990,
            p999: 999,
            max: 1_000,
        };
        assert_eq!(tally.latency_us(), Some(expected));
        tally.call(Duration::from_mins(10), &answer);
        let max = tally.latency_us().unwrap().max;
        assert!(max >= 59_000_000, "{max}: the longest that is told apart");
    }

    #[test]
    fn counts_add_up_over_threads() {
        let one = || {
            let mut tally = Tally::new().unwrap();
            let mut replay = reply(ReserveOutcome::Reserved);
            replay.replayed = true;
            let mut quick = reply(ReserveOutcome::SoldOut);
            quick.from_cache = true;
            let answers = [
                Ok(reply(ReserveOutcome::Reserved)),
                Ok(replay),
                Ok(quick),
                unavailable(),
                unavailable(),
            ];
            tally.call(Duration::from_micros(7), &answers);
            tally
        };
        let mut all = one();
        all.merge(&one());
        assert_eq!((all.calls, all.decided(), all.failed()), (2, 6, 4));
        assert_eq!((all.granted(), all.from_cache), (2, 2));
        let outcomes = [(GRANTED, 2), (REPLAYED, 2), ("sold_out", 2)];
        assert_eq!(all.outcomes, outcomes.into());
        assert_eq!(all.errors, [("UNAVAILABLE".to_owned(), 4)].into());
        assert_eq!(all.latency_us().unwrap().max, 7);
    }

    #[test]
    fn calls_without_an_answer_have_no_latency() {
        let mut tally = Tally::new().unwrap();
        tally.call(Duration::from_secs(10), &[unavailable()]);
        assert_eq!((tally.calls, tally.latency_us()), (1, None));
    }

    #[test]
    fn the_warm_up_is_judged_and_not_counted() {
        let wish = Wish {
            key: ReservationKey::default(),
            quantity: 3,
            ids: Ids::MaybeSent,
        };
        let first = Ok(reply(ReserveOutcome::SoldOut));
        let lost = unavailable();
        let case = Case {
            wish: &wish,
            first: &first,
            second: Some(&lost),
            at_once: true,
        };
        let mut tally = Tally::new().unwrap();
        tally.judge(case, false);
        assert_eq!((tally.duplicates.sent, tally.units_unknown), (0, 3));
        tally.judge(case, true);
        assert_eq!((tally.duplicates.sent, tally.duplicates.undecided), (1, 1));
        assert_eq!(tally.units_unknown, 6);
    }
}
