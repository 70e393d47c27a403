//! The caching fields of the origin's response, read one time from its headers.

use super::Dialect;
use super::cache_control::{CacheControl, delta_seconds, seconds};
use super::field::Field;
use super::field::Syntax;
use super::fields::Fields;
use super::outcome::Reason;
use crate::http::head::Value;
use sfv::Parser;
use sfv::visitor::Ignored;
use std::time::SystemTime;

/// The caching instructions of the origin.
#[derive(Debug)]
pub(super) struct Origin {
    /// `Cache-Control`, or `Pragma: no-cache` if there is no `Cache-Control`.
    pub(super) cache_control: CacheControl,
    /// The targeted field that takes effect, if there is one.
    pub(super) targeted: Option<Targeted>,
    /// `Expires` minus `Date` in seconds, if `Expires` is given and `Cache-Control` has no `max-age`.
    pub(super) expires: Option<u32>,
    /// The seconds that the response has already spent in a cache; `None` if it does not come from a cache.
    pub(super) age: Option<u32>,
    /// Whether `Expires`, if it takes effect, is a date that all caches read alike.
    is_dated: bool,
    /// Whether there is no `Cache-Control`, so that a `no-cache` comes from `Pragma` alone, which caches need not
    /// read in responses (RFC 9111 §5.4).
    by_pragma: bool,
    /// Whether another cache may find nothing in `Cache-Control` that forbids sharing the response.
    in_doubt: bool,
}

/// A targeted field that takes effect.
#[derive(Clone, Copy, Debug)]
pub(super) struct Targeted {
    /// The field.
    pub(super) field: Field,
    /// The directives of the field.
    pub(super) directives: CacheControl,
    /// Whether another cache may find nothing in the field that forbids sharing the response.
    in_doubt: bool,
    /// Whether the site's configuration names the field as the one that the CDN reads.
    is_own: bool,
}

impl Origin {
    pub(super) fn read(fields: &Fields<'_, '_>) -> Self {
        let mut cache_control = CacheControl::default();
        let by_pragma = !fields.has(Field::CacheControl);
        if !by_pragma {
            cache_control = CacheControl::parse(fields.lines(Field::CacheControl));
        } else if fields.has(Field::Pragma) {
            // HTTP/1.0 origins use `Pragma` for this (RFC 9111 §5.4). In doubt, the shorter lifetime applies.
            cache_control.no_cache = CacheControl::parse(fields.lines(Field::Pragma)).no_cache;
        }
        let (mut expires, mut is_dated) = (None, true);
        if cache_control.max_age.is_none() && fields.has(Field::Expires) {
            (expires, is_dated) = (expires_after(fields), is_dated_clearly(fields));
        }
        let age = fields.first(Field::Age).map(age_seconds);
        let in_doubt =
            !by_pragma && cache_control.forbids_sharing() && is_in_doubt(fields, Field::CacheControl);
        Self { cache_control, targeted: targeted(fields), expires, age, is_dated, by_pragma, in_doubt }
    }

    /// How long the origin lets a browser reuse the response from now on, in seconds, if it gives a lifetime.
    pub(super) fn browser_lifetime(&self) -> Option<u32> {
        if self.cache_control.no_cache {
            return Some(0);
        }
        self.cache_control
            .max_age
            .or(self.expires)
            .map(|seconds| seconds.saturating_sub(self.age.unwrap_or(0)))
    }

    /// How long the origin lets the CDN reuse the response from now on, in seconds, if it gives a lifetime.
    pub(super) fn edge_lifetime(&self) -> Option<u32> {
        self.edge_lifetime_given().map(|seconds| seconds.saturating_sub(self.age.unwrap_or(0)))
    }

    /// Whether the origin gives an explicit lifetime greater than zero.
    pub(super) fn has_positive_lifetime(&self) -> bool {
        self.edge_lifetime_given().is_some_and(|seconds| seconds > 0)
    }

    /// Whether the response to a request with `Authorization` may be shared (RFC 9111 §3.5).
    pub(super) fn allows_authorization(&self) -> bool {
        let shared = |said: &CacheControl| said.public || said.s_maxage.is_some_and(|seconds| seconds > 0);
        shared(&self.cache_control) || self.targeted.is_some_and(|targeted| shared(&targeted.directives))
    }

    /// The lifetime, as given, for shared caches that read no targeted field.
    pub(super) fn lifetime_for_all(&self) -> Option<u32> {
        self.cache_control.shared_lifetime().or(self.expires)
    }

    /// The CDN's lifetime, as given (RFC 9213 §2.2 and RFC 9111 §4.2.1).
    fn edge_lifetime_given(&self) -> Option<u32> {
        match &self.targeted {
            Some(targeted) => targeted.directives.shared_lifetime(),
            None => self.lifetime_for_all(),
        }
    }

