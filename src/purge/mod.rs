//! A purge: what a caller asked for, and its life. Everything here is pure.
//!
//! A [`PurgeRequest`] is checked (`check.rs`) and planned against each CDN of its site (`plan.rs`): a [`JobPlan`] per CDN,
//! whose items the store keeps. Later calls are filled with them (`fill.rs`, `cover.rs`, `batch.rs`), at the account's
//! rate (`rate.rs`).

mod batch;
mod check;
mod cover;
mod fill;
mod keys;
mod plan;
pub mod publish;
mod spellings;

#[cfg(test)]
pub(crate) mod testing;

pub use batch::{Filled, Wanted};
pub use check::ItemError;
pub use cover::Cover;
pub use fill::{Filling, Fit, Room, scheduling_kind};
pub use keys::{item_key, keys_of};
pub use plan::{Means, plan, plan_among, widest};

use crate::cdn::{Identity, Item};
use crate::config::Site;
use crate::rewrite::path::normalise;
use crate::rewrite::{CdnType, tags};
use serde::{Deserialize, Serialize};

/// What a caller asked for: the body of `POST /v1/sites/{site}/purges`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "an object that says what to purge")]
pub struct PurgeRequest {
    /// Exactly these URLs, in whatever spelling of their path; the hosts must be the site's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// The page at each path, in whatever spelling, on every host and with every query of the site. A `*` is no wildcard; in a
    /// name it is written `%2A`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// Every response with the tag; without spaces and `*`, at most 16 KiB each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Everything below each prefix, in whatever spelling.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prefixes: Vec<String>,
    /// All of this site.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub everything: bool,
    /// Soft or hard; by default as each CDN is configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<PurgeMode>,
    /// Only these CDNs of the site; by default all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cdns: Option<Vec<String>>,
    /// Whether it is verified when it is done; by default as each CDN is configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify: Option<bool>,
    /// For people: why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl PurgeRequest {
    /// How many items were asked for.
    pub fn item_count(&self) -> usize {
        self.urls.len()
            + self.paths.len()
            + self.tags.len()
            + self.prefixes.len()
            + usize::from(self.everything)
    }

    /// Whether this asks for all of the site, in whatever words: `everything`, the prefix `/`, or the site's own tag, in any
    /// form that one of its CDNs takes for it. Decides which scope the caller needs.
    pub fn purges_everything(&self, site: &Site) -> bool {
        self.everything
            || self.prefixes.iter().any(|prefix| normalise(prefix) == "/")
            || self.tags.iter().any(|tag| is_site_tag(tag, site))
    }
}

/// Cloudflare and CloudFront do not tell case apart, and any CDN takes the encoded form.
fn is_site_tag(tag: &str, site: &Site) -> bool {
    let own = tags::site_tag(&site.name);
    tag.eq_ignore_ascii_case(&own)
        || site.cdns.iter().any(|cdn| {
            tags::encode(cdn.dialect.cdn, tag).eq_ignore_ascii_case(&tags::encode(cdn.dialect.cdn, &own))
        })
}

/// Marked stale, or deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PurgeMode {
    /// May be served while it is fetched again.
    Soft,
    /// Gone.
    Hard,
}

/// The state of a job, and of a purge as the sum of its jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Not sent yet.
    Pending,
    /// A call is under way.
    Sending,
    /// Some items wait for another try.
    Retrying,
    /// Its CDN is paused.
    Paused,
    /// The CDN accepted every item.
    Done,
    /// An item was refused, or its retries ran out.
    Failed,
    /// Taken back before it was sent.
    Cancelled,
}

impl State {
    /// Whether nothing more happens by itself.
    pub fn is_end(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }
}

/// Why a send is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SendReason {
    /// The purge itself.
    First,
    /// An earlier send did not get through.
    Retry,
    /// `repeat_after`: shield tiers.
    Repeat,
    /// A response that was in flight may have been stored after the purge.
    FollowUp,
}

/// One purge on one CDN, planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobPlan {
    /// The CDN's name within the site.
    pub cdn: String,
    /// What it is, whatever it is called when the job is sent.
    pub identity: Identity,
    /// Its type.
    pub cdn_type: CdnType,
    /// Every item once, as the CDN names it.
    pub items: Vec<Item>,
    /// Its only item is all of the site, which covers whatever else is pending.
    pub everything: bool,
    /// Its items reach copies without our tags, too, which no tag covers.
    pub untagged: bool,
    /// Where the CDN lacks a kind and a broader one is used: what and why, in words.
    pub fallback: Vec<String>,
    /// A second purge of the same items after this many milliseconds; 0: none.
    pub repeat_after_ms: i64,
}
