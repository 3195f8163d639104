//! The task that owns a stream.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::pin::Pin;

use proto::v1::{ReserveRequest, ReserveResponse, ReserveStreamRequest, ReserveStreamResponse};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Response, Status, Streaming};
use tracing::debug;

use crate::backoff;
use crate::batch::decided;
use crate::client::Client;
use crate::error::{Error, ErrorKind};
use crate::retry::{Call, Effect};
use crate::target::Wish;
use crate::verdict::{self, Verdict};

/// A Reserve that is not answered.
#[derive(Debug)]
pub(super) struct Job {
    request: ReserveRequest,
    deadline: Instant,
    /// Times that it was sent, on any connection.
    attempts: u32,
    /// Whether it was sent on the present connection and is unanswered there.
    in_flight: bool,
    /// Whether an attempt may have been carried out.
    maybe_done: bool,
    /// How its last attempt ended.
    last: Option<(Status, ErrorKind)>,
    answer: oneshot::Sender<Result<ReserveResponse, Error>>,
    _permit: OwnedSemaphorePermit,
}

impl Job {
    pub(super) fn new(
        wish: Wish,
        deadline: Instant,
        answer: oneshot::Sender<Result<ReserveResponse, Error>>,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        Self {
            request: wish.into(),
            deadline,
            attempts: 0,
            in_flight: false,
            maybe_done: false,
            last: None,
            answer,
            _permit: permit,
        }
    }
}

pub(super) struct Driver {
    client: Client,
    queue: mpsc::UnboundedReceiver<Job>,
    /// Whether more may come out of the queue.
    accepting: bool,
    /// By call id, which is also the order of acceptance and of deadlines.
    unanswered: BTreeMap<u64, Job>,
    /// Those of them that failed for now, and when each is sent again.
    resting: BTreeSet<(Instant, u64)>,
    next_call: u64,
    connection: Option<Connection>,
    /// Not to be opened again before this.
    reconnect_at: Instant,
    /// Connections that broke without an answer, one after the other.
    breaks: u32,
}

/// One stream.
struct Connection {
    requests: mpsc::UnboundedSender<ReserveStreamRequest>,
    phase: Phase,
    in_flight: usize,
    /// Since when answers are due and none came.
    quiet_since: Instant,
}

type Opening = Pin<
    Box<dyn Future<Output = Result<Response<Streaming<ReserveStreamResponse>>, Status>> + Send>,
>;

enum Phase {
    /// Requests may be sent, the server has said nothing.
    Opening(Opening),
    Open(Box<Streaming<ReserveStreamResponse>>),
}

/// What comes from a connection: an answer, or how it broke.
type Heard = Result<ReserveStreamResponse, Status>;

impl Connection {
    async fn next(&mut self) -> Heard {
        if let Phase::Opening(opening) = &mut self.phase {
            match opening.await {
                Ok(stream) => self.phase = Phase::Open(Box::new(stream.into_inner())),
                Err(status) => return Err(status),
            }
        }
        let Phase::Open(stream) = &mut self.phase else {
            return pending().await; // it is open: see above
        };
        let answer = stream.message().await?;
        answer.ok_or_else(|| Status::unavailable("the server ended the stream"))
    }
}

async fn hear(connection: &mut Option<Connection>) -> Heard {
    match connection {
        Some(connection) => connection.next().await,
        None => pending().await,
    }
}

impl Driver {
    pub(super) fn new(client: Client, queue: mpsc::UnboundedReceiver<Job>) -> Self {
        Self {
            client,
            queue,
            accepting: true,
            unanswered: BTreeMap::new(),
            resting: BTreeSet::new(),
            next_call: 0,
            connection: None,
            reconnect_at: Instant::now(),
            breaks: 0,
        }
    }

