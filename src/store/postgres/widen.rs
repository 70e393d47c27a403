//! Widening: a broader item in place of pending or refused ones. It was not planned, and goes ahead of
//! everything else.

use super::codes::code;
use super::db::{Db, get};
use super::error::Error;
use super::locks;
use super::new_sends::{GIVEN, new_sends};
use crate::purge::SendReason;
use crate::store::{CdnKey, Wider};

/// The condition on jobs of queue $1 that have something due at $2.
const CONCERNED: &str = "cdn = $1 AND outcome IS NULL AND due_ms <= $2
     AND EXISTS (SELECT 1 FROM sends WHERE sends.job = jobs.id AND NOT leased AND sends.due_ms <= $2)";

/// Puts the broader item ahead of everything that is due, as an item of one of the jobs concerned. Returns the
/// number of these jobs.
pub(super) async fn queue(db: &Db, key: &CdnKey, wider: &Wider, now_ms: i64) -> Result<u64, Error> {
    let Some(cdn) = locks::queue(db, key).await? else { return Ok(0) };
    let waits = db
        .exists(
            "SELECT 1 FROM sends
             WHERE cdn = $1 AND lane = 0 AND (hard OR NOT $2) AND NOT leased AND reason <> $3 LIMIT 1",
            &[&cdn, &wider.item.hard, &code(SendReason::Repeat)],
        )
        .await?;
    if waits {
        return Ok(0);
    }
    let oldest = db
        .find(&format!("SELECT id FROM jobs WHERE {CONCERNED} ORDER BY due_ms, id LIMIT 1"), &[&cdn, &now_ms])
        .await?;
    let Some(oldest) = oldest else { return Ok(0) };
    add(db, get(&oldest, 0)?, wider, now_ms).await?;
    db.execute(
        &format!("UPDATE jobs SET fallback = {} WHERE {CONCERNED}", noted("$3")),
        &[&cdn, &now_ms, &wider.why],
    )
    .await
}

/// Adds the broader item to a job of which an item was refused (when it was sent for this reason), unless the
/// job already has the same one or one for the whole site. Returns whether it was added.
pub(super) async fn job(
    db: &Db,
    job: i64,
    reason: SendReason,
    wider: &Wider,
    now_ms: i64,
) -> Result<bool, Error> {
    let known = db
        .find(
            "SELECT n FROM items JOIN jobs ON jobs.id = items.job
             WHERE job = $1 AND n >= jobs.items AND (hard OR NOT $2) AND NOT failed
               AND (kind NOT IN (0, 2) OR kind = $3 AND value = $4) ORDER BY n LIMIT 1",
            &[&job, &wider.item.hard, &code(wider.item.kind), &wider.item.value],
        )
        .await?;
    if let Some(known) = known {
        // The broader item was sent before the responses of the follow-up had arrived, or will be sent at once
        // anyway.
        if reason == SendReason::FollowUp {
            send(db, job, get(&known, 0)?, reason, now_ms).await?;
        }
        return Ok(false);
    }
    add(db, job, wider, now_ms).await?;
    db.execute(&format!("UPDATE jobs SET fallback = {} WHERE id = $1", noted("$2")), &[&job, &wider.why])
        .await?;
    Ok(true)
}

async fn add(db: &Db, job: i64, wider: &Wider, now_ms: i64) -> Result<(), Error> {
    let item = &wider.item;
    let row = db
        .one(
            "INSERT INTO items (job, n, kind, hard, value)
             SELECT id, greatest(items, coalesce((SELECT max(n) + 1 FROM items WHERE job = $1), 0)), $2, $3, $4
             FROM jobs WHERE id = $1 RETURNING n",
            &[&job, &code(item.kind), &item.hard, &item.value],
        )
        .await?;
    send(db, job, get(&row, 0)?, SendReason::First, now_ms).await
}

async fn send(db: &Db, job: i64, n: i64, reason: SendReason, now_ms: i64) -> Result<(), Error> {
    let (jobs, numbers, due) = (vec![job], vec![n], vec![now_ms]);
    db.execute(&new_sends(GIVEN, "NULL"), &[&jobs, &numbers, &due, &code(reason)]).await?;
    db.execute(
        "UPDATE cdns SET pending = pending + 1 WHERE id = (SELECT cdn FROM jobs WHERE id = $1)",
        &[&job],
    )
    .await
    .map(drop)
}

/// Returns an expression for the job's fallbacks with `why` added, unless it is there already.
fn noted(why: &str) -> String {
    format!("CASE WHEN {why} = ANY (fallback) THEN fallback ELSE array_append(fallback, {why}) END")
}
