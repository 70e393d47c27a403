//! Changes to a response's head, collected while it is read and made after everything is decided.

use super::Dialect;
use super::dialect::FieldName;
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
    /// The place of the line that is set as the only one of the field; `None` if the field is removed.
    line: Option<Range<usize>>,
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
            self.note(field, Some(start..self.text.len()));
        }
        told
    }

    /// Removes the field.
    pub(super) fn remove(&mut self, field: FieldName<'n>) {
        self.note(field, None);
    }

    /// Adds a change, replacing an earlier one of the same field.
    fn note(&mut self, field: FieldName<'n>, line: Option<Range<usize>>) {
        self.fields |= field.known.bit();
        match self.changes.iter_mut().find(|earlier| earlier.is_of(field)) {
            Some(earlier) => earlier.line = line,
            None => self.changes.push(Change { field, line }),
        }
    }

    /// Adds the changes for another CDN. A field that one CDN gets is not removed for another. If both set the
    /// same field, the later line stands, but two lines of tags are joined, in this dialect.
    pub(super) fn join(&mut self, other: Self, dialect: &Dialect) {
        for change in &other.changes {
            let earlier = self.changes.iter().find(|earlier| earlier.is_of(change.field));
            let before = earlier.and_then(|earlier| earlier.line.clone());
            match (&change.line, before) {
                (None, Some(_)) => {}
                (None, None) => self.remove(change.field),
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
            match self.line(&self.changes[number]) {
                Some(line) if placed & (1 << number) == 0 => {
                    placed |= 1 << number;
                    Edit::Replace(line)
                }
                _ => Edit::Remove,
            }
        });
        for (number, change) in self.changes.iter().enumerate() {
            if let Some(line) = self.line(change)
                && placed & (1 << number) == 0
            {
                headers.push(line);
            }
        }
    }

    fn line(&self, change: &Change<'_>) -> Option<Line<'_>> {
        let FieldName { known, name } = change.field;
        Some(Line::written(known, name.as_str(), &self.text[change.line.clone()?]))
    }
}

impl Change<'_> {
    /// The place of the value in a line of this field.
    fn value_in(&self, line: &Range<usize>) -> Range<usize> {
        line.start + self.field.name.as_str().len() + 2..line.end - 2
    }
}
