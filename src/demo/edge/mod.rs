//! The demo's CDN: a small cache that treats the shim's headers as Varnish does with `config/varnish.vcl`, and accepts
//! purges through the same protocol. It is for trying things out, not for real traffic.

use super::cache::{Cache, Found, Key, Lifetime, Object};
use super::freshness;
use super::http1::{self, AnyBody};
use super::protocol::{self, Invalidation};
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::net::TcpListener;

/// The most bytes of all stored responses.
const CACHE_BYTES: usize = 64 << 20;

/// The longest body that is stored, in bytes. A longer one is streamed to the visitor and never held in memory.
const MAX_OBJECT_BYTES: u64 = 1 << 20;

/// Headers that a visitor must not be able to send to the shim.
const EDGE_ONLY: [&str; 3] = ["x-push-invalidation", "x-byo-cdn-type", "x-origin-shim-secret"];

const VIA: HeaderValue = HeaderValue::from_static("1.1 varnish (origin-shim demo)");

/// An edge cache in front of a shim.
#[derive(Debug)]
pub struct Edge {
    shim: SocketAddr,
    cache: Mutex<Cache>,
}

impl Edge {
    /// Creates an empty cache in front of the shim at `shim`.
    pub fn new(shim: SocketAddr) -> Self {
        Self { shim, cache: Mutex::new(Cache::new(CACHE_BYTES)) }
    }

    /// Serves visitors and purges, forever.
    pub async fn serve(self, listener: TcpListener) -> Infallible {
        let edge = Arc::new(self);
        let handler = move |request, peer| {
            let edge = edge.clone();
            async move { edge.answer(request, peer).await }
        };
        http1::serve(listener, handler).await
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>, peer: IpAddr) -> Response<AnyBody> {
        let (mut head, body) = request.into_parts();
        if Invalidation::is_meant_by(&head) {
            return self.invalidate(&head, peer);
        }
        let Some(key) = protocol::key(&head) else {
            return http1::text(StatusCode::BAD_REQUEST, "Needs Host\n");
        };
        prepare(&mut head, peer);
        if !may_be_cached(&head) {
            return self.pass(head, body).await;
        }
        // A separate statement, so that the lock is not held during a fetch.
        let found = self.cache().lookup(&key, &head.headers, Instant::now());
        match found {
            Found::Fresh(object) => from_cache(&head, &object, false),
            Found::Stale { object, refresh } => {
                let answer = from_cache(&head, &object, true);
                if refresh {
                    tokio::spawn(self.refresh(key, head));
                }
                answer
            }
            Found::IfError(object) => match self.fetch(&key, &head).await {
                Ok(answer) if !answer.status().is_server_error() => answer,
                Ok(_) | Err(_) => from_cache(&head, &object, true),
            },
            Found::Miss => self.fetch(&key, &head).await.unwrap_or_else(|error| unreachable(&error)),
        }
    }

    fn invalidate(&self, head: &Parts, peer: IpAddr) -> Response<AnyBody> {
        match Invalidation::parse(head, peer) {
            Ok(invalidation) => {
                let purged = invalidation.apply(&mut self.cache(), Instant::now());
                tracing::debug!(?invalidation, purged, "edge purged");
                let mut answer = http1::text(StatusCode::OK, "Purged\n");
                let proof = match head.method.as_str() {
                    "BAN" => HeaderValue::from_static("ban"),
                    _ => HeaderValue::from(purged),
                };
                answer.headers_mut().insert("x-purged", proof);
                answer
            }
            Err(refusal) => http1::text(refusal.status, format!("{}\n", refusal.reason)),
        }
    }

    /// Forwards a request, with its body, whose response is never stored.
    async fn pass(&self, head: Parts, body: Incoming) -> Response<AnyBody> {
        match http1::send(self.shim, Request::from_parts(head, body)).await {
            Ok(answer) => {
                let mut answer = answer.map(BodyExt::boxed);
                http1::remove_hop_by_hop(answer.headers_mut());
                for_visitor(answer.headers_mut(), "MISS");
                answer
            }
            Err(error) => unreachable(&error),
        }
    }

    /// Fetches a page for a visitor, and stores it if its headers allow that.
    async fn fetch(&self, key: &Key, head: &Parts) -> Result<Response<AnyBody>, http1::SendError> {
        let mut answer = http1::send(self.shim, whole_page(head)).await?;
        http1::remove_hop_by_hop(answer.headers_mut());
        let short = answer.body().size_hint().exact().is_some_and(|bytes| bytes <= MAX_OBJECT_BYTES);
        let lifetime = freshness::lifetime(answer.status(), answer.headers());
        let Some(lifetime) = lifetime.filter(|_| short && head.method == Method::GET) else {
            for_visitor(answer.headers_mut(), "MISS");
            return Ok(answer.map(BodyExt::boxed));
        };
        let (parts, body) = answer.into_parts();
        let body = match body.collect().await {
            Ok(body) => body.to_bytes(),
            // A truncated page must not look like a whole one.
            Err(source) => return Err(http1::SendError::Http { from: self.shim, source }),
        };
        self.keep(key, head, &parts, body.clone(), lifetime);
        let mut answer = Response::from_parts(parts, http1::full(body));
        for_visitor(answer.headers_mut(), "MISS");
        Ok(answer)
    }

