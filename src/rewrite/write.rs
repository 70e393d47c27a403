//! Writing the decided lifetimes into the response, in the dialect of the CDN that asked.

use super::cache_control::{Directive, Name, directives};
use super::dialect::{SURROGATE_CONTROL, Syntax};
use super::fields::Fields;
use super::origin::{Origin, Targeted};
use super::table::{Browser, Row, seconds};
use super::{CdnType, Dialect, Policy};
use http::header::{AGE, CACHE_CONTROL, ETAG, EXPIRES, LAST_MODIFIED, PRAGMA};
use http::{HeaderMap, HeaderName, HeaderValue};

/// One response whose caching headers are to be edited.
pub(super) struct Writer<'a> {
    pub(super) policy: &'a Policy,
    pub(super) dialect: &'a Dialect,
    pub(super) origin: &'a Origin<'a>,
    pub(super) fields: Fields,
    pub(super) headers: &'a mut HeaderMap,
}

impl Writer<'_> {
    /// Sets the lifetimes of `row`.
    pub(super) fn lengthen(mut self, row: Row) {
        let syntax = self.dialect.syntax();
        let mut line = Line::new();
        match row.browser {
            Browser::NoCache if syntax != Syntax::CacheControl => line.directive(b"no-cache"),
            browser => line.lifetime("max-age", browser.seconds()),
        }
        if syntax == Syntax::CacheControl {
            line.lifetime("s-maxage", row.edge);
            self.add_stale(&mut line, row);
        }
        line.keep(self.headers, &CACHE_CONTROL, |name| match name {
            Name::Other | Name::Public => true,
            Name::Immutable => row.immutable,
            _ => false,
        });
        let mut edge = Line::new();
        match syntax {
            Syntax::CacheControl => {}
            Syntax::Targeted => {
                edge.lifetime("max-age", row.edge);
                self.add_stale(&mut edge, row);
            }
            Syntax::EdgeControl => edge.edge_control(row.edge, Some(row.browser.seconds())),
        }
        self.keep_own_directives(&mut edge);
        self.replace(line, edge);
        self.after_rewriting(row);
    }

    /// Translates the lifetime that the origin targeted at CDNs; the browser's stays as it is.
    pub(super) fn translate(mut self, targeted: Targeted<'_>) {
        let browser = &self.origin.cache_control;
        let browser_seconds = if browser.no_cache { Some(0) } else { browser.max_age };
        let seconds = targeted.directives.shared_lifetime().unwrap_or(0);
        let from = Syntax::of(targeted.field);
        let mut edge = Line::new();
        match self.dialect.syntax() {
            Syntax::CacheControl => {
                let mut line = Line::new();
                if let Some(seconds) = browser_seconds {
                    line.lifetime("max-age", seconds);
                }
                line.lifetime("s-maxage", seconds);
                if from == Syntax::Targeted {
                    line.keep(self.headers, targeted.field, is_stale);
                }
                // `no-cache` was meant for browsers, but this CDN would obey it; `max-age=0` says it to them alone.
                line.keep(self.headers, &CACHE_CONTROL, |name| {
                    !is_lifetime(name) && !is_stale(name) && name != Name::NoCache
                });
                return self.replace(line, edge);
            }
            Syntax::Targeted => {
                edge.lifetime("max-age", seconds);
                if from == Syntax::Targeted {
                    edge.keep(self.headers, targeted.field, |name| !is_lifetime(name));
                }
            }
            Syntax::EdgeControl if from == Syntax::EdgeControl => {
                edge.edge_control(seconds, None);
                edge.keep(self.headers, targeted.field, |name| {
                    !is_lifetime(name) && name != Name::NotNoStore
                });
            }
            Syntax::EdgeControl => edge.edge_control(seconds, browser_seconds.or(self.origin.expires)),
        }
        if *targeted.field != self.dialect.ttl_header {
            self.keep_own_directives(&mut edge);
        }
        self.replace(Line::new(), edge);
    }

    /// The short lifetimes: nowhere longer than the origin allowed, than `row` says, and than the site's fallback.
    pub(super) fn fallback(mut self, row: Row) {
        let limit = seconds(self.policy.ttls.fallback);
        let browser = self.origin.browser_lifetime().unwrap_or(limit).min(limit).min(row.browser.seconds());
        let edge_seconds = self.origin.edge_lifetime().unwrap_or(limit).min(limit).min(row.edge);
        let syntax = self.dialect.syntax();
        let mut line = Line::new();
        line.lifetime("max-age", browser);
        if syntax == Syntax::CacheControl {
            line.lifetime("s-maxage", edge_seconds);
        }
        line.keep(self.headers, &CACHE_CONTROL, |name| {
            let for_the_browser = name == Name::NoCache && syntax == Syntax::CacheControl;
            !is_lifetime(name) && !is_stale(name) && name != Name::Immutable && !for_the_browser
        });
        let mut edge = Line::new();
        match syntax {
            Syntax::CacheControl => {}
            Syntax::Targeted => edge.lifetime("max-age", edge_seconds),
            Syntax::EdgeControl => edge.edge_control(edge_seconds, Some(browser)),
        }
        self.keep_own_directives(&mut edge);
        self.replace(line, edge);
        self.after_rewriting(row);
    }

    /// Lowers every lifetime that the origin gave to the site's fallback, and grants none.
    pub(super) fn clamp(self) {
        let limit = seconds(self.policy.ttls.fallback);
        let own = &self.dialect.ttl_header;
        for field in [&CACHE_CONTROL, own].into_iter().chain(self.fields.targeted()) {
            let syntax = if *field == CACHE_CONTROL { Syntax::CacheControl } else { Syntax::of(field) };
            let too_long = |directive: Directive<'_>| {
                (is_lifetime(directive.name) || directive.name == Name::DownstreamTtl)
                    && directive.seconds(syntax) > limit
            };
            let lines = self.headers.get_all(field).into_iter();
            if !lines.flat_map(|line| directives(line.as_bytes(), syntax)).any(too_long) {
                continue;
            }
            let mut line = Line::new();
            for directive in
                self.headers.get_all(field).into_iter().flat_map(|l| directives(l.as_bytes(), syntax))
            {
                if too_long(directive) {
                    line.directive(directive.key());
                    line.number(limit);
                } else if !is_stale(directive.name) && directive.name != Name::Immutable && !directive.unended
                {
                    line.directive(directive.raw);
                }
            }
            self.headers.insert(field, line.value());
        }
        if self.origin.expires.is_some_and(|seconds| seconds > limit) {
            let mut line = Line::new();
            line.lifetime("max-age", limit);
            line.keep(self.headers, &CACHE_CONTROL, |name| !is_stale(name) && name != Name::Immutable);
            self.headers.insert(CACHE_CONTROL, line.value());
            self.headers.remove(EXPIRES);
        }
    }

    /// Says to browser and CDN not to store the response.
    pub(super) fn no_store(mut self) {
        let mut line = Line::new();
        if self.origin.cache_control.private {
            // Fastly stores `no-store` responses but not `private` ones ("Cache control tutorial", "Do not cache").
            line.directive(b"private");
        }
        line.directive(b"no-store");
        let mut edge = Line::new();
        match (self.dialect.syntax(), self.dialect.cdn) {
            (Syntax::CacheControl, _) => {}
            // Of Surrogate-Control Fastly documents lifetimes only ("HTTP caching semantics", "Parsing cache controls").
            (Syntax::Targeted, CdnType::Fastly) => edge.lifetime("max-age", 0),
            (Syntax::Targeted, _) => {
                edge.directive(b"no-store");
                if self.dialect.ttl_header == SURROGATE_CONTROL {
                    edge.lifetime("max-age", 0);
                }
            }
            (Syntax::EdgeControl, _) => edge.directive(b"no-store"),
        }
        self.replace(line, edge);
        self.remove_lifetimes();
    }

    /// The site's `stale-*` for the CDN.
    fn add_stale(&self, line: &mut Line, row: Row) {
        let ttls = &self.policy.ttls;
        for (name, ttl) in
            [("stale-while-revalidate", ttls.stale_while_revalidate), ("stale-if-error", ttls.stale_if_error)]
        {
            if row.stale && seconds(ttl) > 0 {
                line.lifetime(name, seconds(ttl));
            }
        }
    }

    /// What the origin says to this CDN besides lifetimes, such as `content="ESI/1.0"`, goes on being said.
    fn keep_own_directives(&self, edge: &mut Line) {
        if self.fields.own_ttl && self.dialect.syntax() != Syntax::CacheControl {
            edge.keep(self.headers, &self.dialect.ttl_header, |name| {
                matches!(name, Name::Other | Name::Public)
            });
        }
    }

    /// Sets `Cache-Control` (unless empty: it stays) and the CDN's own field, and removes the other CDNs' fields.
    fn replace(&mut self, cache_control: Line, edge: Line) {
        if !cache_control.is_empty() {
            self.headers.insert(CACHE_CONTROL, cache_control.value());
        }
        for field in self.fields.targeted() {
            if *field != self.dialect.ttl_header {
                self.headers.remove(field);
            }
        }
        if !edge.is_empty() {
            self.headers.insert(&self.dialect.ttl_header, edge.value());
        }
    }

    /// Removes what would speak of the origin's lifetimes.
    fn after_rewriting(mut self, row: Row) {
        self.remove_lifetimes();
        if row.drops_validators {
            self.headers.remove(ETAG);
            self.headers.remove(LAST_MODIFIED);
        }
    }

    fn remove_lifetimes(&mut self) {
        let fields = self.fields;
        for (found, field) in [(fields.age, AGE), (fields.expires, EXPIRES), (fields.pragma, PRAGMA)] {
            if found {
                self.headers.remove(field);
            }
        }
    }
}

