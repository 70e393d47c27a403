//! The head of a message: its control data, and its fields in the order in which they arrived (RFC 9110 §6).
//!
//! The fields are a list, not a map. A proxy reads each line one time and writes all of them again. Hashing every
//! name for that would cost more than everything else that is done to a head. The limits on heads keep the list
//! short.

pub mod known;
pub mod limits;
pub mod line;
pub mod line_cache;
pub mod map_cache;

#[cfg(test)]
pub(crate) mod fixture;

pub use known::Known;
pub use line::{FieldLine, Line};
pub use line_cache::{Beginning, LineCache};
pub use map_cache::MapCache;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version};
use std::rc::Rc;

/// The head of a request.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// The request method.
    pub method: Method,
    /// The request target.
    pub uri: Uri,
    /// The HTTP version of the request.
    pub version: Version,
    /// The fields of the request.
    pub headers: Headers,
}

/// The head of a response.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    /// The status code.
    pub status: StatusCode,
    /// The reason phrase, if it differs from the usual one.
    pub reason: Option<Bytes>,
    /// The fields of the response.
    pub headers: Headers,
}

impl ResponseHead {
    /// Creates a head without fields.
    pub fn new(status: StatusCode) -> Self {
        Self { status, reason: None, headers: Headers::new() }
    }
}

impl From<http::request::Parts> for RequestHead {
    fn from(parts: http::request::Parts) -> Self {
        let http::request::Parts { method, uri, version, headers, .. } = parts;
        Self { method, uri, version, headers: headers.into() }
    }
}

/// Returns the target of a request as its origin gets it (RFC 9112 §3.2.1): without scheme and authority, because a
/// request never chooses its origin.
pub fn origin_form(uri: &Uri) -> &str {
    uri.path_and_query().map_or("/", PathAndQuery::as_str)
}

/// Field lines in their order. Lines that are also kept elsewhere, because they come again and again, are shared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<Rc<FieldLine>>);

impl Headers {
    /// Creates an empty list.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Creates an empty list with room for this many lines.
    pub fn with_capacity(lines: usize) -> Self {
        Self(Vec::with_capacity(lines))
    }

    /// The number of lines.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no lines.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Iterates over all lines.
    pub fn lines(&self) -> impl ExactSizeIterator<Item = &FieldLine> + Clone {
        self.0.iter().map(|line| &**line)
    }

    /// Iterates over all lines in a form that can be shared.
    pub fn shared(&self) -> impl ExactSizeIterator<Item = &Rc<FieldLine>> {
        self.0.iter()
    }

    /// Iterates over the names and values of all lines.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&HeaderName, &HeaderValue)> + Clone {
        self.lines().map(|line| (line.name(), line.value()))
    }

    /// Returns the value of the first line with this name.
    pub fn get<N: ?Sized>(&self, name: &N) -> Option<&HeaderValue>
    where
        HeaderName: PartialEq<N>,
    {
        self.get_all(name).next()
    }

    /// Iterates over the values of all lines with this name.
    pub fn get_all<'h, N: ?Sized>(&'h self, name: &N) -> impl Iterator<Item = &'h HeaderValue>
    where
        HeaderName: PartialEq<N>,
    {
        self.iter().filter(move |(other, _)| *other == name).map(|(_, value)| value)
    }

    /// Iterates over the values of all lines whose name has this meaning.
    pub fn all(&self, known: Known) -> impl Iterator<Item = &HeaderValue> {
        self.lines().filter(move |line| line.known() == known).map(FieldLine::value)
    }

    /// Whether there is a line with this name.
    pub fn contains<N: ?Sized>(&self, name: &N) -> bool
    where
        HeaderName: PartialEq<N>,
    {
        self.get(name).is_some()
    }

    /// Adds a line with this name and value after all others.
    pub fn append(&mut self, name: HeaderName, value: HeaderValue) {
        self.push(Rc::new(FieldLine::new(name, value)));
    }

    /// Adds a line after all others.
    pub fn push(&mut self, line: Rc<FieldLine>) {
        self.0.push(line);
    }

    /// Makes this the only line of its name, in the place of the first one if there was any.
    pub fn insert(&mut self, name: &HeaderName, value: HeaderValue) {
        let mut left = Some(value);
        self.edit(Known::of(name.as_str()).bit(), |line| match line.name() == name {
            true => left.take().map_or(Edit::Remove, |value| Edit::Replace(Rc::new(line.with(value)))),
            false => Edit::Keep,
        });
        if let Some(value) = left {
            self.append(name.clone(), value);
        }
    }

    /// Removes every line with this name.
    pub fn remove<N: ?Sized>(&mut self, name: &N)
    where
        HeaderName: PartialEq<N>,
    {
        self.retain(|line| line.name() != name);
    }

    /// Keeps the lines for which `stays` returns `true`.
    pub fn retain(&mut self, mut stays: impl FnMut(&FieldLine) -> bool) {
        self.0.retain(|line| stays(line));
    }

    /// Applies `edit` to each line whose name is in this set of [bits](Known::bit), which few lines are.
    pub fn edit(&mut self, names: u64, mut edit: impl FnMut(&FieldLine) -> Edit) {
        let mut number = 0;
        while let Some(line) = self.0.get_mut(number) {
            number += 1;
            if names & line.known().bit() == 0 {
                continue;
            }
            match edit(line) {
                Edit::Keep => {}
                Edit::Replace(other) => *line = other,
                Edit::Remove => {
                    number -= 1;
                    self.0.remove(number);
                }
            }
        }
    }
}

