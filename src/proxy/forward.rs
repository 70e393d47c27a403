//! The request head as the origin gets it: the client's fields that may go on, then what this hop has to say. They
//! go from the client's head to the wire as they are; nothing is rebuilt.

use super::error::ProxyError;
use super::hop;
use super::key_fields::KeyFields;
use super::peer::{Peer, RequestId, X_REQUEST_ID};
use crate::head::{FieldLine, Headers, Known, Line, RequestHead};
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
    if let Some(name) = nominated.iter().find(|name| hop::is_protected_in_request(name.as_str())) {
        return Err(ProxyError::Nominated(name.clone()));
    }
    let mut forwarded_for = Cow::Borrowed(request.peer.address_value());
    let mut forwarded = request.peer.forwarded(request.host);
    if request.trusted {
        forwarded_for = Cow::Owned(appended(client, Known::XForwardedFor, &forwarded_for));
        forwarded = appended(client, Known::Forwarded, &forwarded);
    }
    Ok(Fields { client, nominated, request, via: via(head.version), forwarded_for, forwarded })
}

impl Fields<'_> {
    /// The fields for an origin that is to see this `Host`, or that of the request.
    pub fn iter<'f>(&'f self, host: Option<&'f HeaderValue>) -> impl Iterator<Item = Line<'f>> {
        let request = &self.request;
        let host = host.unwrap_or(request.host);
        // A peer that is trusted may have said this already.
        let unless_told = |known, value| {
            let told = request.trusted && self.client.all(known).next().is_some();
            (!told).then_some(value)
        };
        let ours = [
            (Known::Via, &VIA, Some(self.via)),
            (Known::CdnLoop, &CDN_LOOP, Some(&OUR_TOKEN)),
            (Known::XRequestId, &X_REQUEST_ID, Some(request.id.value())),
            (Known::XForwardedFor, &X_FORWARDED_FOR, Some(&*self.forwarded_for)),
            (Known::XForwardedHost, &X_FORWARDED_HOST, unless_told(Known::XForwardedHost, request.host)),
            (
                Known::XForwardedProto,
                &X_FORWARDED_PROTO,
                unless_told(Known::XForwardedProto, request.peer.scheme()),
            ),
            (Known::Forwarded, &FORWARDED, Some(&self.forwarded)),
            (Known::Connection, &CONNECTION, request.upgrade.map(|_| &UPGRADE_OPTION)),
            (Known::Upgrade, &UPGRADE, request.upgrade),
        ];
        let ours = ours.into_iter().filter_map(|(known, name, value)| Some(Line::of(known, name, value?)));
        let clients = self.client.lines().filter(|line| self.passes(line)).map(FieldLine::line);
        std::iter::once(Line::of(Known::Host, &HOST, host)).chain(clients).chain(ours)
    }

    /// Whether a client's field goes on as it is.
    fn passes(&self, line: &FieldLine) -> bool {
        let known = line.known();
        if hop::is_fixed(known) || self.nominated.contains(line.name()) {
            return false;
        }
        match known {
            // Ours says it.
            Known::Host | Known::Forwarded | Known::XRequestId | Known::XForwardedFor => false,
            Known::Expect | Known::XOriginShimSecret => false,
            Known::XPushInvalidation => self.request.opted_in,
            Known::IfNoneMatch | Known::IfModifiedSince => !self.request.unconditional,
            Known::Underscored => !is_alias(line.name().as_str()),
            known => self.request.trusted || !tells_of_the_peer(known),
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
fn tells_of_the_peer(known: Known) -> bool {
    matches!(
        known,
        Known::XForwardedFor
            | Known::XForwardedHost
            | Known::XForwardedProto
            | Known::OtherForwarded
            | Known::Forwarded
            | Known::XRealIp
            | Known::XClientIp
            | Known::XClusterClientIp
            | Known::TrueClientIp
            | Known::FastlyClientIp
            | Known::CfConnectingIp
            | Known::CfConnectingIpv6
            | Known::CfPseudoIpv4
            | Known::CloudfrontViewerAddress
            | Known::Baggage
            | Known::Traceparent
            | Known::Tracestate
    )
}

/// A header that a CGI-like origin could not tell from one that we check: `x_forwarded_for` and
/// `x-forwarded-for` are both `HTTP_X_FORWARDED_FOR` there. No sender that means well writes these.
fn is_alias(name: &str) -> bool {
    let dashed = name.replace('_', "-");
    let known = Known::of(&dashed);
    let is_checked = hop::is_fixed(known) || known == Known::XRequestId;
    is_checked || tells_of_the_peer(known) || hop::is_protected_in_request(&dashed)
}

fn via(version: Version) -> &'static HeaderValue {
    match version {
        Version::HTTP_2 => &VIA_2,
        Version::HTTP_10 => &VIA_10,
        _ => &VIA_11,
    }
}

/// A list header with one more element, in one line: many origins read only the first line of `X-Forwarded-For`.
fn appended(headers: &Headers, known: Known, element: &HeaderValue) -> HeaderValue {
    let mut joined = Vec::new();
    for value in headers.all(known) {
        joined.extend_from_slice(value.as_bytes());
        joined.extend_from_slice(b", ");
    }
    joined.extend_from_slice(element.as_bytes());
    // Joined from legal values, so legal itself.
    HeaderValue::from_maybe_shared(bytes::Bytes::from(joined)).unwrap_or_else(|_| element.clone())
}

#[cfg(test)]
mod tests;
