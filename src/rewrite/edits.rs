//! What is to be changed in a response's head, collected while it is read and made when all is decided.

use crate::head::{Edit, Headers, Known};
use http::{HeaderName, HeaderValue};
use smallvec::SmallVec;

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
    /// What the field will say; none where it is to go.
    value: Option<HeaderValue>,
}

impl Change<'_> {
    fn is_of(&self, known: Known, name: &HeaderName) -> bool {
        self.known == known && (known.is_one_name() || self.name == name)
    }
}

impl<'d> Edits<'d> {
    /// The field is to have this line and no other.
    pub(super) fn set(&mut self, name: &'d HeaderName, value: HeaderValue) {
        self.note(name, Some(value));
    }

    /// The field is to go.
    pub(super) fn remove(&mut self, name: &'d HeaderName) {
        self.note(name, None);
    }

    /// A later change of a field takes the place of an earlier one.
    fn note(&mut self, name: &'d HeaderName, value: Option<HeaderValue>) {
        let known = Known::of(name.as_str());
        self.fields |= known.bit();
        match self.changes.iter_mut().find(|change| change.is_of(known, name)) {
            Some(earlier) => earlier.value = value,
            None => self.changes.push(Change { known, name, value }),
        }
    }

    /// Makes the changes, in one pass over the lines: the first line of a field gets its new value, other ones go.
    pub(super) fn make(mut self, headers: &mut Headers) {
        if self.changes.is_empty() {
            return;
        }
        headers.edit(|line| {
            if self.fields & line.known().bit() == 0 {
                return Edit::Keep;
            }
            match self.changes.iter_mut().find(|change| change.is_of(line.known(), line.name())) {
                Some(change) => change.value.take().map_or(Edit::Remove, Edit::Replace),
                None => Edit::Keep,
            }
        });
        for Change { name, value, .. } in self.changes {
            if let Some(value) = value {
                headers.append(name.clone(), value);
            }
        }
    }
}
