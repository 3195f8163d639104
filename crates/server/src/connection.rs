//! A connection as a worker serves it: counted, and not kept if its client
//! says nothing.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::clock;
use crate::lifecycle::{Lifecycle, Phase};

/// How long a client may take to say that it speaks HTTP/2. Until then no
/// keepalive looks after the connection, and no drain would end it.
const PREFACE_TIME_MAX: Duration = Duration::from_secs(10);
/// `PRI * HTTP/2.0`, an empty line, `SM`, an empty line (RFC 9113, 3.4).
const PREFACE_LEN: usize = 24;

/// How many connections a worker has.
#[derive(Clone, Debug, Default)]
pub(crate) struct Load(Arc<AtomicUsize>);

impl Load {
    /// Connections now.
    pub(crate) fn connections(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// One more, until what is returned is dropped.
    pub(crate) fn one_more(&self) -> Counted {
        self.0.fetch_add(1, Ordering::Relaxed);
        Counted(self.clone())
    }
}

/// One connection of a worker's [`Load`].
#[derive(Debug)]
pub(crate) struct Counted(Load);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection on its way from the acceptor to its worker: of no runtime.
#[derive(Debug)]
pub(crate) struct Accepted {
    /// The socket, not blocking.
    pub(crate) socket: std::net::TcpStream,
    /// Counts it from the moment the worker was chosen.
    pub(crate) counted: Counted,
}

/// A connection of a worker's runtime.
pub(crate) struct Connection {
    stream: TcpStream,
    /// What the client still owes; `None` once it has shown that it speaks
    /// HTTP/2.
    preface: Option<Preface>,
    _counted: Counted,
}

struct Preface {
    /// Bytes.
    missing: usize,
    /// Ends when they are not waited for any more.
    patience: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Connection {
    /// Takes a connection over. Must be called on the runtime that serves it.
    pub(crate) fn adopt(accepted: Accepted, life: &Lifecycle) -> io::Result<Self> {
        let life = life.clone();
        Self::with_patience(accepted, async move {
            tokio::select! {
                () = clock::after(PREFACE_TIME_MAX) => {}
                // A drain cannot tell a client to go that has not begun.
                () = life.reached(Phase::Closing) => {}
            }
        })
    }

    fn with_patience(
        accepted: Accepted,
        patience: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<Self> {
        Ok(Self {
            stream: TcpStream::from_std(accepted.socket)?,
            preface: Some(Preface {
                missing: PREFACE_LEN,
                patience: Box::pin(patience),
            }),
            _counted: accepted.counted,
        })
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buf);
        let Some(preface) = &mut this.preface else {
            return read;
        };
        match read {
            Poll::Ready(result) => {
                let got = buf.filled().len() - before;
                preface.missing = preface.missing.saturating_sub(got);
                if preface.missing == 0 {
                    this.preface = None;
                }
                Poll::Ready(result)
            }
            Poll::Pending => {
                ready!(preface.patience.as_mut().poll(cx));
                Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the client sent no HTTP/2 preface",
                )))
            }
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::TcpListener;

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(20);
    const TEST_TIME_MAX: Duration = Duration::from_secs(5);
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    fn pair(load: &Load) -> (std::net::TcpStream, Accepted) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, _) = listener.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        let counted = load.one_more();
        (client, Accepted { socket, counted })
    }

    /// Reads once; `TEST_TIME_MAX` is longer than any patience here.
    async fn read(connection: &mut Connection) -> io::Result<usize> {
        let mut buf = [0; 64];
        let mut buf = ReadBuf::new(&mut buf);
        let read = std::future::poll_fn(|cx| Pin::new(&mut *connection).poll_read(cx, &mut buf));
        let read = tokio::time::timeout(TEST_TIME_MAX, read).await;
        read.expect("it is still waited for")?;
        Ok(buf.filled().len())
    }

    #[tokio::test]
    async fn a_connection_is_counted_as_long_as_it_lives() {
        let load = Load::default();
        let (_client, accepted) = pair(&load);
        let (_other, dropped) = pair(&load);
        assert_eq!(load.connections(), 2);
        drop(dropped);
        let connection = Connection::adopt(accepted, &Lifecycle::new()).unwrap();
        assert_eq!(load.connections(), 1);
        drop(connection);
        assert_eq!(load.connections(), 0);
    }

    #[tokio::test]
    async fn a_client_that_does_not_finish_its_preface_is_not_waited_for() {
        let (mut client, accepted) = pair(&Load::default());
        client.write_all(&PREFACE[..PREFACE_LEN - 1]).unwrap();
        let patience = clock::after(PATIENCE);
        let mut connection = Connection::with_patience(accepted, patience).unwrap();
        let error = loop {
            match read(&mut connection).await {
                Ok(bytes) => assert!(bytes > 0, "the client closed"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_closing_server_waits_for_no_preface() {
        let (_client, accepted) = pair(&Load::default());
        let life = Lifecycle::new();
        let mut connection = Connection::adopt(accepted, &life).unwrap();
        life.advance(Phase::Closing);
        let read = read(&mut connection).await;
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_client_that_sent_its_preface_may_be_silent() {
        let (mut client, accepted) = pair(&Load::default());
        client.write_all(PREFACE).unwrap();
        let patience = clock::after(PATIENCE);
        let mut connection = Connection::with_patience(accepted, patience).unwrap();
        let mut missing = PREFACE_LEN;
        while missing > 0 {
            missing -= read(&mut connection).await.unwrap();
        }
        let silence = read(&mut connection);
        let waited = tokio::time::timeout(PATIENCE * 5, silence).await;
        assert!(
            waited.is_err(),
            "closed although it speaks HTTP/2: {waited:?}"
        );
    }
}
