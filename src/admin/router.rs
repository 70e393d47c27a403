//! The router: the calls of the table, with the layers around them.

use super::auth::{require_scope, require_token};
use super::ops;
use super::route::Route;
use super::routes::routes;
use super::state::State;
use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use std::sync::Arc;
use tracing::Instrument;

/// Returns the routes with the layers around them.
pub(super) fn router(state: Arc<State>) -> Router {
    table(&state)
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

/// Keeps an answer out of caches.
pub(super) fn surrounded(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Returns the routes of the table.
fn table(state: &Arc<State>) -> Router<Arc<State>> {
    let (mut open, mut guarded) = (Router::new(), Router::new());
    for Route { path, scopes, handler, .. } in routes() {
        if scopes.is_empty() {
            open = open.route(path, handler);
        } else {
            let scope = middleware::from_fn_with_state(scopes, require_scope);
            guarded = guarded.route(path, handler.route_layer(scope));
        }
    }
    let token = middleware::from_fn_with_state(state.clone(), require_token);
    open.merge(guarded.route_layer(token))
}
