//! Old purges go, a limited number of rows at a time: nobody waits long for the writer, and what a savepoint would need to undo
//! its verb, which is kept in memory, stays small. A purge that is in `removing` is seen by nobody any more.

use super::enqueue::IDEMPOTENCY_MS;
use super::settle::forget_call;
use rusqlite::{Connection, OptionalExtension, params};

/// Purges that are being removed at the same time.
const PURGES: i64 = 100;
/// Rows that one step removes.
const ROWS: i64 = 2_000;
/// Bytes of a purge's body that cost a step as much as a row.
const BODY: i64 = 1_024;
/// Pages that one step gives back to the file system.
const PAGES: i64 = 256;
/// Free pages that stay in the file, 16 MiB: what the next purges fill need not be given back and taken again.
const SLACK: i64 = 4_096;

/// The condition on a row of `purges` that is not being removed.
pub(super) const SEEN: &str = "NOT EXISTS (SELECT 1 FROM removing WHERE removing.purge = purges.n)";

const OLD: &str = "finished_ms < ?1 AND NOT EXISTS (SELECT 1 FROM idempotency WHERE idempotency.purge = purges.n)
    AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.purge = purges.n AND outcome = 'failed' AND acknowledged = 0)";

/// The oldest of those that may go, which takes as long as there are older ones that may not: not for the writer.
pub(super) fn find(connection: &Connection, ended_before_ms: i64) -> rusqlite::Result<Vec<i64>> {
    connection
        .prepare_cached(&format!(
            "SELECT n FROM purges WHERE {OLD} AND {SEEN} ORDER BY finished_ms LIMIT ?2"
        ))?
        .query_map([ended_before_ms, PURGES], |row| row.get(0))?
        .collect()
}

/// Takes those of them out of sight that still may go; how many.
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

/// One step; whether there is more to do.
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

/// Removes about `room` rows of a purge, and itself with the last of them; how many those were.
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
    // Sends first: what has none is claimed, settled and widened by nobody, so nothing new comes.
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
    // At most a hundred.
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

/// Gives some of what is free back to the file system; whether there is more. A file that was made before it could shrink stays as
/// it is.
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
