//! Until when copies without our tags may be in CDNs, which a restart must not forget.

use super::codes::{Coded, coded};
use super::db::{Db, get};
use super::error::Error;
use crate::store::UntaggedCopies;

/// How much later than a new moment a stored one may be. No copy lives half as long, so a still later one was
/// written while the clock was wrong.
const ABSURD_MS: i64 = 2 * 365 * 24 * 60 * 60 * 1_000;

/// Notes copies, whose ends are by the database's clock.
pub(super) async fn note(db: &Db, copies: &[UntaggedCopies]) -> Result<(), Error> {
    for UntaggedCopies { site, cdn_type, until_ms, longest_ms } in sorted(copies) {
        db.execute(
            "INSERT INTO untagged (site, type, until_ms, longest_ms) VALUES ($1, $2, $3, $4)
             ON CONFLICT (site, type) DO UPDATE SET
                 until_ms = CASE WHEN untagged.until_ms > excluded.until_ms + $5 THEN excluded.until_ms
                                 ELSE greatest(untagged.until_ms, excluded.until_ms) END,
                 longest_ms = greatest(untagged.longest_ms, excluded.longest_ms)",
            &[site, &cdn_type.code(), until_ms, longest_ms, &ABSURD_MS],
        )
        .await?;
    }
    Ok(())
}

pub(super) async fn forget(db: &Db, copies: &[UntaggedCopies]) -> Result<(), Error> {
    for UntaggedCopies { site, cdn_type, until_ms, .. } in sorted(copies) {
        db.execute(
            "UPDATE untagged SET until_ms = least(until_ms, $3) WHERE site = $1 AND type = $2",
            &[site, &cdn_type.code(), until_ms],
        )
        .await?;
    }
    Ok(())
}

/// Returns the copies in an order in which every transaction locks their rows.
fn sorted(copies: &[UntaggedCopies]) -> Vec<&UntaggedCopies> {
    let mut copies: Vec<_> = copies.iter().collect();
    copies.sort();
    copies
}

pub(super) async fn all(db: &Db) -> Result<Vec<UntaggedCopies>, Error> {
    let rows =
        db.query("SELECT site, type, until_ms, longest_ms FROM untagged ORDER BY site, type", &[]).await?;
    rows.iter()
        .map(|row| {
            Ok(UntaggedCopies {
                site: get(row, 0)?,
                cdn_type: coded(row, 1)?,
                until_ms: get(row, 2)?,
                longest_ms: get(row, 3)?,
            })
        })
        .collect()
}
