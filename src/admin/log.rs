//! `GET` and `PUT /v1/log-filter`: the filter of the log, until the configured filter changes or the process ends.

use super::audit;
use super::caller::{Caller, Peer};
use super::extract::json;
use super::problem::{BadItem, Kind, Problem};
use super::state::State;
use crate::config::log_filter::LogFilterError;
use crate::telemetry::{self, TelemetryError};
use axum::body::Body;
use axum::extract;
use axum::response::Json;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The longest filter, in bytes. It is bounded because the filter becomes part of an audit line.
const MAX_FILTER: usize = 1000;

/// The filter of the log.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "an object with a filter")]
pub(super) struct LogFilter {
    /// A level, or levels by part, such as `info,origin_shim::delivery=debug`. At most 1,000 bytes.
    filter: String,
}

/// `GET /v1/log-filter`
pub(super) async fn show(
    extract::Extension(caller): extract::Extension<Caller>,
) -> Result<Json<LogFilter>, Problem> {
    for_all(&caller)?;
    current()
}

/// Refuses a token that is limited to some sites, because the log may name any site.
fn for_all(caller: &Caller) -> Result<(), Problem> {
    if caller.limited_to().is_some() {
        let detail = format!("Token `{}` is for some sites only; the log concerns all.", caller.name());
        return Err(Problem::new(Kind::Forbidden, detail));
    }
    Ok(())
}

fn current() -> Result<Json<LogFilter>, Problem> {
    telemetry::filter().map(|filter| Json(LogFilter { filter })).ok_or_else(no_log)
}

/// `PUT /v1/log-filter`
pub(super) async fn change(
    extract::State(state): extract::State<Arc<State>>,
    extract::Extension(caller): extract::Extension<Caller>,
    extract::Extension(Peer(peer)): extract::Extension<Peer>,
    body: Body,
) -> Result<Json<LogFilter>, Problem> {
    for_all(&caller)?;
    let LogFilter { filter } = json(&state.limits, &caller, body).await?;
    if filter.len() > MAX_FILTER {
        return Err(invalid(format!("at most {MAX_FILTER} bytes")));
    }
    let place = audit::place().await?;
    telemetry::set_filter(&filter).map_err(|error| match error {
        TelemetryError::Filter(LogFilterError::Syntax(error)) => invalid(error.to_string()),
        TelemetryError::Filter(error) => invalid(error.to_string()),
        _ => no_log(),
    })?;
    audit::changed(place, (&caller, peer), "", filter.trim(), "log filter changed");
    current()
}

fn invalid(message: String) -> Problem {
    let item = BadItem { item: "filter".to_owned(), message };
    Problem::new(Kind::Invalid, "The filter stays as it was.").with_errors(vec![item])
}

fn no_log() -> Problem {
    Problem::new(Kind::Unavailable, "There is no log.")
}
