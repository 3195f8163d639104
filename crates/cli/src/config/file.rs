//! The file of settings: TOML, one level, the names of the flags.

use std::io;
use std::ops::Range;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::list::{ALL, Setting};
use crate::failure::Failure;
use crate::nearest::nearest;

/// A file of settings, read and understood; the values are not yet.
#[derive(Debug, Default)]
pub(crate) struct File {
    /// As it was named to us.
    path: String,
    entries: Vec<Entry>,
}

/// A line that sets something.
#[derive(Debug)]
struct Entry {
    setting: &'static Setting,
    text: String,
    line: usize,
}

impl File {
    /// Reads the file at `path`.
    pub(crate) fn read(path: &str) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(Path::new(path)).map_err(|error| {
            let why = match error.kind() {
                io::ErrorKind::NotFound => "it is not there".to_owned(),
                io::ErrorKind::InvalidData => "it is not UTF-8".to_owned(),
                _ => error.to_string(),
            };
            Failure::usage(format!(
                "the configuration file {path} cannot be read: {why}; name another with --config \
                 or HOLDFAST_CONFIG, or leave both away"
            ))
        })?;
        Self::parse(path, &text)
    }

    /// Understands the `text` of the file at `path`.
    pub(crate) fn parse(path: &str, text: &str) -> Result<Self, Failure> {
        let at = |span: Range<usize>| line_of(text, span.start);
        let table = DeTable::parse(text).map_err(|error| {
            let line = at(error.span().unwrap_or_default());
            Failure::usage(format!(
                "{path}, line {line}: {}; write settings like drain-grace = \"5s\"",
                error.message()
            ))
        })?;
        let mut keys: Vec<_> = table.into_inner().into_iter().collect();
        // The first wrong one is told first.
        keys.sort_by_key(|(key, _)| key.span().start);
        let mut entries = Vec::new();
        for (key, value) in keys {
            let line = at(key.span());
            let place = format!("{path}, line {line}");
            let setting = find(key.get_ref(), &place)?;
            let text = scalar(value.get_ref()).ok_or_else(|| {
                Failure::usage(format!(
                    "{place}: {} is no single value: write it like {} = {:?}",
                    setting.name,
                    setting.name,
                    setting.default.example()
                ))
            })?;
            entries.push(Entry {
                setting,
                text,
                line,
            });
        }
        Ok(Self {
            path: path.to_owned(),
            entries,
        })
    }

    /// What the file says about `setting`, and on which line.
    pub(crate) fn get(&self, setting: &Setting) -> Option<(&str, usize)> {
        let about = |entry: &&Entry| entry.setting.name == setting.name;
        let entry = self.entries.iter().find(about)?;
        Some((&entry.text, entry.line))
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }
}

fn find(name: &str, place: &str) -> Result<&'static Setting, Failure> {
    let known = ALL.iter().find(|setting| setting.name == name);
    known.copied().ok_or_else(|| {
        let names = ALL.iter().map(|setting| setting.name);
        Failure::usage(match nearest(name, names) {
            Some(likely) => {
                format!(
                    "{place}: there is no setting {name}; did you mean {likely}? Else remove it"
                )
            }
            None => format!(
                "{place}: there is no setting {name}; remove it (`holdfast config print` lists all)"
            ),
        })
    })
}

/// A value as a flag would have it, so that all layers are read alike: 5 and
/// "5" are both a duration without a unit.
fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.clone().into_owned()),
        DeValue::Integer(number) => Some(
            i128::from_str_radix(number.as_str(), number.radix())
                .map_or_else(|_| number.to_string(), |number| number.to_string()),
        ),
        DeValue::Float(number) => Some(number.to_string()),
        DeValue::Boolean(flag) => Some(flag.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

/// The line, from 1, of the byte at `offset`.
fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().iter().take(offset);
    1 + before.filter(|byte| **byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::super::list::{DRAIN_GRACE, LISTEN, WORKERS};
    use super::*;

    fn parse(text: &str) -> Result<File, String> {
        File::parse("holdfast.toml", text).map_err(|failure| failure.to_string())
    }

    #[test]
    fn values_are_texts_with_their_lines() {
        let file =
            parse("# ours\nlisten = \"[::]:1\"\n\nworkers = 0x10\ndrain-grace = 5\n").unwrap();
        assert_eq!(file.get(&LISTEN), Some(("[::]:1", 2)));
        assert_eq!(file.get(&WORKERS), Some(("16", 4)));
        assert_eq!(file.get(&DRAIN_GRACE), Some(("5", 5)));
        let empty = parse("").unwrap();
        assert_eq!(empty.get(&LISTEN), None);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_and_what_is_right() {
        let table: &[(&str, &[&str])] = &[
            (
                "listen = \"[::]:1\"\ndrain_grace = \"5s\"",
                &["holdfast.toml, line 2", "drain_grace", "mean drain-grace?"],
            ),
            (
                "\n\n[drain]\ngrace = \"5s\"",
                &["line 3", "no setting drain"],
            ),
            ("xyzzy = 1", &["line 1", "no setting xyzzy", "config print"]),
            ("config = \"other.toml\"", &["no setting config"]),
            ("workers = 4\nlisten = ", &["line 2"]),
            ("workers = 4\nworkers = 5", &["line 2", "duplicate key"]),
            (
                "workers = [4]",
                &["line 1", "no single value", "workers = "],
            ),
            ("drain-grace = 5s", &["line 1"]),
            // The first of two, though the other comes first in the alphabet.
            ("zzzz = 1\naaaa = 2", &["line 1", "zzzz"]),
        ];
        for (text, parts) in table {
            let error = parse(text).unwrap_err();
            assert_eq!(error.lines().count(), 1, "{error}");
            for part in *parts {
                assert!(error.contains(part), "{text:?}: {error}");
            }
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let failure = File::read("/no/such/holdfast.toml")
            .unwrap_err()
            .to_string();
        for part in ["/no/such/holdfast.toml", "not there", "--config"] {
            assert!(failure.contains(part), "{failure}");
        }
        let failure = File::read("/").unwrap_err().to_string();
        assert!(failure.contains("cannot be read"), "{failure}");
    }
}
