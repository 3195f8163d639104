//! Four layers of strings, one over the other: flag, environment, file,
//! default.

use std::fmt::Display;

use super::file::File;
use super::flags::Flags;
use super::list::{CONFIG, Setting, environment_name};
use crate::environment::Environment;
use crate::failure::Failure;

/// Where values come from. Nothing here looks at the process itself.
#[derive(Debug)]
pub(crate) struct Layers<'a> {
    flags: &'a Flags,
    environment: &'a Environment,
    file: File,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Flag,
    Environment,
    File { path: String, line: usize },
    Default,
}

/// A setting's value, as it was written.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    pub(crate) setting: &'static Setting,
    pub(crate) text: String,
    pub(crate) origin: Origin,
}

impl<'a> Layers<'a> {
    /// These flags over this environment, over the file that either names.
    pub(crate) fn over(flags: &'a Flags, environment: &'a Environment) -> Result<Self, Failure> {
        let path = match flags.config() {
            Some(path) => Some(path),
            None => environment.get(&environment_name(CONFIG))?,
        };
        let file = path.map(File::read).transpose()?.unwrap_or_default();
        Ok(Self::with_file(flags, environment, file))
    }

    /// The same with a file that is read already.
    pub(super) fn with_file(flags: &'a Flags, environment: &'a Environment, file: File) -> Self {
        Self {
            flags,
            environment,
            file,
        }
    }

    /// What `setting` is: the first layer that says something counts.
    pub(crate) fn value(&self, setting: &'static Setting) -> Result<Value, Failure> {
        let (text, origin) = if let Some(text) = self.flags.get(setting) {
            (text.to_owned(), Origin::Flag)
        } else if let Some(text) = self.environment.get(&setting.environment_name())? {
            (text.to_owned(), Origin::Environment)
        } else if let Some((text, line)) = self.file.get(setting) {
            let path = self.file.path().to_owned();
            (text.to_owned(), Origin::File { path, line })
        } else {
            (setting.default.text(), Origin::Default)
        };
        Ok(Value {
            setting,
            text,
            origin,
        })
    }

    /// `setting`, understood by `parse`; else a sentence that says where the
    /// value stands and what is wrong with it.
    pub(crate) fn read<T, E: Display>(
        &self,
        setting: &'static Setting,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, Failure> {
        let value = self.value(setting)?;
        parse(&value.text).map_err(|wrong| Failure::usage(format!("{}: {wrong}", value.place())))
    }
}

impl Value {
    /// The value where somebody can find it, such as `--drain-grace "5"`.
    fn place(&self) -> String {
        let name = self.setting.name;
        let shown = if self.setting.secret {
            HIDDEN.to_owned()
        } else {
            format!("{:?}", self.text)
        };
        match &self.origin {
            Origin::Flag => format!("--{name} {shown}"),
            Origin::Environment => format!("{}={shown}", self.setting.environment_name()),
            Origin::File { path, line } => format!("{path}, line {line}: {name} = {shown}"),
            Origin::Default => format!("the default of --{name}, {shown}"),
        }
    }

    /// The value for those who may not know secrets.
    pub(crate) fn shown(&self) -> &str {
        if self.setting.secret {
            HIDDEN
        } else {
            &self.text
        }
    }

    /// Where it is set, in one word ...
    pub(crate) fn layer(&self) -> &'static str {
        match self.origin {
            Origin::Flag => "flag",
            Origin::Environment => "environment",
            Origin::File { .. } => "file",
            Origin::Default => "default",
        }
    }

    /// ... and by what: nothing for a default.
    pub(crate) fn set_by(&self) -> String {
        match &self.origin {
            Origin::Flag => format!("--{}", self.setting.name),
            Origin::Environment => self.setting.environment_name(),
            Origin::File { path, line } => format!("{path}:{line}"),
            Origin::Default => String::new(),
        }
    }
}

/// What is printed of a secret.
const HIDDEN: &str = "(secret)";

#[cfg(test)]
mod tests {
    use super::super::list::{self, DRAIN_GRACE};
    use super::*;
    use crate::time::parse_duration;

    fn file() -> File {
        File::parse("h.toml", "# ours\ndrain-grace = \"3s\"").unwrap()
    }

    /// The value of `DRAIN_GRACE`, and what set it.
    fn told(flags: &[(&'static str, &str)], names: &[(&str, &str)], file: File) -> [String; 3] {
        let (flags, environment) = (Flags::of(flags), Environment::of(names));
        let layers = Layers::with_file(&flags, &environment, file);
        let value = layers.value(&DRAIN_GRACE).unwrap();
        [value.text.clone(), value.layer().to_owned(), value.set_by()]
    }

    #[test]
    fn the_flag_beats_the_environment_beats_the_file_beats_the_default() {
        let flags = [("drain-grace", "1s")];
        let names = [("HOLDFAST_DRAIN_GRACE", "2s")];
        assert_eq!(
            told(&flags, &names, file()),
            ["1s", "flag", "--drain-grace"]
        );
        assert_eq!(
            told(&[], &names, file()),
            ["2s", "environment", "HOLDFAST_DRAIN_GRACE"]
        );
        assert_eq!(told(&[], &[], file()), ["3s", "file", "h.toml:2"]);
        assert_eq!(told(&[], &[], File::default()), ["5s", "default", ""]);
    }

    #[test]
    fn a_wrong_value_is_told_where_it_stands() {
        let wrong = |flags: &[(&'static str, &str)], names: &[(&str, &str)], text: &str| {
            let (flags, environment) = (Flags::of(flags), Environment::of(names));
            let file = File::parse("h.toml", text).unwrap();
            let layers = Layers::with_file(&flags, &environment, file);
            let read = layers.read(&DRAIN_GRACE, parse_duration);
            read.unwrap_err().to_string()
        };
        let rule = "a duration needs a unit, such as 5s, 5m or 5ms";
        assert_eq!(
            wrong(&[("drain-grace", "5")], &[], ""),
            format!("--drain-grace \"5\": {rule}")
        );
        assert_eq!(
            wrong(&[], &[("HOLDFAST_DRAIN_GRACE", "5")], ""),
            format!("HOLDFAST_DRAIN_GRACE=\"5\": {rule}")
        );
        assert_eq!(
            wrong(&[], &[], "\ndrain-grace = 5"),
            format!("h.toml, line 2: drain-grace = \"5\": {rule}")
        );
    }

    #[test]
    fn a_secret_is_never_said() {
        static PASSWORD: Setting = Setting {
            name: "password",
            form: "TEXT",
            default: list::Default::Is("none"),
            secret: true,
            help: "",
        };
        let (flags, environment) = (
            Flags::default(),
            Environment::of(&[("HOLDFAST_PASSWORD", "hunter2")]),
        );
        let layers = Layers::with_file(&flags, &environment, File::default());
        let value = layers.value(&PASSWORD).unwrap();
        assert_eq!(value.shown(), "(secret)");
        let read = layers.read(&PASSWORD, |_| Err::<(), _>("too short"));
        assert_eq!(
            read.unwrap_err().to_string(),
            "HOLDFAST_PASSWORD=(secret): too short"
        );
    }
}
