//! Reflection in both versions.

use tokio_stream::StreamExt as _;
use tonic_reflection::pb::{v1, v1alpha};

use crate::harness::Server;

const SERVED: [&str; 5] = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "holdfast.inventory.v1.AdminService",
    "holdfast.inventory.v1.InventoryService",
];

macro_rules! names {
    ($version:ident, $channel:expr) => {{
        use $version::server_reflection_request::MessageRequest;
        use $version::server_reflection_response::MessageResponse;
        let asks = [
            MessageRequest::ListServices(String::new()),
            MessageRequest::FileContainingSymbol("google.rpc.ErrorInfo".to_owned()),
        ];
        let asks = asks.map(|ask| $version::ServerReflectionRequest {
            host: String::new(),
            message_request: Some(ask),
        });
        let answers = $version::server_reflection_client::ServerReflectionClient::new($channel)
            .server_reflection_info(tokio_stream::iter(asks))
            .await
            .unwrap();
        let mut names = Vec::new();
        let mut answers = answers.into_inner();
        while let Some(answer) = answers.next().await {
            match answer.unwrap().message_response.unwrap() {
                MessageResponse::ListServicesResponse(list) => {
                    names.extend(list.service.into_iter().map(|service| service.name));
                }
                MessageResponse::FileDescriptorResponse(files) => {
                    assert_eq!(files.file_descriptor_proto.len(), 1);
                }
                other => panic!("{other:?}"),
            }
        }
        names.sort();
        names
    }};
}

#[tokio::test]
async fn both_versions_list_what_is_served_and_know_the_error_details() {
    let server = Server::start();
    let channel = server.channel().await;
    let names = names!(v1, channel.clone());
    assert!(
        SERVED
            .iter()
            .filter(|s| !s.contains("v1alpha"))
            .all(|s| names.iter().any(|n| n == s)),
        "{names:?}"
    );
    let names = names!(v1alpha, channel);
    assert!(
        SERVED
            .iter()
            .filter(|s| !s.contains("reflection.v1."))
            .all(|s| names.iter().any(|n| n == s)),
        "{names:?}"
    );
}
