//! The one place that spawns. A task that nobody holds loses its panics and
//! outlives the server; so each is either part of a group that is watched, or
//! awaited by whoever wanted it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::task::{JoinError, JoinHandle, JoinSet};

use crate::error::panic_message;

/// Tasks that go on as long as the server does. Dropping the group ends them.
#[derive(Debug, Default)]
pub(crate) struct Tasks(JoinSet<&'static str>);

impl Tasks {
    /// Adds one. Needs a runtime around it.
    pub(crate) fn spawn(
        &mut self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        self.0.spawn(async move {
            task.await;
            name
        });
    }

    /// The end of the first one that ends: which, and how. Waits for ever
    /// while all go on.
    pub(crate) async fn first_end(&mut self) -> (String, String) {
        match self.0.join_next().await {
            Some(Ok(name)) => (name.to_owned(), "it returned".to_owned()),
            Some(Err(error)) => ("a background task".to_owned(), describe(error)),
            None => std::future::pending().await,
        }
    }
}

/// Tasks that come and go, so many at a time at most. Dropping the group ends
/// them.
#[derive(Debug)]
pub(crate) struct Crowd {
    name: &'static str,
    max: usize,
    tasks: JoinSet<()>,
}

impl Crowd {
    /// Nobody yet.
    pub(crate) fn of_at_most(max: usize, name: &'static str) -> Self {
        Self {
            name,
            max,
            tasks: JoinSet::new(),
        }
    }

    /// Ends when there is room for one more.
    pub(crate) async fn room(&mut self) {
        loop {
            let ended = match self.tasks.try_join_next() {
                Some(ended) => ended,
                None if self.tasks.len() < self.max => return,
                None => match self.tasks.join_next().await {
                    Some(ended) => ended,
                    None => return,
                },
            };
            if let Err(error) = ended {
                let cause = describe(error);
                tracing::error!(task = self.name, cause, "a task died; the others go on");
            }
        }
    }

    /// Adds one.
    pub(crate) fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }
}

/// Work that blocks, on a thread of its own. A panic of it is the caller's.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, CutOff> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| match error.try_into_panic() {
        Ok(payload) => std::panic::resume_unwind(payload),
        Err(_) => CutOff,
    })
}

/// The task did not end.
#[derive(Debug)]
pub(crate) struct CutOff;

/// A task that goes on to its end, also when this is dropped: what it has to do
/// should not stop in the middle because a client hung up. It ends early only
/// with the whole runtime, at a drain's deadline.
///
/// A panic of the task is that of whoever still waits for it.
#[derive(Debug)]
pub(crate) struct Started<T>(JoinHandle<T>);

/// Starts one. Needs a runtime around it.
pub(crate) fn start<T: Send + 'static>(
    task: impl Future<Output = T> + Send + 'static,
) -> Started<T> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the wrapper that keeps the handle"
    )]
    Started(tokio::spawn(task))
}

impl<T> Future for Started<T> {
    type Output = Result<T, CutOff>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|ended| {
            ended.map_err(|error| match error.try_into_panic() {
                Ok(payload) => std::panic::resume_unwind(payload),
                Err(_) => CutOff,
            })
        })
    }
}

fn describe(error: JoinError) -> String {
    match error.try_into_panic() {
        Ok(payload) => panic_message(&*payload),
        Err(error) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn a_task_runs_to_its_end_without_its_caller() {
        let (go, gone) = oneshot::channel::<()>();
        let (done, finished) = oneshot::channel();
        let mut call = Box::pin(start(async move {
            let _ = gone.await;
            let _ = done.send(());
        }));
        // Started, then dropped, as a handler whose client hung up.
        tokio::select! {
            biased;
            _ = &mut call => panic!("it waits"),
            () = tokio::task::yield_now() => {}
        }
        drop(call);
        go.send(()).unwrap();
        finished.await.unwrap();
    }

    #[tokio::test]
    async fn a_crowd_has_its_bound_and_survives_a_panic() {
        let mut crowd = Crowd::of_at_most(2, "test");
        let (go, gone) = oneshot::channel::<()>();
        crowd.room().await;
        crowd.spawn(std::future::pending());
        crowd.room().await;
        crowd.spawn(async move {
            let _ = gone.await;
            panic!("out of cheese");
        });
        {
            let mut room = Box::pin(crowd.room());
            tokio::select! {
                biased;
                () = &mut room => panic!("there is none"),
                () = tokio::task::yield_now() => {}
            }
            go.send(()).unwrap();
            room.await;
        }
        assert_eq!(crowd.tasks.len(), 1);
    }

    #[tokio::test]
    async fn the_end_of_a_watched_task_is_told_with_its_panic() {
        let mut tasks = Tasks::default();
        tasks.spawn("idle", std::future::pending());
        tasks.spawn("broken", async { panic!("out of cheese") });
        let (_, cause) = tasks.first_end().await;
        assert_eq!(cause, "panic: out of cheese");
    }
}
