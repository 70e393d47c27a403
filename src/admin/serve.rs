//! The listeners of the control plane: HTTP/1.1 connections, with limits on their number, on their time, and on what
//! they may send. The admin API has one of them, and `inbound/` has others.

use super::caller::Peer;
use super::feed::poll::poll;
use super::misdirected;
use super::places::{Place, Places, Room};
use super::router::{router, surrounded};
use super::stall::WriteTimeout;
use super::state::State;
use super::strict::{HEADS, Strict, Verdict, Verdicts};
use crate::telemetry::Sparse;
use axum::Router;
use axum::response::{IntoResponse, Response};
use hyper::Request;
use hyper::body::Incoming;
use hyper::header::AUTHORIZATION;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use std::convert::Infallible;
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
pub(super) const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
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
    let router = TowerToHyperService::new(router(state.clone()));
    let polling = AbortOnDropHandle::new(tokio::spawn(poll(state.clone())));
    let api = Api { state: state.clone(), router };
    let graceful = accept(listener, room, api, shutdown).await;
    drop(polling);
    // Callers that wait for the end of a purge get their answer now.
    state.readiness.set_draining();
    if tokio::time::timeout(DRAIN_TIMEOUT, graceful.shutdown()).await.is_err() {
        tracing::warn!("admin calls were cut off at the end of the drain");
    }
}

/// What answers the requests that come to a listener.
pub(super) trait Answers: Clone + Send + Sync + 'static {
    /// Returns the name whose share of the places a connection takes, if it is known before its first request.
    fn knows(&self, peer: SocketAddr) -> Option<String>;

    /// Answers a request, after the verdict on its head.
    fn answer(
        self,
        peer: SocketAddr,
        request: Request<Incoming>,
        verdict: Option<Verdict>,
        place: Place,
    ) -> impl Future<Output = Response> + Send;
}

/// Accepts connections until `shutdown`. Returns what waits for the end of those that are left.
pub(super) async fn accept(
    listener: TcpListener,
    room: Room,
    answers: impl Answers,
    shutdown: impl Future<Output = ()>,
) -> GracefulShutdown {
    let places = Places::new(room);
    let graceful = GracefulShutdown::new();
    tokio::pin!(shutdown);
    loop {
        let (stream, peer) = tokio::select! {
            () = &mut shutdown => return graceful,
            accepted = listener.accept() => match accepted {
                Ok(connection) => connection,
                Err(error) => {
                    if let Some(times) = NOT_ACCEPTED.note(Instant::now()) {
                        tracing::warn!(%error, times, "a listener of the control plane cannot accept");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        let place = places.enter(peer.ip());
        if let Some(name) = answers.knows(peer) {
            place.known_as(&name);
        }
        tokio::spawn(connection(stream, peer, place, answers.clone(), graceful.watcher()));
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    place: Place,
    answers: impl Answers,
    watcher: Watcher,
) {
    let _ = stream.set_nodelay(true);
    let verdicts = Verdicts::default();
    let stream = Strict::new(WriteTimeout::new(stream, WRITE_TIMEOUT), verdicts.clone());
    let service = service_fn(|request: Request<Incoming>| {
        let (busy, verdict) = (place.begin(), verdicts.next());
        let (answers, place) = (answers.clone(), place.clone());
        async move {
            let _busy = busy;
            Ok::<_, Infallible>(answers.answer(peer, request, verdict, place).await)
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
                tracing::debug!(%peer, %error, "a connection to the control plane broke");
            }
        }
        () = place.lost() => tracing::debug!(%peer, "a connection without a token gave way to another one"),
    }
}

/// The admin API.
#[derive(Clone)]
struct Api {
    state: Arc<State>,
    router: TowerToHyperService<Router>,
}

impl Answers for Api {
    fn knows(&self, _: SocketAddr) -> Option<String> {
        None
    }

    async fn answer(
        self,
        peer: SocketAddr,
        mut request: Request<Incoming>,
        verdict: Option<Verdict>,
        place: Place,
    ) -> Response {
        let has_token = request.headers().contains_key(AUTHORIZATION);
        let is_probe = matches!(request.uri().path(), "/healthz" | "/readyz");
        request.extensions_mut().insert(Peer(peer));
        request.extensions_mut().insert(place);
        // One answer without a token is made at a time, and other calls get their chance in between: hyper
        // continues with the next request at once, which a crowd that sends many requests could exploit.
        let _turn = match has_token || is_probe {
            true => None,
            false => self.state.limits.without_token.acquire().await.ok(),
        };
        if !has_token {
            tokio::task::yield_now().await;
        }
        if let Some(problem) = misdirected::judge(&self.state, verdict) {
            return surrounded(problem.into_response());
        }
        match self.router.call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}
