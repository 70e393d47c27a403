//! The ports that the demo listens on.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// The ports that the demo uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum PortChoice {
    /// Edge 8090, edge without the shim 8091, shim 8080, origin 8081, admin 9180; a free port for each that is taken
    #[default]
    Usual,
    /// Only free ports
    Auto,
}

/// The address of each part of the demo.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// The edge cache, which visitors open.
    pub edge: SocketAddr,
    /// The edge cache of the same site without the shim, for comparison.
    pub bare_edge: SocketAddr,
    /// The shim's data plane.
    pub shim: SocketAddr,
    /// The sample site.
    pub origin: SocketAddr,
    /// The shim's admin API.
    pub admin: SocketAddr,
}

/// The bound ports.
#[derive(Debug)]
pub struct Ports {
    /// The addresses of all ports.
    pub addresses: Addresses,
    /// The listener of the edge cache.
    pub edge: TcpListener,
    /// The listener of the sample site.
    pub origin: TcpListener,
    /// The listener of the edge cache without the shim.
    pub bare_edge: TcpListener,
    /// The listener of the sample site for that edge cache.
    pub bare_origin: TcpListener,
    /// The shim's two ports, which are reserved here until the shim binds them itself.
    pub reserved: [TcpListener; 2],
}

impl Ports {
    /// Binds the ports of the loopback interface.
    pub fn choose(choice: PortChoice) -> io::Result<Self> {
        let take = |usual: u16| match choice {
            PortChoice::Usual => bind(usual).or_else(|_| bind(0)),
            PortChoice::Auto => bind(0),
        };
        let (edge, shim, origin, admin) = (take(8090)?, take(8080)?, take(8081)?, take(9180)?);
        let (bare_edge, bare_origin) = (take(8091)?, bind(0)?);
        let addresses = Addresses {
            bare_edge: bare_edge.local_addr()?,
            edge: edge.local_addr()?,
            shim: shim.local_addr()?,
            origin: origin.local_addr()?,
            admin: admin.local_addr()?,
        };
        Ok(Self { addresses, edge, origin, bare_edge, bare_origin, reserved: [shim, admin] })
    }
}

/// Converts a listener for the runtime that calls this.
pub fn within_runtime(listener: TcpListener) -> io::Result<tokio::net::TcpListener> {
    listener.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(listener)
}

fn bind(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_replaced_by_a_free_one() {
        // Whether or not the usual ports are free here, the second demo cannot get those of the first.
        let first = Ports::choose(PortChoice::Usual).unwrap();
        let second = Ports::choose(PortChoice::Usual).unwrap();
        let all = |ports: &Ports| {
            let Addresses { edge, bare_edge, shim, origin, admin } = ports.addresses;
            [edge, bare_edge, shim, origin, admin]
        };
        assert!(all(&first).iter().all(|address| address.ip().is_loopback()));
        assert!(all(&first).iter().all(|address| !all(&second).contains(address)));
    }
}
