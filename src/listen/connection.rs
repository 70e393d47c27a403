//! One client connection, from its acceptance to its end.

use super::io::{Io, Prefix};
use super::proxy_protocol;
use super::socket::ClientSocket;
use super::watch::{Connections, Open, Order};
use crate::config::Limits;
use crate::metrics::shard::{Count, Limit, WorkerShard};
use crate::proxy::Worker;
use crate::proxy::peer::Peer;
use crate::upstream::Tunnel;
use bytes::Bytes;
use rustls::ServerConfig;
use std::fmt::Display;
use std::future::poll_fn;
use std::io as std_io;
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;

/// State shared by the connections of a worker.
pub(super) struct Hub {
    pub(super) worker: Rc<Worker>,
    pub(super) connections: Rc<Connections>,
}

/// An accepted connection. As long as it exists, it counts as open, and draining waits for it.
pub(super) struct Connection {
    pub(super) worker: Rc<Worker>,
    pub(super) address: IpAddr,
    pub(super) tls: bool,
    pub(super) limits: Limits,
    pub(super) open: Open,
    pub(super) turned_away: bool,
    _counted: Counted,
}

impl Connection {
    /// Opens a connection that this listener has accepted `from` a socket and its address. With `turned_away`, the
    /// client gets only a 503.
    pub(super) fn open(
        hub: &Hub,
        listener: u64,
        from: (&ClientSocket, IpAddr),
        tls: bool,
        turned_away: bool,
    ) -> Self {
        let (socket, address) = from;
        Self {
            worker: Rc::clone(&hub.worker),
            address: address.to_canonical(),
            tls,
            limits: hub.worker.routing().limits.clone(),
            open: hub.connections.open(listener, socket.outlet()),
            turned_away,
            _counted: Counted::new(&hub.worker.counters, tls),
        }
    }

    /// Serves the connection to its end.
    pub(super) async fn serve(mut self, mut stream: ClientSocket, tls: Option<Arc<ServerConfig>>) {
        if self.worker.routing().begins_with_proxy_header(self.address) {
            match self.handshake(proxy_protocol::read(&mut stream)).await {
                Some(Ok(client)) => {
                    self.address = client.map_or(self.address, |client| client.to_canonical())
                }
                Some(Err(error)) => return self.ended(&error),
                None => return,
            }
        }
        match tls {
            None => self.plain(stream).await,
            // Boxed, because most connections do not wait in TLS.
            Some(config) => Box::pin(self.secure(stream, config)).await,
        }
    }

    async fn plain(self, mut stream: ClientSocket) {
        let Some(Ok((prefix, is_h2))) = self.unless_ordered(Prefix::read(&mut stream)).await else {
            return;
        };
        let io = self.io(stream, prefix);
        let client = self.client(false);
        if is_h2 {
            // Boxed, so that the far more numerous idle HTTP/1.1 connections stay small.
            Box::pin(client.http2(io)).await;
        } else {
            client.http1(io).await;
        }
    }

    async fn secure(self, stream: ClientSocket, config: Arc<ServerConfig>) {
        let stream = match self.handshake(TlsAcceptor::from(config).accept(stream)).await {
            Some(Ok(stream)) => stream,
            Some(Err(error)) => return self.ended(&error),
            None => return,
        };
        let session = stream.get_ref().1;
        let is_h2 = session.alpn_protocol() == Some(b"h2");
        // A certificate that could not be verified would have ended the handshake.
        let certified = session.peer_certificates().is_some();
        let io = self.io(Box::new(stream), Prefix::default());
        let client = self.client(certified);
        if is_h2 {
            Box::pin(client.http2(io)).await;
        } else {
            client.http1(io).await;
        }
    }

    /// Returns the result of `future`, unless that takes too long or the connection must end first.
    async fn handshake<T>(
        &self,
        future: impl Future<Output = std_io::Result<T>>,
    ) -> Option<std_io::Result<T>> {
        let limited = tokio::time::timeout(self.limits.handshake_timeout, future);
        match self.unless_ordered(limited).await? {
            Ok(result) => Some(result),
            Err(_) => {
                self.worker.counters.limited(Limit::Handshake);
                self.ended(&"no handshake in time");
                None
            }
        }
    }

    /// Returns the result of `future`, unless the connection is ordered to drain or to close first. After the stop,
    /// this order comes a second later (`LAST_REQUESTS` in `worker.rs`), and until then a client that is only
    /// beginning may still send one request.
    async fn unless_ordered<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let mut future = pin!(future);
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending if self.open.poll_order(cx) == Order::Serve => Poll::Pending,
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }

    fn io<S>(&self, stream: S, prefix: Prefix) -> Io<S> {
        Io::new(stream, prefix, Rc::clone(&self.open), Arc::clone(&self.worker.counters))
    }

    fn client(self, certified: bool) -> Client {
        let peer = Peer::new(self.address, self.tls);
        let peer = if certified { peer.certified() } else { peer };
        Client { peer, connection: self }
    }

    /// Clients come and go, so this is logged only at debug level.
    pub(super) fn ended(&self, why: &dyn Display) {
        tracing::debug!(peer = %self.address, error = %why, "a client connection ended");
    }
}

/// A connection whose client is known, after the PROXY header and the TLS handshake if there are any.
pub(super) struct Client {
    pub(super) connection: Connection,
    pub(super) peer: Peer,
}

impl Client {
    /// Carries another protocol. The tunnel has no requests that could be completed, so it ends as soon as
    /// draining begins.
    pub(super) async fn carry<S>(&self, tunnel: Tunnel, io: Io<S>, early: Bytes)
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let _busy = self.connection.open.begin(false);
        if let Some(Err(error)) = self.connection.unless_ordered(tunnel.run(io, early)).await {
            self.connection.ended(&error);
        }
    }
}

/// A connection in the gauge of open connections.
struct Counted {
    counters: Arc<WorkerShard>,
    tls: bool,
}

impl Counted {
    fn new(counters: &Arc<WorkerShard>, tls: bool) -> Self {
        let counted = Self { counters: Arc::clone(counters), tls };
        counted.gauge().add(1);
        counted
    }

    fn gauge(&self) -> &Count {
        if self.tls { &self.counters.tls_connections } else { &self.counters.plain_connections }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.gauge().sub(1);
    }
}
