//! The `[[sites.purge_headers]]` tables.

use crate::config::HeaderItems;
use schemars::JsonSchema;
use serde::Deserialize;

/// A response header by which the origin asks for a purge.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PurgeHeader {
    /// The name of the header.
    #[schemars(example = &"X-Purge-Paths")]
    pub header: String,
    /// What the header lists: `tags`, or `paths` of pages.
    #[serde(default)]
    pub items: HeaderItems,
    /// The character between two items, or `list` for a structured list of strings (RFC 9651). Spaces and commas
    /// always separate tags, except in a structured list.
    #[serde(default = "comma")]
    #[schemars(example = &",")]
    pub separator: String,
}

fn comma() -> String {
    ",".to_owned()
}
