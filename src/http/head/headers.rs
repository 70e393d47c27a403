//! The fields of a head, as ranges of the text in which they arrived.

use super::line::{COLON, END, FieldLine, Line, Value, length_of};
use super::{Known, MapCache};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use std::fmt;
use std::ops::Range;

/// Field lines in their order.
///
/// A line that arrived in the form of [`Line`] is a range of the text that was received, so that nothing is allocated,
/// counted or hashed for it. Lines that are added, and those that arrived in another form, have a text of their own.
#[derive(Clone, Default)]
pub struct Headers {
    received: Bytes,
    added: Vec<u8>,
    lines: Vec<Span>,
    /// [Bits](Known::bit) of the names of the lines, and perhaps of lines that were removed.
    names: u64,
}

/// The place of a line.
#[derive(Clone, Copy)]
struct Span {
    start: u32,
    end: u32,
    name_length: u16,
    known: Known,
    is_added: bool,
}

impl Span {
    fn of(known: Known, name_length: u16, place: Range<usize>, is_added: bool) -> Self {
        Self { start: offset(place.start), end: offset(place.end), name_length, known, is_added }
    }

    fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

impl Headers {
    /// Creates an empty list.
    pub const fn new() -> Self {
        Self { received: Bytes::new(), added: Vec::new(), lines: Vec::new(), names: 0 }
    }

    /// Creates an empty list with room for this many lines.
    pub fn with_capacity(lines: usize) -> Self {
        Self { lines: Vec::with_capacity(lines), ..Self::new() }
    }

    /// Returns the same lines, with the text to which the places of the received ones refer.
    pub fn with_text(self, received: Bytes) -> Self {
        Self { received, ..self }
    }

    /// Adds the line at this place of the text that is received, whose form must be that of [`Line`].
    pub(super) fn push_received(&mut self, known: Known, name_length: u16, place: Range<usize>) {
        self.names |= known.bit();
        self.lines.push(Span::of(known, name_length, place, false));
    }

    /// Adds a line with this name and value, which must be legal, the name in lower case.
    pub(super) fn push_parts(&mut self, known: Known, name: &[u8], value: &[u8]) {
        let start = self.added.len();
        for part in [name, COLON, value, END] {
            self.added.extend_from_slice(part);
        }
        self.names |= known.bit();
        self.lines.push(Span::of(known, length_of(name), start..self.added.len(), true));
    }

    /// The number of lines.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there are no lines.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    #[inline]
    fn text(&self, is_added: bool) -> &[u8] {
        if is_added { &self.added } else { &self.received }
    }

    #[inline]
    fn line(&self, span: Span) -> Line<'_> {
        Line::of(span.known, span.name_length, &self.text(span.is_added)[span.range()])
    }

