//! Writing the decided lifetimes into the response, in the dialect of the CDN that asked.

use super::cache_control::{Directive, Name, directives};
use super::dialect::Syntax;
use super::edits::Edits;
use super::fields::{Field, Fields};
use super::origin::{Origin, Targeted};
use super::table::{Browser, Row, seconds};
use super::{CdnType, Dialect, Policy};
use crate::head::{FieldLine, LineCache};
use http::header::{ETAG, LAST_MODIFIED};
use http::{HeaderName, HeaderValue};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

static VALIDATORS: [HeaderName; 2] = [ETAG, LAST_MODIFIED];

/// One response whose caching headers are to be edited.
pub(super) struct Writer<'a, 'h, 'd> {
    pub(super) policy: &'a Policy,
    pub(super) dialect: &'d Dialect,
    pub(super) origin: &'a Origin,
    pub(super) fields: &'a Fields<'h, 'd>,
    pub(super) edits: &'a mut Edits,
}

impl<'d> Writer<'_, '_, 'd> {
    /// Sets the lifetimes of `row`.
    pub(super) fn lengthen(mut self, row: Row) {
        let syntax = self.syntax();
        let mut line = self.line(Field::CacheControl);
        match row.browser {
            Browser::NoCache if syntax != Syntax::CacheControl => line.directive(b"no-cache"),
            browser => line.lifetime("max-age", browser.seconds()),
        }
        if syntax == Syntax::CacheControl {
            line.lifetime("s-maxage", row.edge);
            self.add_stale(&mut line, row);
        }
        line.keep(self.fields, Field::CacheControl, |name| match name {
            Name::Other | Name::Public => true,
            Name::Immutable => row.immutable,
            _ => false,
        });
        let mut edge = self.line(self.fields.own_ttl);
        match syntax {
            Syntax::CacheControl => {}
            Syntax::Targeted => {
                edge.lifetime("max-age", row.edge);
                self.add_stale(&mut edge, row);
            }
            Syntax::EdgeControl => edge.edge_control(row.edge, Some(row.browser.seconds())),
        }
        self.keep_own_directives(&mut edge);
        self.replace(&line, &edge);
        self.after_rewriting(row);
    }

    /// Translates the lifetime that the origin targeted at CDNs; the browser's stays as it is.
    pub(super) fn translate(mut self, targeted: Targeted) {
        let browser = &self.origin.cache_control;
        let browser_seconds = if browser.no_cache { Some(0) } else { browser.max_age };
        let seconds = targeted.directives.shared_lifetime().unwrap_or(0);
        let from = Syntax::of(targeted.field);
        let mut edge = self.line(self.fields.own_ttl);
        match self.syntax() {
            Syntax::CacheControl => {
                let mut line = self.line(Field::CacheControl);
                if let Some(seconds) = browser_seconds {
                    line.lifetime("max-age", seconds);
                }
                line.lifetime("s-maxage", seconds);
                if from == Syntax::Targeted {
                    line.keep(self.fields, targeted.field, is_stale);
                }
                // `no-cache` was meant for browsers, but this CDN would obey it; `max-age=0` says it to them alone.
                line.keep(self.fields, Field::CacheControl, |name| {
                    !is_lifetime(name) && !is_stale(name) && name != Name::NoCache
                });
                return self.replace(&line, &edge);
            }
            Syntax::Targeted => {
                edge.lifetime("max-age", seconds);
                if from == Syntax::Targeted {
                    edge.keep(self.fields, targeted.field, |name| !is_lifetime(name));
                }
            }
            Syntax::EdgeControl if from == Syntax::EdgeControl => {
                edge.edge_control(seconds, None);
                edge.keep(self.fields, targeted.field, |name| !is_lifetime(name) && name != Name::NotNoStore);
            }
            Syntax::EdgeControl => edge.edge_control(seconds, browser_seconds.or(self.origin.expires)),
        }
        if targeted.field != self.fields.own_ttl {
            self.keep_own_directives(&mut edge);
        }
        self.replace(&self.line(Field::CacheControl), &edge);
    }

