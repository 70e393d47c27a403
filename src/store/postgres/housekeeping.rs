//! Operations by operators and at start: status, a new run, pause, acknowledge.

use super::codes::{Coded, code};
use super::db::{Db, counted, get};
use super::error::Error;
use super::naming::{intern, number};
use super::{follow_up, locks, members, rates};
use crate::cdn::Identity;
use crate::store::{CdnKey, Left, Pause, PausedBy, QueueStatus, WAITING_MS};
use uuid::Uuid;

/// Returns the queues, whose moments are by the database's clock.
pub(super) async fn status(db: &Db) -> Result<Vec<QueueStatus>, Error> {
    let rows = db
        .query(
            "SELECT site, name, jobs, pending, paused_by, paused_reason,
                    (SELECT min(due_ms) FROM jobs WHERE jobs.cdn = cdns.id AND outcome IS NULL),
                    (SELECT count(*) FROM jobs WHERE jobs.cdn = cdns.id AND outcome = 'failed' AND NOT acknowledged),
                    identity
             FROM cdns ORDER BY site, name",
            &[],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let by = PausedBy::read(row, 4)?;
            let reason: Option<String> = get(row, 5)?;
            Ok(QueueStatus {
                key: CdnKey { site: get(row, 0)?, cdn: get(row, 1)? },
                identity: get::<&str>(row, 8)?.into(),
                jobs: counted(row, 2)?,
                pending: counted(row, 3)?,
                oldest_due_ms: get(row, 6)?,
                failed: counted(row, 7)?,
                paused: by.map(|by| Pause { by, reason: reason.unwrap_or_default() }),
            })
        })
        .collect()
}

/// How long bytes may be on their way that a process had sent before it ended, in milliseconds.
const ARRIVED_MS: i64 = 1_000;

/// Ends the leases of this instance's former runs, of instances that take part no more, and of this run. These sends
/// were due before, so they are due now, ahead of all others. All moments are by the database's clock, which went on
/// meanwhile, so nothing has to be converted.
pub(super) async fn take_over(
    db: &Db,
    (run, instance): (Uuid, &str),
    now_ms: i64,
    furthest_ms: i64,
) -> Result<Left, Error> {
    locks::all(db).await?;
    let gone = gone(db, run, instance).await?;
    follow_up::nobody_waits(db, now_ms, &gone, 0).await?;
    let leases = db
        .execute(
            "UPDATE sends SET leased = false, run = NULL, due_ms = 0, absorber = NULL, absorber_attempt = NULL
             WHERE leased AND (run IS NULL OR run = ANY ($1))",
            &[&gone],
        )
        .await?;
    members::succeed(db, (run, instance), (now_ms, now_ms.saturating_add(ARRIVED_MS))).await?;
    db.execute(
        "UPDATE sends SET due_ms = $1 WHERE due_ms > $1 AND due_ms < $2 AND NOT leased",
        &[&furthest_ms, &WAITING_MS],
    )
    .await?;
    Ok(Left { leases, rates: rates::all(db).await? })
}

/// Returns the runs that have something and take part no more, beginning with this one, which has not begun.
async fn gone(db: &Db, run: Uuid, instance: &str) -> Result<Vec<Uuid>, Error> {
    let rows = db
        .query(
            "SELECT DISTINCT run FROM sends WHERE run IS NOT NULL
             EXCEPT SELECT run FROM members WHERE instance <> $1 AND lease_until > clock_timestamp()",
            &[&instance],
        )
        .await?;
    let mut gone: Vec<Uuid> = rows.iter().map(|row| get(row, 0)).collect::<Result<_, _>>()?;
    gone.push(run);
    Ok(gone)
}

pub(super) async fn set_paused(
    db: &Db,
    key: &CdnKey,
    by: PausedBy,
    reason: Option<&str>,
) -> Result<(), Error> {
    locks::names(db).await?;
    // A CDN that never had work needs no row to resume.
    let known = if reason.is_none() { number(db, key).await? } else { None };
    let cdn = match (known, reason) {
        (None, None) => return Ok(()),
        (Some(cdn), _) => cdn,
        (None, Some(_)) => intern(db, key, &Identity::default()).await?,
    };
    db.execute(
        "UPDATE cdns SET paused_by = $2, paused_reason = $3
         WHERE id = $1 AND ($4 = 'person' OR paused_by IS NULL OR paused_by <> 'person')
           AND (paused_by IS DISTINCT FROM $2 OR paused_reason IS DISTINCT FROM $3)",
        &[&cdn, &reason.map(|_| by.code()), &reason, &code(by)],
    )
    .await
    .map(drop)
}

pub(super) async fn acknowledge(db: &Db, id: &str) -> Result<u64, Error> {
    db.execute(
        "UPDATE jobs SET acknowledged = true
         WHERE purge = (SELECT key FROM purges WHERE id = $1) AND outcome = 'failed' AND NOT acknowledged",
        &[&id],
    )
    .await
}
