//! Workers: one current-thread runtime each, on a thread of its own. A request
//! is served on the core that read it, with no wake-ups across threads.

use std::num::NonZeroUsize;
use std::thread::{self, JoinHandle};

use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::acceptor::Inbox;
use crate::connection::{Accepted, Connection, Load};
use crate::error::{RunError, panic_message};
use crate::grpc::Services;
use crate::lifecycle::{Lifecycle, Phase};

/// A runtime as each thread of the server has one.
pub(crate) fn runtime() -> Result<Runtime, RunError> {
    Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(RunError::Threads)
}

/// All workers of a server.
#[derive(Debug)]
pub(crate) struct Workers {
    threads: Vec<JoinHandle<Result<(), String>>>,
    loads: Vec<Load>,
    ends: mpsc::UnboundedReceiver<End>,
}

/// Sent when a worker's thread is done, also when it panicked.
#[derive(Debug)]
struct End;

struct TellsOfItsEnd(mpsc::UnboundedSender<End>);

impl Drop for TellsOfItsEnd {
    fn drop(&mut self) {
        // Nobody may be listening any more.
        let _ = self.0.send(End);
    }
}

impl Workers {
    /// Starts them. Each serves what comes into its inbox, until the inbox is
    /// dropped and its connections have ended, or until the server is killed.
    pub(crate) fn start(
        count: NonZeroUsize,
        services: &Services,
        life: &Lifecycle,
    ) -> Result<(Self, Vec<Inbox>), RunError> {
        let (told, ends) = mpsc::unbounded_channel();
        let mut workers = Self {
            threads: Vec::new(),
            loads: Vec::new(),
            ends,
        };
        let mut inboxes = Vec::new();
        for number in 0..count.get() {
            let (connections, inbox) = mpsc::unbounded_channel();
            let load = Load::default();
            let runtime = runtime()?;
            let (services, life) = (services.clone(), life.clone());
            let tells_of_its_end = TellsOfItsEnd(told.clone());
            let thread = thread::Builder::new()
                .name(format!("worker-{number}"))
                .spawn(move || {
                    let _tells_of_its_end = tells_of_its_end;
                    work(runtime, &services, inbox, &life)
                })
                .map_err(RunError::Threads)?;
            workers.threads.push(thread);
            workers.loads.push(load.clone());
            inboxes.push(Inbox { load, connections });
        }
        Ok((workers, inboxes))
    }

    /// Ends when one of them has ended.
    pub(crate) async fn first_end(&mut self) {
        let _ = self.ends.recv().await;
    }

    /// Ends when all of them have ended.
    pub(crate) async fn all_ended(&mut self) {
        while self.ends.recv().await.is_some() {}
    }

    /// Connections of all workers.
    pub(crate) fn connections(&self) -> usize {
        self.loads.iter().map(Load::connections).sum()
    }

    /// How many each has, now and later.
    pub(crate) fn loads(&self) -> Vec<Load> {
        self.loads.clone()
    }

    /// Waits for their threads, and says what the first of those that failed
    /// died of.
    pub(crate) fn join(self) -> Result<(), RunError> {
        let mut result = Ok(());
        for (number, thread) in self.threads.into_iter().enumerate() {
            let cause = match thread.join() {
                Ok(Ok(())) => continue,
                Ok(Err(cause)) => cause,
                Err(payload) => panic_message(&*payload),
            };
            let part = format!("worker {number}");
            tracing::error!(part, cause, "a worker died");
            result = result.and(Err(RunError::Ended { part, cause }));
        }
        result
    }
}

fn work(
    runtime: Runtime,
    services: &Services,
    inbox: mpsc::UnboundedReceiver<Accepted>,
    life: &Lifecycle,
) -> Result<(), String> {
    let connections =
        UnboundedReceiverStream::new(inbox).map(|accepted| Connection::adopt(accepted, life));
    let result = runtime.block_on(async {
        tokio::select! {
            served = services.serve(connections) => served,
            () = life.reached(Phase::Killed) => Ok(()),
        }
    });
    // With the runtime go the tasks of all its connections, and with these the
    // sockets: what is still open at the deadline is closed here.
    drop(runtime);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_worker_that_panics_is_noticed_and_its_panic_returned() {
        let (told, ends) = mpsc::unbounded_channel();
        let worker = |work: fn() -> Result<(), String>| {
            let tells_of_its_end = TellsOfItsEnd(told.clone());
            thread::spawn(move || {
                let _tells_of_its_end = tells_of_its_end;
                work()
            })
        };
        let mut workers = Workers {
            threads: vec![worker(|| Ok(())), worker(|| panic!("out of cheese"))],
            loads: Vec::new(),
            ends,
        };
        drop(told);
        workers.first_end().await;
        workers.all_ended().await;
        let error = workers.join().unwrap_err().to_string();
        assert!(error.contains("worker 1"), "{error}");
        assert!(error.contains("out of cheese"), "{error}");
    }
}
