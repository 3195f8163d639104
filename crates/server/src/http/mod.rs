//! The plain HTTP port: what Prometheus scrapes and kubelets probe. Read only,
//! and in no way to be held up by those who ask: every connection is answered
//! once and closed, in bounded time.
//!
//! - `pages`: what is answered.

mod pages;

use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};

use crate::acceptor::Port;
use crate::clock;
use crate::tasks::Crowd;

pub(crate) use pages::Pages;

/// What a client may take of this server.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Connections at a time; more wait in the kernel's queue.
    connections: usize,
    /// Time to send the request.
    request_time: Duration,
    /// Time for everything: also who does not read its answer must go.
    connection_time: Duration,
}

const LIMITS: Limits = Limits {
    connections: 64,
    request_time: Duration::from_secs(5),
    connection_time: Duration::from_secs(10),
};

/// Bytes of a request; real ones have a few hundred.
const REQUEST_BYTES_MAX: usize = 16 << 10;

/// Answers for ever: the drain, too, is watched through this port.
pub(crate) async fn serve(listener: TcpListener, pages: Pages) {
    serve_within(LIMITS, listener, pages).await;
}

async fn serve_within(limits: Limits, listener: TcpListener, pages: Pages) {
    let mut port = Port::new(listener);
    let mut clients = Crowd::of_at_most(limits.connections, "an HTTP connection");
    loop {
        clients.room().await;
        let stream = port.next().await;
        clients.spawn(answer(limits, stream, pages.clone()));
    }
}

/// One request, one answer.
async fn answer(limits: Limits, stream: TcpStream, pages: Pages) {
    let page = service_fn(move |request: hyper::Request<Incoming>| {
        let pages = pages.clone();
        async move {
            let page = pages.get(request.method(), request.uri().path()).await;
            Ok::<_, std::convert::Infallible>(page)
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.request_time)
        .max_buf_size(REQUEST_BYTES_MAX)
        // Who asks every few seconds can connect anew; a connection that is
        // kept would be one more thing to look after.
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), page);
    let served = tokio::select! {
        served = served => served,
        () = clock::after(limits.connection_time) => {
            tracing::debug!("an HTTP client took too long and was cut off");
            return;
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "an HTTP client was not answered");
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::tasks::Tasks;

    const TEST_TIME_MAX: Duration = Duration::from_secs(20);
    const NEVER: Duration = Duration::from_hours(1);
    const SHORT: Duration = Duration::from_millis(20);

    async fn start(limits: Limits) -> (SocketAddr, Tasks) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = Tasks::default();
        let pages = Pages::of_a_starting_server().await;
        tasks.spawn("HTTP", serve_within(limits, listener, pages));
        (address, tasks)
    }

    /// What comes until the server closes; a reset is an end as well.
    async fn all_of(mut client: TcpStream) -> String {
        let mut said = Vec::new();
        let read = tokio::time::timeout(TEST_TIME_MAX, client.read_to_end(&mut said)).await;
        let _ = read.expect("it is still open");
        String::from_utf8(said).unwrap()
    }

    async fn connect(address: SocketAddr, says: &str) -> TcpStream {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(says.as_bytes()).await.unwrap();
        client
    }

    #[tokio::test]
    async fn silent_and_slow_clients_are_cut() {
        for limits in [
            Limits {
                request_time: SHORT,
                connection_time: NEVER,
                ..LIMITS
            },
            Limits {
                request_time: NEVER,
                connection_time: SHORT,
                ..LIMITS
            },
        ] {
            let (address, _server) = start(limits).await;
            for says in ["", "GET /healthz HTTP/1.1\r\nhost: "] {
                let client = connect(address, says).await;
                assert_eq!(all_of(client).await, "", "{limits:?} {says:?}");
            }
        }
    }

    #[tokio::test]
    async fn clients_beyond_the_bound_wait_for_their_turn() {
        let (address, _server) = start(Limits {
            connections: 1,
            request_time: SHORT,
            ..LIMITS
        })
        .await;
        let silent = connect(address, "").await;
        let next = connect(address, "GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let answer = all_of(next).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert_eq!(all_of(silent).await, "");
    }

    #[tokio::test]
    async fn a_request_is_answered_once_and_a_flood_of_headers_is_not_read() {
        let (address, _server) = start(LIMITS).await;
        let ask = "GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n";
        let answer = all_of(connect(address, &ask.repeat(2)).await).await;
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
        assert!(answer.contains("connection: close\r\n"), "{answer}");

        let flood = format!("GET / HTTP/1.1\r\na: {}", "b".repeat(REQUEST_BYTES_MAX));
        let answer = all_of(connect(address, &flood).await).await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }
}
