//! `docs/SETTINGS.md`, made from the list of settings.

use std::fmt::Write as _;

use super::list::{ALL, CONFIG, Kind, environment_name};

/// How to write the page anew.
#[cfg(test)]
const COMMAND: &str = "cargo run -- config print --table > docs/SETTINGS.md";

const HEAD: &str = "\
# Settings of `holdfast serve`

Made by `cargo run -- config print --table > docs/SETTINGS.md`; do not edit.

A setting has one name: `drain-grace` is the flag `--drain-grace`, the key
`drain-grace` in a TOML file, and `HOLDFAST_DRAIN_GRACE` in the environment. The
flag counts before the environment, that before the file, that before the default.
The file is named by `--config FILE` or `HOLDFAST_CONFIG`; there is no other one.

What is `true` or `false` is as a flag its name alone, as in `--init-store`. A
password is no flag: others can see the arguments of a process.

Names that do not exist are refused, in the environment too if they begin with
`HOLDFAST_`, but for those that Kubernetes sets for services
(`HOLDFAST_SERVICE_HOST`, `HOLDFAST_PORT_50051_TCP` ...). Durations and sizes have
units: `5s`, `100ms`, `1h30m`, `64MiB`, `10GB`. `holdfast config check` tells whether
a server would start, `holdfast config print` what is in force and why.

";

/// The page.
pub(super) fn markdown() -> String {
    let mut page = HEAD.to_owned();
    page.push_str("| setting | environment | value | default | meaning |\n|---|---|---|---|---|\n");
    for setting in ALL {
        // Writing to a string cannot fail.
        writeln!(
            page,
            "| `{}`{} | `{}` | {} | {} | {} |",
            setting.name,
            if setting.kind == Kind::Secret {
                " (no flag)"
            } else {
                ""
            },
            setting.environment_name(),
            setting.form,
            setting.default.says(),
            setting.help
        )
        .ok();
    }
    writeln!(
        page,
        "| `{CONFIG}` (not in the file) | `{}` | FILE | none | The file with the other settings |",
        environment_name(CONFIG)
    )
    .ok();
    page
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn the_page_is_what_the_program_says() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/SETTINGS.md");
        let written = fs::read_to_string(&page).unwrap_or_default();
        assert!(
            written == markdown(),
            "docs/SETTINGS.md does not tell the settings that there are: run\n  {COMMAND}"
        );
        assert!(HEAD.contains(COMMAND));
    }

    #[test]
    fn a_row_has_five_cells() {
        for row in markdown().lines().filter(|line| line.starts_with('|')) {
            assert_eq!(row.matches('|').count(), 6, "{row}");
        }
    }
}
