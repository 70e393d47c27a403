//! The `[[sites.events]]` tables, resolved, and the part of `[sites.aem]` that is about events.

use crate::rewrite::pattern::PathPattern;

/// The events of every site. Rules may name more.
pub const EVENTS: [&str; 9] =
    ["publish", "unpublish", "cache", "code", "branch-deleted", "config", "metadata", "redirects", "sitemap"];

/// The settings for publish events: `sites.page_forms`, `[[sites.events]]`, and the part of `[sites.aem]` that is
/// about events.
#[derive(Clone, Debug, Default)]
pub struct Events {
    /// Endings under which the same page is served.
    pub page_forms: Vec<String>,
    /// The rules for what is purged in addition to the paths of the event. Every rule that matches applies.
    pub rules: Vec<EventRule>,
    /// The number of content paths above which an event of an AEM site purges all content.
    pub aem_bulk_threshold: usize,
    /// The number of files above which a push of code to an AEM site purges all code.
    pub aem_code_threshold: usize,
    /// The sheets that define the metadata of pages of an AEM site, as normalised paths.
    pub aem_metadata: Vec<String>,
}

/// One of the `[[sites.events]]`.
#[derive(Clone, Debug)]
pub struct EventRule {
    /// Names of events.
    pub on: Vec<String>,
    /// The pattern that a path of the event must match.
    pub path: Option<PathPattern>,
    /// The number of levels of folders above matching paths to purge.
    pub parents: u8,
    /// Pages to purge.
    pub paths: Vec<String>,
    /// Tags to purge.
    pub tags: Vec<String>,
    /// Prefixes to purge; they end with `/`.
    pub prefixes: Vec<String>,
    /// Whether the whole site is purged.
    pub everything: bool,
}
