//! Why a node did not do what it was asked. Whether anything may have been done
//! is decided here, where the driver's error enters, and never guessed later.

use fred::error::{Error, ErrorKind};

use crate::store::StoreError;

/// A command that was not answered as hoped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The node refused it before doing anything.
    NotDone(String),
    /// ⚔ It was sent, and what became of it is not known: no answer, or one
    /// that may stand for half of the work.
    Unknown(String),
    /// ⚔ The script ended by an error, perhaps in its middle, and is not undone.
    /// The connection has nothing to do with it.
    Midway(String),
    /// The connection was closed before anything was sent.
    Closed,
    /// The node does not know the script: nothing was done.
    NoScript,
    /// ⚔ A key is not what it has to be. The script reads all of them before it
    /// writes any: nothing was done.
    WrongType(String),
}

/// How nodes begin the refusals that come before any work.
const REFUSALS: &[&str] = &[
    "MOVED",
    "ASK",
    "TRYAGAIN",
    "CROSSSLOT",
    "CLUSTERDOWN",
    "LOADING",
    "READONLY",
    "MASTERDOWN",
    "BUSY",
    "OOM",
    "MISCONF",
    "NOREPLICAS",
    "NOAUTH",
    "WRONGPASS",
    "NOPERM",
];

impl Fault {
    /// What an error of the driver means. `alone`: no other script was sent
    /// beside this one, of which it could be the end.
    pub(super) fn of(error: &Error, alone: bool) -> Self {
        let text = error.details().trim();
        let code = text.split([' ', ':']).next().unwrap_or_default();
        if code == "NOSCRIPT" {
            return Self::NoScript;
        }
        if code == "WRONGTYPE" {
            return Self::WrongType(text.to_owned());
        }
        // ⚔ The driver closes the connection upon this one, and so takes the
        // answers of the scripts beside it along.
        let ends_connection = code == "CLUSTERDOWN" && !alone;
        // ⚔ Said by a command within the script, before which others may have
        // done their work: newer servers refuse it there by the same word.
        let is_within = text.contains(" script: ");
        if REFUSALS.contains(&code) && !ends_connection && !is_within {
            return Self::NotDone(text.to_owned());
        }
        // The script's own refusal, before it does anything.
        if text.starts_with("ERR holdfast:") {
            return Self::NotDone(text.to_owned());
        }
        if code == "ERR" || is_within {
            return Self::Midway(text.to_owned());
        }
        match error.kind() {
            // Refused while connecting: no script was sent.
            ErrorKind::Auth | ErrorKind::Tls | ErrorKind::Config => Self::NotDone(text.to_owned()),
            _ => Self::Unknown(text.to_owned()),
        }
    }

    /// Something may have been done.
    pub(super) fn may_have_run(&self) -> bool {
        matches!(self, Self::Unknown(_) | Self::Midway(_))
    }

    /// The slot is, or may be, another node's by now.
    pub(super) fn is_about_place(&self) -> bool {
        let Self::NotDone(text) = self else {
            return false;
        };
        ["MOVED", "ASK", "READONLY", "CLUSTERDOWN", "MASTERDOWN"]
            .iter()
            .any(|code| text.starts_with(code))
    }

    /// What it is to whoever asked.
    pub(super) fn into_error(self, node: &impl std::fmt::Display) -> StoreError {
        match self {
            Self::NotDone(text) | Self::WrongType(text) => {
                StoreError::Unavailable(format!("{node} says {text}"))
            }
            Self::Unknown(text) => StoreError::OutcomeUnknown(format!("{node}: {text}")),
            Self::Midway(text) => StoreError::OutcomeUnknown(format!("{node} says {text}")),
            Self::NoScript => {
                StoreError::Unavailable(format!("{node} forgot the script; it is sent again"))
            }
            Self::Closed => StoreError::Unavailable(format!("{node}: {self}")),
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotDone(text)
            | Self::Unknown(text)
            | Self::Midway(text)
            | Self::WrongType(text) => f.write_str(text),
            Self::NoScript => f.write_str("the script is not there"),
            Self::Closed => f.write_str("the connection was closed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(kind: ErrorKind, text: &'static str) -> Fault {
        Fault::of(&Error::new(kind, text), true)
    }

    #[test]
    fn what_a_node_refuses_at_once_was_not_done() {
        for text in [
            "MOVED 128 127.0.0.1:7001",
            "TRYAGAIN Multiple keys request during rehashing of slot",
            "LOADING Redis is loading the dataset in memory",
            "READONLY You can't write against a read only replica.",
            "NOREPLICAS Not enough good replicas to write.",
            "NOAUTH Authentication required.",
            "NOPERM this user has no permissions to run the 'evalsha' command",
            "ERR holdfast: this store has the format 2",
        ] {
            assert_eq!(
                fault(ErrorKind::Unknown, text),
                Fault::NotDone(text.to_owned())
            );
        }
        assert_eq!(
            fault(ErrorKind::Unknown, "NOSCRIPT No matching script."),
            Fault::NoScript
        );
    }

    #[test]
    fn what_was_not_answered_is_unknown() {
        for kind in [ErrorKind::IO, ErrorKind::Timeout, ErrorKind::Canceled] {
            assert!(matches!(fault(kind, "closed"), Fault::Unknown(_)));
        }
    }

    #[test]
    fn what_ended_in_the_middle_may_be_half_done() {
        for midway in [
            "ERR The user executing the script can't run this command script: 1f, on @user_script:9.",
            "NOPERM User ada has no permissions to run the 'rpush' command script: 1f, on @user_script:9.",
        ] {
            let found = fault(ErrorKind::Unknown, midway);
            assert!(matches!(found, Fault::Midway(_)), "{midway}");
        }
    }

    #[test]
    fn a_refusal_that_takes_its_neighbours_along_tells_nothing_of_them() {
        let down = Error::new(ErrorKind::Cluster, "CLUSTERDOWN The cluster is down");
        assert!(matches!(Fault::of(&down, true), Fault::NotDone(_)));
        assert!(matches!(Fault::of(&down, false), Fault::Unknown(_)));
    }
}
