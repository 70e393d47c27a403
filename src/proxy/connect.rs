//! New connections to origins: address, TCP, TLS, HTTP/1.1.

use super::error::OriginError;
use super::h1;
use super::site::{Origin, OriginTls};
use super::stream::Stream;
use super::upstream::{self, Address};
use super::worker::Worker;
use crate::config::Limits;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// A connection to an origin, between two requests.
pub(super) type Connection = h1::Connection<Stream>;

/// The address at the other end of a connection. Counted by the worker alone, which costs no locked instruction.
pub(super) type Route = Rc<Arc<Address>>;

/// Connects to the first address of `origin` that takes a connection within the limit; to `but` only if it has no other.
/// Each gets an equal share of the time that is left, so that one that swallows packets does not use up that of the next.
pub(super) async fn connect(
    worker: &Worker,
    limits: &Limits,
    origin: &Origin,
    but: Option<&Address>,
) -> Result<(Connection, Route), OriginError> {
    let started = Instant::now();
    let mut all = origin.upstream.addresses();
    if all.is_empty() {
        let resolving = tokio::time::timeout(limits.origin_connect_timeout, origin.upstream.resolve());
        all = resolving.await.map_err(|_| OriginError::ConnectTimeout)??;
    }
    let (addresses, preferred) = upstream::in_turn(&all, but);
    let mut failure = OriginError::Connect(io::ErrorKind::AddrNotAvailable.into());
    for (index, address) in addresses.into_iter().enumerate() {
        let left = limits.origin_connect_timeout.saturating_sub(started.elapsed());
        let share = left / u32::try_from(preferred.saturating_sub(index)).unwrap_or(u32::MAX).max(1);
        match establish(address.socket, origin.tls.as_ref(), share).await {
            Ok(stream) => return Ok((h1::Connection::new(stream, &worker.scratch), Rc::new(address))),
            Err(error) => failure = error,
        }
        address.failed(limits.origin_max_fails, limits.origin_fail_timeout, Instant::now());
    }
    Err(failure)
}

/// The bytes of a connection, after the TLS handshake if there is one.
pub(super) async fn establish(
    address: SocketAddr,
    tls: Option<&OriginTls>,
    limit: Duration,
) -> Result<Stream, OriginError> {
    let establishing = async {
        let stream = TcpStream::connect(address).await.map_err(OriginError::Connect)?;
        stream.set_nodelay(true).map_err(OriginError::Connect)?;
        match tls {
            None => Ok(Stream::Plain(stream)),
            Some(OriginTls { config, name }) => {
                let connector = TlsConnector::from(Arc::clone(config));
                let stream = connector.connect(name.clone(), stream).await.map_err(OriginError::Tls)?;
                Ok(Stream::Tls(Box::new(stream)))
            }
        }
    };
    tokio::time::timeout(limit, establishing).await.unwrap_or(Err(OriginError::ConnectTimeout))
}
