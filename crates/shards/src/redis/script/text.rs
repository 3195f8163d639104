//! The script's text: the files of `lua/`, one after the other.
//!
//! Rules of the design that the script alone keeps are marked in it, as in
//! `--[[rule NAME]] code --[[else other code]]`: where tests switch NAME off, the
//! script is sent with the other code in the place of both.

const TEXT: &str = concat!(
    include_str!("../../../lua/begin.lua"),
    include_str!("../../../lua/shard.lua"),
    include_str!("../../../lua/lapse.lua"),
    include_str!("../../../lua/store.lua"),
    include_str!("../../../lua/after.lua"),
    include_str!("../../../lua/stock.lua"),
    include_str!("../../../lua/pages.lua"),
    include_str!("../../../lua/catalog.lua"),
    include_str!("../../../lua/fold.lua"),
);

/// As it is sent; a run calls it by its SHA-1.
#[cfg(not(feature = "mutants"))]
pub(in crate::redis) fn script() -> &'static str {
    TEXT
}

/// As it is sent, without the rule that is switched off, if any.
#[cfg(feature = "mutants")]
pub(in crate::redis) fn script() -> &'static str {
    use crate::rules::{Rule, holds};
    use std::sync::LazyLock;
    static MUTANT: LazyLock<String> = LazyLock::new(|| {
        let off = Rule::ALL.iter().find(|rule| !holds(**rule));
        marked::without(TEXT, off.map_or("", |rule| rule.name()))
    });
    &MUTANT
}

#[cfg(any(test, feature = "mutants"))]
mod marked {
    use crate::rules::Rule;

    const RULE: &str = "--[[rule ";
    const ELSE: &str = "--[[else";
    const END: &str = "]]";
    /// What a script cannot have in a comment: it stands before all of them.
    const WHEN_FULL: &str = " flags=allow-oom";

    /// The text without a rule.
    pub(super) fn without(text: &str, name: &str) -> String {
        let mut rest = text;
        let mut made = String::new();
        while let Some((before, rule)) = rest.split_once(RULE) {
            let (here, piece) = rule.split_once(END).unwrap_or((rule, ""));
            let (code, instead) = piece.split_once(ELSE).unwrap_or((piece, ""));
            let (instead, after) = instead.split_once(END).unwrap_or((instead, ""));
            made.push_str(before);
            made.push_str(if here == name { instead } else { code });
            rest = after;
        }
        made.push_str(rest);
        if name == Rule::ScriptsRunWhenFull.name() {
            made = made.replacen(WHEN_FULL, "", 1);
        }
        made
    }

    #[cfg(test)]
    mod tests {
        use super::super::TEXT;
        use super::*;

        /// What the script says in comments.
        fn plain(text: &str) -> String {
            let mut pieces = text.split(RULE);
            let mut made = pieces.next().unwrap().to_owned();
            for piece in pieces {
                let (name, piece) = piece.split_once(END).unwrap();
                let known = Rule::ALL.iter().any(|rule| rule.name() == name);
                assert!(known, "the script names a rule that there is not: {name}");
                let (code, instead) = piece.split_once(ELSE).unwrap();
                made.push_str(code);
                made.push_str(instead.split_once(END).unwrap().1);
            }
            made
        }

        #[test]
        fn a_rule_that_is_off_is_replaced_and_no_other() {
            let whole = plain(TEXT);
            assert_eq!(without(TEXT, ""), whole);
            let off: Vec<_> = Rule::ALL
                .iter()
                .map(|rule| rule.name())
                .filter(|name| without(TEXT, name) != whole)
                .collect();
            let here = [
                "sizes-are-checked",
                "master-knows-the-time",
                "pause-after-adoption",
                "every-run-writes",
                "scripts-run-when-full",
                "freed-shards-are-told",
            ];
            assert_eq!(off, here);
            let text =
                "#!lua flags=allow-oom\na --[[rule x]]b--[[else c]] d --[[rule y]]e--[[else]]";
            assert_eq!(without(text, "x"), "#!lua flags=allow-oom\na  c d e");
            assert_eq!(without(text, "y"), "#!lua flags=allow-oom\na b d ");
        }
    }
}
