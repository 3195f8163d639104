//! The flags of the settings, made from the list of them.

use std::collections::BTreeMap;

use clap::error::ErrorKind;
use clap::parser::MatchesError;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

use super::list::{ALL, CONFIG, HOW_TO_REACH, Kind, STORE, Setting, environment_name};

/// What the command line says about settings: strings, to be understood when
/// all layers are there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flags {
    config: Option<String>,
    given: BTreeMap<&'static str, String>,
}

impl Flags {
    /// The file that it names.
    pub(super) fn config(&self) -> Option<&str> {
        self.config.as_deref()
    }

    pub(super) fn get(&self, setting: &Setting) -> Option<&str> {
        self.given.get(setting.name).map(String::as_str)
    }

    /// As if these had been given.
    #[cfg(test)]
    pub(crate) fn of(given: &[(&'static str, &str)]) -> Self {
        let given = given.iter().map(|(name, text)| (*name, (*text).to_owned()));
        Self {
            config: None,
            given: given.collect(),
        }
    }
}

impl FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.config = given(matches, CONFIG)?;
        self.given.clear();
        for setting in ALL {
            let Some(text) = given(matches, setting.name)? else {
                continue;
            };
            if setting.kind == Kind::Secret {
                return Err(no_flag(setting));
            }
            self.given.insert(setting.name, text);
        }
        Ok(())
    }
}

impl Args for Flags {
    fn augment_args(command: Command) -> Command {
        let file = Arg::new(CONFIG)
            .long(CONFIG)
            .value_name("FILE")
            .help(format!(
                "A TOML file with settings, named like the flags, as in drain-grace = \"5s\" \
                 [env: {}]",
                environment_name(CONFIG)
            ));
        command
            .arg(file)
            .args(ALL.iter().map(|setting| flag(setting)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// The flags that say which store, for a command that runs servers of its own:
/// a store is only named at the call, not in an environment that is meant for
/// other servers; how to reach it may be said there.
#[derive(Clone, Debug, Default)]
pub(crate) struct StoreFlags(pub(super) Flags);

impl FromArgMatches for StoreFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Flags::from_arg_matches(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)
    }
}

impl Args for StoreFlags {
    fn augment_args(command: Command) -> Command {
        let store = flag(&STORE).help(
            "A store in Redis to work on, made if it is not there: \
             redis-cluster://HOST:PORT,HOST:PORT, or redis://HOST:PORT for one server alone \
             [default: one of its own]",
        );
        let how = HOW_TO_REACH.iter().map(|setting| flag(setting));
        command.arg(store).args(how)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// What is said by this flag, if the command has it at all.
fn given(matches: &ArgMatches, name: &str) -> Result<Option<String>, clap::Error> {
    match matches.try_get_one::<String>(name) {
        Ok(text) => Ok(text.cloned()),
        Err(MatchesError::UnknownArgument { .. }) => Ok(None),
        // A defect of the grammar.
        Err(error) => Err(clap::Error::raw(ErrorKind::Format, error)),
    }
}

/// Somebody has just shown a secret to everybody; the sentence does not.
fn no_flag(setting: &Setting) -> clap::Error {
    let name = setting.name;
    clap::Error::raw(
        ErrorKind::UnknownArgument,
        format!(
            "--{name} is no flag, since others can see the arguments of a process: set {}, or \
             name a file with --{name}-file",
            setting.environment_name()
        ),
    )
}

/// The environment and the default are told by hand: clap is to read neither,
/// for the file lies between them.
fn flag(setting: &'static Setting) -> Arg {
    let arg = Arg::new(setting.name)
        .long(setting.name)
        .value_name(setting.form)
        .help(format!(
            "{} [default: {}] [env: {}]",
            setting.help,
            setting.default.says(),
            setting.environment_name()
        ));
    match setting.kind {
        Kind::Plain | Kind::Address => arg,
        // `--init-store` alone, or `--init-store=false` over a file that says so.
        Kind::Switch => arg
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true"),
        // Known only to be refused in a sentence of its own.
        Kind::Secret => arg.hide(true).num_args(0..=1).default_missing_value(""),
    }
}

#[cfg(test)]
mod tests {
    use super::super::list::{INIT_STORE, STORE};
    use super::*;

    fn flags(line: &str) -> Result<Flags, String> {
        let grammar = Flags::augment_args(Command::new("holdfast"));
        let matches = grammar.try_get_matches_from(line.split(' '));
        let flags = matches.and_then(|matches| Flags::from_arg_matches(&matches));
        flags.map_err(|error| error.to_string())
    }

    #[test]
    fn a_switch_is_on_by_its_name_alone() {
        let table = [
            ("holdfast", None),
            ("holdfast --init-store", Some("true")),
            ("holdfast --init-store=false", Some("false")),
            ("holdfast --init-store --store redis://h", Some("true")),
            ("holdfast --store redis://h --init-store", Some("true")),
        ];
        for (line, text) in table {
            assert_eq!(flags(line).unwrap().get(&INIT_STORE), text, "{line}");
        }
        // A value apart from it would be taken for something else.
        assert!(flags("holdfast --init-store true").is_err());
        let both = flags("holdfast --init-store --store redis://h").unwrap();
        assert_eq!(both.get(&STORE), Some("redis://h"));
    }

    #[test]
    fn a_password_is_no_flag_and_is_not_said_again() {
        for line in [
            "holdfast --store-password hunter2",
            "holdfast --store-password=hunter2",
            "holdfast --store-password",
            "holdfast --store redis://h --store-password hunter2 --init-store",
        ] {
            let error = flags(line).unwrap_err();
            for part in ["HOLDFAST_STORE_PASSWORD", "--store-password-file"] {
                assert!(error.contains(part), "{line}: {error}");
            }
            assert!(!error.contains("hunter2"), "{line}: {error}");
        }
        for line in [
            "holdfast --store-pasword hunter2",
            "holdfast --store-pasword=hunter2",
            "holdfast --store-password hunter2 --bogus",
        ] {
            let error = flags(line).unwrap_err();
            assert!(!error.contains("hunter2"), "{line}: {error}");
        }
    }

    #[test]
    fn a_command_with_servers_of_its_own_has_few_of_the_flags() {
        let grammar = StoreFlags::augment_args(Command::new("holdfast"));
        let parse = |line: &str| grammar.clone().try_get_matches_from(line.split(' '));
        let matches = parse("holdfast --store redis://h --durability local").unwrap();
        let flags = StoreFlags::from_arg_matches(&matches).unwrap().0;
        assert_eq!(flags.get(&STORE), Some("redis://h"));
        assert!(parse("holdfast --data-dir x").is_err());
        let matches = parse("holdfast --store-password x").unwrap();
        assert!(StoreFlags::from_arg_matches(&matches).is_err());
    }
}
