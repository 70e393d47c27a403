//! The request head as the origin gets it: the client's fields that may go on, then what this hop has to say. They
//! go from the client's head to the wire as they are; nothing is rebuilt.

use super::error::ProxyError;
use super::fields::KeyFields;
use super::own_name::OwnName;
use super::peer::{Peer, RequestId};
use super::peer_lines::PeerLines;
use super::trailers;
use crate::http::head::{FieldLine, Headers, Known, Line, RequestHead};
use crate::http::hop;
use crate::upstream;
use http::{HeaderName, HeaderValue, Method, Version, header};
use std::rc::Rc;

/// A line that is the same in every request.
macro_rules! fixed {
    ($line:ident: $known:ident, $name:literal, $value:literal) => {
        static $line: Line<'static> = {
            static NAME: HeaderName = HeaderName::from_static($name);
            static VALUE: HeaderValue = HeaderValue::from_static($value);
            Line::fixed(Known::$known, &NAME, &VALUE, concat!($name, ": ", $value, "\r\n").as_bytes())
        };
    };
}

fixed!(VIA_10: Via, "via", "1.0 origin-shim");
fixed!(VIA_11: Via, "via", "1.1 origin-shim");
fixed!(VIA_2: Via, "via", "2.0 origin-shim");
fixed!(PROTO_HTTP: XForwardedProto, "x-forwarded-proto", "http");
fixed!(PROTO_HTTPS: XForwardedProto, "x-forwarded-proto", "https");
fixed!(UPGRADE_OPTION: Connection, "connection", "upgrade");
fixed!(TE_OPTION: Connection, "connection", "te");
fixed!(UPGRADE_AND_TE: Connection, "connection", "upgrade, te");
fixed!(TE_TRAILERS: Te, "te", "trailers");

static UPGRADE: HeaderName = header::UPGRADE;
static TRAILER: HeaderName = header::TRAILER;
static MAX_FORWARDS: HeaderName = header::MAX_FORWARDS;
static FORWARDED: HeaderName = header::FORWARDED;
static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// What this hop has to say, in its order; `Other` is `Max-Forwards`, and of trailers it speaks last. It follows what the client
/// says.
static OURS: [Known; 12] = [
    Known::Via,
    Known::CdnLoop,
    Known::XRequestId,
    Known::XForwardedFor,
    Known::XForwardedHost,
    Known::XForwardedProto,
    Known::Forwarded,
    Known::Connection,
    Known::Upgrade,
    Known::Other,
    Known::Te,
    Known::Trailer,
];

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
    /// Whether the client says that it takes trailers.
    pub takes_trailers: bool,
    /// By which name we know our own requests again.
    pub own_name: &'a OwnName,
}

/// The fields of a request as the origin gets them, all but the framing.
#[derive(Debug)]
pub struct Fields<'a> {
    client: &'a Headers,
    nominated: Vec<HeaderName>,
    request: Forwarding<'a>,
    version: Version,
    peer: Rc<PeerLines>,
    /// What a trusted peer said already, and ours.
    forwarded_for: Option<HeaderValue>,
    forwarded: Option<HeaderValue>,
    /// Which trailers will come.
    trailer: Option<HeaderValue>,
    /// How far the request may go behind us, where that is limited.
    max_forwards: Option<HeaderValue>,
}

/// What of a client's head goes on, or why nothing may.
pub fn fields<'a>(
    head: &'a RequestHead,
    key_fields: &KeyFields<'_>,
    request: Forwarding<'a>,
) -> Result<Fields<'a>, ProxyError> {
    let client = &head.headers;
    if has_been_here(key_fields, request.own_name) {
        return Err(ProxyError::Loop);
    }
    // TRACE, the other method for which it means something, is not passed on at all.
    let max_forwards = if head.method == Method::OPTIONS { hops_left(client)? } else { None };
    let nominated = hop::nominated(key_fields.connection());
    if let Some(name) = nominated.iter().find(|name| hop::is_protected_in_request(name.as_str())) {
        return Err(ProxyError::Nominated(name.clone()));
    }
    let peer = request.peer.lines(request.host);
    let (mut forwarded_for, mut forwarded) = (None, None);
    if request.trusted {
        forwarded_for = appended(client, peer.forwarded_for());
        forwarded = appended(client, peer.forwarded());
    }
    let trailer = match key_fields.announces_trailers() {
        true => trailers::announced_to_origin(key_fields.trailer(), &nominated),
        false => None,
    };
    Ok(Fields {
        client,
        nominated,
        request,
        version: head.version,
        peer,
        forwarded_for,
        forwarded,
        trailer,
        max_forwards,
    })
}

impl upstream::Fields for Fields<'_> {
    fn lines<'f>(&'f self, host: Option<&'f FieldLine>) -> impl Iterator<Item = Line<'f>> {
        let host = host.map_or_else(|| self.peer.host(), FieldLine::line);
        let clients = self.client.lines().filter(|line| self.passes(line)).map(FieldLine::line);
        let has_trailers = self.request.takes_trailers || self.trailer.is_some();
        let ours = if has_trailers { &OURS[..] } else { &OURS[..OURS.len() - 2] };
        let ours = ours.iter().filter_map(|known| self.ours(*known));
        std::iter::once(host).chain(clients).chain(ours)
    }
}

