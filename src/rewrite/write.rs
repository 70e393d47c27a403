//! Writing the decided lifetimes into the response, in the dialect of the CDN that asked.

use super::cache_control::Name;
use super::cache_control::seconds;
use super::edits::Edits;
use super::field::Field;
use super::field::FieldName;
use super::field::Syntax;
use super::fields::Fields;
use super::line::Line;
use super::origin::{Origin, Targeted, is_valid};
use super::table::Row;
use super::{Dialect, Policy};
use crate::http::head::Known;
use http::{HeaderName, header};
use std::time::Duration;

static ETAG: HeaderName = header::ETAG;
static LAST_MODIFIED: HeaderName = header::LAST_MODIFIED;
static VALIDATORS: [FieldName<'static>; 2] = [
    FieldName { name: &ETAG, known: Known::Etag },
    FieldName { name: &LAST_MODIFIED, known: Known::LastModified },
];

/// A response whose caching fields are to be edited.
pub(super) struct Writer<'a, 'h, 'd> {
    pub(super) policy: &'a Policy,
    pub(super) dialect: &'d Dialect,
    pub(super) origin: &'a Origin,
    pub(super) fields: &'a Fields<'h, 'd>,
    pub(super) edits: &'a mut Edits<'d>,
}

impl Writer<'_, '_, '_> {
    /// Sets the lifetimes of `row`.
    pub(super) fn lengthen(mut self, row: Row) {
        let syntax = self.syntax();
        let mut line = self.line(Field::CacheControl);
        let browser = row.browser.resolve(self.origin);
        // A lifetime that was cut is no longer the origin's own.
        let is_whole =
            row.browser.is_origins() && browser.is_some() && browser == self.origin.browser_lifetime();
        line.browser(browser, syntax);
        if syntax == Syntax::CacheControl {
            line.lifetime("s-maxage", row.edge);
            self.add_stale(&mut line, row);
        }
        line.keep(self.fields, Field::CacheControl, |name| match name {
            Name::Other | Name::Public => true,
            Name::Immutable => row.immutable || is_whole,
            _ => false,
        });
        let mut edge = self.line(self.fields.own_ttl);
        match syntax {
            Syntax::CacheControl => {}
            Syntax::Targeted => {
                edge.lifetime("max-age", row.edge);
                self.add_stale(&mut edge, row);
            }
            Syntax::EdgeControl => edge.edge_control(row.edge, Some(browser.unwrap_or(0))),
        }
        self.keep_own_directives(&mut edge);
        self.replace(&line, &edge);
        self.after_rewriting(row);
    }

    /// Translates the lifetime that the origin targeted at CDNs. The browser's lifetime stays as it is. If the
    /// origin gives none for browsers, they revalidate each time.
    pub(super) fn translate(mut self, targeted: Targeted) {
        let browser = &self.origin.cache_control;
        let browser_seconds = if browser.no_cache { Some(0) } else { browser.max_age };
        let is_silent = browser_seconds.is_none() && self.origin.expires.is_none();
        let seconds = targeted.directives.shared_lifetime().unwrap_or(0);
        let from = Syntax::of(targeted.field);
        let mut line = self.line(Field::CacheControl);
        let mut edge = self.line(self.fields.own_ttl);
        match self.syntax() {
            Syntax::CacheControl => {
                if let Some(seconds) = browser_seconds.or(is_silent.then_some(0)) {
                    line.lifetime("max-age", seconds);
                }
                line.lifetime("s-maxage", seconds);
                if from == Syntax::Targeted {
                    line.keep(self.fields, targeted.field, is_stale);
                }
                // The origin meant `no-cache` for browsers, but this CDN would obey it, too. `max-age=0` affects
                // browsers only.
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
            Syntax::EdgeControl => {
                let browser = browser_seconds.or(self.origin.expires);
                edge.edge_control(seconds, Some(browser.unwrap_or(0)));
            }
        }
        if targeted.field != self.fields.own_ttl {
            self.keep_own_directives(&mut edge);
        }
        if is_silent {
            line.browser(None, Syntax::Targeted);
            line.keep(self.fields, Field::CacheControl, |name| !is_lifetime(name) && !is_stale(name));
        }
        self.replace(&line, &edge);
    }

    /// Sets the short lifetimes. They never exceed those of the origin, of `row`, or of the site's fallback.
    pub(super) fn fallback(mut self, row: Row) {
        let limit = seconds(self.policy.ttls.fallback);
        let own = || self.origin.browser_lifetime().unwrap_or(limit).min(limit);
        let browser = row.browser.resolve(self.origin).map(|seconds| seconds.min(own()));
        let edge_seconds = self.origin.edge_lifetime().unwrap_or(limit).min(limit).min(row.edge);
        let syntax = self.syntax();
        let mut line = self.line(Field::CacheControl);
        line.browser(browser, syntax);
        if syntax == Syntax::CacheControl {
            line.lifetime("s-maxage", edge_seconds);
        }
        line.keep(self.fields, Field::CacheControl, |name| {
            // `no-cache` is already written, or it is meant for browsers but the CDN would read it.
            let no_cache = name == Name::NoCache && (syntax == Syntax::CacheControl || browser.is_none());
            !is_lifetime(name) && !is_stale(name) && name != Name::Immutable && !no_cache
        });
        let mut edge = self.line(self.fields.own_ttl);
        match syntax {
            Syntax::CacheControl => {}
            Syntax::Targeted => edge.lifetime("max-age", edge_seconds),
            Syntax::EdgeControl => edge.edge_control(edge_seconds, Some(browser.unwrap_or(0))),
        }
        self.keep_own_directives(&mut edge);
        self.replace(&line, &edge);
        self.after_rewriting(row);
    }

    /// Writes the guard's lifetime for the CDN, or the rest of the origin's, into an old response that the table
    /// leaves as it is. The origin's prohibitions are kept.
    pub(super) fn guard(mut self, ttl: Duration) {
        let edge_seconds = self.origin.edge_lifetime().unwrap_or(u32::MAX).min(seconds(ttl));
        let syntax = self.syntax();
        let mut line = self.line(Field::CacheControl);
        line.browser(None, syntax);
        if syntax == Syntax::CacheControl {
            line.lifetime("s-maxage", edge_seconds);
        }
        let forbids = |name| matches!(name, Name::Private | Name::NoStore);
        line.keep(self.fields, Field::CacheControl, |name| {
            forbids(name) || matches!(name, Name::Other | Name::Public)
        });
        let mut edge = self.line(self.fields.own_ttl);
        match syntax {
            Syntax::CacheControl => {}
            Syntax::Targeted => edge.lifetime("max-age", edge_seconds),
            // `!no-store` would overrule the prohibition in `Cache-Control`.
            Syntax::EdgeControl
                if self.origin.cache_control.private || self.origin.cache_control.no_store =>
            {
                edge.edge_lifetime(edge_seconds);
            }
            Syntax::EdgeControl => edge.edge_control(edge_seconds, Some(0)),
        }
        self.keep_own_directives(&mut edge);
        self.replace(&line, &edge);
        self.remove_lifetimes();
    }

    /// Forbids the CDN, in its own field, to keep the response. The directives for browsers stay the same.
    pub(super) fn prohibit(mut self) {
        let syntax = self.syntax();
        let by_private = self.dialect.cdn.facts().storing.only_private_forbids;
        if syntax == Syntax::CacheControl && !by_private && self.origin.tells_all_to_forget() {
            // The origin's own `Cache-Control` or `Expires` already says so in a form that every cache reads.
            return;
        }
        let mut line = self.line(Field::CacheControl);
        // `private` does not affect browsers.
        if syntax == Syntax::CacheControl || by_private {
            line.directive(b"private");
            if self.origin.says_no_cache_by_pragma() {
                line.directive(b"no-cache");
            }
            line.keep(self.fields, Field::CacheControl, |name| {
                !matches!(name, Name::Private | Name::Public | Name::SMaxAge)
            });
        }
        self.replace(&line, &self.no_store_line());
    }

    /// Forbids browser and CDN to store the response.
    pub(super) fn no_store(mut self) {
        let mut line = self.line(Field::CacheControl);
        if self.origin.cache_control.private {
            // Fastly stores `no-store` responses but not `private` ones ("Cache control tutorial", "Do not cache").
            line.directive(b"private");
        }
        line.directive(b"no-store");
        self.replace(&line, &self.no_store_line());
        self.remove_lifetimes();
    }

    /// Returns `no-store` in the CDN's own field, if it has one.
    fn no_store_line(&self) -> Line {
        let mut edge = self.line(self.fields.own_ttl);
        match self.syntax() {
            Syntax::CacheControl => {}
            Syntax::Targeted if self.dialect.cdn.facts().storing.only_private_forbids => {
                edge.lifetime("max-age", 0);
            }
            Syntax::Targeted => {
                edge.directive(b"no-store");
                if self.fields.own_ttl == Field::SurrogateControl {
                    edge.lifetime("max-age", 0);
                }
            }
            Syntax::EdgeControl => edge.directive(b"no-store"),
        }
        edge
    }

    /// Removes targeted fields that caches must ignore (RFC 9213 §2.1). A cache that reads them leniently would
    /// obey something that was not decided.
    pub(super) fn drop_invalid(&mut self) {
        for field in self.fields.among(&Field::TARGETED).filter(|field| !is_valid(self.fields, *field)) {
            self.remove(field);
        }
    }

    /// Adds the site's `stale-*` directives for the CDN.
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

    /// The syntax of the CDN's lifetime.
    fn syntax(&self) -> Syntax {
        Syntax::of(self.fields.own_ttl)
    }

    /// Keeps the origin's directives for this CDN that are not lifetimes, such as `content="ESI/1.0"`.
    fn keep_own_directives(&self, edge: &mut Line) {
        let own = self.fields.own_ttl;
        if self.syntax() != Syntax::CacheControl && self.fields.has(own) && is_valid(self.fields, own) {
            edge.keep(self.fields, self.fields.own_ttl, |name| matches!(name, Name::Other | Name::Public));
        }
    }

    /// Sets `Cache-Control` (an empty one is left as it is) and the CDN's own field, and removes the other CDNs'
    /// fields.
    fn replace(&mut self, cache_control: &Line, edge: &Line) {
        if !cache_control.is_empty() {
            self.set(Field::CacheControl, cache_control);
        }
        for field in self.fields.among(&Field::TARGETED).filter(|field| *field != self.fields.own_ttl) {
            self.remove(field);
        }
        if !edge.is_empty() {
            self.set(self.fields.own_ttl, edge);
        }
    }

    /// Removes the remaining fields about the origin's lifetimes.
    fn after_rewriting(mut self, row: Row) {
        self.remove_lifetimes();
        if row.drops_validators {
            VALIDATORS.iter().for_each(|field| self.edits.remove(*field));
        }
    }

    fn remove_lifetimes(&mut self) {
        for field in self.fields.among(&[Field::Age, Field::Expires, Field::Pragma]) {
            self.remove(field);
        }
    }

    /// Returns an empty line of this field.
    fn line(&self, field: Field) -> Line {
        Line::new(field.is_structured())
    }

    fn set(&mut self, field: Field, line: &Line) {
        self.edits.set(field.of_dialect(self.dialect), |text| text.extend_from_slice(line.value()));
    }

    fn remove(&mut self, field: Field) {
        self.edits.remove(field.of_dialect(self.dialect));
    }
}

fn is_lifetime(name: Name) -> bool {
    matches!(name, Name::MaxAge | Name::SMaxAge)
}

fn is_stale(name: Name) -> bool {
    matches!(name, Name::StaleWhileRevalidate | Name::StaleIfError)
}
