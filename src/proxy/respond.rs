//! The response head that the client receives. This is the only place where an error becomes a response.

use super::body::ResponseBody;
use super::context::RequestContext;
use super::error::ProxyError;
use super::fields::KeyFields;
use super::interim::tells_of_caching;
use super::routing::Site;
use super::stamp;
use crate::base::with_causes;
use crate::config::Mode;
use crate::http::head::{Headers, Known, RequestHead, ResponseHead, Value};
use crate::http::hop;
use crate::rewrite::{self, Asked, Decision, Edge, Guard, Outcome, Reason, RequestFacts};
use crate::upstream::OriginError;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode, Version, header};

const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");
/// The seconds after which a refused client may try again. Requests end quickly, so there is room again soon.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");
const ALLOW: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// Removes the hop-by-hop fields and returns the names that `Connection` nominated. The reason phrase stays, and
/// nothing is added, with two exceptions: a switch to the requested protocol is announced again for this hop, and
/// `Trailer` stays for a client that accepts trailers.
pub(super) fn head(
    head: &mut ResponseHead,
    upgrade: Option<Value<'_>>,
    takes_trailers: bool,
    site: &Site,
) -> Vec<HeaderName> {
    let kept = takes_trailers.then_some(Known::Trailer);
    let nominated = hop::strip_response_but(kept, &mut head.headers, |name| tells_of_caching(site, name));
    if let Some(protocol) = upgrade.filter(|_| head.status == StatusCode::SWITCHING_PROTOCOLS) {
        head.headers.append(&header::CONNECTION, &HeaderValue::from_static("upgrade"));
        head.headers.append(&header::UPGRADE, &protocol.to_owned());
    }
    nominated
}

/// Returns what the rewriting needs to know about the request.
pub(super) fn facts<'a>(
    request: &'a RequestHead,
    (key_fields, bound): (&KeyFields<'_>, bool),
    host: Value<'a>,
    trusted: bool,
    status: StatusCode,
) -> RequestFacts<'a> {
    let RequestHead { method, uri, .. } = request;
    // The whole URL is needed only for comparison with `Location`.
    let asked = match status.is_redirection() || status == StatusCode::CREATED {
        true => Asked {
            scheme: if trusted { visitors_scheme(&request.headers) } else { None },
            host: host.to_str().unwrap_or_default(),
            query: uri.query(),
        },
        false => Asked::default(),
    };
    let KeyFields { authorization, cookie, .. } = *key_fields;
    RequestFacts { method, path: uri.path(), authorization, bound, cookie, asked }
}

/// Returns the scheme of the visitor's connection as a trusted peer reports it.
fn visitors_scheme(headers: &Headers) -> Option<&'static str> {
    let said = headers.all(Known::XForwardedProto).next()?.as_bytes();
    // If several hops added theirs, the first one is the visitor's.
    let first = said.split(|b| *b == b',').next().unwrap_or_default().trim_ascii();
    ["https", "http"].into_iter().find(|scheme| first.eq_ignore_ascii_case(scheme.as_bytes()))
}

/// Replaces the origin's own host in `Location` by the public one if `sites.rewrite_location` is set.
pub(super) fn locate(head: &mut ResponseHead, site: &Site, request: RequestFacts<'_>) {
    if site.policy.rewrite_location
        && let Some(location) = rewrite::public_location(&site.policy, request, &head.headers)
    {
        head.headers.insert(&header::LOCATION, &location);
    }
}

