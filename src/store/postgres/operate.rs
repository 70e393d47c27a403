//! A person's decisions about a purge: retrying failed items and cancelling pending ones.

use super::codes::code;
use super::db::{Db, get};
use super::due::GROUPS;
use super::error::Error;
use super::new_sends::new_sends;
use super::read::SEEN;
use super::settle::end_purges;
use super::{codes::HOLDS_UP, locks, naming};
use crate::purge::{SendReason, State};
use crate::store::{CdnKey, EndedJob, HURRIED, WAITING_MS};
use std::collections::BTreeMap;

/// Makes the failed items of every failed job due again, as retries. Returns the number of these jobs.
pub(super) async fn retry(db: &Db, id: &str, now_ms: i64) -> Result<u64, Error> {
    let Some(purge) = find(db, id).await? else { return Ok(0) };
    let failed = db
        .query(
            "UPDATE jobs SET outcome = NULL, acknowledged = false, due_ms = $3
             WHERE purge = $1 AND outcome = $2 RETURNING id, cdn",
            &[&purge.key, &code(State::Failed), &now_ms],
        )
        .await?;
    let mut counters: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
    let mut jobs: Vec<(i64, i64)> =
        failed.iter().map(|row| Ok((get(row, 0)?, get(row, 1)?))).collect::<Result<_, Error>>()?;
    jobs.sort_unstable();
    for (job, cdn) in &jobs {
        let of_failed = "(SELECT $1 AS job, n, $2::int8 AS reason, $3::int8 AS due_ms, n AS place
                          FROM items WHERE job = $1 AND failed)";
        let due =
            db.execute(&new_sends(of_failed, "NULL"), &[job, &code(SendReason::Retry), &now_ms]).await?;
        db.execute("UPDATE items SET failed = false WHERE job = $1 AND failed", &[job]).await?;
        let (under_way, pending) = counters.entry(*cdn).or_default();
        *under_way += 1;
        *pending += i64::try_from(due).unwrap_or(i64::MAX);
    }
    if !jobs.is_empty() {
        db.execute("UPDATE purges SET outcome = NULL, finished_ms = NULL WHERE key = $1", &[&purge.key])
            .await?;
    }
    count(db, counters).await?;
    Ok(jobs.len() as u64)
}

/// Makes waiting retries due now.
pub(super) async fn hurry(db: &Db, key: &CdnKey, now_ms: i64) -> Result<u64, Error> {
    let Some(cdn) = locks::queue(db, key).await? else { return Ok(0) };
    // Each group is one range of the index.
    db.execute(
        &format!(
            "UPDATE sends SET due_ms = $2 WHERE id = ANY (ARRAY(
                 SELECT late.id FROM {GROUPS},
                     LATERAL (SELECT id FROM sends
                         WHERE cdn = $1 AND lane = groups.lane AND kind = groups.kind AND hard = groups.hard
                           AND due_ms > $2 AND due_ms < $3 AND NOT leased AND reason = $4 LIMIT $5) AS late))"
        ),
        &[&cdn, &now_ms, &WAITING_MS, &code(SendReason::Retry), &(HURRIED as i64)],
    )
    .await
}

/// Ends every job that is under way as cancelled, and returns these jobs. Leased sends are removed too, so that
/// the end of a call in progress finds nothing to settle. Items already accepted keep their repeat.
pub(super) async fn cancel(db: &Db, id: &str, at_ms: i64) -> Result<Vec<EndedJob>, Error> {
    let Some(purge) = find(db, id).await? else { return Ok(Vec::new()) };
    let rows = db
        .query(
            "WITH ended AS (UPDATE jobs SET outcome = $2 WHERE purge = $1 AND outcome IS NULL RETURNING id, cdn)
             SELECT ended.id, cdn, name FROM ended JOIN cdns ON cdns.id = ended.cdn ORDER BY ended.id",
            &[&purge.key, &code(State::Cancelled)],
        )
        .await?;
    let mut counters: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
    let mut ended = Vec::with_capacity(rows.len());
    for row in &rows {
        let (job, cdn): (i64, i64) = (get(row, 0)?, get(row, 1)?);
        let removed =
            db.execute(&format!("DELETE FROM sends WHERE job = $1 AND {HOLDS_UP}"), &[&job]).await?;
        db.execute("DELETE FROM awaited WHERE job = $1", &[&job]).await?;
        let (under_way, pending) = counters.entry(cdn).or_default();
        *under_way -= 1;
        *pending -= i64::try_from(removed).unwrap_or(i64::MAX);
        ended.push(EndedJob {
            key: CdnKey { site: purge.site.clone(), cdn: get(row, 2)? },
            purge: id.to_owned(),
            state: State::Cancelled,
            purge_ended: None,
            since_ms: purge.since_ms,
            verify: None,
        });
    }
    if let Some(last) = ended.last_mut() {
        last.purge_ended = end_purges(db, &[purge.key], at_ms).await?.get(&purge.key).copied();
    }
    count(db, counters).await?;
    Ok(ended)
}

async fn count(db: &Db, counters: BTreeMap<i64, (i64, i64)>) -> Result<(), Error> {
    let counters: Vec<_> = counters.into_iter().map(|(cdn, (jobs, pending))| (cdn, jobs, pending)).collect();
    naming::count(db, &counters).await
}

/// A purge.
struct Found {
    key: i64,
    site: String,
    since_ms: i64,
}

/// Finds a purge, and locks its queues and itself.
async fn find(db: &Db, id: &str) -> Result<Option<Found>, Error> {
    let rows = db
        .query(
            "SELECT jobs.cdn FROM jobs JOIN purges ON purges.key = jobs.purge WHERE purges.id = $1",
            &[&id],
        )
        .await?;
    let cdns: Vec<i64> = rows.iter().map(|row| get(row, 0)).collect::<Result<_, _>>()?;
    locks::queues(db, &cdns).await?;
    let found = db
        .find(&format!("SELECT key, site, since_ms FROM purges WHERE id = $1 AND {SEEN} FOR UPDATE"), &[&id])
        .await?;
    found
        .map(|row| Ok(Found { key: get(&row, 0)?, site: get(&row, 1)?, since_ms: get(&row, 2)? }))
        .transpose()
}
