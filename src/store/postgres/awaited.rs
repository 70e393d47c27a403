//! Which members have not applied a purge yet. A purge that one member accepts is sent at once if all others apply it
//! within a moment. If not, it is sent nevertheless, and each item that left before a member had applied the purge is
//! sent once more after that: the member may have handed out the old version in between. The job is not done before.

use super::codes::code;
use super::db::{Db, get};
use super::error::Error;
use super::naming;
use super::new_sends::new_sends;
use super::{follow_up, locks};
use crate::purge::{SendReason, State};
use crate::store::{FollowUps, WAITING_MS};
use uuid::Uuid;

/// Notes that these new jobs wait for all members except the one that accepts their purges. Their first sends are put
/// off by `wait_ms`. The caller holds the log's last number, so no member joins in between.
pub(super) async fn begin(db: &Db, jobs: &[i64], run: Uuid, wait_ms: i64) -> Result<(), Error> {
    let awaited = db
        .execute(
            "INSERT INTO awaited (job, run) SELECT job, members.run FROM unnest($1) AS job, members
             WHERE members.run <> $2",
            &[&jobs.to_vec(), &run],
        )
        .await?;
    if awaited > 0 && wait_ms > 0 {
        db.execute(
            "UPDATE sends SET due_ms = due_ms + $2 WHERE job = ANY ($1) AND reason = $3",
            &[&jobs.to_vec(), &wait_ms, &code(SendReason::First)],
        )
        .await?;
    }
    Ok(())
}

/// Notes that a run has applied the purges of these jobs. What left before is sent once more at `due_ms`, unless it is
/// sent later than that anyway; if that moment lies ahead, everything is. What was put off is due, once nobody is
/// awaited any more. The caller holds the locks of the jobs' queues. Returns whether the run was awaited.
pub(super) async fn applied(
    db: &Db,
    jobs: &[i64],
    run: Uuid,
    (now_ms, due_ms): (i64, i64),
) -> Result<bool, Error> {
    let rows = db
        .query("DELETE FROM awaited WHERE run = $1 AND job = ANY ($2) RETURNING job", &[&run, &jobs.to_vec()])
        .await?;
    let jobs: Vec<i64> = rows.iter().map(|row| get(row, 0)).collect::<Result<_, _>>()?;
    if jobs.is_empty() {
        return Ok(false);
    }
    // What was never claimed, or waits for another attempt, has not left.
    let left = "(SELECT items.job, items.n, $3::int8 AS reason, $2::int8 AS due_ms,
                        row_number() OVER (ORDER BY items.job, items.n) AS place
                 FROM unnest($1) AS of JOIN jobs ON jobs.id = of JOIN items ON items.job = jobs.id
                 WHERE items.n < jobs.items AND jobs.outcome IS DISTINCT FROM $4
                   AND NOT EXISTS (SELECT 1 FROM sends
                        WHERE sends.job = items.job AND sends.n = items.n AND NOT leased
                          AND (reason IN (0, 1) AND $5
                               OR reason = 3 AND (sends.run = $6 OR sends.due_ms BETWEEN $2 AND $7))))";
    let added = db
        .query(
            &format!(
                "WITH added AS ({} RETURNING cdn) SELECT cdn, count(*) FROM added GROUP BY cdn ORDER BY cdn",
                new_sends(left, "NULL")
            ),
            &[
                &jobs,
                &due_ms,
                &code(SendReason::FollowUp),
                &code(State::Cancelled),
                &(due_ms <= now_ms),
                &run,
                &WAITING_MS,
            ],
        )
        .await?;
    let counters = added.iter().map(|row| Ok((get(row, 0)?, 0, get(row, 1)?)));
    naming::count(db, &counters.collect::<Result<Vec<_>, Error>>()?).await?;
    db.execute(
        "UPDATE sends SET due_ms = jobs.due_ms FROM jobs
         WHERE sends.job = jobs.id AND jobs.id = ANY ($1) AND reason = $2 AND attempt = 0
           AND sends.due_ms > jobs.due_ms
           AND NOT EXISTS (SELECT 1 FROM awaited WHERE awaited.job = jobs.id)",
        &[&jobs, &code(SendReason::First)],
    )
    .await?;
    follow_up::is_late_again(db, &jobs).await?;
    Ok(true)
}

/// Notes that this run has applied a purge, and that it has these follow-ups on its way.
pub(super) async fn has_applied(
    db: &Db,
    id: &str,
    found: &FollowUps,
    run: Uuid,
    now_ms: i64,
) -> Result<(), Error> {
    let known = follow_up::jobs(db, id).await?;
    locks::queues(db, &known.iter().map(|(_, cdn)| *cdn).collect::<Vec<_>>()).await?;
    let jobs: Vec<i64> = known.into_iter().map(|(job, _)| job).collect();
    let is_awaited = "SELECT 1 FROM awaited WHERE run = $1 AND job = ANY ($2) LIMIT 1";
    if db.exists(is_awaited, &[&run, &jobs]).await? {
        if !found.items.is_empty() {
            follow_up::add(db, id, found, run).await?;
        }
        applied(db, &jobs, run, (now_ms, now_ms)).await?;
    }
    Ok(())
}
