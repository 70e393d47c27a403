//! Secrets: `env:NAME`, `file:PATH` or `literal:TEXT`, resolved once at load and never shown.

use secrecy::{ExposeSecret, SecretString};

/// A resolved secret. It has no `Display` or `Serialize`, and its `Debug` shows nothing of it.
#[derive(Clone, Debug)]
pub struct Secret(SecretString);

impl Secret {
    /// Wraps a resolved value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(SecretString::from(value.into()))
    }

    /// The value, for the one place that sends or compares it.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}
