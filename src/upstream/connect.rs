//! New connections to origins: address, TCP, TLS, and the version of HTTP.

use super::address::{self, Address};
use super::client::Client;
use super::connection::{Connection, Route};
use super::descriptors::{self, Counted};
use super::error::OriginError;
use super::origin::{Origin, OriginTls};
use super::request::Destination;
use super::stream::Stream;
use super::{h1, h2};
use crate::config::{Limits, OriginProtocol};
use crate::http::head::limits::HeadLimits;
use crate::telemetry::Sparse;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// The time between two checks for a free descriptor.
const AGAIN: Duration = Duration::from_millis(20);

static NO_ROOM: Sparse = Sparse::new();

/// Returns a connection for a request for which the pool had none: a new one, or an HTTP/2 connection that was made
/// meanwhile. All requests that need an HTTP/2 connection wait for the one that is being made and share it, so that a
/// burst needs a few connections and not one for each request.
pub(super) async fn connect(
    client: &Client,
    destination: Destination<'_>,
    origin: &Origin,
    protocol: OriginProtocol,
    but: Option<&Address>,
) -> Result<(Connection, Route), OriginError> {
    let id = origin.upstream.id;
    if protocol == OriginProtocol::Http1 || client.pool.prefers_http1(id) {
        return make(client, destination, origin, protocol, but).await;
    }
    let turn =
        tokio::time::timeout(destination.limits.origin_connect_timeout, client.pool.turn(id).acquire_owned());
    let _turn = turn.await.map_err(|_| OriginError::ConnectTimeout)?;
    match client.pool.share(id, but) {
        Some((connection, route)) => Ok((Connection::Http2(connection), route)),
        None => make(client, destination, origin, protocol, but).await,
    }
}

/// Connects to the first address of `origin` that accepts a connection within the limit. `but` is used only if there
/// is no other. Each address that is not avoided gets an equal share of the remaining time, so that an address that
/// swallows packets does not use up the time of the next. Avoided addresses come last and may use all that is left.
async fn make(
    client: &Client,
    Destination { limits, counters, .. }: Destination<'_>,
    origin: &Origin,
    protocol: OriginProtocol,
    but: Option<&Address>,
) -> Result<(Connection, Route), OriginError> {
    let mut counted = Some(descriptor(client, limits.origin_connect_timeout).await?);
    // The time spent waiting for a descriptor does not reduce the time for the addresses.
    let started = Instant::now();
    let mut all = origin.upstream.addresses();
    if all.is_empty() {
        let resolving = tokio::time::timeout(limits.origin_connect_timeout, origin.upstream.resolve());
        all = resolving.await.map_err(|_| OriginError::ConnectTimeout)??;
    }
    let (addresses, preferred) = address::in_turn(&all, but);
    let mut failure = OriginError::Connect(io::ErrorKind::AddrNotAvailable.into());
    for (index, address) in addresses.into_iter().enumerate() {
        let left = limits.origin_connect_timeout.saturating_sub(started.elapsed());
        let share = left / u32::try_from(preferred.saturating_sub(index)).unwrap_or(u32::MAX).max(1);
        // The last address accepted a connection, on which HTTP/2 then did not begin. It has taken the descriptor with
        // it.
        if counted.is_none() {
            counted = Some(descriptor(client, left).await?);
        }
        match begin(client, limits, origin, protocol, (address.socket, share), &mut counted).await {
            Ok(connection) => {
                counters.origin_connections.add(1);
                let route = Rc::new(address);
                if protocol == OriginProtocol::Http2 {
                    client.pool.made(origin.upstream.id, &connection, &route);
                }
                return Ok((connection, route));
            }
            // The error reveals nothing about the address, and another address would need a descriptor as well.
            Err(error @ OriginError::NoRoom(_)) => return Err(error),
            Err(error) => failure = error,
        }
        address.failed(limits.origin_max_fails, limits.origin_fail_timeout, Instant::now());
    }
    Err(failure)
}

async fn begin(
    client: &Client,
    limits: &Limits,
    origin: &Origin,
    protocol: OriginProtocol,
    (address, limit): (SocketAddr, Duration),
    counted: &mut Option<Counted>,
) -> Result<Connection, OriginError> {
    let started = Instant::now();
    let stream = establish(address, origin.tls.as_ref(), protocol, limit, counted).await?;
    if !stream.speaks_http2(protocol) {
        return Ok(Connection::Http1(h1::Connection::new(stream, &client.scratch)));
    }
    let head_limits = HeadLimits { fields: limits.origin_headers, bytes: limits.origin_header_bytes };
    let opening = h2::open(stream, &client.clock, head_limits);
    let opened = tokio::time::timeout(limit.saturating_sub(started.elapsed()), opening).await;
    let connection = opened.map_err(|_| OriginError::ConnectTimeout)?.map_err(OriginError::Http2)?;
    Ok(Connection::Http2(connection))
}

/// Waits for a descriptor, within the time limit for a connection.
async fn descriptor(client: &Client, limit: Duration) -> Result<Counted, OriginError> {
    let started = Instant::now();
    loop {
        if let Some(counted) = client.descriptor() {
            return Ok(counted);
        }
        if started.elapsed() >= limit {
            if let Some(times) = NO_ROOM.note(Instant::now()) {
                tracing::warn!(
                    times,
                    "cannot connect to an origin: all descriptors for these connections are in use (ulimit -n)"
                );
            }
            return Err(OriginError::NoRoom(None));
        }
        client.want_descriptor();
        tokio::time::sleep(AGAIN).await;
    }
}

/// Establishes a connection, including the TLS handshake if there is one. The stream takes `counted` with it.
pub(super) async fn establish(
    address: SocketAddr,
    tls: Option<&OriginTls>,
    protocol: OriginProtocol,
    limit: Duration,
    counted: &mut Option<Counted>,
) -> Result<Stream, OriginError> {
    let establishing = async {
        let stream = TcpStream::connect(address).await.map_err(unconnected)?;
        stream.set_nodelay(true).map_err(OriginError::Connect)?;
        match tls {
            None => Ok(Stream::plain(stream, counted.take())),
            Some(tls) => {
                let connector = TlsConnector::from(Arc::clone(tls.config(protocol)));
                let stream = connector.connect(tls.name.clone(), stream).await.map_err(OriginError::Tls)?;
                Ok(Stream::tls(stream, counted.take()))
            }
        }
    };
    tokio::time::timeout(limit, establishing).await.unwrap_or(Err(OriginError::ConnectTimeout))
}

fn unconnected(error: io::Error) -> OriginError {
    if descriptors::is_our_own(&error) {
        OriginError::NoRoom(Some(error))
    } else {
        OriginError::Connect(error)
    }
}
