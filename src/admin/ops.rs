//! Calls for probes and scrapers: liveness, readiness, metrics. None of them needs a token, so none shows more
//! than names.

use super::problem::{Kind, Problem};
use super::readiness::Phase;
use super::sites;
use super::state::State;
use crate::metrics::CONTENT_TYPE;
use crate::telemetry::{self, Standing};
use crate::view::OriginStatus;
use axum::extract;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Json};
use schemars::JsonSchema;
use serde::Serialize;
use std::sync::Arc;

/// The answer of `GET /readyz`.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Ready {
    status: Phase,
    /// The problems of the process, in words.
    degraded: Vec<String>,
    /// The process that answers: during an upgrade there are two.
    process: Process,
}

/// A running shim.
#[derive(Debug, Serialize, JsonSchema)]
struct Process {
    /// The process id.
    id: u32,
    version: &'static str,
}

/// `GET /healthz`
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// `GET /readyz`. A degraded process stays ready: proxying goes on with the fallback TTL, and removing every
/// instance from service because a CDN's API is down would be an outage of its own.
pub(super) async fn readyz(extract::State(state): extract::State<Arc<State>>) -> impl IntoResponse {
    let status = state.readiness.phase();
    let code = if status == Phase::Ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let process = Process { id: std::process::id(), version: env!("CARGO_PKG_VERSION") };
    (code, Json(Ready { status, degraded: degraded(&state), process }))
}

fn degraded(state: &State) -> Vec<String> {
    let mut reasons = Vec::new();
    if state.store.get().is_none() {
        reasons.push("the store cannot be opened: purges get 503".to_owned());
    }
    reasons.extend(state.control.complaints());
    reasons.extend(state.readiness.beside());
    for site in &state.config.load().sites {
        for cdn in sites::health(state, site).into_iter().filter(|cdn| !cdn.healthy) {
            reasons.push(format!("{}/{}: {}", site.name, cdn.name, cdn.reasons.join("; ")));
        }
    }
    reasons.extend(telemetry::standing().complaint.map(str::to_owned));
    reasons.extend(state.origins.get().iter().filter_map(OriginStatus::complaint));
    reasons
}

/// `GET /metrics`
pub(super) async fn metrics(extract::State(state): extract::State<Arc<State>>) -> impl IntoResponse {
    let Standing { dropped, lost, .. } = telemetry::standing();
    state.metrics.log_lines(dropped, lost);
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], state.metrics.render())
}

/// Answers requests for unknown paths.
pub(super) async fn unknown_route(uri: Uri) -> Problem {
    Problem::new(Kind::NotFound, format!("There is nothing at `{}`.", uri.path()))
}

/// Answers requests for a known path with a method that it does not have. The router adds `Allow`.
pub(super) async fn wrong_method() -> Problem {
    Problem::new(Kind::MethodNotAllowed, "`Allow` lists the methods of this path.")
}
