//! The request head that the origin receives: the client's fields that may be forwarded, then those of this hop.
//! The fields are written to the connection directly from the client's head, without building another one.

use super::error::ProxyError;
use super::fields::KeyFields;
use super::own_name::OwnName;
use super::peer::{Peer, RequestId};
use super::peer_lines::PeerLines;
use super::trailers;
use crate::http::head::{FieldLine, Headers, Known, Line, RequestHead, Value};
use crate::http::hop;
use crate::upstream;
use http::{HeaderName, HeaderValue, Method, Version, header};
use std::rc::Rc;

/// Defines a line that is the same in every request.
macro_rules! fixed {
    ($line:ident: $known:ident, $name:literal, $value:literal) => {
        static $line: Line<'static> = {
            const TEXT: &str = concat!($name, ": ", $value, "\r\n");
            Line::of(Known::$known, $name.len() as u16, TEXT.as_bytes())
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

static MAX_FORWARDS: HeaderName = header::MAX_FORWARDS;
static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The fields of this hop, in the order in which they follow the client's. `Other` is `Max-Forwards`. The last two
/// are needed only for trailers.
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

/// The facts about a request that are not in its head.
#[derive(Clone, Copy, Debug)]
pub struct Forwarding<'a> {
    /// The peer that sent the request.
    pub peer: &'a Peer,
    /// Whether that peer's forwarding fields are trusted.
    pub trusted: bool,
    /// The host that the request is for.
    pub host: Value<'a>,
    /// The request's id.
    pub id: &'a RequestId,
    /// Whether the request's opt-in is trusted and is therefore forwarded.
    pub opted_in: bool,
    /// Whether conditional fields are withheld from the origin because the CDN accepts no tags from a 304.
    pub unconditional: bool,
    /// The protocol that the connection is to be switched to.
    pub upgrade: Option<Value<'a>>,
    /// Whether the client announces that it accepts trailers.
    pub takes_trailers: bool,
    /// The name in `CDN-Loop` by which our own requests are recognised.
    pub own_name: &'a OwnName,
}

/// The fields of a request as the origin receives them, except for the framing.
#[derive(Debug)]
pub struct Fields<'a> {
    client: &'a Headers,
    nominated: Vec<HeaderName>,
    request: Forwarding<'a>,
    version: Version,
    peer: Rc<PeerLines>,
    /// The list that a trusted peer sent, with our element appended.
    forwarded_for: Option<FieldLine>,
    forwarded: Option<FieldLine>,
    /// The protocol that the connection is to be switched to.
    upgrade: Option<FieldLine>,
    /// The trailers that are announced.
    trailer: Option<FieldLine>,
    /// The number of hops that may follow this one, if it is limited.
    max_forwards: Option<FieldLine>,
}

/// Selects the fields of a client's head that are forwarded.
///
/// # Errors
/// Returns an error if the request must not be forwarded.
pub fn fields<'a>(
    head: &'a RequestHead,
    key_fields: &KeyFields<'_>,
    request: Forwarding<'a>,
) -> Result<Fields<'a>, ProxyError> {
    let client = &head.headers;
    if has_been_here(key_fields, request.own_name) {
        return Err(ProxyError::Loop);
    }
    // TRACE is the only other method for which `Max-Forwards` has a meaning, and it is never forwarded.
    let max_forwards = if head.method == Method::OPTIONS { hops_left(client)? } else { None };
    let nominated = hop::nominated(key_fields.connection());
    if let Some(name) = nominated.iter().find(|name| hop::is_protected_in_request(name.as_str())) {
        return Err(ProxyError::Nominated(name.clone()));
    }
    let peer = request.peer.lines(request.host);
    let (mut forwarded_for, mut forwarded) = (None, None);
    if request.trusted {
        forwarded_for = appended(client, &X_FORWARDED_FOR, peer.forwarded_for());
        forwarded = appended(client, &header::FORWARDED, peer.forwarded());
    }
    let trailer = match key_fields.announces_trailers() {
        true => trailers::announced_to_origin(key_fields.trailer(), &nominated),
        false => None,
    };
    let trailer = trailer.map(|names| FieldLine::new(&header::TRAILER, &names));
    let upgrade = request.upgrade.map(|protocol| FieldLine::new(&header::UPGRADE, &protocol.to_owned()));
    Ok(Fields {
        client,
        nominated,
        request,
        version: head.version,
        peer,
        forwarded_for,
        forwarded,
        upgrade,
        trailer,
        max_forwards,
    })
}

impl upstream::Fields for Fields<'_> {
    fn lines<'f>(&'f self, host: Option<&'f FieldLine>) -> impl Iterator<Item = Line<'f>> {
        let host = host.map_or_else(|| self.peer.host(), FieldLine::line);
        let clients = self.client.lines().filter(|line| self.passes(*line));
        let has_trailers = self.request.takes_trailers || self.trailer.is_some();
        let ours = if has_trailers { &OURS[..] } else { &OURS[..OURS.len() - 2] };
        let ours = ours.iter().filter_map(|known| self.ours(*known));
        std::iter::once(host).chain(clients).chain(ours)
    }
}