impl Fields<'_> {
    /// What `Connection` nominates, which ends here wherever in the message it is.
    pub fn nominated(&self) -> &[HeaderName] {
        &self.nominated
    }

    /// What this hop has to say under this name.
    fn ours(&self, known: Known) -> Option<Line<'_>> {
        let request = &self.request;
        // A peer that is trusted may have said this already.
        let is_told = || request.trusted && self.client.all(known).next().is_some();
        Some(match known {
            Known::Via => via(self.version),
            Known::CdnLoop => request.own_name.line().line(),
            Known::XRequestId => request.id.line(),
            Known::XForwardedFor => match &self.forwarded_for {
                Some(value) => Line::of(known, &X_FORWARDED_FOR, value),
                None => self.peer.forwarded_for(),
            },
            Known::XForwardedHost if !is_told() => self.peer.forwarded_host(),
            Known::XForwardedProto if !is_told() => match request.peer.is_tls() {
                true => PROTO_HTTPS,
                false => PROTO_HTTP,
            },
            Known::Forwarded => match &self.forwarded {
                Some(value) => Line::of(known, &FORWARDED, value),
                None => self.peer.forwarded(),
            },
            Known::Connection => match (request.upgrade, request.takes_trailers) {
                (Some(_), false) => UPGRADE_OPTION,
                (Some(_), true) => UPGRADE_AND_TE,
                (None, true) => TE_OPTION,
                (None, false) => return None,
            },
            // Of what TE may say only this is about the message and not about its codings, which are this hop's.
            Known::Te if request.takes_trailers => TE_TRAILERS,
            Known::Trailer => Line::of(known, &TRAILER, self.trailer.as_ref()?),
            Known::Upgrade => Line::of(known, &UPGRADE, request.upgrade?),
            Known::Other => Line::of(known, &MAX_FORWARDS, self.max_forwards.as_ref()?),
            _ => return None,
        })
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
            Known::Other => self.max_forwards.is_none() || *line.name() != MAX_FORWARDS,
            known => self.request.trusted || !known.tells_of_the_peer(),
        }
    }
}

/// RFC 8586 §2: a list of CDN ids, each perhaps with parameters.
fn has_been_here(key_fields: &KeyFields<'_>, own_name: &OwnName) -> bool {
    let mut elements = key_fields.cdn_loop().flat_map(|value| value.as_bytes().split(|b| *b == b','));
    elements.any(|element| {
        let id = element.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
        own_name.is(id)
    })
}

/// RFC 9110 §7.6.2: one hop fewer than the request has left. With none left it is answered here.
fn hops_left(client: &Headers) -> Result<Option<HeaderValue>, ProxyError> {
    let mut told = client.get_all(&MAX_FORWARDS);
    let Some(hops) = told.next() else { return Ok(None) };
    let hops = hops.to_str().ok().filter(|hops| !hops.is_empty() && hops.bytes().all(|b| b.is_ascii_digit()));
    let (Some(hops), None) = (hops, told.next()) else {
        return Err(ProxyError::BadRequest("malformed Max-Forwards"));
    };
    // As far as we can count: who asks for more hops than that does not mind.
    let hops: u64 = hops.parse().unwrap_or(u64::MAX);
    hops.checked_sub(1).map(|left| Some(left.into())).ok_or(ProxyError::LastHop)
}

/// A header that a CGI-like origin could not tell from one that we check: `x_forwarded_for` and
/// `x-forwarded-for` are both `HTTP_X_FORWARDED_FOR` there. No sender that means well writes these.
fn is_alias(name: &str) -> bool {
    let dashed = name.replace('_', "-");
    let known = Known::of(&dashed);
    let is_checked = hop::is_fixed(known) || known == Known::XRequestId;
    is_checked || known.tells_of_the_peer() || hop::is_protected_in_request(&dashed)
}

fn via(version: Version) -> Line<'static> {
    match version {
        Version::HTTP_2 => VIA_2,
        Version::HTTP_10 => VIA_10,
        _ => VIA_11,
    }
}

/// A list header with one more element, in one line: many origins read only the first line of `X-Forwarded-For`. `None`
/// where there is no list yet.
fn appended(headers: &Headers, element: Line<'_>) -> Option<HeaderValue> {
    let mut joined = Vec::new();
    for value in headers.all(element.known) {
        joined.extend_from_slice(value.as_bytes());
        joined.extend_from_slice(b", ");
    }
    if joined.is_empty() {
        return None;
    }
    joined.extend_from_slice(element.value_bytes());
    // Joined from legal values, so legal itself.
    HeaderValue::from_maybe_shared(bytes::Bytes::from(joined)).ok()
}

#[cfg(test)]
mod tests;