    /// The short lifetimes: nowhere longer than the origin allowed, than `row` says, and than the site's fallback.
    pub(super) fn fallback(mut self, row: Row) {
        let limit = seconds(self.policy.ttls.fallback);
        let browser = self.origin.browser_lifetime().unwrap_or(limit).min(limit).min(row.browser.seconds());
        let edge_seconds = self.origin.edge_lifetime().unwrap_or(limit).min(limit).min(row.edge);
        let syntax = self.syntax();
        let mut line = self.line(Field::CacheControl);
        line.lifetime("max-age", browser);
        if syntax == Syntax::CacheControl {
            line.lifetime("s-maxage", edge_seconds);
        }
        line.keep(self.fields, Field::CacheControl, |name| {
            let for_the_browser = name == Name::NoCache && syntax == Syntax::CacheControl;
            !is_lifetime(name) && !is_stale(name) && name != Name::Immutable && !for_the_browser
        });
        let mut edge = self.line(self.fields.own_ttl);
        match syntax {
            Syntax::CacheControl => {}
            Syntax::Targeted => edge.lifetime("max-age", edge_seconds),
            Syntax::EdgeControl => edge.edge_control(edge_seconds, Some(browser)),
        }
        self.keep_own_directives(&mut edge);
        self.replace(&line, &edge);
        self.after_rewriting(row);
    }

    /// Lowers every lifetime that the origin gave to this one, and grants none.
    pub(super) fn clamp(mut self, limit: Duration) {
        let limit = seconds(limit);
        let cache_control = self.clamped(Field::CacheControl, limit);
        for field in [self.fields.own_ttl].into_iter().chain(self.fields.among(&Field::TARGETED)) {
            if let Some(line) = self.clamped(field, limit)
                && field != Field::CacheControl
            {
                self.set(&line);
            }
        }
        if self.origin.expires.is_some_and(|seconds| seconds > limit) {
            let mut line = self.line(Field::CacheControl);
            line.lifetime("max-age", limit);
            match cache_control {
                Some(clamped) => line.directive(clamped.value()),
                None => line.keep(self.fields, Field::CacheControl, |name| {
                    !is_stale(name) && name != Name::Immutable
                }),
            }
            self.set(&line);
            self.remove(Field::Expires);
        } else if let Some(line) = cache_control {
            self.set(&line);
        }
    }

    /// A field with its lifetimes lowered to `limit`; none where none is longer.
    fn clamped(&self, field: Field, limit: u32) -> Option<Line<'d>> {
        let syntax = Syntax::of(field);
        let all = || self.fields.lines(field).flat_map(|line| directives(line.as_bytes(), syntax));
        let too_long = |directive: &Directive<'_>| {
            (is_lifetime(directive.name) || directive.name == Name::DownstreamTtl)
                && directive.seconds(syntax) > limit
        };
        if !all().any(|directive| too_long(&directive)) {
            return None;
        }
        let mut line = self.line(field);
        for directive in all() {
            if too_long(&directive) {
                line.directive(directive.key());
                line.number(limit);
            } else if !is_stale(directive.name) && directive.name != Name::Immutable && !directive.unended {
                line.directive(directive.raw);
            }
        }
        Some(line)
    }

    /// Says to browser and CDN not to store the response.
    pub(super) fn no_store(mut self) {
        let mut line = self.line(Field::CacheControl);
        if self.origin.cache_control.private {
            // Fastly stores `no-store` responses but not `private` ones ("Cache control tutorial", "Do not cache").
            line.directive(b"private");
        }
        line.directive(b"no-store");
        let mut edge = self.line(self.fields.own_ttl);
        match (self.syntax(), self.dialect.cdn) {
            (Syntax::CacheControl, _) => {}
            // Of Surrogate-Control Fastly documents lifetimes only ("HTTP caching semantics", "Parsing cache controls").
            (Syntax::Targeted, CdnType::Fastly) => edge.lifetime("max-age", 0),
            (Syntax::Targeted, _) => {
                edge.directive(b"no-store");
                if self.fields.own_ttl == Field::SurrogateControl {
                    edge.lifetime("max-age", 0);
                }
            }
            (Syntax::EdgeControl, _) => edge.directive(b"no-store"),
        }
        self.replace(&line, &edge);
        self.remove_lifetimes();
    }

    /// The site's `stale-*` for the CDN.
    fn add_stale(&self, line: &mut Line<'_>, row: Row) {
        let ttls = &self.policy.ttls;
        for (name, ttl) in
            [("stale-while-revalidate", ttls.stale_while_revalidate), ("stale-if-error", ttls.stale_if_error)]
        {
            if row.stale && seconds(ttl) > 0 {
                line.lifetime(name, seconds(ttl));
            }
        }
    }

    /// How the CDN's lifetime is written.
    fn syntax(&self) -> Syntax {
        Syntax::of(self.fields.own_ttl)
    }

    /// What the origin says to this CDN besides lifetimes, such as `content="ESI/1.0"`, goes on being said.
    fn keep_own_directives(&self, edge: &mut Line<'_>) {
        if self.syntax() != Syntax::CacheControl {
            edge.keep(self.fields, self.fields.own_ttl, |name| matches!(name, Name::Other | Name::Public));
        }
    }

    /// Sets `Cache-Control` (unless empty: it stays) and the CDN's own field, and removes the other CDNs' fields.
    fn replace(&mut self, cache_control: &Line<'d>, edge: &Line<'d>) {
        if !cache_control.is_empty() {
            self.set(cache_control);
        }
        for field in self.fields.among(&Field::TARGETED).filter(|field| *field != self.fields.own_ttl) {
            self.remove(field);
        }
        if !edge.is_empty() {
            self.set(edge);
        }
    }

    /// Removes what would speak of the origin's lifetimes.
    fn after_rewriting(mut self, row: Row) {
        self.remove_lifetimes();
        if row.drops_validators {
            VALIDATORS.iter().for_each(|name| self.edits.remove(name));
        }
    }

    fn remove_lifetimes(&mut self) {
        for field in self.fields.among(&[Field::Age, Field::Expires, Field::Pragma]) {
            self.remove(field);
        }
    }

    /// An empty line of this field.
    fn line(&self, field: Field) -> Line<'d> {
        Line::new(field.name(self.dialect))
    }

    fn set(&mut self, line: &Line<'d>) {
        self.edits.set(line.finished());
    }

    fn remove(&mut self, field: Field) {
        self.edits.remove(field.name(self.dialect));
    }
}

