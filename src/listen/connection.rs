//! One client connection, from its acceptance to its end.

use super::io::{Io, Prefix};
use super::watch::{Busy, Connections, Open, Order, Watch};
use crate::config::Limits;
use crate::metrics::shard::{Count, WorkerShard};
use crate::proxy::body::{DownloadError, ResponseBody};
use crate::proxy::peer::Peer;
use crate::proxy::{self, Worker};
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use rustls::ServerConfig;
use std::convert::Infallible;
use std::fmt::Display;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

/// The least that a connection's buffers may grow to, so that bodies pass in reads of a good size.
const BUFFER: usize = 64 * 1024;
/// hyper parses up to this many headers without allocating.
const HEADERS_ON_STACK: usize = 100;

const H2_STREAMS: u32 = 100;
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

/// Serves a connection that was accepted on a plain listener.
pub(super) async fn serve_plain(connection: Connection, mut stream: TcpStream) {
    let Some(Ok((prefix, is_h2))) = connection.unless_ordered(Prefix::read(&mut stream)).await else {
        return;
    };
    let io = connection.io(stream, prefix);
    if is_h2 {
        // Boxed, so that the far more numerous idle HTTP/1.1 connections stay small.
        Box::pin(connection.http2(io)).await;
    } else {
        connection.http1(io).await;
    }
}

/// Serves a connection that was accepted on a TLS listener.
pub(super) async fn serve_tls(connection: Connection, config: Arc<ServerConfig>, stream: TcpStream) {
    let limit = connection.limits.handshake_timeout;
    let stream = match tokio::time::timeout(limit, TlsAcceptor::from(config).accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return connection.ended(&error),
        Err(_) => return connection.ended(&"no TLS handshake in time"),
    };
    let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let io = connection.io(Box::new(stream), Prefix::default());
    if is_h2 {
        Box::pin(connection.http2(io)).await;
    } else {
        connection.http1(io).await;
    }
}

/// An accepted connection: drained and counted from here on.
pub(super) struct Connection {
    worker: Rc<Worker>,
    peer: Rc<Peer>,
    limits: Limits,
    open: Open,
    _counted: Counted,
}

impl Connection {
    pub(super) fn open(hub: &Hub, address: SocketAddr, tls: bool) -> Self {
        Self {
            worker: Rc::clone(&hub.worker),
            peer: Rc::new(Peer::new(address.ip(), tls)),
            limits: hub.worker.routing().limits.clone(),
            open: hub.connections.open(),
            _counted: Counted::new(&hub.worker.counters, tls),
        }
    }

    fn io<S>(&self, stream: S, prefix: Prefix) -> TokioIo<Io<S>> {
        let watch = Rc::clone(&self.open);
        TokioIo::new(Io::new(stream, prefix, watch, Arc::clone(&self.worker.counters)))
    }

    async fn http1<S>(self, io: TokioIo<Io<S>>)
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let limits = &self.limits;
        let mut builder = http1::Builder::new();
        builder
            .auto_date_header(false)
            // The watch knows idle connections from slow heads.
            .header_read_timeout(None)
            .max_header_size(limits.request_header_bytes)
            .max_buf_size(limits.request_header_bytes.max(BUFFER));
        if limits.request_headers > HEADERS_ON_STACK {
            builder.max_headers(limits.request_headers);
        }
        let service = service_fn(|request| self.answer(request));
        let ended = drive(&self.open, builder.serve_connection(io, service)).await;
        if let Err(error) = ended {
            self.ended(&proxy::error::chain(&error));
        }
    }

    async fn http2<S>(self, io: TokioIo<Io<S>>)
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        self.open.multiplexed();
        let header_bytes = u32::try_from(self.limits.request_header_bytes).unwrap_or(u32::MAX);
        let this = Rc::new(self);
        let service = {
            let this = Rc::clone(&this);
            service_fn(move |request| {
                let this = Rc::clone(&this);
                async move { this.answer(request).await }
            })
        };
        let connection = http2::Builder::new(OnThisThread)
            .timer(TokioTimer::new())
            .auto_date_header(false)
            .max_concurrent_streams(H2_STREAMS)
            .initial_stream_window_size(H2_STREAM_WINDOW)
            .initial_connection_window_size(H2_CONNECTION_WINDOW)
            .max_send_buf_size(H2_SEND_BUFFER)
            .max_header_list_size(header_bytes)
            .keep_alive_interval(H2_PING)
            .keep_alive_timeout(H2_PING)
            .serve_connection(io, service);
        if let Err(error) = drive(&this.open, connection).await {
            this.ended(&proxy::error::chain(&error));
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Tracked>, Infallible> {
        let busy = self.open.begin();
        let response = proxy::handle(&self.worker, &self.peer, request).await;
        Ok(response.map(|body| Tracked { body, _busy: busy }))
    }

    /// The result of `future`, unless the connection is to end before.
    async fn unless_ordered<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let mut future = pin!(future);
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending if self.open.poll_order(cx) == Order::Serve => Poll::Pending,
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }

    /// Clients come and go; only who looks for it wants to know.
    fn ended(&self, why: &dyn Display) {
        tracing::debug!(peer = %self.peer.address(), error = %why, "a client connection ended");
    }
}

/// Runs a connection to its end, or to that which its watch orders.
async fn drive<C: GracefulConnection>(watch: &Watch, connection: C) -> Result<(), C::Error> {
    let mut connection = pin!(connection);
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

/// Runs the streams of an HTTP/2 connection on the worker's own thread.
#[derive(Clone, Copy)]
struct OnThisThread;

impl<F> hyper::rt::Executor<F> for OnThisThread
where
    F: Future + 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move {
            future.await;
        });
    }
}

/// A response body during which its connection is busy.
struct Tracked {
    body: ResponseBody,
    _busy: Busy,
}

impl Body for Tracked {
    type Data = Bytes;
    type Error = DownloadError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, DownloadError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
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
