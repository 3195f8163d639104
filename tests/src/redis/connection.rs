//! A small blocking client, independent of the one that is tested.

use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::value::Value;

/// How long an answer may take.
pub const TIMEOUT: Duration = Duration::from_secs(5);

/// A connection to a redis-server. After an answer that did not come it is of
/// no further use.
pub struct Connection(BufReader<Box<dyn Stream>>);

/// What a connection needs of its socket.
trait Stream: Read + Write + Send {
    fn set_timeout(&self, timeout: Duration) -> io::Result<()>;
}

impl Stream for TcpStream {
    fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(timeout))?;
        self.set_write_timeout(Some(timeout))
    }
}

impl Stream for UnixStream {
    fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(timeout))?;
        self.set_write_timeout(Some(timeout))
    }
}

impl Connection {
    /// Over TCP, as callers of the server come.
    pub fn tcp(address: SocketAddr) -> Result<Self, String> {
        let stream = TcpStream::connect_timeout(&address, TIMEOUT);
        let stream = stream.map_err(|error| format!("{address}: {error}"))?;
        // Fails only where the connection is gone, which the first command tells.
        let _ = stream.set_nodelay(true);
        Self::over(Box::new(stream))
    }

    /// Over a socket in the file system, which no cut network reaches.
    pub fn unix(path: &Path) -> Result<Self, String> {
        let stream = UnixStream::connect(path);
        Self::over(Box::new(
            stream.map_err(|error| format!("{}: {error}", path.display()))?,
        ))
    }

    fn over(stream: Box<dyn Stream>) -> Result<Self, String> {
        let connection = Self(BufReader::new(stream));
        connection.timeout(TIMEOUT)?;
        Ok(connection)
    }

    /// Another bound than [`TIMEOUT`] for what follows.
    pub fn timeout(&self, timeout: Duration) -> Result<(), String> {
        let set = self.0.get_ref().set_timeout(timeout);
        set.map_err(|error| format!("no timeout: {error}"))
    }

    /// Sends a command and reads its answer.
    pub fn command<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Result<Value, String> {
        self.send(args)?;
        self.receive()
    }

    /// Sends several at once, then reads the answers in their order; an error
    /// among them is a [`Value::Error`].
    pub fn pipeline<A: AsRef<[u8]>>(&mut self, commands: &[&[A]]) -> Result<Vec<Value>, String> {
        let all: Vec<u8> = commands.iter().flat_map(|args| encode(args)).collect();
        self.write(&all)?;
        commands.iter().map(|_| self.read()).collect()
    }

    /// Sends a command without reading an answer.
    pub fn send<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Result<(), String> {
        self.write(&encode(args))
    }

    /// Reads the next answer.
    pub fn receive(&mut self) -> Result<Value, String> {
        match self.read()? {
            Value::Error(error) => Err(error),
            value => Ok(value),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        let written = self.0.get_mut().write_all(bytes);
        written.map_err(|error| format!("not sent: {error}"))
    }

    fn read(&mut self) -> Result<Value, String> {
        Value::read(&mut self.0).map_err(|error| format!("no answer: {error}"))
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

fn encode<A: AsRef<[u8]>>(args: &[A]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        let arg = arg.as_ref();
        bytes.extend(format!("${}\r\n", arg.len()).into_bytes());
        bytes.extend(arg);
        bytes.extend(b"\r\n");
    }
    bytes
}
