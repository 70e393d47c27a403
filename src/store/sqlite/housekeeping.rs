//! Operations by operators and at start: status, a new run, pause, acknowledge, heartbeat.

use super::codes::Code;
use super::enqueue::number;
use super::naming::intern;
use super::{follow_up, rates};
use crate::cdn::Identity;
use crate::store::{CdnKey, Left, Now, Pause, PausedBy, QueueStatus, WAITING_MS};
use rusqlite::{Connection, OptionalExtension, params};

pub(super) fn status(connection: &Connection) -> rusqlite::Result<Vec<QueueStatus>> {
    connection
        .prepare_cached(
            "SELECT site, name, jobs, pending, paused_by, paused_reason,
                    (SELECT min(due_ms) FROM jobs WHERE jobs.cdn = cdns.id AND outcome IS NULL),
                    (SELECT count(*) FROM jobs WHERE jobs.cdn = cdns.id AND outcome = 'failed' AND acknowledged = 0),
                    identity
             FROM cdns ORDER BY site, name",
        )?
        .query_map([], |row| {
            let by: Option<Code<PausedBy>> = row.get(4)?;
            let reason: Option<String> = row.get(5)?;
            Ok(QueueStatus {
                key: CdnKey { site: row.get(0)?, cdn: row.get(1)? },
                identity: row.get_ref(8)?.as_str()?.into(),
                jobs: row.get::<_, i64>(2)? as u64,
                pending: row.get::<_, i64>(3)? as u64,
                oldest_due_ms: row.get(6)?,
                failed: row.get::<_, i64>(7)? as u64,
                paused: by.map(|Code(by)| Pause { by, reason: reason.unwrap_or_default() }),
            })
        })?
        .collect()
}

/// Converts the former run's moments to this run's clock, and ends all leases. The leased sends were due before, so
/// they are due now, ahead of all others.
pub(super) fn take_over(connection: &Connection, now: &Now, furthest_ms: i64) -> rusqlite::Result<Left> {
    resume_time(connection, now)?;
    follow_up::nobody_waits(connection, now.steady_ms)?;
    let leases = connection.execute(
        "UPDATE sends SET leased = 0, due_ms = 0, absorber = NULL, absorber_attempt = NULL WHERE leased = 1",
        [],
    )?;
    connection.execute("UPDATE sends SET due_ms = ?1 WHERE due_ms > ?1", [furthest_ms])?;
    // The probe is in the same transaction, so that a second take-over does not move anything again.
    probe(connection, now)?;
    Ok(Left { leases: leases as u64, rates: rates::all(connection)? })
}

/// Continues the former run's steady clock, which stopped at its last probe, as exactly as possible.
fn resume_time(connection: &Connection, now: &Now) -> rusqlite::Result<()> {
    let last: Option<(i64, Option<String>, Option<i64>)> = connection
        .query_row("SELECT at_ms, boot, up_ms FROM heartbeat", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?;
    // Nothing is known of a run that ended before its first probe.
    let (last_ms, boot, up_ms) = last.unwrap_or((now.steady_ms, None, None));
    let passed_ms = match (&now.boot, boot, up_ms) {
        (Some(now), Some(boot), Some(up_ms)) if now.id == boot => Some(now.up_ms.saturating_sub(up_ms)),
        _ => None,
    };
    // This is the amount by which the former run's clock is to be moved to match this one's. If the time since
    // is unknown, the clock counts as stopped meanwhile.
    let ahead_ms = now.steady_ms.saturating_sub(last_ms.saturating_add(passed_ms.unwrap_or(0)));
    if passed_ms.is_some() || ahead_ms < 0 {
        for later in [
            "sends SET due_ms = due_ms + ?1 WHERE leased = 0 AND due_ms < ?2",
            "jobs SET due_ms = due_ms + ?1 WHERE outcome IS NULL AND due_ms < ?2",
            "works SET since_ms = since_ms + ?1 WHERE since_ms < ?2",
            "rates SET full_us = full_us + ?1 * 1000 WHERE full_us < ?2 * 1000",
        ] {
            connection.execute(&format!("UPDATE {later}"), [ahead_ms, WAITING_MS])?;
        }
    }
    connection.execute("UPDATE untagged SET until_ms = until_ms + ?1", [ahead_ms])?;
    // If the time since is unknown, a purge under way gets no older by it, because a purge that seems too old is given
    // up. A purge that has ended counts as accepted now: it concerns all copies from before it, and which copies these
    // are is unknown.
    connection.execute(
        "UPDATE accepted SET since_ms =
             CASE WHEN ?3 OR EXISTS (SELECT 1 FROM purges WHERE n = purge AND outcome IS NULL)
                  THEN min(since_ms + ?1, ?2) ELSE ?2 END
         WHERE ?1 <> 0 OR NOT ?3",
        params![ahead_ms, now.steady_ms, passed_ms.is_some()],
    )?;
    Ok(())
}

pub(super) fn set_paused(
    connection: &Connection,
    key: &CdnKey,
    by: PausedBy,
    reason: Option<&str>,
) -> rusqlite::Result<()> {
    // A CDN that never had work needs no row to resume.
    let known = if reason.is_none() { number(connection, key)? } else { None };
    let cdn = match (known, reason) {
        (None, None) => return Ok(()),
        (Some(cdn), _) => cdn,
        (None, Some(_)) => intern(connection, key, &Identity::default())?,
    };
    connection
        .prepare_cached(
            "UPDATE cdns SET paused_by = ?2, paused_reason = ?3
             WHERE id = ?1 AND (?4 = 'person' OR paused_by IS NULL OR paused_by <> 'person')
               AND (paused_by IS NOT ?2 OR paused_reason IS NOT ?3)",
        )?
        .execute(params![cdn, reason.map(|_| Code(by)), reason, Code(by)])?;
    Ok(())
}

pub(super) fn acknowledge(connection: &Connection, id: &str) -> rusqlite::Result<u64> {
    let acknowledged = connection
        .prepare_cached(
            "UPDATE jobs SET acknowledged = 1
             WHERE purge = (SELECT n FROM purges WHERE id = ?1) AND outcome = 'failed' AND acknowledged = 0",
        )?
        .execute([id])?;
    Ok(acknowledged as u64)
}

pub(super) fn probe(connection: &Connection, now: &Now) -> rusqlite::Result<()> {
    let (boot, up_ms) = now.boot.as_ref().map(|boot| (&boot.id, boot.up_ms)).unzip();
    connection
        .prepare_cached("INSERT OR REPLACE INTO heartbeat (one, at_ms, boot, up_ms) VALUES (1, ?1, ?2, ?3)")?
        .execute(params![now.steady_ms, boot, up_ms])?;
    Ok(())
}
