//! The sends that wait for a CDN. This is read before every claim, so each answer is a short walk along one
//! index.

use super::codes::Code;
use super::enqueue::number;
use crate::cdn::ItemKind;
use crate::store::{CdnKey, Due, DueGroup, Lane};
use rusqlite::{Connection, OptionalExtension, params};

pub(super) const LANES: [Lane; 3] = [Lane::Site, Lane::Small, Lane::Bulk];
pub(super) const KINDS: [ItemKind; 4] =
    [ItemKind::Url, ItemKind::Tag, ItemKind::Prefix, ItemKind::Everything];

pub(super) fn due(connection: &Connection, key: &CdnKey, now_ms: i64, most: usize) -> rusqlite::Result<Due> {
    let Some((cdn, pending)) = sending(connection, key)? else { return Ok(Due::default()) };
    let mut due = Due { pending, ..Due::default() };
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    // For leased sends, `due_ms` is the end of the lease, so one index serves both.
    let mut group = connection.prepare_cached(
        "SELECT count(*), min(due_ms) FROM
             (SELECT due_ms FROM sends
              WHERE cdn = ?1 AND lane = ?2 AND kind = ?3 AND hard = ?4 AND due_ms <= ?5 ORDER BY due_ms LIMIT ?6)",
    )?;
    let mut later = connection.prepare_cached(
        "SELECT min(due_ms) FROM sends WHERE cdn = ?1 AND lane = ?2 AND kind = ?3 AND hard = ?4 AND due_ms > ?5",
    )?;
    for lane in LANES {
        for kind in KINDS {
            for hard in [true, false] {
                let (count, oldest): (i64, Option<i64>) = group
                    .query_row(params![cdn, Code(lane), Code(kind), hard, now_ms, most], |row| {
                        Ok((row.get(0)?, row.get(1)?))
                    })?;
                due.groups.extend(oldest.map(|oldest_ms| DueGroup {
                    lane,
                    kind,
                    hard,
                    count: count as usize,
                    oldest_ms,
                }));
                let next: Option<i64> =
                    later.query_row(params![cdn, Code(lane), Code(kind), hard, now_ms], |row| row.get(0))?;
                due.next_ms = due.next_ms.into_iter().chain(next).min();
            }
        }
    }
    Ok(due)
}

/// Returns the id of a CDN that is not paused, and its number of pending items.
pub(super) fn sending(connection: &Connection, key: &CdnKey) -> rusqlite::Result<Option<(i64, u64)>> {
    let Some(cdn) = number(connection, key)? else { return Ok(None) };
    connection
        .prepare_cached("SELECT id, pending FROM cdns WHERE id = ?1 AND paused_by IS NULL")?
        .query_row([cdn], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.max(0) as u64)))
        .optional()
}
