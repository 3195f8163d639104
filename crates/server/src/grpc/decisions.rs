//! What Reserve decided, counted: an entry of a batch or a stream counts like a
//! call of its own, so that operators see what is sold and what is refused.

use std::sync::Arc;

use metrics::{Counter, Unit};
use proto::v1::{ReserveOutcome, ReserveResponse};

use crate::figures::Figures;

const DECISIONS: &str = "holdfast_reserve_decisions_total";
const FROM_MEMORY: &str = "holdfast_tier1_refusals_total";

/// A request that got an error has this in place of an outcome: it was not
/// valid, or nobody could decide it.
const ERROR: &str = "error";

/// All that Reserve can decide.
const OUTCOMES: [ReserveOutcome; 8] = [
    ReserveOutcome::Reserved,
    ReserveOutcome::SoldOut,
    ReserveOutcome::NotEnough,
    ReserveOutcome::BuyerLimitReached,
    ReserveOutcome::SaleNotStarted,
    ReserveOutcome::SaleEnded,
    ReserveOutcome::SalePaused,
    ReserveOutcome::AlreadyEnded,
];

/// The outcome as a label: its name in the contract, short and in lower case.
pub(super) fn label(outcome: ReserveOutcome) -> &'static str {
    match outcome {
        ReserveOutcome::Unspecified => "unspecified",
        ReserveOutcome::Reserved => "reserved",
        ReserveOutcome::SoldOut => "sold_out",
        ReserveOutcome::NotEnough => "not_enough",
        ReserveOutcome::BuyerLimitReached => "buyer_limit_reached",
        ReserveOutcome::SaleNotStarted => "sale_not_started",
        ReserveOutcome::SaleEnded => "sale_ended",
        ReserveOutcome::SalePaused => "sale_paused",
        ReserveOutcome::AlreadyEnded => "already_ended",
    }
}

/// Counters of decisions.
#[derive(Clone)]
pub(super) struct Decisions(Arc<Counters>);

struct Counters {
    of_outcomes: [Counter; OUTCOMES.len()],
    /// Those of them that took no look at the store.
    from_memory: [Counter; OUTCOMES.len()],
    of_errors: Counter,
}

impl Decisions {
    /// All at 0, or where another worker's are.
    pub(super) fn new(figures: &Figures) -> Self {
        figures.within(|| {
            metrics::describe_counter!(
                DECISIONS,
                Unit::Count,
                "Requests to reserve, those in batches and streams too, by what was decided; \
                 error: not valid, or not decided."
            );
            metrics::describe_counter!(
                FROM_MEMORY,
                Unit::Count,
                "Those of the decisions that memory made, without asking the store."
            );
            let counter =
                |outcome: &'static str| metrics::counter!(DECISIONS, "outcome" => outcome);
            let from_memory = |outcome| metrics::counter!(FROM_MEMORY, "outcome" => label(outcome));
            Self(Arc::new(Counters {
                of_outcomes: OUTCOMES.map(|outcome| counter(label(outcome))),
                from_memory: OUTCOMES.map(from_memory),
                of_errors: counter(ERROR),
            }))
        })
    }

    /// One more; `None` is an error.
    pub(super) fn count(&self, reply: Option<&ReserveResponse>) {
        let Some(reply) = reply else {
            self.0.of_errors.increment(1);
            return;
        };
        let outcome = reply.outcome();
        let place = OUTCOMES.iter().position(|known| *known == outcome);
        if let Some(place) = place {
            self.0.of_outcomes[place].increment(1);
            if reply.from_cache {
                self.0.from_memory[place].increment(1);
            }
        }
    }
}

impl std::fmt::Debug for Decisions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decisions").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_of_the_contract_has_its_own_name_and_counter() {
        let of_the_contract: Vec<_> = (1..)
            .map_while(|number| ReserveOutcome::try_from(number).ok())
            .collect();
        assert_eq!(of_the_contract, OUTCOMES);
        let figures = Figures::new().unwrap();
        let decisions = Decisions::new(&figures);
        for (times, outcome) in (1..).zip(OUTCOMES) {
            let name = format!("RESERVE_OUTCOME_{}", label(outcome).to_uppercase());
            assert_eq!(name, outcome.as_str_name());
            for at in 0..times {
                let mut reply = ReserveResponse {
                    from_cache: at == 0,
                    ..ReserveResponse::default()
                };
                reply.set_outcome(outcome);
                decisions.count(Some(&reply));
            }
            let line = format!("{DECISIONS}{{outcome=\"{}\"}} {times}", label(outcome));
            let text = figures.text();
            assert!(text.lines().any(|l| l == line), "{line} is not in:\n{text}");
            let line = format!("{FROM_MEMORY}{{outcome=\"{}\"}} 1", label(outcome));
            assert!(text.lines().any(|l| l == line), "{line} is not in:\n{text}");
        }
        decisions.count(None);
        assert!(figures.text().contains(r#"{outcome="error"} 1"#));
    }
}
