//! The grammar of the command line. What its words mean to those who type them
//! is written here, because the help is made from it.

use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::bench::{self, BenchArgs};
use crate::commands::Remote;
use crate::config::{ConfigCommand, Flags};
use crate::demo::DemoArgs;
use crate::environment;
use crate::exit;
use crate::manual;
use crate::printer::Format;
use crate::time::parse_positive_duration;

/// What holds for all commands and is said at the end of the help.
const NOTES: &str = "\
Flags can be set by the environment: --hold-ttl is HOLDFAST_HOLD_TTL; but not
what changes an item or skips a question.
Durations have units, as in 5m, 100ms, 1h30m or 30d; times are RFC 3339, as in
2026-11-27T09:00:00Z.";

/// The grammar, complete with environment names and exit codes.
pub(crate) fn grammar() -> clap::Command {
    let command = environment::with_names(Cli::command());
    manual::with_ends(command, "").after_help(format!("{NOTES}\n\n{}", exit::HELP))
}

/// Holdfast sells what is scarce: never oversold, never stranded, never granted
/// twice
#[derive(Debug, Parser)]
#[command(name = "holdfast", version, max_term_width = 100)]
pub(crate) struct Cli {
    /// How results and errors look
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "FORMAT",
        default_value_t
    )]
    pub(crate) output: Format,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a server
    ///
    /// Alone it keeps its store in ./holdfast-data and is reached from this
    /// machine only. Settings come from flags, the environment and a file, in
    /// this order; `holdfast config print` tells which are in force.
    Serve(Flags),
    /// Check and print the settings of a server
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Run a whole sale on this machine, with a real server, and judge it
    Demo(DemoArgs),
    #[command(long_about = bench::ABOUT)]
    /// Measure servers under load, and check what they answer
    Bench(BenchArgs),
    #[command(flatten)]
    Remote(Remote),
    /// Print what makes a shell complete this command
    Completions {
        /// The shell
        #[arg(value_enum, value_name = "SHELL")]
        shell: Shell,
    },
}

/// Which server a command talks to.
#[derive(Debug, Args)]
pub(crate) struct Connection {
    /// The server
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:50051")]
    pub(crate) addr: String,

    /// How long the command may take, retries included
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "10s",
        value_parser = parse_positive_duration
    )]
    pub(crate) timeout: Duration,
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        let matches = grammar().try_get_matches_from(line.split_whitespace())?;
        Cli::from_arg_matches(&matches)
    }

    #[test]
    fn the_grammar_is_sound() {
        grammar().debug_assert();
    }

    #[test]
    fn the_output_may_be_asked_for_anywhere() {
        for line in [
            "holdfast --output json status",
            "holdfast status --output json",
        ] {
            assert_eq!(parse(line).unwrap().output, Format::Json, "{line}");
        }
    }

    #[test]
    fn lines_that_are_right() {
        for line in [
            "holdfast item create sneaker --stock 0 --hold-ttl 90s --sale-start 2026-11-27T09:00:00Z",
            "holdfast item list --state open --state paused --prefix a",
            "holdfast stock adjust sneaker -5 --allow-partial",
            "holdfast stock get a b c --strong",
            "holdfast stock set sneaker 0 --expected 0",
            "holdfast return --item sneaker --buyer ada --request-id 7 --quantity 1 --return-id 8",
            "holdfast confirm sneaker.AE --reacquire",
            "holdfast confirm --item sneaker --buyer ada --request-id 7",
            "holdfast extend sneaker.AE --for 5m",
            "holdfast health store",
            "holdfast serve --config h.toml --listen 127.0.0.1:0 --workers 2",
            "holdfast bench --mode batch --requests 500 --duplicates 10 --addr http://a:1,http://b:2",
            "holdfast bench --pid redis=1,2 --store-stats redis://a:1,b:2 --compare naive-lua",
            "holdfast config check --config h.toml --drain-grace 5s",
            "holdfast config print --output json",
        ] {
            parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }

    #[test]
    fn lines_that_are_wrong_name_what_is() {
        let table = [
            ("holdfast extend sneaker.AE --for 300", "needs a unit"),
            (
                "holdfast item create sneaker --stock 1 --hold-ttl 5",
                "needs a unit",
            ),
            ("holdfast item create sneaker", "--stock"),
            ("holdfast status --timeout 0s", "longer than nothing"),
            ("holdfast confirm", "RESERVATION_ID"),
            ("holdfast return sneaker.AE", "--quantity"),
            ("holdfast stock set sneaker 5", "--expected"),
            (
                "holdfast stripes release 7 --freeze-id 1 --reason x",
                "--accept-loss",
            ),
            ("holdfast completions tcsh", "SHELL"),
            ("holdfast bench --item sneaker --stock 5", "cannot be used"),
            (
                "holdfast bench --requests 5 --duration 5s",
                "cannot be used",
            ),
            ("holdfast bench --compare naive-lua", "--store-stats"),
            ("holdfast bench --pid redis=x", "no process id"),
            ("holdfast bench --duplicates 101", "0..=100"),
            ("holdfast bench --warm-up 1", "needs a unit"),
            ("holdfast item update sneaker --reset stock", "sale-end"),
            ("holdfast confirm --item sneaker", "--buyer"),
            (
                "holdfast confirm sneaker.AE --item s --buyer b --request-id 7",
                "cannot be used",
            ),
            ("holdfast serve --adr x", "--"),
            ("holdfast rezerve sneaker ada", "reserve"),
            ("holdfast stock adjust sneaker much", "DELTA"),
        ];
        for (line, part) in table {
            let error = parse(line).unwrap_err().to_string();
            assert!(error.contains(part), "{line}: {error}");
        }
    }
}
