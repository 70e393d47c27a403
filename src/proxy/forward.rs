//! The request head as the origin gets it: the client's fields that may go on, then what this hop has to say. They
//! go from the client's head to the wire as they are; nothing is rebuilt.

use super::error::ProxyError;
use super::hop;
use super::key_fields::KeyFields;
use super::peer::{Peer, RequestId, X_REQUEST_ID};
use crate::head::{Headers, RequestHead};
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Uri, Version, header};
use std::borrow::Cow;

/// Our name in `Via` and `CDN-Loop`.
const TOKEN: &str = "origin-shim";
static OUR_TOKEN: HeaderValue = HeaderValue::from_static(TOKEN);
static VIA_10: HeaderValue = HeaderValue::from_static("1.0 origin-shim");
static VIA_11: HeaderValue = HeaderValue::from_static("1.1 origin-shim");
static VIA_2: HeaderValue = HeaderValue::from_static("2.0 origin-shim");

static UPGRADE_OPTION: HeaderValue = HeaderValue::from_static("upgrade");

static CONNECTION: HeaderName = header::CONNECTION;
static UPGRADE: HeaderName = header::UPGRADE;
static HOST: HeaderName = header::HOST;
static VIA: HeaderName = header::VIA;
static FORWARDED: HeaderName = header::FORWARDED;
static CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");
static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

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
    /// The protocol that the connection is to be switched to.
    pub upgrade: Option<&'a HeaderValue>,
}

/// The fields of a request as the origin gets them, all but the framing.
#[derive(Debug)]
pub struct Fields<'a> {
    client: &'a Headers,
    nominated: Vec<HeaderName>,
    request: Forwarding<'a>,
    via: &'static HeaderValue,
    forwarded_for: Cow<'a, HeaderValue>,
    forwarded: HeaderValue,
}

/// What of a client's head goes on, or why nothing may.
pub fn fields<'a>(
    head: &'a RequestHead,
    key_fields: &KeyFields<'_>,
    request: Forwarding<'a>,
) -> Result<Fields<'a>, ProxyError> {
    let client = &head.headers;
    if has_been_here(key_fields) {
        return Err(ProxyError::Loop);
    }
    let nominated = hop::nominated(key_fields.connection());
    if let Some(name) = nominated.iter().find(|name| hop::is_protected_in_request(name)) {
        return Err(ProxyError::Nominated(name.clone()));
    }
    let mut forwarded_for = Cow::Borrowed(request.peer.address_value());
    let mut forwarded = request.peer.forwarded(request.host);
    if request.trusted {
        forwarded_for = Cow::Owned(appended(client, &X_FORWARDED_FOR, &forwarded_for));
        forwarded = appended(client, &FORWARDED, &forwarded);
    }
    Ok(Fields { client, nominated, request, via: via(head.version), forwarded_for, forwarded })
}

impl Fields<'_> {
    /// The fields for an origin that is to see this `Host`, or that of the request.
    pub fn iter<'f>(
        &'f self,
        host: Option<&'f HeaderValue>,
    ) -> impl Iterator<Item = (&'f HeaderName, &'f HeaderValue)> {
        let request = &self.request;
        let host = host.unwrap_or(request.host);
        // A peer that is trusted may have said this already.
        let unless_told = |name: &HeaderName, value| {
            let told = request.trusted && self.client.contains(name);
            (!told).then_some(value)
        };
        let ours = [
            (&VIA, Some(self.via)),
            (&CDN_LOOP, Some(&OUR_TOKEN)),
            (&X_REQUEST_ID, Some(request.id.value())),
            (&X_FORWARDED_FOR, Some(&*self.forwarded_for)),
            (&X_FORWARDED_HOST, unless_told(&X_FORWARDED_HOST, request.host)),
            (&X_FORWARDED_PROTO, unless_told(&X_FORWARDED_PROTO, request.peer.scheme())),
            (&FORWARDED, Some(&self.forwarded)),
            (&CONNECTION, request.upgrade.map(|_| &UPGRADE_OPTION)),
            (&UPGRADE, request.upgrade),
        ];
        let ours = ours.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let clients = self.client.iter().filter(|(name, _)| self.passes(name));
        std::iter::once((&HOST, host)).chain(clients).chain(ours)
    }

    /// Whether a client's field goes on as it is.
    fn passes(&self, name: &HeaderName) -> bool {
        if hop::is_fixed(name) || self.nominated.contains(name) {
            return false;
        }
        let name = name.as_str();
        match (name.len(), name) {
            // Ours says it.
            (4, "host") | (9, "forwarded") | (12, "x-request-id") | (15, "x-forwarded-for") => false,
            (6, "expect") | (20, "x-origin-shim-secret") => false,
            (19, "x-push-invalidation") => self.request.opted_in,
            (13, "if-none-match") | (17, "if-modified-since") => !self.request.unconditional,
            _ => {
                (self.request.trusted || !tells_of_the_peer(name)) && !(name.contains('_') && is_alias(name))
            }
        }
    }
}

/// The target for the origin: without scheme and authority, since a request never chooses its origin.
pub fn target(uri: &Uri) -> &str {
    uri.path_and_query().map_or("/", PathAndQuery::as_str)
}

/// RFC 8586 §2: a list of CDN ids, each perhaps with parameters.
fn has_been_here(key_fields: &KeyFields<'_>) -> bool {
    let mut elements = key_fields.cdn_loop().flat_map(|value| value.as_bytes().split(|b| *b == b','));
    elements.any(|element| {
        let id = element.split(|b| *b == b';').next().unwrap_or_default();
        id.trim_ascii().eq_ignore_ascii_case(TOKEN.as_bytes())
    })
}

/// Headers that only a hop we trust may write: who the client is, and the trace that the request belongs to.
fn tells_of_the_peer(name: &str) -> bool {
    name.starts_with("x-forwarded-")
        || matches!(
            (name.len(), name),
            (7, "baggage")
                | (9, "forwarded" | "x-real-ip")
                | (10, "tracestate")
                | (11, "traceparent" | "x-client-ip")
                | (14, "true-client-ip" | "cf-pseudo-ipv4")
                | (16, "fastly-client-ip" | "cf-connecting-ip")
                | (18, "cf-connecting-ipv6")
                | (19, "x-cluster-client-ip")
                | (25, "cloudfront-viewer-address")
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

fn via(version: Version) -> &'static HeaderValue {
    match version {
        Version::HTTP_2 => &VIA_2,
        Version::HTTP_10 => &VIA_10,
        _ => &VIA_11,
    }
}

/// A list header with one more element, in one line: many origins read only the first line of `X-Forwarded-For`.
fn appended(headers: &Headers, name: &HeaderName, element: &HeaderValue) -> HeaderValue {
    let mut joined = Vec::new();
    for value in headers.get_all(name) {
        joined.extend_from_slice(value.as_bytes());
        joined.extend_from_slice(b", ");
    }
    joined.extend_from_slice(element.as_bytes());
    // Joined from legal values, so legal itself.
    HeaderValue::from_maybe_shared(bytes::Bytes::from(joined)).unwrap_or_else(|_| element.clone())
}

#[cfg(test)]
mod tests;
