//! Varnish with the VCL that Origin Shim ships.

use super::settings::{Account, Keys, Settings, base_url};
use crate::config::file::cdn as file;

/// Varnish nodes that hold the same content.
#[derive(Clone, Debug, PartialEq)]
pub struct Varnish {
    /// The base URL of every node, without a trailing slash. A purge is done when every node has answered.
    pub api_urls: Vec<String>,
}

impl Settings for Varnish {
    fn resolve(keys: Keys<'_, '_>) -> Self {
        let (at, given) = (keys.at.key("api_urls"), &keys.file.api_urls);
        if given.as_ref().is_some_and(Vec::is_empty) {
            at.error("at least one node is needed");
        }
        let mut api_urls = Vec::new();
        for (at, text) in at.each(given.as_deref().unwrap_or_default()) {
            let node = base_url(text, &at);
            if api_urls.contains(&node) && !node.is_empty() {
                at.error("is in the list already");
            }
            api_urls.push(node);
        }
        Self { api_urls }
    }

    fn account(file: &file::Cdn) -> Account {
        Account::Nodes(file.api_urls.clone())
    }

    fn services(&self) -> Vec<String> {
        self.api_urls.clone()
    }
}
