//! Follow-up purges: committed with their purge, and due when the responses that were in flight have arrived.
//! Until then they hold up the end of their job.

use super::codes::Code;
use super::new_sends::new_sends;
use crate::purge::{SendReason, State};
use crate::store::{FollowUps, WAITING_MS};
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

/// Adds follow-ups to a purge that is committed. A job that has ended is under way again, unless it was cancelled.
/// Returns the number of follow-ups.
pub(super) fn add(connection: &Connection, id: &str, follow_ups: &FollowUps) -> rusqlite::Result<u64> {
    let jobs: Vec<(i64, Option<Code<State>>)> = connection
        .prepare_cached(
            "SELECT jobs.id, jobs.outcome FROM jobs JOIN purges ON purges.n = jobs.purge
             WHERE purges.id = ?1 ORDER BY jobs.id",
        )?
        .query_map([id], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let mut added = 0;
    for (number, (job, outcome)) in jobs.into_iter().enumerate() {
        let items = follow_ups.items.iter().filter(|(of, _)| *of == number).map(|(_, item)| *item);
        let items: Vec<u32> = items.collect();
        if items.is_empty() || matches!(outcome, Some(Code(State::Cancelled))) {
            continue;
        }
        added += items.len() as u64;
        insert(connection, job, items.into_iter(), follow_ups.margin_ms)?;
        if outcome.is_some() {
            reopen(connection, job, WAITING_MS + follow_ups.margin_ms)?;
        }
    }
    Ok(added)
}

/// Puts a job that has ended under way again.
fn reopen(connection: &Connection, job: i64, due_ms: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE jobs SET outcome = NULL, accepted_ms = NULL, due_ms = ?2 WHERE id = ?1")?
        .execute([job, due_ms])?;
    for statement in [
        "UPDATE cdns SET jobs = jobs + 1 WHERE id = (SELECT cdn FROM jobs WHERE id = ?1)",
        "UPDATE purges SET outcome = NULL, finished_ms = NULL WHERE n = (SELECT purge FROM jobs WHERE id = ?1)",
    ] {
        connection.prepare_cached(statement)?.execute([job])?;
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
