//! Writing the decided lifetimes into the response, in the dialect of the CDN that asked.

use super::cache_control::Name;
use super::edits::Edits;
use super::field::Field;
use super::field::Syntax;
use super::fields::Fields;
use super::line::Line;
use super::origin::{Origin, Targeted, is_valid};
use super::table::{Row, seconds};
use super::{Dialect, Policy};
use http::HeaderName;
use http::header::{ETAG, LAST_MODIFIED};
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
        let browser = row.browser.resolve(self.origin);
        // One that was cut is no longer the origin's own.
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

    /// Translates the lifetime that the origin targeted at CDNs; the browser's stays as it is, and where the origin says
    /// nothing to browsers they ask each time.
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

    /// The short lifetimes: nowhere longer than the origin allowed, than `row` says, and than the site's fallback.
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
            // It is said already, or meant for browsers where the CDN would read it.
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

    /// What a response that the table leaves as it is gets where it is known to be old: the guard's lifetime at the CDN,
    /// or what is left of the origin's. What the origin said to forbid goes on being said.
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
            // `!no-store` would overrule what `Cache-Control` forbids.
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

    /// Says in the CDN's own words that it must not keep the response; browsers are told what they were told.
    pub(super) fn prohibit(mut self) {
        let syntax = self.syntax();
        let by_private = self.dialect.cdn.facts().storing.only_private_forbids;
        if syntax == Syntax::CacheControl && !by_private && self.origin.tells_all_to_forget() {
            // There are no other words for it.
            return;
        }
        let mut line = self.line(Field::CacheControl);
        // `private` leaves browsers alone.
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

    /// Says to browser and CDN not to store the response.
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

    /// `no-store` in the CDN's own field, where it has one.
    fn no_store_line(&self) -> Line<'d> {
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

    /// Removes the targeted fields that no cache may read (RFC 9213 §2.1): one that reads them leniently would obey what
    /// was not decided.
    pub(super) fn drop_invalid(&mut self) {
        for field in self.fields.among(&Field::TARGETED).filter(|field| !is_valid(self.fields, *field)) {
            self.remove(field);
        }
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
        let own = self.fields.own_ttl;
        if self.syntax() != Syntax::CacheControl && self.fields.has(own) && is_valid(self.fields, own) {
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
        Line::new(field.name(self.dialect), field.is_structured())
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
