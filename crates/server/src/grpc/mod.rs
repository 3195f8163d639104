//! The contract over gRPC. All that knows tonic is in this folder.
//!
//! - `inventory`, `admin`: the two services: read the request, ask the
//!   inventory, write the answer; `batch`: many requests in one call; `stream`,
//!   `watch`: those that go on.
//! - `fields`, `requests`: the one place that checks what comes in; `replies`:
//!   the one place that writes what goes out; `problem`: the one place that
//!   says which error is which status.
//! - `call`: what is the same for every call: deadline, drain, figures, log;
//!   `admission`: which calls are let in; `decisions`: what Reserve decided,
//!   counted.
//! - `health`, `reflection`: what every gRPC server should answer.

mod admin;
mod admission;
mod batch;
mod call;
mod decisions;
mod fields;
mod health;
mod inventory;
mod problem;
mod reflection;
mod replies;
mod requests;
mod stream;
mod watch;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use proto::v1::admin_service_server::AdminServiceServer;
use proto::v1::inventory_service_server::InventoryServiceServer;
use shards::inventory::{Error, Inventory};
use shards::store::{Clock as _, WallClock};
use shards::time::Millis;
use tokio_stream::Stream;
use tonic::transport::server::Connected;
use tonic::{Response, Status};

use crate::connection::Connection;
use crate::error::RunError;
use crate::figures::{Figures, Rpcs};
use crate::lifecycle::Lifecycle;
use crate::tier1::Tier1;
use crate::watches::Watches;
use admission::Admission;
use call::CallLayer;
use decisions::Decisions;
use inventory::Desk;
use problem::Problem;

pub(crate) use health::Health;

/// Largest message taken.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Calls under way on one connection. Unset would mean: without end.
const STREAMS_PER_CONNECTION_MAX: u32 = 1_024;
/// Bytes of a call's headers.
const HEADER_BYTES_MAX: u32 = 16 << 10;
/// Streams that a client may make us reset, or reset itself before we took
/// them, until its connection is closed: against floods of resets. Unset would
/// switch hyper's own bound off.
const RESET_STREAMS_MAX: usize = 1_024;
/// See [`RESET_STREAMS_MAX`]; h2's own default.
const PENDING_RESETS_MAX: usize = 20;
/// How often a silent client is asked whether it is still there, and how long
/// it may take to answer.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(15);
/// After about this long a client is told to connect anew, so that new servers
/// get their share of old clients. There is no bound on how long its calls may
/// then take: with one, hyper would send no GOAWAY at all.
const CONNECTION_AGE: Duration = Duration::from_mins(30);
/// Spread, so that those who came together do not leave together.
const CONNECTION_AGE_SPREAD: Duration = Duration::from_mins(5);

/// What a server says of itself.
#[derive(Clone, Debug)]
pub(crate) struct About {
    server_id: String,
    start: Millis,
}

impl About {
    /// A server that starts now.
    pub(crate) fn starting_now(server_id: String) -> Self {
        Self {
            server_id,
            // A clock that has seen no store yet: this machine's own.
            start: WallClock::default().now(Millis::default()),
        }
    }
}

/// All that a worker needs to serve. Workers share it.
#[derive(Clone, Debug)]
pub(crate) struct Services {
    inventory: Arc<Inventory>,
    tier1: Arc<Tier1>,
    watches: Watches,
    life: Lifecycle,
    about: Arc<About>,
    health: Health,
    figures: Figures,
    admission: Admission,
    reflection: Arc<reflection::Descriptors>,
}

impl Services {
    /// Services over this inventory.
    pub(crate) fn new(
        inventory: Arc<Inventory>,
        tier1: Arc<Tier1>,
        life: Lifecycle,
        about: About,
        health: Health,
        figures: Figures,
    ) -> Result<Self, RunError> {
        Ok(Self {
            watches: Watches::new(Arc::clone(&tier1)),
            inventory,
            tier1,
            life,
            about: Arc::new(about),
            health,
            figures,
            admission: Admission::default(),
            reflection: Arc::new(reflection::Descriptors::of_all()?),
        })
    }

    /// Serves connections until no more come and all have ended. Those that
    /// are there when no more come are told to go.
    pub(crate) async fn serve(
        &self,
        connections: impl Stream<Item = io::Result<Connection>>,
    ) -> Result<(), String> {
        let desk = Desk::new(Arc::clone(&self.tier1), Decisions::new(&self.figures));
        let inventory = inventory::Service::new(
            Arc::clone(&self.inventory),
            Arc::clone(&self.tier1),
            desk,
            self.watches.clone(),
            self.life.clone(),
        );
        let admin = admin::Service::new(
            Arc::clone(&self.inventory),
            Arc::clone(&self.tier1),
            Arc::clone(&self.about),
            self.life.clone(),
        );
        let (reflection_v1, reflection_v1alpha) =
            self.reflection.services().map_err(|e| e.to_string())?;
        let rpcs = Rpcs::new(&self.figures, self.reflection.methods());
        let spread = rand::random_range(Duration::ZERO..CONNECTION_AGE_SPREAD);
        tonic::transport::Server::builder()
            .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
            .http2_max_header_list_size(HEADER_BYTES_MAX)
            .http2_max_local_error_reset_streams(Some(RESET_STREAMS_MAX))
            .http2_max_pending_accept_reset_streams(Some(PENDING_RESETS_MAX))
            .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
            .max_connection_age(CONNECTION_AGE + spread)
            .layer(CallLayer::new(
                self.life.clone(),
                rpcs,
                self.admission.clone(),
            ))
            .add_service(
                InventoryServiceServer::new(inventory).max_decoding_message_size(MESSAGE_BYTES_MAX),
            )
            .add_service(
                AdminServiceServer::new(admin).max_decoding_message_size(MESSAGE_BYTES_MAX),
            )
            .add_service(self.health.service())
            .add_service(reflection_v1)
            .add_service(reflection_v1alpha)
            // The end of the connections is the signal. One that comes by a
            // future would drop those that were accepted and not yet taken.
            .serve_with_incoming_shutdown(connections, std::future::pending())
            .await
            .map_err(|error| error.to_string())
    }
}

/// A reply, or the error as its status.
fn answer<T>(result: Result<T, Error>) -> Result<Response<T>, Status> {
    match result {
        Ok(reply) => Ok(Response::new(reply)),
        Err(error) => Err(Problem::from(error).into()),
    }
}

impl Connected for Connection {
    /// Nothing yet: handlers treat all callers alike.
    type ConnectInfo = ();

    fn connect_info(&self) {}
}
