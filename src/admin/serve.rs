//! The admin listener: HTTP/1.1 connections, with limits on their number, on their time, and on what they may
//! send.

use super::caller::Peer;
use super::feed::poll::poll;
use super::misdirected;
use super::places::{Place, Places, Room};
use super::router::{router, surrounded};
use super::stall::WriteTimeout;
use super::state::State;
use super::strict::{HEADS, Strict, Verdicts};
use crate::telemetry::Sparse;
use axum::Router;
use axum::response::IntoResponse;
use hyper::header::AUTHORIZATION;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

/// The time within which a request's head must arrive, and after which an idle connection is closed.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// The time within which a client must take some of its answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// The time within which calls in flight may end at the shutdown.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// The number of bytes that are read ahead after a head.
const READ_AHEAD: usize = 8 << 10;
/// The pause after a failed accept (out of descriptors), in which connections can end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

static NOT_ACCEPTED: Sparse = Sparse::new();

/// Serves the admin API until `shutdown`, then lets the calls in flight end.
pub async fn serve(listener: TcpListener, state: Arc<State>, shutdown: impl Future<Output = ()>) {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    serve_in(Room::within(files), listener, state, shutdown).await;
}

/// Does the same as [`serve`], with other limits.
pub(super) async fn serve_in(
    room: Room,
    listener: TcpListener,
    state: Arc<State>,
    shutdown: impl Future<Output = ()>,
) {
    let router = router(state.clone());
    let polling = AbortOnDropHandle::new(tokio::spawn(poll(state.clone())));
    let places = Places::new(room);
    let graceful = GracefulShutdown::new();
    tokio::pin!(shutdown);
    loop {
        let (stream, peer) = tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => match accepted {
                Ok(connection) => connection,
                Err(error) => {
                    if let Some(times) = NOT_ACCEPTED.note(Instant::now()) {
                        tracing::warn!(%error, times, "the admin listener cannot accept");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        let place = places.enter(peer.ip());
        let connection = connection(stream, peer, place, (state.clone(), router.clone()), graceful.watcher());
        tokio::spawn(connection);
    }
    drop(listener);
    drop(polling);
    // Callers that wait for the end of a purge get their answer now.
    state.readiness.set_draining();
    if tokio::time::timeout(DRAIN_TIMEOUT, graceful.shutdown()).await.is_err() {
        tracing::warn!("admin calls were cut off at the end of the drain");
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    place: Place,
    (state, router): (Arc<State>, Router),
    watcher: Watcher,
) {
    let _ = stream.set_nodelay(true);
    let (router, verdicts) = (TowerToHyperService::new(router), Verdicts::default());
    let stream = Strict::new(WriteTimeout::new(stream, WRITE_TIMEOUT), verdicts.clone());
    let service = service_fn(|mut request: hyper::Request<hyper::body::Incoming>| {
        let busy = place.begin();
        let has_token = request.headers().contains_key(AUTHORIZATION);
        let is_probe = matches!(request.uri().path(), "/healthz" | "/readyz");
        request.extensions_mut().insert(Peer(peer));
        request.extensions_mut().insert(place.clone());
        let answer = match misdirected::judge(&state, verdicts.next()) {
            Some(problem) => Err(problem),
            None => Ok(router.call(request)),
        };
        let state = state.clone();
        async move {
            let _busy = busy;
            // One answer without a token is made at a time, and other calls get their chance in between: hyper
            // continues with the next request at once, which a crowd that sends many requests could exploit.
            let _turn = match has_token || is_probe {
                true => None,
                false => state.limits.without_token.acquire().await.ok(),
            };
            if !has_token {
                tokio::task::yield_now().await;
            }
            match answer {
                Ok(answer) => answer.await,
                Err(problem) => Ok(surrounded(problem.into_response())),
            }
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_headers(HEADS.fields)
        .max_buf_size(HEADS.bytes + READ_AHEAD)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        ended = watcher.watch(connection) => {
            if let Err(error) = ended {
                tracing::debug!(%peer, %error, "an admin connection broke");
            }
        }
        () = place.lost() => tracing::debug!(%peer, "an admin connection without a token gave way to another one"),
    }
}
