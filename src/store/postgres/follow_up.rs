//! Follow-ups: items that are purged once more when responses have arrived that were in flight at an instance. Until
//! then they wait for that instance's run.

use super::codes::code;
use super::db::{Db, count, get};
use super::error::Error;
use super::locks;
use super::new_sends::{GIVEN, new_sends};
use super::{naming, read::SEEN};
use crate::purge::{SendReason, State};
use crate::store::{FollowUps, WAITING_MS};
use std::collections::{BTreeMap, HashSet};
use uuid::Uuid;

/// Makes the follow-ups of this purge due that wait for this run.
pub(super) async fn arrived(db: &Db, id: &str, due_ms: i64, run: Uuid) -> Result<u64, Error> {
    let jobs = jobs(db, id).await?;
    locks::queues(db, &jobs.iter().map(|(_, cdn)| *cdn).collect::<Vec<_>>()).await?;
    let jobs: Vec<i64> = jobs.into_iter().map(|(job, _)| job).collect();
    let due = db
        .execute(
            "UPDATE sends SET due_ms = $2, run = NULL
             WHERE job = ANY ($1) AND reason = $3 AND NOT leased AND due_ms >= $4 AND run = $5",
            &[&jobs, &due_ms, &code(SendReason::FollowUp), &WAITING_MS, &run],
        )
        .await?;
    is_late_again(db, &jobs).await?;
    Ok(due)
}

/// Returns the jobs of a purge, in their order, with their queues.
pub(super) async fn jobs(db: &Db, id: &str) -> Result<Vec<(i64, i64)>, Error> {
    let rows = db
        .query(
            &format!(
                "SELECT jobs.id, jobs.cdn FROM jobs JOIN purges ON purges.key = jobs.purge
                 WHERE purges.id = $1 AND {SEEN} ORDER BY jobs.id"
            ),
            &[&id],
        )
        .await?;
    rows.iter().map(|row| Ok((get(row, 0)?, get(row, 1)?))).collect()
}

/// Adds follow-ups to a purge that is committed. A job that has ended is under way again, unless it was cancelled.
/// Returns the number of follow-ups.
pub(super) async fn add(db: &Db, id: &str, follow_ups: &FollowUps, run: Uuid) -> Result<u64, Error> {
    let known = jobs(db, id).await?;
    locks::queues(db, &known.iter().map(|(_, cdn)| *cdn).collect::<Vec<_>>()).await?;
    let of: Vec<i64> = known.iter().map(|(job, _)| *job).collect();
    let rows = db
        .query(
            "SELECT id FROM jobs WHERE id = ANY ($1) AND outcome IS DISTINCT FROM $2",
            &[&of, &code(State::Cancelled)],
        )
        .await?;
    let open: HashSet<i64> = rows.iter().map(|row| get(row, 0)).collect::<Result<_, _>>()?;
    let due_ms = WAITING_MS + follow_ups.margin_ms;
    let (mut jobs, mut numbers, mut counters) = (Vec::new(), Vec::new(), BTreeMap::<i64, i64>::new());
    for (number, item) in &follow_ups.items {
        if let Some((job, cdn)) = known.get(*number)
            && open.contains(job)
        {
            jobs.push(*job);
            numbers.push(i64::from(*item));
            *counters.entry(*cdn).or_default() += 1;
        }
    }
    let dues = vec![due_ms; jobs.len()];
    let added = db
        .execute(&new_sends(GIVEN, "$5"), &[&jobs, &numbers, &dues, &code(SendReason::FollowUp), &run])
        .await?;
    let again = db
        .query(
            "UPDATE jobs SET outcome = NULL, accepted_ms = NULL, due_ms = $2
             WHERE id = ANY ($1) AND outcome IS NOT NULL RETURNING cdn, purge",
            &[&jobs, &due_ms],
        )
        .await?;
    let mut under_way: BTreeMap<i64, i64> = BTreeMap::new();
    let mut purges = Vec::new();
    for row in &again {
        *under_way.entry(get(row, 0)?).or_default() += 1;
        purges.push(get::<i64>(row, 1)?);
    }
    db.execute("UPDATE purges SET outcome = NULL, finished_ms = NULL WHERE key = ANY ($1)", &[&purges])
        .await?;
    let counters: Vec<_> = counters
        .into_iter()
        .map(|(cdn, pending)| (cdn, under_way.get(&cdn).copied().unwrap_or_default(), pending))
        .collect();
    naming::count(db, &counters).await?;
    Ok(added)
}

/// Makes the follow-ups due that wait for instances which take part no more. Their responses were aborted when their
/// programs ended, or end within the longest time that a response takes; any bytes in flight have arrived after the
/// margin. Returns the number of follow-ups.
pub(super) async fn nobody_waits(db: &Db, now_ms: i64, gone: &[Uuid], after_ms: i64) -> Result<u64, Error> {
    let gone = gone.to_vec();
    let rows = db
        .query(
            "UPDATE sends SET due_ms = due_ms - $1 + $2 + $4, run = NULL
             WHERE run = ANY ($3) AND NOT leased AND due_ms >= $1 RETURNING job",
            &[&WAITING_MS, &now_ms, &gone, &after_ms],
        )
        .await?;
    let mut jobs: Vec<i64> = rows.iter().map(|row| get(row, 0)).collect::<Result<_, _>>()?;
    jobs.sort_unstable();
    jobs.dedup();
    is_late_again(db, &jobs).await?;
    Ok(count(rows.len()).unsigned_abs())
}

/// Gives jobs that only waited a due time again, if nothing of them waits any more.
pub(super) async fn is_late_again(db: &Db, jobs: &[i64]) -> Result<(), Error> {
    db.execute(
        "UPDATE jobs SET due_ms = least.due_ms
         FROM unnest($1) AS of, LATERAL (SELECT min(due_ms) AS due_ms FROM sends WHERE job = of) AS least
         WHERE jobs.id = of AND jobs.due_ms >= $2 AND least.due_ms IS NOT NULL",
        &[&jobs.to_vec(), &WAITING_MS],
    )
    .await
    .map(drop)
}

/// Moves the due time of jobs that have only follow-ups left, or only wait for members, so that they are not late
/// while they wait.
pub(super) async fn only_wait(db: &Db, jobs: &[i64]) -> Result<(), Error> {
    db.execute(
        "UPDATE jobs
         SET due_ms = coalesce((SELECT min(due_ms) FROM sends WHERE job = jobs.id AND reason = $2), $3)
         WHERE id = ANY ($1)
           AND (EXISTS (SELECT 1 FROM sends WHERE job = jobs.id AND reason = $2 AND NOT leased)
                OR EXISTS (SELECT 1 FROM awaited WHERE awaited.job = jobs.id)
                   AND NOT EXISTS (SELECT 1 FROM sends WHERE job = jobs.id AND reason = $2))
           AND NOT EXISTS (SELECT 1 FROM sends WHERE job = jobs.id AND reason IN (0, 1))",
        &[&jobs.to_vec(), &code(SendReason::FollowUp), &WAITING_MS],
    )
    .await
    .map(drop)
}
