//! Free ports, also with many tests at once.

use std::hash::{BuildHasher, RandomState};
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

/// Where a node's port is looked for. It and the one of the cluster's bus lie
/// below those that the system hands out (32,768 and up), and above those that
/// the harness of the servers looks through first.
const FIRST: u16 = 22_000;
const LAST: u16 = 22_767;

/// From a node's port to the one of the cluster's bus.
pub(super) const TO_BUS: u16 = 10_000;

/// Ports in a row, each with its bus port. No other value of this kind has them,
/// in whatever process, until it is dropped: also while the node that listens
/// there is down.
#[derive(Debug)]
pub struct Ports {
    first: u16,
    /// Names in the kernel's abstract namespace: nobody can take one twice, and
    /// they go with the process, however it ends.
    _held: Vec<UnixListener>,
}

impl Ports {
    /// So many in a row.
    #[track_caller]
    pub fn take(count: u16) -> Self {
        let width = LAST + 1 - FIRST - count;
        // Apart from others who look at the same time.
        let random = RandomState::new().hash_one(count) % u64::from(width);
        let start = FIRST + u16::try_from(random).expect("below the width");
        (start..=FIRST + width)
            .chain(FIRST..start)
            .find_map(|first| {
                let held = (first..first + count).map(hold).collect::<Option<_>>()?;
                Some(Self { first, _held: held })
            })
            .unwrap_or_else(|| panic!("no {count} ports are free from {FIRST} to {LAST}"))
    }

    /// The first of them.
    pub fn first(&self) -> u16 {
        self.first
    }
}

/// Takes one port's name, if nobody else has it or listens there.
fn hold(port: u16) -> Option<UnixListener> {
    let name = SocketAddr::from_abstract_name(format!("holdfast-test-port-{port}"));
    let held = UnixListener::bind_addr(&name.expect("a short name")).ok()?;
    let free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
    (free(port) && free(port + TO_BUS)).then_some(held)
}
