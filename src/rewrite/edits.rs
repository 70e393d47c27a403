//! Changes to a response's head, collected while it is read and made after everything is decided.

use super::Dialect;
use crate::http::head::{Edit, FieldLine, Headers, Known};
use http::{HeaderName, HeaderValue};
use smallvec::SmallVec;
use std::rc::Rc;

/// A list of changes, at most one per field.
#[derive(Clone, Debug, Default)]
pub(super) struct Edits {
    changes: SmallVec<[Change; 8]>,
    /// Bits of the changed fields.
    fields: u64,
}

/// The change of one field.
#[derive(Clone, Debug)]
enum Change {
    /// Set this line as the only one of the field.
    Set(Rc<FieldLine>),
    /// Remove the field.
    Remove(Known, HeaderName),
}

impl Change {
    fn name(&self) -> (Known, &HeaderName) {
        match self {
            Self::Set(line) => (line.known(), line.name()),
            Self::Remove(known, name) => (*known, name),
        }
    }

    fn is_of(&self, (known, name): (Known, &HeaderName)) -> bool {
        let own = self.name();
        own.0 == known && (known.is_one_name() || own.1 == name)
    }
}

impl Edits {
    /// Sets this line as the only one of its field.
    pub(super) fn set(&mut self, line: Rc<FieldLine>) {
        self.note(Change::Set(line));
    }

    /// Removes the field.
    pub(super) fn remove(&mut self, name: &HeaderName) {
        self.note(Change::Remove(Known::of(name.as_str()), name.clone()));
    }

    /// Adds a change, replacing an earlier one of the same field.
    fn note(&mut self, change: Change) {
        self.fields |= change.name().0.bit();
        match self.changes.iter_mut().find(|earlier| earlier.is_of(change.name())) {
            Some(earlier) => *earlier = change,
            None => self.changes.push(change),
        }
    }

    /// Adds the changes for another CDN. A field that one CDN gets is not removed for another. If both set the
    /// same field, the later line stands, but two lines of tags are joined, in this dialect.
    pub(super) fn join(&mut self, other: Self, dialect: &Dialect) {
        for change in other.changes {
            let earlier = self.changes.iter().find(|earlier| earlier.is_of(change.name()));
            match (earlier, change) {
                (Some(Change::Set(_)), Change::Remove(..)) => {}
                (Some(Change::Set(before)), Change::Set(line))
                    if dialect.tag_header.as_ref() == Some(line.name()) =>
                {
                    let joined = [before.value().as_bytes(), line.value().as_bytes()];
                    let joined = joined.join(&dialect.separator());
                    let value = HeaderValue::from_bytes(&joined).unwrap_or_else(|_| line.value().clone());
                    self.set(Rc::new(FieldLine::new(line.name().clone(), value)));
                }
                (_, change) => self.note(change),
            }
        }
    }

    /// Iterates over the lines that will be set.
    pub(super) fn lines(&self) -> impl Iterator<Item = &Rc<FieldLine>> {
        self.changes.iter().filter_map(|change| match change {
            Change::Set(line) => Some(line),
            Change::Remove(..) => None,
        })
    }

    /// Returns the same changes in a form to be kept.
    pub(super) fn lasting(mut self) -> Self {
        for change in &mut self.changes {
            if let Change::Set(line) = change {
                *line = line.lasting();
            }
        }
        self
    }

    /// Makes the changes in one pass over the lines. The first line of a field is replaced, further ones are removed.
    pub(super) fn make(&self, headers: &mut Headers) {
        if self.changes.is_empty() {
            return;
        }
        // One bit per change whose line is in place.
        let mut placed = 0u64;
        headers.edit(self.fields, |line| {
            let is_of = |change: &Change| change.is_of((line.known(), line.name()));
            match self.changes.iter().position(is_of).map(|number| (1 << number, &self.changes[number])) {
                Some((bit, Change::Set(line))) if placed & bit == 0 => {
                    placed |= bit;
                    Edit::Replace(Rc::clone(line))
                }
                Some(_) => Edit::Remove,
                None => Edit::Keep,
            }
        });
        for (number, change) in self.changes.iter().enumerate() {
            if let Change::Set(line) = change
                && placed & (1 << number) == 0
            {
                headers.push(Rc::clone(line));
            }
        }
    }
}
