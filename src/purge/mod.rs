//! A purge: the request of a caller, and its states. Everything here is pure.
//!
//! A [`PurgeRequest`] is checked (`check.rs`) and planned for each CDN of its site (`plan/`). The result is a
//! [`JobPlan`] per CDN, whose items the store keeps. Later, calls are filled with them (`fill.rs`, `cover.rs`,
//! `batch.rs`), at the account's rate (`delivery/account.rs`).

mod batch;
mod calls;
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
pub use calls::calls_of;
pub use check::{ItemError, MAX_ITEMS, MAX_REASON, is_too_long};
pub use cover::Cover;
pub use fill::{Filling, Fit, Room, scheduling_kind};
pub use keys::{item_key, keys_of};
pub use plan::{Means, plan, plan_among, widest};

use crate::cdn::{Identity, Item};
use crate::config::Site;
use crate::rewrite::path::normalise;
use crate::rewrite::{CdnType, tags};
use serde::{Deserialize, Serialize};

/// A purge request: the body of `POST /v1/sites/{site}/purges`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "an object that says what to purge")]
pub struct PurgeRequest {
    /// URLs to purge exactly, in any spelling of their path. Their hosts must be the site's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// Paths of pages to purge, in any spelling, on every host of the site and with every query. A `*` is not a
    /// wildcard; in a name it is written `%2A`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// Tags whose responses are purged; without spaces and `*`, at most 16 KiB each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Prefixes below which everything is purged, in any spelling.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prefixes: Vec<String>,
    /// Whether to purge the whole site.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub everything: bool,
    /// The mode, `soft` or `hard`; by default as configured for each CDN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<PurgeMode>,
    /// Names of the site's CDNs to purge; by default all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cdns: Option<Vec<String>>,
    /// Whether to verify the purge when it is done; by default as configured for each CDN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify: Option<bool>,
    /// The reason for the purge, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether to answer only with what would be sent: nothing is accepted, and nothing is purged.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

impl PurgeRequest {
    /// Returns the number of requested items.
    pub fn item_count(&self) -> usize {
        self.urls.len()
            + self.paths.len()
            + self.tags.len()
            + self.prefixes.len()
            + usize::from(self.everything)
    }

    /// Whether the request covers the whole site, however it is expressed: `everything`, the prefix `/`, or the site's
    /// own tag, in any form that one of its CDNs accepts. The answer decides which scope the caller needs.
    pub fn purges_everything(&self, site: &Site) -> bool {
        self.everything
            || self.prefixes.iter().any(|prefix| normalise(prefix) == "/")
            || self.tags.iter().any(|tag| is_site_tag(tag, site))
    }
}

/// Whether a tag is the site's own. Cloudflare and CloudFront ignore the case of tags, and every CDN accepts the
/// encoded form.
fn is_site_tag(tag: &str, site: &Site) -> bool {
    let own = tags::site_tag(&site.name);
    tag.eq_ignore_ascii_case(&own)
        || site.cdns.iter().any(|cdn| cdn.dialect.encode(tag).eq_ignore_ascii_case(&cdn.dialect.encode(&own)))
}

/// How a purge treats copies in a CDN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PurgeMode {
    /// Marks copies stale: they may be served while they are fetched again.
    Soft,
    /// Deletes copies.
    Hard,
}

/// The state of a job, and of a purge as the sum of its jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Nothing was sent yet.
    Pending,
    /// A call is in progress.
    Sending,
    /// Some items wait for another try.
    Retrying,
    /// The CDN is paused.
    Paused,
    /// The CDN accepted every item.
    Done,
    /// An item was refused, or its retries ran out.
    Failed,
    /// The job was cancelled before it was sent.
    Cancelled,
}

impl State {
    /// Whether this is a final state, which changes only if someone acts.
    pub fn is_end(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }
}

/// Why a send is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SendReason {
    /// The first send of the purge.
    First,
    /// A retry, because an earlier send failed.
    Retry,
    /// The repetition after `repeat_after`, for shield tiers.
    Repeat,
    /// A follow-up, because a response that was in flight may have been stored after the purge.
    FollowUp,
}

/// The plan of one purge for one CDN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobPlan {
    /// The CDN's name within the site.
    pub cdn: String,
    /// The CDN's identity, which stays the same if the CDN has another name when the job is sent.
    pub identity: Identity,
    /// The CDN's type.
    pub cdn_type: CdnType,
    /// The items as the CDN names them, without duplicates.
    pub items: Vec<Item>,
    /// Whether the only item is the whole site, which covers everything else that is pending.
    pub everything: bool,
    /// Whether the items also reach copies without the shim's tags, which no tag covers.
    pub untagged: bool,
    /// The kinds that the CDN lacks and that a broader one replaces: what was replaced and why, in words.
    pub fallback: Vec<String>,
    /// Milliseconds after which the same items are purged a second time; 0: never.
    pub repeat_after_ms: i64,
}
