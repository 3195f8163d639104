//! The environment: every flag has a name there, and no other may be set.

use std::env;
use std::ffi::OsString;

use clap::builder::BoolishValueParser;
use clap::{Arg, ArgAction, Command};

use crate::config::{self, PREFIX};
use crate::failure::Failure;
use crate::nearest::nearest;

/// The environment as it was when the process started.
#[derive(Debug, Default)]
pub(crate) struct Environment {
    variables: Vec<(String, OsString)>,
}

impl Environment {
    /// That of this process.
    pub(crate) fn of_process() -> Self {
        let named = |(name, value): (OsString, OsString)| {
            // A name that is not UTF-8 is none of ours.
            (name.to_string_lossy().into_owned(), value)
        };
        Self {
            variables: env::vars_os().map(named).collect(),
        }
    }

    /// One that holds these.
    #[cfg(test)]
    pub(crate) fn of(variables: &[(&str, &str)]) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), OsString::from(value));
        Self {
            variables: variables.iter().map(owned).collect(),
        }
    }

    /// The value of `name`, if it is set.
    pub(crate) fn get(&self, name: &str) -> Result<Option<&str>, Failure> {
        let Some((_, value)) = self.variables.iter().find(|(known, _)| known == name) else {
            return Ok(None);
        };
        let text = value.to_str();
        text.map(Some)
            .ok_or_else(|| Failure::usage(format!("the value of {name} is not UTF-8: write it so")))
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.variables.iter().map(|(name, _)| name.as_str())
    }
}

/// What is only said at the call: an environment outlives the moment for which
/// it was meant.
const ONLY_FLAGS: [&str; 5] = ["help", "version", "yes", "force", "accept-loss"];

/// The heading of flags that each change something of what is there; they, too,
/// are only said at the call.
pub(crate) const CHANGES: &str = "Changes";

/// Gives each flag of `command` and of its subcommands the environment name
/// that is made from the flag's. Names written beside each flag would drift.
/// Those of a server's settings are read in [`config`].
pub(crate) fn with_names(command: Command) -> Command {
    command.mut_args(with_name).mut_subcommands(with_names)
}

fn with_name(arg: Arg) -> Arg {
    let Some(name) = name_of(&arg) else {
        return arg;
    };
    let arg = arg.env(name).hide_env_values(true);
    match arg.get_action() {
        // `HOLDFAST_STRONG=1` reads as well as `=true`.
        ArgAction::SetTrue => arg.value_parser(BoolishValueParser::new()),
        _ => arg,
    }
}

/// `--hold-ttl` is `HOLDFAST_HOLD_TTL`. Arguments without a flag have no name.
fn name_of(arg: &Arg) -> Option<String> {
    let flag = arg.get_long()?;
    let only_said = ONLY_FLAGS.contains(&flag) || arg.get_help_heading() == Some(CHANGES);
    let named = !only_said && !config::is_ours(flag);
    named.then(|| config::environment_name(flag))
}

/// Refuses names of ours that nothing reads: a misspelt setting would
/// otherwise look as if it were in force.
pub(crate) fn check(grammar: &Command, environment: &Environment) -> Result<(), Failure> {
    let valid = all_names(grammar);
    for name in environment.names() {
        if !name.starts_with(PREFIX) || valid.iter().any(|known| known == name) {
            continue;
        }
        let flag = bare(name).to_lowercase().replace('_', "-");
        if ONLY_FLAGS.contains(&flag.as_str()) {
            return Err(Failure::usage(format!(
                "{name} is not taken from the environment: unset it, and say --{flag} at the call"
            )));
        }
        if !is_injected_by_kubernetes(name) {
            let likely = nearest(bare(name), valid.iter().map(|known| bare(known)));
            return Err(Failure::usage(format!(
                "the environment sets {name}, which nothing reads; {}",
                match likely {
                    Some(known) => format!("did you mean {PREFIX}{known}? Else unset it"),
                    None => "unset it".to_owned(),
                }
            )));
        }
    }
    Ok(())
}

/// A name of ours without what all of them begin with.
fn bare(name: &str) -> &str {
    name.strip_prefix(PREFIX).unwrap_or(name)
}

/// The names that `grammar` reads, as clap itself knows them, and those of a
/// server's settings.
fn all_names(grammar: &Command) -> Vec<String> {
    let mut names = names_by_clap(grammar);
    names.extend(config::environment_names());
    names
}

fn names_by_clap(grammar: &Command) -> Vec<String> {
    let own = grammar.get_arguments().filter_map(Arg::get_env);
    let mut names: Vec<_> = own
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    names.extend(grammar.get_subcommands().flat_map(names_by_clap));
    names
}

