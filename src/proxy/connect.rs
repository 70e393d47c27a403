//! New connections to origins: name, address, TCP, TLS, HTTP/1.1.

use super::error::OriginError;
use super::h1;
use super::site::{Origin, OriginId, OriginTls};
use super::stream::Stream;
use super::worker::Worker;
use crate::config::Limits;
use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How long an address is believed; short, since the resolver of the system caches by the record's own TTL.
const ADDRESS_TTL: Duration = Duration::from_secs(10);

/// A connection to an origin, between two requests.
pub(super) type Connection = h1::Connection<Stream>;

/// Connects to `origin` within the limit.
pub(super) async fn connect(
    worker: &Worker,
    limits: &Limits,
    origin: &Origin,
) -> Result<Connection, OriginError> {
    let limit = limits.origin_connect_timeout;
    match tokio::time::timeout(limit, establish(&worker.addresses, limit, origin)).await {
        Ok(stream) => Ok(h1::Connection::new(stream?, &worker.scratch)),
        Err(_) => Err(OriginError::ConnectTimeout),
    }
}

async fn establish(addresses: &Addresses, limit: Duration, origin: &Origin) -> Result<Stream, OriginError> {
    let stream = tcp(&addresses.of(origin).await?, limit).await?;
    match &origin.tls {
        None => Ok(Stream::Plain(stream)),
        Some(OriginTls { config, name }) => {
            let connector = TlsConnector::from(Arc::clone(config));
            let stream = connector.connect(name.clone(), stream).await.map_err(OriginError::Tls)?;
            Ok(Stream::Tls(Box::new(stream)))
        }
    }
}

/// The first address that takes a connection. Each gets an equal share of the time that is left, so that one
/// that swallows packets does not use up that of the next.
async fn tcp(addresses: &[SocketAddr], limit: Duration) -> Result<TcpStream, OriginError> {
    let started = Instant::now();
    let mut failure = OriginError::Connect(io::ErrorKind::AddrNotAvailable.into());
    for (index, address) in addresses.iter().enumerate() {
        let left = limit.saturating_sub(started.elapsed());
        let share = left / u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
        failure = match tokio::time::timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true).map_err(OriginError::Connect)?;
                return Ok(stream);
            }
            Ok(Err(error)) => OriginError::Connect(error),
            Err(_) => OriginError::ConnectTimeout,
        };
    }
    Err(failure)
}

/// The addresses of origins, remembered for a short while.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    known: RefCell<HashMap<OriginId, Known>>,
}

#[derive(Debug)]
struct Known {
    since: Instant,
    addresses: Rc<[SocketAddr]>,
}

impl Addresses {
    async fn of(&self, origin: &Origin) -> Result<Rc<[SocketAddr]>, OriginError> {
        if let Ok(address) = origin.host.parse::<IpAddr>() {
            return Ok(Rc::new([SocketAddr::new(address, origin.port)]));
        }
        if let Some(known) = self.known.borrow().get(&origin.id)
            && known.since.elapsed() < ADDRESS_TTL
        {
            return Ok(Rc::clone(&known.addresses));
        }
        let found = tokio::net::lookup_host((origin.host.as_str(), origin.port)).await;
        let addresses: Rc<[SocketAddr]> = found.map_err(OriginError::Resolve)?.collect();
        if addresses.is_empty() {
            return Err(OriginError::Resolve(io::ErrorKind::NotFound.into()));
        }
        let known = Known { since: Instant::now(), addresses: Rc::clone(&addresses) };
        self.known.borrow_mut().insert(origin.id, known);
        Ok(addresses)
    }
}
