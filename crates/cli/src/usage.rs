//! What is wrong with the arguments, in one sentence.

/// Makes a sentence of what clap would print: what is wrong and its tips, and
/// not the usage below, which `--help` has.
pub(crate) fn sentence(printed: &str) -> String {
    let told = |paragraph: &&str| {
        let start = paragraph.trim_start();
        !(start.is_empty() || start.starts_with("Usage:") || start.starts_with("For more"))
    };
    let paragraphs = printed.split("\n\n").take_while(told).map(|paragraph| {
        let lines: Vec<_> = paragraph.lines().map(str::trim).collect();
        let said = lines.join(" ");
        let said = said.strip_prefix("error: ").unwrap_or(&said);
        said.strip_prefix("tip: ").unwrap_or(said).to_owned()
    });
    paragraphs.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::grammar;

    #[test]
    fn what_clap_says_becomes_a_sentence() {
        let table = [
            (
                "holdfast serve --listn x",
                "unexpected argument '--listn' found; a similar argument exists: '--listen'",
            ),
            (
                "holdfast reserv sneaker ada",
                "unrecognized subcommand 'reserv'; some similar subcommands exist: '",
            ),
            (
                "holdfast item create sneaker",
                "the following required arguments were not provided: --stock <UNITS>",
            ),
            (
                "holdfast extend sneaker.AE --for 300",
                "invalid value '300' for '--for <DURATION>': a duration needs a unit, such as \
                 300s, 300m or 300ms",
            ),
            (
                "holdfast status --output xml",
                "invalid value 'xml' for '--output <FORMAT>' [possible values: text, json]",
            ),
        ];
        for (line, expected) in table {
            let error = grammar().try_get_matches_from(line.split(' ')).unwrap_err();
            let said = sentence(&error.render().to_string());
            assert!(said.starts_with(expected.trim_end()), "{line}: {said}");
            assert_eq!(said.lines().count(), 1, "{said}");
        }
    }
}
