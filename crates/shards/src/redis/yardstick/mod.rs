//! What a Redis server spends: read from its own counters, and beside it what
//! the naive way of selling costs on the same server, so that one figure has the
//! other as its measure.
//!
//! Speaks to the server over plain sockets, a few lines of protocol in `wire`,
//! and not through the store's client library. The naive way is one connection a
//! caller and one command a request; a library that puts the commands of many
//! callers on one connection would measure something better than that. And a
//! measure should not share the code of what it measures.

mod naive;
mod wire;

use std::fmt;

pub use naive::{Naive, NaiveRun, run_naive};

use self::wire::{Connection, Reply};

/// Why a server could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is not one.
    #[error("{given:?} names no Redis server: {why}; write it like redis://127.0.0.1:6379")]
    Address {
        /// What was given.
        given: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// No connection, or it broke.
    #[error("cannot talk to the Redis server {node}: {source}")]
    Connection {
        /// Which server.
        node: String,
        /// What happened.
        source: std::io::Error,
    },
    /// It answered with an error.
    #[error("the Redis server {node} refused {command}: {said}")]
    Refused {
        /// Which server.
        node: String,
        /// What it was asked.
        command: &'static str,
        /// Its words.
        said: String,
    },
    /// It answered with something else than was asked for.
    #[error("the Redis server {node} answered {command} with something that is no answer to it")]
    Nonsense {
        /// Which server.
        node: String,
        /// What it was asked.
        command: &'static str,
    },
}

/// Who asks.
#[derive(Clone, Default)]
pub struct Login {
    /// The ACL user; `None` = "default".
    pub user: Option<String>,
    /// The password; `None` = none is asked for.
    pub password: Option<String>,
}

impl fmt::Debug for Login {
    /// Passwords stay out of logs, also by accident.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// A server to be read.
#[derive(Clone, Debug)]
pub struct Node {
    /// As `host:port`.
    authority: String,
    login: Login,
}

impl Node {
    /// The servers that `redis://HOST:PORT,HOST:PORT` names.
    pub fn parse_all(url: &str, login: &Login) -> Result<Vec<Self>, Error> {
        let wrong = |why| Error::Address {
            // What stands before an @ may be a password.
            given: url.rsplit('@').next().unwrap_or_default().to_owned(),
            why,
        };
        let nodes = match url.split_once("://") {
            Some(("redis" | "redis-cluster", nodes)) => nodes,
            Some(("rediss" | "rediss-cluster", _)) => {
                return Err(wrong("counters are read without TLS only"));
            }
            _ => return Err(wrong("its scheme is not redis")),
        };
        if nodes.contains('@') {
            return Err(wrong("every user of this machine would see the password"));
        }
        let node = |authority: &str| match authority.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(Self {
                authority: authority.to_owned(),
                login: login.clone(),
            }),
            _ => Err(wrong("a server is HOST:PORT")),
        };
        nodes.trim_end_matches('/').split(',').map(node).collect()
    }

    /// Where it is, as `host:port`.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Reads its counters now.
    pub async fn read(&self) -> Result<Reading, Error> {
        Connection::open(self).await?.counters().await
    }

    fn broken(&self, source: std::io::Error) -> Error {
        Error::Connection {
            node: self.authority.clone(),
            source,
        }
    }

    fn refused(&self, command: &'static str, said: String) -> Error {
        Error::Refused {
            node: self.authority.clone(),
            command,
            said,
        }
    }

    fn nonsense(&self, command: &'static str) -> Error {
        Error::Nonsense {
            node: self.authority.clone(),
            command,
        }
    }
}

impl Connection<'_> {
    /// What the server has counted so far.
    async fn counters(&mut self) -> Result<Reading, Error> {
        const WORDS: [&[u8]; 5] = [b"INFO", b"server", b"cpu", b"memory", b"commandstats"];
        let node = self.node();
        match self.ask("INFO", &WORDS).await? {
            Reply::Bulk(page) => {
                Reading::parse(&String::from_utf8_lossy(&page)).ok_or_else(|| node.nonsense("INFO"))
            }
            _ => Err(node.nonsense("INFO")),
        }
    }
}

/// A server's counters at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Another one after a restart, which begins to count anew.
    run_id: String,
    script_calls: u64,
    script_us: u64,
    cpu_us: u64,
    memory_bytes: u64,
}

/// What a server did between two readings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Scripts that it ran: EVALSHA, and EVAL where a script was new to it.
    pub script_calls: u64,
    /// Time within those, in microseconds.
    pub script_us: u64,
    /// Processor time of the whole process, in microseconds.
    pub cpu_us: u64,
    /// What its memory grew by (`used_memory`), in bytes.
    pub memory_bytes: i64,
}

