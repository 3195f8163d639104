//! Between the nodes of a cluster, and between them and their callers.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::namespaces::Namespaces;
use super::ports::{Ports, TO_BUS};
use super::proxy::Proxy;
use super::settings::Settings;

/// Who is at an end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// The tests and what they start.
    Client,
    /// A node, by its index.
    Node(u16),
}

/// A link, its ends in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Link(pub Place, pub Place);

impl Link {
    pub(super) fn between(a: Place, b: Place) -> Self {
        Self(a.min(b), a.max(b))
    }
}

/// How the links are made.
#[derive(Debug)]
pub(super) enum Network {
    /// The loopback: nothing can be cut.
    Loopback,
    /// Namespaces: real cuts.
    Namespaces(Mutex<Namespaces>),
    /// A proxy before each node.
    Proxies(Vec<Front>),
}

impl Network {
    /// Namespaces where they are permitted, else proxies.
    pub(super) fn that_can_be_cut() -> Self {
        match Namespaces::new() {
            Ok(network) => Self::Namespaces(Mutex::new(network)),
            Err(said) => {
                tell(&said);
                Self::Proxies(Vec::new())
            }
        }
    }

    /// Makes room for the next node.
    #[track_caller]
    pub(super) fn place(&mut self, index: usize, settings: Settings) -> Settings {
        let index = small(index);
        match self {
            Self::Loopback => settings,
            Self::Namespaces(network) => {
                let placed = lock(network).place(index, settings);
                placed.unwrap_or_else(|said| panic!("a namespace for a node: {said}"))
            }
            Self::Proxies(fronts) => {
                let (front, settings) = Front::place(index, settings);
                fronts.push(front);
                settings
            }
        }
    }

    /// Cuts these links and no others.
    #[track_caller]
    pub(super) fn cut(&self, links: &BTreeSet<Link>) {
        match self {
            Self::Loopback => panic!("only a cluster that was planned so can be split"),
            Self::Namespaces(network) => {
                let cut = lock(network).cut(links);
                cut.unwrap_or_else(|said| panic!("a cut: {said}"));
            }
            Self::Proxies(fronts) => {
                for (index, front) in fronts.iter().enumerate() {
                    front.cut(small(index), links);
                }
            }
        }
    }
}

/// The proxies before a node: one for clients and replicas, one for the bus.
/// They tell callers by the loopback address that they come from.
#[derive(Debug)]
pub(super) struct Front {
    pub(super) clients: Proxy,
    bus: Proxy,
    _ports: Ports,
}

impl Front {
    fn place(index: u16, settings: Settings) -> (Self, Settings) {
        let ports = Ports::take(1);
        let port = ports.first();
        let (own, announced) = (own_address(index), Ipv4Addr::new(127, 78, 0, of(index)));
        let proxy = |port| {
            let (from, to) = ((announced, port), (own, port));
            Proxy::between(SocketAddr::from(from), SocketAddr::from(to))
        };
        let front = Self {
            clients: proxy(port),
            bus: proxy(port + TO_BUS),
            _ports: ports,
        };
        let (announced, own) = (announced.to_string(), own.to_string());
        let settings = settings
            .set("bind-source-addr", &own)
            .set("cluster-announce-ip", &announced)
            .set("replica-announce-ip", &announced);
        let settings = Settings {
            host: own,
            announced: Some(announced),
            port: Some(port),
            ..settings
        };
        (front, settings)
    }

    fn cut(&self, index: u16, links: &BTreeSet<Link>) {
        let me = Place::Node(index);
        let ends = links.iter().filter_map(|&Link(a, b)| match me {
            _ if a == me => Some(b),
            _ if b == me => Some(a),
            _ => None,
        });
        let ends: Vec<_> = ends.collect();
        for proxy in [&self.clients, &self.bus] {
            let ends = ends.clone();
            proxy.cut_from(move |address| ends.contains(&place_of(address)));
        }
    }
}

/// Where a node behind a proxy listens, and where its connections come from.
fn own_address(index: u16) -> Ipv4Addr {
    Ipv4Addr::new(127, 77, 0, of(index))
}

/// Who comes from this address.
fn place_of(address: IpAddr) -> Place {
    match address {
        IpAddr::V4(address) => match address.octets() {
            [127, 77, 0, number] => Place::Node(u16::from(number) - 1),
            _ => Place::Client,
        },
        IpAddr::V6(_) => Place::Client,
    }
}

fn of(index: u16) -> u8 {
    u8::try_from(index + 1).expect("few nodes")
}

pub(super) fn small(index: usize) -> u16 {
    u16::try_from(index).expect("few nodes")
}

#[allow(
    clippy::print_stderr,
    reason = "shown by the test runner where a test fails"
)]
fn tell(said: &str) {
    eprintln!("no network namespaces here, so proxies cut the links: {said}");
}

fn lock(network: &Mutex<Namespaces>) -> MutexGuard<'_, Namespaces> {
    network.lock().unwrap_or_else(PoisonError::into_inner)
}
