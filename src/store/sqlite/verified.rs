//! The results of verifying the copies of purged pages.

use super::codes::Code;
use super::new_sends::new_sends;
use super::sweep::SEEN;
use crate::purge::{SendReason, State};
use crate::store::{CdnKey, EndedJob, Verification};
use rusqlite::{Connection, OptionalExtension, params};

/// The most jobs to return. Verifying is a sample, so this may be limited.
const MOST: i64 = 10_000;

/// Returns done jobs whose copies were neither found fresh nor impossible to check.
pub(super) fn open(connection: &Connection, ended_after_ms: i64) -> rusqlite::Result<Vec<EndedJob>> {
    connection
        .prepare_cached(&format!(
            "SELECT cdns.site, cdns.name, purges.id, since_ms, json_extract(purges.head, '$.verify')
             FROM purges JOIN jobs ON jobs.purge = purges.n JOIN cdns ON cdns.id = jobs.cdn
                  JOIN accepted ON accepted.purge = purges.n
             WHERE purges.finished_ms > ?1 AND jobs.outcome = ?2 AND (verification IS NULL OR verification = ?3)
                   AND {SEEN}
             ORDER BY purges.finished_ms DESC LIMIT ?4"
        ))?
        .query_map(params![ended_after_ms, Code(State::Done), Code(Verification::Stale), MOST], |row| {
            Ok(EndedJob {
                key: CdnKey { site: row.get(0)?, cdn: row.get(1)? },
                purge: row.get(2)?,
                state: State::Done,
                purge_ended: None,
                since_ms: row.get(3)?,
                verify: row.get(4)?,
            })
        })?
        .collect()
}

/// Records the result with the job. At `again_ms` all items that were planned for the job are sent again, as a
/// repeat, which holds up nothing.
pub(super) fn note(
    connection: &Connection,
    key: &CdnKey,
    purge: &str,
    (seen, at_ms): (Verification, i64),
    again_ms: Option<i64>,
) -> rusqlite::Result<()> {
    let job: Option<i64> = connection
        .prepare_cached(&format!(
            "SELECT jobs.id FROM jobs JOIN purges ON purges.n = jobs.purge JOIN cdns ON cdns.id = jobs.cdn
             WHERE purges.id = ?1 AND cdns.site = ?2 AND cdns.name = ?3 AND jobs.outcome = ?4 AND {SEEN}"
        ))?
        .query_row(params![purge, key.site, key.cdn, Code(State::Done)], |row| row.get(0))
        .optional()?;
    let Some(job) = job else { return Ok(()) };
    let fresh_ms = (seen == Verification::Fresh).then_some(at_ms);
    connection
        .prepare_cached("UPDATE jobs SET verification = ?2, verified_ms = ?3 WHERE id = ?1")?
        .execute(params![job, Code(seen), fresh_ms])?;
    if let Some(again_ms) = again_ms {
        let waits = connection
            .prepare_cached("SELECT 1 FROM sends WHERE job = ?1 AND reason = ?2 LIMIT 1")?
            .exists(params![job, Code(SendReason::Repeat)])?;
        if !waits {
            connection.prepare_cached(&new_sends(""))?.execute(params![
                job,
                Code(SendReason::Repeat),
                again_ms
            ])?;
        }
    }
    Ok(())
}
