//! The results of verifying the copies of purged pages.

use super::codes::code;
use super::db::{Db, get};
use super::error::Error;
use super::locks;
use super::new_sends::new_sends;
use super::read::SEEN;
use crate::purge::{SendReason, State};
use crate::store::{CdnKey, EndedJob, Verification};

/// The most jobs to return. Verifying is a sample, so this may be limited.
const MOST: i64 = 10_000;

/// Returns done jobs whose copies were neither found fresh nor impossible to check.
pub(super) async fn open(db: &Db, ended_after_ms: i64) -> Result<Vec<EndedJob>, Error> {
    let rows = db
        .query(
            &format!(
                "SELECT cdns.site, cdns.name, purges.id, since_ms, verify
                 FROM purges JOIN jobs ON jobs.purge = purges.key JOIN cdns ON cdns.id = jobs.cdn
                 WHERE finished_ms > $1 AND jobs.outcome = $2 AND (verification IS NULL OR verification = $3)
                       AND {SEEN}
                 ORDER BY finished_ms DESC LIMIT $4"
            ),
            &[&ended_after_ms, &code(State::Done), &code(Verification::Stale), &MOST],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(EndedJob {
                key: CdnKey { site: get(row, 0)?, cdn: get(row, 1)? },
                purge: get(row, 2)?,
                state: State::Done,
                purge_ended: None,
                since_ms: get(row, 3)?,
                verify: get(row, 4)?,
            })
        })
        .collect()
}

/// Records the result with the job. At `again_ms` all items that were planned for the job are sent again, as a
/// repeat, which holds up nothing.
pub(super) async fn note(
    db: &Db,
    key: &CdnKey,
    purge: &str,
    (seen, at_ms): (Verification, i64),
    again_ms: Option<i64>,
) -> Result<(), Error> {
    if locks::queue(db, key).await?.is_none() {
        return Ok(());
    }
    let fresh_ms = (seen == Verification::Fresh).then_some(at_ms);
    let noted = db
        .find(
            &format!(
                "UPDATE jobs SET verification = $5, verified_ms = $6 FROM purges, cdns
                 WHERE purges.key = jobs.purge AND cdns.id = jobs.cdn
                   AND purges.id = $1 AND cdns.site = $2 AND cdns.name = $3 AND jobs.outcome = $4 AND {SEEN}
                 RETURNING jobs.id"
            ),
            &[&purge, &key.site, &key.cdn, &code(State::Done), &code(seen), &fresh_ms],
        )
        .await?;
    let (Some(noted), Some(again_ms)) = (noted, again_ms) else { return Ok(()) };
    let job: i64 = get(&noted, 0)?;
    let waits = db
        .exists(
            "SELECT 1 FROM sends WHERE job = $1 AND reason = $2 LIMIT 1",
            &[&job, &code(SendReason::Repeat)],
        )
        .await?;
    if !waits {
        let all = "(SELECT $1 AS job, n, $2::int8 AS reason, $3::int8 AS due_ms, n AS place
                    FROM items WHERE job = $1)";
        db.execute(&new_sends(all, "NULL"), &[&job, &code(SendReason::Repeat), &again_ms]).await?;
    }
    Ok(())
}
