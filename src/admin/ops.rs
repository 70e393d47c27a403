//! For probes and scrapers: alive, ready, metrics. None of it needs a token, so none of it shows more than names.

use super::State;
use super::problem::{Kind, Problem};
use crate::metrics::CONTENT_TYPE;
use crate::telemetry::{self, Standing};
use crate::view::OriginStatus;
use axum::extract;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Json};
use schemars::JsonSchema;
use serde::Serialize;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// Where the process stands in its life: starting, then ready, then draining.
#[derive(Debug)]
pub struct Readiness {
    phase: watch::Sender<Phase>,
    /// What is to be said of another process with the same configuration.
    beside: Mutex<Option<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Phase {
    Starting,
    Ready,
    Draining,
}

impl Default for Readiness {
    fn default() -> Self {
        Self { phase: watch::Sender::new(Phase::Starting), beside: Mutex::default() }
    }
}

impl Readiness {
    /// Everything is up.
    pub fn set_ready(&self) {
        self.advance(Phase::Ready);
    }

    /// The process is about to stop. Load balancers should go elsewhere, and callers that wait get their answer.
    pub fn set_draining(&self) {
        self.advance(Phase::Draining);
    }

    /// Another process is there with the same configuration, or none any more.
    pub fn set_beside(&self, complaint: Option<String>) {
        *self.beside.lock().unwrap_or_else(PoisonError::into_inner) = complaint;
    }

    /// Ends when the process drains.
    pub async fn draining(&self) {
        // Cannot fail while `self` holds the sender.
        let _ = self.phase.subscribe().wait_for(|phase| *phase == Phase::Draining).await;
    }

    /// Only forwards: a late starter must not make a draining process ready again.
    fn advance(&self, to: Phase) {
        self.phase.send_if_modified(|phase| {
            let forwards = *phase < to;
            if forwards {
                *phase = to;
            }
            forwards
        });
    }
}

/// The answer of `GET /readyz`.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Ready {
    status: Phase,
    /// What does not work as it should, in words.
    degraded: Vec<String>,
    /// Whose answer this is: during an upgrade there are two.
    process: Process,
}

/// A running shim.
#[derive(Debug, Serialize, JsonSchema)]
struct Process {
    /// As the system numbers it.
    id: u32,
    version: &'static str,
}

/// `GET /healthz`
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// `GET /readyz`. What is degraded does not make it fail: proxying goes on with the fallback TTL, and taking every
/// instance out because a CDN's API is down would be the outage.
pub(super) async fn readyz(extract::State(state): extract::State<Arc<State>>) -> impl IntoResponse {
    let status = *state.readiness.phase.borrow();
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
    reasons.extend(state.readiness.beside.lock().unwrap_or_else(PoisonError::into_inner).clone());
    for site in &state.config.load().sites {
        for cdn in super::sites::health(state, site).into_iter().filter(|cdn| !cdn.healthy) {
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

/// Every path that is not ours.
pub(super) async fn unknown_route(uri: Uri) -> Problem {
    Problem::new(Kind::NotFound, format!("There is nothing at `{}`.", uri.path()))
}

/// A path of ours with a method that it does not have; the router adds `Allow`.
pub(super) async fn wrong_method() -> Problem {
    Problem::new(Kind::MethodNotAllowed, "`Allow` lists the methods of this path.")
}
