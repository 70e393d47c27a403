//! What the settings of a CDN tell: its adapter, its capabilities and its published rates.

use super::adapter::Adapter;
use super::capabilities::Capabilities;
use super::credentials::Credentials;
use super::rate::Rates;
use crate::config;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Both sides of an adapter: its calls, and the questions about its credentials.
pub(super) trait Known: Adapter + Credentials {}
impl<T: Adapter + Credentials> Known for T {}

/// A configured CDN of one type. The settings of each type implement this trait, in the file of its adapter.
pub(super) trait Configured {
    /// The CDN's adapter.
    fn adapter(&self, cdn: &config::Cdn) -> Arc<dyn Known>;

    /// The CDN's capabilities.
    fn capabilities(&self, cdn: &config::Cdn) -> Capabilities;

    /// The purge rates that the vendor publishes.
    fn published(&self) -> Rates;

    /// The parts of which the CDN consists; see [`super::Identity`].
    fn parts(&self, cdn: &config::Cdn) -> BTreeSet<String> {
        cdn.settings.services().into_iter().collect()
    }
}
