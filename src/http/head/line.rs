//! A field line: its text, and the meaning of its name.

use super::Known;
use http::uri::Authority;
use http::{HeaderName, HeaderValue};
use std::fmt;

pub(super) const COLON: &[u8] = b": ";
pub(super) const END: &[u8] = b"\r\n";

/// A line of a head (RFC 9110 §5.2), in the form in which it is written to HTTP/1.1: the name in lower case, a colon,
/// one space, the value without surrounding blanks, and CRLF (RFC 9112 §5).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    text: &'a [u8],
    name_length: u16,
    known: Known,
}

impl<'a> Line<'a> {
    /// Creates a line from its text, whose form the caller vouches for, and from its name and what that means.
    pub fn written(known: Known, name: &str, text: &'a [u8]) -> Self {
        debug_assert_eq!(Known::of(name), known);
        debug_assert!(text.starts_with(name.as_bytes()) && text.ends_with(END));
        Self::of(known, length_of(name.as_bytes()), text)
    }

    /// Does the same with the length of the name instead of the name.
    pub const fn of(known: Known, name_length: u16, text: &'a [u8]) -> Self {
        Self { text, name_length, known }
    }

    /// The name of the field, in lower case.
    pub fn name(self) -> &'a str {
        std::str::from_utf8(self.name_bytes()).unwrap_or_default()
    }

    /// The bytes of the name.
    pub(super) fn name_bytes(self) -> &'a [u8] {
        &self.text[..usize::from(self.name_length)]
    }

    /// Whether the field has this name, given in lower case.
    pub fn is_named(self, name: &str) -> bool {
        self.name_bytes() == name.as_bytes()
    }

    /// The value of the line.
    pub fn value(self) -> Value<'a> {
        Value(&self.text[usize::from(self.name_length) + COLON.len()..self.text.len() - END.len()])
    }

    /// The meaning of the name.
    pub fn known(self) -> Known {
        self.known
    }

    /// The whole line with its end.
    pub fn text(self) -> &'a [u8] {
        self.text
    }

    /// The length of the name.
    pub(super) fn name_length(self) -> u16 {
        self.name_length
    }
}

impl fmt::Debug for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (self.name(), self.value()).fmt(f)
    }
}

/// The value of a line: bytes without controls, except tabs (RFC 9110 §5.5).
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Value<'a>(pub(super) &'a [u8]);

impl<'a> Value<'a> {
    /// The bytes of the value.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// The value as text if all of it is visible ASCII, spaces and tabs.
    pub fn to_str(self) -> Option<&'a str> {
        std::str::from_utf8(self.0).ok().filter(|text| text.is_ascii())
    }

    /// A copy of the value.
    pub fn to_owned(self) -> HeaderValue {
        HeaderValue::from_bytes(self.0).expect("a line has a legal value")
    }
}

impl<'a> From<&'a HeaderValue> for Value<'a> {
    fn from(value: &'a HeaderValue) -> Self {
        Self(value.as_bytes())
    }
}

impl<'a> From<&'a Authority> for Value<'a> {
    // Controls are not legal in an authority (RFC 3986 §3.2).
    fn from(authority: &'a Authority) -> Self {
        Self(authority.as_str().as_bytes())
    }
}

impl PartialEq<&str> for Value<'_> {
    fn eq(&self, other: &&str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        String::from_utf8_lossy(self.0).fmt(f)
    }
}

/// A line with memory of its own.
#[derive(Clone, PartialEq, Eq)]
pub struct FieldLine {
    text: Box<[u8]>,
    name_length: u16,
    known: Known,
}

impl FieldLine {
    /// Creates a line with this name and value.
    pub fn new(name: &HeaderName, value: &HeaderValue) -> Self {
        let text = [name.as_str().as_bytes(), COLON, value.as_bytes(), END].concat();
        Self {
            text: text.into(),
            name_length: length_of(name.as_str().as_bytes()),
            known: Known::of(name.as_str()),
        }
    }

    /// Borrows the line.
    pub fn line(&self) -> Line<'_> {
        Line::of(self.known, self.name_length, &self.text)
    }

    /// The value of the line.
    pub fn value(&self) -> Value<'_> {
        self.line().value()
    }
}

impl fmt::Debug for FieldLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.line().fmt(f)
    }
}

/// The length of a name, which has at most 65,535 bytes in the `http` crate and in `read.rs`.
pub(super) fn length_of(name: &[u8]) -> u16 {
    u16::try_from(name.len()).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::VARY;

    #[test]
    fn a_line_has_the_parts_that_it_was_made_of() {
        let line = FieldLine::new(&VARY, &HeaderValue::from_static("Cookie\t x"));
        let line = line.line();
        assert_eq!((line.name(), line.value(), line.known()), ("vary", Value(b"Cookie\t x"), Known::Vary));
        assert_eq!(line.text(), b"vary: Cookie\t x\r\n");
        assert!(line.is_named("vary") && !line.is_named("var"));
        assert_eq!(line.value().to_owned(), "Cookie\t x");
    }

    #[test]
    fn what_is_text() {
        let text = |bytes: &'static [u8]| Value(bytes).to_str();
        assert_eq!(text(b"a b"), Some("a b"));
        assert_eq!(text("caf\u{e9}".as_bytes()), None);
        assert_eq!(text(b"\xff"), None);
    }
}