fn is_lifetime(name: Name) -> bool {
    matches!(name, Name::MaxAge | Name::SMaxAge)
}

fn is_stale(name: Name) -> bool {
    matches!(name, Name::StaleWhileRevalidate | Name::StaleIfError)
}

thread_local! {
    /// What was written before: there are few lifetimes, so few different lines.
    static WRITTEN: RefCell<LineCache> = RefCell::default();
}

/// A field under construction: directives with `, ` between them.
struct Line<'d> {
    name: &'d HeaderName,
    /// The name, a colon and a blank, and the value so far.
    whole: Vec<u8>,
}

impl<'d> Line<'d> {
    fn new(name: &'d HeaderName) -> Self {
        let mut whole = Vec::with_capacity(128);
        whole.extend_from_slice(name.as_str().as_bytes());
        whole.extend_from_slice(b": ");
        Self { name, whole }
    }

    fn value(&self) -> &[u8] {
        &self.whole[self.name.as_str().len() + 2..]
    }

    fn is_empty(&self) -> bool {
        self.value().is_empty()
    }

    fn directive(&mut self, raw: &[u8]) {
        if !self.is_empty() {
            self.whole.extend_from_slice(b", ");
        }
        self.whole.extend_from_slice(raw);
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
        self.whole.push(b'=');
        self.whole.extend_from_slice(&digits[start..]);
    }

    /// Akamai's directives. `!no-store`: the edge stores the response whatever `Cache-Control` says to browsers.
    fn edge_control(&mut self, edge: u32, browser: Option<u32>) {
        self.directive(b"!no-store");
        self.lifetime("max-age", edge);
        self.whole.push(b's');
        if let Some(browser) = browser {
            self.lifetime("downstream-ttl", browser);
            self.whole.push(b's');
        }
    }

    /// The directives of a field of the response that are to stay.
    fn keep(&mut self, fields: &Fields<'_, '_>, field: Field, stays: impl Fn(Name) -> bool) {
        for line in fields.lines(field) {
            for directive in
                directives(line.as_bytes(), Syntax::of(field)).filter(|d| stays(d.name) && !d.unended)
            {
                self.directive(directive.raw);
            }
        }
    }

    fn finished(&self) -> Rc<FieldLine> {
        let line = WRITTEN.with_borrow_mut(|lines| {
            lines.find(&self.whole).or_else(|| {
                let value = HeaderValue::from_bytes(self.value()).ok()?;
                Some(lines.learn(&self.whole, FieldLine::new(self.name.clone(), value)))
            })
        });
        line.expect("made of parts of other header values and of ASCII")
    }
}
