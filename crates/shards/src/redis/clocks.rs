//! What time it is for a store of many machines: no single clock decides, so
//! none that is wrong ends a hold.

use std::time::{Duration, Instant};

use crate::rules::{Rule, holds};
use crate::time::Millis;

/// A reading of a clock is used this long.
const FRESH: Duration = Duration::from_secs(5);

/// What a master's clock said, and when that was by ours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    pub at: Instant,
    pub says: Millis,
}

impl Reading {
    /// What that clock says by now.
    fn now(&self, pace: Instant) -> Option<Millis> {
        let age = pace.checked_duration_since(self.at)?;
        (age <= FRESH).then(|| self.says.plus_ms(millis(age)))
    }
}

/// Clocks that disagree: nothing can be stamped.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Disagree {
    pub apart_ms: u64,
}

/// The time of a batch: the median of all masters' clocks. ⚔ This machine's own
/// joins only to make their number odd; of a store with one master both must
/// agree, since there is no third to tell which is wrong.
pub(super) fn median(
    masters: &[Reading],
    own: Millis,
    pace: Instant,
    skew_max_ms: u64,
) -> Result<Millis, Disagree> {
    if !holds(Rule::TimeIsTheMedian) {
        return Ok(own);
    }
    let mut clocks: Vec<Millis> = masters.iter().filter_map(|clock| clock.now(pace)).collect();
    if let &[only] = &clocks[..] {
        let apart_ms = own.ms_until(only).max(only.ms_until(own));
        return if apart_ms > skew_max_ms {
            Err(Disagree { apart_ms })
        } else {
            Ok(only)
        };
    }
    if clocks.len().is_multiple_of(2) {
        clocks.push(own);
    }
    clocks.sort_unstable();
    Ok(clocks[clocks.len() / 2])
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SKEW_MAX_MS: u64 = 5_000;
    const HOUR: i64 = 3_600_000;

    fn pace() -> Instant {
        #[expect(clippy::disallowed_methods, reason = "an instant to count from")]
        Instant::now()
    }

    fn median_of(clocks: &[i64], own: i64) -> Result<Millis, Disagree> {
        let pace = pace();
        let masters: Vec<_> = clocks
            .iter()
            .map(|says| Reading {
                at: pace,
                says: Millis(*says),
            })
            .collect();
        median(&masters, Millis(own), pace, SKEW_MAX_MS)
    }

    #[test]
    fn one_wrong_clock_of_several_decides_nothing() {
        assert_eq!(median_of(&[10, HOUR, 20], 7), Ok(Millis(20)));
        assert_eq!(median_of(&[10, -HOUR, 20], HOUR), Ok(Millis(10)));
        assert_eq!(median_of(&[10, HOUR], 7), Ok(Millis(10)));
        assert_eq!(median_of(&[10, 20], HOUR), Ok(Millis(20)));
    }

    #[test]
    fn of_two_clocks_both_must_agree() {
        assert_eq!(median_of(&[4_000], 0), Ok(Millis(4_000)));
        assert_eq!(median_of(&[-6_000], 0), Err(Disagree { apart_ms: 6_000 }));
        assert_eq!(
            median_of(&[HOUR], 0),
            Err(Disagree {
                apart_ms: 3_600_000
            })
        );
    }

    #[test]
    fn a_reading_ages_and_is_not_used_for_long() {
        let at = pace();
        let reading = Reading {
            at,
            says: Millis(100),
        };
        let later = |ms| at + Duration::from_millis(ms);
        assert_eq!(reading.now(later(50)), Some(Millis(150)));
        assert_eq!(reading.now(later(5_001)), None);
        assert_eq!(
            median(&[reading], Millis(7), later(9_000), 5_000),
            Ok(Millis(7))
        );
    }
}
