//! Settings of a real server: where they come from, and that they are in force.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests, which may fail them"
)]

use std::fs;
use std::path::PathBuf;

use client::{Client, Options, new_request_id, reason};
use e2e::{Server, Setup, holdfast, item, run};
use proto::v1::{CreateItemRequest, GetStatusRequest};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A file of settings.
fn file(text: &str) -> (TempDir, PathBuf) {
    let dir = TempDir::with_prefix("holdfast-test-").unwrap();
    let path = dir.path().join("holdfast.toml");
    fs::write(&path, text).unwrap();
    (dir, path)
}

/// Its name, and what it says to a new item.
async fn asked(server: &Server) -> (String, Result<(), client::Error>) {
    let client = Client::lazy(server.address(), Options::default()).unwrap();
    let status = client.get_status(GetStatusRequest {}).await.unwrap();
    let create = CreateItemRequest {
        item: Some(item("it")),
        initial_stock: Some(1),
        request_id: new_request_id(),
    };
    let created = client.create_item(create).await.map(drop);
    (status.server_id, created)
}

#[tokio::test]
async fn a_file_is_in_force_below_the_flags() {
    let text = "server-id = \"by-file\"\ndrain-grace = \"0s\"\ndisk-reserve = \"1000TiB\"\n";
    let (_dir, path) = file(text);
    let path = path.to_str().unwrap();
    let by_file = Setup::new(holdfast!()).args(&["--config", path]);
    let server = by_file.start().await;
    let (id, created) = asked(&server).await;
    assert_eq!(id, "by-file");
    // No disk has that much room: nothing new is taken.
    assert_eq!(created.unwrap_err().reason(), Some(reason::STORE_FULL));

    let by_flag = [
        "--config",
        path,
        "--server-id",
        "by-flag",
        "--disk-reserve",
        "0B",
    ];
    let server = Setup::new(holdfast!()).args(&by_flag).start().await;
    let (id, created) = asked(&server).await;
    assert_eq!(id, "by-flag");
    created.unwrap();
}

#[tokio::test]
async fn every_layer_is_told_by_name() {
    let (_dir, path) = file("server-id = \"by-file\"\ndrain-grace = \"1s\"\nlog = \"debug\"\n");
    let path = path.to_str().unwrap();
    let args = ["config", "print", "--output", "json", "--log", "warn"];
    let mut command = holdfast!().command(&args);
    command.env("HOLDFAST_CONFIG", path);
    command.env("HOLDFAST_DRAIN_GRACE", "2s");
    command.env("HOLDFAST_LOG", "trace");
    // What Kubernetes says of a service is no setting.
    command.env("HOLDFAST_SERVICE_HOST", "10.0.0.7");
    command.env("HOLDFAST_PORT_50051_TCP_ADDR", "10.0.0.7");
    let ended = run(command).await;
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "{ended:#?}");
    let said = ended.json();
    let setting = |name: &str| -> Value {
        let settings = said["settings"].as_array().unwrap();
        let found = settings.iter().find(|setting| setting["name"] == name);
        found
            .unwrap_or_else(|| panic!("{name} is not told"))
            .clone()
    };
    let told = |name: &str, value: &str, origin: &str, set_by: &str| {
        let expected = json!({"name": name, "value": value, "origin": origin, "set_by": set_by});
        assert_eq!(setting(name), expected);
    };
    told("log", "warn", "flag", "--log");
    told("drain-grace", "2s", "environment", "HOLDFAST_DRAIN_GRACE");
    told("server-id", "by-file", "file", &format!("{path}:1"));
    told("listen", "127.0.0.1:50051", "default", "");
}

#[tokio::test]
async fn settings_that_are_right_are_ok() {
    let (_dir, path) = file("listen = \"[::1]:0\"\nhttp-listen = \"off\"\nworkers = 2\n");
    let ended = holdfast!()
        .run(&["config", "check", "--config", path.to_str().unwrap()])
        .await;
    assert_eq!(
        (ended.code, &*ended.stdout, &*ended.stderr),
        (Some(0), "ok\n", ""),
        "{ended:#?}"
    );
}

#[tokio::test]
async fn a_store_in_redis_is_told_without_its_password() {
    let (_dir, path) = file("store-username = \"ada\"\ndata-dir = \"/x\"\n");
    let path = path.to_str().unwrap();
    for command in ["print", "check"] {
        let args = ["config", command, "--config", path, "--output", "json"];
        let flags = ["--store", "redis-cluster://a,b:7", "--init-store"];
        let mut command = holdfast!().command(&[&args[..], &flags].concat());
        command.env("HOLDFAST_STORE_PASSWORD", "hunter2");
        let ended = run(command).await;
        assert_eq!(ended.code, Some(0), "{ended:#?}");
        assert!(!format!("{ended:?}").contains("hunter2"), "{ended:#?}");
        if args[1] == "check" {
            continue;
        }
        let said = ended.json();
        let told = |name: &str, value: &str, set_by: &str| {
            let settings = said["settings"].as_array().unwrap();
            let found = settings.iter().find(|setting| setting["name"] == name);
            let setting = found.unwrap_or_else(|| panic!("{name} is not told"));
            assert_eq!(
                (&setting["value"], &setting["set_by"]),
                (&json!(value), &json!(set_by))
            );
        };
        told("store", "redis-cluster://a,b:7", "--store");
        told("init-store", "true", "--init-store");
        told("store-username", "ada", &format!("{path}:1"));
        told("store-password", "(secret)", "HOLDFAST_STORE_PASSWORD");
        told("store-password-file", "", "");
    }
}
