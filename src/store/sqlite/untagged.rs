//! Until when copies without our tags may be in CDNs, which a restart must not forget.

use super::codes::Code;
use crate::store::UntaggedCopies;
use rusqlite::{Connection, params};

/// How much later than a new moment a stored one may be. No copy lives half as long, so a still later one was
/// written while the clock was wrong.
const ABSURD_MS: i64 = 2 * 365 * 24 * 60 * 60 * 1_000;

pub(super) fn note(connection: &Connection, copies: &[UntaggedCopies]) -> rusqlite::Result<()> {
    let mut note = connection.prepare_cached(
        "INSERT INTO untagged (site, type, until_ms, longest_ms) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (site, type) DO UPDATE SET
             until_ms = CASE WHEN until_ms > excluded.until_ms + ?5 THEN excluded.until_ms
                             ELSE max(until_ms, excluded.until_ms) END,
             longest_ms = max(longest_ms, excluded.longest_ms)",
    )?;
    for UntaggedCopies { site, cdn_type, until_ms, longest_ms } in copies {
        note.execute(params![site, Code(*cdn_type), until_ms, longest_ms, ABSURD_MS])?;
    }
    Ok(())
}

pub(super) fn forget(connection: &Connection, copies: &[UntaggedCopies]) -> rusqlite::Result<()> {
    let mut forget = connection
        .prepare_cached("UPDATE untagged SET until_ms = min(until_ms, ?3) WHERE site = ?1 AND type = ?2")?;
    for UntaggedCopies { site, cdn_type, until_ms, .. } in copies {
        forget.execute(params![site, Code(*cdn_type), until_ms])?;
    }
    Ok(())
}

pub(super) fn all(connection: &Connection) -> rusqlite::Result<Vec<UntaggedCopies>> {
    connection
        .prepare_cached("SELECT site, type, until_ms, longest_ms FROM untagged ORDER BY site, type")?
        .query_map([], |row| {
            let Code(cdn_type) = row.get(1)?;
            Ok(UntaggedCopies { site: row.get(0)?, cdn_type, until_ms: row.get(2)?, longest_ms: row.get(3)? })
        })?
        .collect()
}