    /// Whether a field that this CDN reads lets it keep the response in spite of `Cache-Control`. If only
    /// `private` forbids the CDN to keep responses, `private` takes precedence over the field.
    pub(super) fn grants_to(&self, dialect: &Dialect) -> bool {
        let obeys_private = dialect.cdn.facts().storing.only_private_forbids;
        self.targeted.is_some_and(|targeted| {
            targeted.is_read_by(dialect)
                // This includes a lifetime of zero.
                && targeted.directives.forbids().is_none()
                && targeted.directives.shared_lifetime().is_some()
        }) && !(self.cache_control.private && obeys_private)
    }

    /// Whether the origin forbids shared caches to keep the response. A zero lifetime for browsers alone does not
    /// forbid it.
    pub(super) fn forbids_sharing(&self) -> bool {
        let said = &self.cache_control;
        said.private
            || said.no_store
            || match &self.targeted {
                Some(targeted) => targeted.directives.forbids().is_some(),
                None => said.forbids_sharing() || self.lifetime_for_all() == Some(0),
            }
    }

    /// Whether `Cache-Control` or `Expires` forbids every cache to keep the response.
    pub(super) fn tells_all_to_forget(&self) -> bool {
        let forbids = !self.by_pragma && self.cache_control.forbids_sharing();
        !self.in_doubt && (forbids || self.is_dated && self.lifetime_for_all() == Some(0))
    }

    /// Whether `no-cache` comes from `Pragma` alone. No cache reads `Pragma` if there is a `Cache-Control`.
    pub(super) fn says_no_cache_by_pragma(&self) -> bool {
        self.by_pragma && self.cache_control.no_cache
    }

    /// How certain it is that this CDN obeys the prohibition to keep the response.
    pub(super) fn is_obeyed_by(&self, dialect: &Dialect, fields: &Fields<'_, '_>) -> Obeyed {
        if let Some(targeted) = &self.targeted
            && targeted.directives.forbids().is_some()
        {
            return if targeted.is_obeyed_by(dialect) { Obeyed::Yes } else { Obeyed::No };
        }
        let (said, facts) = (&self.cache_control, &dialect.cdn.facts().storing);
        match facts.hides_cache_control {
            // No CDN documents that it reads `Pragma` in responses.
            _ if self.says_no_cache_by_pragma() => Obeyed::No,
            _ if self.in_doubt => Obeyed::No,
            // An invalid date is in the past (RFC 9111 §5.3). But Varnish, and Fastly, which descends from it,
            // treat `0` as if nothing was given, and read a date that lacks a comma as that date (`RFC2616_Ttl` in
            // `cache_rfc2616.c`).
            _ if !self.is_dated && !said.forbids_sharing() => Obeyed::No,
            _ if facts.only_private_forbids && !said.private && (said.no_store || said.no_cache) => {
                Obeyed::No
            }
            Some(other) if fields.has(other) => Obeyed::No,
            _ if facts.always_obeys => Obeyed::Yes,
            _ => Obeyed::Perhaps,
        }
    }

    /// Returns why the origin's own fields forbid storing the response for longer, if they do.
    pub(super) fn forbids(&self) -> Option<Reason> {
        let browser = &self.cache_control;
        // These apply to every cache on the way, regardless of a targeted field.
        if browser.private {
            return Some(Reason::Private);
        }
        if browser.no_store {
            return Some(Reason::NoStore);
        }
        // RFC 9213 §2.2: for the CDN, a targeted field replaces Cache-Control and Expires.
        match &self.targeted {
            Some(targeted) => targeted.directives.forbids(),
            None => browser.forbids().or((self.expires == Some(0)).then_some(Reason::ZeroLifetime)),
        }
    }
}

/// How certain it is that a CDN obeys a prohibition in the form in which the origin sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Obeyed {
    /// The CDN documents that it obeys.
    Yes,
    /// Obeying depends on the CDN's configuration.
    Perhaps,
    /// The CDN does not read the prohibition.
    No,
}

impl Targeted {
    /// Whether the CDN reads the field, by default or by the site's configuration.
    pub(super) fn is_read_by(&self, dialect: &Dialect) -> bool {
        self.is_own || dialect.cdn.facts().storing.reads.contains(&self.field)
    }

    /// Whether the CDN obeys the prohibitions in the field.
    fn is_obeyed_by(&self, dialect: &Dialect) -> bool {
        let Self { field, directives: said, .. } = self;
        let by_lifetime = said.shared_lifetime() == Some(0);
        self.is_read_by(dialect)
            && !self.in_doubt
            && match field {
                _ if dialect.cdn.facts().storing.only_private_forbids => by_lifetime,
                Field::EdgeControl => by_lifetime || said.no_store,
                _ => true,
            }
    }
}

impl CacheControl {
    /// Whether these directives by themselves forbid shared caches to keep the response.
    fn forbids_sharing(&self) -> bool {
        self.private || self.no_store || self.no_cache || self.shared_lifetime() == Some(0)
    }

