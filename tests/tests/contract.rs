//! The whole contract is served.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests, which may fail them"
)]

use e2e::{Server, holdfast, raw_unary};
use prost::Message as _;
use prost_types::FileDescriptorSet;
use tonic::{Code, Request};

/// The path of every rpc of the package.
fn every_rpc() -> Vec<String> {
    let set = FileDescriptorSet::decode(proto::FILE_DESCRIPTOR_SET).unwrap();
    let mut paths = Vec::new();
    for file in &set.file {
        for service in &file.service {
            for method in &service.method {
                let (service, method) = (service.name(), method.name());
                paths.push(format!("/{}.{service}/{method}", file.package()));
            }
        }
    }
    paths
}

/// An empty message asks for nothing, and no rpc says that it is not there.
#[tokio::test]
async fn no_rpc_is_unimplemented() {
    let server = Server::start(holdfast!()).await;
    let shop = server.shop();
    let paths = every_rpc();
    assert_eq!(paths.len(), 30, "{paths:?}");
    for path in paths {
        let answer = raw_unary(shop.wire(), &path, Request::new(Vec::new())).await;
        let code = answer.map_or_else(|status| status.code(), |_| Code::Ok);
        let answers = [Code::Ok, Code::InvalidArgument];
        assert!(answers.contains(&code), "{path}: {code:?}");
    }
}
