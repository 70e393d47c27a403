//! The decision: which row of the TTL table a response gets, and why.

use super::{Dialect, Policy};
use http::{HeaderMap, Method, StatusCode};

/// What rewriting needs to know of the request.
#[derive(Clone, Copy, Debug)]
pub struct RequestFacts<'a> {
    /// The request method.
    pub method: &'a Method,
    /// The path as received, without the query.
    pub path: &'a str,
    /// Whether the request carried `Authorization`.
    pub authorization: bool,
    /// Whether the request carried `Cookie`.
    pub cookie: bool,
}

/// The edge that asked: its dialect, and whether a long TTL could be taken back from it.
#[derive(Clone, Copy, Debug)]
pub struct Edge<'a> {
    /// Its headers.
    pub dialect: &'a Dialect,
    /// Why its responses get fallback although they fit: unhealthy purging, or a CDN type in dispute.
    pub fallback: Option<Reason>,
}

/// What was done to a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// The TTL table's lifetimes were set (or the origin's own targeted lifetime translated).
    Lengthened,
    /// Caching headers stay as the origin sent them.
    Untouched,
    /// The short lifetime, since a long one could not be taken back.
    Fallback,
    /// Produced before a purge that covers it.
    Guarded,
}

/// Why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// A row of the TTL table applies.
    TtlTable,
    /// The request carried no opt-in.
    NotOptedIn,
    /// The opt-in is there more than once, or is not `enabled`.
    OptInMalformed,
    /// The opt-in came from a peer that is not trusted.
    OptInUntrusted,
    /// No CDN of the site asked.
    NoCdn,
    /// The site's mode is `off`.
    ModeOff,
    /// The site's mode is `observe`.
    ModeObserve,
    /// Purges to the CDN are not known to get through.
    PurgingUnhealthy,
    /// The request names one CDN and looks like another.
    CdnInDispute,
    /// The shim itself answered with an error.
    ShimError,
}

impl Outcome {
    /// Every outcome, in the order of its declaration.
    pub const ALL: &'static [Self] = &[Self::Lengthened, Self::Untouched, Self::Fallback, Self::Guarded];

    /// Its name in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lengthened => "lengthened",
            Self::Untouched => "untouched",
            Self::Fallback => "fallback",
            Self::Guarded => "guarded",
        }
    }
}

impl Reason {
    /// Every reason, in the order of its declaration.
    pub const ALL: &'static [Self] = &[
        Self::TtlTable,
        Self::NotOptedIn,
        Self::OptInMalformed,
        Self::OptInUntrusted,
        Self::NoCdn,
        Self::ModeOff,
        Self::ModeObserve,
        Self::PurgingUnhealthy,
        Self::CdnInDispute,
        Self::ShimError,
    ];

    /// Its name in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TtlTable => "ttl-table",
            Self::NotOptedIn => "not-opted-in",
            Self::OptInMalformed => "opt-in-malformed",
            Self::OptInUntrusted => "opt-in-untrusted",
            Self::NoCdn => "no-cdn",
            Self::ModeOff => "mode-off",
            Self::ModeObserve => "mode-observe",
            Self::PurgingUnhealthy => "purging-unhealthy",
            Self::CdnInDispute => "cdn-in-dispute",
            Self::ShimError => "shim-error",
        }
    }
}

/// What was decided for one response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Decision {
    /// What was done.
    pub outcome: Outcome,
    /// Why.
    pub reason: Reason,
}

/// Rewrites `headers` of an opted-in response in place.
pub fn rewrite(
    _policy: &Policy,
    _request: RequestFacts<'_>,
    _edge: Edge<'_>,
    _status: StatusCode,
    _headers: &mut HeaderMap,
) -> Decision {
    Decision { outcome: Outcome::Untouched, reason: Reason::TtlTable }
}