/// Kubernetes tells every pod about the services of its namespace. One whose
/// name begins with `holdfast` yields names with our prefix:
/// `HOLDFAST_SERVICE_HOST`, `HOLDFAST_SERVICE_PORT`, `HOLDFAST_SERVICE_PORT_GRPC`,
/// `HOLDFAST_PORT`, `HOLDFAST_PORT_50051_TCP`, `HOLDFAST_PORT_50051_TCP_ADDR` ...
fn is_injected_by_kubernetes(name: &str) -> bool {
    if name.ends_with("_SERVICE_HOST") || name.ends_with("_PORT") {
        return true;
    }
    if name.contains("_SERVICE_PORT_") {
        return true;
    }
    name.split_once("_PORT_").is_some_and(|(_, rest)| {
        let mut words = rest.split('_');
        let port = words.next().is_some_and(|word| word.parse::<u16>().is_ok());
        port && matches!(words.next(), Some("TCP" | "UDP" | "SCTP"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args;

    fn checked(names: &[&str]) -> Result<(), String> {
        let names: Vec<_> = names.iter().map(|name| (*name, "")).collect();
        let environment = Environment::of(&names);
        check(&args::grammar(), &environment).map_err(|failure| failure.to_string())
    }

    #[test]
    fn every_flag_has_the_name_made_from_its_own() {
        fn walk(command: &Command, seen: &mut usize) {
            for arg in command.get_arguments() {
                let env = arg
                    .get_env()
                    .map(|name| name.to_string_lossy().into_owned());
                assert_eq!(
                    env,
                    name_of(arg),
                    "{} {:?}",
                    command.get_name(),
                    arg.get_id()
                );
                *seen += usize::from(env.is_some());
            }
            command
                .get_subcommands()
                .for_each(|command| walk(command, seen));
        }
        let mut seen = 0;
        walk(&args::grammar(), &mut seen);
        assert!(seen > 30, "{seen} flags");
    }

    #[test]
    fn known_names_and_those_of_others_pass() {
        checked(&[
            "PATH",
            "HOLDFASTER",
            "HOLDFAST_ADDR",
            "HOLDFAST_OUTPUT",
            "HOLDFAST_LISTEN",
            "HOLDFAST_DRAIN_GRACE",
            "HOLDFAST_LOG",
            "HOLDFAST_HOLD_TTL",
            "HOLDFAST_CONFIG",
            "HOLDFAST_HTTP_LISTEN",
        ])
        .unwrap();
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_nearest_valid_one() {
        let table = [
            ("HOLDFAST_ADR", Some("HOLDFAST_ADDR")),
            ("HOLDFAST_DATADIR", Some("HOLDFAST_DATA_DIR")),
            ("HOLDFAST_LISTEN_ADDR", Some("HOLDFAST_LISTEN")),
            ("HOLDFAST_DRAIN_GRACE_PERIOD", Some("HOLDFAST_DRAIN_GRACE")),
            ("HOLDFAST_CONFIG_FILE", Some("HOLDFAST_CONFIG")),
            ("HOLDFAST_XYZZY", None),
        ];
        for (name, known) in table {
            let error = checked(&["PATH", name]).unwrap_err();
            assert!(error.contains(name), "{error}");
            match known {
                Some(known) => assert!(error.contains(&format!("mean {known}?")), "{error}"),
                None => assert!(!error.contains("mean"), "{error}"),
            }
        }
    }

    #[test]
    fn what_destroys_or_changes_is_not_said_by_the_environment() {
        for (name, flag) in [
            ("HOLDFAST_YES", "--yes"),
            ("HOLDFAST_FORCE", "--force"),
            ("HOLDFAST_ACCEPT_LOSS", "--accept-loss"),
        ] {
            let error = checked(&[name]).unwrap_err();
            assert!(error.contains(flag), "{error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_value_that_is_no_text_is_refused_when_it_is_read() {
        use std::os::unix::ffi::OsStringExt as _;
        let environment = Environment {
            variables: vec![("HOLDFAST_LOG".to_owned(), OsString::from_vec(vec![0xff]))],
        };
        let error = environment.get("HOLDFAST_LOG").unwrap_err().to_string();
        assert!(error.contains("HOLDFAST_LOG is not UTF-8"), "{error}");
        assert!(environment.get("HOLDFAST_LISTEN").unwrap().is_none());
    }

    #[test]
    fn names_that_kubernetes_injects_pass() {
        checked(&[
            "HOLDFAST_SERVICE_HOST",
            "HOLDFAST_SERVICE_PORT",
            "HOLDFAST_SERVICE_PORT_GRPC",
            "HOLDFAST_PORT",
            "HOLDFAST_PORT_50051_TCP",
            "HOLDFAST_PORT_50051_TCP_PROTO",
            "HOLDFAST_PORT_50051_TCP_PORT",
            "HOLDFAST_PORT_50051_TCP_ADDR",
            "HOLDFAST_ADMIN_SERVICE_HOST",
            "HOLDFAST_ADMIN_PORT_9464_TCP_ADDR",
        ])
        .unwrap();
        assert!(checked(&["HOLDFAST_PORT_RANGE"]).is_err());
    }
}
