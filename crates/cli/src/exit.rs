//! How the process ends.

use std::process::ExitCode;

use client::ErrorKind;

/// The exit codes, worst last: of several results the greatest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exit {
    /// It is so.
    Done = 0,
    /// The service decided against it. Trying again at once is no use.
    Refused = 1,
    /// The command was not right. Trying again never helps.
    Usage = 2,
    /// Nothing was decided, or nobody knows what. Trying again may help.
    Undecided = 3,
}

/// What `--help` says about them.
pub(crate) const HELP: &str = "\
Exit codes:
  0  done
  1  refused by a decision: sold out, limit reached, expired, not found, ...;
     an audit or a bench that found a violation; a question answered with no
  2  wrong usage: unknown flag, environment name or setting, invalid value, port
     in use; a question that nobody is there to answer
  3  the service could not be reached or could not decide; an audit without a
     verdict; a service that is not serving";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl From<ErrorKind> for Exit {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Refused => Self::Refused,
            ErrorKind::Invalid | ErrorKind::Denied => Self::Usage,
            // Unreachable, unavailable, unknown, unsupported, and whatever a
            // newer client may tell apart: nothing is decided.
            _ => Self::Undecided,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_error_has_its_code() {
        let table = [
            (ErrorKind::Refused, 1),
            (ErrorKind::Invalid, 2),
            (ErrorKind::Denied, 2),
            (ErrorKind::Unreachable, 3),
            (ErrorKind::Unavailable, 3),
            (ErrorKind::OutcomeUnknown, 3),
            (ErrorKind::Unsupported, 3),
        ];
        for (kind, code) in table {
            assert_eq!(Exit::from(kind) as u8, code, "{kind:?}");
        }
    }

    #[test]
    fn the_worst_of_several_counts() {
        assert_eq!(
            [Exit::Done, Exit::Undecided, Exit::Refused].iter().max(),
            Some(&Exit::Undecided)
        );
    }
}
