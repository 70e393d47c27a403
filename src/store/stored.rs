//! The form in which every store keeps a purge.

use super::{BULK_ITEMS, CdnKey, Lane, NewPurge};
use crate::cdn::{Identity, Item, ItemKind};
use crate::purge::{JobPlan, PurgeRequest, State};
use crate::rewrite::CdnType;
use std::collections::BTreeMap;

/// How long an idempotency key is remembered.
pub(super) const IDEMPOTENCY_MS: i64 = 24 * 60 * 60 * 1_000;

/// Returns the request without its items, which is how a list shows a large one.
pub(super) fn head(request: &PurgeRequest) -> serde_json::Result<String> {
    serde_json::to_string(&PurgeRequest {
        urls: Vec::new(),
        paths: Vec::new(),
        tags: Vec::new(),
        prefixes: Vec::new(),
        everything: request.everything,
        mode: request.mode,
        cdns: request.cdns.clone(),
        verify: request.verify,
        reason: request.reason.clone(),
        dry_run: false,
    })
}

/// Returns only the items. [`request`] joins both parts again.
pub(super) fn body(request: &PurgeRequest) -> serde_json::Result<String> {
    serde_json::to_string(&(&request.urls, &request.paths, &request.tags, &request.prefixes))
}

/// Returns the request of this head, with the items of this body.
pub(super) fn request(head: &str, body: Option<&str>) -> serde_json::Result<PurgeRequest> {
    let mut request: PurgeRequest = serde_json::from_str(head)?;
    if let Some(body) = body {
        (request.urls, request.paths, request.tags, request.prefixes) = serde_json::from_str(body)?;
    }
    Ok(request)
}

/// Returns the lane of a job's planned items.
pub(super) fn lane(job: &JobPlan) -> Lane {
    match job.items.len() {
        _ if job.everything => Lane::Site,
        items if items > BULK_ITEMS => Lane::Bulk,
        _ => Lane::Small,
    }
}

/// Returns the state of a purge whose jobs under way are in these states.
pub(super) fn liveliest(jobs: impl Iterator<Item = State> + Clone) -> State {
    [State::Sending, State::Retrying, State::Paused]
        .into_iter()
        .find(|state| jobs.clone().any(|job| job == *state))
        .unwrap_or(State::Pending)
}

/// An id after all existing ones, which is where the next purge goes as well.
const LAST_ID: &str = "~";

/// Returns purges with which a store rehearses accepting purges: one for each site of these CDNs, and one of a new
/// site.
pub(super) fn rehearsal(cdns: Vec<CdnKey>, now_ms: i64) -> Vec<NewPurge> {
    let first = (LAST_ID.to_owned(), vec![rehearsed(LAST_ID.to_owned())]);
    let mut sites: BTreeMap<String, Vec<JobPlan>> = BTreeMap::from([first]);
    for CdnKey { site, cdn } in cdns {
        sites.entry(site).or_default().push(rehearsed(cdn));
    }
    let purge = |(number, (site, jobs)): (usize, (String, Vec<JobPlan>))| {
        let id = format!("{LAST_ID}{number}");
        NewPurge {
            idempotency: Some((id.clone(), String::new())),
            id,
            site,
            request: PurgeRequest::default(),
            caller: LAST_ID.to_owned(),
            now_ms,
            since_ms: now_ms,
            due_ms: now_ms,
            jobs,
            follow_ups: Default::default(),
        }
    };
    sites.into_iter().enumerate().map(purge).collect()
}

fn rehearsed(cdn: String) -> JobPlan {
    let kinds = [ItemKind::Url, ItemKind::Tag, ItemKind::Prefix, ItemKind::Everything].into_iter();
    let items =
        kinds.flat_map(|kind| [true, false].map(|hard| Item { kind, value: LAST_ID.to_owned(), hard }));
    JobPlan {
        identity: Identity::default(),
        cdn,
        cdn_type: CdnType::ALL[0],
        items: items.collect(),
        everything: false,
        untagged: false,
        fallback: Vec::new(),
        repeat_after_ms: 0,
    }
}
