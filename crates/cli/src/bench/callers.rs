//! The callers: tasks on a few threads, each with a runtime and connections of
//! its own, so that no call wakes another thread.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use client::{Client, ErrorKind, Options, Policy, ReserveStream, Wish};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::args::Mode;
use super::control::Control;
use super::judge::{Answer, Case};
use super::plan::{Mix, Planner, Round};
use super::tally::Tally;
use crate::failure::Failure;

/// How long a caller waits after a call that could not be answered: a server
/// that is away must not be what keeps this machine busy.
const AFTER_FAILURE: Duration = Duration::from_millis(20);

/// How the callers call.
#[derive(Debug)]
pub(super) struct Crew {
    pub(super) servers: Vec<String>,
    pub(super) callers: u32,
    pub(super) threads: u32,
    /// To each server.
    pub(super) connections: u32,
    pub(super) mode: Mode,
    /// Requests of a call.
    pub(super) size: usize,
    pub(super) timeout: Duration,
}

/// A thread of callers.
pub(super) struct Thread {
    handle: JoinHandle<()>,
    tally: oneshot::Receiver<Result<Tally, Failure>>,
}

impl Crew {
    /// Lets them call until `control` says that it is over.
    pub(super) fn start(
        self: &Arc<Self>,
        mix: &Arc<Mix>,
        control: &Arc<Control>,
    ) -> Result<Vec<Thread>, Failure> {
        let thread = |number| {
            let (crew, mix, control) = (Arc::clone(self), Arc::clone(mix), Arc::clone(control));
            let (tell, tally) = oneshot::channel();
            let handle = std::thread::Builder::new()
                .name(format!("callers-{number}"))
                .spawn(move || {
                    // Nobody listens any more if the run has failed elsewhere.
                    tell.send(crew.work(number, &mix, &control)).ok();
                })
                .map_err(|error| Failure::local(format!("cannot start a thread: {error}")))?;
            Ok(Thread { handle, tally })
        };
        (0..self.threads).map(thread).collect()
    }

    /// What one thread does.
    fn work(
        self: &Arc<Self>,
        thread: u32,
        mix: &Arc<Mix>,
        control: &Arc<Control>,
    ) -> Result<Tally, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::local(format!("cannot start the callers: {error}")))?;
        runtime.block_on(async {
            let servers: Result<Vec<_>, Failure> = self
                .servers
                .iter()
                .map(|server| self.connect(server))
                .collect();
            let servers = Arc::new(servers?);
            let tally = Arc::new(Mutex::new(new_tally()?));
            let mut tasks = JoinSet::new();
            // Every so many-th caller is this thread's.
            let of_this_thread = (thread..self.callers).step_by(self.threads as usize);
            for (place, number) in of_this_thread.enumerate() {
                let caller = Caller {
                    planner: Planner::new(Arc::clone(mix), u16::try_from(number).unwrap_or(0)),
                    servers: Arc::clone(&servers),
                    place,
                    size: self.size,
                    tally: Arc::clone(&tally),
                    control: Arc::clone(control),
                };
                tasks.spawn(caller.run());
            }
            while let Some(ended) = tasks.join_next().await {
                // A panic of a caller is one of ours.
                ended.map_err(|error| Failure::local(format!("a caller failed: {error}")))?;
            }
            let mut all = new_tally()?;
            all.merge(&tally.lock().unwrap_or_else(PoisonError::into_inner));
            Ok(all)
        })
    }

    /// This thread's connections to a server.
    fn connect(&self, server: &str) -> Result<Vec<Line>, Failure> {
        let options = Options {
            connect_timeout: self.timeout.min(Duration::from_secs(2)),
            policy: Policy {
                deadline: self.timeout,
                attempt_timeout: self.timeout,
                // What fails shall be seen, not mended.
                attempts_max: 1,
                ..Policy::default()
            },
        };
        let connections = self.connections.div_ceil(self.threads);
        let line = |_| {
            let client = Client::lazy(server, options.clone())?;
            Ok(match self.mode {
                Mode::Unary => Line::Unary(client),
                Mode::Batch => Line::Batch(client),
                Mode::Stream => Line::Stream(client.reserve_stream()?),
            })
        };
        (0..connections).map(line).collect()
    }
}

