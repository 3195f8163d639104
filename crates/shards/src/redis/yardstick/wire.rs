//! As much of Redis' protocol (RESP2) as reading counters and the naive way need.

use std::io::{Error as IoError, ErrorKind};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Error, Node};

/// A server that does not answer by now is not one to be measured.
const PATIENCE: Duration = Duration::from_secs(5);
/// INFO takes some kilobytes; what claims to be larger is no Redis server.
const REPLY_LEN_MAX: usize = 1 << 20;

/// What a server answers. Lists are not among what is asked for here.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// A word, such as OK.
    Simple(String),
    /// Its words about what went wrong.
    Error(String),
    /// A number.
    Integer(i64),
    /// Text of any length.
    Bulk(Vec<u8>),
    /// Nothing.
    Nil,
}

/// A connection to a server.
pub(super) struct Connection<'a> {
    node: &'a Node,
    stream: BufReader<TcpStream>,
}

impl<'a> Connection<'a> {
    /// Connects and says who asks.
    pub(super) async fn open(node: &'a Node) -> Result<Self, Error> {
        let connected = timeout(PATIENCE, TcpStream::connect(&node.authority)).await;
        let stream = connected
            .unwrap_or_else(|_| Err(late()))
            .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
            .map_err(|error| node.broken(error))?;
        let stream = BufReader::new(stream);
        let mut connection = Self { node, stream };
        let login = &node.login;
        if let Some(password) = &login.password {
            let user = login.user.as_deref().unwrap_or("default");
            let words = [b"AUTH", user.as_bytes(), password.as_bytes()];
            connection.ask("AUTH", &words).await?;
        }
        Ok(connection)
    }

    pub(super) fn node(&self) -> &'a Node {
        self.node
    }

    /// Sends a command and reads its reply; one that is an error is an error.
    pub(super) async fn ask(
        &mut self,
        command: &'static str,
        words: &[&[u8]],
    ) -> Result<Reply, Error> {
        let answer = timeout(PATIENCE, self.exchange(&encode(words))).await;
        match answer.unwrap_or_else(|_| Err(late())) {
            Ok(Reply::Error(said)) => Err(self.node.refused(command, said)),
            Ok(reply) => Ok(reply),
            Err(error) => Err(self.node.broken(error)),
        }
    }

    /// Sends bytes that are a command, and reads its reply, however long that
    /// takes.
    pub(super) async fn exchange(&mut self, command: &[u8]) -> Result<Reply, IoError> {
        self.stream.get_mut().write_all(command).await?;
        let mut line = Vec::new();
        // Lines are short: the longest are errors.
        (&mut self.stream)
            .take(REPLY_LEN_MAX as u64)
            .read_until(b'\n', &mut line)
            .await?;
        let Some((kind, said)) = line.strip_suffix(b"\r\n").and_then(<[u8]>::split_first) else {
            return Err(ErrorKind::UnexpectedEof.into());
        };
        let said = String::from_utf8_lossy(said);
        match kind {
            b'+' => Ok(Reply::Simple(said.into_owned())),
            b'-' => Ok(Reply::Error(said.into_owned())),
            b':' => said.parse().map(Reply::Integer).map_err(|_| strange()),
            b'$' if said == "-1" => Ok(Reply::Nil),
            b'$' => match said.parse() {
                Ok(length) if length <= REPLY_LEN_MAX => self.bulk(length).await,
                _ => Err(strange()),
            },
            _ => Err(strange()),
        }
    }

    async fn bulk(&mut self, length: usize) -> Result<Reply, IoError> {
        let mut text = vec![0; length + 2];
        self.stream.read_exact(&mut text).await?;
        if text.split_off(length) == b"\r\n" {
            Ok(Reply::Bulk(text))
        } else {
            Err(strange())
        }
    }
}

/// A command as it is sent.
pub(super) fn encode(words: &[&[u8]]) -> Vec<u8> {
    let mut sent = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        sent.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        sent.extend_from_slice(word);
        sent.extend_from_slice(b"\r\n");
    }
    sent
}

fn late() -> IoError {
    IoError::new(
        ErrorKind::TimedOut,
        format!("it did not answer within {PATIENCE:?}"),
    )
}

fn strange() -> IoError {
    IoError::new(ErrorKind::InvalidData, "it does not speak Redis' protocol")
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::super::Login;
    use super::*;

    /// What is read from a server that says `said` and leaves.
    async fn read(said: &'static [u8]) -> Result<Reply, Error> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        let nodes = Node::parse_all(&url, &Login::default()).unwrap();
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = [0; 14];
            stream.read_exact(&mut asked).await.unwrap();
            assert_eq!(&asked, b"*1\r\n$4\r\nPING\r\n");
            stream.write_all(said).await.unwrap();
        };
        let ask = async {
            let mut connection = Connection::open(&nodes[0]).await?;
            connection.ask("PING", &[b"PING"]).await
        };
        tokio::join!(serve, ask).1
    }

    #[tokio::test]
    async fn every_kind_of_reply() {
        let simple = |text: &str| Reply::Simple(text.to_owned());
        assert_eq!(read(b"+PONG\r\n").await.unwrap(), simple("PONG"));
        assert_eq!(read(b":-7\r\n").await.unwrap(), Reply::Integer(-7));
        assert_eq!(read(b"$-1\r\n").await.unwrap(), Reply::Nil);
        let bulk = read(b"$4\r\na\r\nb\r\n").await.unwrap();
        assert_eq!(bulk, Reply::Bulk(b"a\r\nb".to_vec()));
    }

    #[tokio::test]
    async fn what_is_no_reply_is_an_error() {
        for (said, part) in [
            (&b"-NOAUTH log in first\r\n"[..], "refused PING: NOAUTH"),
            (b"", "cannot talk"),
            (b"+PON", "cannot talk"),
            (b"$4\r\nab", "cannot talk"),
            (b"$99999999999\r\n", "protocol"),
            (b":seven\r\n", "protocol"),
            (b"HTTP/1.1 400 Bad Request\r\n", "protocol"),
        ] {
            let error = read(said).await.unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