/// The change to make to a line.
#[derive(Debug)]
pub enum Edit {
    /// Keep the line.
    Keep,
    /// Remove the line.
    Remove,
    /// Replace the line by this one.
    Replace(Rc<FieldLine>),
}

impl FromIterator<(HeaderName, HeaderValue)> for Headers {
    fn from_iter<I: IntoIterator<Item = (HeaderName, HeaderValue)>>(lines: I) -> Self {
        Self(lines.into_iter().map(|(name, value)| Rc::new(FieldLine::new(name, value))).collect())
    }
}

impl From<HeaderMap> for Headers {
    fn from(map: HeaderMap) -> Self {
        let mut headers = Self::with_capacity(map.len());
        for (name, value) in map {
            // Only the first line of a name comes with the name.
            let Some(name) = name.or_else(|| headers.0.last().map(|last| last.name().clone())) else {
                continue;
            };
            headers.append(name, value);
        }
        headers
    }
}

impl From<Headers> for HeaderMap {
    fn from(headers: Headers) -> Self {
        let mut map = Self::with_capacity(headers.len());
        for line in headers.0 {
            let (name, value) = match Rc::try_unwrap(line) {
                Ok(line) => line.into(),
                Err(shared) => (shared.name().clone(), shared.value().clone()),
            };
            map.append(name, value);
        }
        map
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::{ACCEPT, AGE, VARY};

    fn headers(lines: &[(&HeaderName, &'static str)]) -> Headers {
        lines.iter().map(|(name, value)| ((*name).clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn lines_stay_in_their_order() {
        let list = headers(&[(&VARY, "1"), (&AGE, "2"), (&VARY, "3")]);
        assert!(list.get_all(&VARY).eq(["1", "3"]));
        assert_eq!(list.get(&AGE).unwrap(), "2");
        assert!(!list.contains(&ACCEPT) && list.len() == 3);
    }

    #[test]
    fn one_line_takes_the_place_of_all() {
        let check = |before: &[(&HeaderName, &'static str)], after: &[(&HeaderName, &'static str)]| {
            let mut list = headers(before);
            list.insert(&VARY, HeaderValue::from_static("new"));
            assert_eq!(list, headers(after));
            list.remove(&VARY);
            assert!(!list.contains(&VARY) && list.len() == after.len() - 1);
        };
        check(&[], &[(&VARY, "new")]);
        check(&[(&AGE, "1")], &[(&AGE, "1"), (&VARY, "new")]);
        check(
            &[(&VARY, "1"), (&AGE, "2"), (&VARY, "3"), (&ACCEPT, "4")],
            &[(&VARY, "new"), (&AGE, "2"), (&ACCEPT, "4")],
        );
    }

    #[test]
    fn a_map_and_a_list_have_the_same_lines() {
        let list = headers(&[(&VARY, "1"), (&AGE, "2"), (&VARY, "3")]);
        let map = HeaderMap::from(list.clone());
        assert!(map.get_all(VARY).iter().eq(["1", "3"]));
        let mut back =
            Headers::from(map).iter().map(|(name, value)| format!("{name}: {value:?}")).collect::<Vec<_>>();
        back.sort();
        assert_eq!(back, ["age: \"2\"", "vary: \"1\"", "vary: \"3\""]);
    }
}
