//! Health, as another language's own client sees it.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests, which may fail them"
)]

use e2e::tools::python;
use e2e::{Server, Setup, holdfast, poll_until};
use serde_json::{Value, json};

/// What Python's health client is told of every service, by Check and by the
/// first message of Watch.
async fn asked(server: &Server) -> Value {
    let ended = python("health.py", &[server.authority()]).await;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    ended.json()
}

/// What should be told when readiness, the store and liveness are so.
fn expected(ready: &str, store: &str, live: &str) -> Value {
    let both = |said: &str| json!({"check": said, "watch": said});
    json!({
        "": both(ready),
        "holdfast.inventory.v1.InventoryService": both(ready),
        "store": both(store),
        "holdfast.inventory.v1.AdminService": both(live),
        "liveness": both(live),
        // The protocol wants SERVICE_UNKNOWN from Watch; tonic-health ends it.
        "no.such.Service": both("NOT_FOUND"),
    })
}

#[tokio::test]
async fn readiness_and_liveness_differ_only_while_the_server_leaves() {
    let setup = Setup::new(holdfast!());
    let server = setup
        .args(&["--drain-grace", "1h", "--drain-deadline", "1s"])
        .start()
        .await;
    assert_eq!(
        asked(&server).await,
        expected("SERVING", "SERVING", "SERVING")
    );

    server.sigterm();
    let shop = server.shop();
    poll_until("readiness to end", async || {
        let said = shop.health_of(&[""]).await;
        match said[""].as_deref() {
            Some("NOT_SERVING") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert_eq!(
        asked(&server).await,
        expected("NOT_SERVING", "SERVING", "SERVING")
    );
}
