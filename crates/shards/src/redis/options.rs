//! How to reach a store in Redis or Valkey.

use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;

/// The port of a node that names none.
const PORT: u16 = 6_379;
/// A name in DNS is at most this long.
const HOST_LEN_MAX: usize = 253;
/// Operations that may wait for one master: as many as for an embedded store.
const QUEUE_LEN_MAX: usize = 65_536;
/// Clocks that are kept by NTP are well below it, and a hold is far longer.
const SKEW_MAX_MS: u64 = 5_000;

/// What an address may begin with, and what it says: a cluster or not, over TLS
/// or not.
const SCHEMES: [(&str, bool, bool); 4] = [
    ("redis-cluster", true, false),
    ("rediss-cluster", true, true),
    ("redis", false, false),
    ("rediss", false, true),
];
/// An unknown scheme that is less like a known one is no slip of the pen.
const LIKENESS_MIN: f64 = 0.75;

/// Where the store is: `redis-cluster://HOST:PORT,HOST:PORT`, `redis://HOST:PORT`;
/// with `rediss` in place of `redis` over TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// A cluster, or one server alone.
    pub cluster: bool,
    /// Over TLS.
    pub tls: bool,
    /// Nodes to begin with; of a cluster a few, it knows the others. Addresses
    /// of IPv6 have no brackets here.
    pub nodes: Vec<(String, u16)>,
}

impl Address {
    /// Reads an address as people write it.
    ///
    /// # Errors
    /// [`InvalidAddress`], which never repeats what may be a password.
    pub fn parse(text: &str) -> Result<Self, InvalidAddress> {
        // First of all: everything before it may be secret.
        if text.contains('@') {
            return Err(InvalidAddress::Credentials);
        }
        let (scheme, nodes) = text.split_once("://").ok_or(InvalidAddress::NoScheme)?;
        let known = SCHEMES.iter().find(|(name, ..)| *name == scheme);
        let &(scheme, cluster, tls) = known.ok_or_else(|| unknown(scheme))?;
        if nodes.contains(['/', '?', '#']) {
            return Err(InvalidAddress::Tail);
        }
        if nodes.is_empty() {
            return Err(InvalidAddress::NoNode);
        }
        let nodes: Vec<_> = nodes.split(',').map(node).collect::<Result<_, _>>()?;
        if nodes.len() > 1 && !cluster {
            return Err(InvalidAddress::Several { scheme });
        }
        Ok(Self {
            cluster,
            tls,
            nodes,
        })
    }

    /// What it begins with.
    fn scheme(&self) -> &'static str {
        match (self.cluster, self.tls) {
            (true, false) => "redis-cluster",
            (true, true) => "rediss-cluster",
            (false, false) => "redis",
            (false, true) => "rediss",
        }
    }
}

/// As [`Address::parse`] reads it, with every port.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.scheme())?;
        for (n, (host, port)) in self.nodes.iter().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            if host.contains(':') {
                write!(f, "{comma}[{host}]:{port}")?;
            } else {
                write!(f, "{comma}{host}:{port}")?;
            }
        }
        Ok(())
    }
}

