//! A field under construction.

use super::cache_control::{Name, directives};
use super::field::Field;
use super::field::Syntax;
use super::fields::Fields;
use super::origin::is_dictionary;

/// The value of a field under construction: directives separated by `, `.
pub(super) struct Line {
    value: Vec<u8>,
    /// Whether the field is a dictionary of structured fields, which caches ignore entirely if one member is
    /// invalid (RFC 9213 §2.1).
    is_structured: bool,
}

impl Line {
    pub(super) fn new(is_structured: bool) -> Self {
        Self { value: Vec::with_capacity(128), is_structured }
    }

    pub(super) fn value(&self) -> &[u8] {
        &self.value
    }

    pub(super) fn is_empty(&self) -> bool {
        self.value.is_empty()
    }

    pub(super) fn directive(&mut self, raw: &[u8]) {
        if !self.is_empty() {
            self.value.extend_from_slice(b", ");
        }
        self.value.extend_from_slice(raw);
    }

    pub(super) fn lifetime(&mut self, name: &str, seconds: u32) {
        self.directive(name.as_bytes());
        self.number(seconds);
    }

    /// Appends `=` and a number to the directive just written.
    fn number(&mut self, seconds: u32) {
        let mut digits = [0; 10];
        let mut start = digits.len();
        let mut left = seconds;
        while start == digits.len() || left > 0 {
            start -= 1;
            digits[start] = b'0' + (left % 10) as u8;
            left /= 10;
        }
        self.value.push(b'=');
        self.value.extend_from_slice(&digits[start..]);
    }

    /// Writes how long browsers may reuse the response. `None` makes them revalidate each time; if the CDN reads
    /// the same field, that is written as 0 seconds.
    pub(super) fn browser(&mut self, seconds: Option<u32>, syntax: Syntax) {
        match seconds {
            None if syntax != Syntax::CacheControl => self.directive(b"no-cache"),
            seconds => self.lifetime("max-age", seconds.unwrap_or(0)),
        }
    }

    /// Writes Akamai's lifetime, which has a unit.
    pub(super) fn edge_lifetime(&mut self, edge: u32) {
        self.lifetime("max-age", edge);
        self.value.push(b's');
    }

    /// Writes Akamai's directives. `!no-store` makes the edge store the response regardless of the `Cache-Control`
    /// for browsers.
    pub(super) fn edge_control(&mut self, edge: u32, browser: Option<u32>) {
        self.directive(b"!no-store");
        self.edge_lifetime(edge);
        if let Some(browser) = browser {
            self.lifetime("downstream-ttl", browser);
            self.value.push(b's');
        }
    }

    /// Copies the directives of a response field that are valid and for which `stays` returns `true`.
    pub(super) fn keep(&mut self, fields: &Fields<'_, '_>, field: Field, stays: impl Fn(Name) -> bool) {
        let needs_structure = self.is_structured && !field.is_structured();
        for line in fields.lines(field) {
            let kept = directives(line.as_bytes(), Syntax::of(field));
            let kept = kept.filter(|d| stays(d.name) && !d.is_malformed());
            for directive in kept.filter(|d| !needs_structure || is_dictionary(d.raw)) {
                self.directive(directive.raw);
            }
        }
    }
}
