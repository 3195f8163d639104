//! A document as JSON; the rules are in the crate's documentation.

use serde::{Serialize, Serializer};

use super::{Doc, Value};
use crate::time;

impl Doc {
    /// One line of JSON.
    pub(crate) fn json(&self) -> String {
        // Names are strings and numbers are finite: nothing here can fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl Serialize for Doc {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.fields.iter().map(|(name, value)| (name, value)))
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Number(number) | Self::Means(number, _) => serializer.serialize_i64(*number),
            Self::Flag(flag) => serializer.serialize_bool(*flag),
            Self::Time(time) => serializer.collect_str(time),
            Self::Span(duration) => serializer.serialize_str(&time::json_duration(*duration)),
            Self::Part(doc) => doc.serialize(serializer),
            Self::Rows(rows) => rows.rows.serialize(serializer),
            Self::Lines(lines) => lines.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Rows;
    use super::*;

    #[test]
    fn every_value_has_its_form() {
        let doc = Doc::new()
            .with("item_id", "sneaker")
            .with("version", 3_i64)
            .with("limit", Value::Means(0, "no limit"))
            .with("exact", true)
            .with(
                "as_of",
                time::parse_time("2026-11-27T10:00:00.5+01:00").unwrap(),
            )
            .with("hold_ttl", Duration::from_millis(300_100))
            .with_set("held", None::<i64>)
            .with("stock", Doc::new().with("sold", 1_i64))
            .with(
                "shards",
                Rows::new(&["shard"], vec![Doc::new().with("shard", 0_u32)]),
            )
            .with("warnings", vec!["say \"no\"".to_owned()]);
        assert_eq!(
            doc.json(),
            concat!(
                r#"{"item_id":"sneaker","version":3,"limit":0,"exact":true,"#,
                r#""as_of":"2026-11-27T09:00:00.5Z","hold_ttl":"300.100s","#,
                r#""stock":{"sold":1},"shards":[{"shard":0}],"warnings":["say \"no\""]}"#
            )
        );
    }
}