impl Fields<'_> {
    /// Returns the names that `Connection` nominates. Fields with these names end at this hop, in the head and in
    /// the trailers.
    pub fn nominated(&self) -> &[HeaderName] {
        &self.nominated
    }

    /// Returns this hop's field of this name.
    fn ours(&self, known: Known) -> Option<Line<'_>> {
        let request = &self.request;
        // A trusted peer may have sent this field already.
        let is_told = || request.trusted && self.client.all(known).next().is_some();
        Some(match known {
            Known::Via => via(self.version),
            Known::CdnLoop => request.own_name.line().line(),
            Known::XRequestId => request.id.line(),
            Known::XForwardedFor => match &self.forwarded_for {
                Some(line) => line.line(),
                None => self.peer.forwarded_for(),
            },
            Known::XForwardedHost if !is_told() => self.peer.forwarded_host(),
            Known::XForwardedProto if !is_told() => match request.peer.is_tls() {
                true => PROTO_HTTPS,
                false => PROTO_HTTP,
            },
            Known::Forwarded => match &self.forwarded {
                Some(line) => line.line(),
                None => self.peer.forwarded(),
            },
            Known::Connection => match (request.upgrade, request.takes_trailers) {
                (Some(_), false) => UPGRADE_OPTION,
                (Some(_), true) => UPGRADE_AND_TE,
                (None, true) => TE_OPTION,
                (None, false) => return None,
            },
            // The other members of `TE` are about transfer codings, which concern only this hop. `trailers` is
            // about the message.
            Known::Te if request.takes_trailers => TE_TRAILERS,
            Known::Trailer => self.trailer.as_ref()?.line(),
            Known::Upgrade => self.upgrade.as_ref()?.line(),
            Known::Other => self.max_forwards.as_ref()?.line(),
            _ => return None,
        })
    }

    /// Whether a client's field is forwarded unchanged.
    fn passes(&self, line: Line<'_>) -> bool {
        let known = line.known();
        if hop::is_fixed(known) || hop::is_among(&self.nominated, line) {
            return false;
        }
        match known {
            // This hop sends its own.
            Known::Host | Known::Forwarded | Known::XRequestId | Known::XForwardedFor => false,
            Known::Expect | Known::XOriginShimSecret => false,
            Known::XPushInvalidation => self.request.opted_in,
            Known::IfNoneMatch | Known::IfModifiedSince => !self.request.unconditional,
            Known::Underscored => !is_alias(line.name()),
            Known::Other => self.max_forwards.is_none() || !line.is_named(MAX_FORWARDS.as_str()),
            known => self.request.trusted || !known.tells_of_the_peer(),
        }
    }
}

/// Whether one of the CDN ids in `CDN-Loop` is ours. The field is a list of ids, each with optional parameters
/// (RFC 8586 §2).
fn has_been_here(key_fields: &KeyFields<'_>, own_name: &OwnName) -> bool {
    let mut elements = key_fields.cdn_loop().flat_map(|value| value.as_bytes().split(|b| *b == b','));
    elements.any(|element| {
        let id = element.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
        own_name.is(id)
    })
}

/// Returns `Max-Forwards` with one hop less (RFC 9110 §7.6.2).
///
/// # Errors
/// Returns [`ProxyError::LastHop`] if no hop is left, so that the request is answered here, or another error if
/// the field is malformed.
fn hops_left(client: &Headers) -> Result<Option<FieldLine>, ProxyError> {
    let mut told = client.get_all(&MAX_FORWARDS);
    let Some(hops) = told.next() else { return Ok(None) };
    let hops = hops.to_str().filter(|hops| !hops.is_empty() && hops.bytes().all(|b| b.is_ascii_digit()));
    let (Some(hops), None) = (hops, told.next()) else {
        return Err(ProxyError::BadRequest("malformed Max-Forwards"));
    };
    // A number that is too large for us is capped. A client that allows so many hops does not need the exact
    // number.
    let hops: u64 = hops.parse().unwrap_or(u64::MAX);
    let left = hops.checked_sub(1).ok_or(ProxyError::LastHop)?;
    Ok(Some(FieldLine::new(&MAX_FORWARDS, &left.into())))
}

/// Whether a CGI-like origin could not distinguish this field from one that we check: `x_forwarded_for` and
/// `x-forwarded-for` are both `HTTP_X_FORWARDED_FOR` there. No honest sender uses such names.
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

/// Appends an element to a list field and joins everything in one line, because many origins read only the first
/// line of `X-Forwarded-For`. Returns `None` if there is no list yet.
fn appended(headers: &Headers, name: &HeaderName, element: Line<'_>) -> Option<FieldLine> {
    let mut joined = Vec::new();
    for value in headers.all(element.known()) {
        joined.extend_from_slice(value.as_bytes());
        joined.extend_from_slice(b", ");
    }
    if joined.is_empty() {
        return None;
    }
    joined.extend_from_slice(element.value().as_bytes());
    // The value is joined from legal values and is therefore legal.
    HeaderValue::from_maybe_shared(bytes::Bytes::from(joined)).ok().map(|value| FieldLine::new(name, &value))
}

#[cfg(test)]
mod tests;