    fn keep(&self, key: &Key, head: &Parts, parts: &http::response::Parts, body: Bytes, lifetime: Lifetime) {
        let object = Object { status: parts.status, headers: parts.headers.clone(), body };
        self.cache().store(key.clone(), &head.headers, object, lifetime, Instant::now());
    }

    /// Replaces a stale page in the background. After an error the stale page stays.
    async fn refresh(self: Arc<Self>, key: Key, mut head: Parts) {
        head.method = Method::GET;
        let fetched = self.fetch(&key, &head).await;
        if !fetched.is_ok_and(|answer| !answer.status().is_server_error()) {
            self.cache().refresh_failed(&key);
        }
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Turns a visitor's request into the edge's own: opted in, and with forwarding headers.
fn prepare(head: &mut Parts, peer: IpAddr) {
    if head.uri.authority().is_some() {
        // The target is in absolute form (RFC 9112, section 3.2.2). The shim receives it in origin form.
        let authority =
            head.uri.authority().map(|authority| authority.as_str().to_owned()).unwrap_or_default();
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
        head.uri = target.parse().unwrap_or_default();
        if let Ok(host) = HeaderValue::try_from(authority) {
            head.headers.insert(header::HOST, host);
        }
    }
    let headers = &mut head.headers;
    http1::remove_hop_by_hop(headers);
    for name in EDGE_ONLY {
        headers.remove(name);
    }
    headers.insert("x-push-invalidation", HeaderValue::from_static("enabled"));
    headers.insert("x-byo-cdn-type", HeaderValue::from_static("varnish"));
    headers.remove("forwarded");
    if let Ok(peer) = HeaderValue::try_from(peer.to_string()) {
        headers.insert("x-forwarded-for", peer);
    }
    headers.append(header::VIA, VIA);
}

fn may_be_cached(head: &Parts) -> bool {
    let personal = [header::COOKIE, header::AUTHORIZATION, header::RANGE];
    matches!(head.method, Method::GET | Method::HEAD)
        && !personal.iter().any(|name| head.headers.contains_key(name))
}

/// Returns a request that fetches the whole page, whatever copy the visitor has.
fn whole_page(head: &Parts) -> Request<AnyBody> {
    let mut request = Request::new(http1::empty());
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = head.uri.clone();
    *request.headers_mut() = head.headers.clone();
    let conditional: [HeaderName; 4] =
        [header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE, header::IF_MATCH, header::IF_UNMODIFIED_SINCE];
    for name in conditional.into_iter().chain([header::CONTENT_LENGTH]) {
        request.headers_mut().remove(name);
    }
    request
}

fn from_cache(head: &Parts, object: &Object, stale: bool) -> Response<AnyBody> {
    let mut answer = Response::new(http1::empty());
    *answer.headers_mut() = object.headers.clone();
    if same_copy(&head.headers, &object.headers) {
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
        answer.headers_mut().remove(header::CONTENT_LENGTH);
    } else {
        *answer.status_mut() = object.status;
        if head.method != Method::HEAD {
            *answer.body_mut() = http1::full(object.body.clone());
        }
    }
    for_visitor(answer.headers_mut(), "HIT");
    if stale {
        // Browsers must not store a stale copy.
        answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    }
    answer
}

/// Whether the visitor has the same copy (RFC 9110, section 13.1.2, weak comparison).
fn same_copy(request: &HeaderMap, response: &HeaderMap) -> bool {
    let wanted = request.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let etag = response.get(header::ETAG).and_then(|value| value.to_str().ok());
    let (Some(wanted), Some(etag)) = (wanted, etag) else { return false };
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    wanted.split(',').any(|tag| opaque(tag) == opaque(etag))
}

/// Removes the CDN's own headers from a response for a visitor, and adds one that states whether the cache had the
/// page.
fn for_visitor(headers: &mut HeaderMap, cache: &'static str) {
    if freshness::has_surrogate_control(headers) {
        headers.remove(header::AGE);
    }
    headers.remove("surrogate-control");
    headers.remove("xkey");
    headers.remove("x-origin-shim-path");
    headers.append(header::VIA, VIA);
    headers.insert("x-cache", HeaderValue::from_static(cache));
}

fn unreachable(error: &http1::SendError) -> Response<AnyBody> {
    tracing::warn!(error = error as &dyn std::error::Error, "the edge cannot reach the shim");
    http1::text(StatusCode::BAD_GATEWAY, "The edge cannot reach the shim.\n")
}

#[cfg(test)]
mod tests;
