//! A redis-server of this process's own, and just enough of its protocol to
//! send many commands at once.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::redis::script::{Arguments, Call, Garbled, Ran, script};

/// Gone when dropped, with all it held.
pub(super) struct Server {
    child: Child,
    dir: TempDir,
}

impl Server {
    pub(super) fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let child = Command::new("redis-server")
            .args(["--port", "0", "--unixsocket", "socket", "--save", ""])
            .args(["--appendonly", "no", "--daemonize", "no"])
            .current_dir(&dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn();
        let mut server = match child {
            Ok(child) => Self { child, dir },
            Err(error) if error.kind() == io::ErrorKind::NotFound => panic!(
                "redis-server is missing: run apt-get install redis-server, or tests/run, which does"
            ),
            Err(error) => panic!("redis-server does not start: {error}"),
        };
        let mut said = String::new();
        let mut log = BufReader::new(server.child.stdout.take().unwrap());
        while !said.to_lowercase().contains("ready to accept connections") {
            let more = log.read_line(&mut said).unwrap();
            assert!(more > 0, "redis-server does not start:\n{said}");
        }
        // Its log goes nowhere from here on, but must go somewhere.
        server.child.stdout = Some(log.into_inner());
        server
    }

    pub(super) fn connect(&self) -> Redis {
        let stream = UnixStream::connect(self.dir.path().join("socket")).unwrap();
        let mut redis = Redis {
            reader: BufReader::with_capacity(1 << 16, stream.try_clone().unwrap()),
            writer: stream,
            queued: Vec::new(),
            sha: Vec::new(),
        };
        redis.sha = redis.ask(&[b"SCRIPT", b"LOAD", script().as_bytes()]).bulk();
        redis
    }

    /// A connection on which only what is said on a channel arrives.
    pub(super) fn listen(&self, channel: &[u8]) -> Redis {
        let mut redis = self.connect();
        let answer = redis.ask(&[b"SSUBSCRIBE", channel]);
        assert!(matches!(answer, Value::Array(_)), "{answer:?}");
        redis
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// A value that Redis answers with.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Status(String),
    Error(String),
    Number(i64),
    Bulk(Option<Vec<u8>>),
    Array(Vec<Value>),
}

impl Value {
    #[track_caller]
    pub(super) fn bulk(self) -> Vec<u8> {
        match self {
            Self::Bulk(Some(bytes)) => bytes,
            other => panic!("no string: {other:?}"),
        }
    }

    #[track_caller]
    pub(super) fn bulks(self) -> Vec<Vec<u8>> {
        match self {
            Self::Array(values) => values.into_iter().map(Self::bulk).collect(),
            other => panic!("no array: {other:?}"),
        }
    }

    /// Of HGETALL, or of ZRANGE with scores.
    #[track_caller]
    pub(super) fn pairs(self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let bulks = self.bulks();
        let pairs = bulks.chunks_exact(2);
        pairs
            .map(|pair| (pair[0].clone(), pair[1].clone()))
            .collect()
    }
}

/// A connection. Commands are queued; they are sent when the answers are read.
pub(super) struct Redis {
    reader: BufReader<UnixStream>,
    writer: UnixStream,
    queued: Vec<u8>,
    sha: Vec<u8>,
}

impl Redis {
    pub(super) fn ask(&mut self, words: &[&[u8]]) -> Value {
        self.queue(words);
        self.answer()
    }

    pub(super) fn queue(&mut self, words: &[&[u8]]) {
        write!(self.queued, "*{}\r\n", words.len()).unwrap();
        for word in words {
            write!(self.queued, "${}\r\n", word.len()).unwrap();
            self.queued.extend_from_slice(word);
            self.queued.extend_from_slice(b"\r\n");
        }
    }

    /// Sends what is queued, and reads the next answer.
    pub(super) fn answer(&mut self) -> Value {
        if !self.queued.is_empty() {
            self.writer.write_all(&self.queued).unwrap();
            self.queued.clear();
        }
        self.read()
    }

    fn read(&mut self) -> Value {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        let line = line.trim_end();
        let (kind, rest) = line.split_at_checked(1).expect("an answer");
        let number = || rest.parse::<i64>().unwrap();
        match kind {
            "+" => Value::Status(rest.to_owned()),
            "-" => Value::Error(rest.to_owned()),
            ":" => Value::Number(number()),
            "$" => match usize::try_from(number()) {
                Err(_) => Value::Bulk(None),
                Ok(len) => {
                    let mut bytes = vec![0; len + 2];
                    self.reader.read_exact(&mut bytes).unwrap();
                    bytes.truncate(len);
                    Value::Bulk(Some(bytes))
                }
            },
            "*" => Value::Array((0..number()).map(|_| self.read()).collect()),
            other => panic!("an answer that begins with {other:?}"),
        }
    }

    /// What was said before `end` was.
    pub(super) fn hear_until(&mut self, end: &[u8]) -> Vec<Vec<u8>> {
        let mut heard = Vec::new();
        loop {
            let message = self.read().bulks().pop().unwrap();
            if message == end {
                return heard;
            }
            heard.push(message);
        }
    }

    pub(super) fn queue_run(&mut self, call: &Call<'_>) {
        let Arguments { keys, args } = call.encode();
        let sha = std::mem::take(&mut self.sha);
        let count = keys.len().to_string();
        let mut words: Vec<&[u8]> = vec![b"EVALSHA", &sha, count.as_bytes()];
        words.extend(keys.iter().chain(&args).map(AsRef::<[u8]>::as_ref));
        self.queue(&words);
        self.sha = sha;
    }

    pub(super) fn ran(&mut self, call: &Call<'_>) -> Result<Ran, Garbled> {
        match self.answer() {
            Value::Bulk(Some(bytes)) => call.decode(&bytes),
            other => Err(Garbled(format!("{other:?}"))),
        }
    }

    pub(super) fn run(&mut self, call: &Call<'_>) -> Result<Ran, Garbled> {
        self.queue_run(call);
        self.ran(call)
    }
}
