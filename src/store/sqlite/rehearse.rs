//! A rehearsal of accepting purges: it accepts one purge for each site and its CDNs, and takes them back.
//! Committing a single row touches a single page, and proves nothing about a table that is broken, full or of
//! another shape.

use super::enqueue::enqueue;
use crate::cdn::{Identity, Item, ItemKind};
use crate::purge::{JobPlan, PurgeRequest};
use crate::rewrite::CdnType;
use crate::store::{CdnKey, NewPurge};
use rusqlite::Connection;
use std::collections::BTreeMap;

/// The most CDNs in a rehearsal.
const MOST: i64 = 64;
/// An id after all existing ones, which is where the next purge goes as well.
const ID: &str = "~";

/// Accepts purges, which the caller rolls back.
pub(super) fn accept(connection: &Connection, now_ms: i64) -> rusqlite::Result<()> {
    let keys: Vec<CdnKey> = connection
        .prepare_cached("SELECT site, name FROM cdns ORDER BY id DESC LIMIT ?1")?
        .query_map([MOST], |row| Ok(CdnKey { site: row.get(0)?, cdn: row.get(1)? }))?
        .collect::<Result<_, _>>()?;
    let mut sites: BTreeMap<String, Vec<JobPlan>> =
        BTreeMap::from([(ID.to_owned(), vec![job(ID.to_owned())])]);
    for CdnKey { site, cdn } in keys {
        sites.entry(site).or_default().push(job(cdn));
    }
    for (number, (site, jobs)) in sites.into_iter().enumerate() {
        enqueue(connection, &purge(format!("{ID}{number}"), site, jobs, now_ms))?;
    }
    Ok(())
}

fn purge(id: String, site: String, jobs: Vec<JobPlan>, now_ms: i64) -> NewPurge {
    NewPurge {
        idempotency: Some((id.clone(), String::new())),
        id,
        site,
        request: PurgeRequest::default(),
        caller: ID.to_owned(),
        now_ms,
        since_ms: now_ms,
        due_ms: now_ms,
        jobs,
        follow_ups: Default::default(),
    }
}

fn job(cdn: String) -> JobPlan {
    let kinds = [ItemKind::Url, ItemKind::Tag, ItemKind::Prefix, ItemKind::Everything].into_iter();
    let items = kinds.flat_map(|kind| [true, false].map(|hard| Item { kind, value: ID.to_owned(), hard }));
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
