//! What is to be changed in a response's head, collected while it is read and made when all is decided.

use crate::head::Headers;
use http::{HeaderName, HeaderValue};
use smallvec::SmallVec;

/// Changes: one of each field.
#[derive(Debug, Default)]
pub(super) struct Edits<'d>(SmallVec<[(&'d HeaderName, Option<HeaderValue>); 8]>);

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
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, earlier)) => *earlier = value,
            None => self.0.push((name, value)),
        }
    }

    /// Makes the changes, in one pass over the lines: the first line of a field gets its new value, other ones go.
    pub(super) fn make(mut self, headers: &mut Headers) {
        if self.0.is_empty() {
            return;
        }
        let changes = &mut self.0;
        headers.retain(|name, line| match changes.iter_mut().find(|(changed, _)| *changed == name) {
            Some((_, value)) => value.take().map(|value| *line = value).is_some(),
            None => true,
        });
        for (name, value) in self.0 {
            if let Some(value) = value {
                headers.append(name.clone(), value);
            }
        }
    }
}
