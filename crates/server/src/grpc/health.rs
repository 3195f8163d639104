//! `grpc.health.v1.Health`: what load balancers and kubelets ask.
//!
//! - `""` and the `InventoryService`: whether to send work here. Also while the
//!   store is away: refusals from memory go on, and all servers leaving the
//!   load balancer at once would help nobody.
//! - `store`: whether the store acknowledges.
//! - the `AdminService` and `liveness`: whether the process makes progress. A
//!   server must not be killed because its store is away, or because it drains.

use std::sync::Arc;
use std::time::Duration;

use proto::v1::{admin_service_server, inventory_service_server};
use shards::inventory::Inventory;
use tokio::sync::Mutex;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

use super::MESSAGE_BYTES_MAX;
use crate::lifecycle::{Lifecycle, Phase};

/// Whether to send work to this server.
const READINESS: [&str; 2] = ["", inventory_service_server::SERVICE_NAME];
/// Whether the store acknowledges.
const STORE: &str = "store";
/// Whether the process makes progress.
const LIVENESS: [&str; 2] = ["liveness", admin_service_server::SERVICE_NAME];

/// How often the store is looked at.
const STORE_INTERVAL: Duration = Duration::from_millis(250);

/// What is told, to all workers' clients alike.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    reporter: HealthReporter,
    told: Arc<Mutex<Told>>,
}

/// What was told last: watchers hear of changes only.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    ready: bool,
    store: bool,
    /// The store has acknowledged once.
    store_reached: bool,
    /// The drain has begun.
    leaving: bool,
}

impl Health {
    /// Not ready, but alive.
    pub(crate) async fn of_a_starting_server() -> Self {
        let reporter = HealthReporter::new();
        for service in READINESS.into_iter().chain([STORE]) {
            // "" too: the reporter begins with it SERVING.
            reporter
                .set_service_status(service, ServingStatus::NotServing)
                .await;
        }
        for service in LIVENESS {
            reporter
                .set_service_status(service, ServingStatus::Serving)
                .await;
        }
        Self {
            reporter,
            told: Arc::default(),
        }
    }

    /// The service for one worker.
    pub(super) fn service(&self) -> HealthServer<HealthService> {
        HealthServer::new(HealthService::from_health_reporter(self.reporter.clone()))
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// Whether to send work here, as the services say; if not, why, in a word.
    pub(crate) async fn readiness(&self) -> Result<(), &'static str> {
        let told = *self.told.lock().await;
        match told {
            Told { ready: true, .. } => Ok(()),
            Told { leaving: true, .. } => Err("draining"),
            Told { .. } => Err("starting"),
        }
    }

    /// Tells what is true now.
    pub(crate) async fn update(&self, phase: Phase, inventory: &Inventory) {
        self.tell(phase, inventory.store_status().acknowledges())
            .await;
    }

    async fn tell(&self, phase: Phase, store: bool) {
        let mut told = self.told.lock().await;
        told.store_reached |= store;
        told.leaving = phase > Phase::Serving;
        let ready = told.store_reached && phase == Phase::Serving;
        if told.ready != ready {
            told.ready = ready;
            for service in READINESS {
                self.set(service, ready).await;
            }
        }
        if told.store != store {
            told.store = store;
            self.set(STORE, store).await;
        }
    }

    async fn set(&self, service: &str, serving: bool) {
        let status = if serving {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        tracing::info!(service, %status, "health changed");
        self.reporter.set_service_status(service, status).await;
    }

    /// Goes on telling what is true, for ever.
    pub(crate) async fn follow(self, life: Lifecycle, inventory: Arc<Inventory>) {
        let mut phases = life.changes();
        let mut looks = tokio::time::interval(STORE_INTERVAL);
        loop {
            self.update(life.phase(), &inventory).await;
            tokio::select! {
                _ = looks.tick() => {}
                // `life` has the sender, so this tells of changes only.
                _ = phases.changed() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tonic::Request;
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_server::Health as _;

    use super::*;

    async fn check(health: &Health, service: &str) -> &'static str {
        let asked = HealthCheckRequest {
            service: service.to_owned(),
        };
        HealthService::from_health_reporter(health.reporter.clone())
            .check(Request::new(asked))
            .await
            .unwrap()
            .into_inner()
            .status()
            .as_str_name()
    }

    async fn all(health: &Health) -> [&'static str; 3] {
        let ready = check(health, "").await;
        let inventory = check(health, "holdfast.inventory.v1.InventoryService").await;
        assert_eq!(ready, inventory);
        let alive = check(health, "liveness").await;
        let admin = check(health, "holdfast.inventory.v1.AdminService").await;
        assert_eq!(alive, admin);
        [ready, check(health, "store").await, alive]
    }

    #[tokio::test]
    async fn readiness_follows_the_first_reach_and_the_drain_and_liveness_neither() {
        const YES: &str = "SERVING";
        const NO: &str = "NOT_SERVING";
        let health = Health::of_a_starting_server().await;
        assert_eq!(all(&health).await, [NO, NO, YES]);
        assert_eq!(health.readiness().await, Err("starting"));
        for (phase, store, expected) in [
            (Phase::Serving, false, [NO, NO, YES]), // never reached yet
            (Phase::Serving, true, [YES, YES, YES]),
            (Phase::Serving, false, [YES, NO, YES]), // away: still sent work
            (Phase::Serving, true, [YES, YES, YES]),
            (Phase::Leaving, true, [NO, YES, YES]),
            (Phase::Closing, true, [NO, YES, YES]),
        ] {
            health.tell(phase, store).await;
            assert_eq!(all(&health).await, expected, "{phase:?} {store}");
            let ready = health.readiness().await;
            assert_eq!(ready.is_ok(), expected[0] == YES, "{phase:?} {store}");
        }
        assert_eq!(health.readiness().await, Err("draining"));
    }
}
