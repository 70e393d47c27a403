//! Binds the sockets: one per worker and address, all on the same port (SO_REUSEPORT). The kernel thus spreads
//! connections over workers, and none waits for another.

use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpListener};

/// The number of connections per socket that may wait to be accepted (capped by `net.core.somaxconn`).
pub(super) const BACKLOG: i32 = 4096;

/// Binds one socket per worker to `address`. With port 0 the first socket gets a free port, and the others use the
/// same.
pub(super) fn bind(address: SocketAddr, workers: usize) -> io::Result<(SocketAddr, Vec<TcpListener>)> {
    let first = listener(address)?;
    let address = first.local_addr()?;
    let mut listeners = vec![first];
    for _ in 1..workers {
        listeners.push(listener(address)?);
    }
    Ok((address, listeners))
}

/// Fails if another process listens at the address. SO_REUSEPORT would let processes of one user share a port
/// without an error.
pub(super) fn is_free(address: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // As for the listeners, connections of a previous run are no reason to wait.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())
}

fn listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait until the connections of the previous run are forgotten.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_shared_on_purpose_only() {
        let (address, first) = bind(([127, 0, 0, 1], 0).into(), 2).unwrap();
        assert_eq!(first.len(), 2);
        assert_eq!(is_free(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let (same, second) = bind(address, 1).unwrap();
        assert_eq!(same, address);
        drop(first);
        assert!(is_free(address).is_err());
        drop(second);
        is_free(address).unwrap();
    }
}
