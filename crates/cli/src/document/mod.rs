//! A result as a document: fields with names, in order. Both forms of output
//! are made from it, so that they cannot say different things.

mod json;
mod text;

use std::time::Duration;

use jiff::Timestamp;

/// Fields in the order in which they are said.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Doc {
    fields: Vec<(&'static str, Value)>,
}

/// What a field can say.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// Words, or the name of an enum's value. Empty ones are left out of text.
    Text(String),
    /// A count.
    Number(i64),
    /// A number that means something else than itself, such as 0 for no limit.
    Means(i64, &'static str),
    /// Yes or no.
    Flag(bool),
    /// When.
    Time(Timestamp),
    /// How long.
    Span(Duration),
    /// A document in the document.
    Part(Doc),
    /// Documents of a kind.
    Rows(Rows),
    /// Sentences.
    Lines(Vec<String>),
}

/// Documents of a kind: a table in text.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Rows {
    /// The columns of the table: paths of fields of the documents.
    columns: &'static [&'static str],
    rows: Vec<Doc>,
}

impl Doc {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a field.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// Adds a field if it is set.
    pub(crate) fn with_set(self, name: &'static str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// The field at `path`, such as `phase`, or `counters.sold` in a part.
    fn field(&self, path: &str) -> Option<&Value> {
        let (name, rest) = match path.split_once('.') {
            Some((name, rest)) => (name, Some(rest)),
            None => (path, None),
        };
        let (_, value) = self.fields.iter().find(|(known, _)| *known == name)?;
        match (rest, value) {
            (None, value) => Some(value),
            (Some(rest), Value::Part(part)) => part.field(rest),
            (Some(_), _) => None,
        }
    }
}

impl Rows {
    pub(crate) fn new(columns: &'static [&'static str], rows: Vec<Doc>) -> Self {
        Self { columns, rows }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Self::Text(text.clone())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl From<Timestamp> for Value {
    fn from(time: Timestamp) -> Self {
        Self::Time(time)
    }
}

impl From<Duration> for Value {
    fn from(duration: Duration) -> Self {
        Self::Span(duration)
    }
}

impl From<Doc> for Value {
    fn from(doc: Doc) -> Self {
        Self::Part(doc)
    }
}

impl From<Rows> for Value {
    fn from(rows: Rows) -> Self {
        Self::Rows(rows)
    }
}

impl From<Vec<String>> for Value {
    fn from(lines: Vec<String>) -> Self {
        Self::Lines(lines)
    }
}
