//! Environment names: every flag has one, and no other may be set.

use clap::builder::BoolishValueParser;
use clap::{Arg, ArgAction, Command};

use crate::failure::Failure;

/// What all our names begin with.
const PREFIX: &str = "HOLDFAST_";

/// Gives each flag of `command` and of its subcommands the environment name
/// that is made from the flag's. Names written beside each flag would drift.
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
    let flag = arg
        .get_long()
        .filter(|flag| !matches!(*flag, "help" | "version"))?;
    Some(format!("{PREFIX}{}", flag.replace('-', "_").to_uppercase()))
}

/// Refuses names of ours that nothing reads: a misspelt setting would
/// otherwise look as if it were in force.
pub(crate) fn check<'a>(
    grammar: &Command,
    names: impl Iterator<Item = &'a str>,
) -> Result<(), Failure> {
    let valid = all_names(grammar);
    for name in names {
        if !name.starts_with(PREFIX) || valid.iter().any(|known| known == name) {
            continue;
        }
        if !is_injected_by_kubernetes(name) {
            return Err(Failure::usage(format!(
                "the environment sets {name}, which nothing reads; {}",
                match nearest(name, &valid) {
                    Some(known) => format!("did you mean {known}? Else unset it"),
                    None => "unset it".to_owned(),
                }
            )));
        }
    }
    Ok(())
}

/// The names that `grammar` reads, as clap itself knows them.
fn all_names(grammar: &Command) -> Vec<String> {
    let own = grammar.get_arguments().filter_map(Arg::get_env);
    let mut names: Vec<_> = own
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    names.extend(grammar.get_subcommands().flat_map(all_names));
    names
}

fn nearest<'a>(name: &str, valid: &'a [String]) -> Option<&'a str> {
    let likeness = |known: &str| {
        strsim::jaro(
            name.trim_start_matches(PREFIX),
            known.trim_start_matches(PREFIX),
        )
    };
    let best = valid
        .iter()
        .max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(best) > 0.6).then_some(best)
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
        let names = names.iter().copied();
        check(&args::grammar(), names).map_err(|failure| format!("{failure:?}"))
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
