//! What the help of each command ends with: examples and exit codes. Every
//! example is parsed by a test, so none goes stale.

use clap::Command;

use crate::exit;

/// Examples of each command, by its words.
const EXAMPLES: &[(&str, &[&str])] = &[
    (
        "serve",
        &[
            "holdfast serve",
            "holdfast serve --listen 0.0.0.0:50051 --data-dir /var/lib/holdfast --log-format json",
            "holdfast serve --config /etc/holdfast.toml",
            "holdfast serve --store redis-cluster://10.0.0.1:6379,10.0.0.2:6379 --init-store",
        ],
    ),
    (
        "config check",
        &["holdfast config check --config /etc/holdfast.toml"],
    ),
    (
        "config print",
        &[
            "holdfast config print",
            "holdfast config print --config /etc/holdfast.toml --output json",
        ],
    ),
    (
        "demo",
        &[
            "holdfast demo",
            "holdfast demo --units 100 --buyers 2000",
            "holdfast demo --store redis-cluster://127.0.0.1:7000",
        ],
    ),
    (
        "bench",
        &[
            "holdfast bench",
            "holdfast bench --mode batch --callers 16 --items 10 --requests 1000000",
            "holdfast bench --addr http://10.0.0.7:50051,http://10.0.0.8:50051 --duplicates 10 --stock 10000",
            "holdfast bench --pid server=456 --store-stats redis://127.0.0.1:6379 --compare naive-lua",
        ],
    ),
    (
        "completions",
        &["holdfast completions bash > /etc/bash_completion.d/holdfast"],
    ),
    (
        "item create",
        &[
            "holdfast item create sneaker --stock 1000 --limit-per-buyer 2 --hold-ttl 10m",
            "holdfast item create ticket-7 --stock 500 --sale-start 2026-11-27T09:00:00Z",
            "holdfast item create gift --stock 50 --sell-at-once",
        ],
    ),
    ("item get", &["holdfast item get sneaker"]),
    (
        "item list",
        &[
            "holdfast item list",
            "holdfast item list --prefix ticket- --state open --state paused",
        ],
    ),
    (
        "item update",
        &[
            "holdfast item update sneaker --hold-ttl 15m --reason slow-checkout",
            "holdfast item update sneaker --reset sale-end --expected-version 3",
        ],
    ),
    (
        "item pause",
        &["holdfast item pause sneaker --reason wrong-price"],
    ),
    ("item resume", &["holdfast item resume sneaker"]),
    ("item close", &["holdfast item close sneaker --yes"]),
    (
        "item delete",
        &[
            "holdfast item delete sneaker",
            "holdfast item delete sneaker --force --yes",
        ],
    ),
    (
        "stock get",
        &[
            "holdfast stock get sneaker",
            "holdfast stock get sneaker gift --strong --output json",
        ],
    ),
    (
        "stock adjust",
        &[
            "holdfast stock adjust sneaker 200 --reason delivery",
            "holdfast stock adjust sneaker -5 --allow-partial --reason damaged",
        ],
    ),
    (
        "stock set",
        &["holdfast stock set sneaker 1200 --expected 1000"],
    ),
    (
        "stock watch",
        &[
            "holdfast stock watch sneaker gift",
            "holdfast stock watch sneaker --changes 10 --output json",
        ],
    ),
    (
        "reserve",
        &[
            "holdfast reserve sneaker ada --quantity 2",
            "holdfast reserve sneaker ada --request-id 018f4e6a-3c1d-7b2a-9f00-5e8d7c6b5a50",
        ],
    ),
    (
        "confirm",
        &[
            "holdfast confirm sneaker.AE",
            "holdfast confirm --item sneaker --buyer ada --request-id 018f4e6a-3c1d-7b2a-9f00-5e8d7c6b5a50 --reacquire",
        ],
    ),
    ("cancel", &["holdfast cancel sneaker.AE"]),
    (
        "return",
        &[
            "holdfast return sneaker.AE --quantity 1",
            "holdfast return sneaker.AE --quantity 1 --discard",
        ],
    ),
    ("extend", &["holdfast extend sneaker.AE --for 5m"]),
    ("reservation get", &["holdfast reservation get sneaker.AE"]),
    (
        "reservation list",
        &[
            "holdfast reservation list sneaker --buyer ada",
            "holdfast reservation list sneaker --state held --limit 0 --output json",
        ],
    ),
    ("explain", &["holdfast explain sneaker ada --quantity 2"]),
    (
        "audit",
        &["holdfast audit sneaker", "holdfast audit sneaker --records"],
    ),
    ("status", &["holdfast status --addr http://10.0.0.7:50051"]),
    ("stripes list", &["holdfast stripes list --state frozen"]),
    (
        "stripes release",
        &["holdfast stripes release 7 --freeze-id 9f3a --accept-loss --reason disk-lost"],
    ),
    (
        "health",
        &["holdfast health", "holdfast health store --timeout 1s"],
    ),
];

/// Gives `command` and all below it their ends; `words` are those that lead to
/// it.
pub(crate) fn with_ends(command: Command, words: &str) -> Command {
    let end = match examples(words) {
        [] => exit::HELP.to_owned(),
        examples => format!("Examples:\n  {}\n\n{}", examples.join("\n  "), exit::HELP),
    };
    let below = |command: Command| {
        let words = format!("{words} {}", command.get_name());
        with_ends(command, words.trim_start())
    };
    command.mut_subcommands(below).after_help(end)
}

fn examples(words: &str) -> &'static [&'static str] {
    let about = |(command, _): &&(&str, &[&str])| *command == words;
    let found = EXAMPLES.iter().find(about);
    found.map(|(_, examples)| *examples).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::grammar;

    #[test]
    fn every_example_is_right_and_of_its_command() {
        for (words, examples) in EXAMPLES {
            for example in *examples {
                let line = example.split(" > ").next().unwrap();
                assert!(line.starts_with(&format!("holdfast {words}")), "{example}");
                grammar()
                    .try_get_matches_from(line.split(' '))
                    .unwrap_or_else(|error| panic!("{example}: {error}"));
            }
        }
    }

    #[test]
    fn every_command_has_examples_a_description_and_exit_codes() {
        fn walk(command: &Command, words: &str, leaves: &mut Vec<String>) {
            let help = command.clone().render_long_help().to_string();
            assert!(help.contains("Exit codes:"), "{words}");
            assert!(command.get_about().is_some(), "{words}");
            let hidden = |arg: &&clap::Arg| !arg.is_hide_set();
            for arg in command.get_arguments().filter(hidden) {
                assert!(arg.get_help().is_some(), "{words} {}", arg.get_id());
            }
            if !command.has_subcommands() {
                assert!(help.contains("Examples:"), "{words}");
                leaves.push(words.to_owned());
            }
            for command in command.get_subcommands() {
                let words = format!("{words} {}", command.get_name());
                walk(command, words.trim_start(), leaves);
            }
        }
        let mut leaves = Vec::new();
        walk(&grammar(), "", &mut leaves);
        for (words, _) in EXAMPLES {
            assert!(leaves.iter().any(|leaf| leaf == words), "{words}");
        }
        assert_eq!(leaves.len(), EXAMPLES.len());
    }
}
