//! What the callers were told: the demo's own evidence, kept apart from what
//! the server says of itself afterwards.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use proto::v1::ReserveOutcome;

/// Longest latency that the histogram tells apart, in microseconds.
const LATENCY_MAX_US: u64 = 60_000_000;

/// How a reservation ended, as its caller was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Granted, and not heard of since.
    Granted,
    /// Confirmed.
    Confirmed,
    /// Cancelled.
    Cancelled,
    /// The Confirm came too late.
    Expired,
}

/// A reservation that a caller was told of.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub buyer: String,
    pub quantity: u32,
    pub told: Told,
    /// Answers that called it new. More than one would be two grants.
    pub fresh_grants: u32,
}

/// Everything that callers were told, and how long it took.
#[derive(Debug)]
pub(super) struct Log {
    /// By reservation id.
    pub reservations: BTreeMap<String, Known>,
    /// The reservation that each request was told, by its ids.
    by_request: BTreeMap<(String, String), String>,
    /// Equal requests that were told different reservations.
    pub split_requests: u64,
    /// Answers that said `replayed`.
    pub replayed: u64,
    /// Answers of Reserve that were a no.
    pub refused: BTreeMap<&'static str, u64>,
    /// Buyers who left with nothing, though they wanted units to the end.
    pub unserved: u64,
    /// Calls that ended without an answer, in the callers' words.
    pub undecided: Vec<String>,
    /// Latencies of Reserve in microseconds, retries included.
    latencies_us: Histogram<u64>,
}

impl Log {
    pub(super) fn new() -> Option<Self> {
        Some(Self {
            reservations: BTreeMap::new(),
            by_request: BTreeMap::new(),
            split_requests: 0,
            replayed: 0,
            refused: BTreeMap::new(),
            unserved: 0,
            undecided: Vec::new(),
            latencies_us: Histogram::new_with_max(LATENCY_MAX_US, 3).ok()?,
        })
    }

    /// A Reserve was answered, whatever the answer.
    pub(super) fn took(&mut self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(LATENCY_MAX_US);
        self.latencies_us.saturating_record(us);
    }

    /// A Reserve was granted.
    pub(super) fn granted(
        &mut self,
        request: (&str, &str),
        id: &str,
        quantity: u32,
        replayed: bool,
    ) {
        let (buyer, request_id) = (request.0.to_owned(), request.1.to_owned());
        let first = self
            .by_request
            .entry((buyer.clone(), request_id))
            .or_insert_with(|| id.to_owned());
        self.split_requests += u64::from(first != id);
        self.replayed += u64::from(replayed);
        let fresh = Known {
            buyer,
            quantity,
            told: Told::Granted,
            fresh_grants: 0,
        };
        let known = self.reservations.entry(id.to_owned()).or_insert(fresh);
        known.fresh_grants += u32::from(!replayed);
    }

    /// A Reserve was refused.
    pub(super) fn refused(&mut self, outcome: ReserveOutcome) {
        *self.refused.entry(say(outcome)).or_default() += 1;
    }

    /// What became of a reservation.
    pub(super) fn told(&mut self, id: &str, told: Told) {
        if let Some(known) = self.reservations.get_mut(id) {
            known.told = told;
        }
    }

    /// Units of the reservations that ended this way.
    pub(super) fn units(&self, told: Told) -> u64 {
        let all = self
            .reservations
            .values()
            .filter(|known| known.told == told);
        all.map(|known| u64::from(known.quantity)).sum()
    }

    pub(super) fn refusals(&self) -> u64 {
        self.refused.values().sum()
    }

    /// The latency that this share of Reserves stayed below.
    pub(super) fn latency(&self, quantile: f64) -> Duration {
        Duration::from_micros(self.latencies_us.value_at_quantile(quantile))
    }
}

fn say(outcome: ReserveOutcome) -> &'static str {
    match outcome {
        ReserveOutcome::SoldOut => "sold out",
        ReserveOutcome::NotEnough => "not enough",
        ReserveOutcome::BuyerLimitReached => "over the limit",
        ReserveOutcome::AlreadyEnded => "ids already ended",
        _ => "other",
    }
}
