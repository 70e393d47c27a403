//! The token buckets of the CDNs' accounts, which a restart must not fill.

use crate::store::SavedRate;
use rusqlite::{Connection, params};

/// How much later than a new value a stored one may be. A still later one was written while the clock was wrong.
const ABSURD_US: i64 = 2 * 60 * 60 * 1_000_000;

pub(super) fn save(connection: &Connection, rates: &[SavedRate]) -> rusqlite::Result<()> {
    // Delivery tasks that share an account write in any order. Taking tokens only makes a bucket emptier, so the later
    // moment holds.
    let mut save = connection.prepare_cached(
        "INSERT INTO rates (account, name, full_us) VALUES (?1, ?2, ?3)
         ON CONFLICT (account, name) DO UPDATE SET full_us =
             CASE WHEN full_us > excluded.full_us + ?4 THEN excluded.full_us
                  ELSE max(full_us, excluded.full_us) END",
    )?;
    for rate in rates {
        save.execute(params![rate.account, rate.name, rate.full_us, ABSURD_US])?;
    }
    Ok(())
}

pub(super) fn all(connection: &Connection) -> rusqlite::Result<Vec<SavedRate>> {
    connection
        .prepare_cached("SELECT account, name, full_us FROM rates ORDER BY account, name")?
        .query_map([], |row| Ok(SavedRate { account: row.get(0)?, name: row.get(1)?, full_us: row.get(2)? }))?
        .collect()
}