    /// Iterates over all lines.
    pub fn lines(&self) -> impl ExactSizeIterator<Item = Line<'_>> + Clone {
        self.lines.iter().map(|span| self.line(*span))
    }

    /// Iterates over the names and values of all lines.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, Value<'_>)> + Clone {
        self.lines().map(|line| (line.name(), line.value()))
    }

    /// Returns the value of the first line with this name, given in lower case.
    pub fn get(&self, name: impl AsRef<str>) -> Option<Value<'_>> {
        let name = name.as_ref();
        let known = Known::of(name);
        self.named(known, name).next()
    }

    /// Iterates over the values of all lines with this name, given in lower case.
    pub fn get_all<'h, 'n, N: AsRef<str> + ?Sized>(
        &'h self,
        name: &'n N,
    ) -> impl Iterator<Item = Value<'h>> + use<'h, 'n, N> {
        self.named(Known::of(name.as_ref()), name.as_ref())
    }

    /// Does the same with a name whose meaning is known.
    pub fn named<'h, 'n>(
        &'h self,
        known: Known,
        name: &'n str,
    ) -> impl Iterator<Item = Value<'h>> + use<'h, 'n> {
        self.of(known).filter(move |line| known.is_one_name() || line.is_named(name)).map(Line::value)
    }

    /// Iterates over the values of all lines whose name has this meaning.
    pub fn all(&self, known: Known) -> impl Iterator<Item = Value<'_>> {
        self.of(known).map(Line::value)
    }

    fn of(&self, known: Known) -> impl Iterator<Item = Line<'_>> {
        let lines = if self.names & known.bit() == 0 { &[][..] } else { &self.lines };
        lines.iter().filter(move |span| span.known == known).map(|span| self.line(*span))
    }

    /// Iterates over the lines whose names are in this set of [bits](Known::bit).
    pub fn among(&self, names: u64) -> impl Iterator<Item = Line<'_>> {
        let lines = if self.may_have(names) { &self.lines } else { &[][..] };
        lines.iter().filter(move |span| names & span.known.bit() != 0).map(|span| self.line(*span))
    }

    /// Whether there may be a line whose name is in this set of [bits](Known::bit).
    pub fn may_have(&self, names: u64) -> bool {
        self.names & names != 0
    }

    /// Whether there is a line with this name, given in lower case.
    pub fn contains(&self, name: impl AsRef<str>) -> bool {
        self.get(name).is_some()
    }

    /// Adds a line with this name and value after all others.
    pub fn append(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.push_parts(Known::of(name.as_str()), name.as_str().as_bytes(), value.as_bytes());
    }

    /// Makes room for this many bytes of lines to be added.
    pub fn reserve(&mut self, bytes: usize) {
        self.added.reserve(bytes);
    }

    /// Adds a line after all others.
    pub fn push(&mut self, line: Line<'_>) {
        self.names |= line.known().bit();
        let span = self.add(line);
        self.lines.push(span);
    }

    /// Adds the text of a line.
    fn add(&mut self, line: Line<'_>) -> Span {
        let start = self.added.len();
        self.added.extend_from_slice(line.text());
        Span::of(line.known(), line.name_length(), start..self.added.len(), true)
    }

    /// Makes this the only line of its name, in the place of the first one if there was any.
    pub fn insert(&mut self, name: &HeaderName, value: &HeaderValue) {
        let line = FieldLine::new(name, value);
        let line = line.line();
        let mut is_placed = false;
        self.edit(line.known().bit(), |other| match other.is_named(name.as_str()) {
            false => Edit::Keep,
            true if is_placed => Edit::Remove,
            true => {
                is_placed = true;
                Edit::Replace(line)
            }
        });
        if !is_placed {
            self.push(line);
        }
    }

    /// Removes every line with this name, given in lower case.
    pub fn remove(&mut self, name: impl AsRef<str>) {
        let name = name.as_ref();
        self.edit(Known::of(name).bit(), |line| match line.is_named(name) {
            true => Edit::Remove,
            false => Edit::Keep,
        });
    }

    /// Keeps the lines for which `stays` returns `true`.
    pub fn retain(&mut self, mut stays: impl FnMut(Line<'_>) -> bool) {
        let Self { received, added, lines, .. } = self;
        lines.retain(|span| {
            let text: &[u8] = if span.is_added { added } else { received };
            stays(Line::of(span.known, span.name_length, &text[span.range()]))
        });
    }

    /// Applies `edit` to each line whose name is in this set of [bits](Known::bit), which few lines are.
    pub fn edit<'e>(&mut self, names: u64, mut edit: impl FnMut(Line<'_>) -> Edit<'e>) {
        if !self.may_have(names) {
            return;
        }
        let mut kept = 0;
        for number in 0..self.lines.len() {
            let mut span = self.lines[number];
            if names & span.known.bit() != 0 {
                match edit(self.line(span)) {
                    Edit::Keep => {}
                    Edit::Replace(line) => span = self.add(line),
                    Edit::Remove => continue,
                }
            }
            self.lines[kept] = span;
            kept += 1;
        }
        self.lines.truncate(kept);
    }

    /// Appends all lines as HTTP/1.1 has them, except those whose names are in this set of [bits](Known::bit) and for
    /// which `stays` returns `false`. Lines that follow each other in the received text are copied together.
    pub fn write(&self, out: &mut BytesMut, names: u64, mut stays: impl FnMut(Line<'_>) -> bool) {
        let (mut is_added, mut run) = (false, 0..0);
        for span in &self.lines {
            if names & span.known.bit() != 0 && !stays(self.line(*span)) {
                continue;
            }
            let place = span.range();
            if span.is_added == is_added && place.start == run.end {
                run.end = place.end;
            } else {
                out.extend_from_slice(&self.text(is_added)[run]);
                (is_added, run) = (span.is_added, place);
            }
        }
        out.extend_from_slice(&self.text(is_added)[run]);
    }

    /// Returns a map of the lines for which `stays` returns `true`. The values are slices of the text, not copies.
    pub fn into_map(self, maps: &mut MapCache, stays: impl Fn(Line<'_>) -> bool) -> HeaderMap {
        let Self { received, added, mut lines, .. } = self;
        let added = Bytes::from(added);
        let text = |span: &Span| if span.is_added { &added } else { &received };
        let line = |span: &Span| Line::of(span.known, span.name_length, &text(span)[span.range()]);
        lines.retain(|span| stays(line(span)));
        let value = |span: &Span| {
            let place = span.range();
            let start = place.start + usize::from(span.name_length) + COLON.len();
            HeaderValue::from_maybe_shared(text(span).slice(start..place.end - END.len()))
                .expect("a line has a legal value")
        };
        maps.map(lines.iter().map(|span| (line(span).name_bytes(), || value(span))))
    }
}

/// A place in a text. Heads have at most [`limits::MAX_HEAD_BYTES`](super::limits::MAX_HEAD_BYTES), and the text of
/// added lines is bounded by the limits of tags and of the configuration.
fn offset(place: usize) -> u32 {
    u32::try_from(place).expect("a head has less than 4 GiB")
}

/// The change to make to a line.
#[derive(Debug)]
pub enum Edit<'e> {
    /// Keep the line.
    Keep,
    /// Remove the line.
    Remove,
    /// Replace the line by this one.
    Replace(Line<'e>),
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.lines()).finish()
    }
}

