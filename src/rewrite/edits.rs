//! What is to be changed in a response's head, collected while it is read and made when all is decided.

use crate::head::{Edit, FieldLine, Headers, Known};
use http::HeaderName;
use smallvec::SmallVec;
use std::rc::Rc;

/// Changes: one of each field.
#[derive(Debug, Default)]
pub(super) struct Edits<'d> {
    changes: SmallVec<[Change<'d>; 8]>,
    /// Bits of the fields that are changed: most lines are of none of them.
    fields: u64,
}

#[derive(Debug)]
struct Change<'d> {
    known: Known,
    name: &'d HeaderName,
    /// The line that it will have; none where it is to go.
    line: Option<Rc<FieldLine>>,
}

impl Change<'_> {
    fn is_of(&self, known: Known, name: &HeaderName) -> bool {
        self.known == known && (known.is_one_name() || self.name == name)
    }
}

impl<'d> Edits<'d> {
    /// The field is to have this line, which has its `name`, and no other.
    pub(super) fn set(&mut self, name: &'d HeaderName, line: Rc<FieldLine>) {
        self.note(line.known(), name, Some(line));
    }

    /// The field is to go.
    pub(super) fn remove(&mut self, name: &'d HeaderName) {
        self.note(Known::of(name.as_str()), name, None);
    }

    /// A later change of a field takes the place of an earlier one.
    fn note(&mut self, known: Known, name: &'d HeaderName, line: Option<Rc<FieldLine>>) {
        self.fields |= known.bit();
        match self.changes.iter_mut().find(|change| change.is_of(known, name)) {
            Some(earlier) => earlier.line = line,
            None => self.changes.push(Change { known, name, line }),
        }
    }

    /// Makes the changes, in one pass over the lines: the first line of a field is replaced, other ones go.
    pub(super) fn make(mut self, headers: &mut Headers) {
        if self.changes.is_empty() {
            return;
        }
        headers.edit(|line| {
            if self.fields & line.known().bit() == 0 {
                return Edit::Keep;
            }
            match self.changes.iter_mut().find(|change| change.is_of(line.known(), line.name())) {
                Some(change) => change.line.take().map_or(Edit::Remove, Edit::Replace),
                None => Edit::Keep,
            }
        });
        self.changes.into_iter().filter_map(|change| change.line).for_each(|line| headers.push(line));
    }
}
