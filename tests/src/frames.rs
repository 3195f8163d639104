//! HTTP/2 frame by frame: what no library would send.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::within;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frames to be sent, one after the other.
#[derive(Clone, Debug, Default)]
pub struct Frames(Vec<u8>);

impl Frames {
    fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let len = u32::try_from(payload.len()).expect("a frame").to_be_bytes();
        self.0.extend(&len[1..]);
        self.0.extend([kind, flags]);
        self.0.extend(stream.to_be_bytes());
        self.0.extend(payload);
    }

    /// What begins a connection.
    #[must_use]
    pub fn begin() -> Self {
        let mut frames = Self(PREFACE.to_vec());
        frames.frame(SETTINGS, 0, 0, &[]);
        frames
    }

    /// The headers of a call, whose message is still to come. Literals without
    /// Huffman (RFC 7541, 6.2.2), the simplest form there is.
    pub fn headers(&mut self, stream: u32, path: &str) {
        let mut block = Vec::new();
        for (name, value) in [
            (":method", "POST"),
            (":scheme", "http"),
            (":authority", "localhost"),
            (":path", path),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
        ] {
            block.push(0);
            for text in [name, value] {
                block.push(u8::try_from(text.len()).expect("a short text"));
                block.extend(text.bytes());
            }
        }
        self.frame(HEADERS, END_HEADERS, stream, &block);
    }

    /// Part of a message: so many bytes of it, of a message that is longer. All
    /// of a connection must fit into its first window, 65,535 bytes.
    pub fn unfinished(&mut self, stream: u32, bytes: u8) {
        let mut payload = vec![0, 0, 0, 1, 0];
        payload.extend(std::iter::repeat_n(0x0a, usize::from(bytes)));
        self.frame(DATA, 0, stream, &payload);
    }

    /// The caller does not want this stream any more.
    pub fn reset(&mut self, stream: u32) {
        self.frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
    }

    /// Asks whether the server has read all that came before.
    pub fn ping(&mut self) {
        self.frame(PING, 0, 0, &[0; 8]);
    }

    /// Sends them over a connection of their own, as far as they are taken.
    pub async fn send(self, authority: &str) -> Sent {
        let mut socket = TcpStream::connect(authority).await.expect("a connection");
        let sending = socket.write_all(&self.0);
        // The server may close in the middle.
        let _ = within("frames to be taken", sending).await;
        Sent(socket)
    }
}

/// A connection after its frames were sent. It stays open until it is dropped.
#[derive(Debug)]
pub struct Sent(TcpStream);

/// What came of a connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct End {
    /// Calls that were answered with nothing but trailers.
    pub errors: usize,
    /// Streams that the server reset.
    pub resets: usize,
    /// Pings that it answered.
    pub pongs: usize,
    /// It said that it closes.
    pub goaway: bool,
}

impl Sent {
    /// Reads until the server closes, which it must.
    pub async fn closed(mut self) -> End {
        self.read(|_| false).await
    }

    /// Reads until this is enough, or the server closes.
    pub async fn read(&mut self, enough: impl Fn(&End) -> bool) -> End {
        let mut end = End::default();
        let reading = async {
            while !enough(&end) {
                let mut head = [0; 9];
                if self.0.read_exact(&mut head).await.is_err() {
                    return;
                }
                let len = u32::from_be_bytes([0, head[0], head[1], head[2]]);
                let mut payload = vec![0; usize::try_from(len).expect("a frame")];
                if self.0.read_exact(&mut payload).await.is_err() {
                    return;
                }
                let only = head[3] == HEADERS && head[4] & END_STREAM != 0;
                end.errors += usize::from(only);
                end.resets += usize::from(head[3] == RST_STREAM);
                end.pongs += usize::from(head[3] == PING);
                end.goaway |= head[3] == GOAWAY;
            }
        };
        within("the end of a connection", reading).await;
        end
    }
}
