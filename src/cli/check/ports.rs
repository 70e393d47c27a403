//! Whether the listeners' addresses are free here.

use super::finding::{Finding, Level};
use super::holder::{Holder, holder};
use crate::config::{Config, Places};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;

/// What became of an attempt to bind an address.
#[derive(Debug)]
enum Bound {
    Free,
    Taken(Option<Holder>),
    Denied,
    NotHere,
    Failed(io::Error),
}

/// Tries every address that the configuration listens on.
pub fn check(config: &Config, places: &Places) -> Vec<Finding> {
    let named = |key: &'static str, list: &[SocketAddr]| -> Vec<_> {
        list.iter().enumerate().map(|(index, address)| (format!("{key}[{index}]"), *address)).collect()
    };
    let own = Holder::this();
    named("server.listen", &config.server.listen)
        .into_iter()
        .chain(named("server.tls_listen", &config.server.tls_listen))
        .chain([("admin.listen".to_owned(), config.admin.listen)])
        .filter(|(_, address)| address.port() != 0)
        .filter_map(|(key, address)| judge(&key, address, bind(address), own.as_deref(), places))
        .collect()
}

/// Binds the address without listening: a client would otherwise be accepted and dropped.
fn bind(address: SocketAddr) -> Bound {
    let bound = (|| {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // Connections of a former process do not count as taken.
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&address.into())
    })();
    match bound {
        Ok(()) => Bound::Free,
        Err(error) => match error.kind() {
            ErrorKind::AddrInUse => Bound::Taken(holder(address.port())),
            ErrorKind::PermissionDenied => Bound::Denied,
            ErrorKind::AddrNotAvailable => Bound::NotHere,
            _ => Bound::Failed(error),
        },
    }
}

fn judge(
    key: &str,
    address: SocketAddr,
    bound: Bound,
    own: Option<&str>,
    places: &Places,
) -> Option<Finding> {
    let (level, message, advice) = match bound {
        Bound::Free => return None,
        // A running shim, which a reload or a restart concerns.
        Bound::Taken(Some(holder)) if Some(holder.name.as_str()) == own => return None,
        Bound::Taken(Some(holder)) => (
            Level::Error,
            format!("{address} is in use by {} (process {})", holder.name, holder.id),
            "stop it, or choose another port",
        ),
        Bound::Taken(None) => (
            Level::Warning,
            format!("{address} is in use by a process of another user"),
            "if it is not this shim, stop it or choose another port (`ss -ltnp` as root names it)",
        ),
        Bound::Denied => (
            Level::Warning,
            format!("this user may not listen on {address}"),
            "ports below 1024 need CAP_NET_BIND_SERVICE, which the systemd unit grants",
        ),
        Bound::NotHere => (
            Level::Error,
            format!("no network interface of this machine has {}", address.ip()),
            "use an address that `ip address` shows, or 0.0.0.0 for all",
        ),
        Bound::Failed(error) => {
            (Level::Error, format!("cannot listen on {address}: {error}"), "choose another address")
        }
    };
    Some(Finding::new(level, places.problem(key, message), Some(advice)))
}
