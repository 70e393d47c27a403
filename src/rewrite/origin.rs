//! What the origin said about caching, read once from the headers of its response.

use super::cache_control::{CacheControl, delta_seconds};
use super::dialect::Syntax;
use super::fields::{Field, Fields};
use super::outcome::Reason;
use super::table;
use http::HeaderValue;
use std::time::SystemTime;

/// What the origin said.
#[derive(Debug)]
pub(super) struct Origin {
    /// Its `Cache-Control`, and `Pragma: no-cache` where it has none.
    pub(super) cache_control: CacheControl,
    /// The targeted field that decides, if one does.
    pub(super) targeted: Option<Targeted>,
    /// `Expires` minus `Date` in seconds, where `Expires` is given and `Cache-Control` has no `max-age`.
    pub(super) expires: Option<u32>,
    /// Seconds that the response has already spent in a cache; none where it comes from no cache.
    pub(super) age: Option<u32>,
}

/// A targeted field that decides.
#[derive(Clone, Copy, Debug)]
pub(super) struct Targeted {
    /// Which it is.
    pub(super) field: Field,
    /// Its directives.
    pub(super) directives: CacheControl,
}

impl Origin {
    pub(super) fn read(fields: &Fields<'_, '_>) -> Self {
        let mut cache_control = CacheControl::default();
        if fields.has(Field::CacheControl) {
            cache_control = CacheControl::parse(fields.lines(Field::CacheControl));
        } else if fields.has(Field::Pragma) {
            // An HTTP/1.0 origin's way to say it (RFC 9111 §5.4); in doubt the shorter lifetime.
            cache_control.no_cache = CacheControl::parse(fields.lines(Field::Pragma)).no_cache;
        }
        let expires = if cache_control.max_age.is_none() { expires_after(fields) } else { None };
        let age = fields.first(Field::Age);
        Self { cache_control, targeted: targeted(fields), expires, age: age.map(age_seconds) }
    }

    /// How long the origin lets a browser reuse the response from now on, in seconds, if it says so.
    pub(super) fn browser_lifetime(&self) -> Option<u32> {
        if self.cache_control.no_cache {
            return Some(0);
        }
        self.cache_control
            .max_age
            .or(self.expires)
            .map(|seconds| seconds.saturating_sub(self.age.unwrap_or(0)))
    }

    /// How long the origin lets the CDN reuse the response from now on, in seconds, if it says so.
    pub(super) fn edge_lifetime(&self) -> Option<u32> {
        self.edge_lifetime_given().map(|seconds| seconds.saturating_sub(self.age.unwrap_or(0)))
    }

    /// Whether the origin gives an explicit lifetime that is not over at once.
    pub(super) fn has_positive_lifetime(&self) -> bool {
        self.edge_lifetime_given().is_some_and(|seconds| seconds > 0)
            || self.cache_control.max_age.or(self.expires).is_some_and(|seconds| seconds > 0)
    }

    /// Whether the answer to a request with `Authorization` is meant for others too (RFC 9111 §3.5).
    pub(super) fn allows_authorization(&self) -> bool {
        let shared = |said: &CacheControl| said.public || said.s_maxage.is_some_and(|seconds| seconds > 0);
        shared(&self.cache_control) || self.targeted.is_some_and(|targeted| shared(&targeted.directives))
    }

    /// The CDN's lifetime as given: RFC 9213 §2.2 and RFC 9111 §4.2.1.
    fn edge_lifetime_given(&self) -> Option<u32> {
        match &self.targeted {
            Some(targeted) => targeted.directives.shared_lifetime(),
            None => self.cache_control.shared_lifetime().or(self.expires),
        }
    }

    /// Why the origin's own words forbid to store the response for longer, if they do.
    pub(super) fn forbids(&self) -> Option<Reason> {
        let browser = &self.cache_control;
        // These say what the response is, for every cache on the way, whatever a targeted field grants.
        if browser.private {
            return Some(Reason::Private);
        }
        if browser.no_store {
            return Some(Reason::NoStore);
        }
        // RFC 9213 §2.2: for the CDN a targeted field stands instead of Cache-Control and Expires.
        let edge = self.targeted.as_ref().map_or(browser, |targeted| &targeted.directives);
        let expires = if self.targeted.is_some() { None } else { self.expires };
        if edge.private {
            Some(Reason::Private)
        } else if edge.no_store {
            Some(Reason::NoStore)
        } else if edge.no_cache {
            Some(Reason::NoCache)
        } else if [edge.max_age, edge.s_maxage, expires].contains(&Some(0)) {
            Some(Reason::ZeroLifetime)
        } else {
            None
        }
    }
}

/// What a line of `Age` says.
pub(super) fn age_seconds(age: &HeaderValue) -> u32 {
    delta_seconds(age.as_bytes().trim_ascii())
}

/// The targeted field that decides: the CDN's own, else the first in order that gives a lifetime or forbids one.
fn targeted(fields: &Fields<'_, '_>) -> Option<Targeted> {
    let own = Some(fields.own_ttl).filter(|own| *own != Field::CacheControl && fields.has(*own));
    own.into_iter().chain(fields.among(&Field::TARGETED)).find_map(|field| {
        let directives = CacheControl::read(fields.lines(field), Syntax::of(field));
        let decides = directives.shared_lifetime().is_some()
            || directives.private
            || directives.no_store
            || directives.no_cache;
        decides.then_some(Targeted { field, directives })
    })
}

/// `Expires` minus `Date` (RFC 9111 §4.2.1); what is no date is over. Without `Date` nothing can be granted.
fn expires_after(fields: &Fields<'_, '_>) -> Option<u32> {
    let sent = fields.first(Field::Date).and_then(date);
    fields
        .lines(Field::Expires)
        .map(|expires| {
            let after = date(expires)?.duration_since(sent?).ok()?;
            Some(table::seconds(after))
        })
        .map(|seconds| seconds.unwrap_or(0))
        .min()
}

fn date(value: &HeaderValue) -> Option<SystemTime> {
    httpdate::parse_http_date(value.to_str().ok()?).ok()
}
