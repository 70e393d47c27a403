//! The common interface of the settings of every type of CDN, and helpers that read its keys.

use crate::config::at::At;
use crate::config::file::cdn as file;
use crate::config::resolve::url;
use crate::config::secret::{Secret, SecretRef};

/// The settings of one type of CDN.
pub(super) trait Settings {
    /// Resolves the keys. A missing required key becomes a placeholder, because it has already been reported with the
    /// other keys.
    fn resolve(keys: Keys<'_, '_>) -> Self
    where
        Self: Sized;

    /// Returns the account to which the CDN grants its rate.
    fn account(file: &file::Cdn) -> Account
    where
        Self: Sized;

    /// Returns the identifiers of what the CDN's own purge-all empties.
    fn services(&self) -> Vec<String>;

    /// Returns the setting that the CDN's own purge-all needs and that is missing.
    fn lacks_for_everything(&self) -> Option<Lack> {
        None
    }

    /// Returns the reason why every purge becomes one of everything, if the settings require that.
    fn always_everything(&self) -> Option<&'static str> {
        None
    }
}

/// A setting that a CDN needs to purge everything and that is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lack {
    /// The empty key.
    pub key: &'static str,
    /// The values that the key should hold, in words.
    pub what: &'static str,
    /// Why the setting is needed, as a sentence without its full stop.
    pub why: &'static str,
}

/// The holder of a CDN's rate, as written in the file.
#[derive(PartialEq, Eq, Hash)]
pub enum Account {
    /// The vendor limits each customer, whom the credential identifies.
    Credential(Option<SecretRef>),
    /// The vendor limits each service.
    Service(Option<String>),
    /// No vendor limits the rate, but the nodes are the same machines.
    Nodes(Option<Vec<String>>),
}

/// The keys of one CDN in the file, and their place.
#[derive(Clone, Copy)]
pub struct Keys<'f, 'c> {
    /// The keys.
    pub file: &'f file::Cdn,
    /// The place of the keys.
    pub at: &'f At<'c>,
}

impl Keys<'_, '_> {
    /// Resolves an optional secret.
    pub(super) fn secret(&self, name: &str, reference: &Option<SecretRef>) -> Option<Secret> {
        reference.as_ref().map(|reference| self.at.key(name).secret(reference))
    }

    /// Resolves a required secret. A missing one becomes empty: it has already been reported.
    pub(super) fn required(&self, name: &str, reference: &Option<SecretRef>) -> Secret {
        self.secret(name, reference).unwrap_or_else(|| Secret::new(""))
    }

    /// Checks an identifier. Its characters are restricted because it is part of paths and headers of API calls.
    pub(super) fn id(&self, name: &str, text: &Option<String>) -> String {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let text = text.as_deref();
        if text.is_some_and(|text| text.is_empty() || text.len() > 128 || !text.bytes().all(legal)) {
            self.at.key(name).error("must be 1 to 128 letters, digits, `-` and `_`");
        }
        text.unwrap_or_default().to_owned()
    }

    /// Resolves the base URL of the API.
    pub(super) fn api_url(&self, default: impl FnOnce() -> String) -> String {
        match &self.file.api_url {
            Some(text) => base_url(text, &self.at.key("api_url")),
            None => default(),
        }
    }
}

/// Parses a base URL and removes the slash at its end.
pub fn base_url(text: &str, at: &At<'_>) -> String {
    let url = at.ok(url::api(text)).unwrap_or_default();
    if url::is_in_the_clear(&url) {
        at.warn("plain HTTP to another machine: what is sent can be read and changed on the way");
    }
    url
}
