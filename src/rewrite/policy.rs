//! A site's compiled rewriting policy: TTLs, rules (the first match applies), and the tags that the site adds.

use super::aem::Project;
use super::broad::TagPattern;
use super::path::normalise;
use super::pattern::PathPattern;
use super::tag_field::TagFields;
use std::time::Duration;

/// The TTL table that applies (`rewrite/table.rs`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Profile {
    /// This project's own table.
    #[default]
    Generic,
    /// The table of AEM Edge Delivery.
    Aem,
}

/// How long browsers may reuse a response. Nobody can purge browsers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum BrowserTtl {
    /// The origin's lifetime (`max-age`, else `Expires`). If the origin gives none, browsers revalidate each time.
    #[default]
    Origin,
    /// A fixed lifetime, regardless of the origin.
    Fixed(Duration),
}

/// The treatment of conditional requests (RFC 9110 §13.1) from a CDN that opted in.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Conditional {
    /// Removes `If-None-Match` and `If-Modified-Since` from the request. The origin then answers with the whole
    /// page, and so with its current tags and lifetime.
    #[default]
    Strip,
    /// Forwards `If-None-Match` and `If-Modified-Since` to the origin, whose 304s repeat tags and lifetimes. A 304
    /// without tags changes neither.
    Pass,
}

/// A site's default lifetimes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ttls {
    /// How long the CDN may reuse a response.
    pub edge: Duration,
    /// How long a browser may reuse a response.
    pub browser: BrowserTtl,
    /// The lifetime if a long one could not be revoked.
    pub fallback: Duration,
    /// The CDN's lifetime of a 404 or 410.
    pub not_found: Duration,
    /// The CDN's lifetime of a response that was produced before a purge that covers it.
    pub guard: Duration,
    /// `stale-while-revalidate` for the CDN; zero means none.
    pub stale_while_revalidate: Duration,
    /// `stale-if-error` for the CDN; zero means none.
    pub stale_if_error: Duration,
}

/// A rule with the settings that differ for the paths it matches.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The normalised paths that the rule matches.
    pub path: PathPattern,
    /// The edge TTL, instead of the site's.
    pub edge_ttl: Option<Duration>,
    /// The browser TTL, instead of the site's.
    pub browser_ttl: Option<BrowserTtl>,
    /// Whether the rule may lengthen responses that the origin did not allow to be cached.
    pub allow_override: bool,
    /// Tags added to matching responses.
    pub tags: Vec<String>,
}

/// The tags of responses: those that the site adds by itself, and how those of the origin are treated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagPolicy {
    /// Whether to add a tag for the path.
    pub path: bool,
    /// Whether to add a tag for the whole site.
    pub site: bool,
    /// The number of leading path segments that get a tag.
    pub sections: u8,
    /// The fields in which the origin lists tags.
    pub fields: TagFields,
    /// The tags that stand for most of the site; see [`super::broad`].
    pub broad: Vec<TagPattern>,
}

impl Default for TagPolicy {
    fn default() -> Self {
        Self { path: true, site: true, sections: 0, fields: TagFields::default(), broad: Vec::new() }
    }
}

impl TagPolicy {
    /// Whether a tag stands for most of the site, so that responses do not carry it and a purge of it purges
    /// everything.
    pub fn is_broad(&self, tag: &[u8]) -> bool {
        self.broad.iter().any(|pattern| pattern.matches(tag))
    }
}

/// All facts about a site that rewriting needs.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The site's name, which is part of its own tags.
    pub site: String,
    /// The TTL table that applies.
    pub profile: Profile,
    /// The default lifetimes.
    pub ttls: Ttls,
    /// Lower-case request header names that the origin may list in `Vary` (`accept-encoding` is always allowed).
    pub vary: Vec<String>,
    /// The rules, of which the first match applies.
    pub rules: Vec<Rule>,
    /// The tags of responses.
    pub tags: TagPolicy,
    /// The AEM project whose keys are added to responses if the origin sends none.
    pub aem: Option<Project>,
    /// The treatment of a CDN's conditional requests.
    pub conditional: Conditional,
    /// The hosts that the origin uses as its own name. A redirect to one of them is not meant for visitors.
    pub origins: Vec<OriginName>,
    /// Whether such a redirect is rewritten to the requested host.
    pub rewrite_location: bool,
}

/// A name that the origin may write into `Location`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginName {
    /// The host in lower case; an IPv6 address is in brackets.
    pub host: String,
    /// The port on which the origin listens.
    pub port: u16,
}

impl Policy {
    /// Returns the first rule that matches the normalised path.
    pub fn rule(&self, path: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.path.matches(path))
    }

    /// Returns the index of the first rule that matches the path, in any spelling.
    pub fn rule_number(&self, path: &str) -> Option<usize> {
        let path = normalise(path);
        self.rules.iter().position(|rule| rule.path.matches(&path))
    }
}
