//! Our name in `CDN-Loop` (RFC 8586): the one that is written, and those that mark a request as a loop.

use crate::http::head::FieldLine;
use crate::view::{self, Installation};
use http::{HeaderName, HeaderValue};
use std::sync::{Arc, OnceLock};

const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");

/// The names of an installation under one configuration, stored as lines that are ready to be written.
#[derive(Debug)]
pub struct OwnName {
    configured: Option<FieldLine>,
    installation: Arc<Installation>,
    /// The line that is used before the installation's name is known.
    first: FieldLine,
    /// The line that is used when it is known.
    known: OnceLock<FieldLine>,
}

impl OwnName {
    /// Creates the configured name (`server.id`), or otherwise that of the installation.
    pub fn new(id: Option<&str>, installation: &Arc<Installation>) -> Self {
        Self {
            configured: id.and_then(view::installation_name).as_ref().map(line),
            installation: Arc::clone(installation),
            first: line(installation.first_name()),
            known: OnceLock::new(),
        }
    }

    /// Returns the line that is written.
    pub(super) fn line(&self) -> &FieldLine {
        match (&self.configured, self.installation.known_name()) {
            (Some(configured), _) => configured,
            (None, Some(name)) => self.known.get_or_init(|| line(name)),
            (None, None) => &self.first,
        }
    }

    /// Whether this name is one of ours. Requests that were sent under the first name may still be in progress.
    pub(super) fn is(&self, name: &[u8]) -> bool {
        [self.line(), &self.first].iter().any(|own| name.eq_ignore_ascii_case(own.value().as_bytes()))
    }
}

fn line(name: &HeaderValue) -> FieldLine {
    FieldLine::new(&CDN_LOOP, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_configured_counts_then_what_is_known() {
        let installation = Arc::new(Installation::new(0));
        let (named, other) = (OwnName::new(Some("us"), &installation), OwnName::new(None, &installation));
        let first = b"origin-shim-0000000000000000";
        let written = || [&named, &other].map(|name| name.line().value().to_str().unwrap().to_owned());
        assert_eq!(written(), ["origin-shim-us", "origin-shim-0000000000000000"]);
        installation.is("kept");
        assert_eq!(written(), ["origin-shim-us", "origin-shim-kept"]);
        assert!(named.is(b"Origin-Shim-US") && named.is(first) && !named.is(b"origin-shim-kept"));
        assert!(other.is(b"origin-shim-kept") && other.is(first) && !other.is(b"origin-shim-us"));
    }
}
