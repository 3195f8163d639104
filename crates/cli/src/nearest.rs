//! What somebody most likely meant.

/// The one of `valid` that looks most like `name`; `None` if none does.
pub(crate) fn nearest<'a>(name: &str, valid: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let likeness = |known: &str| strsim::jaro(name, known);
    let best = valid.max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(best) > 0.6).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likest_is_proposed_and_nothing_far_off() {
        let valid = ["listen", "data-dir", "drain-grace", "drain-deadline"];
        let table = [
            ("listn", Some("listen")),
            ("datadir", Some("data-dir")),
            ("drain-grace-period", Some("drain-grace")),
            ("xyzzy", None),
            ("", None),
        ];
        for (name, expected) in table {
            assert_eq!(nearest(name, valid.into_iter()), expected, "{name}");
        }
    }
}
