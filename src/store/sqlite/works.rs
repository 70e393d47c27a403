//! Works that CDNs accepted and report complete later, with the jobs that wait for them.

use super::codes::Code;
use super::enqueue::number;
use crate::purge::State;
use crate::store::{CdnKey, NewWork, Work};
use rusqlite::{Connection, params};

/// Begins a work with the jobs whose items it carries.
pub(super) fn begin(
    connection: &Connection,
    cdn: i64,
    work: &NewWork,
    jobs: impl Iterator<Item = i64>,
    now_ms: i64,
) -> rusqlite::Result<i64> {
    let count = |items: u64| i64::try_from(items).unwrap_or(i64::MAX);
    connection
        .prepare_cached(
            "INSERT INTO works (cdn, name, since_ms, items, wildcards) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![cdn, work.name, now_ms, count(work.items), count(work.wildcards)])?;
    let id = connection.last_insert_rowid();
    let mut link =
        connection.prepare_cached("INSERT OR IGNORE INTO work_jobs (work, job) VALUES (?1, ?2)")?;
    for job in jobs {
        link.execute([id, job])?;
    }
    Ok(id)
}

/// Ends a work. If it was completed, jobs that have no other work under way are complete.
pub(super) fn complete(
    connection: &Connection,
    work: i64,
    completed_ms: Option<i64>,
) -> rusqlite::Result<()> {
    if let Some(completed_ms) = completed_ms {
        connection
            .prepare_cached(
                "UPDATE jobs SET completed_ms = ?2
                 WHERE id IN (SELECT job FROM work_jobs WHERE work = ?1) AND outcome = ?3
                   AND NOT EXISTS (SELECT 1 FROM work_jobs WHERE job = jobs.id AND work <> ?1)",
            )?
            .execute(params![work, completed_ms, Code(State::Done)])?;
    }
    // The links to jobs are deleted with the work.
    connection.prepare_cached("DELETE FROM works WHERE id = ?1")?.execute([work])?;
    Ok(())
}

pub(super) fn of(connection: &Connection, key: &CdnKey) -> rusqlite::Result<Vec<Work>> {
    let Some(cdn) = number(connection, key)? else { return Ok(Vec::new()) };
    connection
        .prepare_cached("SELECT id, name, since_ms, items, wildcards FROM works WHERE cdn = ?1 ORDER BY id")?
        .query_map([cdn], |row| {
            let what = NewWork {
                name: row.get(1)?,
                items: row.get::<_, i64>(3)? as u64,
                wildcards: row.get::<_, i64>(4)? as u64,
            };
            Ok(Work { id: row.get(0)?, since_ms: row.get(2)?, what })
        })?
        .collect()
}
