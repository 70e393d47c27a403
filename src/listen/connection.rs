//! One client connection, from its acceptance to its end.

use super::batch::Batch;
use super::http2::Streams;
use super::io::{Io, Prefix};
use super::proxy_protocol;
use super::tracked::{Taken, Tracked};
use super::watch::{Connections, Open, Order, Watch};
use crate::config::Limits;
use crate::metrics::shard::{Count, Limit, WorkerShard};
use crate::proxy::clock::Patience;
use crate::proxy::peer::Peer;
use crate::proxy::{self, RequestBody, Tunnel, Worker};
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use rustls::ServerConfig;
use std::convert::Infallible;
use std::fmt::Display;
use std::future::poll_fn;
use std::io as std_io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

const H2_STREAM_WINDOW: u32 = 64 * 1024;
const H2_CONNECTION_WINDOW: u32 = 1024 * 1024;
const H2_SEND_BUFFER: usize = 64 * 1024;
/// A client that does not answer a PING in this time, sent as often, is gone.
const H2_PING: Duration = Duration::from_secs(20);

/// What the connections of a worker have in common.
pub(super) struct Hub {
    pub(super) worker: Rc<Worker>,
    pub(super) connections: Rc<Connections>,
}

/// An accepted connection: drained and counted from here on.
pub(super) struct Connection {
    pub(super) worker: Rc<Worker>,
    pub(super) address: IpAddr,
    tls: bool,
    pub(super) limits: Limits,
    pub(super) open: Open,
    pub(super) turned_away: bool,
    _counted: Counted,
}

impl Connection {
    /// A connection from `address` to this listener; `turned_away`: it gets no answer but 503.
    pub(super) fn open(hub: &Hub, listener: u64, address: IpAddr, tls: bool, turned_away: bool) -> Self {
        Self {
            worker: Rc::clone(&hub.worker),
            address: address.to_canonical(),
            tls,
            limits: hub.worker.routing().limits.clone(),
            open: hub.connections.open(listener),
            turned_away,
            _counted: Counted::new(&hub.worker.counters, tls),
        }
    }

    /// Serves it to its end.
    pub(super) async fn serve(mut self, mut stream: TcpStream, tls: Option<Arc<ServerConfig>>) {
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
            // Boxed, since TLS is not what most connections wait for.
            Some(config) => Box::pin(self.secure(stream, config)).await,
        }
    }

    async fn plain(self, mut stream: TcpStream) {
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

    async fn secure(self, stream: TcpStream, config: Arc<ServerConfig>) {
        let stream = match self.handshake(TlsAcceptor::from(config).accept(stream)).await {
            Some(Ok(stream)) => stream,
            Some(Err(error)) => return self.ended(&error),
            None => return,
        };
        let session = stream.get_ref().1;
        let is_h2 = session.alpn_protocol() == Some(b"h2");
        // One that could not be verified would have ended the handshake.
        let certified = session.peer_certificates().is_some();
        let io = self.io(Box::new(stream), Prefix::default());
        let client = self.client(certified);
        if is_h2 {
            Box::pin(client.http2(io)).await;
        } else {
            client.http1(io).await;
        }
    }

    /// The result of `future`, unless it takes too long or the connection is to end before.
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

    /// The result of `future`, unless the connection is to be closed before. A client that is only just beginning
    /// may still bring its one request while we drain.
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

    /// Clients come and go; only who looks for it wants to know.
    pub(super) fn ended(&self, why: &dyn Display) {
        tracing::debug!(peer = %self.address, error = %why, "a client connection ended");
    }
}

/// A connection whose other end is known.
pub(super) struct Client {
    pub(super) connection: Connection,
    pub(super) peer: Peer,
}

impl Client {
    /// Carries another protocol. It has no requests that could be finished, so it ends when the others begin to.
    pub(super) async fn carry<S>(&self, tunnel: Tunnel, io: Io<S>, early: Bytes)
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let Connection { worker, open, limits, .. } = &self.connection;
        let _busy = open.begin(false);
        let patience = Patience::new(&worker.clock, limits.tunnel_timeout);
        if let Some(Err(error)) = self.connection.unless_ordered(tunnel.run(io, early, patience)).await {
            self.connection.ended(&error);
        }
    }

    async fn http2<S>(self, io: Io<S>)
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let limits = self.connection.limits.clone();
        let streams = Streams::new(limits.write_timeout, &self.connection.worker);
        let this = Rc::new(self);
        let service = {
            let (this, streams) = (Rc::clone(&this), streams.clone());
            service_fn(move |request| {
                let (this, taken) = (Rc::clone(&this), streams.begin());
                async move { this.answer(request, taken).await }
            })
        };
        let io = Batch::new(io.with_frames());
        let connection = http2::Builder::new(streams)
            .timer(TokioTimer::new())
            .auto_date_header(false)
            .max_concurrent_streams(limits.http2_streams)
            .initial_stream_window_size(H2_STREAM_WINDOW)
            .initial_connection_window_size(H2_CONNECTION_WINDOW)
            .max_send_buf_size(H2_SEND_BUFFER)
            .max_header_list_size(u32::try_from(limits.request_header_bytes).unwrap_or(u32::MAX))
            .keep_alive_interval(H2_PING)
            .keep_alive_timeout(H2_PING)
            .serve_connection(TokioIo::new(io.clone()), service);
        match io.during(drive(&this.connection.open, pin!(connection))).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => this.connection.ended(&proxy::error::chain(&error)),
            Err(error) => this.connection.ended(&error),
        }
    }

    /// Answers a request of HTTP/2.
    async fn answer(
        &self,
        request: Request<Incoming>,
        taken: Rc<Taken>,
    ) -> Result<Response<Tracked>, Infallible> {
        let Connection { worker, open, .. } = &self.connection;
        let (head, body) = request.into_parts();
        let busy = open.begin(!body.is_end_stream());
        let (head, body) = if self.connection.turned_away {
            open.give(Order::Drain);
            proxy::turn_away(worker, &self.peer, &head.into())
        } else {
            // Boxed: an idle connection then has no room for it, and a busy one takes memory that was just in use.
            Box::pin(proxy::handle(worker, &self.peer, head.into(), RequestBody::Http2(body))).await
        };
        let mut response = Response::new(Tracked::new(body, taken, busy));
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers.into();
        Ok(response)
    }
}

/// Runs a connection of HTTP/2 to its end, or to that which its watch orders.
async fn drive<C: GracefulConnection>(watch: &Watch, mut connection: Pin<&mut C>) -> Result<(), C::Error> {
    let mut draining = false;
    poll_fn(|cx| {
        loop {
            // First, so that a request which had arrived before the order is still answered.
            if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                return Poll::Ready(ended);
            }
            match watch.poll_order(cx) {
                Order::Drain if !draining => {
                    draining = true;
                    connection.as_mut().graceful_shutdown();
                }
                Order::Serve | Order::Drain => return Poll::Pending,
                Order::Close => return Poll::Ready(Ok(())),
            }
        }
    })
    .await
}

/// A connection in the gauge of open ones.
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