    /// Returns why these directives by themselves forbid storing the response for longer, if they do.
    fn forbids(&self) -> Option<Reason> {
        if self.private {
            Some(Reason::Private)
        } else if self.no_store {
            Some(Reason::NoStore)
        } else if self.no_cache {
            Some(Reason::NoCache)
        } else if [self.max_age, self.s_maxage].contains(&Some(0)) {
            Some(Reason::ZeroLifetime)
        } else {
            None
        }
    }
}

/// Reads a line of `Age`. The first member of a list applies (RFC 9111 §5.1). An invalid number means old, because
/// a response that may predate a purge must not pass for a new one.
pub(super) fn age_seconds(age: Value<'_>) -> u32 {
    let first = age.as_bytes().split(|b| *b == b',').next().unwrap_or_default().trim_ascii();
    if first.is_empty() || !first.iter().all(u8::is_ascii_digit) { OLD } else { delta_seconds(first) }
}

/// An age beyond any lifetime (RFC 9111 §1.2.2).
const OLD: u32 = 1 << 31;

/// Returns the targeted field that takes effect: one that the CDN reads, else one that forbids, else the first
/// that gives a lifetime.
fn targeted(fields: &Fields<'_, '_>) -> Option<Targeted> {
    // Most responses have no targeted field.
    let own = Some(fields.own_ttl).filter(|own| *own != Field::CacheControl && fields.has(*own));
    if own.is_none() && fields.among(&Field::TARGETED).next().is_none() {
        return None;
    }
    let decided = |field: Field| {
        let directives =
            is_valid(fields, field).then(|| CacheControl::read(fields.lines(field), Syntax::of(field)))?;
        let decides = directives.forbids().is_some() || directives.shared_lifetime().is_some();
        let in_doubt = directives.forbids().is_some() && is_in_doubt(fields, field);
        decides.then_some(Targeted { field, directives, in_doubt, is_own: Some(field) == own })
    };
    let read = own.into_iter().chain(fields.among(fields.dialect().cdn.facts().storing.reads));
    read.into_iter().find_map(decided).or_else(|| {
        let others = || fields.among(&Field::TARGETED).filter_map(decided);
        others().find(|other| other.directives.forbids().is_some()).or_else(|| others().next())
    })
}

/// Whether another cache may find nothing in the field that forbids sharing the response.
fn is_in_doubt(fields: &Fields<'_, '_>, field: Field) -> bool {
    !CacheControl::forbids_beyond_doubt(fields.lines(field), Syntax::of(field))
}

/// Whether caches may use the field. RFC 9213 §2.1: a field that is not a dictionary of structured fields is
/// ignored as a whole. `Surrogate-Control` and `Edge-Control` are older and have no such rule.
pub(super) fn is_valid(fields: &Fields<'_, '_>, field: Field) -> bool {
    if !field.is_structured() {
        return true;
    }
    // Lines are joined before they are parsed (RFC 9651 §4.2).
    let mut joined = Vec::new();
    for line in fields.lines(field).filter(|line| !line.as_bytes().trim_ascii().is_empty()) {
        if !joined.is_empty() {
            joined.push(b',');
        }
        joined.extend_from_slice(line.as_bytes());
    }
    is_dictionary(&joined)
}

/// Whether the text is a dictionary of structured fields (RFC 9651 §3.2).
pub(super) fn is_dictionary(text: &[u8]) -> bool {
    Parser::new(text).parse_dictionary_with_visitor(Ignored).is_ok()
}

/// `Expires` minus `Date` (RFC 9111 §4.2.1). The result is 0 if `Expires` is invalid, or if there is no valid `Date`.
fn expires_after(fields: &Fields<'_, '_>) -> Option<u32> {
    let sent = fields.first(Field::Date).and_then(date);
    fields
        .lines(Field::Expires)
        .map(|expires| {
            let after = date(expires)?.duration_since(sent?).ok()?;
            Some(seconds(after))
        })
        .map(|seconds| seconds.unwrap_or(0))
        .min()
}

/// Whether `Expires` and `Date` are valid dates. Without `Date`, caches use their own clock.
fn is_dated_clearly(fields: &Fields<'_, '_>) -> bool {
    let is_date = |value: Value<'_>| date(value).is_some();
    fields.lines(Field::Expires).all(is_date) && fields.first(Field::Date).is_some_and(is_date)
}

/// Parses a date in any of the three forms of RFC 9110 §5.6.7, with letters in any case (RFC 9111 §4.2).
fn date(value: Value<'_>) -> Option<SystemTime> {
    let text = value.to_str()?;
    let parse = httpdate::parse_http_date;
    parse(text).or_else(|_| parse(&in_standard_case(text))).ok()
}

/// Converts `THU, 18 aug 2050 02:01:18 gmt` to the capitalisation of the grammar.
fn in_standard_case(date: &str) -> String {
    let mut within_word = false;
    let lower = date.chars().map(|c| {
        let standard = if within_word { c.to_ascii_lowercase() } else { c.to_ascii_uppercase() };
        within_word = c.is_ascii_alphabetic();
        standard
    });
    lower.collect::<String>().replace("Gmt", "GMT")
}
