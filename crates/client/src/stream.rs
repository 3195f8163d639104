//! `ReserveStream`: many Reserves over one stream, which outlives its
//! connections.
//!
//! One task owns the stream and everything that is unanswered. It ends when
//! nobody can submit any more and all is answered.

mod driver;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use proto::v1::ReserveResponse;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tonic::Status;

use self::driver::{Driver, Job};
use crate::client::Client;
use crate::error::{Error, ErrorKind, History};
use crate::target::Wish;

/// Reserves that may be unanswered at a time; more wait until one is answered.
const WINDOW: usize = 1_024;

/// A stream of Reserves: cheapest for callers that reserve all the time. Clones
/// share it.
///
/// It connects when something is submitted. After a break it connects again and
/// sends what was not answered, without `first_attempt`; what failed for now is
/// sent again as well. The policy's deadline and number of attempts hold for
/// each Reserve by itself, from when it was accepted.
#[derive(Clone, Debug)]
pub struct ReserveStream {
    jobs: mpsc::UnboundedSender<Job>,
    window: Arc<Semaphore>,
    client: Client,
    task: Arc<Task>,
}

/// The answer to a Reserve of a stream, when it comes. Dropping it takes
/// nothing back.
#[derive(Debug)]
pub struct Answer {
    receiver: oneshot::Receiver<Result<ReserveResponse, Error>>,
    client: Client,
    /// As long as somebody waits, somebody must listen.
    _task: Arc<Task>,
}

/// The task behind a stream. Nobody can be waiting for it when it is dropped.
#[derive(Debug)]
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Client {
    /// A stream of Reserves. Must be called on a tokio runtime, which drives it.
    pub fn reserve_stream(&self) -> Result<ReserveStream, Error> {
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(Error::invalid("a stream must be made on a tokio runtime"));
        }
        let (jobs, queue) = mpsc::unbounded_channel();
        let driver = Driver::new(self.clone(), queue);
        #[expect(
            clippy::disallowed_methods,
            reason = "the handle is kept by all who wait for the task, and ends with them"
        )]
        let task = tokio::spawn(driver.run());
        Ok(ReserveStream {
            jobs,
            window: Arc::new(Semaphore::new(WINDOW)),
            client: self.clone(),
            task: Arc::new(Task(task)),
        })
    }
}

impl ReserveStream {
    /// Sends a Reserve; await the [`Answer`] for what was decided. Waits only
    /// while too many others are unanswered.
    pub async fn submit(&self, wish: Wish) -> Result<Answer, Error> {
        let gone = || died(&self.client);
        let window = Arc::clone(&self.window);
        let permit = window.acquire_owned().await.map_err(|_| gone())?;
        let (answer, receiver) = oneshot::channel();
        let deadline = Instant::now() + self.client.policy().deadline;
        let job = Job::new(wish, deadline, answer, permit);
        self.jobs.send(job).map_err(|_| gone())?;
        Ok(Answer {
            receiver,
            client: self.client.clone(),
            _task: Arc::clone(&self.task),
        })
    }

    /// Sends a Reserve and waits for what was decided.
    pub async fn reserve(&self, wish: Wish) -> Result<ReserveResponse, Error> {
        self.submit(wish).await?.await
    }
}

impl Future for Answer {
    type Output = Result<ReserveResponse, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let received = Pin::new(&mut self.receiver).poll(context);
        received.map(|answer| answer.unwrap_or_else(|_| Err(died(&self.client))))
    }
}

/// The task has ended before its time: its runtime has, or it panicked.
fn died(client: &Client) -> Error {
    let history = History {
        address: client.address(),
        attempts: 1,
        kind: ErrorKind::OutcomeUnknown,
    };
    Error::of_call(Status::cancelled("the stream's task has ended"), &history)
}