impl Reading {
    /// From the text of INFO.
    fn parse(page: &str) -> Option<Self> {
        let field = |name: &str| {
            page.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
                .map(str::trim)
        };
        // Seconds with a fraction, and exact to the microsecond.
        let us = |name: &str| Some((field(name)?.parse::<f64>().ok()? * 1e6).round());
        let of_scripts = |what: &str| -> u64 {
            let commands = ["cmdstat_evalsha", "cmdstat_eval"];
            let stat = |command: &str| {
                let stats = field(command)?.split(',');
                let mut values =
                    stats.filter_map(|stat| stat.strip_prefix(what)?.strip_prefix('='));
                values.next()?.parse::<u64>().ok()
            };
            // A command that was never called has no line.
            commands.iter().filter_map(|command| stat(command)).sum()
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "processor time since the server's start, in microseconds: positive, whole, far below 2^53"
        )]
        let cpu_us = (us("used_cpu_user")? + us("used_cpu_sys")?) as u64;
        Some(Self {
            run_id: field("run_id")?.to_owned(),
            script_calls: of_scripts("calls"),
            script_us: of_scripts("usec"),
            cpu_us,
            memory_bytes: field("used_memory")?.parse().ok()?,
        })
    }

    /// What was done since an earlier reading; `None` if the server was started
    /// anew, or its counters were reset, between the two.
    pub fn since(&self, earlier: &Self) -> Option<Spent> {
        if self.run_id != earlier.run_id {
            return None;
        }
        let memory = |reading: &Self| i64::try_from(reading.memory_bytes).ok();
        Some(Spent {
            script_calls: self.script_calls.checked_sub(earlier.script_calls)?,
            script_us: self.script_us.checked_sub(earlier.script_us)?,
            cpu_us: self.cpu_us.checked_sub(earlier.cpu_us)?,
            memory_bytes: memory(self)?.checked_sub(memory(earlier)?)?,
        })
    }
}

impl std::ops::Add for Spent {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            script_calls: self.script_calls + other.script_calls,
            script_us: self.script_us + other.script_us,
            cpu_us: self.cpu_us + other.cpu_us,
            memory_bytes: self.memory_bytes + other.memory_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# Server\r\nredis_version:7.0.15\r\nrun_id:abc\r\n\r\n\
        # Memory\r\nused_memory:1048576\r\nused_memory_human:1.00M\r\n\r\n\
        # CPU\r\nused_cpu_sys:1.500001\r\nused_cpu_user:2.250000\r\nused_cpu_sys_children:9.0\r\n\r\n\
        # Commandstats\r\ncmdstat_eval:calls=1,usec=40,usec_per_call=40.00,rejected_calls=0,failed_calls=0\r\n\
        cmdstat_evalsha:calls=100,usec=1234,usec_per_call=12.34,rejected_calls=0,failed_calls=1\r\n\
        cmdstat_evalsha_ro:calls=7,usec=7,usec_per_call=1.00\r\n";

    #[test]
    fn counters_are_found_by_their_whole_names() {
        let expected = Reading {
            run_id: "abc".to_owned(),
            script_calls: 101,
            script_us: 1_274,
            cpu_us: 3_750_001,
            memory_bytes: 1 << 20,
        };
        assert_eq!(Reading::parse(PAGE), Some(expected));
        assert_eq!(Reading::parse("# Server\r\nrun_id:abc\r\n"), None);
        assert_eq!(Reading::parse(""), None);
    }

    #[test]
    fn what_never_ran_a_script_has_run_none() {
        let fresh = PAGE.split("cmdstat").next().unwrap();
        let reading = Reading::parse(fresh).unwrap();
        assert_eq!((reading.script_calls, reading.script_us), (0, 0));
    }

    #[test]
    fn the_difference_of_two_readings_is_what_was_spent() {
        let earlier = Reading::parse(PAGE).unwrap();
        let mut later = earlier.clone();
        later.script_calls += 10;
        later.script_us += 50;
        later.cpu_us += 80;
        later.memory_bytes -= 1_000;
        let spent = Spent {
            script_calls: 10,
            script_us: 50,
            cpu_us: 80,
            memory_bytes: -1_000,
        };
        assert_eq!(later.since(&earlier), Some(spent));
        assert_eq!(earlier.since(&later), None, "counters that were reset");
        later.run_id = "def".to_owned();
        assert_eq!(later.since(&earlier), None, "another process");
    }

    #[test]
    fn addresses_name_one_server_or_several() {
        let parse = |url| Node::parse_all(url, &Login::default());
        for (url, expected) in [
            ("redis://127.0.0.1:6379", vec!["127.0.0.1:6379"]),
            ("redis://a:1,[::1]:2/", vec!["a:1", "[::1]:2"]),
            ("redis-cluster://a:1,b:2", vec!["a:1", "b:2"]),
        ] {
            let nodes = parse(url).unwrap();
            let authorities: Vec<_> = nodes.iter().map(Node::authority).collect();
            assert_eq!(authorities, expected, "{url}");
        }
        for (url, part) in [
            ("127.0.0.1:6379", "scheme"),
            ("http://a:1", "scheme"),
            ("rediss://a:1", "TLS"),
            ("redis://a", "HOST:PORT"),
            ("redis://a:b", "HOST:PORT"),
            ("redis://a:1,", "HOST:PORT"),
            ("redis://:secret@a:1", "password"),
        ] {
            let error = parse(url).unwrap_err().to_string();
            assert!(error.contains(part), "{url}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
