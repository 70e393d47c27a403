//! New connections to origins: name, address, TCP, TLS, HTTP/1.1.

use super::body::Upload;
use super::error::OriginError;
use super::site::{Origin, OriginTls};
use crate::config::Limits;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;

/// How long an address is believed; short, since the resolver of the system caches by the record's own TTL.
const ADDRESS_TTL: Duration = Duration::from_secs(10);

/// A connection to an origin, and the task that drives it. Dropping it closes the connection at once, whatever
/// is under way on it.
#[derive(Debug)]
pub(super) struct Connection {
    /// The origin that it leads to.
    pub(super) key: Arc<str>,
    pub(super) sender: SendRequest<Upload>,
    driver: AbortHandle,
}

impl Connection {
    /// Whether it could take a request now.
    pub(super) fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Connects to `origin` within the limit.
pub(super) async fn connect(
    addresses: &Addresses,
    limits: &Limits,
    origin: &Origin,
) -> Result<Connection, OriginError> {
    let limit = limits.origin_connect_timeout;
    match tokio::time::timeout(limit, establish(addresses, limits, origin)).await {
        Ok(result) => result,
        Err(_) => Err(OriginError::ConnectTimeout),
    }
}

async fn establish(
    addresses: &Addresses,
    limits: &Limits,
    origin: &Origin,
) -> Result<Connection, OriginError> {
    let stream = tcp(&addresses.of(origin).await?, limits.origin_connect_timeout).await?;
    let key = Arc::clone(&origin.key);
    match &origin.tls {
        None => http(key, stream, limits).await,
        Some(OriginTls { config, name }) => {
            let connector = TlsConnector::from(Arc::clone(config));
            let stream = connector.connect(name.clone(), stream).await.map_err(OriginError::Tls)?;
            http(key, stream, limits).await
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

async fn http<S>(key: Arc<str>, stream: S, limits: &Limits) -> Result<Connection, OriginError>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (sender, connection) = http1::Builder::new()
        .max_headers(limits.origin_headers)
        .max_header_size(limits.origin_header_bytes)
        .max_buf_size(limits.origin_header_bytes)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(OriginError::Closed)?;
    let driver = tokio::task::spawn_local(async move {
        if let Err(error) = connection.await {
            // Whoever waits for a response is told too; this is for connections that nobody waits on.
            tracing::debug!(error = super::error::chain(&error), "an origin connection ended");
        }
    });
    Ok(Connection { key, sender, driver: driver.abort_handle() })
}

/// The addresses of origins, remembered for a short while.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    known: RefCell<HashMap<Arc<str>, Known>>,
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
        if let Some(known) = self.known.borrow().get(&origin.key)
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
        self.known.borrow_mut().insert(Arc::clone(&origin.key), known);
        Ok(addresses)
    }
}
