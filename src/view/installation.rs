//! By which name an installation knows its own requests again: in `CDN-Loop` (RFC 8586).

use http::HeaderValue;
use std::sync::OnceLock;

/// How every such name begins, so that others can tell what wrote it.
const PREFIX: &str = "origin-shim-";

/// The name of an installation, which the store keeps. Until that is open, and where it never is, a random one serves: it is
/// that of this process only, so it still finds the circles that lead back here.
#[derive(Debug)]
pub struct Installation {
    first: HeaderValue,
    kept: OnceLock<HeaderValue>,
}

impl Default for Installation {
    fn default() -> Self {
        Self::new(fastrand::u64(..))
    }
}

impl Installation {
    /// One that is not known yet, with this random name.
    pub fn new(random: u64) -> Self {
        let name = name(&format!("{random:016x}"));
        Self { first: name.unwrap_or(HeaderValue::from_static(PREFIX)), kept: OnceLock::new() }
    }

    /// It is known now; the first one to know it counts.
    pub fn is(&self, id: &str) {
        if let Some(name) = name(id) {
            let _ = self.kept.set(name);
        }
    }

    /// Its name, once that is known.
    pub fn known_name(&self) -> Option<&HeaderValue> {
        self.kept.get()
    }

    /// Its name as it is now.
    pub fn name(&self) -> &HeaderValue {
        self.known_name().unwrap_or(&self.first)
    }

    /// Its name before it was known: requests that carry it may still be under way.
    pub fn first_name(&self) -> &HeaderValue {
        &self.first
    }
}

/// The name of the installation with this id; none where that is not legal in a header.
pub fn name(id: &str) -> Option<HeaderValue> {
    HeaderValue::try_from([PREFIX, id].concat()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_a_name_before_it_is_known_and_keeps_the_first_one_that_is() {
        let installation = Installation::new(0xab);
        assert_eq!(installation.name(), "origin-shim-00000000000000ab");
        installation.is("not\nlegal");
        installation.is("eu-1");
        installation.is("eu-2");
        assert_eq!(installation.name(), "origin-shim-eu-1");
        assert_eq!(installation.first_name(), "origin-shim-00000000000000ab");
        assert_ne!(Installation::default().name(), Installation::default().name());
    }
}