impl PartialEq for Headers {
    fn eq(&self, other: &Self) -> bool {
        self.lines().eq(other.lines())
    }
}

impl Eq for Headers {}

impl FromIterator<(HeaderName, HeaderValue)> for Headers {
    fn from_iter<I: IntoIterator<Item = (HeaderName, HeaderValue)>>(lines: I) -> Self {
        let mut headers = Self::new();
        lines.into_iter().for_each(|(name, value)| headers.append(&name, &value));
        headers
    }
}

impl From<&HeaderMap> for Headers {
    fn from(map: &HeaderMap) -> Self {
        let mut headers = Self::with_capacity(map.len());
        let bytes = |(name, value): (&HeaderName, &HeaderValue)| {
            name.as_str().len() + COLON.len() + value.len() + END.len()
        };
        headers.reserve(map.iter().map(bytes).sum());
        map.iter().for_each(|(name, value)| headers.append(name, value));
        headers
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
            list.insert(&VARY, &HeaderValue::from_static("new"));
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
    fn lines_of_both_texts_are_written_in_their_order() {
        let mut list = Headers::new();
        for (known, name_length, place) in [
            (Known::Vary, 4, 0..9),
            (Known::Age, 3, 9..17),
            (Known::Vary, 4, 17..26),
            (Known::Other, 6, 26..37),
        ] {
            list.push_received(known, name_length, place);
        }
        let mut list = list.with_text(Bytes::from_static(b"vary: 1\r\nage: 2\r\nvary: 3\r\naccept: 4\r\n"));
        let written = |list: &Headers, without: Known| {
            let mut out = BytesMut::new();
            list.write(&mut out, without.bit(), |_| false);
            String::from_utf8(out.to_vec()).unwrap().replace("\r\n", "|")
        };
        assert_eq!(written(&list, Known::Te), "vary: 1|age: 2|vary: 3|accept: 4|");
        assert_eq!(written(&list, Known::Age), "vary: 1|vary: 3|accept: 4|");
        assert_eq!(written(&list, Known::Vary), "age: 2|accept: 4|");
        list.insert(&AGE, &HeaderValue::from_static("5"));
        list.append(&AGE, &HeaderValue::from_static("6"));
        assert_eq!(written(&list, Known::Te), "vary: 1|age: 5|vary: 3|accept: 4|age: 6|");
    }

    #[test]
    fn a_map_and_a_list_have_the_same_lines() {
        let list = headers(&[(&VARY, "1"), (&AGE, "2"), (&VARY, "3")]);
        let map = list.clone().into_map(&mut MapCache::default(), |_| true);
        assert!(map.get_all(VARY).iter().eq(["1", "3"]));
        let lines = Headers::from(&map);
        let mut back: Vec<_> = lines.iter().map(|(name, value)| format!("{name}: {value:?}")).collect();
        back.sort();
        assert_eq!(back, ["age: \"2\"", "vary: \"1\"", "vary: \"3\""]);
    }
}
