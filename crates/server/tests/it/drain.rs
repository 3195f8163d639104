//! Health and leaving.

use std::time::Duration;

use server::{Drain, RunError};
use tokio_stream::StreamExt as _;
use tonic::Streaming;
use tonic::transport::Channel;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::harness::{PATIENCE, Server, config, create, eventually, item, listeners, reserve};

const SERVING: i32 = 1;
const NOT_SERVING: i32 = 2;

fn service(name: &str) -> HealthCheckRequest {
    HealthCheckRequest {
        service: name.to_owned(),
    }
}

async fn health(client: &mut HealthClient<Channel>, name: &str) -> i32 {
    let reply = client.check(service(name)).await;
    reply.unwrap().into_inner().status
}

/// What a watch tells next.
async fn next(watch: &mut Streaming<HealthCheckResponse>) -> i32 {
    let told = tokio::time::timeout(PATIENCE, watch.next()).await;
    told.expect("nothing is told").unwrap().unwrap().status
}

#[tokio::test]
async fn health_flips_at_once_and_the_server_serves_on_for_the_grace() {
    let mut server = Server::start_with(|config| config.drain_grace = Duration::from_hours(1));
    let mut client = HealthClient::new(server.channel().await);
    for name in [
        "",
        "holdfast.inventory.v1.InventoryService",
        "store",
        "holdfast.inventory.v1.AdminService",
        "liveness",
    ] {
        assert_eq!(health(&mut client, name).await, SERVING, "{name:?}");
    }
    let mut watch = client.watch(service("")).await.unwrap().into_inner();
    assert_eq!(next(&mut watch).await, SERVING);

    server.leave(Drain::WithGrace);
    assert_eq!(next(&mut watch).await, NOT_SERVING);
    // A new connection, an old one, and all that tells of life.
    let mut late = HealthClient::new(server.channel().await);
    assert_eq!(health(&mut late, "").await, NOT_SERVING);
    for name in ["store", "holdfast.inventory.v1.AdminService", "liveness"] {
        assert_eq!(health(&mut client, name).await, SERVING, "{name:?}");
    }
    let mut admin = server.admin().await;
    admin.create_item(create(item("hat"), 1)).await.unwrap();
    let status = admin.get_status(proto::v1::GetStatusRequest {}).await;
    assert!(status.unwrap().into_inner().draining);
    assert!(!server.has_ended());
    // The grace is an hour: this server is left behind with the process.
    server.abandon();
}

#[tokio::test]
async fn a_drain_waits_for_no_one_beyond_its_deadline() {
    let mut server = Server::start_with(|config| config.drain_deadline = Duration::from_millis(50));
    let mut client = HealthClient::new(server.channel().await);
    let mut watch = client
        .watch(service("liveness"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(next(&mut watch).await, SERVING);
    server.leave(Drain::AtOnce);
    // The stream would go on for ever; the deadline ends it.
    let cut = tokio::time::timeout(PATIENCE, watch.next()).await;
    assert!(matches!(cut, Ok(None | Some(Err(_)))), "{cut:?}");
    server.join();
}

#[tokio::test]
async fn an_idle_connection_does_not_hold_a_drain_up() {
    let server = Server::start_with(|config| config.drain_deadline = PATIENCE);
    let mut client = HealthClient::new(server.channel().await);
    assert_eq!(health(&mut client, "").await, SERVING);
    // One that has not even said that it speaks HTTP/2.
    let silent = std::net::TcpStream::connect(server.address).unwrap();
    let ended = tokio::task::spawn_blocking(move || server.join());
    // Not by the deadline: by a GOAWAY, and for the silent one by its end.
    let ended = tokio::time::timeout(PATIENCE / 4, ended).await;
    ended.expect("it waits for idle connections").unwrap();
    drop(silent);
    eventually("the client notices", async || {
        client.check(service("")).await.is_err()
    })
    .await;
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let server = Server::start();
    server
        .admin()
        .await
        .create_item(create(item("hat"), 5))
        .await
        .unwrap();
    let mut inventory = server.inventory().await;
    let first = inventory
        .reserve(reserve("hat", "ann", 1, 1))
        .await
        .unwrap();
    drop(inventory);
    let dir = tokio::task::spawn_blocking(move || server.join())
        .await
        .unwrap();

    let server = Server::start_in(dir, |_| {});
    let mut inventory = server.inventory().await;
    let again = inventory
        .reserve(reserve("hat", "ann", 1, 1))
        .await
        .unwrap();
    assert!(again.get_ref().replayed);
    let id = |reply: &tonic::Response<proto::v1::ReserveResponse>| {
        reply.get_ref().reservation.clone().unwrap().reservation_id
    };
    assert_eq!(id(&first), id(&again));
}

#[tokio::test]
async fn a_second_server_on_one_directory_says_so_in_a_sentence() {
    let server = Server::start();
    let second = config(&server.dir);
    let refused = tokio::task::spawn_blocking(move || {
        server::run(
            second,
            listeners(),
            |_| panic!("it must not serve"),
            std::future::pending(),
        )
    });
    let error = refused.await.unwrap().unwrap_err();
    assert!(matches!(error, RunError::Embedded(_)), "{error:?}");
    assert!(
        error.to_string().contains("in use by another process"),
        "{error}"
    );
}
