//! What a process has used of the processors, by Linux' own count.

use std::fs;
use std::str::FromStr;

use crate::failure::Failure;

/// A process to be watched: `server=456`, or `456` by its own name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    name: Option<String>,
    pid: u32,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, pid) = match text.split_once('=') {
            Some(("", _)) => return Err("write it like 456 or server=456".to_owned()),
            Some((name, pid)) => (Some(name.to_owned()), pid),
            None => (None, text),
        };
        let pid = pid
            .parse()
            .map_err(|_| format!("{pid:?} is no process id: write it like 456 or server=456"))?;
        Ok(Self { name, pid })
    }
}

/// What `/proc/PID/stat` says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stat {
    /// The program's name for itself.
    name: String,
    /// User and system time of all its threads, in clock ticks.
    ticks: u64,
    /// When it started. Another process with this id has another.
    started: u64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The name is in parentheses and may contain any others, and spaces.
        let (before, after) = text.rsplit_once(')')?;
        let (_, name) = before.split_once('(')?;
        // From here on by position: the first field after the name is the third.
        let field = |number: usize| -> Option<u64> {
            after.split_whitespace().nth(number - 3)?.parse().ok()
        };
        Some(Self {
            name: name.to_owned(),
            ticks: field(14)?.checked_add(field(15)?)?,
            started: field(22)?,
        })
    }

    fn read(pid: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }
}

/// A process that is watched.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    pub(super) name: String,
    pub(super) pid: u32,
    begun: Stat,
}

impl Watched {
    /// Begins with one that somebody named.
    pub(super) fn begin(target: &Target) -> Result<Self, Failure> {
        let pid = target.pid;
        let begun = Stat::read(pid).ok_or_else(|| {
            Failure::usage(format!(
                "there is no process {pid} on this machine whose /proc/{pid}/stat could be read"
            ))
        })?;
        let name = target.name.clone().unwrap_or_else(|| begun.name.clone());
        Ok(Self { name, pid, begun })
    }

    /// Begins with this very process; `None` where there is no `/proc`.
    pub(super) fn begin_self() -> Option<Self> {
        let pid = std::process::id();
        let name = "bench".to_owned();
        Stat::read(pid).map(|begun| Self { name, pid, begun })
    }

    /// Processor time used since, in microseconds; `None` if it has ended.
    pub(super) fn used_us(&self) -> Option<u64> {
        let now = Stat::read(self.pid).filter(|now| now.started == self.begun.started)?;
        let per_second = rustix::param::clock_ticks_per_second();
        micros(now.ticks.checked_sub(self.begun.ticks)?, per_second)
    }
}

fn micros(ticks: u64, per_second: u64) -> Option<u64> {
    ticks.checked_mul(1_000_000)?.checked_div(per_second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_named_or_not() {
        let named = |name: Option<&str>, pid| Target {
            name: name.map(str::to_owned),
            pid,
        };
        assert_eq!("456".parse(), Ok(named(None, 456)));
        assert_eq!("redis=123".parse(), Ok(named(Some("redis"), 123)));
        for wrong in ["", "redis", "redis=", "=1", "redis=-1", "1=redis"] {
            assert!(wrong.parse::<Target>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_name_may_look_like_anything() {
        let rest = "S 1 2 3 4 -1 5 6 7 8 9 1200 34 5 6 20 0 4 0 987654 1 2";
        for name in ["redis-server", "a) R 1 (b", "tokio worker"] {
            let stat = Stat::parse(&format!("42 ({name}) {rest}\n")).unwrap();
            let expected = Stat {
                name: name.to_owned(),
                ticks: 1_234,
                started: 987_654,
            };
            assert_eq!(stat, expected);
        }
        for wrong in ["", "42 (x", "42 (x) S 1 2", "42 x S"] {
            assert_eq!(Stat::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn ticks_become_microseconds() {
        assert_eq!(micros(1_234, 100), Some(12_340_000));
        assert_eq!(micros(1, 0), None);
        assert_eq!(micros(u64::MAX, 100), None);
    }

    #[test]
    fn another_process_of_the_same_id_is_not_the_one() {
        let mut this = Watched::begin_self().unwrap();
        assert!(this.used_us().is_some());
        this.begun.started += 1;
        assert_eq!(this.used_us(), None);
    }
}
