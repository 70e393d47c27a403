//! The admin API, on a listener of its own.
//!
//! | call | scope | does |
//! |---|---|---|
//! | `POST /v1/sites/{site}/purges` | `purge` or `purge-everything` | accepts a purge: 202, and 200 where `Prefer: wait=` saw it end |
//! | `POST /v1/sites/{site}/events` | `purge` or `purge-everything` | accepts the purge of a publish event, likewise |
//! | `GET /v1/purges` | `read` | purges of the caller's sites, newest first |
//! | `GET /v1/purges/{id}` | `read` | one purge, its jobs, their attempts |
//! | `GET /v1/sites`, `GET /v1/sites/{site}` | `read` | configuration without secrets, and how each CDN stands |
//! | `GET /healthz` | none | the process answers |
//! | `GET /readyz` | none | 503 while starting or draining, else 200 with what is degraded |
//! | `GET /metrics` | none | OpenMetrics text |
//!
//! Every error is a problem document (RFC 9457, `problem.rs`). A caller sees only its own sites: purges of others
//! are 404. The JSON of all answers is in `json.rs`.

pub mod json;
pub mod problem;

mod auth;
mod extract;
mod idempotency;
mod ops;
mod publish;
mod purges;
mod serve;
mod sites;
mod stall;
mod wait;

#[cfg(test)]
pub(crate) mod tests;

pub use ops::Readiness;
pub use serve::serve;

use crate::config::{Config, Site};
use crate::purge::{JobPlan, PurgeRequest};
use crate::store::Store;
use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};
use problem::{BadItem, Kind, Problem};
use std::error::Error;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tracing::Instrument;

/// The store must answer within this; a stalled disk becomes a 503, not a hanging caller.
const STORE_TIMEOUT: Duration = Duration::from_secs(30);

/// What the admin API knows of the rest of the program.
pub struct State {
    /// The current configuration; each request takes one snapshot of it.
    pub config: Arc<ArcSwap<Config>>,
    /// The store; none if it could not be opened, and then purges get 503.
    pub store: Option<Arc<dyn Store>>,
    /// The workers.
    pub control: Arc<dyn Control>,
    /// Plans a purge for each CDN of a site.
    pub planner: Box<Planner>,
    /// Renders the metrics as OpenMetrics text.
    pub metrics: Box<dyn Fn() -> String + Send + Sync>,
    /// Whether the process is starting, ready or draining.
    pub readiness: Arc<Readiness>,
    /// What callers share.
    pub limits: Limits,
}

/// Plans a purge for each CDN that it concerns, or names every item that cannot be purged.
pub type Planner = dyn Fn(&Site, &PurgeRequest) -> Result<Vec<JobPlan>, Vec<BadItem>> + Send + Sync;

/// What the admin API needs from the workers.
pub trait Control: Send + Sync {
    /// There is something new to send to the CDNs of this site.
    fn wake(&self, site: &str);

    /// The purge health of each CDN of the site; a CDN that is left out has not been checked yet.
    fn health(&self, site: &str) -> Vec<CdnHealth>;

    /// Changes whenever a purge may have moved on: callers that wait look again.
    fn changes(&self) -> watch::Receiver<u64>;
}

/// The purge health of one CDN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CdnHealth {
    /// The CDN's name within its site.
    pub name: String,
    /// Whether a long TTL could be taken back from it.
    pub healthy: bool,
    /// Why not, in words for people; no secret.
    pub reasons: Vec<String>,
}

/// What callers share, so that none of them can exhaust the process.
#[derive(Debug)]
pub struct Limits {
    /// Requests that may wait for the end of their purge at the same time; one more is answered at once, as RFC 7240
    /// allows for every preference.
    waiters: Semaphore,
    /// Bodies over 64 KiB in memory at the same time.
    large_bodies: Semaphore,
}

impl Default for Limits {
    fn default() -> Self {
        Self { waiters: Semaphore::new(128), large_bodies: Semaphore::new(4) }
    }
}

/// Who is connected; set by [`serve`] for each request.
#[derive(Clone, Copy, Debug)]
struct Peer(SocketAddr);

/// The routes and what surrounds them.
fn router(state: Arc<State>) -> Router {
    let api = Router::new()
        .route("/v1/purges", get(purges::list))
        .route("/v1/purges/{id}", get(purges::get))
        .route("/v1/sites", get(sites::list))
        .route("/v1/sites/{site}", get(sites::get))
        .route("/v1/sites/{site}/purges", post(purges::create))
        .route("/v1/sites/{site}/events", post(publish::create))
        .route_layer(middleware::from_fn_with_state(state.clone(), auth::require_token));
    Router::new()
        .route("/healthz", get(ops::healthz))
        .route("/readyz", get(ops::readyz))
        .route("/metrics", get(ops::metrics))
        .merge(api)
        .fallback(ops::unknown_route)
        .method_not_allowed_fallback(ops::wrong_method)
        .layer(middleware::from_fn(surround))
        .with_state(state)
}

/// Outermost: names the request in the log, and keeps every answer out of caches.
async fn surround(request: Request, next: Next) -> Response {
    let span = tracing::info_span!("admin", method = %request.method(), path = request.uri().path());
    let mut response = next.run(request).instrument(span).await;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl State {
    fn store(&self) -> Result<&Arc<dyn Store>, Problem> {
        self.store.as_ref().ok_or_else(|| Problem::new(Kind::Unavailable, "The store could not be opened."))
    }
}

/// Asks the store, within bounds; `doing` completes "The store cannot …".
async fn ask<T, E>(doing: &str, question: impl Future<Output = Result<T, E>>) -> Result<T, Problem>
where
    E: Into<Box<dyn Error + Send + Sync>>,
{
    let unavailable = || Problem::new(Kind::Unavailable, format!("The store cannot {doing}."));
    match tokio::time::timeout(STORE_TIMEOUT, question).await {
        Ok(answer) => answer.map_err(|error| unavailable().because(error)),
        Err(elapsed) => Err(unavailable().because(elapsed)),
    }
}

/// Milliseconds since the epoch.
fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
