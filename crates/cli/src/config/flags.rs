//! The flags of the settings, made from the list of them.

use std::collections::BTreeMap;

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

use super::list::{ALL, CONFIG, Setting, environment_name};

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
        self.config = matches.get_one(CONFIG).cloned();
        let given = ALL.iter().filter_map(|setting| {
            let text = matches.get_one::<String>(setting.name)?;
            Some((setting.name, text.clone()))
        });
        self.given = given.collect();
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

/// The environment and the default are told by hand: clap is to read neither,
/// for the file lies between them.
fn flag(setting: &'static Setting) -> Arg {
    Arg::new(setting.name)
        .long(setting.name)
        .value_name(setting.form)
        .help(format!(
            "{} [default: {}] [env: {}]",
            setting.help,
            setting.default.says(),
            setting.environment_name()
        ))
}
