//! A site's compiled rewriting policy: TTLs, rules (first match wins), and the tags it adds.

use super::aem::Project;
use super::path::normalise;
use super::pattern::PathPattern;
use std::time::Duration;

/// Which TTL table applies (DESIGN §3; the AEM table is that of the original service).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Profile {
    /// The table of this project.
    #[default]
    Generic,
    /// The table of AEM Edge Delivery.
    Aem,
}

/// How long browsers may reuse a response, which nobody can purge there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum BrowserTtl {
    /// As long as the origin says (`max-age`, else `Expires`); where it says nothing, browsers ask each time.
    #[default]
    Origin,
    /// This long, whatever the origin says.
    Fixed(Duration),
}

/// What becomes of the conditional requests (RFC 9110 §13.1) of a CDN that opted in.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Conditional {
    /// `If-None-Match` and `If-Modified-Since` go no further: the origin answers with the whole page, so that its tags and
    /// lifetime are those of today.
    #[default]
    Strip,
    /// They reach the origin, whose 304s repeat tags and lifetimes. A 304 without tags changes neither.
    Pass,
}

/// A site's default lifetimes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ttls {
    /// How long the CDN may reuse a response.
    pub edge: Duration,
    /// How long a browser may reuse a response.
    pub browser: BrowserTtl,
    /// The lifetime where a long one could not be taken back.
    pub fallback: Duration,
    /// The CDN's lifetime of a 404 or 410.
    pub not_found: Duration,
    /// The CDN's lifetime of a response that was produced before a purge that covers it.
    pub guard: Duration,
    /// `stale-while-revalidate` for the CDN; zero: none.
    pub stale_while_revalidate: Duration,
    /// `stale-if-error` for the CDN; zero: none.
    pub stale_if_error: Duration,
}

/// One rule: what differs for the paths it matches.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Which (normalised) paths.
    pub path: PathPattern,
    /// Replaces the site's edge TTL.
    pub edge_ttl: Option<Duration>,
    /// Replaces the site's browser TTL.
    pub browser_ttl: Option<BrowserTtl>,
    /// May lengthen what the origin did not allow.
    pub allow_override: bool,
    /// Tags added to matching responses.
    pub tags: Vec<String>,
}

/// Which tags the site adds by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagPolicy {
    /// A tag per path.
    pub path: bool,
    /// A tag for the whole site.
    pub site: bool,
    /// A tag per leading path segment, this many levels.
    pub sections: u8,
}

/// Everything that rewriting needs to know of a site.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The site's name; part of its own tags.
    pub site: String,
    /// Which TTL table applies.
    pub profile: Profile,
    /// Default lifetimes.
    pub ttls: Ttls,
    /// Lower-case request header names that the origin may name in `Vary` (`accept-encoding` always may).
    pub vary: Vec<String>,
    /// Rules, first match wins.
    pub rules: Vec<Rule>,
    /// The site's own tags.
    pub tags: TagPolicy,
    /// The site of AEM whose keys responses get where its origin sends none.
    pub aem: Option<Project>,
    /// What becomes of a CDN's conditional requests.
    pub conditional: Conditional,
    /// The hosts under which the origin knows itself: a redirect there is not meant for visitors.
    pub origins: Vec<OriginName>,
    /// Whether such a redirect is rewritten to the host that was asked for.
    pub rewrite_location: bool,
}

/// A name of the origin, as it may write it into `Location`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginName {
    /// Lower case; an IPv6 address in brackets.
    pub host: String,
    /// The port that it listens on.
    pub port: u16,
}

impl Policy {
    /// The first rule that matches the normalised path.
    pub fn rule(&self, path: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.path.matches(path))
    }

    /// The place of that rule, for a path in whatever spelling.
    pub fn rule_number(&self, path: &str) -> Option<usize> {
        let path = normalise(path);
        self.rules.iter().position(|rule| rule.path.matches(&path))
    }
}
