//! The sockets: one per worker and address, all on the same port (SO_REUSEPORT), so that the kernel spreads
//! connections over workers and none of them waits for another.

use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpListener};

/// Connections that may wait to be accepted, per socket (capped by `net.core.somaxconn`).
pub(super) const BACKLOG: i32 = 4096;

/// Binds one socket per worker to `address`. Port 0: the first socket gets a free port, the others join it.
pub(super) fn bind(address: SocketAddr, workers: usize) -> io::Result<(SocketAddr, Vec<TcpListener>)> {
    let first = listener(address)?;
    let address = first.local_addr()?;
    let mut listeners = vec![first];
    for _ in 1..workers {
        listeners.push(listener(address)?);
    }
    Ok((address, listeners))
}

/// Whether nobody listens there: SO_REUSEPORT lets processes of one user share a port without a word.
pub(super) fn is_free(address: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // As the listeners do: connections of a former run are no reason to wait.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())
}

fn listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the connections of the former run to be forgotten.
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
