//! A rehearsal of accepting purges: it accepts one purge for each site and its CDNs, and takes them back.
//! Committing a single row touches a single page, and proves nothing about a table that is broken, full or of
//! another shape.

use super::enqueue::enqueue;
use crate::store::CdnKey;
use crate::store::stored::rehearsal;
use rusqlite::Connection;

/// The most CDNs in a rehearsal.
const MOST: i64 = 64;

/// Accepts purges, which the caller rolls back.
pub(super) fn accept(connection: &Connection, now_ms: i64) -> rusqlite::Result<()> {
    let keys: Vec<CdnKey> = connection
        .prepare_cached("SELECT site, name FROM cdns ORDER BY id DESC LIMIT ?1")?
        .query_map([MOST], |row| Ok(CdnKey { site: row.get(0)?, cdn: row.get(1)? }))?
        .collect::<Result<_, _>>()?;
    for purge in rehearsal(keys, now_ms) {
        enqueue(connection, &purge)?;
    }
    Ok(())
}
