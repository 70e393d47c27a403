//! A person's decisions about a purge: retrying failed items and cancelling pending ones.

use super::codes::{Code, HOLD_UP};
use super::due::{KINDS, LANES};
use super::enqueue::number;
use super::new_sends::new_sends;
use super::settle::end_purge;
use super::sweep::SEEN;
use crate::purge::{SendReason, State};
use crate::store::{CdnKey, EndedJob, HURRIED, WAITING_MS};
use rusqlite::{Connection, OptionalExtension, params};

/// Makes the failed items of every failed job due again, as retries. Returns the number of these jobs.
pub(super) fn retry(connection: &Connection, id: &str, now_ms: i64) -> rusqlite::Result<u64> {
    let Some((purge, ..)) = find(connection, id)? else { return Ok(0) };
    let failed: Vec<(i64, i64)> = connection
        .prepare_cached("SELECT id, cdn FROM jobs WHERE purge = ?1 AND outcome = ?2")?
        .query_map(params![purge, Code(State::Failed)], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    for &(job, cdn) in &failed {
        let due = connection.prepare_cached(&new_sends("AND items.failed = 1"))?.execute(params![
            job,
            Code(SendReason::Retry),
            now_ms
        ])?;
        connection
            .prepare_cached("UPDATE items SET failed = 0 WHERE job = ?1 AND failed = 1")?
            .execute([job])?;
        connection
            .prepare_cached("UPDATE jobs SET outcome = NULL, acknowledged = 0, due_ms = ?2 WHERE id = ?1")?
            .execute([job, now_ms])?;
        count(connection, cdn, 1, due as i64)?;
    }
    if !failed.is_empty() {
        connection
            .prepare_cached("UPDATE purges SET outcome = NULL, finished_ms = NULL WHERE n = ?1")?
            .execute([purge])?;
    }
    Ok(failed.len() as u64)
}

/// Makes waiting retries due now.
pub(super) fn hurry(connection: &Connection, key: &CdnKey, now_ms: i64) -> rusqlite::Result<u64> {
    let Some(cdn) = number(connection, key)? else { return Ok(0) };
    let mut hurried = 0;
    // Each group is one range of the index.
    for lane in LANES {
        for kind in KINDS {
            for hard in [true, false] {
                hurried += connection
                    .prepare_cached(
                        "UPDATE sends SET due_ms = ?5 WHERE id IN
                             (SELECT id FROM sends WHERE cdn = ?1 AND lane = ?2 AND kind = ?3 AND hard = ?4
                                 AND due_ms > ?5 AND due_ms < ?6 AND leased = 0 AND reason = ?7 LIMIT ?8)",
                    )?
                    .execute(params![
                        cdn,
                        Code(lane),
                        Code(kind),
                        hard,
                        now_ms,
                        WAITING_MS,
                        Code(SendReason::Retry),
                        HURRIED as i64
                    ])?;
            }
        }
    }
    Ok(hurried as u64)
}

/// Ends every job that is under way as cancelled, and returns these jobs. Leased sends are removed too, so that
/// the end of a call in progress finds nothing to settle. Items already accepted keep their repeat.
pub(super) fn cancel(connection: &Connection, id: &str, at_ms: i64) -> rusqlite::Result<Vec<EndedJob>> {
    let Some((purge, site, since_ms)) = find(connection, id)? else { return Ok(Vec::new()) };
    let under_way: Vec<(i64, i64, String)> = connection
        .prepare_cached(
            "SELECT jobs.id, cdns.id, cdns.name FROM jobs JOIN cdns ON cdns.id = jobs.cdn
             WHERE purge = ?1 AND outcome IS NULL ORDER BY jobs.id",
        )?
        .query_map([purge], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_, _>>()?;
    let mut ended = Vec::with_capacity(under_way.len());
    for (job, cdn, name) in under_way {
        let mut pending = 0;
        for reason in HOLD_UP {
            pending += connection
                .prepare_cached("DELETE FROM sends WHERE job = ?1 AND reason = ?2")?
                .execute(params![job, Code(reason)])?;
        }
        connection
            .prepare_cached("UPDATE jobs SET outcome = ?2 WHERE id = ?1")?
            .execute(params![job, Code(State::Cancelled)])?;
        count(connection, cdn, -1, -(pending as i64))?;
        ended.push(EndedJob {
            key: CdnKey { site: site.clone(), cdn: name },
            purge: id.to_owned(),
            state: State::Cancelled,
            purge_ended: None,
            since_ms,
            verify: None,
        });
    }
    if let Some(last) = ended.last_mut() {
        last.purge_ended = end_purge(connection, purge, at_ms)?;
    }
    Ok(ended)
}

/// Returns the number, site and time of acceptance of a purge.
fn find(connection: &Connection, id: &str) -> rusqlite::Result<Option<(i64, String, i64)>> {
    connection
        .prepare_cached(&format!(
            "SELECT n, site, since_ms FROM purges JOIN accepted ON accepted.purge = n WHERE id = ?1 AND {SEEN}"
        ))?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()
}

fn count(connection: &Connection, cdn: i64, jobs: i64, pending: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE cdns SET jobs = jobs + ?2, pending = pending + ?3 WHERE id = ?1")?
        .execute([cdn, jobs, pending])?;
    Ok(())
}
