//! Follow-up purges: committed with their purge, and due when the responses that were in flight have arrived.
//! Until then they hold up the end of their job.

use super::codes::Code;
use super::new_sends::new_sends;
use crate::purge::SendReason;
use crate::store::WAITING_MS;
use rusqlite::{Connection, params};

/// Inserts a follow-up for each of these items of a new job.
pub(super) fn insert(
    connection: &Connection,
    job: i64,
    items: impl Iterator<Item = u32>,
    margin_ms: i64,
) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached(&new_sends("AND items.n = ?4"))?;
    let mut count = 0;
    for item in items {
        count +=
            insert.execute(params![job, Code(SendReason::FollowUp), WAITING_MS + margin_ms, item])? as i64;
    }
    if count > 0 {
        connection
            .prepare_cached(
                "UPDATE cdns SET pending = pending + ?2 WHERE id = (SELECT cdn FROM jobs WHERE id = ?1)",
            )?
            .execute([job, count])?;
    }
    Ok(())
}

/// Makes the waiting follow-ups of this purge due at `due_ms`.
pub(super) fn arrived(connection: &Connection, id: &str, due_ms: i64) -> rusqlite::Result<u64> {
    const JOBS: &str = "SELECT jobs.id FROM jobs JOIN purges ON purges.n = jobs.purge WHERE purges.id = ?1";
    let due = connection
        .prepare_cached(&format!(
            "UPDATE sends SET due_ms = ?2 WHERE job IN ({JOBS}) AND reason = ?3 AND leased = 0 AND due_ms >= ?4"
        ))?
        .execute(params![id, due_ms, Code(SendReason::FollowUp), WAITING_MS])?;
    connection
        .prepare_cached(&format!("UPDATE jobs SET due_ms = ?2 WHERE id IN ({JOBS}) AND due_ms >= ?3"))?
        .execute(params![id, due_ms, WAITING_MS])?;
    Ok(due as u64)
}

/// Makes the follow-ups of a former run due after their margin. Its responses were aborted when the program
/// ended, and any remaining bytes in flight have arrived after the margin.
pub(super) fn nobody_waits(connection: &Connection, now_ms: i64) -> rusqlite::Result<()> {
    for table in ["sends", "jobs"] {
        connection.execute(
            &format!("UPDATE {table} SET due_ms = due_ms - ?1 + ?2 WHERE due_ms >= ?1"),
            [WAITING_MS, now_ms],
        )?;
    }
    Ok(())
}

/// Moves the due time of a job that has only follow-ups left, so that it is not late while they wait.
pub(super) fn only_waits(connection: &Connection, job: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE jobs SET due_ms = (SELECT min(due_ms) FROM sends WHERE job = ?1 AND reason = ?2)
             WHERE id = ?1 AND EXISTS (SELECT 1 FROM sends WHERE job = ?1 AND reason = ?2 AND leased = 0)
               AND NOT EXISTS (SELECT 1 FROM sends WHERE job = ?1 AND reason IN (?3, ?4))",
        )?
        .execute(params![
            job,
            Code(SendReason::FollowUp),
            Code(SendReason::First),
            Code(SendReason::Retry)
        ])?;
    Ok(())
}
