//! May this response be rewritten, and for which CDN? Pure: headers and an address in, a verdict out.

use super::edge::Edges;
use super::fields::{KeyFields, Single};
use super::peer::Peer;
use super::routing::{Site, SiteTrust};
use crate::base::digest;
use crate::config::Mode;
use crate::rewrite::facts::Trace;
use crate::rewrite::{CdnType, Conditional, Edge, Reason};
use http::{HeaderName, HeaderValue, Method};
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
    /// Whether conditional headers are kept from the origin, so that it answers with the whole page: a cache
    /// overwrites what it stored by what a 304 says (RFC 9111 §3.2), and that rarely repeats tags and lifetimes. Some
    /// CDNs take no tags from a 304 at all. Mode `observe` changes nothing.
    pub fn withholds_conditions(&self, site: &Site, method: &Method) -> bool {
        let strips = |edge: Edge<'_>| {
            site.policy.conditional == Conditional::Strip
                || edge.dialects.iter().any(|dialect| !dialect.cdn.facts().tags.in_304)
        };
        site.mode == Mode::On && matches!(*method, Method::GET | Method::HEAD) && self.edge.is_ok_and(strips)
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
    let edge = if off { Err(Reason::ModeOff) } else { identify(&site.edges, request).ok_or(Reason::NoCdn) };
    OptIn { believed: true, edge }
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

/// Which CDN asked. What a trusted peer names decides, whatever traces the request carries, since visitors can forge
/// those. Without a name the traces tell, where they agree. A believed opt-in is never answered without tags: where it
/// cannot be told who asked, the response is for each of the site's CDNs. None where the site has no CDN.
fn identify<'a>(edges: &'a Edges, request: &KeyFields<'_>) -> Option<Edge<'a>> {
    if let Some(named) = named(request) {
        // One that the site lacks would keep for long what nobody purges there.
        return edges.edge(named).or_else(|| edges.any());
    }
    match Traces::of(edges, request) {
        Traces::Of(cdn) => edges.edge(cdn),
        Traces::Contradictory => edges.any(),
        Traces::None => edges.only().and_then(|cdn| edges.edge(cdn)).or_else(|| edges.any()),
    }
}

/// The type in `X-BYO-CDN-Type`; an unknown or repeated value counts as none.
fn named(request: &KeyFields<'_>) -> Option<CdnType> {
    let name = request.cdn_type.once()?;
    CdnType::named(name.as_bytes())
}

/// Whether a field says this word, in whatever case; the case is hardly ever another one.
fn says(value: &HeaderValue, word: &[u8]) -> bool {
    value.as_bytes() == word || value.as_bytes().eq_ignore_ascii_case(word)
}

/// What the traces of the site's CDNs in a request say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Traces {
    None,
    Of(CdnType),
    /// Those of several: every CDN leaves its own, so all others may be a visitor's.
    Contradictory,
}

impl Traces {
    fn of(edges: &Edges, request: &KeyFields<'_>) -> Self {
        if !request.has_traces() {
            return Self::None;
        }
        let leaves = |trace: &Trace| match trace {
            Trace::Via(word) => request.via().any(|value| contains(value, word)),
            Trace::CdnLoop(word) => request.cdn_loop().any(|value| contains(value, word)),
            Trace::CdnLoopStart(word) => request.cdn_loop().next().is_some_and(|value| begins(value, word)),
            Trace::CfWorker => request.cf_worker,
        };
        let was_there = |cdn: &CdnType| {
            let traces = &cdn.facts().traces;
            traces.any.iter().any(leaves) && !traces.unless.iter().any(leaves)
        };
        let mut seen = edges.types().filter(was_there);
        match (seen.next(), seen.next()) {
            (None, _) => Self::None,
            (Some(cdn), None) => Self::Of(cdn),
            (Some(_), Some(_)) => Self::Contradictory,
        }
    }
}

fn begins(value: &HeaderValue, word: &str) -> bool {
    value.as_bytes().get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word.as_bytes()))
}

fn contains(value: &HeaderValue, needle: &str) -> bool {
    value.as_bytes().windows(needle.len()).any(|part| part.eq_ignore_ascii_case(needle.as_bytes()))
}

#[cfg(test)]
mod tests;
