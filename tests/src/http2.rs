//! A client that knows HTTP/2 and nothing of gRPC: it keeps no deadline of its
//! own, and can leave in the middle of a call.

use h2::client::{ResponseFuture, SendRequest};
use prost::Message;
use prost::bytes::{BufMut, Bytes, BytesMut};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tonic::codegen::http::{HeaderMap, Request};
use tonic::{Code, Status};

/// A connection. Dropping it closes the socket, whatever is under way.
#[derive(Debug)]
pub struct Http2 {
    send: SendRequest<Bytes>,
    authority: String,
    _driver: JoinSet<()>,
}

impl Http2 {
    /// Connects to `http://host:port`.
    pub async fn connect(address: &str) -> Self {
        let authority = address.trim_start_matches("http://").to_owned();
        let socket = TcpStream::connect(&authority).await.expect("a connection");
        socket.set_nodelay(true).expect("a socket");
        let (send, connection) = h2::client::handshake(socket).await.expect("a handshake");
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // It ends with an error when the server closes it: calls tell.
            let _ = connection.await;
        });
        Self {
            send,
            authority,
            _driver: driver,
        }
    }

    /// Sends a whole unary call; the returned future is its reply. Dropping
    /// that resets the stream.
    pub async fn send(
        &self,
        path: &str,
        message: &impl Message,
        headers: &[(&'static str, &str)],
    ) -> ResponseFuture {
        let mut request = Request::post(format!("http://{}{path}", self.authority))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).expect("a request");
        let mut send = self.send.clone().ready().await.expect("room for a stream");
        let (reply, mut body) = send
            .send_request(request, false)
            .expect("an open connection");
        body.send_data(framed(message), true)
            .expect("an open stream");
        reply
    }

    /// The status of a reply, which may be OK.
    pub async fn status(reply: ResponseFuture) -> Status {
        let (head, mut body) = reply.await.expect("a reply").into_parts();
        if let Some(status) = Status::from_header_map(&head.headers) {
            return status;
        }
        while let Some(chunk) = body.data().await {
            let len = chunk.expect("a reply").len();
            let _ = body.flow_control().release_capacity(len);
        }
        let trailers = body
            .trailers()
            .await
            .expect("a reply")
            .unwrap_or_else(HeaderMap::new);
        Status::from_header_map(&trailers)
            .unwrap_or_else(|| Status::new(Code::Unknown, "no grpc-status"))
    }
}

/// A message as gRPC frames it: not compressed, and its length.
fn framed(message: &impl Message) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(0);
    let len = u32::try_from(message.encoded_len()).expect("a small message");
    bytes.put_u32(len);
    message.encode(&mut bytes).expect("room grows");
    bytes.freeze()
}
