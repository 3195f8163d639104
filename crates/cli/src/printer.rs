//! Where results go.

use std::ffi::OsString;
use std::io::{self, ErrorKind, Write};

use clap::ValueEnum;

use crate::document::{Doc, Rows};
use crate::environment::Environment;
use crate::failure::Failure;
use crate::time;

/// How results look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Text,
    /// One JSON object on one line, for programs
    Json,
}

impl Format {
    /// The format asked for, as far as one can tell before the arguments are
    /// understood: also the error that they are wrong shall have it.
    pub(crate) fn guess(args: &[OsString], environment: &Environment) -> Self {
        let pair = |pair: &[OsString]| pair[0] == "--output" && pair[1] == "json";
        let by_flag = args.windows(2).any(pair) || args.iter().any(|arg| arg == "--output=json");
        let by_name = matches!(environment.get("HOLDFAST_OUTPUT"), Ok(Some("json")));
        let other_flag = args
            .iter()
            .any(|arg| arg == "--output" || arg == "--output=text");
        if by_flag || (by_name && !other_flag) {
            Self::Json
        } else {
            Self::Text
        }
    }
}

/// Writes results to stdout.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Printer {
    format: Format,
}

impl Printer {
    pub(crate) fn new(format: Format) -> Self {
        Self { format }
    }

    pub(crate) fn format(self) -> Format {
        self.format
    }

    /// Prints `doc`, in text below a `headline` that says it in a sentence.
    pub(crate) fn print(self, headline: Option<&str>, doc: &Doc) -> Result<(), Failure> {
        match self.format {
            Format::Json => write_line(&doc.json()),
            Format::Text => {
                let text = doc.text(time::now());
                let headline = headline
                    .map(|line| format!("{line}\n\n"))
                    .unwrap_or_default();
                write_line(&format!("{headline}{}", text.trim_end()))
            }
        }
    }

    /// A result that is nothing but a list: a table, or an object with one
    /// field, so that others can be added.
    pub(crate) fn print_rows(self, name: &'static str, rows: Rows) -> Result<(), Failure> {
        match self.format {
            Format::Text => write_line(rows.text().trim_end()),
            Format::Json => self.print(None, &Doc::new().with(name, rows)),
        }
    }
}

/// Whether anybody reads what is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    Yes,
    /// The reader has gone, as `head -1` does.
    NobodyReads,
}

/// Writes a line, and sees to it that it leaves the process. A reader that
/// has gone is no failure: the deed is done all the same.
pub(crate) fn write_line(line: &str) -> Result<(), Failure> {
    try_write_line(line).map(|_| ())
}

/// The same for those who would go on writing.
pub(crate) fn try_write_line(line: &str) -> Result<Written, Failure> {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{line}").and_then(|()| stdout.flush()) {
        Ok(()) => Ok(Written::Yes),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Written::NobodyReads),
        Err(error) => Err(Failure::local(format!("cannot write the result: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guess(args: &[&str], environment: &[(&str, &str)]) -> Format {
        let args: Vec<_> = args.iter().map(OsString::from).collect();
        Format::guess(&args, &Environment::of(environment))
    }

    #[test]
    fn the_format_is_known_before_the_arguments_are() {
        let by_name = [("HOLDFAST_OUTPUT", "json")];
        assert_eq!(
            guess(&["holdfast", "nonsense", "--output", "json"], &[]),
            Format::Json
        );
        assert_eq!(
            guess(&["holdfast", "--output=json", "nonsense"], &[]),
            Format::Json
        );
        assert_eq!(guess(&["holdfast", "nonsense"], &by_name), Format::Json);
        assert_eq!(guess(&["holdfast", "nonsense"], &[]), Format::Text);
        assert_eq!(
            guess(&["holdfast", "--output", "text"], &by_name),
            Format::Text
        );
    }
}
