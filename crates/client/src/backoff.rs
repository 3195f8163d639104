//! How long to wait before the next attempt.

use std::time::Duration;

use crate::Policy;

/// The wait before the `retry`th repetition (from 1). `random` is in `0.0..1.0`.
///
/// Half of the wait is certain, so that a broken server gets room; half is
/// random, so that callers that failed together do not come back together.
/// `not_before` is what the server asked for: never less, and a quarter more at
/// random for the same reason.
pub(crate) fn wait(policy: &Policy, retry: u32, not_before: Duration, random: f64) -> Duration {
    let doublings = retry.saturating_sub(1).min(31);
    let span = policy
        .backoff_first
        .saturating_mul(1 << doublings)
        .min(policy.backoff_max);
    let own = span.mul_f64(0.5 + random / 2.0);
    own.max(not_before.mul_f64(1.0 + random / 4.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn policy() -> Policy {
        Policy {
            backoff_first: MS(50),
            backoff_max: MS(1_000),
            ..Policy::default()
        }
    }

    #[test]
    fn doubles_from_the_first_to_the_longest() {
        let least: Vec<_> = (1..=7)
            .map(|retry| wait(&policy(), retry, MS(0), 0.0))
            .collect();
        assert_eq!(least, [25, 50, 100, 200, 400, 500, 500].map(MS));
        assert_eq!(wait(&policy(), u32::MAX, MS(0), 0.0), MS(500));
    }

    #[test]
    fn half_of_it_is_random() {
        assert_eq!(wait(&policy(), 3, MS(0), 0.0), MS(100));
        assert_eq!(wait(&policy(), 3, MS(0), 0.5), MS(150));
    }

    #[test]
    fn is_never_shorter_than_the_server_asked_for() {
        assert_eq!(wait(&policy(), 1, MS(400), 0.0), MS(400));
        assert_eq!(wait(&policy(), 1, MS(400), 0.4), MS(440));
        assert_eq!(wait(&policy(), 5, MS(10), 0.0), MS(400));
    }
}
