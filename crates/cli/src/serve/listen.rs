//! The ports.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use crate::failure::Failure;

/// Connections that the kernel keeps ready while the acceptor is busy; it
/// lowers the number to its own bound (`net.core.somaxconn`).
const BACKLOG: i32 = 4_096;

/// A port of a server, by the flag that chooses it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Port {
    Grpc,
    Http,
}

impl Port {
    /// How to choose another address.
    fn flag(self) -> &'static str {
        match self {
            Self::Grpc => "--listen",
            // One server of several on a machine can do without.
            Self::Http => "--http-listen, or none with --http-listen off",
        }
    }
}

/// Binds `addr`, or says in a sentence why that is impossible.
pub(super) fn bind(addr: SocketAddr, port: Port) -> Result<TcpListener, Failure> {
    let flag = port.flag();
    try_bind(addr).map_err(|error| {
        let (ip, port) = (addr.ip(), addr.port());
        Failure::usage(match error.kind() {
            io::ErrorKind::AddrInUse => format!(
                "port {port} on {ip} is in use (another holdfast?): choose another with {flag}"
            ),
            io::ErrorKind::PermissionDenied => format!(
                "port {port} on {ip} is not for this user: choose one above 1023 with {flag}"
            ),
            io::ErrorKind::AddrNotAvailable => {
                format!("{ip} is no address of this machine: choose another with {flag}")
            }
            _ => format!("cannot listen on {addr}: {error}; choose another address with {flag}"),
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
        let first = bind(SocketAddr::from(([127, 0, 0, 1], 0)), Port::Grpc).unwrap();
        let addr = first.local_addr().unwrap();
        for (port, advice) in [
            (Port::Grpc, "choose another with --listen"),
            (
                Port::Http,
                "choose another with --http-listen, or none with --http-listen off",
            ),
        ] {
            let failure = format!("{:?}", bind(addr, port).unwrap_err());
            let sentence = format!(
                "port {} on 127.0.0.1 is in use (another holdfast?): {advice}\"",
                addr.port()
            );
            assert!(failure.contains(&sentence), "{failure}");
            assert!(failure.contains("exit: Usage"), "{failure}");
        }
    }

    #[test]
    fn an_address_of_another_machine_is_wrong_usage() {
        // 192.0.2.0/24 is for documentation.
        let elsewhere = SocketAddr::from(([192, 0, 2, 1], 0));
        let failure = format!("{:?}", bind(elsewhere, Port::Grpc).unwrap_err());
        assert!(
            failure.contains("192.0.2.1 is no address of this machine"),
            "{failure}"
        );
    }
}
