//! The token buckets of the CDNs' accounts, which a restart must not fill.

use super::db::{Db, get};
use super::error::Error;
use crate::store::SavedRate;

/// How much later than a new value a stored one may be. A still later one was written while the clock was wrong.
const ABSURD_US: i64 = 2 * 60 * 60 * 1_000_000;

/// Saves buckets, whose moments are by the database's clock.
pub(super) async fn save(db: &Db, rates: &[SavedRate]) -> Result<(), Error> {
    if rates.is_empty() {
        return Ok(());
    }
    // Of a bucket that is given several times, the latest value counts.
    let accounts: Vec<&str> = rates.iter().map(|rate| rate.account.as_str()).collect();
    let names: Vec<&str> = rates.iter().map(|rate| rate.name.as_str()).collect();
    let full: Vec<i64> = rates.iter().map(|rate| rate.full_us).collect();
    // Taking tokens only makes a bucket emptier, so the later moment holds.
    db.execute(
        "INSERT INTO rates (account, name, full_us)
         SELECT account, name, max(full_us) FROM unnest($1, $2, $3) AS new (account, name, full_us)
         GROUP BY account, name ORDER BY account, name
         ON CONFLICT (account, name) DO UPDATE SET full_us =
             CASE WHEN rates.full_us > excluded.full_us + $4 THEN excluded.full_us
                  ELSE greatest(rates.full_us, excluded.full_us) END",
        &[&accounts, &names, &full, &ABSURD_US],
    )
    .await
    .map(drop)
}

/// Returns the buckets, by the database's clock.
pub(super) async fn all(db: &Db) -> Result<Vec<SavedRate>, Error> {
    let rows = db.query("SELECT account, name, full_us FROM rates ORDER BY account, name", &[]).await?;
    rows.iter()
        .map(|row| Ok(SavedRate { account: get(row, 0)?, name: get(row, 1)?, full_us: get(row, 2)? }))
        .collect()
}
