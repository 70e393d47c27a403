//! A field line: its value, the meaning of its name, and optionally its encoded form.

use super::Known;
use bytes::BytesMut;
use http::{HeaderName, HeaderValue};
use std::borrow::Cow;
use std::fmt;
use std::rc::Rc;

/// One line of a head (RFC 9110 §5.2). Lines are immutable: an edit replaces a line by another one.
#[derive(Clone)]
pub struct FieldLine {
    name: HeaderName,
    value: HeaderValue,
    known: Known,
    /// The encoded line, if it is kept long enough to be worth the memory.
    written: Option<Box<[u8]>>,
}

impl FieldLine {
    /// Creates a line with this name and value.
    pub fn new(name: HeaderName, value: HeaderValue) -> Self {
        Self { known: Known::of(name.as_str()), name, value, written: None }
    }

    /// Returns a copy to be kept: it has memory of its own and is quick to write.
    pub fn kept(&self) -> Self {
        let value = HeaderValue::from_bytes(self.value.as_bytes()).expect("a copy of a value is one");
        let mut written = BytesMut::new();
        self.line().write(&mut written);
        Self { name: self.name.clone(), value, known: self.known, written: Some(written[..].into()) }
    }

    /// Returns the same line in a form to be kept: not a slice of a read buffer, and quick to write.
    pub fn lasting(self: &Rc<Self>) -> Rc<Self> {
        if self.written.is_some() { Rc::clone(self) } else { Rc::new(self.kept()) }
    }

    /// Returns the same field with another value.
    pub fn with(&self, value: HeaderValue) -> Self {
        Self { name: self.name.clone(), value, known: self.known, written: None }
    }

    /// The name of the field.
    pub fn name(&self) -> &HeaderName {
        &self.name
    }

    /// The value of the line.
    pub fn value(&self) -> &HeaderValue {
        &self.value
    }

    /// The meaning of the name.
    pub fn known(&self) -> Known {
        self.known
    }

    /// Borrows the whole line.
    pub fn line(&self) -> Line<'_> {
        let form = match &self.written {
            Some(written) => Form::Kept(&self.value, written),
            None => Form::Value(&self.value),
        };
        Line { name: &self.name, known: self.known, form }
    }
}

impl From<FieldLine> for (HeaderName, HeaderValue) {
    fn from(line: FieldLine) -> Self {
        (line.name, line.value)
    }
}

impl fmt::Debug for FieldLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (&self.name, &self.value).fmt(f)
    }
}

impl PartialEq for FieldLine {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.value == other.value
    }
}

impl Eq for FieldLine {}

/// A line to be written, either one of a head or one added to it.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// The name of the field.
    pub name: &'a HeaderName,
    /// The meaning of the name.
    pub known: Known,
    form: Form<'a>,
}

/// The form in which a line is available, apart from its name.
#[derive(Clone, Copy, Debug)]
enum Form<'a> {
    /// The value.
    Value(&'a HeaderValue),
    /// The value and the encoded line.
    Kept(&'a HeaderValue, &'a [u8]),
    /// The encoded line, which contains the value.
    Written(&'a [u8]),
}

const COLON: &[u8] = b": ";
const END: &[u8] = b"\r\n";

impl<'a> Line<'a> {
    /// Creates a line whose name is known to be `known`.
    pub fn of(known: Known, name: &'a HeaderName, value: &'a HeaderValue) -> Self {
        debug_assert_eq!(Known::of(name.as_str()), known);
        Self { name, known, form: Form::Value(value) }
    }

    /// Creates a line from the output of [`write`](Self::write), with a legal value.
    pub fn written(known: Known, name: &'a HeaderName, written: &'a [u8]) -> Self {
        debug_assert_eq!(Known::of(name.as_str()), known);
        debug_assert!(written.starts_with(name.as_str().as_bytes()) && written.ends_with(END));
        Self { name, known, form: Form::Written(written) }
    }

    /// Creates a line that never changes, from both its value and its encoded form.
    pub const fn fixed(
        known: Known,
        name: &'static HeaderName,
        value: &'static HeaderValue,
        written: &'static [u8],
    ) -> Self {
        Self { name, known, form: Form::Kept(value, written) }
    }

    /// The value of the line.
    pub fn value(&self) -> Cow<'a, HeaderValue> {
        match self.form {
            Form::Value(value) | Form::Kept(value, _) => Cow::Borrowed(value),
            Form::Written(_) => {
                let value = HeaderValue::from_bytes(self.value_bytes());
                Cow::Owned(value.expect("only lines with a legal value are written"))
            }
        }
    }

    /// The bytes of the value.
    pub fn value_bytes(&self) -> &'a [u8] {
        match self.form {
            Form::Value(value) | Form::Kept(value, _) => value.as_bytes(),
            Form::Written(line) => &line[self.name.as_str().len() + COLON.len()..line.len() - END.len()],
        }
    }

    /// Appends the line in the form of HTTP/1.1 (RFC 9112 §5), with the name in lower case and exactly one space.
    #[inline]
    pub fn write(&self, out: &mut BytesMut) {
        match self.form {
            Form::Kept(_, written) | Form::Written(written) => out.extend_from_slice(written),
            Form::Value(value) => self.compose(value, out),
        }
    }

    fn compose(&self, value: &HeaderValue, out: &mut BytesMut) {
        for part in [self.name.as_str().as_bytes(), COLON, value.as_bytes(), END] {
            out.extend_from_slice(part);
        }
    }
}

impl<'a> From<(&'a HeaderName, &'a HeaderValue)> for Line<'a> {
    fn from((name, value): (&'a HeaderName, &'a HeaderValue)) -> Self {
        Self::of(Known::of(name.as_str()), name, value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_kept_is_written_alike() {
        for (name, value) in [("etag", "\"1\""), ("x-Other", " caf\u{e9} "), ("via", "")] {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            let line = FieldLine::new(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
            let kept = line.kept();
            assert_eq!((&kept, kept.known()), (&line, line.known()));
            let written = [&line, &kept, &kept.with(line.value().clone())].map(|line| {
                let mut out = BytesMut::new();
                line.line().write(&mut out);
                out
            });
            assert_eq!(written[0], format!("{}: {value}\r\n", line.name()));
            assert!(written.iter().all(|other| *other == written[0]));
        }
    }
}
