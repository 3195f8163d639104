//! A network of its own for a cluster: a namespace for each node, and one in the
//! middle that routes between them and to the machine, and refuses to.
//!
//! ```text
//! machine ── hf-K ══ root ┐
//!                         ├ namespace "hub": routes, loses what is cut
//! node 0 ── eth0 ══ n0 ───┤
//! node 1 ── eth0 ══ n1 ───┘
//! ```
//!
//! Root may do so, with `ip` of iproute2. What is lost is lost as by a broken
//! cable: no answer, no error, and TCP tries again until the cable is whole.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};

use super::network::{Link, Place};
use super::settings::Settings;

/// What names of our namespaces begin with; the process id and more follow.
const PREFIX: &str = "holdfast-test-";

/// Networks at a time on one machine, each with 64 addresses of 198.18.0.0/15,
/// which is set aside for tests of networks.
const NETWORKS: u32 = 2_048;
const FIRST: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);
const ADDRESSES: u32 = 64;

/// Places in a network's addresses.
const MACHINE: u32 = 1;
const HUB: u32 = 2;
const NODES: u32 = 8;

/// Each node's, plus its index: they are alone on their addresses.
const PORT: u16 = 7_000;

#[derive(Debug)]
pub(super) struct Namespaces {
    number: u32,
    /// Whether the interface of this number is ours.
    has_interface: bool,
    /// All that were made: the hub, and the nodes' in their order.
    names: Vec<String>,
    cut: BTreeSet<Link>,
}

impl Namespaces {
    /// An empty network; or why that is not possible here.
    pub(super) fn new() -> Result<Self, String> {
        sweep();
        for number in 0..NETWORKS {
            let name = format!("{PREFIX}{}-{number}-hub", std::process::id());
            let mut network = Self {
                number,
                has_interface: false,
                names: Vec::new(),
                cut: BTreeSet::new(),
            };
            batch(None, &format!("netns add {name}"))?;
            network.names.push(name.clone());
            // The interface's name is what makes the number ours.
            let interface = network.interface();
            let peer = format!("link add {interface} type veth peer name root netns {name}");
            match batch(None, &peer) {
                Ok(()) => {
                    network.has_interface = true;
                    network.set_up()?;
                    return Ok(network);
                }
                Err(said) if said.contains("File exists") => {}
                Err(said) => return Err(said),
            }
        }
        Err(format!("{NETWORKS} networks are in use"))
    }

    fn set_up(&self) -> Result<(), String> {
        let (interface, machine, hub) =
            (self.interface(), self.address(MACHINE), self.address(HUB));
        let all = format!("{}/26", self.address(0));
        batch(
            None,
            &format!(
                "addr add {machine}/32 peer {hub} dev {interface}\n\
                 link set dev {interface} up\n\
                 route add {all} via {hub} src {machine}"
            ),
        )?;
        batch(
            Some(&self.names[0]),
            &format!(
                "link set dev lo up\n\
                 link set dev root up\n\
                 addr add {hub}/32 dev lo\n\
                 route add {machine} dev root src {hub}"
            ),
        )?;
        let forward = "echo 1 > /proc/sys/net/ipv4/ip_forward";
        run(
            Command::new("ip").args(["netns", "exec", &self.names[0], "sh", "-c", forward]),
            "",
        )
    }

    fn interface(&self) -> String {
        format!("hf-{}", self.number)
    }

    fn address(&self, place: u32) -> Ipv4Addr {
        (u32::from(FIRST) + self.number * ADDRESSES + place).into()
    }

    fn address_of(&self, place: Place) -> Ipv4Addr {
        match place {
            Place::Client => self.address(MACHINE),
            Place::Node(index) => self.address(NODES + u32::from(index)),
        }
    }

    /// Makes room for the next node.
    pub(super) fn place(&mut self, index: u16, settings: Settings) -> Result<Settings, String> {
        assert!(NODES + u32::from(index) < ADDRESSES, "too many nodes");
        let (host, hub) = (self.address_of(Place::Node(index)), self.address(HUB));
        let name = format!("{PREFIX}{}-{}-{index}", std::process::id(), self.number);
        let hub_name = self.names[0].clone();
        batch(None, &format!("netns add {name}"))?;
        self.names.push(name.clone());
        batch(
            Some(&name),
            &format!(
                "link add eth0 type veth peer name n{index} netns {hub_name}\n\
                 link set dev lo up\n\
                 link set dev eth0 up\n\
                 addr add {host}/32 dev eth0\n\
                 route add {hub} dev eth0\n\
                 route add default via {hub}"
            ),
        )?;
        batch(
            Some(&hub_name),
            &format!(
                "link set dev n{index} up\n\
                 route add {host} dev n{index} src {hub}"
            ),
        )?;
        let wrapper = ["ip", "netns", "exec", &name].map(Into::into).into();
        Ok(Settings {
            host: host.to_string(),
            port: Some(PORT + index),
            wrapper,
            ..settings
        })
    }

    /// Cuts these links and no others.
    pub(super) fn cut(&mut self, links: &BTreeSet<Link>) -> Result<(), String> {
        let mut lines = String::new();
        let changed = [
            ("del", self.cut.difference(links)),
            ("add", links.difference(&self.cut)),
        ];
        for (verb, links) in changed {
            for &Link(a, b) in links {
                let (a, b) = (self.address_of(a), self.address_of(b));
                for (from, to) in [(a, b), (b, a)] {
                    let _ = writeln!(lines, "rule {verb} from {from} to {to} blackhole");
                }
            }
        }
        self.cut.clone_from(links);
        batch(Some(&self.names[0]), &lines)
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        // Goes with the namespaces, too, but some time later. Nobody is left to
        // be told of a failure; the next network sweeps.
        if self.has_interface {
            let _ = batch(None, &format!("link del dev {}", self.interface()));
        }
        delete(&self.names);
    }
}

/// Deletes what processes that were killed have left.
fn sweep() {
    let Ok(names) = std::fs::read_dir("/run/netns") else {
        return; // there was never one
    };
    let names = names
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok());
    let left: Vec<_> = names
        .filter(|name| {
            let pid = name
                .strip_prefix(PREFIX)
                .and_then(|rest| rest.split('-').next());
            pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists())
        })
        .collect();
    delete(&left);
}

fn delete(names: &[String]) {
    for name in names {
        let _ = batch(None, &format!("netns del {name}"));
    }
}

/// Runs lines of `ip`, in a namespace or on the machine itself.
fn batch(namespace: Option<&str>, lines: &str) -> Result<(), String> {
    let mut command = Command::new("ip");
    command.args(namespace.iter().flat_map(|name| ["-n", name]));
    run(command.args(["-batch", "-"]), lines)
}

fn run(command: &mut Command, input: &str) -> Result<(), String> {
    let what = format!("{command:?} of {input:?}");
    let failed = |why: &dyn std::fmt::Display| format!("{what}: {why}");
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| failed(&error))?;
    let mut stdin = child.stdin.take().expect("a pipe");
    // It may have ended; it then says why.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().map_err(|error| failed(&error))?;
    if output.status.success() {
        return Ok(());
    }
    Err(failed(&String::from_utf8_lossy(&output.stderr).trim()))
}
