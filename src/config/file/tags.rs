//! The `[sites.tags]` table.

use schemars::JsonSchema;
use serde::Deserialize;

/// The tags of responses: those that the site adds, and those that the origin sends.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Tags {
    /// Whether each path has a tag, by which `paths` are purged with every query.
    pub path: bool,
    /// Whether the whole site has a tag, by which `everything` purges this site only.
    pub site: bool,
    /// The number of leading path segments with a tag each, by which `prefixes` are purged: 0 to 16.
    #[schemars(range(max = 16))]
    pub sections: u8,
    /// The response headers in which the origin lists tags, instead of the usual ones. They are removed from what CDNs
    /// get. The usual ones are `Surrogate-Key`, `X-Surrogate-Key`, `xkey`, `Cache-Tags`, `Purge-Cache-Tags`,
    /// `X-Drupal-Cache-Tags`, `Cache-Tag`, `Edge-Cache-Tag`, `X-Cache-Tags`, `X-Magento-Tags`, `CDN-Tag`,
    /// `Netlify-Cache-Tag`, `Vercel-Cache-Tag` and `Cache-Groups`. After a change, purge everything: copies that CDNs
    /// already hold lack the tags of headers that were not read before.
    pub read: Option<Vec<Read>>,
    /// Tags that stand for most of the site, as patterns in which `*` stands for any characters. Responses do not
    /// carry them, which leaves room for the others, and a purge of one purges everything. Before a pattern is
    /// removed, purge everything: copies that CDNs already hold lack these tags.
    #[schemars(example = ["rendered", "config:*"])]
    pub broad: Vec<String>,
}

impl Default for Tags {
    fn default() -> Self {
        Self { path: true, site: true, sections: 0, read: None, broad: Vec::new() }
    }
}

/// A response header in which the origin lists tags.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Read {
    /// The name of the header.
    #[schemars(example = &"X-Cache-Tags")]
    pub header: String,
    /// The character between two tags, or `list` for a structured list of strings (RFC 9651). Spaces and commas always
    /// separate tags, except in a structured list.
    #[serde(default = "comma")]
    #[schemars(example = &"|")]
    pub separator: String,
}

fn comma() -> String {
    ",".to_owned()
}
