//! Widening: a broader item in place of pending or refused ones. It was not planned, and goes ahead of
//! everything else.

use super::codes::Code;
use super::enqueue::number;
use super::new_sends::new_sends;
use crate::purge::SendReason;
use crate::store::{CdnKey, Wider};
use rusqlite::{Connection, OptionalExtension, params};

/// Puts the broader item ahead of everything that is due, as an item of one of the jobs concerned. Returns the
/// number of these jobs.
pub(super) fn queue(
    connection: &Connection,
    key: &CdnKey,
    wider: &Wider,
    now_ms: i64,
) -> rusqlite::Result<u64> {
    let Some(cdn) = number(connection, key)? else { return Ok(0) };
    let waits = connection
        .prepare_cached(
            "SELECT 1 FROM sends WHERE cdn = ?1 AND lane = 0 AND hard >= ?2 AND leased = 0 AND reason <> ?3 LIMIT 1",
        )?
        .exists(params![cdn, wider.item.hard, Code(SendReason::Repeat)])?;
    if waits {
        return Ok(0);
    }
    const CONCERNED: &str = "cdn = ?1 AND outcome IS NULL AND due_ms <= ?2
         AND EXISTS (SELECT 1 FROM sends WHERE sends.job = jobs.id AND leased = 0 AND sends.due_ms <= ?2)";
    let oldest: Option<i64> = connection
        .prepare_cached(&format!("SELECT id FROM jobs WHERE {CONCERNED} ORDER BY due_ms, id LIMIT 1"))?
        .query_row(params![cdn, now_ms], |row| row.get(0))
        .optional()?;
    let Some(oldest) = oldest else { return Ok(0) };
    add(connection, oldest, wider, now_ms)?;
    let concerned = connection
        .prepare_cached(&format!("UPDATE jobs SET fallback = {} WHERE {CONCERNED}", noted("?3")))?
        .execute(params![cdn, now_ms, wider.why])?;
    Ok(concerned as u64)
}

/// Adds the broader item to a job of which an item was refused (when it was sent for this reason), unless the
/// job already has the same one or one for the whole site. Returns whether it was added.
pub(super) fn job(
    connection: &Connection,
    job: i64,
    reason: SendReason,
    wider: &Wider,
    now_ms: i64,
) -> rusqlite::Result<bool> {
    let known: Option<i64> = connection
        .prepare_cached(
            "SELECT n FROM items JOIN jobs ON jobs.id = items.job
             WHERE job = ?1 AND n >= jobs.items AND hard >= ?2 AND failed = 0
               AND (kind NOT IN (0, 2) OR kind = ?3 AND value = ?4)",
        )?
        .query_row(params![job, wider.item.hard, Code(wider.item.kind), wider.item.value], |row| row.get(0))
        .optional()?;
    if let Some(n) = known {
        // The broader item was sent before the responses of the follow-up had arrived, or will be sent at once
        // anyway.
        if reason == SendReason::FollowUp {
            send(connection, job, n, reason, now_ms)?;
        }
        return Ok(false);
    }
    add(connection, job, wider, now_ms)?;
    connection
        .prepare_cached(&format!("UPDATE jobs SET fallback = {} WHERE id = ?1", noted("?2")))?
        .execute(params![job, wider.why])?;
    Ok(true)
}

fn add(connection: &Connection, job: i64, wider: &Wider, now_ms: i64) -> rusqlite::Result<()> {
    let n: i64 = connection
        .prepare_cached(
            "SELECT max(jobs.items, coalesce((SELECT max(n) + 1 FROM items WHERE job = ?1), 0))
             FROM jobs WHERE id = ?1",
        )?
        .query_row([job], |row| row.get(0))?;
    let item = &wider.item;
    connection
        .prepare_cached("INSERT INTO items (job, n, kind, hard, value) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![job, n, Code(item.kind), item.hard, item.value])?;
    send(connection, job, n, SendReason::First, now_ms)
}

fn send(connection: &Connection, job: i64, n: i64, reason: SendReason, now_ms: i64) -> rusqlite::Result<()> {
    connection.prepare_cached(&new_sends("AND items.n = ?4"))?.execute(params![
        job,
        Code(reason),
        now_ms,
        n
    ])?;
    connection
        .prepare_cached(
            "UPDATE cdns SET pending = pending + 1 WHERE id = (SELECT cdn FROM jobs WHERE id = ?1)",
        )?
        .execute([job])?;
    Ok(())
}

/// Returns an expression for the job's fallbacks with `why` added, unless it is there already.
fn noted(why: &str) -> String {
    format!(
        "CASE WHEN EXISTS (SELECT 1 FROM json_each(fallback) WHERE value = {why}) THEN fallback
              ELSE json_insert(fallback, '$[#]', {why}) END"
    )
}
