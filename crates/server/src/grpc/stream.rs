//! `ReserveStream`: Reserves as they come, answers as they are known.
//!
//! - Bounded: each message takes a place before it is read, and gives it up when
//!   its answer has been sent on. A client that does not read is not read.
//! - What was read is carried out, also when the client is gone meanwhile: the
//!   work is a task of its own.
//! - Each message has its own time, since a stream may live for hours.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use proto::v1;
use shards::store::Deadline;
use tokio::sync::mpsc::{self, Permit};
use tokio_stream::Stream;
use tonic::{Status, Streaming};

use super::batch::Entry as _;
use super::call::{Sent, passed};
use super::inventory::Desk;
use super::problem::Problem;
use crate::clock;
use crate::lifecycle::{Lifecycle, Phase};
use crate::tasks::{self, CutOff, Started};

/// Messages under way and answers not yet taken, together.
const PLACES: usize = 256;
/// How long one message may take.
const MESSAGE_TIME_MAX: Duration = Duration::from_secs(5);
/// Messages read in a row before others on this core get their turn: those that
/// need no store would never wait for anything.
const MESSAGES_A_TURN: u32 = 32;

type Answer = Result<v1::ReserveStreamResponse, Status>;

/// The answers to a stream.
#[derive(Debug)]
pub(super) struct Answers {
    answers: mpsc::Receiver<Answer>,
    /// `None` once it has ended.
    work: Option<Started<()>>,
}

impl Stream for Answers {
    type Item = Answer;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Answer>> {
        if let Some(answer) = ready!(self.answers.poll_recv(cx)) {
            return Poll::Ready(Some(answer));
        }
        let Some(work) = &mut self.work else {
            return Poll::Ready(None);
        };
        let ended = ready!(Pin::new(work).poll(cx));
        self.work = None;
        Poll::Ready(match ended {
            Ok(()) => None,
            Err(CutOff) => Some(Err(Problem::cut_off().into())),
        })
    }
}

/// What a stream works with.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) desk: Desk,
    pub(super) life: Lifecycle,
    pub(super) sent: Sent,
    /// Of the stream as a whole.
    pub(super) deadline: Deadline,
}

/// Begins to work on a stream.
pub(super) fn answers(work: Work, messages: Streaming<v1::ReserveStreamRequest>) -> Answers {
    // One more, for how it ends.
    let (sender, receiver) = mpsc::channel(PLACES + 1);
    Answers {
        answers: receiver,
        work: Some(tasks::start(work.run(messages, sender))),
    }
}

impl Work {
    async fn run(
        self,
        mut messages: Streaming<v1::ReserveStreamRequest>,
        answers: mpsc::Sender<Answer>,
    ) {
        let Ok(end) = answers.reserve().await else {
            return;
        };
        let mut under_way = FuturesUnordered::new();
        let mut in_a_row = 0;
        let mut closing = pin!(self.life.reached(Phase::Closing));
        let mut over = pin!(passed(self.deadline));
        let why = loop {
            tokio::select! {
                biased;
                Some(()) = under_way.next() => {}
                () = &mut closing => break Some(Problem::stream_closing().into()),
                () = &mut over => break Some(Problem::deadline_passed().into()),
                next = next(&answers, &mut messages) => match next {
                    Next::Message(message, place) => {
                        under_way.push(self.answer(message, place));
                        in_a_row += 1;
                        if in_a_row == MESSAGES_A_TURN {
                            in_a_row = 0;
                            tokio::task::yield_now().await;
                        }
                    }
                    Next::NoMore => break None,
                    Next::Broken(status) => break Some(status),
                },
            }
        };
        while under_way.next().await.is_some() {}
        if let Some(status) = why {
            end.send(Err(status));
        }
    }

    async fn answer(&self, message: v1::ReserveStreamRequest, place: Permit<'_, Answer>) {
        let deadline = clock::later(MESSAGE_TIME_MAX);
        let deadline = self.deadline.map_or(deadline, |end| end.min(deadline));
        let decided = async {
            let request = message.request.as_ref();
            let request = request.ok_or_else(|| self.desk.nothing_to_decide())?;
            let decided = self.desk.decide(request, self.sent, Some(deadline));
            // What the store does not answer is not waited for for ever: the
            // places would run out.
            match tokio::time::timeout_at(deadline.into(), decided).await {
                Ok(decided) => decided.map_err(Problem::from),
                Err(_) => Err(Problem::deadline_passed()),
            }
        };
        let result = v1::ReserveResult::of(decided.await);
        place.send(Ok(v1::ReserveStreamResponse {
            call_id: message.call_id,
            result: Some(result),
        }));
    }
}

/// What comes next of a client.
enum Next<'a> {
    Message(v1::ReserveStreamRequest, Permit<'a, Answer>),
    /// It has said all, or is gone.
    NoMore,
    /// Something that is no message.
    Broken(Status),
}

/// Can be dropped and called again: nothing is lost then.
async fn next<'a>(
    answers: &'a mpsc::Sender<Answer>,
    messages: &mut Streaming<v1::ReserveStreamRequest>,
) -> Next<'a> {
    let Ok(place) = answers.reserve().await else {
        return Next::NoMore;
    };
    match messages.message().await {
        Ok(Some(message)) => Next::Message(message, place),
        Ok(None) => Next::NoMore,
        Err(status) => Next::Broken(status),
    }
}
