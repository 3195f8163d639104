//! The port.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use crate::failure::Failure;

/// Connections that the kernel keeps ready while the acceptor is busy; it
/// lowers the number to its own bound (`net.core.somaxconn`).
const BACKLOG: i32 = 4_096;

/// Binds `addr`, or says in a sentence why that is impossible.
pub(super) fn bind(addr: SocketAddr) -> Result<TcpListener, Failure> {
    try_bind(addr).map_err(|error| {
        let (ip, port) = (addr.ip(), addr.port());
        Failure::usage(match error.kind() {
            io::ErrorKind::AddrInUse => format!(
                "port {port} on {ip} is in use (another holdfast?): choose another with --listen"
            ),
            io::ErrorKind::PermissionDenied => format!(
                "port {port} on {ip} is not for this user: choose one above 1023 with --listen"
            ),
            io::ErrorKind::AddrNotAvailable => {
                format!("{ip} is no address of this machine: choose another with --listen")
            }
            _ => format!("cannot listen on {addr}: {error}; choose another address with --listen"),
        })
    })
}

fn try_bind(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    // A restart need not wait until the old connections' last packets are gone.
    // A port that somebody listens on stays refused; SO_REUSEPORT, which would
    // let a second server in, is not set.
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_wrong_usage_in_a_sentence() {
        let first = bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let addr = first.local_addr().unwrap();
        let failure = format!("{:?}", bind(addr).unwrap_err());
        let sentence = format!(
            "port {} on 127.0.0.1 is in use (another holdfast?): choose another with --listen",
            addr.port()
        );
        assert!(failure.contains(&sentence), "{failure}");
        assert!(failure.contains("exit: Usage"), "{failure}");
    }

    #[test]
    fn an_address_of_another_machine_is_wrong_usage() {
        // 192.0.2.0/24 is for documentation.
        let failure = format!(
            "{:?}",
            bind(SocketAddr::from(([192, 0, 2, 1], 0))).unwrap_err()
        );
        assert!(
            failure.contains("192.0.2.1 is no address of this machine"),
            "{failure}"
        );
    }
}
