//! Changes to a response's head, collected while it is read and made after everything is decided.

use super::Dialect;
use super::field::FieldName;
use crate::http::head::{Edit, Headers, Line};
use smallvec::SmallVec;
use std::ops::Range;

/// A list of changes, at most one per field.
#[derive(Clone, Debug, Default)]
pub(super) struct Edits<'n> {
    changes: SmallVec<[Change<'n>; 8]>,
    /// The lines that are set, one after the other.
    text: Vec<u8>,
    /// Bits of the changed fields.
    fields: u64,
}

/// The change of one field.
#[derive(Clone, Debug)]
struct Change<'n> {
    field: FieldName<'n>,
    /// The place of the line that is set as the only one of the field, or of the lines of a list; `None` if the field
    /// is removed.
    line: Option<Range<usize>>,
    /// Whether it may be several lines.
    is_list: bool,
}

impl Change<'_> {
    fn is_of(&self, field: FieldName<'_>) -> bool {
        let known = self.field.known;
        known == field.known && (known.is_one_name() || self.field.name == field.name)
    }

    fn is_of_line(&self, line: Line<'_>) -> bool {
        let known = self.field.known;
        known == line.known() && (known.is_one_name() || line.is_named(self.field.name.as_str()))
    }
}

impl<'n> Edits<'n> {
    /// Sets a line with this name as the only one of its field. `write` appends the value, which must be legal. If it
    /// appends nothing, the field is left as it is.
    pub(super) fn set<T>(&mut self, field: FieldName<'n>, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        if self.text.capacity() == 0 {
            self.text.reserve(512);
        }
        let start = self.text.len();
        self.text.extend_from_slice(field.name.as_str().as_bytes());
        self.text.extend_from_slice(b": ");
        let value = self.text.len();
        let told = write(&mut self.text);
        if self.text.len() == value {
            self.text.truncate(start);
        } else {
            self.text.extend_from_slice(b"\r\n");
            self.note(field, Some(start..self.text.len()), false);
        }
        told
    }

    /// Does the same for a list, of which `write` may append several lines: each but the first after a CRLF and the
    /// name of the field.
    pub(super) fn set_list<T>(&mut self, field: FieldName<'n>, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let told = self.set(field, write);
        if let Some(list) = self.changes.iter_mut().find(|change| change.is_of(field)) {
            let text = list.line.clone().map(|line| &self.text[line]);
            list.is_list = text.and_then(|text| memchr::memchr(b'\n', &text[..text.len() - 1])).is_some();
        }
        told
    }

    /// Removes the field.
    pub(super) fn remove(&mut self, field: FieldName<'n>) {
        self.note(field, None, false);
    }

    /// Adds a change, replacing an earlier one of the same field.
    fn note(&mut self, field: FieldName<'n>, line: Option<Range<usize>>, is_list: bool) {
        self.fields |= field.known.bit();
        match self.changes.iter_mut().find(|earlier| earlier.is_of(field)) {
            Some(earlier) => (earlier.line, earlier.is_list) = (line, is_list),
            None => self.changes.push(Change { field, line, is_list }),
        }
    }

    /// Adds the changes for another CDN. A field that one CDN gets is not removed for another. If both set the
    /// same field, the later line stands, but two lines of tags are joined, in this dialect.
    pub(super) fn join(&mut self, other: Self, dialect: &Dialect) {
        for change in &other.changes {
            let earlier = self.changes.iter().find(|earlier| earlier.is_of(change.field));
            let before = earlier.and_then(|earlier| earlier.line.clone());
            let is_list = change.is_list || earlier.is_some_and(|earlier| earlier.is_list);
            match (&change.line, before) {
                (None, Some(_)) => {}
                (None, None) => self.remove(change.field),
                (Some(line), before) if is_list => {
                    let start = self.text.len();
                    self.text.extend_from_within(before.unwrap_or_default());
                    self.text.extend_from_slice(&other.text[line.clone()]);
                    self.note(change.field, Some(start..self.text.len()), true);
                }
                (Some(line), before) => {
                    let value = change.value_in(line);
                    let joined = before.filter(|_| dialect.tag_header.as_ref() == Some(change.field.name));
                    self.set(change.field, |text| {
                        if let Some(before) = joined {
                            text.extend_from_within(change.value_in(&before));
                            text.push(dialect.separator());
                        }
                        text.extend_from_slice(&other.text[value]);
                    });
                }
            }
        }
    }

    /// Makes the changes in one pass over the lines. The first line of a field is replaced, further ones are removed.
    pub(super) fn make(&self, headers: &mut Headers) {
        if self.changes.is_empty() {
            return;
        }
        headers.reserve(self.text.len());
        // One bit per change whose line is in place.
        let mut placed = 0u64;
        headers.edit(self.fields, |line| {
            let is_of_line = |change: &Change<'_>| change.is_of_line(line);
            let Some(number) = self.changes.iter().position(is_of_line) else { return Edit::Keep };
            match self.lines_of(&self.changes[number]).next() {
                Some(line) if placed & (1 << number) == 0 => {
                    placed |= 1 << number;
                    Edit::Replace(line)
                }
                _ => Edit::Remove,
            }
        });
        for (number, change) in self.changes.iter().enumerate() {
            let placed = usize::from(placed & (1 << number) != 0);
            self.lines_of(change).skip(placed).for_each(|line| headers.push(line));
        }
    }

    /// Iterates over the lines that a change sets.
    fn lines_of(&self, change: &Change<'_>) -> impl Iterator<Item = Line<'_>> {
        let FieldName { known, name } = change.field;
        let text = change.line.clone().map(|line| &self.text[line]);
        let (one, several) = if change.is_list { (None, text) } else { (text, None) };
        let all = one.into_iter().chain(several.into_iter().flat_map(lines));
        all.map(move |line| Line::written(known, name.as_str(), line))
    }
}

/// Splits a text at the ends of its lines.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split_inclusive(|byte| *byte == b'\n')
}

impl Change<'_> {
    /// The place of the value in a line of this field.
    fn value_in(&self, line: &Range<usize>) -> Range<usize> {
        line.start + self.field.name.as_str().len() + 2..line.end - 2
    }
}
