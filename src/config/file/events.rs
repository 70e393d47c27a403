//! `[[sites.events]]` and `[sites.aem]`: what a publish event purges.

use crate::rewrite::aem::{ComputeKeys, Partition};
use schemars::JsonSchema;
use serde::Deserialize;

/// What a publish event (`POST /v1/sites/{site}/events`) purges besides its own paths. Every rule that matches applies.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventRule {
    /// For which events: `publish`, `unpublish`, `cache`, `code`, `branch-deleted`, `config`, `metadata`, `redirects`,
    /// `sitemap`, or a word of your own, which the site's callers may send from then on; letters a to z, digits, `_` and
    /// `-`, at most 64. Default: publish and unpublish.
    #[serde(default = "publish_and_unpublish")]
    #[schemars(length(min = 1), inner(regex(pattern = "^[a-z0-9_-]{1,64}$")))]
    pub on: Vec<String>,
    /// Only for events with such a path. It starts with `/`; `*` stands for anything within a segment, `**` also across
    /// segments. Default: every event, also one without paths.
    #[schemars(regex(pattern = "^/"), example = &"/blog/**")]
    pub path: Option<String>,
    /// Also purge the folders above each path that matches, this many levels up, `/` at most: 0 to 16.
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
    /// Also purge everything below these; they end with `/`. Fastly and Akamai need `sites.tags.sections` for it.
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

/// The site of AEM Edge Delivery that the origin serves: of its ids the cache keys are made by which publish events
/// purge. With `profile = "aem"`.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Aem {
    /// The organisation: `main--SITE--ORG.aem.live`.
    #[schemars(example = &"acme")]
    pub org: String,
    /// The name of the site: `main--SITE--ORG.aem.live`.
    #[schemars(example = &"website")]
    pub site: String,
    /// The id of its content: `content.contentBusId` of the site's configuration.
    #[schemars(example = &"0c2f6b2e9d1a4c55")]
    pub content_bus_id: String,
    /// The owner of the repository of its code: `code.owner`. Default: `org`.
    pub owner: Option<String>,
    /// The repository of its code: `code.repo`. Default: `site`.
    pub repo: Option<String>,
    /// The branch of its code that the origin serves.
    #[serde(default = "main_branch", rename = "ref")]
    pub code_ref: String,
    /// What the origin serves: `live` (`aem.live`) or `preview` (`aem.page`).
    #[serde(default)]
    pub partition: Partition,
    /// Which responses get computed keys: those whose origin sends no tags (`missing`), `always`, or `never`.
    #[serde(default)]
    pub keys: ComputeKeys,
    /// An event with more paths of content than this purges all content.
    #[serde(default = "bulk_threshold")]
    #[schemars(range(min = 1))]
    pub bulk_threshold: u32,
    /// A push of more files of code than this purges all code.
    #[serde(default = "code_threshold")]
    #[schemars(range(min = 1))]
    pub code_threshold: u32,
    /// The sheets that give pages their metadata: `metadata.source` of the site's configuration.
    #[serde(default = "metadata")]
    #[schemars(inner(regex(pattern = "^/[^?#]*$")))]
    pub metadata: Vec<String>,
    /// Folder mapping: `folders` of the site's configuration. The first that matches wins.
    #[serde(default)]
    pub folders: Vec<Folder>,
}

/// A folder whose pages are made from one page.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Folder {
    /// The folder.
    #[schemars(regex(pattern = "^/[^?#]*$"), example = &"/products/")]
    pub path: String,
    /// The page, or the file of the code, that all its pages show.
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
