//! Errors as a caller reads them, and the checks that each of Holdfast's own
//! must pass.

use std::collections::BTreeMap;
use std::fmt::Debug;

use tonic::{Code, Response, Status};
use tonic_types::{ErrorDetail, RpcStatusExt, StatusExt, pb};

use crate::wire::TRAILERS_ONLY;

/// The domain of Holdfast's reasons.
const DOMAIN: &str = "holdfast";

/// An error: what it says, taken apart.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The status.
    pub code: Code,
    /// The sentence.
    pub message: String,
    /// Reasons of every `ErrorInfo` of Holdfast's domain.
    pub reasons: Vec<String>,
    /// The metadata of its `ErrorInfo`.
    pub metadata: BTreeMap<String, String>,
    /// Paths of the fields that `BadRequest` names.
    pub fields: Vec<String>,
    /// Whether the server sent nothing but trailers; `None` for an error that
    /// came inside a reply.
    pub trailers_only: Option<bool>,
}

/// The error of a call that must fail.
#[track_caller]
pub fn failure<T: Debug>(result: Result<Response<T>, Status>) -> Failure {
    match result {
        Ok(reply) => panic!("this should have failed: {:?}", reply.into_inner()),
        Err(status) => Failure::from(&status),
    }
}

/// The reply of a call that must not fail.
#[track_caller]
pub fn ok<T>(result: Result<Response<T>, Status>) -> T {
    match result {
        Ok(reply) => reply.into_inner(),
        Err(status) => panic!("{:#?}", Failure::from(&status)),
    }
}

impl From<&Status> for Failure {
    fn from(status: &Status) -> Self {
        let marked = status.metadata().get(TRAILERS_ONLY);
        Self {
            trailers_only: marked.map(|value| value == "yes"),
            ..Self::new(
                status.code(),
                status.message(),
                status.get_error_details_vec(),
            )
        }
    }
}

/// An error of one entry of a batch.
impl From<&pb::Status> for Failure {
    fn from(status: &pb::Status) -> Self {
        let code = Code::from_i32(status.code);
        Self::new(code, &status.message, status.get_error_details_vec())
    }
}

impl Failure {
    fn new(code: Code, message: &str, details: Vec<ErrorDetail>) -> Self {
        let mut failure = Self {
            code,
            message: message.into(),
            reasons: Vec::new(),
            metadata: BTreeMap::new(),
            fields: Vec::new(),
            trailers_only: None,
        };
        for detail in details {
            match detail {
                ErrorDetail::ErrorInfo(info) if info.domain == DOMAIN => {
                    failure.reasons.push(info.reason);
                    failure.metadata.extend(info.metadata);
                }
                ErrorDetail::BadRequest(bad) => {
                    let fields = bad.field_violations.into_iter().map(|v| v.field);
                    failure.fields.extend(fields);
                }
                _ => {}
            }
        }
        failure
    }

    /// It is this one, and as every error of Holdfast's own must be: one
    /// reason, a sentence, and Trailers-Only, else gRPC clients do not retry.
    #[track_caller]
    pub fn is(&self, code: Code, reason: &str) -> &Self {
        assert_eq!(
            (self.code, &self.reasons[..]),
            (code, &[reason.to_owned()][..]),
            "{self:#?}"
        );
        assert!(self.message.contains(' '), "no sentence: {self:#?}");
        assert_ne!(
            self.trailers_only,
            Some(false),
            "headers came first: {self:#?}"
        );
        self
    }

    /// It names exactly these fields, in any order.
    #[track_caller]
    pub fn names(&self, fields: &[&str]) -> &Self {
        self.is(Code::InvalidArgument, "FIELD_INVALID");
        let mut named: Vec<_> = self.fields.iter().map(String::as_str).collect();
        let mut wanted = fields.to_vec();
        named.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(named, wanted, "{self:#?}");
        self
    }
}
