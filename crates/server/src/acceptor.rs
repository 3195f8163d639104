//! Takes connections from the port and gives each to the worker with the
//! fewest. One acceptor for all workers: with `SO_REUSEPORT` a second server
//! could bind the same port in silence, and few connections would be spread
//! badly.

use std::io;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::clock;
use crate::connection::{Accepted, Load};
use crate::lifecycle::{Lifecycle, Phase};
use crate::seldom::Seldom;

/// How long to wait when the system has no room for another connection: some
/// must be closed first, and nothing tells when.
const NO_ROOM_PAUSE: Duration = Duration::from_millis(50);
/// How often that is worth a line.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(10);

/// Where a worker takes its connections from. Dropping it tells the worker
/// that no more will come.
#[derive(Debug)]
pub(crate) struct Inbox {
    /// How many it has.
    pub(crate) load: Load,
    /// To the worker. Without bound of its own: the process's open files are
    /// the bound, and the worker takes each at once.
    pub(crate) connections: mpsc::UnboundedSender<Accepted>,
}

/// A listening port that goes on whatever happens to single connections.
#[derive(Debug)]
pub(crate) struct Port {
    listener: TcpListener,
    complaints: Seldom,
}

impl Port {
    pub(crate) fn new(listener: TcpListener) -> Self {
        Self {
            listener,
            complaints: Seldom::every(COMPLAINT_INTERVAL),
        }
    }

    /// The next connection.
    pub(crate) async fn next(&mut self) -> TcpStream {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => return stream,
                Err(error) => self.get_over(error).await,
            }
        }
    }

    /// Waits as long as is right after this error.
    async fn get_over(&mut self, error: io::Error) {
        // The client's doing, or over already: the next one is waiting.
        if is_about_one_connection(&error) {
            tracing::debug!(%error, "a connection ended before it was served");
            return;
        }
        // No open files or no memory left: those that are served go on, and
        // accepting at full speed would only burn the core that serves them.
        if let Some(kept_back) = self.complaints.now(clock::now()) {
            tracing::warn!(%error, kept_back, "connections cannot be accepted");
        }
        clock::after(NO_ROOM_PAUSE).await;
    }
}

/// Accepts until the server closes; then the port is closed, and the workers
/// know that no more will come.
pub(crate) async fn accept(listener: TcpListener, inboxes: Vec<Inbox>, life: Lifecycle) {
    let mut closing = std::pin::pin!(life.reached(Phase::Closing));
    let mut port = Port::new(listener);
    loop {
        let stream = tokio::select! {
            () = &mut closing => return,
            stream = port.next() => stream,
        };
        if let Err(error) = hand_over(stream, &inboxes) {
            port.get_over(error).await;
        }
    }
}

fn hand_over(stream: TcpStream, inboxes: &[Inbox]) -> io::Result<()> {
    // Replies are small and complete when they are written: waiting for more
    // to send with them only delays them.
    stream.set_nodelay(true)?;
    let mut socket = stream.into_std()?;
    let mut by_load: Vec<_> = inboxes.iter().collect();
    by_load.sort_by_key(|inbox| inbox.load.connections());
    for inbox in by_load {
        let accepted = Accepted {
            socket,
            counted: inbox.load.one_more(),
        };
        match inbox.connections.send(accepted) {
            Ok(()) => return Ok(()),
            // That worker has ended, and with it soon the server.
            Err(mpsc::error::SendError(returned)) => socket = returned.socket,
        }
    }
    Ok(())
}

fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::NotConnected
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    type Inboxed = mpsc::UnboundedReceiver<Accepted>;

    fn inbox() -> (Inbox, Inboxed) {
        let (connections, received) = mpsc::unbounded_channel();
        let load = Load::default();
        (Inbox { load, connections }, received)
    }

    #[tokio::test]
    async fn connections_go_to_the_worker_with_the_fewest() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (one, mut to_one) = inbox();
        let (two, mut to_two) = inbox();
        let inboxes = [one, two];
        let mut clients = Vec::new();
        let mut connect = async || {
            clients.push(TcpStream::connect(address).await.unwrap());
            let (stream, _) = listener.accept().await.unwrap();
            hand_over(stream, &inboxes).unwrap();
        };
        for _ in 0..4 {
            connect().await;
        }
        assert_eq!((to_one.len(), to_two.len()), (2, 2));
        // One worker's connections end: it gets the next ones.
        while to_two.try_recv().is_ok() {}
        connect().await;
        connect().await;
        assert_eq!((to_one.len(), to_two.len()), (2, 2));
        // A worker that is gone gets none, and its share is not lost.
        to_one.close();
        while to_one.try_recv().is_ok() {}
        connect().await;
        assert_eq!(to_two.len(), 3);
    }

    #[tokio::test]
    async fn a_closing_server_closes_its_port_and_its_inboxes() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (inbox, mut received) = inbox();
        let life = Lifecycle::new();
        life.advance(Phase::Closing);
        accept(listener, vec![inbox], life).await;
        assert!(received.recv().await.is_none());
        assert!(TcpStream::connect(address).await.is_err());
    }
}