/// Why a text is no address of a store: what to write instead, to follow after
/// the text itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAddress {
    /// It does not say what kind of store it is.
    #[error(
        "write redis-cluster://HOST:PORT,HOST:PORT for a cluster or redis://HOST:PORT for one \
         server; over TLS rediss in place of redis"
    )]
    NoScheme,
    /// It begins with something else.
    #[error("there is no {found}://; {}", match likely {
        Some(likely) => format!("did you mean {likely}://?"),
        None => format!("{}", Self::NoScheme),
    })]
    Scheme {
        /// What it begins with.
        found: String,
        /// What may be meant.
        likely: Option<&'static str>,
    },
    /// It names a user or has a password.
    #[error(
        "a user and a password do not belong here, where others can see them: set \
         HOLDFAST_STORE_USERNAME, and HOLDFAST_STORE_PASSWORD or --store-password-file"
    )]
    Credentials,
    /// Something follows the nodes.
    #[error(
        "leave away what follows the last port: the keys are in database 0, and options are \
         settings of their own, such as HOLDFAST_STORE_PASSWORD"
    )]
    Tail,
    /// It names no node.
    #[error("name a node, as in redis://127.0.0.1:6379")]
    NoNode,
    /// A comma with nothing before or after it.
    #[error("a node is missing before or after a comma")]
    EmptyNode,
    /// Several nodes that are no cluster.
    #[error("{scheme} takes one node; for a cluster write {scheme}-cluster://HOST:PORT,HOST:PORT")]
    Several {
        /// What it begins with.
        scheme: &'static str,
    },
    /// A host that cannot be one.
    #[error("{0:?} is no host: write a name in ASCII or an IP address, without spaces")]
    Host(String),
    /// An address of IPv6 that is none, or has no brackets.
    #[error("{0:?} is no host and port: write addresses of IPv6 in brackets, as in [::1]:6379")]
    Ipv6(String),
    /// A port that cannot be one.
    #[error("{0:?} is no port: write a whole number from 1 to 65535")]
    Port(String),
}

/// What may be meant by a scheme that there is not.
fn unknown(found: &str) -> InvalidAddress {
    // The same stores by their other name.
    let words = found.to_lowercase().replace("valkey", "redis");
    let likeness = |name: &str| strsim::jaro(&words, name);
    let best = SCHEMES
        .iter()
        .map(|(name, ..)| *name)
        .max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    InvalidAddress::Scheme {
        found: found.to_owned(),
        likely: best.filter(|name| likeness(name) >= LIKENESS_MIN),
    }
}

fn node(text: &str) -> Result<(String, u16), InvalidAddress> {
    if text.is_empty() {
        return Err(InvalidAddress::EmptyNode);
    }
    let not_ipv6 = || InvalidAddress::Ipv6(text.to_owned());
    if let Some(bracketed) = text.strip_prefix('[') {
        let (host, rest) = bracketed.split_once(']').ok_or_else(not_ipv6)?;
        let address: Ipv6Addr = host.parse().map_err(|_| not_ipv6())?;
        let port = match rest.strip_prefix(':') {
            Some(digits) => port(digits)?,
            None if rest.is_empty() => PORT,
            None => return Err(not_ipv6()),
        };
        return Ok((address.to_string(), port));
    }
    let (host, port) = match text.split_once(':') {
        Some((_, rest)) if rest.contains(':') => return Err(not_ipv6()),
        Some((host, digits)) => (host, port(digits)?),
        None => (text, PORT),
    };
    // The underscore is for names that only containers know.
    let in_names = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if host.is_empty() || host.len() > HOST_LEN_MAX || !host.chars().all(in_names) {
        return Err(InvalidAddress::Host(host.to_owned()));
    }
    Ok((host.to_owned(), port))
}

fn port(digits: &str) -> Result<u16, InvalidAddress> {
    let wrong = || InvalidAddress::Port(digits.to_owned());
    // `parse` alone would take a sign.
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let port = digits.parse().map_err(|_| wrong())?;
    if port == 0 { Err(wrong()) } else { Ok(port) }
}

/// What an acknowledgement waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledge {
    /// Nothing: the process alone has it.
    Local,
    /// ⚔ Every replica that the cluster does not call failed, at least one.
    Replicated,
    /// Every replica that the cluster lists.
    ReplicatedStrict,
}

/// Who this server is to the store.
#[derive(Clone)]
pub struct Credentials {
    /// The ACL user; `None` = "default".
    pub username: Option<String>,
    /// Its password.
    pub password: String,
}