    pub(super) async fn run(mut self) {
        while self.accepting || !self.unanswered.is_empty() {
            self.on_time(Instant::now());
            let alarm = self.alarm();
            tokio::select! {
                job = self.queue.recv(), if self.accepting => match job {
                    Some(job) => self.accept(job),
                    None => self.accepting = false,
                },
                heard = hear(&mut self.connection) => match heard {
                    Ok(answer) => self.on_answer(answer),
                    Err(status) => self.on_break(&status),
                },
                () = wake_at(alarm) => {}
            }
        }
    }

    fn accept(&mut self, job: Job) {
        let call = self.next_call;
        self.next_call += 1;
        self.unanswered.insert(call, job);
        if self.connection.is_some() {
            self.send(call);
        }
    }

    /// When something is to be done though nothing comes.
    fn alarm(&self) -> Option<Instant> {
        let (_, oldest) = self.unanswered.first_key_value()?;
        let mut alarm = oldest.deadline;
        match &self.connection {
            Some(connection) if connection.in_flight > 0 => {
                alarm = alarm.min(connection.quiet_since + self.client.policy().attempt_timeout);
            }
            Some(_) => {}
            None => alarm = alarm.min(self.reconnect_at),
        }
        match self.resting.first() {
            Some((due, _)) => Some(alarm.min(*due)),
            None => Some(alarm),
        }
    }

    /// Does what is due.
    fn on_time(&mut self, now: Instant) {
        while let Some(oldest) = self.unanswered.first_entry()
            && oldest.get().deadline <= now
        {
            let (call, job) = oldest.remove_entry();
            self.forget(call, &job);
            let late = Status::deadline_exceeded("no answer came in time");
            let unsent = (late.clone(), ErrorKind::Unavailable);
            let (status, kind) = if job.in_flight {
                (late, ErrorKind::OutcomeUnknown)
            } else {
                job.last.clone().unwrap_or(unsent)
            };
            self.fail(job, status, kind);
        }
        let patience = self.client.policy().attempt_timeout;
        let dead = |connection: &Connection| {
            connection.in_flight > 0 && connection.quiet_since + patience <= now
        };
        if self.connection.as_ref().is_some_and(dead) {
            let status = Status::deadline_exceeded(format!("nothing came within {patience:?}"));
            self.on_break(&status);
        }
        if self.connection.is_none() && self.reconnect_at <= now && !self.unanswered.is_empty() {
            self.connect(now);
        }
        while let Some((due, call)) = self.resting.first().copied()
            && due <= now
            && self.connection.is_some()
        {
            self.resting.remove(&(due, call));
            self.send(call);
        }
    }

    /// Opens a stream and sends what is not resting.
    fn connect(&mut self, now: Instant) {
        let (requests, messages) = mpsc::unbounded_channel();
        let mut stub = self.client.inventory();
        let opening = async move {
            let messages = UnboundedReceiverStream::new(messages);
            stub.reserve_stream(messages).await
        };
        self.connection = Some(Connection {
            requests,
            phase: Phase::Opening(Box::pin(opening)),
            in_flight: 0,
            quiet_since: now,
        });
        let resting: BTreeSet<_> = self.resting.iter().map(|(_, call)| *call).collect();
        let calls: Vec<_> = self.unanswered.keys().copied().collect();
        for call in calls.into_iter().filter(|call| !resting.contains(call)) {
            self.send(call);
        }
    }

    fn send(&mut self, call: u64) {
        let (Some(connection), Some(job)) = (&mut self.connection, self.unanswered.get_mut(&call))
        else {
            return;
        };
        let message = ReserveStreamRequest {
            call_id: call,
            request: Some(job.request.clone()),
        };
        // If nobody takes it any more, the connection is about to say so.
        connection.requests.send(message).ok();
        if connection.in_flight == 0 {
            connection.quiet_since = Instant::now();
        }
        connection.in_flight += 1;
        job.in_flight = true;
        job.attempts += 1;
        job.request.first_attempt = false;
    }

