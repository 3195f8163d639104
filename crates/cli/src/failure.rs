//! Why a command did not do what it was asked to.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::io::{self, Write as _};

use client::ErrorKind;
use serde::Serialize;

use crate::exit::Exit;
use crate::printer::Format;

/// A failure as it is told: on stderr, in one sentence or as one line of JSON.
#[derive(Debug, Serialize)]
pub(crate) struct Failure {
    code: &'static str,
    reason: Option<String>,
    message: String,
    metadata: BTreeMap<String, String>,
    fields: Vec<Field>,
    #[serde(skip)]
    exit: Exit,
    /// Whether the same command, sent again, could find it done.
    #[serde(skip)]
    open: bool,
}

/// A field of the request that breaks its rule.
#[derive(Debug, Serialize)]
struct Field {
    field: String,
    description: String,
}

/// The JSON of a failure.
#[derive(Serialize)]
struct Envelope<'a> {
    error: &'a Failure,
}

impl Failure {
    /// The command is not right. `message` is a sentence that says what is.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::own("INVALID_ARGUMENT", "USAGE", message.into(), Exit::Usage)
    }

    /// This machine stands in the way.
    pub(crate) fn local(message: impl Into<String>) -> Self {
        Self::own("UNAVAILABLE", "LOCAL", message.into(), Exit::Undecided)
    }

    /// Somebody was asked and said no.
    pub(crate) fn declined(message: impl Into<String>) -> Self {
        Self::own("CANCELLED", "DECLINED", message.into(), Exit::Refused)
    }

    fn own(code: &'static str, reason: &str, message: String, exit: Exit) -> Self {
        Self {
            code,
            reason: Some(reason.to_owned()),
            message,
            metadata: BTreeMap::new(),
            fields: Vec::new(),
            exit,
            open: false,
        }
    }

    /// Tells the request id under which the command can be sent again. Needed
    /// where this program drew it: nobody else knows it.
    pub(crate) fn with_request_id(self, request_id: &str) -> Self {
        self.with_id("request-id", request_id)
    }

    /// The same for the id that the command takes by this flag.
    pub(crate) fn with_id(mut self, flag: &str, id: &str) -> Self {
        self.metadata.insert(flag.replace('-', "_"), id.to_owned());
        if self.open {
            self.message = format!("{} (--{flag} {id})", self.message);
        }
        self
    }

    /// Tells it on stderr and returns the process's code.
    pub(crate) fn report(&self, format: Format) -> Exit {
        let said = match format {
            Format::Text => self.text(),
            // A failure holds nothing that JSON cannot say.
            Format::Json => serde_json::to_string(&Envelope { error: self }).unwrap_or_default(),
        };
        // Nobody is left to be told that this cannot be written.
        writeln!(io::stderr().lock(), "{said}").ok();
        self.exit
    }

    fn text(&self) -> String {
        let mut text = format!("error: {}", self.message);
        for Field { field, description } in &self.fields {
            if self.message.contains(description) {
                continue; // the sentence says it already
            }
            // Writing to a string cannot fail.
            write!(text, "\n  {field}: {description}").ok();
        }
        text
    }
}

/// The sentence.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<client::Error> for Failure {
    fn from(error: client::Error) -> Self {
        let field = |violation: &client::Violation| Field {
            field: violation.field.clone(),
            description: violation.description.clone(),
        };
        Self {
            code: error.code_name(),
            reason: error.reason().map(str::to_owned),
            message: error.to_string(),
            metadata: error.metadata().clone(),
            fields: error.violations().iter().map(field).collect(),
            exit: error.kind().into(),
            open: matches!(
                error.kind(),
                ErrorKind::OutcomeUnknown | ErrorKind::Unavailable
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_a_sentence_and_a_line_for_each_field_that_it_does_not_explain() {
        let field = |field: &str, description: &str| Field {
            field: field.to_owned(),
            description: description.to_owned(),
        };
        let mut failure = Failure::usage("two fields break their rules");
        failure.fields = vec![
            field("quantity", "at least 1"),
            field("buyer_id", "not empty"),
        ];
        assert_eq!(
            failure.text(),
            "error: two fields break their rules\n  quantity: at least 1\n  buyer_id: not empty"
        );
        failure.message = "quantity: at least 1; buyer_id: not empty".to_owned();
        assert_eq!(
            failure.text(),
            "error: quantity: at least 1; buyer_id: not empty"
        );
    }

    #[test]
    fn json_has_its_five_fields() {
        let failure = Failure::usage("no").with_request_id("7");
        assert_eq!(
            serde_json::to_string(&Envelope { error: &failure }).unwrap(),
            r#"{"error":{"code":"INVALID_ARGUMENT","reason":"USAGE","message":"no","metadata":{"request_id":"7"},"fields":[]}}"#
        );
    }

    #[test]
    fn the_request_id_is_said_where_sending_again_makes_sense() {
        let mut failure = Failure::local("send it again with the same ids");
        assert_eq!(failure.text(), "error: send it again with the same ids");
        failure.open = true;
        assert_eq!(
            failure.with_request_id("7").text(),
            "error: send it again with the same ids (--request-id 7)"
        );
    }
}
