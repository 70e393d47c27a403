//! Decides whether a response may be rewritten, and for which CDN. The code is pure: it takes header fields and an
//! address, and returns a decision.

use super::edge::Edges;
use super::fields::{KeyFields, Single};
use super::peer::Peer;
use super::routing::{Site, SiteTrust};
use crate::base::digest;
use crate::config::Mode;
use crate::http::head::Value;
use crate::rewrite::facts::Trace;
use crate::rewrite::{CdnType, Conditional, Edge, Reason};
use http::{HeaderName, Method};
use std::net::IpAddr;
use subtle::ConstantTimeEq;

/// The opt-in field. `enabled` requests long lifetimes.
pub const OPT_IN: HeaderName = HeaderName::from_static("x-push-invalidation");
/// The field in which a CDN names its type.
pub const CDN_TYPE: HeaderName = HeaderName::from_static("x-byo-cdn-type");
/// The field that carries the shared secret. It is never forwarded to the origin.
pub const SECRET: HeaderName = HeaderName::from_static("x-origin-shim-secret");

/// The result of checking a request's opt-in.
#[derive(Clone, Copy, Debug)]
pub struct OptIn<'a> {
    /// Whether the opt-in is trusted and is therefore forwarded to the origin.
    pub believed: bool,
    /// The CDN for which the response is rewritten, or the reason why there is none.
    pub edge: Result<Edge<'a>, Reason>,
}

impl OptIn<'_> {
    /// Whether conditional fields are withheld from the origin, so that it answers with the whole page. A cache
    /// updates its stored response from a 304 (RFC 9111 §3.2), which rarely repeats tags and lifetimes. Some CDNs
    /// accept no tags from a 304 at all. Mode `observe` changes nothing.
    pub fn withholds_conditions(&self, site: &Site, method: &Method) -> bool {
        let strips = |edge: Edge<'_>| {
            site.policy.conditional == Conditional::Strip
                || edge.dialects.iter().any(|dialect| !dialect.cdn.facts().tags.in_304)
        };
        site.mode == Mode::On && matches!(*method, Method::GET | Method::HEAD) && self.edge.is_ok_and(strips)
    }
}

/// The sender of a request, as far as it matters for trust.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// The address.
    pub address: IpAddr,
    /// Whether a client certificate was verified.
    pub certified: bool,
}

impl Caller {
    /// Returns the caller at the other end of a connection.
    pub fn of(peer: &Peer) -> Self {
        Self { address: peer.address(), certified: peer.is_certified() }
    }
}

/// Decides about a request with these fields from this caller.
pub fn decide<'a>(site: &'a Site, caller: Caller, request: &KeyFields<'_>) -> OptIn<'a> {
    let off = site.mode == Mode::Off;
    let no = |reason| OptIn { believed: false, edge: Err(if off { Reason::ModeOff } else { reason }) };
    if request.opt_in == Single::Absent {
        return no(Reason::NotOptedIn);
    }
    // Two hops may interpret a repeated field differently.
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

/// Returns the CDN that sent the request, or `None` if the site has no CDN. The type that a trusted peer names is
/// decisive, whatever traces the request carries, because visitors can forge traces. Without a name, the traces
/// decide if they agree. A response to a trusted opt-in always has tags: if it is unknown which CDN sent the
/// request, the response is made for all of the site's CDNs.
fn identify<'a>(edges: &'a Edges, request: &KeyFields<'_>) -> Option<Edge<'a>> {
    if let Some(named) = named(request) {
        // For a type that the site lacks, a long lifetime would be unsafe, because the shim does not purge that
        // CDN.
        return edges.edge(named).or_else(|| edges.any());
    }
    match Traces::of(edges, request) {
        Traces::Of(cdn) => edges.edge(cdn),
        Traces::Contradictory => edges.any(),
        Traces::None => edges.only().and_then(|cdn| edges.edge(cdn)).or_else(|| edges.any()),
    }
}

/// Returns the type in `X-BYO-CDN-Type`. An unknown or repeated value is ignored.
fn named(request: &KeyFields<'_>) -> Option<CdnType> {
    let name = request.cdn_type.once()?;
    CdnType::named(name.as_bytes())
}

/// Whether a field has this value in any case. An exact match is tried first because other cases are rare.
fn says(value: Value<'_>, word: &[u8]) -> bool {
    value.as_bytes() == word || value.as_bytes().eq_ignore_ascii_case(word)
}

/// The traces of the site's CDNs in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Traces {
    None,
    Of(CdnType),
    /// The request has traces of several CDNs. Every CDN adds its own, so all others may come from a visitor.
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

fn begins(value: Value<'_>, word: &str) -> bool {
    value.as_bytes().get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word.as_bytes()))
}

fn contains(value: Value<'_>, needle: &str) -> bool {
    value.as_bytes().windows(needle.len()).any(|part| part.eq_ignore_ascii_case(needle.as_bytes()))
}

#[cfg(test)]
mod tests;
