//! A field line: what it says, what its name is to us, and perhaps how it is written.

use super::Known;
use bytes::BytesMut;
use http::{HeaderName, HeaderValue};
use std::borrow::Cow;
use std::fmt;
use std::rc::Rc;

/// One line of a head (RFC 9110 §5.2). It does not change; an edit puts another one in its place.
#[derive(Clone)]
pub struct FieldLine {
    name: HeaderName,
    value: HeaderValue,
    known: Known,
    /// The line as it is written, where it is kept so long that this is worth the memory.
    written: Option<Box<[u8]>>,
}

impl FieldLine {
    /// A line of this name.
    pub fn new(name: HeaderName, value: HeaderValue) -> Self {
        Self { known: Known::of(name.as_str()), name, value, written: None }
    }

    /// The same line to be kept: with memory of its own, and quick to write.
    pub fn kept(&self) -> Self {
        let value = HeaderValue::from_bytes(self.value.as_bytes()).expect("a copy of a value is one");
        let mut written = BytesMut::new();
        self.line().write(&mut written);
        Self { name: self.name.clone(), value, known: self.known, written: Some(written[..].into()) }
    }

    /// The same line for who keeps it: not a part of a read buffer, and quick to write.
    pub fn lasting(self: &Rc<Self>) -> Rc<Self> {
        if self.written.is_some() { Rc::clone(self) } else { Rc::new(self.kept()) }
    }

    /// The same field with another value.
    pub fn with(&self, value: HeaderValue) -> Self {
        Self { name: self.name.clone(), value, known: self.known, written: None }
    }

    /// Its name.
    pub fn name(&self) -> &HeaderName {
        &self.name
    }

    /// Its value.
    pub fn value(&self) -> &HeaderValue {
        &self.value
    }

    /// What its name is to us.
    pub fn known(&self) -> Known {
        self.known
    }

    /// All of it by reference.
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

/// A line to be written: one of a head, or one that somebody else puts beside them.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// Its name.
    pub name: &'a HeaderName,
    /// What its name is to us.
    pub known: Known,
    form: Form<'a>,
}

/// In what form there is a line, its name apart.
#[derive(Clone, Copy, Debug)]
enum Form<'a> {
    /// As its value.
    Value(&'a HeaderValue),
    /// As its value, and as it is written.
    Kept(&'a HeaderValue, &'a [u8]),
    /// As it is written, and the value only in there.
    Written(&'a [u8]),
}

const COLON: &[u8] = b": ";
const END: &[u8] = b"\r\n";

impl<'a> Line<'a> {
    /// A line whose name is known to be `known`.
    pub fn of(known: Known, name: &'a HeaderName, value: &'a HeaderValue) -> Self {
        debug_assert_eq!(Known::of(name.as_str()), known);
        Self { name, known, form: Form::Value(value) }
    }

    /// The same for a line in the form of [`write`](Self::write), with a value that is legal.
    pub fn written(known: Known, name: &'a HeaderName, written: &'a [u8]) -> Self {
        debug_assert_eq!(Known::of(name.as_str()), known);
        debug_assert!(written.starts_with(name.as_str().as_bytes()) && written.ends_with(END));
        Self { name, known, form: Form::Written(written) }
    }

    /// The same for a line that never changes, so that there are both forms of it.
    pub const fn fixed(
        known: Known,
        name: &'static HeaderName,
        value: &'static HeaderValue,
        written: &'static [u8],
    ) -> Self {
        Self { name, known, form: Form::Kept(value, written) }
    }

    /// Its value.
    pub fn value(&self) -> Cow<'a, HeaderValue> {
        match self.form {
            Form::Value(value) | Form::Kept(value, _) => Cow::Borrowed(value),
            Form::Written(_) => {
                let value = HeaderValue::from_bytes(self.value_bytes());
                Cow::Owned(value.expect("only lines with a legal value are written"))
            }
        }
    }

    /// The bytes of its value.
    pub fn value_bytes(&self) -> &'a [u8] {
        match self.form {
            Form::Value(value) | Form::Kept(value, _) => value.as_bytes(),
            Form::Written(line) => &line[self.name.as_str().len() + COLON.len()..line.len() - END.len()],
        }
    }

    /// Appends it in the form of HTTP/1.1 (RFC 9112 §5): the name in lower case, one space, no more.
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
