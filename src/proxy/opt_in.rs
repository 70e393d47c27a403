//! May this response be rewritten, and for which CDN? Pure: headers and an address in, a verdict out.

use super::edge::Edges;
use super::key_fields::{KeyFields, Single};
use super::peer::Peer;
use super::site::{Site, SiteTrust};
use crate::config::Mode;
use crate::rewrite::{CdnType, Edge, Reason};
use http::{HeaderName, HeaderValue};
use sha2::{Digest, Sha256};
use std::net::IpAddr;
use subtle::ConstantTimeEq;

/// The opt-in header: `enabled` asks for long lifetimes.
pub const OPT_IN: HeaderName = HeaderName::from_static("x-push-invalidation");
/// The header by which a CDN names its type.
pub const CDN_TYPE: HeaderName = HeaderName::from_static("x-byo-cdn-type");
/// The header that carries the shared secret; it never reaches the origin.
pub const SECRET: HeaderName = HeaderName::from_static("x-origin-shim-secret");

/// What is known of a request's wish.
#[derive(Clone, Copy, Debug)]
pub struct OptIn<'a> {
    /// Whether the opt-in header is a believed one, and so goes on to the origin.
    pub believed: bool,
    /// The CDN to rewrite for, or why there is none.
    pub edge: Result<Edge<'a>, Reason>,
}

impl OptIn<'_> {
    /// Whether conditional headers are kept from the origin: Akamai takes no tags from a 304, so a response must
    /// come whole to carry those of today. Mode `observe` changes nothing.
    pub fn withholds_conditions(&self, mode: Mode) -> bool {
        mode == Mode::On && self.edge.is_ok_and(|edge| edge.dialect.cdn == CdnType::Akamai)
    }
}

/// Who asks, as far as trust goes.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// The address.
    pub address: IpAddr,
    /// Whether a client certificate was verified.
    pub certified: bool,
}

impl Caller {
    /// The other end of a connection.
    pub fn of(peer: &Peer) -> Self {
        Self { address: peer.address(), certified: peer.is_certified() }
    }
}

/// Decides for a request with these fields from this caller.
pub fn decide<'a>(site: &'a Site, caller: Caller, request: &KeyFields<'_>) -> OptIn<'a> {
    let off = site.mode == Mode::Off;
    let no = |reason| OptIn { believed: false, edge: Err(if off { Reason::ModeOff } else { reason }) };
    if request.opt_in == Single::Absent {
        return no(Reason::NotOptedIn);
    }
    // A header that is there twice may be read differently by two hops.
    if !request.opt_in.once().is_some_and(|value| says(value, b"enabled")) {
        return no(Reason::OptInMalformed);
    }
    if !trusts(&site.trust, caller, request) {
        return no(Reason::OptInUntrusted);
    }
    let edge = if off {
        Err(Reason::ModeOff)
    } else {
        let edge = identify(&site.edges, request).and_then(|(cdn, disputed)| site.edges.edge(cdn, disputed));
        edge.ok_or(Reason::NoCdn)
    };
    OptIn { believed: true, edge }
}

/// The digest by which secrets are compared.
pub fn digest(secret: &[u8]) -> [u8; 32] {
    Sha256::digest(secret).into()
}

fn trusts(trust: &SiteTrust, caller: Caller, request: &KeyFields<'_>) -> bool {
    match trust {
        SiteTrust::Any => true,
        SiteTrust::Secret(expected) => {
            request.secret.once().is_some_and(|sent| digest(sent.as_bytes()).ct_eq(expected).into())
        }
        SiteTrust::ClientCertificate => caller.certified,
        SiteTrust::Addresses(nets) => nets.iter().any(|net| net.contains(&caller.address)),
    }
}

/// Which CDN asked, and whether its header and its traces contradict each other.
fn identify(edges: &Edges, request: &KeyFields<'_>) -> Option<(CdnType, bool)> {
    match (named(request), sniff(request)) {
        (None, None) => edges.only().map(|cdn| (cdn, false)),
        (Some(named), None) => Some((named, false)),
        (Some(named), Some(seen)) if seen.agrees(named) => Some((named, false)),
        (named, Some(seen)) => {
            let (cdn, certain) = seen.of(edges)?;
            Some((cdn, named.is_some() || !certain))
        }
    }
}

/// The type in `X-BYO-CDN-Type`; an unknown or repeated value counts as none.
fn named(request: &KeyFields<'_>) -> Option<CdnType> {
    let name = request.cdn_type.once()?;
    let known: [(&[u8], CdnType); 5] = [
        (b"fastly", CdnType::Fastly),
        (b"akamai", CdnType::Akamai),
        (b"cloudflare", CdnType::Cloudflare),
        (b"cloudfront", CdnType::Cloudfront),
        (b"varnish", CdnType::Varnish),
    ];
    known.into_iter().find(|(known, _)| says(name, known)).map(|(_, cdn)| cdn)
}

/// Whether a field says this word, in whatever case; the case is hardly ever another one.
fn says(value: &HeaderValue, word: &[u8]) -> bool {
    value.as_bytes() == word || value.as_bytes().eq_ignore_ascii_case(word)
}

/// What the traces of a CDN in a request say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Exactly(CdnType),
    /// `Via: 1.1 varnish` is written by Fastly as well as by Varnish.
    FastlyOrVarnish,
}

impl Seen {
    fn agrees(self, named: CdnType) -> bool {
        match self {
            Self::Exactly(cdn) => cdn == named,
            Self::FastlyOrVarnish => matches!(named, CdnType::Fastly | CdnType::Varnish),
        }
    }

    /// Which of the site's CDNs it must be, and whether that is certain.
    fn of(self, edges: &Edges) -> Option<(CdnType, bool)> {
        match self {
            Self::Exactly(cdn) => Some((cdn, true)),
            Self::FastlyOrVarnish => match (edges.has(CdnType::Fastly), edges.has(CdnType::Varnish)) {
                (true, false) => Some((CdnType::Fastly, true)),
                (false, true) => Some((CdnType::Varnish, true)),
                // Fastly also writes `CDN-Loop`, so this may well be Varnish, which reads other tags: fallback.
                (true, true) => Some((CdnType::Fastly, false)),
                (false, false) => None,
            },
        }
    }
}

/// The order of the original service: a request may carry the traces of several CDNs.
fn sniff(request: &KeyFields<'_>) -> Option<Seen> {
    if !request.has_traces() {
        return None;
    }
    let via = |needle: &str| request.via().any(|value| contains(value, needle));
    let cdn_loop = |needle: &str| request.cdn_loop().any(|value| contains(value, needle));
    if via("akamai") {
        Some(Seen::Exactly(CdnType::Akamai))
    } else if request.cdn_loop().next().is_some_and(starts_with_fastly) {
        Some(Seen::Exactly(CdnType::Fastly))
    } else if via("varnish") {
        Some(Seen::FastlyOrVarnish)
    } else if cdn_loop("cloudflare") || request.cf_worker {
        Some(Seen::Exactly(CdnType::Cloudflare))
    } else if via("cloudfront") {
        Some(Seen::Exactly(CdnType::Cloudfront))
    } else {
        None
    }
}

fn starts_with_fastly(value: &HeaderValue) -> bool {
    value.as_bytes().get(..6).is_some_and(|start| start.eq_ignore_ascii_case(b"fastly"))
}

fn contains(value: &HeaderValue, needle: &str) -> bool {
    value.as_bytes().windows(needle.len()).any(|part| part.eq_ignore_ascii_case(needle.as_bytes()))
}

#[cfg(test)]
mod tests;
