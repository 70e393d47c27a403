//! The one normal form of a path, by which rules match and tags are named.

use std::borrow::Cow;

/// The normal form of a path (query already removed).
pub fn normalise(path: &str) -> Cow<'_, str> {
    Cow::Borrowed(path)
}
