//! `"dry_run": true`: what a purge would send, without accepting it. The plan is the one that would be carried out.

use super::json::{Extent, Items};
use crate::cdn::{self, Item, ItemKind};
use crate::config::Site;
use crate::purge::{JobPlan, PurgeMode, PurgeRequest, calls_of};
use crate::rewrite::CdnType;
use serde::{Deserialize, Serialize};

/// The number of a CDN's items that an answer shows.
const FIRST: usize = 10;

/// The answer to a dry run: what would be sent to each CDN. Nothing was accepted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct DryRun {
    /// Always true, so that nobody mistakes the answer for a purge.
    pub dry_run: bool,
    /// The site's name.
    pub site: String,
    /// `soft` or `hard`; null means as configured for each CDN.
    pub mode: Option<PurgeMode>,
    /// The items that were requested, or that the event stands for.
    pub items: Items,
    /// What each CDN would get.
    pub jobs: Vec<PlannedJob>,
}

/// What one CDN would get.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PlannedJob {
    /// The CDN's name.
    pub cdn: String,
    /// The CDN's type.
    #[serde(rename = "type")]
    pub cdn_type: CdnType,
    /// Whether everything of the site, or of the CDN's service, would be purged.
    pub everything: bool,
    /// The number of items.
    pub items: u64,
    /// The number of items of each kind, as the CDN names them.
    pub kinds: Kinds,
    /// The first 10 items, as the CDN names them.
    pub first_items: Vec<PlannedItem>,
    /// The number of calls if nothing else is due; Varnish: to each node.
    pub calls: u64,
    /// After how many seconds all of them would be sent again, for the CDN's inner tiers; null if they would not.
    pub repeat_after_seconds: Option<f64>,
    /// What would be purged more widely than requested, and why.
    pub fallback: Vec<String>,
    /// What it would cost; null if the CDN charges nothing for purges.
    pub cost: Option<Cost>,
}

/// The number of items of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Kinds {
    /// URLs, or paths.
    pub urls: u64,
    /// Tags.
    pub tags: u64,
    /// Prefixes.
    pub prefixes: u64,
    /// Purges of everything.
    pub everything: u64,
}

/// An item as the CDN names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PlannedItem {
    /// `url`, `tag`, `prefix` or `everything`.
    pub kind: String,
    /// The name.
    pub value: String,
    /// How the item would be purged.
    pub mode: PurgeMode,
}

/// What a purge would cost.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Cost {
    /// The number of items that the CDN counts, repetitions included.
    pub items: u64,
    /// The number of items a month that cost nothing. How many of them are used up is not known here.
    pub free_per_month: u64,
    /// The price of all items in US dollars, if none of them is free.
    pub at_most_dollars: f64,
}

impl DryRun {
    /// Returns the answer for a plan.
    pub(super) fn of(site: &Site, request: &PurgeRequest, jobs: &[JobPlan]) -> Self {
        Self {
            dry_run: true,
            site: site.name.clone(),
            mode: request.mode,
            items: Items::of(request, request.item_count(), Extent::Brief),
            jobs: jobs.iter().map(|job| PlannedJob::of(site, job)).collect(),
        }
    }
}

impl PlannedJob {
    fn of(site: &Site, job: &JobPlan) -> Self {
        let configured = site.cdns.iter().find(|cdn| cdn.name == job.cdn);
        let calls = configured.map_or(0, |cdn| calls_of(job.cdn_type, &cdn::capabilities(cdn), &job.items));
        let items = job.items.len() as u64;
        let repeats = job.repeat_after_ms > 0;
        let cost = cdn::row(job.cdn_type).price.map(|price| {
            let items = if repeats { items * 2 } else { items };
            let at_most_dollars = items as f64 * price.dollars_per_item;
            Cost { items, free_per_month: price.free_per_month, at_most_dollars }
        });
        Self {
            cdn: job.cdn.clone(),
            cdn_type: job.cdn_type,
            everything: job.everything,
            items,
            kinds: kinds(&job.items),
            first_items: job.items.iter().take(FIRST).map(item).collect(),
            calls: calls as u64,
            repeat_after_seconds: repeats.then_some(job.repeat_after_ms as f64 / 1_000.0),
            fallback: job.fallback.clone(),
            cost,
        }
    }
}

fn kinds(items: &[Item]) -> Kinds {
    let mut kinds = Kinds::default();
    for item in items {
        match item.kind {
            ItemKind::Url => kinds.urls += 1,
            ItemKind::Tag => kinds.tags += 1,
            ItemKind::Prefix => kinds.prefixes += 1,
            ItemKind::Everything => kinds.everything += 1,
        }
    }
    kinds
}

fn item(item: &Item) -> PlannedItem {
    let kind = match item.kind {
        ItemKind::Url => "url",
        ItemKind::Tag => "tag",
        ItemKind::Prefix => "prefix",
        ItemKind::Everything => "everything",
    };
    let mode = if item.hard { PurgeMode::Hard } else { PurgeMode::Soft };
    PlannedItem { kind: kind.to_owned(), value: item.value.clone(), mode }
}
