//! Publish events: a caller reports what happened instead of what to purge. The result is handled like any other
//! purge.

use super::caller::{Caller, Peer};
use super::extract::{Segment, json as read_json};
use super::idempotency;
use super::problem::{BadItem, Kind, Problem};
use super::purges::{self, Asked};
use super::state::State;
use crate::config::Site;
use crate::purge::PurgeRequest;
use crate::purge::publish;
use crate::purge::publish::Event;
use axum::body::Body;
use axum::extract;
use axum::http::HeaderMap;
use axum::response::Response;
use std::sync::Arc;

/// The largest number of paths in one event.
const MAX_PATHS: usize = 50_000;

/// `POST /v1/sites/{site}/events`
pub(super) async fn create(
    extract::State(state): extract::State<Arc<State>>,
    extract::Extension(caller): extract::Extension<Caller>,
    extract::Extension(Peer(peer)): extract::Extension<Peer>,
    Segment(site): Segment,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let site = caller.site(&site)?;
    let store = state.store()?.clone();

    let event: Event = read_json(&state.limits, &caller, body).await?;
    let request = purge_of(site, &event)?;
    // The key is that of the event, not of its items: if a rule has changed, a repeat is still the same call.
    let idempotency = idempotency::of_request(&headers, caller.name(), &site.name, &event);
    purges::accept(&state, store, (&caller, peer), site, Asked { request, idempotency }, &headers).await
}

/// Returns the purge of an event.
pub(super) fn purge_of(site: &Site, event: &Event) -> Result<PurgeRequest, Problem> {
    let paths = event.paths.len();
    if paths > MAX_PATHS {
        let detail = format!("{paths} paths are too many: send at most {MAX_PATHS} at once.");
        return Err(Problem::new(Kind::TooLarge, detail));
    }
    publish::purge_of(site, event).map_err(|errors| {
        let errors = errors.into_iter().map(|error| BadItem { item: error.item, message: error.message });
        let detail = "Nothing was purged, because the event is invalid: see `errors`.";
        Problem::new(Kind::Invalid, detail).with_errors(errors.collect())
    })
}