/// Rewrites the response to an opted-in request as the site's mode allows.
pub(super) fn rewrite(
    site: &Site,
    edge: Edge<'_>,
    request: RequestFacts<'_>,
    head: &mut ResponseHead,
    context: &mut RequestContext,
) -> Decision {
    let began_ms = context.began_ms();
    let mut edge = Edge { guard: Some(Guard { purged: &site.purged.purged, began_ms }), ..edge };
    if edge.fallback.is_none() && !site.purged.fence.is_open() {
        edge.fallback = Some(Reason::Fenced);
    }
    match site.mode {
        Mode::On => {
            let (decision, provenance) =
                rewrite::rewrite(&site.policy, request, edge, head.status, &mut head.headers);
            if site.edges.are_stamped(edge.dialects) {
                stamp::put(&mut head.headers, provenance.is_some(), began_ms);
            }
            if let Some(provenance) = provenance {
                context.register_response(site, edge.dialects, provenance);
            }
            decision
        }
        Mode::Observe => {
            let mut copy = head.headers.clone();
            let (decision, _) = rewrite::rewrite(&site.policy, request, edge, head.status, &mut copy);
            site.metrics.shard(context.worker()).observed(decision);
            tracing::debug!(
                site = site.name,
                path = request.path,
                decision = decision.outcome.as_str(),
                reason = decision.reason.as_str(),
                headers = ?copy,
                "headers that mode observe would have sent"
            );
            untouched(Reason::ModeObserve)
        }
        Mode::Off => untouched(Reason::ModeOff),
    }
}

/// Returns the decision to leave a response unchanged.
pub(super) fn untouched(reason: Reason) -> Decision {
    Decision { outcome: Outcome::Untouched, reason }
}

/// Answers OPTIONS that must not be forwarded any further, with the methods that are allowed here (RFC 9110
/// §9.3.7).
pub(super) fn options(mut context: RequestContext) -> (ResponseHead, ResponseBody) {
    context.status = Some(StatusCode::OK);
    context.decision = untouched(Reason::ShimError);
    let mut head = ResponseHead::new(StatusCode::OK);
    head.headers.append(&header::ALLOW, &HeaderValue::from_static(ALLOW));
    head.headers.append(&header::CACHE_CONTROL, &HeaderValue::from_static("no-store"));
    head.headers.append(&header::CONTENT_LENGTH, &HeaderValue::from_static("0"));
    (head, ResponseBody::text(None, context))
}

/// Answers a request that failed, and logs the error with its causes. `no-store` keeps the answer out of caches.
pub(super) fn refuse(
    error: &ProxyError,
    method: &Method,
    version: Version,
    mut context: RequestContext,
) -> (ResponseHead, ResponseBody) {
    let answer = error.answer();
    // Requests that exceed a limit are counted but not logged, because a flood of them must not overload the log
    // as well.
    if !matches!(error, ProxyError::Full | ProxyError::Origin(OriginError::Full | OriginError::NoRoom(_))) {
        tracing::warn!(
            request_id = context.id().as_str(),
            site = context.site_name(),
            status = answer.status.as_u16(),
            error = with_causes(error),
            "a request failed"
        );
    }
    context.status = Some(answer.status);
    context.decision = untouched(Reason::ShimError);

    let text = format!("{}: {} (request {})\n", answer.status, answer.public, context.id().as_str());
    let length = text.len();
    let body = (*method != Method::HEAD).then(|| Bytes::from(text));
    let mut headers = Headers::with_capacity(6);
    headers.append(&header::CACHE_CONTROL, &HeaderValue::from_static("no-store"));
    headers.append(&header::CONTENT_TYPE, &HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.append(&header::CONTENT_LENGTH, &HeaderValue::from(length));
    if let Ok(value) = HeaderValue::try_from(format!("origin-shim; error={}", answer.proxy_status)) {
        headers.append(&PROXY_STATUS, &value);
    }
    match answer.status {
        StatusCode::METHOD_NOT_ALLOWED => {
            headers.append(&header::ALLOW, &HeaderValue::from_static(ALLOW));
        }
        StatusCode::SERVICE_UNAVAILABLE => {
            headers.append(&header::RETRY_AFTER, &RETRY_AFTER);
        }
        _ => {}
    }
    if answer.close && version < Version::HTTP_2 {
        headers.append(&header::CONNECTION, &HeaderValue::from_static("close"));
    }
    (ResponseHead { status: answer.status, reason: None, headers }, ResponseBody::text(body, context))
}
