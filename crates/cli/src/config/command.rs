//! `holdfast config`.

use clap::{Args, Subcommand};

use super::list::{ALL, Setting};
use super::{Flags, Layers, Settings, table};
use crate::document::{Doc, Rows};
use crate::environment::Environment;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::printer::{Format, Printer, write_line};

/// `holdfast config`.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Tell whether a server would start with these settings
    ///
    /// Takes the same flags, environment and file as `serve`, and opens no port
    /// and no store.
    Check(Flags),
    /// Print every setting, its value, and where that comes from
    ///
    /// Takes the same flags, environment and file as `serve`. Secrets are not
    /// printed.
    Print(PrintArgs),
}

/// `holdfast config print`.
#[derive(Debug, Args)]
pub(crate) struct PrintArgs {
    #[command(flatten)]
    flags: Flags,

    /// Print what settings there are instead, as the table of docs/SETTINGS.md
    #[arg(long, hide = true)]
    table: bool,
}

/// Runs a command to its end.
pub(crate) fn run(
    command: &ConfigCommand,
    environment: &Environment,
    printer: Printer,
) -> Result<Exit, Failure> {
    match command {
        ConfigCommand::Check(flags) => {
            Settings::load(flags, environment)?;
            match printer.format() {
                Format::Text => write_line("ok")?,
                Format::Json => write_line(&Doc::new().with("ok", true).json())?,
            }
        }
        ConfigCommand::Print(args) if args.table => write_line(table::markdown().trim_end())?,
        ConfigCommand::Print(args) => {
            let layers = Layers::over(&args.flags, environment)?;
            // What is not valid is not in force either: nothing is printed then.
            Settings::read(&layers)?;
            printer.print_rows("settings", rows(&layers)?)?;
        }
    }
    Ok(Exit::Done)
}

fn rows(layers: &Layers<'_>) -> Result<Rows, Failure> {
    let row = |setting: &'static Setting| {
        let value = layers.value(setting)?;
        Ok::<_, Failure>(
            Doc::new()
                .with("name", setting.name)
                .with("value", value.shown())
                .with("origin", value.layer())
                .with("set_by", value.set_by()),
        )
    };
    let rows = ALL
        .iter()
        .map(|setting| row(setting))
        .collect::<Result<_, _>>()?;
    Ok(Rows::new(&["name", "value", "origin", "set_by"], rows))
}

#[cfg(test)]
mod tests {
    use super::super::file::File;
    use super::*;

    #[test]
    fn every_setting_is_told_with_its_origin() {
        let flags = Flags::of(&[("workers", "3")]);
        let environment = Environment::of(&[("HOLDFAST_LOG", "debug")]);
        let file = File::parse("h.toml", "drain-grace = \"1s\"").unwrap();
        let layers = Layers::with_file(&flags, &environment, file);
        let rows = rows(&layers).unwrap();
        let doc = Doc::new().with("settings", rows).json();
        for part in [
            r#"{"name":"listen","value":"127.0.0.1:50051","origin":"default","set_by":""}"#,
            r#"{"name":"workers","value":"3","origin":"flag","set_by":"--workers"}"#,
            r#"{"name":"log","value":"debug","origin":"environment","set_by":"HOLDFAST_LOG"}"#,
            r#"{"name":"drain-grace","value":"1s","origin":"file","set_by":"h.toml:1"}"#,
        ] {
            assert!(doc.contains(part), "{part} is not in {doc}");
        }
        assert_eq!(doc.matches("\"name\"").count(), ALL.len());
    }
}
