//! What the settings of every type of CDN have in common, and how its keys are read.

use crate::config::at::At;
use crate::config::file::cdn as file;
use crate::config::resolve::url;
use crate::config::secret::{Secret, SecretRef};

/// The settings of one type of CDN.
pub(super) trait Settings {
    /// What the keys come to. A missing required key was complained about with the other keys, and becomes a placeholder.
    fn resolve(keys: Keys<'_, '_>) -> Self
    where
        Self: Sized;

    /// To whom the CDN grants its rate.
    fn account(file: &file::Cdn) -> Account
    where
        Self: Sized;

    /// What the CDN's own purge-all empties, by which it is known.
    fn services(&self) -> Vec<String>;

    /// What the CDN's own purge-all lacks to be possible.
    fn lacks_for_everything(&self) -> Option<Lack> {
        None
    }

    /// Why every purge becomes one of everything, if the settings say so.
    fn always_everything(&self) -> Option<&'static str> {
        None
    }
}

/// What a CDN needs to purge everything, and was not configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lack {
    /// The key that is empty.
    pub key: &'static str,
    /// What it should hold.
    pub what: &'static str,
    /// Why that is needed, as a sentence without its end.
    pub why: &'static str,
}

/// To whom a CDN grants its rate, as the file writes it.
#[derive(PartialEq, Eq, Hash)]
pub enum Account {
    /// The vendor counts per customer, whom the credential names.
    Credential(Option<SecretRef>),
    /// The vendor counts per service.
    Service(Option<String>),
    /// Nobody counts, but the nodes are the same machines.
    Nodes(Option<Vec<String>>),
}

/// The keys of one CDN in the file, and where they stand.
#[derive(Clone, Copy)]
pub struct Keys<'f, 'c> {
    /// What they are.
    pub file: &'f file::Cdn,
    /// Where they are.
    pub at: &'f At<'c>,
}

impl Keys<'_, '_> {
    /// A secret that may be absent.
    pub(super) fn secret(&self, name: &str, reference: &Option<SecretRef>) -> Option<Secret> {
        reference.as_ref().map(|reference| self.at.key(name).secret(reference))
    }

    /// A secret that must be there.
    pub(super) fn required(&self, name: &str, reference: &Option<SecretRef>) -> Secret {
        self.secret(name, reference).unwrap_or_else(|| Secret::new(""))
    }

    /// An identifier: it stands in paths and headers of API calls.
    pub(super) fn id(&self, name: &str, text: &Option<String>) -> String {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let text = text.as_deref();
        if text.is_some_and(|text| text.is_empty() || text.len() > 128 || !text.bytes().all(legal)) {
            self.at.key(name).error("must be 1 to 128 letters, digits, `-` and `_`");
        }
        text.unwrap_or_default().to_owned()
    }

    /// The base URL of the API.
    pub(super) fn api_url(&self, default: impl FnOnce() -> String) -> String {
        match &self.file.api_url {
            Some(text) => base_url(text, &self.at.key("api_url")),
            None => default(),
        }
    }
}

/// A base URL without a slash at the end.
pub fn base_url(text: &str, at: &At<'_>) -> String {
    let url = at.ok(url::api(text)).unwrap_or_default();
    if url::is_in_the_clear(&url) {
        at.warn("plain HTTP to another machine: what is sent can be read and changed on the way");
    }
    url
}
