//! Reflection, v1 and v1alpha (which grpcurl in the field speaks), with the
//! error details registered, so that they print readable.

use prost::Message as _;
use prost_types::FileDescriptorSet;
use tonic_reflection::server::{Builder, Error, v1, v1alpha};

use crate::error::RunError;

/// The descriptors of all that is served.
#[derive(Debug)]
pub(super) struct Descriptors {
    /// google.rpc's error details, apart: see [`error_details`].
    error_details: FileDescriptorSet,
}

impl Descriptors {
    /// Those of this binary.
    ///
    /// # Errors
    /// Never in a binary that passed its tests.
    pub(super) fn of_all() -> Result<Self, RunError> {
        let error_details = error_details().map_err(|error| RunError::Ended {
            part: "reflection".to_owned(),
            cause: error.to_string(),
        })?;
        Ok(Self { error_details })
    }

    /// The two services.
    pub(super) fn services(
        &self,
    ) -> Result<
        (
            v1::ServerReflectionServer<impl v1::ServerReflection + use<>>,
            v1alpha::ServerReflectionServer<impl v1alpha::ServerReflection + use<>>,
        ),
        Error,
    > {
        Ok((self.builder().build_v1()?, self.builder().build_v1alpha()?))
    }

    fn builder(&self) -> Builder<'static> {
        Builder::configure()
            .register_encoded_file_descriptor_set(proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .register_file_descriptor_set(self.error_details.clone())
    }
}

/// `google/rpc/error_details.proto` under the name by which the world imports
/// it. tonic-types ships it as `error_details.proto` beside a `status.proto`,
/// whose message our contract's own import `google/rpc/status.proto` defines
/// already; a client that met both would refuse them as duplicates.
fn error_details() -> Result<FileDescriptorSet, prost::DecodeError> {
    let mut set = FileDescriptorSet::decode(tonic_types::pb::FILE_DESCRIPTOR_SET)?;
    set.file.retain(|file| file.name() != "status.proto");
    for file in &mut set.file {
        if file.name() == "error_details.proto" {
            file.name = Some("google/rpc/error_details.proto".to_owned());
        }
    }
    Ok(set)
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;

    /// What a client that fetches everything ends up with: each message once,
    /// each import there.
    #[test]
    fn no_message_is_defined_twice_and_no_import_is_missing() {
        let decode = |bytes: &[u8]| FileDescriptorSet::decode(bytes).unwrap().file;
        let mut files = HashMap::new();
        for file in decode(proto::FILE_DESCRIPTOR_SET)
            .into_iter()
            .chain(decode(tonic_health::pb::FILE_DESCRIPTOR_SET))
            .chain(error_details().unwrap().file)
        {
            files.entry(file.name().to_owned()).or_insert(file);
        }
        let mut messages = HashSet::new();
        for file in files.values() {
            for message in &file.message_type {
                let name = format!("{}.{}", file.package(), message.name());
                assert!(messages.insert(name.clone()), "{name} is defined twice");
            }
            for import in &file.dependency {
                assert!(files.contains_key(import), "{import} is missing");
            }
        }
        assert!(messages.contains("google.rpc.ErrorInfo"));
        assert!(messages.contains("google.rpc.Status"));
    }
}
