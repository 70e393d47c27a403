//! The `[[sites.events]]` and `[sites.aem]` tables: what a publish event purges.

use crate::rewrite::aem::{ComputeKeys, Partition};
use schemars::JsonSchema;
use serde::Deserialize;

/// A rule for what a publish event (`POST /v1/sites/{site}/events`) purges in addition to its own paths. Every rule
/// that matches applies.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventRule {
    /// The events to which the rule applies: `publish`, `unpublish`, `cache`, `code`, `branch-deleted`, `config`,
    /// `metadata`, `redirects`, `sitemap`, or a name that you define, which the site's callers may then send; letters
    /// a to z, digits, `_` and `-`, at most 64. Default: publish and unpublish.
    #[serde(default = "publish_and_unpublish")]
    #[schemars(length(min = 1), inner(regex(pattern = "^[a-z0-9_-]{1,64}$")))]
    pub on: Vec<String>,
    /// A pattern that a path of the event must match. It starts with `/`; `*` matches within a segment, `**` across
    /// segments. Default: every event matches, also one without paths.
    #[schemars(regex(pattern = "^/"), example = &"/blog/**")]
    pub path: Option<String>,
    /// Also purge the folders above each path that matches, this many levels up, but not beyond `/`: 0 to 16.
    #[serde(default)]
    #[schemars(range(max = 16))]
    pub parents: u8,
    /// Also purge these pages, such as lists and feeds that show what was published.
    #[serde(default)]
    #[schemars(inner(regex(pattern = "^/[^?#]*$")), example = ["/blog/", "/sitemap.xml"])]
    pub purge_paths: Vec<String>,
    /// Also purge every response with one of these tags.
    #[serde(default)]
    #[schemars(example = ["posts"])]
    pub purge_tags: Vec<String>,
    /// Also purge everything below these prefixes, which end with `/`. Fastly and Akamai need `sites.tags.sections`
    /// for it.
    #[serde(default)]
    #[schemars(inner(regex(pattern = "^/([^?#*]*/)?$")), example = ["/blog/"])]
    pub purge_prefixes: Vec<String>,
    /// Purge the whole site instead. The caller needs the scope `purge-everything`.
    #[serde(default)]
    pub purge_everything: bool,
}

fn publish_and_unpublish() -> Vec<String> {
    vec!["publish".to_owned(), "unpublish".to_owned()]
}

/// The site of AEM Edge Delivery that the origin serves, with `profile = "aem"`. Publish events purge by cache keys
/// that are made of its IDs.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Aem {
    /// The organisation, which is `ORG` in `main--SITE--ORG.aem.live`.
    #[schemars(example = &"acme")]
    pub org: String,
    /// The name of the site, which is `SITE` in `main--SITE--ORG.aem.live`.
    #[schemars(example = &"website")]
    pub site: String,
    /// The ID of the site's content: `content.contentBusId` of the site's configuration.
    #[schemars(example = &"0c2f6b2e9d1a4c55")]
    pub content_bus_id: String,
    /// The owner of the site's code repository: `code.owner`. Default: `org`.
    pub owner: Option<String>,
    /// The site's code repository: `code.repo`. Default: `site`.
    pub repo: Option<String>,
    /// The branch of the site's code that the origin serves.
    #[serde(default = "main_branch", rename = "ref")]
    pub code_ref: String,
    /// The partition that the origin serves: `live` (`aem.live`) or `preview` (`aem.page`).
    #[serde(default)]
    pub partition: Partition,
    /// Which responses get computed keys: those without tags of the origin (`missing`), all (`always`), or none
    /// (`never`).
    #[serde(default)]
    pub keys: ComputeKeys,
    /// The number of content paths above which an event purges all content.
    #[serde(default = "bulk_threshold")]
    #[schemars(range(min = 1))]
    pub bulk_threshold: u32,
    /// The number of code files above which a push purges all code.
    #[serde(default = "code_threshold")]
    #[schemars(range(min = 1))]
    pub code_threshold: u32,
    /// The sheets that define the metadata of pages: `metadata.source` of the site's configuration.
    #[serde(default = "metadata")]
    #[schemars(inner(regex(pattern = "^/[^?#]*$")))]
    pub metadata: Vec<String>,
    /// The folder mapping: `folders` of the site's configuration. The first folder that matches wins.
    #[serde(default)]
    pub folders: Vec<Folder>,
}

/// A folder whose pages are all made from one page.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Folder {
    /// The path of the folder.
    #[schemars(regex(pattern = "^/[^?#]*$"), example = &"/products/")]
    pub path: String,
    /// The page, or the file of the code, that all pages of the folder show.
    #[schemars(regex(pattern = "^/[^?#]*$"), example = &"/products/default")]
    pub maps_to: String,
}

fn main_branch() -> String {
    "main".to_owned()
}

fn bulk_threshold() -> u32 {
    100
}

fn code_threshold() -> u32 {
    10
}

fn metadata() -> Vec<String> {
    vec!["/metadata.json".to_owned()]
}
