//! `sites.purge_headers` and `sites.purge_header_wait`, resolved.

use http::HeaderName;
use std::time::Duration;

/// How the origin of a site asks for purges in its responses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PurgeHeaders {
    /// The headers, at least one.
    pub headers: Vec<PurgeHeader>,
    /// How long a response waits for the commit of the purge that it asks for.
    pub wait: Duration,
}

/// A response header by which the origin asks for a purge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PurgeHeader {
    /// The name of the header.
    pub name: HeaderName,
    /// What the header lists.
    pub items: HeaderItems,
    /// What stands between two items.
    pub separator: ItemSeparator,
}

/// What a header that asks for a purge lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HeaderItems {
    /// Tags.
    #[default]
    Tags,
    /// Paths of pages.
    Paths,
}

/// What stands between two items of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemSeparator {
    /// This character.
    Byte(u8),
    /// The header is a structured list of strings (RFC 9651 §3.1).
    List,
}

impl PurgeHeader {
    /// Returns the standard header, which lists groups (RFC 9875 §3).
    pub fn standard() -> Self {
        Self {
            name: HeaderName::from_static("cache-group-invalidation"),
            items: HeaderItems::Tags,
            separator: ItemSeparator::List,
        }
    }
}