impl fmt::Debug for Credentials {
    /// Passwords stay out of logs, also by accident.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// Files for TLS, in PEM.
#[derive(Clone, Debug, Default)]
pub struct TlsFiles {
    /// Authorities to trust; `None` = the machine's.
    pub ca: Option<PathBuf>,
    /// This server's certificate and its key.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// How to open a store.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it is.
    pub address: Address,
    /// Who we are; `None` = nobody in particular.
    pub credentials: Option<Credentials>,
    /// For an address over TLS.
    pub tls: TlsFiles,
    /// What an acknowledgement waits for; `None` = `Replicated` where every
    /// master has replicas, else `Local`.
    pub acknowledge: Option<Acknowledge>,
    /// Make a store where there is none.
    pub init: bool,
    /// Go on with settings of the store that lose acknowledged work.
    pub accept_unsafe: bool,
    /// Operations that may wait for one master; more are refused as overloaded.
    pub queue_len_max: usize,
    /// How far clocks may be apart.
    pub skew_max_ms: u64,
}

impl Options {
    /// The usual settings for a store at this address.
    #[must_use]
    pub fn new(address: Address) -> Self {
        Self {
            address,
            credentials: None,
            tls: TlsFiles::default(),
            acknowledge: None,
            init: false,
            accept_unsafe: false,
            queue_len_max: QUEUE_LEN_MAX,
            skew_max_ms: SKEW_MAX_MS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A text, how it is said again, and its nodes.
    type Row = (&'static str, &'static str, &'static [(&'static str, u16)]);

