//! Reflection, v1 and v1alpha (which grpcurl in the field speaks), with the
//! error details registered, so that they print readable.

use prost::Message as _;
use prost_types::FileDescriptorSet;
use tonic_reflection::server::{Builder, Error, v1, v1alpha};

use crate::error::RunError;
use crate::figures::MethodName;

/// The descriptors of all that is served.
#[derive(Debug)]
pub(super) struct Descriptors {
    /// google.rpc's error details, apart: see [`error_details`].
    error_details: FileDescriptorSet,
    methods: Box<[MethodName]>,
}

impl Descriptors {
    /// Those of this binary.
    ///
    /// # Errors
    /// Never in a binary that passed its tests.
    pub(super) fn of_all() -> Result<Self, RunError> {
        let broken = |error: prost::DecodeError| RunError::Ended {
            part: "reflection".to_owned(),
            cause: error.to_string(),
        };
        Ok(Self {
            error_details: error_details().map_err(broken)?,
            methods: methods().map_err(broken)?.into(),
        })
    }

    /// Every method that is served.
    pub(super) fn methods(&self) -> &[MethodName] {
        &self.methods
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

/// The methods of our own services and of those that every server should have.
fn methods() -> Result<Vec<MethodName>, prost::DecodeError> {
    let mut methods = Vec::new();
    for set in [
        proto::FILE_DESCRIPTOR_SET,
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
    ] {
        for file in FileDescriptorSet::decode(set)?.file {
            for service in &file.service {
                let names = service.method.iter().map(|method| MethodName {
                    service: format!("{}.{}", file.package(), service.name()),
                    method: method.name().to_owned(),
                });
                methods.extend(names);
            }
        }
    }
    Ok(methods)
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

    #[test]
    fn the_methods_are_those_of_all_services() {
        let paths: HashSet<_> = methods()
            .unwrap()
            .into_iter()
            .map(|name| format!("{}/{}", name.service, name.method))
            .collect();
        for path in [
            "holdfast.inventory.v1.InventoryService/Reserve",
            "holdfast.inventory.v1.AdminService/GetStatus",
            "grpc.health.v1.Health/Check",
            "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        ] {
            assert!(paths.contains(path), "{path} is not in {paths:?}");
        }
    }

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
