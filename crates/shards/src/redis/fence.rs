//! ⚔ What this server remembers of a stripe, so that acknowledged work that is
//! gone does not go unnoticed. Pure: told what a guard says, tells what to think
//! of it.
//!
//! A store that fails over, or comes back from an old disk, may have a shorter
//! history than the one that was acknowledged. Every adoption of a stripe is
//! logged in its guard with the length of the history at that moment; a server
//! compares that with the longest history that it had acknowledged itself.

use super::script::{Incarnation, Seen};
use crate::rules::{Rule, holds};

/// The longest history of a stripe that was acknowledged to this server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Memory(Option<Mark>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    releases: u64,
    number: u64,
    seq: u64,
    incarnation: Incarnation,
}

impl Memory {
    /// The highest adoption number seen; with a higher one the log is needed.
    pub(super) fn number(&self) -> u64 {
        self.0.map_or(0, |mark| mark.number)
    }

    /// Releases seen.
    pub(super) fn releases(&self) -> u64 {
        self.0.map_or(0, |mark| mark.releases)
    }

    /// Why acknowledged work must be gone, if it is.
    pub(super) fn judge(&self, seen: &Seen) -> Result<(), String> {
        let Some(mark) = self.0 else { return Ok(()) };
        if seen.releases > mark.releases {
            // An operator has accepted what is there.
            return Ok(());
        }
        if !holds(Rule::LossIsNoticed) {
            return Ok(());
        }
        if seen.releases < mark.releases {
            return Err("an acknowledged release is gone".to_owned());
        }
        let gone = |what: String| {
            Err(format!(
                "{what}, but run {} of adoption {} was acknowledged",
                mark.seq, mark.number
            ))
        };
        if seen.number <= mark.number {
            return if seen.number < mark.number {
                gone(format!("the stripe knows of adoption {} only", seen.number))
            } else if seen.incarnation != mark.incarnation {
                gone("that adoption is another process's now".to_owned())
            } else if seen.seq < mark.seq {
                gone(format!("the stripe has come to run {} only", seen.seq))
            } else {
                Ok(())
            };
        }
        let entry = |number| seen.log.iter().find(|entry| entry.number == number);
        match (entry(mark.number), entry(mark.number + 1)) {
            (None, _) => gone("that adoption is not in the log".to_owned()),
            (Some(then), _)
                if then.incarnation != mark.incarnation && holds(Rule::MarksNameIncarnations) =>
            {
                gone("that adoption was another process's".to_owned())
            }
            (Some(_), None) => gone("the adoption after it is not in the log".to_owned()),
            (Some(_), Some(next)) if next.seq < mark.seq => {
                gone(format!("the next one began after run {}", next.seq))
            }
            (Some(_), Some(_)) => Ok(()),
        }
    }

    /// This much is acknowledged.
    pub(super) fn acknowledged(&mut self, seen: &Seen) {
        let mark = Mark {
            releases: seen.releases,
            number: seen.number,
            seq: seen.seq,
            incarnation: seen.incarnation,
        };
        let order = |mark: &Mark| (mark.releases, mark.number, mark.seq);
        if self.0.is_none_or(|known| order(&known) <= order(&mark)) {
            self.0 = Some(mark);
        }
    }
}
