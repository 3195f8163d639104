//! A server's life, step by step.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use shards::embedded::{Embedded, Options};
use shards::inventory::Inventory;
use tokio::net::TcpListener;

use crate::acceptor::accept;
use crate::clock;
use crate::config::{Config, Drain, Listeners};
use crate::error::RunError;
use crate::grpc::{About, Services};
use crate::lifecycle::{Lifecycle, Phase};
use crate::sweeper::{SWEEP_INTERVAL, sweep};
use crate::tasks::Tasks;
use crate::worker::{Workers, runtime};

/// Serves until `shutdown` says how to leave, then drains; returns when the
/// store is closed. `ready` is told the address once it is served.
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
    let store = Arc::new(Embedded::open(Options::new(config.data_dir.clone()))?);
    let inventory = Arc::new(Inventory::new(store));
    // A runtime beside the workers', for what belongs to none of them: the
    // port, health, the sweeper, the drain.
    let control = runtime()?;
    let served = control.block_on(serve(config, listeners, inventory, ready, shutdown));
    // With these the last user of the store is gone, and it is closed.
    drop(control);
    tracing::info!("stopped");
    served
}

async fn serve(
    config: Config,
    listeners: Listeners,
    inventory: Arc<Inventory>,
    ready: impl FnOnce(SocketAddr) + Send,
    shutdown: impl Future<Output = Drain> + Send + 'static,
) -> Result<(), RunError> {
    let (listener, address) = listen(listeners.grpc).map_err(RunError::Listen)?;
    let life = Lifecycle::new();
    let about = About::starting_now(config.server_id);
    let services = Services::new(Arc::clone(&inventory), life.clone(), about).await?;
    let (mut workers, inboxes) = Workers::start(config.workers, &services, &life)?;

    let mut tasks = Tasks::default();
    tasks.spawn("the acceptor", accept(listener, inboxes, life.clone()));
    life.advance(Phase::Serving);
    // Told before anybody can ask: who is ready may be asked at once.
    let health = services.health();
    health.update(life.phase(), &inventory).await;
    tasks.spawn(
        "the health reporter",
        health.follow(life.clone(), Arc::clone(&inventory)),
    );
    tasks.spawn("the sweeper", sweep(inventory, SWEEP_INTERVAL));
    drop(services);
    tracing::info!(%address, workers = config.workers, "serving");
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

fn listen(listener: std::net::TcpListener) -> std::io::Result<(TcpListener, SocketAddr)> {
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((TcpListener::from_std(listener)?, address))
}
