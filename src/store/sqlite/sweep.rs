//! Removal of old purges, a limited number of rows at a time: no verb waits long for the writer, and the data
//! that a savepoint keeps in memory to undo its verb stays small. A purge in `removing` is no longer visible.

use super::settle::forget_call;
use crate::store::stored::IDEMPOTENCY_MS;
use rusqlite::{Connection, OptionalExtension, params};

/// The most purges that are being removed at the same time.
const PURGES: i64 = 100;
/// The number of rows that one step removes.
const ROWS: i64 = 2_000;
/// The bytes of a purge's body that count as one row.
const BODY: i64 = 1_024;
/// The most pages that one step releases to the file system.
const PAGES: i64 = 256;
/// Free pages that stay in the file, 16 MiB. The next purges fill them, so releasing them would be wasted.
const SLACK: i64 = 4_096;

/// The condition on a row of `purges` that is not being removed.
pub(super) const SEEN: &str = "NOT EXISTS (SELECT 1 FROM removing WHERE removing.purge = purges.n)";

const OLD: &str = "finished_ms < ?1 AND NOT EXISTS (SELECT 1 FROM idempotency WHERE idempotency.purge = purges.n)
    AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.purge = purges.n AND outcome = 'failed' AND acknowledged = 0)";

/// Finds the oldest purges that may be removed. This takes longer if many older ones must stay, so the writer
/// must not run it.
pub(super) fn find(connection: &Connection, ended_before_ms: i64) -> rusqlite::Result<Vec<i64>> {
    connection
        .prepare_cached(&format!(
            "SELECT n FROM purges WHERE {OLD} AND {SEEN} ORDER BY finished_ms LIMIT ?2"
        ))?
        .query_map([ended_before_ms, PURGES], |row| row.get(0))?
        .collect()
}

/// Hides those of the purges that may still be removed. Returns their number.
pub(super) fn begin(connection: &Connection, found: &[i64], ended_before_ms: i64) -> rusqlite::Result<u64> {
    let mut mark = connection.prepare_cached(&format!(
        "INSERT OR IGNORE INTO removing (purge) SELECT n FROM purges WHERE {OLD} AND n = ?2"
    ))?;
    let mut begun = 0;
    for n in found {
        begun += mark.execute([ended_before_ms, *n])? as u64;
    }
    Ok(begun)
}

/// Makes one step. Returns whether there is more to do.
pub(super) fn step(connection: &Connection, now_ms: i64) -> rusqlite::Result<bool> {
    let keys = connection
        .prepare_cached(
            "DELETE FROM idempotency WHERE (caller, key) IN
                 (SELECT caller, key FROM idempotency WHERE created_ms <= ?1 LIMIT ?2)",
        )?
        .execute([now_ms - IDEMPOTENCY_MS, ROWS])?;
    let mut room = ROWS - keys as i64;
    while room > 0 {
        let next: Option<i64> = connection
            .prepare_cached("SELECT purge FROM removing ORDER BY purge LIMIT 1")?
            .query_row([], |row| row.get(0))
            .optional()?;
        let Some(purge) = next else { break };
        room -= remove(connection, purge, room)?;
    }
    let shrinks = shrink(connection)?;
    let is_left = connection.prepare_cached("SELECT 1 FROM removing LIMIT 1")?.exists([])?;
    Ok(room <= 0 || is_left || shrinks)
}

/// Removes about `room` rows of a purge, and the purge itself with the last of them. Returns the number of rows
/// removed.
fn remove(connection: &Connection, purge: i64, room: i64) -> rusqlite::Result<i64> {
    let job: Option<i64> = connection
        .prepare_cached("SELECT id FROM jobs WHERE purge = ?1 LIMIT 1")?
        .query_row([purge], |row| row.get(0))
        .optional()?;
    let Some(job) = job else {
        let body: Option<i64> = connection
            .prepare_cached("SELECT octet_length(body) FROM purges WHERE n = ?1")?
            .query_row([purge], |row| row.get(0))
            .optional()?;
        connection.prepare_cached("DELETE FROM purges WHERE n = ?1")?.execute([purge])?;
        connection.prepare_cached("DELETE FROM removing WHERE purge = ?1")?.execute([purge])?;
        return Ok(1 + body.unwrap_or_default() / BODY);
    };
    let mut removed = 0;
    // Sends go first: without them the job is not claimed, settled or widened, so no new rows appear.
    for rows in [
        "sends WHERE id IN (SELECT id FROM sends WHERE job = ?1 LIMIT ?2)",
        "items WHERE job = ?1 AND n IN (SELECT n FROM items WHERE job = ?1 LIMIT ?2)",
        "work_jobs WHERE job = ?1 AND work IN (SELECT work FROM work_jobs WHERE job = ?1 LIMIT ?2)",
    ] {
        removed += connection
            .prepare_cached(&format!("DELETE FROM {rows}"))?
            .execute(params![job, room - removed])? as i64;
        if removed >= room {
            return Ok(removed);
        }
    }
    // There are at most a hundred calls.
    let calls: Vec<i64> = connection
        .prepare_cached("SELECT call FROM attempts WHERE job = ?1")?
        .query_map([job], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    connection.prepare_cached("DELETE FROM jobs WHERE id = ?1")?.execute([job])?;
    for call in &calls {
        forget_call(connection, *call)?;
    }
    Ok(removed + 1 + 2 * calls.len() as i64)
}

/// Releases some free pages to the file system. Returns whether there are more. A file that cannot shrink stays
/// as it is.
fn shrink(connection: &Connection) -> rusqlite::Result<bool> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let free = pragma("freelist_count")?;
    let pages = (free - SLACK).min(PAGES);
    if pages <= 0 {
        return Ok(false);
    }
    let mut vacuum = connection.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
    let mut rows = vacuum.query([])?;
    while rows.next()?.is_some() {}
    drop(rows);
    let left = pragma("freelist_count")?;
    Ok(left < free && left > SLACK)
}
