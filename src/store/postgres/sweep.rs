//! Removal of old purges, a limited number of rows at a time, so that no transaction takes long. A purge that is being
//! removed is no longer visible.

use super::db::{Db, get};
use super::error::Error;
use super::read::SEEN;
use super::settle::forget_calls;
use crate::store::Swept;
use crate::store::stored::IDEMPOTENCY_MS;

/// The most purges that are being removed at the same time.
const PURGES: i64 = 100;
/// The number of rows that one step removes.
const ROWS: i64 = 2_000;

const OLD: &str = "finished_ms < $1 AND NOT EXISTS (SELECT 1 FROM idempotency WHERE idempotency.purge = purges.id)
    AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.purge = purges.key AND outcome = 'failed' AND NOT acknowledged)";

/// Makes one step.
pub(super) async fn step(db: &Db, ended_before_ms: i64, now_ms: i64) -> Result<Swept, Error> {
    let keys = db
        .execute(
            "DELETE FROM idempotency WHERE (caller, key) IN
                 (SELECT caller, key FROM idempotency WHERE created_ms <= $1 LIMIT $2)",
            &[&(now_ms - IDEMPOTENCY_MS), &ROWS],
        )
        .await?;
    let mut room = ROWS - i64::try_from(keys).unwrap_or(ROWS);
    let mut more = room <= 0;
    while room > 0 {
        let next = "SELECT key FROM purges WHERE removing ORDER BY key LIMIT 1 FOR UPDATE SKIP LOCKED";
        let Some(row) = db.find(next, &[]).await? else { break };
        room -= remove(db, get(&row, 0)?, room).await?;
        more |= room <= 0;
    }
    if more {
        return Ok(Swept { purges: 0, more });
    }
    let begun = db
        .execute(
            &format!(
                "UPDATE purges SET removing = true WHERE key = ANY (ARRAY(
                     SELECT key FROM purges WHERE {OLD} AND {SEEN} ORDER BY finished_ms LIMIT $2
                     FOR UPDATE SKIP LOCKED))"
            ),
            &[&ended_before_ms, &PURGES],
        )
        .await?;
    Ok(Swept { purges: begun, more: begun > 0 })
}

/// Removes about `room` rows of a purge, and the purge itself with the last of them. Returns the number of rows
/// removed.
async fn remove(db: &Db, purge: i64, room: i64) -> Result<i64, Error> {
    let job = db.find("SELECT id FROM jobs WHERE purge = $1 ORDER BY id LIMIT 1", &[&purge]).await?;
    let Some(job) = job else {
        db.execute("DELETE FROM purges WHERE key = $1", &[&purge]).await?;
        return Ok(1);
    };
    let job: i64 = get(&job, 0)?;
    let mut removed = 0;
    // Sends go first: without them the job is not claimed, settled or widened, so no new rows appear.
    for rows in [
        "sends WHERE id = ANY (ARRAY(SELECT id FROM sends WHERE job = $1 LIMIT $2))",
        "items WHERE job = $1 AND n = ANY (ARRAY(SELECT n FROM items WHERE job = $1 LIMIT $2))",
        "work_jobs WHERE job = $1 AND work = ANY (ARRAY(SELECT work FROM work_jobs WHERE job = $1 LIMIT $2))",
    ] {
        let gone = db.execute(&format!("DELETE FROM {rows}"), &[&job, &(room - removed)]).await?;
        removed += i64::try_from(gone).unwrap_or(room);
        if removed >= room {
            return Ok(removed);
        }
    }
    let calls = db.query("DELETE FROM attempts WHERE job = $1 RETURNING call", &[&job]).await?;
    let calls: Vec<i64> = calls.iter().map(|row| get(row, 0)).collect::<Result<_, _>>()?;
    db.execute("DELETE FROM jobs WHERE id = $1", &[&job]).await?;
    forget_calls(db, &calls).await?;
    // There are at most a hundred calls.
    Ok(removed + 1 + 2 * calls.len() as i64)
}