    #[test]
    fn addresses_are_read_and_said() {
        let table: &[Row] = &[
            ("redis://h", "redis://h:6379", &[("h", 6379)]),
            (
                "redis://127.0.0.1:1",
                "redis://127.0.0.1:1",
                &[("127.0.0.1", 1)],
            ),
            (
                "rediss://a-b.c_d.example.:65535",
                "rediss://a-b.c_d.example.:65535",
                &[("a-b.c_d.example.", 65_535)],
            ),
            ("redis://[::1]", "redis://[::1]:6379", &[("::1", 6379)]),
            (
                "redis://[2001:DB8:0:0::7]:7000",
                "redis://[2001:db8::7]:7000",
                &[("2001:db8::7", 7000)],
            ),
            (
                "redis-cluster://a",
                "redis-cluster://a:6379",
                &[("a", 6379)],
            ),
            (
                "redis-cluster://a:1,b,[::1]:3",
                "redis-cluster://a:1,b:6379,[::1]:3",
                &[("a", 1), ("b", 6379), ("::1", 3)],
            ),
            (
                "rediss-cluster://a:07,b:2",
                "rediss-cluster://a:7,b:2",
                &[("a", 7), ("b", 2)],
            ),
        ];
        for (text, said, nodes) in table {
            let address = Address::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(address.to_string(), *said);
            assert_eq!(Address::parse(said).as_ref(), Ok(&address));
            let owned = |(host, port): &(&str, u16)| ((*host).to_owned(), *port);
            assert_eq!(address.nodes, nodes.iter().map(owned).collect::<Vec<_>>());
            let scheme = text.split("://").next().unwrap();
            assert_eq!(address.cluster, scheme.ends_with("-cluster"), "{text}");
            assert_eq!(address.tls, scheme.starts_with("rediss"), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_says_how_to_write_one() {
        let table = [
            ("", "write redis-cluster://"),
            ("localhost:6379", "write redis-cluster://"),
            ("redis:localhost", "write redis-cluster://"),
            ("redis:/localhost", "write redis-cluster://"),
            ("://h:1", "there is no ://"),
            ("http://h:1", "there is no http://; write redis-cluster://"),
            ("Redis://h:1", "did you mean redis://?"),
            ("reddis://h:1", "did you mean redis"),
            ("valkey://h:1", "did you mean redis://?"),
            ("valkeys://h:1", "did you mean rediss://?"),
            ("valkey-cluster://h:1", "did you mean redis-cluster://?"),
            ("redis+cluster://h:1", "did you mean redis-cluster://?"),
            ("redis_cluster://h:1", "did you mean redis-cluster://?"),
            ("redis-clusters://h:1", "did you mean redis-cluster://?"),
            ("rediss+cluster://h:1", "did you mean rediss-cluster://?"),
            (" redis://h:1", "did you mean redis://?"),
            ("redis://h:1/", "leave away what follows"),
            ("redis://h:1/0", "leave away what follows"),
            ("redis://h:1?timeout=1s", "leave away what follows"),
            ("redis://h:1#top", "leave away what follows"),
            ("redis-cluster://a:1/,b:2", "leave away what follows"),
            ("redis://", "name a node"),
            ("redis-cluster://", "name a node"),
            ("redis-cluster://,", "a node is missing"),
            ("redis-cluster://a:1,", "a node is missing"),
            ("redis-cluster://,a:1", "a node is missing"),
            ("redis-cluster://a:1,,b:1", "a node is missing"),
            ("redis://a:1,b:2", "write redis-cluster://"),
            ("rediss://a:1,b:2", "write rediss-cluster://"),
            ("redis://:6379", "\"\" is no host"),
            ("redis://h h:1", "\"h h\" is no host"),
            ("redis-cluster://a:1, b:2", "\" b\" is no host"),
            ("redis://höst:1", "is no host: write a name in ASCII"),
            ("redis://h\n:1", "is no host"),
            ("redis://*:1", "is no host"),
            ("redis://h;i:1", "is no host"),
            ("redis://::1", "in brackets"),
            ("redis://::1:6379", "in brackets"),
            ("redis://h:1:2", "in brackets"),
            ("redis://[::1", "in brackets"),
            ("redis://[]", "in brackets"),
            ("redis://[h]:1", "in brackets"),
            ("redis://[127.0.0.1]:1", "in brackets"),
            ("redis://[fe80::1%eth0]:1", "in brackets"),
            ("redis://[::1]6379", "in brackets"),
            ("redis://[::1]:", "\"\" is no port"),
            ("redis://h:", "\"\" is no port"),
            ("redis://h:0", "\"0\" is no port"),
            ("redis://h:65536", "\"65536\" is no port"),
            ("redis://h:+1", "\"+1\" is no port"),
            ("redis://h:-1", "\"-1\" is no port"),
            ("redis://h:6379x", "\"6379x\" is no port"),
            ("redis://h: 1", "\" 1\" is no port"),
        ];
        for (text, part) in table {
            let error = Address::parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
            assert_eq!(error.lines().count(), 1, "{text}: {error}");
        }
        let long = format!("redis://{}", "a".repeat(HOST_LEN_MAX + 1));
        let error = Address::parse(&long).unwrap_err();
        assert!(matches!(error, InvalidAddress::Host(_)), "{error}");
    }

    #[test]
    fn credentials_are_refused_and_never_said() {
        for text in [
            "redis://:hunter2@h:1",
            "redis://ada:hunter2@h:1",
            "rediss-cluster://ada:hunter2@a:1,b:2",
            "redis://ada:hunter2/@#?:@h:1",
            "hunter2@h:1",
            "hunter2@://h:1",
            "redis:ada:hunter2@h",
            "redis://h:1?password=hunter2",
            "redis://h:1/hunter2",
        ] {
            let error = Address::parse(text).unwrap_err().to_string();
            assert!(error.contains("HOLDFAST_STORE_PASSWORD"), "{text}: {error}");
            assert!(!error.contains("hunter2"), "{text}: {error}");
        }
        let credentials = Credentials {
            username: Some("ada".to_owned()),
            password: "hunter2".to_owned(),
        };
        let mut options = Options::new(Address::parse("redis://h").unwrap());
        options.credentials = Some(credentials);
        let said = format!("{options:?}");
        assert!(said.contains("ada") && !said.contains("hunter2"), "{said}");
    }
}
