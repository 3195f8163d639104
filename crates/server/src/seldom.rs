//! Saying again and again what goes wrong again and again, but not too often.

use std::time::{Duration, Instant};

/// Lets one message through in each period, and counts those it kept back.
#[derive(Debug)]
pub(crate) struct Seldom {
    period: Duration,
    last: Option<Instant>,
    kept_back: u64,
}

impl Seldom {
    /// One message in each period.
    pub(crate) const fn every(period: Duration) -> Self {
        Self {
            period,
            last: None,
            kept_back: 0,
        }
    }

    /// Whether to speak now; if so, how often it was not said since.
    pub(crate) fn now(&mut self, now: Instant) -> Option<u64> {
        if self
            .last
            .is_some_and(|last| now.duration_since(last) < self.period)
        {
            self.kept_back += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.kept_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speaks_once_a_period_and_tells_what_it_kept_back() {
        let mut seldom = Seldom::every(Duration::from_secs(10));
        let start = crate::clock::now();
        let at = |s| start + Duration::from_secs(s);
        assert_eq!(seldom.now(at(0)), Some(0));
        assert_eq!(seldom.now(at(1)), None);
        assert_eq!(seldom.now(at(9)), None);
        assert_eq!(seldom.now(at(10)), Some(2));
        assert_eq!(seldom.now(at(20)), Some(0));
    }
}
