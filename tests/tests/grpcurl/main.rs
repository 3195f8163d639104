//! grpcurl, as people in the field have it: an old one that speaks reflection
//! v1alpha only, and whose users read what it prints. And buf, which speaks v1.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests, which may fail them"
)]

mod every_rpc;

use e2e::tools::{buf, grpcurl};
use e2e::{Ended, Ids, Server, holdfast, item};
use serde_json::{Value, json};

const RESERVE: &str = "holdfast.inventory.v1.InventoryService/Reserve";
/// Services that everybody should find.
const OURS: [&str; 3] = [
    "grpc.health.v1.Health",
    "holdfast.inventory.v1.AdminService",
    "holdfast.inventory.v1.InventoryService",
];
/// grpcurl's exit code for `INVALID_ARGUMENT`: 64 and the status.
const INVALID_ARGUMENT: i32 = 64 + 3;

async fn call(server: &Server, method: &str, message: &Value) -> Ended {
    let message = message.to_string();
    grpcurl(&["-plaintext", "-d", &message, server.authority(), method]).await
}

#[track_caller]
fn succeeded(ended: Ended) -> String {
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    ended.stdout
}

#[tokio::test]
async fn lists_every_service() {
    let server = Server::start(holdfast!()).await;
    let listed = succeeded(grpcurl(&["-plaintext", server.authority(), "list"]).await);
    for service in OURS {
        assert!(
            listed.lines().any(|line| line == service),
            "{service} is not in: {listed}"
        );
    }
}

#[tokio::test]
async fn buf_lists_and_calls_by_reflection_v1() {
    let server = Server::start(holdfast!()).await;
    let buf_curl = ["curl", "--protocol", "grpc", "--http2-prior-knowledge"];
    let list = [&buf_curl[..], &["--list-services", server.address()]].concat();
    let listed = succeeded(buf(&list).await);
    for service in OURS {
        assert!(
            listed.lines().any(|line| line == service),
            "{service} is not in: {listed}"
        );
    }
    let method = format!(
        "{}/holdfast.inventory.v1.AdminService/GetStatus",
        server.address()
    );
    let call = [&buf_curl[..], &["--data", "{}", &method]].concat();
    let status: Value = serde_json::from_str(&succeeded(buf(&call).await)).unwrap();
    assert_eq!(status["storeKind"], "embedded");
}

#[tokio::test]
async fn describes_an_rpc_with_its_comments() {
    let server = Server::start(holdfast!()).await;
    let method = "holdfast.inventory.v1.InventoryService.Reserve";
    let args = ["-plaintext", server.authority(), "describe", method];
    let described = succeeded(grpcurl(&args).await);
    assert!(
        described.contains("Holds units of an item for a buyer"),
        "{described}"
    );
    let signature = "rpc Reserve ( .holdfast.inventory.v1.ReserveRequest ) \
                     returns ( .holdfast.inventory.v1.ReserveResponse );";
    assert!(described.contains(signature), "{described}");

    // What an error may hold can be described too.
    for detail in [
        "google.rpc.ErrorInfo",
        "google.rpc.BadRequest",
        "google.rpc.RetryInfo",
    ] {
        succeeded(grpcurl(&["-plaintext", server.authority(), "describe", detail]).await);
    }
}

#[tokio::test]
async fn reserves_by_json_and_shows_zeros_that_mean_something() {
    let server = Server::start(holdfast!()).await;
    server.shop().create(item("sneaker"), 1).await;
    let mut ids = Ids::seeded();
    let ask = |request_id: String| json!({"item_id": "sneaker", "buyer_id": "ada", "request_id": request_id, "quantity": 1});
    let request = ids.request();
    let yes = succeeded(call(&server, RESERVE, &ask(request.clone())).await);
    let yes: Value = serde_json::from_str(&yes).unwrap();
    assert_eq!(yes["outcome"], "RESERVE_OUTCOME_RESERVED");
    assert_eq!(yes["reservation"]["requestId"], request);
    assert_eq!(yes["reservation"]["state"], "RESERVATION_STATE_HELD");

    let no = succeeded(call(&server, RESERVE, &ask(ids.request())).await);
    let no: Value = serde_json::from_str(&no).unwrap();
    assert_eq!(no["outcome"], "RESERVE_OUTCOME_SOLD_OUT");
    assert_eq!(
        (&no["availableUnits"], &no["heldUnits"]),
        (&json!("0"), &json!("1"))
    );

    let stock = "holdfast.inventory.v1.InventoryService/GetStock";
    let stock = succeeded(call(&server, stock, &json!({"item_id": "sneaker"})).await);
    let stock: Value = serde_json::from_str(&stock).unwrap();
    let units = ["available", "held", "sold", "total"].map(|name| &stock["stock"][name]);
    assert_eq!(units, [&json!("0"), &json!("1"), &json!("0"), &json!("1")]);
    assert_eq!(stock["stock"]["phase"], "SALE_PHASE_ALL_HELD");
}

#[tokio::test]
async fn shows_error_details_in_words() {
    let server = Server::start(holdfast!()).await;
    let bad = json!({"item_id": "no such id"}).to_string();
    let args = ["-plaintext", "-d", &bad, server.authority(), RESERVE];
    let refused = grpcurl(&args).await;
    assert_eq!(refused.code, Some(INVALID_ARGUMENT), "{refused:#?}");
    for part in [
        "Code: InvalidArgument",
        "google.rpc.ErrorInfo",
        "FIELD_INVALID",
        "buyer_id",
    ] {
        assert!(
            refused.stderr.contains(part),
            "{part} is not in: {}",
            refused.stderr
        );
    }

    let refused = grpcurl(&[&["-format-error"], &args[..]].concat()).await;
    assert_eq!(refused.code, Some(INVALID_ARGUMENT), "{refused:#?}");
    let error: Value = serde_json::from_str(&refused.stderr).expect("JSON");
    let [info, bad_request] = &error["details"].as_array().unwrap()[..] else {
        panic!("not two details: {error:#}");
    };
    assert_eq!(info["@type"], "type.googleapis.com/google.rpc.ErrorInfo");
    assert_eq!(
        (&info["domain"], &info["reason"]),
        (&json!("holdfast"), &json!("FIELD_INVALID"))
    );
    assert_eq!(
        bad_request["@type"],
        "type.googleapis.com/google.rpc.BadRequest"
    );
    let violations = bad_request["fieldViolations"].as_array().unwrap().iter();
    let fields: Vec<_> = violations.map(|violation| &violation["field"]).collect();
    assert_eq!(fields, ["item_id", "buyer_id", "request_id", "quantity"]);
}
