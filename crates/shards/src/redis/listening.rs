//! What other servers do: a connection to each master on which nothing is asked
//! and everything heard that runs of the script tell there. ⚔ Whatever is not
//! heard for certain may have been missed, and whoever remembers something is told
//! so: when a connection begins to hear, when it ends, and when it falls behind.
//!
//! A beat tells whether it still hears. It subscribes anew to a channel on which
//! nothing is ever said: a node that hangs does not answer, one that may not serve
//! refuses, and by the number of channels in the answer none was dropped meanwhile
//! with its slot (the driver does not tell of that). Not PING, which a user that
//! has only the rights of deploy/redis may not ask.

use std::sync::Arc;
use std::time::Duration;

use fred::types::{Message, Value};
use tokio::sync::broadcast::{self, error::RecvError};

use super::connect::{Command, Connection, Listening};
use super::fault::Fault;
use super::figures::Heard;
use super::keys;
use super::lane::Lane;
use super::pause;
use super::script::{Garbled, read_message};
use super::shared::Shared;
use crate::ids::StripeNo;
use crate::rules::{Rule, holds};
use crate::store::Notice;

/// How often it is made sure that the connection hears.
const BEAT_EVERY: Duration = Duration::from_millis(500);
/// Longest wait for the answer to a beat, and to the first words.
const BEAT_TIME_MAX: Duration = Duration::from_millis(500);
/// Rest after a connection that was lost, or never came to be.
const LISTEN_AGAIN_AFTER: Duration = Duration::from_millis(100);
/// Messages that may wait to be heard; more, and some are missed. The driver has
/// room for so many from the first on: about 100 KB.
const MESSAGES_MAX: usize = 1_024;

/// Hears one master, as long as its lane is served.
pub(super) struct Ear {
    shared: Arc<Shared>,
    lane: Arc<Lane>,
    heard: Heard,
}

/// Why a connection does not hear any more.
enum End {
    /// The stripes of this master are others now.
    Routed,
    Lost(String),
}

impl Ear {
    pub(super) fn new(shared: Arc<Shared>, lane: Arc<Lane>, heard: Heard) -> Self {
        Self {
            shared,
            lane,
            heard,
        }
    }

    /// Until the lane is closed.
    pub(super) async fn listen(self) {
        while !self.lane.is_closed() {
            let stripes = self.stripes();
            if stripes.is_empty() {
                // Routes follow the lanes that they are made of.
                self.routed(&stripes).await;
                continue;
            }
            let end = match self.open(&stripes).await {
                Ok(listening) => {
                    let end = self.hear(&stripes, listening).await;
                    self.may_have_missed();
                    end
                }
                Err(fault) => {
                    if fault.is_about_place() {
                        self.shared.look_again.notify_one();
                    }
                    End::Lost(fault.to_string())
                }
            };
            if let End::Lost(why) = end {
                self.note(Some(why));
                let rest = self.routed(&stripes);
                // Other stripes are heard at once.
                let _ = tokio::time::timeout(LISTEN_AGAIN_AFTER, rest).await;
            }
        }
    }

    /// Those whose lane it is, as of now.
    fn stripes(&self) -> Vec<StripeNo> {
        let routes = self.shared.routes();
        let is_mine = |stripe: &StripeNo| {
            let lane = routes.lane(*stripe);
            lane.is_some_and(|lane| Arc::ptr_eq(lane, &self.lane))
        };
        StripeNo::all().filter(is_mine).collect()
    }

    /// Waits until the stripes are others than these.
    async fn routed(&self, stripes: &[StripeNo]) {
        let mut routes = self.shared.watch_routes();
        while !self.lane.is_closed() && self.stripes() == stripes {
            // Its sender is in `shared`: it outlives this.
            let _ = routes.changed().await;
        }
    }

    /// A connection that hears these stripes.
    async fn open(&self, stripes: &[StripeNo]) -> Result<Listening, Fault> {
        let connector = &self.shared.connector;
        let listening = connector
            .connect_to_listen(&self.lane.endpoint, MESSAGES_MAX)
            .await?;
        let notices = stripes.iter().map(|stripe| keys::notices(*stripe));
        // One command each: in a cluster they lie in slots of their own.
        let commands = notices.map(|channel| Command::new("SSUBSCRIBE", [channel]));
        let connection = &listening.connection;
        let answers = connection.ask(commands.collect(), 0, BEAT_TIME_MAX).await;
        for answer in answers {
            answer?;
        }
        beat(connection, stripes).await?;
        Ok(listening)
    }

