//! A document as text for people: names and values aligned, parts indented,
//! documents of a kind as a table.

use std::fmt::Write;

use jiff::Timestamp;

use super::{Doc, Rows, Value};
use crate::time;

/// Between columns.
const GAP: &str = "  ";

impl Doc {
    /// Lines of text; `now` is for telling how far times are away.
    pub(crate) fn text(&self, now: Timestamp) -> String {
        let mut text = String::new();
        self.write(&mut text, "", now);
        text
    }

    fn write(&self, text: &mut String, indent: &str, now: Timestamp) {
        let simple = |(name, value): &(&'static str, Value)| {
            let said = value.phrase(Some(now)).filter(|said| !said.is_empty())?;
            Some((label(name), said))
        };
        let width = self
            .fields
            .iter()
            .filter_map(simple)
            .map(|(name, _)| width(&name))
            .max();
        for field in &self.fields {
            if let Some((name, said)) = simple(field) {
                line(text, indent, &[pad(&name, width.unwrap_or_default()), said]);
            } else {
                write_large(text, indent, label(field.0), &field.1, now);
            }
        }
    }
}

/// Writes a value that takes lines of its own. Empty ones are not mentioned.
fn write_large(text: &mut String, indent: &str, name: String, value: &Value, now: Timestamp) {
    let deeper = format!("{indent}{GAP}");
    match value {
        Value::Part(part) => {
            line(text, indent, &[name]);
            part.write(text, &deeper, now);
        }
        Value::Rows(rows) if !rows.rows.is_empty() => {
            line(text, indent, &[name]);
            rows.write(text, &deeper);
        }
        Value::Lines(lines) if !lines.is_empty() => {
            line(text, indent, &[name]);
            for said in lines {
                line(text, &deeper, &[format!("- {said}")]);
            }
        }
        _ => {}
    }
}

impl Rows {
    /// The table alone, for results that are nothing but a list.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        self.write(&mut text, "");
        text
    }

    fn write(&self, text: &mut String, indent: &str) {
        let columns: Vec<Column> = self.columns.iter().map(|name| self.column(name)).collect();
        line(
            text,
            indent,
            &columns.iter().map(|c| c.cell(&c.head)).collect::<Vec<_>>(),
        );
        for row in 0..self.rows.len() {
            line(
                text,
                indent,
                &columns
                    .iter()
                    .map(|c| c.cell(&c.cells[row]))
                    .collect::<Vec<_>>(),
            );
        }
    }

    fn column(&self, path: &str) -> Column {
        let values = || self.rows.iter().map(|row| row.field(path));
        let numeric = values()
            .flatten()
            .all(|value| matches!(value, Value::Number(_)));
        let cells: Vec<_> = values()
            .map(|value| {
                value
                    .and_then(|value| value.phrase(None))
                    .unwrap_or_default()
            })
            .collect();
        let name = path.rsplit('.').next().unwrap_or(path);
        let head = label(name).to_uppercase();
        let width = cells
            .iter()
            .chain([&head])
            .map(|cell| width(cell))
            .max()
            .unwrap_or_default();
        Column {
            head,
            cells,
            width,
            numeric,
        }
    }
}

/// A column of a table. Numbers stand to the right, so that they compare.
struct Column {
    head: String,
    cells: Vec<String>,
    width: usize,
    numeric: bool,
}

impl Column {
    fn cell(&self, said: &str) -> String {
        let space = " ".repeat(self.width.saturating_sub(width(said)));
        if self.numeric {
            format!("{space}{said}")
        } else {
            format!("{said}{space}")
        }
    }
}

impl Value {
    /// The value in a few words; `None` if it takes lines of its own. With
    /// `now`, times say also how far away they are.
    fn phrase(&self, now: Option<Timestamp>) -> Option<String> {
        Some(match self {
            Self::Text(text) => text.clone(),
            Self::Number(number) => number.to_string(),
            Self::Means(_, meaning) => (*meaning).to_owned(),
            Self::Flag(true) => "yes".to_owned(),
            Self::Flag(false) => "no".to_owned(),
            Self::Time(time) => {
                // More digits than a deadline of 100 ms needs only distract.
                let shown = format!("{time:.3}").replace(".000Z", "Z");
                match now {
                    Some(now) => format!("{shown} ({})", time::relative(*time, now)),
                    None => shown,
                }
            }
            Self::Span(duration) => time::spell(*duration),
            Self::Part(_) | Self::Rows(_) | Self::Lines(_) => return None,
        })
    }
}

/// A field's name for people.
fn label(name: &str) -> String {
    name.replace('_', " ")
}

/// Letters, not bytes: display names are in any language.
fn width(text: &str) -> usize {
    text.chars().count()
}

fn pad(text: &str, to: usize) -> String {
    format!("{text}{}", " ".repeat(to.saturating_sub(width(text))))
}

fn line(text: &mut String, indent: &str, parts: &[String]) {
    // Writing to a string cannot fail.
    writeln!(
        text,
        "{}",
        format!("{indent}{}", parts.join(GAP)).trim_end()
    )
    .ok();
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn now() -> Timestamp {
        time::parse_time("2026-11-27T09:00:00Z").unwrap()
    }

    #[test]
    fn names_and_values_are_aligned_and_parts_indented() {
        let doc = Doc::new()
            .with("outcome", "RESERVED")
            .with("replayed", false)
            .with("state_reason", "")
            .with("limit", Value::Means(0, "no limit"))
            .with(
                "reservation",
                Doc::new()
                    .with(
                        "expire_time",
                        time::parse_time("2026-11-27T09:04:59.5Z").unwrap(),
                    )
                    .with("hold_ttl", Duration::from_mins(5)),
            )
            .with("warnings", vec!["the disk is slow".to_owned()])
            .with("nodes", Rows::new(&["endpoint"], Vec::new()));
        assert_eq!(
            doc.text(now()),
            "outcome   RESERVED\n\
             replayed  no\n\
             limit     no limit\n\
             reservation\n  \
               expire time  2026-11-27T09:04:59.500Z (in 4m 59s)\n  \
               hold ttl     5m\n\
             warnings\n  \
               - the disk is slow\n"
        );
    }

    #[test]
    fn tables_have_numbers_to_the_right_and_gaps_where_nothing_is_set() {
        let row = |id: &str, available: Option<i64>, phase: &str| {
            Doc::new()
                .with("item_id", id)
                .with_set("available", available)
                .with("phase", phase)
                .with("not_shown", 1_i64)
        };
        let rows = vec![
            row("sneaker", Some(1_000), "ON_SALE"),
            row("käse", Some(7), "ENDED"),
            row("x", None, "PAUSED"),
        ];
        assert_eq!(
            Rows::new(&["item_id", "available", "phase"], rows).text(),
            "ITEM ID  AVAILABLE  PHASE\n\
             sneaker       1000  ON_SALE\n\
             käse             7  ENDED\n\
             x                   PAUSED\n"
        );
    }

    #[test]
    fn a_table_without_rows_is_its_head() {
        assert_eq!(
            Rows::new(&["item_id", "phase"], Vec::new()).text(),
            "ITEM ID  PHASE\n"
        );
    }
}