fn is_lifetime(name: Name) -> bool {
    matches!(name, Name::MaxAge | Name::SMaxAge)
}

fn is_stale(name: Name) -> bool {
    matches!(name, Name::StaleWhileRevalidate | Name::StaleIfError)
}

/// A field value under construction: directives with `, ` between them.
struct Line(Vec<u8>);

impl Line {
    fn new() -> Self {
        Self(Vec::with_capacity(96))
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn directive(&mut self, raw: &[u8]) {
        if !self.0.is_empty() {
            self.0.extend_from_slice(b", ");
        }
        self.0.extend_from_slice(raw);
    }

    fn lifetime(&mut self, name: &str, seconds: u32) {
        self.directive(name.as_bytes());
        self.number(seconds);
    }

    /// `=` and a number to the directive just written.
    fn number(&mut self, seconds: u32) {
        let mut digits = [0; 10];
        let mut start = digits.len();
        let mut left = seconds;
        while start == digits.len() || left > 0 {
            start -= 1;
            digits[start] = b'0' + (left % 10) as u8;
            left /= 10;
        }
        self.0.push(b'=');
        self.0.extend_from_slice(&digits[start..]);
    }

    /// Akamai's directives. `!no-store`: the edge stores the response whatever `Cache-Control` says to browsers.
    fn edge_control(&mut self, edge: u32, browser: Option<u32>) {
        self.directive(b"!no-store");
        self.lifetime("max-age", edge);
        self.0.push(b's');
        if let Some(browser) = browser {
            self.lifetime("downstream-ttl", browser);
            self.0.push(b's');
        }
    }

    /// The directives of a field of the response that are to stay.
    fn keep(&mut self, headers: &HeaderMap, field: &HeaderName, stays: impl Fn(Name) -> bool) {
        let syntax = if *field == CACHE_CONTROL { Syntax::CacheControl } else { Syntax::of(field) };
        for line in headers.get_all(field) {
            for directive in directives(line.as_bytes(), syntax).filter(|d| stays(d.name) && !d.unended) {
                self.directive(directive.raw);
            }
        }
    }

    fn value(&self) -> HeaderValue {
        HeaderValue::from_bytes(&self.0).expect("made of parts of other header values and of ASCII")
    }
}