    /// Passes on what is heard, until that ends.
    async fn hear(&self, stripes: &[StripeNo], listening: Listening) -> End {
        let Listening {
            connection,
            mut messages,
            end,
        } = listening;
        let _heard = self.heard.one_more();
        self.note(None);
        // What was said before it heard.
        self.may_have_missed();
        let beats = async {
            loop {
                pause(BEAT_EVERY).await;
                if let Err(fault) = beat(&connection, stripes).await {
                    return fault;
                }
            }
        };
        tokio::select! {
            () = self.pass_on(&mut messages) => End::Lost("nothing more is said".to_owned()),
            fault = beats => {
                if fault.is_about_place() {
                    self.shared.look_again.notify_one();
                }
                End::Lost(fault.to_string())
            }
            _ = end => End::Lost("the connection was closed".to_owned()),
            () = self.routed(stripes) => End::Routed,
        }
    }

    async fn pass_on(&self, messages: &mut broadcast::Receiver<Message>) {
        loop {
            match heard(messages.recv().await) {
                Ok(notices) => {
                    for notice in &notices {
                        self.shared.listeners.tell(notice);
                    }
                }
                Err(Unheard::Some(why)) => {
                    tracing::debug!(master = %self.lane.endpoint, why, "missed a notice");
                    self.may_have_missed();
                }
                Err(Unheard::Ever) => return,
            }
        }
    }

    fn may_have_missed(&self) {
        if holds(Rule::LostNoticesAreMissed) {
            self.shared.listeners.tell(&Notice::Missed);
        }
    }

    /// Notes whether it hears, and says so where that is news.
    fn note(&self, deaf: Option<String>) {
        if self.lane.is_closed() {
            return;
        }
        let mut health = self.lane.health();
        match (&health.deaf, &deaf) {
            (None, Some(why)) => tracing::warn!(
                master = %self.lane.endpoint, why, "does not hear what other servers do"
            ),
            (Some(_), None) => {
                tracing::info!(master = %self.lane.endpoint, "hears what other servers do");
            }
            _ => {}
        }
        health.deaf = deaf;
    }
}

/// What was not heard.
#[derive(Debug, PartialEq, Eq)]
enum Unheard {
    Some(String),
    /// All that will ever come.
    Ever,
}

fn heard(received: Result<Message, RecvError>) -> Result<Vec<Notice>, Unheard> {
    match received {
        Ok(message) => {
            let bytes = message.value.into_bytes();
            let read = match &bytes {
                Some(bytes) => read_message(bytes),
                None => Err(Garbled("no bytes".to_owned())),
            };
            read.map_err(|garbled| Unheard::Some(garbled.to_string()))
        }
        Err(RecvError::Lagged(count)) => Err(Unheard::Some(format!("{count} came too fast"))),
        Err(RecvError::Closed) => Err(Unheard::Ever),
    }
}

/// Makes sure that a connection hears all of these stripes, of which there is one
/// at least, and always did since the last time.
async fn beat(connection: &Connection, stripes: &[StripeNo]) -> Result<(), Fault> {
    let Some(first) = stripes.first() else {
        return Ok(());
    };
    let command = Command::new("SSUBSCRIBE", [keys::beat(*first)]);
    let answer = connection.ask_one(command, BEAT_TIME_MAX).await?;
    let channels = match &answer {
        Value::Array(words) => words.last().and_then(Value::as_u64),
        _ => None,
    };
    if channels == Some(stripes.len() as u64 + 1) {
        return Ok(());
    }
    Err(Fault::NotDone(format!(
        "of {} channels it hears {channels:?}: a slot has moved",
        stripes.len() + 1
    )))
}

#[cfg(test)]
mod tests {
    use fred::types::MessageKind;
    use fred::types::config::Server;

    use super::*;

    fn message(value: impl Into<Value>) -> Message {
        Message {
            channel: "a".into(),
            value: value.into(),
            kind: MessageKind::SMessage,
            server: Server::new("127.0.0.1", 1),
        }
    }

    #[test]
    fn what_cannot_be_read_or_came_too_fast_was_missed() {
        for value in [
            Value::from("garbage"),
            Value::from(7),
            Value::Null,
            Value::Bytes(vec![0x93, 1, 0x90].into()),
        ] {
            let missed = heard(Ok(message(value)));
            assert!(matches!(missed, Err(Unheard::Some(_))), "{missed:?}");
        }
        let missed = heard(Err(RecvError::Lagged(3)));
        assert!(matches!(missed, Err(Unheard::Some(_))), "{missed:?}");
        assert_eq!(heard(Err(RecvError::Closed)), Err(Unheard::Ever));
        let nothing = Value::Bytes(vec![0x93, 1, 0x90, 0x90].into());
        assert_eq!(heard(Ok(message(nothing))), Ok(Vec::new()));
    }
}
