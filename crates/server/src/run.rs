//! A server's life, step by step.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use shards::embedded::{self, Embedded};
use shards::inventory::Inventory;
use shards::redis::Redis;
use shards::store::Store;
use tokio::net::TcpListener;

use crate::acceptor::accept;
use crate::clock;
use crate::config::{Config, Drain, Listeners, StoreConfig};
use crate::error::RunError;
use crate::figures::Figures;
use crate::grpc::{About, Health, Services};
use crate::http::{self, Pages};
use crate::lifecycle::{Lifecycle, Phase};
use crate::sweeper::{SWEEP_INTERVAL, sweep};
use crate::tasks::{CutOff, Tasks, blocking};
use crate::tier1::Tier1;
use crate::worker::{Workers, runtime};

/// Serves until `shutdown` says how to leave, then drains; returns when the
/// store is closed. `ready` is told the address once it is served.
///
/// The HTTP port answers first and last: probes see a store that is being opened
/// and a drain for what they are.
///
/// The drain: health says `NOT_SERVING` at once; for `drain_grace` everything
/// is served as before (not with [`Drain::AtOnce`]); then the port is closed,
/// clients are told to go (GOAWAY), and what is under way ends; what has not
/// ended after `drain_deadline` is cut off. What had been queued for the store
/// is committed in any case.
///
/// Blocks its thread; needs no runtime around it, and must not be called on
/// one.
///
/// # Errors
/// [`RunError`]: it could not start, or part of it died. Also then the store
/// was closed in good order.
pub fn run(
    config: Config,
    listeners: Listeners,
    ready: impl FnOnce(SocketAddr) + Send,
    shutdown: impl Future<Output = Drain> + Send + 'static,
) -> Result<(), RunError> {
    // A runtime beside the workers', for what belongs to none of them: the
    // ports, health, the sweeper, the drain.
    let control = runtime()?;
    let served = control.block_on(serve(config, listeners, ready, shutdown));
    // With these the last user of the store is gone, and it is closed.
    drop(control);
    // A store that was never opened was not closed either.
    if !matches!(served, Err(RunError::Embedded(_) | RunError::Redis(_))) {
        tracing::info!("stopped");
    }
    served
}

async fn serve(
    config: Config,
    listeners: Listeners,
    ready: impl FnOnce(SocketAddr) + Send,
    shutdown: impl Future<Output = Drain> + Send + 'static,
) -> Result<(), RunError> {
    let mut tasks = Tasks::default();
    let figures = Figures::new()?;
    let health = Health::of_a_starting_server().await;
    let mut http_address = None;
    if let Some(listener) = listeners.http {
        let (listener, address) = listen(listener, "HTTP")?;
        http_address = Some(address);
        let pages = Pages::new(figures.clone(), health.clone());
        tasks.spawn("the HTTP port", http::serve(listener, pages));
    }
    tasks.spawn("the upkeep of the figures", figures.clone().keep_up());
    let (listener, address) = listen(listeners.grpc, "gRPC")?;
    let inventory = open(config.store, figures.clone()).await?;
    let life = Lifecycle::new();
    let tier1 = Tier1::new(Arc::clone(&inventory), config.tier1);
    tasks.spawn("the clock of tier 1", Arc::clone(&tier1).keep_time());
    let services = Services::new(
        Arc::clone(&inventory),
        Arc::clone(&tier1),
        life.clone(),
        About::starting_now(config.server_id),
        health.clone(),
        figures.clone(),
    )?;
    let (mut workers, inboxes) = Workers::start(config.workers, &services, &life)?;
    figures.read_from(Arc::clone(&inventory), tier1, workers.loads());

    tasks.spawn("the acceptor", accept(listener, inboxes, life.clone()));
    life.advance(Phase::Serving);
    // Told before anybody can ask: who is ready may be asked at once.
    health.update(life.phase(), &inventory).await;
    tasks.spawn(
        "the health reporter",
        health.follow(life.clone(), Arc::clone(&inventory)),
    );
    tasks.spawn("the sweeper", sweep(inventory, SWEEP_INTERVAL));
    drop(services);
    tracing::info!(%address, ?http_address, workers = config.workers, "serving");
    ready(address);

    let mut failure = None;
    let drain = tokio::select! {
        drain = shutdown => drain,
        (part, cause) = tasks.first_end() => {
            failure = Some(RunError::Ended { part, cause });
            Drain::AtOnce
        }
        () = workers.first_end() => Drain::AtOnce,
    };

    life.advance(Phase::Leaving);
    if drain == Drain::WithGrace {
        tracing::info!(grace = ?config.drain_grace, "leaving: health says so, still serving");
        let mut grace = pin!(clock::after(config.drain_grace));
        tokio::select! {
            () = &mut grace => {}
            () = workers.first_end() => {}
        }
    }
    tracing::info!(deadline = ?config.drain_deadline, "closing: work under way ends");
    life.advance(Phase::Closing);
    tokio::select! {
        () = workers.all_ended() => {}
        () = clock::after(config.drain_deadline) => {
            let connections = workers.connections();
            tracing::warn!(connections, "the drain's deadline is over: closing what is left");
        }
    }
    life.advance(Phase::Killed);
    drop(tasks);
    let joined = workers.join();
    failure.map_or(joined, Err)
}

/// Opens the store; what it counts is among these figures.
async fn open(store: StoreConfig, figures: Figures) -> Result<Arc<Inventory>, RunError> {
    let work = move || figures.within(|| open_store(store));
    let opened = blocking(work).await.map_err(|CutOff| RunError::Ended {
        part: "the opening of the store".to_owned(),
        cause: "its thread was cut off".to_owned(),
    })?;
    Ok(Arc::new(Inventory::new(opened?)))
}

fn open_store(store: StoreConfig) -> Result<Arc<dyn Store>, RunError> {
    Ok(match store {
        StoreConfig::Embedded { dir, disk_reserve } => {
            let options = embedded::Options {
                reserve_bytes: disk_reserve,
                ..embedded::Options::new(dir)
            };
            Arc::new(Embedded::open(options)?)
        }
        StoreConfig::Redis(options) => Arc::new(Redis::open(options)?),
    })
}

fn listen(
    listener: std::net::TcpListener,
    port: &'static str,
) -> Result<(TcpListener, SocketAddr), RunError> {
    let listen = || {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok((TcpListener::from_std(listener)?, address))
    };
    listen().map_err(|cause| RunError::Listen { port, cause })
}
