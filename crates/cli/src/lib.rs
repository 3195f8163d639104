//! The command line of Holdfast. The binaries `holdfast` and (for the tests)
//! `holdfast-under-test` do nothing but call [`main`].
//!
//! `holdfast --help` is the manual for those who type it. This page is for
//! those who run it from programs, and for those who change it.
//!
//! # Output
//!
//! What a command found or did goes to stdout, everything else to stderr. The
//! text is for people and may change. `--output json` prints one JSON object
//! on one line:
//!
//! - fields have the contract's names (`item_id`), numbers are numbers;
//! - unset fields are left out;
//! - times are RFC 3339 in UTC, durations seconds as protobuf writes them in
//!   JSON (`"300s"`, `"0.100s"`);
//! - enums are the contract's names without the prefix (`"SOLD_OUT"`); a value
//!   that this version does not know is its number.
//!
//! | command | prints |
//! |---|---|
//! | `item create`, `get`, `update`, `pause`, `resume`, `close` | the item; `create` also `request_id` |
//! | `item delete` | `item_id`, `deleted` |
//! | `item list` | `{"items": [...]}` |
//! | `stock get` | `{"stocks": [...]}`, in the order asked; items that fail are errors on stderr |
//! | `stock adjust` | `request_id`, `applied_delta`, `replayed`, `stock` |
//! | `stock set` | `request_id`, `replayed`, `stock` |
//! | `stock watch` | a stock for each change, a line each |
//! | `reserve` | `outcome`, the ids, what the outcome needs, `reservation` if there is one |
//! | `confirm` | `outcome`, `reservation` |
//! | `cancel`, `extend`, `reservation get` | the reservation |
//! | `return` | `return_id`, `reservation` |
//! | `reservation list` | `{"reservations": [...], "more": bool}` |
//! | `explain` | `outcome` or `error`, `description`, and what they rest on |
//! | `audit` | `verdict` and the books it judged |
//! | `status`, `health` | the reply |
//! | `stripes list` | `{"stripes": [...]}` |
//! | `stripes release` | `stripe`, `surplus_units` |
//! | `bench` | the figures; their names are in `holdfast bench --help` |
//! | `config check` | `{"ok": true}` |
//! | `config print` | `{"settings": [{"name", "value", "origin", "set_by"}]}` |
//! | `serve` | `{"event": "listening", "addr": "http://...", "data_dir": "..."}` once it serves; `store` in place of `data_dir` where that is a Redis |
//!
//! Errors are one sentence on stderr, or with `--output json` one line:
//! `{"error": {"code", "reason", "message", "metadata", "fields"}}`, where code
//! and reason are those of the contract; reason is null where none came, as from
//! a server that is not there. Errors of this program's own have the reason
//! `USAGE`, `LOCAL` or, where somebody was asked and said no, `DECLINED`. Where it
//! drew a request id, `metadata.request_id` (of a return, `return_id`) has it: with
//! that id the command can be sent again. What cannot be undone asks first, unless
//! `--yes` is said; where there is no terminal to ask, that is wrong usage.
//!
//! # Exit codes
//!
//! See [`exit::Exit`]. A refused Reserve is an answer: it is printed like any
//! other, and the code is 1.
//!
//! # Environment
//!
//! Flags have environment names, made from their own: `--hold-ttl` is
//! `HOLDFAST_HOLD_TTL` ([`environment`]); not those that change an item or skip a
//! question. An unknown `HOLDFAST_` name ends any command with code 2, for it is
//! most likely a setting that somebody believes to be in force. The settings of
//! `serve` can also stand in a file ([`config`]).
//!
//! # Code map
//!
//! [`args`] is the grammar, [`manual`] the ends of its help, [`config`] the
//! settings of a server, [`commands`] what the commands do to a server,
//! [`describe`] what is said about each message, [`document`] how that looks as
//! text and as JSON, [`serve`] the server's process, [`demo`] the demo, [`bench`]
//! the load generator.

mod args;
mod bench;
mod commands;
mod config;
mod demo;
mod describe;
mod document;
mod environment;
mod exit;
mod failure;
mod figures;
mod manual;
mod nearest;
mod printer;
mod serve;
mod size;
mod time;
mod usage;

use std::env;
use std::ffi::OsString;
use std::process::ExitCode;

use clap::FromArgMatches;
use clap::error::ErrorKind;
use clap_complete::Shell;

use crate::args::{Cli, Command};
use crate::environment::Environment;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::printer::{Format, Printer, write_line};

/// Runs the command that the process's arguments name; the returned code is
/// the process's.
pub fn main() -> ExitCode {
    run(env::args_os().collect(), &Environment::of_process())
}

fn run(args: Vec<OsString>, environment: &Environment) -> ExitCode {
    let format = Format::guess(&args, environment);
    let grammar = args::grammar();
    let matches = match grammar.clone().try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) => return grammar_says(&error, format),
    };
    if let Err(failure) = environment::check(&grammar, environment) {
        return failure.report(format).into();
    }
    match Cli::from_arg_matches(&matches) {
        Ok(cli) => dispatch(cli.command, environment, Printer::new(cli.output)),
        Err(error) => grammar_says(&error, format),
    }
}

/// A script for the shell, made from the grammar.
fn completions(shell: Shell) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut args::grammar(), "holdfast", &mut script);
    write_line(String::from_utf8_lossy(&script).trim_end())?;
    Ok(Exit::Done)
}

/// Help, the version, or what is wrong with the arguments.
fn grammar_says(error: &clap::Error, format: Format) -> ExitCode {
    // Without a command there is nothing wrong that a sentence could name: the
    // help says what there is.
    let help = error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    if !error.use_stderr() || (help && format == Format::Text) {
        // Nobody is left to be told that this cannot be written.
        error.print().ok();
        return if error.use_stderr() {
            Exit::Usage.into()
        } else {
            Exit::Done.into()
        };
    }
    let sentence = if help {
        "name a command: --help lists them".to_owned()
    } else {
        usage::sentence(&error.render().to_string())
    };
    Failure::usage(sentence).report(format).into()
}

fn dispatch(command: Command, environment: &Environment, printer: Printer) -> ExitCode {
    let result = match command {
        Command::Serve(flags) => serve::run(&flags, environment, printer),
        Command::Config(command) => config::run(&command, environment, printer),
        Command::Bench(args) => bench::run(&args, printer),
        Command::Demo(args) => return demo::run(&args, environment, printer.format()),
        Command::Remote(command) => commands::run(command, printer),
        Command::Completions { shell } => completions(shell),
    };
    match result {
        Ok(exit) => exit.into(),
        Err(failure) => failure.report(printer.format()).into(),
    }
}
