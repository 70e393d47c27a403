//! What is to be changed in a response's head, collected while it is read and made when all is decided.

use http::{HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;

/// Changes, in the order in which they are to be made.
#[derive(Debug, Default)]
pub(super) struct Edits<'d>(SmallVec<[(&'d HeaderName, Option<HeaderValue>); 8]>);

impl<'d> Edits<'d> {
    /// The field is to have this line and no other.
    pub(super) fn set(&mut self, name: &'d HeaderName, value: HeaderValue) {
        self.0.push((name, Some(value)));
    }

    /// The field is to go.
    pub(super) fn remove(&mut self, name: &'d HeaderName) {
        self.0.push((name, None));
    }

    /// Makes the changes.
    pub(super) fn make(mut self, headers: &mut HeaderMap) {
        for (name, value) in self.0.drain(..) {
            match value {
                Some(value) => headers.insert(name, value),
                None => headers.remove(name),
            };
        }
    }
}
