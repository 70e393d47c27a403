//! The admin listener: HTTP/1.1 connections, bounded in number, in the time they may take, and in what they may send.

use super::poll::poll;
use super::stall::WriteTimeout;
use super::{Peer, State, router};
use axum::Router;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;

/// Connections at the same time.
const MAX_CONNECTIONS: usize = 512;
/// A request's head must arrive within this; an idle connection is closed after it.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// A client must take some of its answer within this.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Calls in flight at the shutdown may end within this.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// After a failed accept (descriptors used up): time for connections to end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a connection over the limit gets.
const BUSY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// Serves the admin API until `shutdown`, then lets the calls in flight end.
pub async fn serve(listener: TcpListener, state: Arc<State>, shutdown: impl Future<Output = ()>) {
    serve_at_most(MAX_CONNECTIONS, listener, state, shutdown).await;
}

/// [`serve`] with another limit.
pub(super) async fn serve_at_most(
    max_connections: usize,
    listener: TcpListener,
    state: Arc<State>,
    shutdown: impl Future<Output = ()>,
) {
    let router = router(state.clone());
    let polling = AbortOnDropHandle::new(tokio::spawn(poll(state.clone())));
    let places = Arc::new(Semaphore::new(max_connections));
    let graceful = GracefulShutdown::new();
    tokio::pin!(shutdown);
    loop {
        let (stream, peer) = tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => match accepted {
                Ok(connection) => connection,
                Err(error) => {
                    tracing::warn!(%error, "the admin listener cannot accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        match places.clone().try_acquire_owned() {
            Ok(place) => {
                let connection = connection(stream, peer, router.clone(), graceful.watcher());
                tokio::spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            // Answered rather than left in the backlog, where a probe would wait for its own timeout. The answer fits
            // the empty send buffer; if not, the close says enough.
            Err(_) => {
                let _ = stream.try_write(BUSY);
            }
        }
    }
    drop(listener);
    drop(polling);
    // Callers that wait for the end of a purge get their answer now.
    state.readiness.set_draining();
    if tokio::time::timeout(DRAIN_TIMEOUT, graceful.shutdown()).await.is_err() {
        tracing::warn!("admin calls were cut off at the end of the drain");
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, router: Router, watcher: Watcher) {
    let _ = stream.set_nodelay(true);
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        router.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_headers(64)
        .max_buf_size(64 << 10)
        .serve_connection(TokioIo::new(WriteTimeout::new(stream, WRITE_TIMEOUT)), service);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%peer, %error, "an admin connection broke");
    }
}