pub(super) fn new_tally() -> Result<Tally, Failure> {
    Tally::new().ok_or_else(|| Failure::local("cannot make a histogram"))
}

impl Thread {
    /// What its callers were answered, once all of them have left.
    pub(super) async fn end(self) -> Result<Tally, Failure> {
        let tally = self.tally.await;
        // It has told, or died; either way it is on its way out.
        self.handle.join().ok();
        tally.unwrap_or_else(|_| Err(Failure::local("a thread of callers failed")))
    }

    pub(super) fn has_ended(&self) -> bool {
        self.handle.is_finished()
    }
}

/// A way to a server.
enum Line {
    Unary(Client),
    Batch(Client),
    Stream(ReserveStream),
}

impl Line {
    /// Sends a call: one request, or as many as there are if it is a batch.
    async fn send(&self, wishes: &[Wish]) -> Vec<Answer> {
        match self {
            Self::Batch(client) => client.batch_reserve(wishes).await,
            Self::Unary(client) => {
                let mut answers = Vec::with_capacity(wishes.len());
                for wish in wishes {
                    answers.push(client.reserve(&wish.key, wish.quantity, wish.ids).await);
                }
                answers
            }
            Self::Stream(stream) => {
                let mut answers = Vec::with_capacity(wishes.len());
                for wish in wishes {
                    answers.push(stream.reserve(wish.clone()).await);
                }
                answers
            }
        }
    }
}

/// One caller.
struct Caller {
    planner: Planner,
    /// This thread's connections, by server.
    servers: Arc<Vec<Vec<Line>>>,
    /// Among the callers of its thread.
    place: usize,
    size: usize,
    tally: Arc<Mutex<Tally>>,
    control: Arc<Control>,
}

impl Caller {
    async fn run(mut self) {
        while let Some((size, counted)) = self.control.admit(self.size) {
            let round = self.planner.round(size);
            let repeats = round.repeats();
            let (first, second) = if repeats.is_empty() {
                (self.call(0, &round.wishes, counted).await, Vec::new())
            } else if round.at_once {
                tokio::join!(
                    self.call(0, &round.wishes, counted),
                    self.call(1, &repeats, counted)
                )
            } else {
                let first = self.call(0, &round.wishes, counted).await;
                (first, self.call(1, &repeats, counted).await)
            };
            self.judge(&round, &first, &second, counted);
            if first.iter().chain(&second).any(could_not_be_answered) {
                pause(AFTER_FAILURE).await;
            }
        }
    }

    /// Sends a call, to the caller's own server or to the `next`-th after it.
    async fn call(&self, next: usize, wishes: &[Wish], counted: bool) -> Vec<Answer> {
        let servers = self.servers.len();
        let lines = &self.servers[(self.place + next) % servers];
        let line = &lines[(self.place / servers) % lines.len()];
        let asked = Instant::now();
        let answers = line.send(wishes).await;
        let took = asked.elapsed();
        if counted {
            self.control.count(&answers);
            self.with_tally(|tally| tally.call(took, &answers));
        }
        answers
    }

    fn judge(&self, round: &Round, first: &[Answer], second: &[Answer], counted: bool) {
        let mut seconds = round.again.iter().zip(second).peekable();
        self.with_tally(|tally| {
            for (place, (wish, first)) in round.wishes.iter().zip(first).enumerate() {
                let second = seconds.next_if(|(of, _)| **of == place);
                let case = Case {
                    wish,
                    first,
                    second: second.map(|(_, answer)| answer),
                    at_once: round.at_once,
                };
                tally.judge(case, counted);
            }
        });
    }

    fn with_tally(&self, count: impl FnOnce(&mut Tally)) {
        count(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Not a decision of any kind: somebody is away, or overloaded.
fn could_not_be_answered(answer: &Answer) -> bool {
    use ErrorKind::{OutcomeUnknown, Unavailable, Unreachable};
    answer
        .as_ref()
        .is_err_and(|error| matches!(error.kind(), Unreachable | Unavailable | OutcomeUnknown))
}

#[expect(
    clippy::disallowed_methods,
    reason = "callers that cannot be answered call less often; nothing waits for this"
)]
async fn pause(time: Duration) {
    tokio::time::sleep(time).await;
}
