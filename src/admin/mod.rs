//! The admin API, on a listener of its own.
//!
//! The table in `routes.rs` lists every call, and both the router and the OpenAPI document are made from it. Each
//! call has a file:
//!
//! | file | calls |
//! |---|---|
//! | `purges.rs`, `wait.rs` | accept a purge, `Prefer: wait`, show and list purges |
//! | `fresh.rs` | what is old after a purge, and what must be purged again |
//! | `untagged.rs` | copies without our tags, over restarts |
//! | `publish.rs` | accept the purge of a publish event |
//! | `operate.rs` | retry, acknowledge and cancel a purge; pause and resume a CDN |
//! | `credentials.rs` | check the CDNs' credentials |
//! | `sites.rs` | configuration without secrets, and the state of each CDN |
//! | `explain.rs` | what the rewrite would do, and why |
//! | `feed/` | server-sent events: the events, one listener's stream, polling for changes |
//! | `serve.rs`, `strict/`, `misdirected.rs`, `stall.rs` | the listener: what is a request, and whether it is for us |
//! | `places.rs`, `shares.rs`, `turns.rs`, `throttle.rs` | no caller takes the place of others |
//! | `reload.rs` | reload the configuration |
//! | `log.rs` | the log filter |
//! | `ops.rs`, `console/`, `openapi.rs` | probes and metrics, the console, the OpenAPI document: no token needed |
//!
//! Every error is a problem document (RFC 9457, `problem.rs`). A caller sees only its own sites: purges of other
//! sites are 404. The JSON of all answers is in `json.rs`.

pub mod json;
pub mod openapi;
pub mod problem;
pub mod reload;

mod aside;
mod audit;
mod auth;
mod console;
mod credentials;
mod explain;
mod extract;
mod feed;
mod fresh;
mod idempotency;
mod log;
mod misdirected;
mod operate;
mod ops;
mod own;
mod places;
mod publish;
mod purges;
mod routes;
mod serve;
mod shares;
mod sites;
mod stall;
mod strict;
mod throttle;
mod turns;
mod untagged;
mod wait;

#[cfg(test)]
pub(crate) mod tests;

pub use feed::{Events, HealthEvent, JobEvent, LaggedEvent};
pub use fresh::{guard_everything, recall, recall_nothing};
pub use ops::Readiness;
pub use own::make_up_for_lost_purges;
pub use serve::serve;
pub use untagged::Untagged;

use crate::cdn::Sender;
use crate::config::{Config, Site};
use crate::guard::Freshness;
use crate::metrics::Metrics;
use crate::purge::{JobPlan, PurgeRequest};
use crate::store::{Store, StoreError};
use crate::view::OriginsView;
use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use problem::{BadItem, Kind, Problem};
use shares::Shares;
use std::error::Error;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tracing::Instrument;
use turns::Turns;

/// The time limit for answers of the store. A stalled disk becomes a 503, not a hanging call.
const STORE_TIMEOUT: Duration = Duration::from_secs(30);

/// The parts of the program that the admin API uses.
pub struct State {
    /// The current configuration. Each request takes one snapshot of it.
    pub config: Arc<ArcSwap<Config>>,
    /// The store; empty as long as it cannot be opened, and purges get 503 until then.
    pub store: Arc<OnceLock<Arc<dyn Store>>>,
    /// The workers.
    pub control: Arc<dyn Control>,
    /// The guard, which keeps old responses out of caches.
    pub freshness: Arc<Freshness>,
    /// Plans a purge for each CDN of a site.
    pub planner: Box<Planner>,
    /// Calls the CDNs, for checks of their credentials.
    pub sender: Sender,
    /// Reloads the configuration.
    pub reload: Arc<dyn reload::Reload>,
    /// The events for the listeners of `GET /v1/events`.
    pub events: Arc<Events>,
    /// The metrics, which are also rendered for scrapers.
    pub metrics: Arc<Metrics>,
    /// The state of the origins.
    pub origins: Arc<OriginsView>,
    /// Whether the process is starting, ready or draining.
    pub readiness: Arc<Readiness>,
    /// The limits that callers share.
    pub limits: Limits,
}

