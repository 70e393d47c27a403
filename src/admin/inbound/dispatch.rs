//! One request of a client, from its body to its answer.

use super::desk::{Answer, Desk, Outcome, refused};
use super::{akamai, cloudflare, fastly, varnish, webhook};
use crate::admin::caller::Caller;
use crate::admin::extract;
use crate::admin::router::surrounded;
use crate::admin::throttle::network;
use crate::config::InboundProtocol;
use crate::inbound::client;
use crate::inbound::refused::Refused;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, header};
use hyper::body::Incoming;

/// The seconds after which a client should try again if nothing was accepted.
const AGAIN: HeaderValue = HeaderValue::from_static("5");

/// Reads a request, and answers it.
pub(super) async fn serve(desk: &Desk<'_>, request: Request<Incoming>) -> Response {
    let (parts, body) = request.into_parts();
    let agent = parts.headers.get(header::USER_AGENT).cloned();
    let reader = Caller::client(desk.config.clone(), desk.name(), Vec::new(), network(desk.peer.ip()));
    let body = extract::whole(&desk.shared.state.limits, &reader, Body::new(body)).await;
    let answered_with = match body {
        Ok(body) => answer(desk, Request::from_parts(parts, body.into())).await,
        Err(problem) => Err(refused(problem)),
    };
    let (response, outcome) = match answered_with {
        Ok((response, Outcome::Accepted)) => (response, "accepted"),
        Ok((response, Outcome::Nothing)) => (response, "nothing"),
        Err(refused) => {
            let outcome = if refused.status.is_server_error() { "failed" } else { "refused" };
            (refusal(desk, &refused), outcome)
        }
    };
    count(desk, agent.as_ref(), outcome);
    answered(response)
}

async fn answer(desk: &Desk<'_>, request: Request<Bytes>) -> Result<Answer, Refused> {
    match desk.inbound.protocol {
        InboundProtocol::Fastly => fastly::answer(desk, request).await,
        InboundProtocol::Cloudflare => cloudflare::answer(desk, request).await,
        InboundProtocol::Akamai => akamai::answer(desk, request).await,
        InboundProtocol::Webhook => webhook::answer(desk, request).await,
        InboundProtocol::Varnish => varnish::answer(desk, request).await,
    }
}

/// Answers a request from another network than those of the clients.
pub(super) fn not_allowed(desk: &Desk<'_>, request: &Request<Incoming>) -> Response {
    count(desk, request.headers().get(header::USER_AGENT), "refused");
    let detail = "this address is not in `inbound.allow` of the shim's configuration".to_owned();
    // The rules that are usual in Varnish answer so.
    let status = match desk.inbound.protocol {
        InboundProtocol::Varnish => StatusCode::METHOD_NOT_ALLOWED,
        _ => StatusCode::FORBIDDEN,
    };
    answered(refusal(desk, &Refused { status, detail }))
}

/// Writes a refusal as the client's own API would.
fn refusal(desk: &Desk<'_>, refused: &Refused) -> http::Response<Bytes> {
    let mut response = match desk.inbound.protocol {
        InboundProtocol::Fastly => crate::inbound::fastly::refused(refused),
        InboundProtocol::Cloudflare => crate::inbound::cloudflare::refused(refused),
        InboundProtocol::Akamai => crate::inbound::akamai::refused(refused),
        InboundProtocol::Varnish => crate::inbound::varnish::refused(refused),
        InboundProtocol::Webhook => plain(refused.status, &refused.detail),
    };
    if matches!(refused.status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
        response.headers_mut().insert(header::RETRY_AFTER, AGAIN);
    }
    response
}

fn count(desk: &Desk<'_>, agent: Option<&HeaderValue>, outcome: &'static str) {
    let family = client::family(agent.and_then(|agent| agent.to_str().ok()).unwrap_or_default());
    desk.shared.state.metrics.inbound(desk.inbound.protocol.name(), family, outcome);
}

/// Finishes an answer.
pub(super) fn answered(response: http::Response<Bytes>) -> Response {
    surrounded(response.map(Body::from))
}

/// Returns an answer of one sentence.
pub(super) fn plain(status: StatusCode, detail: &str) -> http::Response<Bytes> {
    let mut response = http::Response::new(format!("{detail}\n").into());
    *response.status_mut() = status;
    response
}