    /// Takes a job that is removed out of what counts jobs.
    fn forget(&mut self, call: u64, job: &Job) {
        if !job.in_flight {
            self.resting.retain(|(_, resting)| *resting != call);
        } else if let Some(connection) = &mut self.connection {
            connection.in_flight -= 1;
        }
    }

    fn on_answer(&mut self, answer: ReserveStreamResponse) {
        let now = Instant::now();
        self.breaks = 0;
        if let Some(connection) = &mut self.connection {
            connection.quiet_since = now;
        }
        // One whose deadline has passed is not there any more, and one that
        // rests was answered before.
        let flying = |job: &mut Job| job.in_flight;
        let call = answer.call_id;
        if !self.unanswered.get_mut(&call).is_some_and(flying) {
            return;
        }
        let Some(mut job) = self.unanswered.remove(&call) else {
            return;
        };
        self.forget(call, &job);
        job.in_flight = false;
        match decided(answer.result.and_then(|entry| entry.result)) {
            Ok(response) => {
                // Who dropped the answer does not want it.
                job.answer.send(Ok(response)).ok();
            }
            Err(status) => {
                let verdict = verdict::judge(&status);
                self.rest_or_fail(call, job, &status, verdict, now);
            }
        }
    }

    /// An attempt was answered with an error: it is made again later, or that
    /// is the answer.
    fn rest_or_fail(
        &mut self,
        call: u64,
        mut job: Job,
        status: &Status,
        verdict: Verdict,
        now: Instant,
    ) {
        job.maybe_done |= verdict.kind == ErrorKind::OutcomeUnknown;
        let left = job.deadline.saturating_duration_since(now);
        match self.call().wait(job.attempts, verdict.retry_after, left) {
            Some(wait) => {
                job.last = Some((status.clone(), verdict.kind));
                self.unanswered.insert(call, job);
                self.resting.insert((now + wait, call));
            }
            None => self.fail(job, status.clone(), verdict.kind),
        }
    }

    /// The stream ended. What is unanswered waits for the next one, unless
    /// trying again is no use.
    fn on_break(&mut self, status: &Status) {
        let now = Instant::now();
        let opened = match self.connection.take() {
            Some(connection) => matches!(connection.phase, Phase::Open(_)),
            None => false,
        };
        let verdict = verdict::judge(status);
        debug!(?verdict, %status, unanswered = self.unanswered.len(), "the stream broke");
        self.breaks += 1;
        let told = verdict.retry_after.unwrap_or_default();
        let wait = backoff::wait(self.client.policy(), self.breaks, told, rand::random());
        self.reconnect_at = now + wait;
        let sent = self.unanswered.extract_if(.., |_, job| job.in_flight);
        for (call, mut job) in sent.collect::<Vec<_>>() {
            job.in_flight = false;
            // Whatever the server says of the stream: once it had taken it, it
            // may have carried out what it did not answer.
            job.maybe_done |= opened || verdict.kind == ErrorKind::OutcomeUnknown;
            let left = job.deadline.saturating_duration_since(now);
            let wait = self.call().wait(job.attempts, verdict.retry_after, left);
            if wait.is_some_and(|_| self.reconnect_at < job.deadline) {
                job.last = Some((status.clone(), verdict.kind));
                self.unanswered.insert(call, job);
            } else {
                self.fail(job, status.clone(), verdict.kind);
            }
        }
    }

    fn fail(&self, job: Job, status: Status, kind: ErrorKind) {
        let error = self
            .call()
            .error(status, job.attempts, kind, job.maybe_done);
        job.answer.send(Err(error)).ok();
    }

    fn call(&self) -> Call<'_> {
        self.client.call("reserve_stream", Effect::Changes)
    }
}

async fn wake_at(alarm: Option<Instant>) {
    // Without an alarm only others can bring something to do.
    match alarm {
        Some(alarm) => sleep_until(alarm).await,
        None => pending().await,
    }
}