/// Plans a purge for each CDN concerned, or names every item that cannot be purged.
pub type Planner =
    dyn Fn(&Arc<Config>, &Site, &PurgeRequest) -> Result<Vec<JobPlan>, Vec<BadItem>> + Send + Sync;

/// The admin API's view of the workers.
pub trait Control: Send + Sync {
    /// Wakes the workers of a site, because there is something new to send to its CDNs.
    fn wake(&self, site: &str);

    /// Sends jobs at once that wait for another attempt at this CDN.
    fn hurry(&self, site: &str, cdn: &str);

    /// Reports that a CDN of this site received `calls` calls about its credentials, which count towards its
    /// account's rate. With `probe`, one of them was the purge of a tag.
    fn called(&self, site: &str, cdn: &str, calls: u64, probe: bool);

    /// Returns the purge health of each CDN of the site. An absent CDN has not been checked yet.
    fn health(&self, site: &str) -> Vec<CdnHealth>;

    /// Returns the problems that are not those of a CDN: of the store, and of jobs that wait for CDNs that are
    /// gone. The texts are for people and contain no secret.
    fn complaints(&self) -> Vec<String>;

    /// Returns a counter that changes whenever a purge may have moved on, so that waiting calls check again.
    fn changes(&self) -> watch::Receiver<u64>;
}

/// The purge health of one CDN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CdnHealth {
    /// The CDN's name within its site.
    pub name: String,
    /// Whether a response with a long TTL could be purged from the CDN.
    pub healthy: bool,
    /// Reasons why the CDN is not healthy, in words and without secrets.
    pub reasons: Vec<String>,
}

/// Limits that callers share, so that none of them can exhaust the process.
#[derive(Debug)]
pub struct Limits {
    /// Requests that may wait for the end of their purge at the same time. A further request is answered at once,
    /// as RFC 7240 allows for every preference.
    waiters: Shares,
    /// Turns for large bodies in memory.
    large_bodies: Turns,
    /// Purges with all their items that are read and written as JSON at the same time.
    whole_purges: Semaphore,
    /// Simultaneous checks of credentials.
    credential_checks: Semaphore,
    /// Simultaneous answers to callers without a token, except for probes.
    without_token: Semaphore,
    /// Places for calls that wait for a check.
    checkers: Shares,
    /// Listeners to events.
    streams: Shares,
    failures: throttle::Failures,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            waiters: Shares::new(128, 32, 64),
            large_bodies: Turns::default(),
            whole_purges: Semaphore::new(4),
            credential_checks: Semaphore::new(1),
            without_token: Semaphore::new(1),
            checkers: Shares::new(32, credentials::PER_TOKEN, 8),
            streams: Shares::new(feed::stream::STREAMS, feed::stream::PER_TOKEN, feed::stream::PER_ADDRESS),
            failures: throttle::Failures::default(),
        }
    }
}

/// The peer of the connection, set by [`serve`] for each request.
#[derive(Clone, Copy, Debug)]
struct Peer(SocketAddr);

/// Returns the routes with the layers around them.
fn router(state: Arc<State>) -> Router {
    routes::router(&state)
        .fallback(ops::unknown_route)
        .method_not_allowed_fallback(ops::wrong_method)
        .layer(middleware::from_fn(surround))
        .with_state(state)
}

/// The outermost layer: names the request in the log, and keeps every answer out of caches.
async fn surround(request: Request, next: Next) -> Response {
    let span = tracing::info_span!("admin", method = %request.method(), path = request.uri().path());
    surrounded(next.run(request).instrument(span).await)
}

fn surrounded(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl State {
    fn store(&self) -> Result<&Arc<dyn Store>, Problem> {
        self.store.get().ok_or_else(|| {
            Problem::new(
                Kind::Unavailable,
                "The store cannot be opened; this is tried again every few seconds.",
            )
        })
    }
}

/// Queries the store within the time limit. `doing` completes "The store cannot …".
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

/// Changes the store in a task of its own. If a client hangs up, or the store commits too late for the answer, the
/// change must still get its consequences. `doing` completes "The store cannot …".
async fn commit<T>(
    doing: &str,
    change: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, Problem>
where
    T: Send + 'static,
{
    let task = tokio::spawn(change.instrument(tracing::Span::current()));
    ask(doing, async { Ok::<_, Box<dyn Error + Send + Sync>>(task.await??) }).await
}
