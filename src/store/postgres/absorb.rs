//! Absorption: a send that purges the whole site leases all other due sends that are no harder. They end with
//! it, or become due again if it fails.

use super::codes::{Coded, code};
use super::db::{Db, get};
use super::due::kinds;
use super::error::Error;
use super::lease::lease;
use crate::cdn::ItemKind;
use crate::purge::SendReason;
use crate::store::{Claim, Claimed, SendOutcome};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// The most sends that one claim absorbs, so that no transaction takes long. Any more are absorbed by the next such
/// claim, if there is one, or sent.
const MOST: i64 = 100_000;

/// Leases the first due send of the lane of the site, and all sends that it absorbs.
pub(super) async fn claim(db: &Db, cdn: i64, claim: &Claim, run: Uuid) -> Result<Claimed, Error> {
    let first = db
        .find(
            "SELECT id FROM sends
             WHERE cdn = $1 AND lane = 0 AND kind = ANY ($2) AND hard = $3 AND due_ms <= $4
             ORDER BY due_ms, id LIMIT 1",
            &[&cdn, &kinds(claim).map(Coded::code).collect::<Vec<i64>>(), &claim.hard, &claim.now_ms],
        )
        .await?;
    let Some(id) = first.map(|row| get(&row, 0)).transpose()? else { return Ok(Claimed::default()) };
    let sends = lease(db, &[id], None, claim.lease_until_ms, run).await?;
    let Some(send) = sends.first() else { return Ok(Claimed::default()) };
    // Only the CDN's own purge-all covers another of that kind, and sends that must reach copies without tags.
    let absorbed = db
        .execute(
            "UPDATE sends SET leased = true, due_ms = $5, attempt = attempt + 1, absorber = $6,
                    absorber_attempt = $7, run = $9
             WHERE id = ANY (ARRAY(
                 SELECT id FROM sends
                 WHERE cdn = $1 AND (NOT hard OR $2) AND due_ms <= $3 AND id <> $6
                   AND ($4 OR kind <> 3
                              AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.id = sends.job AND untagged))
                 LIMIT $8))",
            &[
                &cdn,
                &send.item.hard,
                &claim.now_ms,
                &(send.item.kind == ItemKind::Everything),
                &claim.lease_until_ms,
                &id,
                &i64::from(send.attempt),
                &MOST,
                &run,
            ],
        )
        .await?;
    let absorbed_digest = if claim.keep_together && absorbed > 0 { digest(db, id).await? } else { 0 };
    Ok(Claimed { sends, absorbed, absorbed_digest })
}

/// Returns a digest of the ids of the absorbed sends, which is never 0.
async fn digest(db: &Db, absorber: i64) -> Result<u64, Error> {
    let mut hasher = Sha256::new();
    for row in db.query("SELECT id FROM sends WHERE absorber = $1 ORDER BY id", &[&absorber]).await? {
        hasher.update(get::<i64>(&row, 0)?.to_be_bytes());
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

/// The condition on the sends that $1 absorbed when it was claimed for the $2th time.
const ABSORBED: &str = "absorber = $1 AND absorber_attempt = $2 AND leased";

/// Ends the sends that a send absorbed when it was claimed for the `attempt`th time: they are done with it, or become
/// due again. Its repeat is theirs, too. If the absorber is `gone`, for example because its purge was cancelled, it
/// has no repeat, so they get repeats of their own.
pub(super) async fn settle(
    db: &Db,
    (absorber, attempt): (i64, u32),
    outcome: SendOutcome,
    gone: bool,
    now_ms: i64,
) -> Result<Vec<OfJob>, Error> {
    let attempt = i64::from(attempt);
    let rows = db
        .query(
            &format!(
                "SELECT job, cdn, count(*), count(*) FILTER (WHERE reason <> $3) FROM sends
                 WHERE {ABSORBED} GROUP BY job, cdn ORDER BY job"
            ),
            &[&absorber, &attempt, &code(SendReason::Repeat)],
        )
        .await?;
    let of_job = |row: &_| {
        Ok(OfJob { job: get(row, 0)?, cdn: get(row, 1)?, items: get(row, 2)?, holding_up: get(row, 3)? })
    };
    let jobs: Vec<OfJob> = rows.iter().map(of_job).collect::<Result<_, Error>>()?;
    if jobs.is_empty() {
        return Ok(jobs);
    }
    match outcome {
        SendOutcome::Done => {
            if gone {
                db.execute(
                    &format!(
                        "INSERT INTO sends (job, n, cdn, lane, kind, hard, reason, due_ms)
                         SELECT job, n, sends.cdn, sends.lane, kind, hard, $4, $3 + repeat_after_ms
                         FROM sends JOIN jobs ON jobs.id = sends.job
                         WHERE {ABSORBED} AND repeat_after_ms > 0 AND reason <> $4 ORDER BY sends.id"
                    ),
                    &[&absorber, &attempt, &now_ms, &code(SendReason::Repeat)],
                )
                .await?;
            }
            db.execute(&format!("DELETE FROM sends WHERE {ABSORBED}"), &[&absorber, &attempt]).await?;
        }
        _ => {
            let due_ms = if let SendOutcome::RetryAt(at) = outcome { at } else { now_ms };
            let tried = !matches!(outcome, SendOutcome::Unsent);
            db.execute(
                &format!(
                    "UPDATE sends SET leased = false, run = NULL, due_ms = $3, absorber = NULL,
                            absorber_attempt = NULL,
                            reason = CASE WHEN $4 AND reason = $5 THEN $6::int8 ELSE reason END
                     WHERE {ABSORBED}"
                ),
                &[&absorber, &attempt, &due_ms, &tried, &code(SendReason::First), &code(SendReason::Retry)],
            )
            .await?;
        }
    }
    Ok(jobs)
}
