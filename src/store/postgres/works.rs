//! Works that CDNs accepted and report complete later, with the jobs that wait for them.

use super::codes::code;
use super::db::{Db, counted, get};
use super::error::Error;
use crate::purge::State;
use crate::store::{CdnKey, NewWork, Work};

/// Begins a work with the jobs whose items it carries.
pub(super) async fn begin(
    db: &Db,
    cdn: i64,
    work: &NewWork,
    jobs: Vec<i64>,
    now_ms: i64,
) -> Result<i64, Error> {
    let count = |items: u64| i64::try_from(items).unwrap_or(i64::MAX);
    let row = db
        .one(
            "INSERT INTO works (cdn, name, since_ms, items, wildcards) VALUES ($1, $2, $3, $4, $5) RETURNING id",
            &[&cdn, &work.name, &now_ms, &count(work.items), &count(work.wildcards)],
        )
        .await?;
    let id = get(&row, 0)?;
    db.execute("INSERT INTO work_jobs (work, job) SELECT $1, job FROM unnest($2) AS job", &[&id, &jobs])
        .await?;
    Ok(id)
}

/// Ends a work. If it was completed, jobs that have no other work under way are complete.
pub(super) async fn complete(db: &Db, work: i64, completed_ms: Option<i64>) -> Result<(), Error> {
    if let Some(completed_ms) = completed_ms {
        db.execute(
            "UPDATE jobs SET completed_ms = $2
             WHERE id IN (SELECT job FROM work_jobs WHERE work = $1) AND outcome = $3
               AND NOT EXISTS (SELECT 1 FROM work_jobs WHERE job = jobs.id AND work <> $1)",
            &[&work, &completed_ms, &code(State::Done)],
        )
        .await?;
    }
    // The links to jobs are deleted with the work.
    db.execute("DELETE FROM works WHERE id = $1", &[&work]).await.map(drop)
}

/// Returns the works of a CDN, by the database's clock.
pub(super) async fn of(db: &Db, key: &CdnKey) -> Result<Vec<Work>, Error> {
    let rows = db
        .query(
            "SELECT works.id, works.name, since_ms, items, wildcards
             FROM works JOIN cdns ON cdns.id = works.cdn WHERE cdns.site = $1 AND cdns.name = $2 ORDER BY works.id",
            &[&key.site, &key.cdn],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let what = NewWork { name: get(row, 1)?, items: counted(row, 3)?, wildcards: counted(row, 4)? };
            Ok(Work { id: get(row, 0)?, since_ms: get(row, 2)?, what })
        })
        .collect()
}
