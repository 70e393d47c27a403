//! Absorption: a send that purges the whole site leases all other due sends that are no harder. They end with
//! it, or become due again if it fails.

use super::codes::Code;
use super::due::KINDS;
use super::lease::lease;
use crate::cdn::ItemKind;
use crate::purge::SendReason;
use crate::store::{Claim, Claimed, Lane, SendOutcome};
use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest, Sha256};

/// The most sends that one claim absorbs, so that no verb waits long for the writer. Any more are absorbed by
/// the next such claim, if there is one, or sent.
const MOST: i64 = 100_000;

/// Leases the first due send of the lane of the site ([`Lane::Site`]), and all sends that it absorbs.
pub(super) fn claim(connection: &Connection, cdn: i64, claim: &Claim) -> rusqlite::Result<Claimed> {
    let mut first: Option<(i64, i64)> = None;
    for kind in KINDS.into_iter().filter(|kind| claim.room.items[*kind as usize] > 0) {
        let found: Option<(i64, i64)> = connection
            .prepare_cached(
                "SELECT due_ms, id FROM sends
                 WHERE cdn = ?1 AND lane = 0 AND kind = ?2 AND hard = ?3 AND due_ms <= ?4
                 ORDER BY due_ms, id LIMIT 1",
            )?
            .query_row(params![cdn, Code(kind), claim.hard, claim.now_ms], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()?;
        first = first.into_iter().chain(found).min();
    }
    let Some((_, id)) = first else { return Ok(Claimed::default()) };
    let send = lease(connection, id, None, claim.lease_until_ms)?;
    debug_assert_eq!(send.lane, Lane::Site);
    // Only the CDN's own purge-all covers another of that kind, and sends that must reach copies without tags.
    let absorbed = connection
        .prepare_cached(
            "UPDATE sends SET leased = 1, due_ms = ?5, attempt = attempt + 1, absorber = ?6, absorber_attempt = ?7
             WHERE id IN (SELECT id FROM sends
                          WHERE cdn = ?1 AND lane IN (0, 1, 2) AND kind IN (0, 1, 2, 3) AND hard IN (0, ?2)
                            AND due_ms <= ?3 AND id <> ?6
                            AND (?4 OR kind <> 3 AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.id = job AND untagged))
                          LIMIT ?8)",
        )?
        .execute(params![
            cdn,
            send.item.hard,
            claim.now_ms,
            send.item.kind == ItemKind::Everything,
            claim.lease_until_ms,
            id,
            send.attempt,
            MOST,
        ])?;
    let absorbed_digest = if claim.keep_together && absorbed > 0 { digest(connection, id)? } else { 0 };
    Ok(Claimed { sends: vec![send], absorbed: absorbed as u64, absorbed_digest })
}

/// Returns a digest of the ids of the absorbed sends, which is never 0.
fn digest(connection: &Connection, absorber: i64) -> rusqlite::Result<u64> {
    let mut hasher = Sha256::new();
    let mut ids = connection.prepare_cached("SELECT id FROM sends WHERE absorber = ?1 ORDER BY id")?;
    let mut rows = ids.query([absorber])?;
    while let Some(row) = rows.next()? {
        hasher.update(row.get::<_, i64>(0)?.to_be_bytes());
    }
    let digest: [u8; 32] = hasher.finalize().into();
    let first = digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte));
    Ok(first.max(1))
}

/// A job's share of the absorbed sends.
pub(super) struct OfJob {
    pub(super) job: i64,
    pub(super) cdn: i64,
    pub(super) items: i64,
    /// The number of these sends that hold up the job: all except repeats.
    pub(super) holding_up: i64,
}

/// Ends the sends that a send absorbed when it was claimed for the `attempt`th time: they are done with it, or become
/// due again. Its repeat is theirs, too. If the absorber is `gone`, for example because its purge was cancelled, it
/// has no repeat, so they get repeats of their own.
pub(super) fn settle(
    connection: &Connection,
    (absorber, attempt): (i64, u32),
    outcome: SendOutcome,
    gone: bool,
    now_ms: i64,
) -> rusqlite::Result<Vec<OfJob>> {
    let jobs = connection
        .prepare_cached(
            "SELECT job, cdn, count(*), sum(reason <> ?3) FROM sends
             WHERE absorber = ?1 AND absorber_attempt = ?2 AND leased = 1 GROUP BY job, cdn",
        )?
        .query_map(params![absorber, attempt, Code(SendReason::Repeat)], |row| {
            Ok(OfJob { job: row.get(0)?, cdn: row.get(1)?, items: row.get(2)?, holding_up: row.get(3)? })
        })?
        .collect::<Result<Vec<_>, _>>()?;
    if jobs.is_empty() {
        return Ok(jobs);
    }
    match outcome {
        SendOutcome::Done => {
            if gone {
                connection
                    .prepare_cached(
                        "INSERT INTO sends (job, n, cdn, lane, kind, hard, reason, due_ms)
                         SELECT job, n, sends.cdn, sends.lane, kind, hard, ?4, ?3 + repeat_after_ms
                         FROM sends JOIN jobs ON jobs.id = sends.job
                         WHERE absorber = ?1 AND absorber_attempt = ?2 AND leased = 1 AND repeat_after_ms > 0
                           AND reason <> ?4 ORDER BY sends.id",
                    )?
                    .execute(params![absorber, attempt, now_ms, Code(SendReason::Repeat)])?;
            }
            connection
                .prepare_cached(
                    "DELETE FROM sends WHERE absorber = ?1 AND absorber_attempt = ?2 AND leased = 1",
                )?
                .execute(params![absorber, attempt])?;
        }
        _ => {
            let due_ms = if let SendOutcome::RetryAt(at) = outcome { at } else { now_ms };
            let tried = !matches!(outcome, SendOutcome::Unsent);
            connection
                .prepare_cached(
                    "UPDATE sends SET leased = 0, due_ms = ?3, absorber = NULL, absorber_attempt = NULL,
                            reason = CASE WHEN ?4 AND reason = ?5 THEN ?6 ELSE reason END
                     WHERE absorber = ?1 AND absorber_attempt = ?2 AND leased = 1",
                )?
                .execute(params![
                    absorber,
                    attempt,
                    due_ms,
                    tried,
                    Code(SendReason::First),
                    Code(SendReason::Retry)
                ])?;
        }
    }
    Ok(jobs)
}
