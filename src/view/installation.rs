//! The name by which an installation recognizes its own requests in `CDN-Loop` (RFC 8586).

use http::HeaderValue;
use std::sync::OnceLock;

/// The prefix of every such name, by which others can recognize what wrote it.
const PREFIX: &str = "origin-shim-";

/// The name of an installation, which the store keeps. Until the store is open, a random name is used. It belongs
/// to this process only, so it still detects the loops that lead back to it.
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
    /// Returns an installation with this random name, whose permanent name is not known yet.
    pub fn new(random: u64) -> Self {
        let name = name(&format!("{random:016x}"));
        Self { first: name.unwrap_or(HeaderValue::from_static(PREFIX)), kept: OnceLock::new() }
    }

    /// Sets the permanent name from the installation's id. Only the first valid id takes effect.
    pub fn is(&self, id: &str) {
        if let Some(name) = name(id) {
            let _ = self.kept.set(name);
        }
    }

    /// Returns the permanent name, if it is known.
    pub fn known_name(&self) -> Option<&HeaderValue> {
        self.kept.get()
    }

    /// Returns the current name.
    pub fn name(&self) -> &HeaderValue {
        self.known_name().unwrap_or(&self.first)
    }

    /// Returns the name from before the permanent one was known: requests that carry it may still be in flight.
    pub fn first_name(&self) -> &HeaderValue {
        &self.first
    }
}

/// Returns the name of the installation with this id, or `None` if it is not legal in a header field.
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
