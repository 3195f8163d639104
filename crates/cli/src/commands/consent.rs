//! Asks before what cannot be undone.

use std::io::{self, IsTerminal, Write};

use clap::Args;

use crate::failure::Failure;

/// Whether it is meant, said at the call.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Consent {
    /// Do it without asking
    #[arg(long)]
    yes: bool,
}

impl Consent {
    /// Asks whether to do `deed`, words such as `close sneaker for good`.
    pub(super) fn ask(self, deed: &str) -> Result<(), Failure> {
        let terminal = io::stdin().is_terminal() && io::stderr().is_terminal();
        self.decide(deed, terminal, || {
            let mut stderr = io::stderr().lock();
            write!(stderr, "{deed}? This cannot be undone. [y/N] ")?;
            stderr.flush()?;
            let mut answer = String::new();
            io::stdin().read_line(&mut answer)?;
            Ok(answer)
        })
    }

    /// `answer` is asked for only where somebody can give one.
    fn decide(
        self,
        deed: &str,
        terminal: bool,
        answer: impl FnOnce() -> io::Result<String>,
    ) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        if !terminal {
            return Err(Failure::usage(format!(
                "there is no terminal to ask whether to {deed}, which cannot be undone: say --yes \
                 if it is meant"
            )));
        }
        let answer =
            answer().map_err(|error| Failure::local(format!("cannot read the answer: {error}")))?;
        match answer.trim().to_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => Err(Failure::declined(
                "nothing was done: the answer was not yes",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(yes: bool, terminal: bool, answer: &str) -> Result<(), String> {
        let given = Consent { yes }.decide("close x", terminal, || Ok(answer.to_owned()));
        given.map_err(|failure| format!("{failure:?}"))
    }

    #[test]
    fn only_a_yes_is_one() {
        decide(false, true, "y\n").unwrap();
        decide(false, true, "YES\n").unwrap();
        for answer in ["\n", "", "n\n", "yep\n"] {
            let refused = decide(false, true, answer).unwrap_err();
            assert!(refused.contains("exit: Refused"), "{answer:?}: {refused}");
        }
    }

    #[test]
    fn nobody_is_asked_who_said_yes_or_cannot_answer() {
        decide(true, false, "n").unwrap();
        decide(true, true, "n").unwrap();
        let refused = decide(false, false, "y").unwrap_err();
        for part in ["close x", "--yes", "exit: Usage"] {
            assert!(refused.contains(part), "{refused}");
        }
    }
}
