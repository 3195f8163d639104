//! What redis-server answers.

use std::fmt;
use std::io::{self, BufRead};

/// A reply in RESP2.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// Nothing there.
    Nil,
    /// A number.
    Int(i64),
    /// A status such as `OK`.
    Simple(String),
    /// Bytes.
    Bulk(Vec<u8>),
    /// Several.
    Array(Vec<Self>),
    /// An error inside an array. One that is the whole reply is an `Err`.
    Error(String),
}

impl Value {
    /// A status or bytes, as text.
    #[track_caller]
    pub fn text(&self) -> String {
        match self {
            Self::Simple(text) => text.clone(),
            Self::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            _ => panic!("not a text: {self:?}"),
        }
    }

    /// Bytes as they are.
    #[track_caller]
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Bulk(bytes) => bytes.clone(),
            _ => panic!("not bytes: {self:?}"),
        }
    }

    /// A number.
    #[track_caller]
    pub fn int(&self) -> i64 {
        match self {
            Self::Int(number) => *number,
            _ => panic!("not a number: {self:?}"),
        }
    }

    /// The values of an array.
    #[track_caller]
    pub fn items(&self) -> &[Self] {
        match self {
            Self::Array(items) => items,
            _ => panic!("not an array: {self:?}"),
        }
    }

    /// Reads the next reply.
    pub(super) fn read(from: &mut impl BufRead) -> io::Result<Self> {
        let line = line(from)?;
        let (kind, rest) = line
            .split_at_checked(1)
            .ok_or_else(|| garbled("an empty line"))?;
        Ok(match kind {
            "+" => Self::Simple(rest.into()),
            "-" => Self::Error(rest.into()),
            ":" => Self::Int(rest.parse().map_err(|_| garbled(&line))?),
            "$" => match len(rest, &line)? {
                None => Self::Nil,
                Some(len) => {
                    let mut bytes = vec![0; len + 2];
                    from.read_exact(&mut bytes)?;
                    bytes.truncate(len);
                    Self::Bulk(bytes)
                }
            },
            "*" => match len(rest, &line)? {
                None => Self::Nil,
                Some(len) => Self::Array(
                    (0..len)
                        .map(|_| Self::read(from))
                        .collect::<Result<_, _>>()?,
                ),
            },
            _ => return Err(garbled(&line)),
        })
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nil => f.write_str("nil"),
            Self::Int(number) => number.fmt(f),
            Self::Simple(text) => f.write_str(text),
            Self::Bulk(bytes) => write!(f, "\"{}\"", bytes.escape_ascii()),
            Self::Array(items) => items.fmt(f),
            Self::Error(text) => write!(f, "error: {text}"),
        }
    }
}

fn line(from: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    if from.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let end = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(end);
    Ok(line)
}

/// A length; `None` is nil.
fn len(text: &str, line: &str) -> io::Result<Option<usize>> {
    match text {
        "-1" => Ok(None),
        _ => text.parse().map(Some).map_err(|_| garbled(line)),
    }
}

fn garbled(line: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not RESP: {line:?}"))
}
