//! Four layers of strings, one over the other: flag, environment, file,
//! default.

use std::fmt::Display;

use super::file::File;
use super::flags::Flags;
use super::list::{CONFIG, Kind, Setting, environment_name};
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
        parse(&value.text).map_err(|wrong| value.wrong(wrong))
    }

    /// The same for a setting that need not be set.
    pub(crate) fn read_set<T, E: Display>(
        &self,
        setting: &'static Setting,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, Failure> {
        if self.value(setting)?.origin == Origin::Default {
            return Ok(None);
        }
        self.read(setting, parse).map(Some)
    }
}

impl Origin {
    /// Whether it counts before `other`, or as much.
    pub(crate) fn is_as_strong_as(&self, other: &Self) -> bool {
        self.rank() >= other.rank()
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Flag => 3,
            Self::Environment => 2,
            Self::File { .. } => 1,
            Self::Default => 0,
        }
    }
}

impl Value {
    /// A sentence that says where this stands and what is wrong with it.
    pub(crate) fn wrong(&self, wrong: impl Display) -> Failure {
        Failure::usage(format!("{}: {wrong}", self.place()))
    }

    /// The value where somebody can find it, such as `--drain-grace "5"`.
    pub(crate) fn place(&self) -> String {
        let name = self.setting.name;
        let shown = match self.setting.kind {
            Kind::Secret => HIDDEN.to_owned(),
            Kind::Address => format!("{:?}", without_secrets(&self.text)),
            Kind::Plain | Kind::Switch => format!("{:?}", self.text),
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
        match self.setting.kind {
            Kind::Secret if self.origin != Origin::Default => HIDDEN,
            // An address that is in force holds no secrets.
            _ => &self.text,
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

/// An address without what may be a password: whatever comes before an `@` or
/// after the nodes.
fn without_secrets(address: &str) -> String {
    let (secret, rest) = match address.rsplit_once('@') {
        Some((_, rest)) => (format!("{HIDDEN}@"), rest),
        None => (String::new(), address),
    };
    match rest.split_once(['?', '#']) {
        Some((nodes, _)) => format!("{secret}{nodes}?{HIDDEN}"),
        None => format!("{secret}{rest}"),
    }
}

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
            kind: Kind::Secret,
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

    #[test]
    fn an_address_is_said_without_what_may_be_a_password() {
        for (address, said) in [
            ("redis://h:1", "redis://h:1"),
            ("redis://ada:hunter2@h:1", "(secret)@h:1"),
            ("redis://ada:a@b@a:1,b:2", "(secret)@a:1,b:2"),
            ("redis://h:1?password=hunter2", "redis://h:1?(secret)"),
            ("ada@h#hunter2?x", "(secret)@h?(secret)"),
        ] {
            let (flags, environment) = (Flags::of(&[("store", address)]), Environment::default());
            let layers = Layers::with_file(&flags, &environment, File::default());
            let place = layers.value(&list::STORE).unwrap().place();
            assert_eq!(place, format!("--store \"{said}\""));
        }
    }

    #[test]
    fn what_nobody_sets_is_not_read() {
        let read = |names: &[(&str, &str)]| {
            let (flags, environment) = (Flags::default(), Environment::of(names));
            let layers = Layers::with_file(&flags, &environment, File::default());
            layers.read_set(&list::STORE_USERNAME, |text| Ok::<_, String>(text.len()))
        };
        assert_eq!(read(&[]).unwrap(), None);
        assert_eq!(
            read(&[("HOLDFAST_STORE_USERNAME", "ada")]).unwrap(),
            Some(3)
        );
        assert_eq!(read(&[("HOLDFAST_STORE_USERNAME", "")]).unwrap(), Some(0));
    }
}
