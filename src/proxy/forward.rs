//! The request head as the origin gets it. Headers are edited in place: one pass finds what must go, then what
//! this hop has to say is set.

use super::error::ProxyError;
use super::peer::{Peer, RequestId, X_REQUEST_ID};
use super::{hop, opt_in};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version, header};

/// Our name in `Via` and `CDN-Loop`.
const TOKEN: &str = "origin-shim";

const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What is known of a request besides its head.
#[derive(Clone, Copy, Debug)]
pub struct Forwarding<'a> {
    /// Who sent it.
    pub peer: &'a Peer,
    /// Whether that peer's forwarding headers are believed.
    pub trusted: bool,
    /// The host it is for.
    pub host: &'a HeaderValue,
    /// Its id.
    pub id: &'a RequestId,
    /// Whether its opt-in is believed, and so goes on.
    pub opted_in: bool,
    /// Whether conditions are withheld from the origin, since the CDN takes no tags from a 304.
    pub unconditional: bool,
    /// Whether a body follows.
    pub has_body: bool,
}

/// Turns a client's request head into the one for the origin.
pub fn head(head: &mut Parts, forwarding: &Forwarding<'_>) -> Result<(), ProxyError> {
    let headers = &mut head.headers;
    if has_been_here(headers) {
        return Err(ProxyError::Loop);
    }
    let mut doomed = hop::nominated(headers);
    if let Some(name) = doomed.iter().find(|name| hop::is_protected_in_request(name)) {
        return Err(ProxyError::Nominated(name.clone()));
    }
    doomed.extend(headers.keys().filter(|name| must_go(name, forwarding)).cloned());
    for name in doomed {
        headers.remove(name);
    }

    frame(headers, &head.method, head.version, forwarding.has_body);
    headers.insert(header::HOST, forwarding.host.clone());
    headers.append(header::VIA, via(head.version));
    headers.append(CDN_LOOP, HeaderValue::from_static(TOKEN));
    headers.insert(X_REQUEST_ID, forwarding.id.value().clone());
    forwarded(headers, forwarding);

    head.uri = origin_form(&head.uri);
    head.version = Version::HTTP_11;
    head.extensions.clear();
    Ok(())
}

/// RFC 8586 §2: a list of CDN ids, each perhaps with parameters.
fn has_been_here(headers: &HeaderMap) -> bool {
    let values = headers.get_all(CDN_LOOP).iter();
    let mut elements = values.flat_map(|value| value.as_bytes().split(|b| *b == b','));
    elements.any(|element| {
        let id = element.split(|b| *b == b';').next().unwrap_or_default();
        id.trim_ascii().eq_ignore_ascii_case(TOKEN.as_bytes())
    })
}

fn must_go(name: &HeaderName, forwarding: &Forwarding<'_>) -> bool {
    if hop::is_fixed(name) || *name == header::EXPECT || *name == opt_in::SECRET {
        return true;
    }
    if *name == opt_in::OPT_IN {
        return !forwarding.opted_in;
    }
    if *name == header::IF_NONE_MATCH || *name == header::IF_MODIFIED_SINCE {
        return forwarding.unconditional;
    }
    let text = name.as_str();
    (!forwarding.trusted && tells_of_the_peer(text)) || (text.contains('_') && is_alias(text))
}

/// Headers that only a hop we trust may write: who the client is, and the trace that the request belongs to.
fn tells_of_the_peer(name: &str) -> bool {
    name.starts_with("x-forwarded-")
        || matches!(
            name,
            "forwarded"
                | "x-real-ip"
                | "x-client-ip"
                | "x-cluster-client-ip"
                | "true-client-ip"
                | "fastly-client-ip"
                | "cf-connecting-ip"
                | "cf-connecting-ipv6"
                | "cf-pseudo-ipv4"
                | "cloudfront-viewer-address"
                | "traceparent"
                | "tracestate"
                | "baggage"
        )
}

/// A header that a CGI-like origin could not tell from one that we check: `x_forwarded_for` and
/// `x-forwarded-for` are both `HTTP_X_FORWARDED_FOR` there. No sender that means well writes these.
fn is_alias(name: &str) -> bool {
    let dashed = name.replace('_', "-");
    let checked = |name: &HeaderName| {
        hop::is_fixed(name) || hop::is_protected_in_request(name) || *name == X_REQUEST_ID
    };
    tells_of_the_peer(&dashed) || HeaderName::from_bytes(dashed.as_bytes()).is_ok_and(|name| checked(&name))
}

/// How the body is delimited on this hop (RFC 9112 §6): by its length where that is known, else in chunks.
fn frame(headers: &mut HeaderMap, method: &Method, version: Version, has_body: bool) {
    if headers.contains_key(header::CONTENT_LENGTH) {
        return;
    }
    if has_body {
        headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    } else if version == Version::HTTP_2 && [Method::POST, Method::PUT, Method::PATCH].contains(method) {
        // HTTP/2 tells the lack of a body by a flag; HTTP/1.1 origins expect a length (RFC 9110 §8.6).
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
}

fn via(version: Version) -> HeaderValue {
    HeaderValue::from_static(match version {
        Version::HTTP_2 => "2.0 origin-shim",
        Version::HTTP_10 => "1.0 origin-shim",
        _ => "1.1 origin-shim",
    })
}

/// `X-Forwarded-*` and `Forwarded` (RFC 7239): appended to those of a trusted peer, else begun anew.
fn forwarded(headers: &mut HeaderMap, forwarding: &Forwarding<'_>) {
    let peer = forwarding.peer;
    let element = peer.forwarded(forwarding.host);
    if !forwarding.trusted {
        headers.insert(X_FORWARDED_FOR, peer.address_value().clone());
        headers.insert(X_FORWARDED_HOST, forwarding.host.clone());
        headers.insert(X_FORWARDED_PROTO, peer.scheme());
        headers.insert(header::FORWARDED, element);
        return;
    }
    append(headers, X_FORWARDED_FOR, peer.address_value());
    append(headers, header::FORWARDED, &element);
    headers.entry(X_FORWARDED_HOST).or_insert_with(|| forwarding.host.clone());
    headers.entry(X_FORWARDED_PROTO).or_insert_with(|| peer.scheme());
}

/// Appends to a list header, in one line: many origins read only the first line of `X-Forwarded-For`.
fn append(headers: &mut HeaderMap, name: HeaderName, element: &HeaderValue) {
    let mut joined = Vec::new();
    for value in headers.get_all(&name) {
        joined.extend_from_slice(value.as_bytes());
        joined.extend_from_slice(b", ");
    }
    joined.extend_from_slice(element.as_bytes());
    // Joined from legal values, so legal itself.
    if let Ok(value) = HeaderValue::from_maybe_shared(bytes::Bytes::from(joined)) {
        headers.insert(name, value);
    }
}

/// The target without scheme and authority: the origin is never chosen by the request.
fn origin_form(uri: &Uri) -> Uri {
    if uri.scheme().is_none() && uri.authority().is_none() {
        return uri.clone();
    }
    let path = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    Uri::from(path)
}

#[cfg(test)]
mod tests;
