//! Leasing one send.

use super::codes::Code;
use crate::cdn::Item;
use crate::store::ClaimedSend;
use rusqlite::{Connection, params};

/// Leases a send until this moment, and returns it with its item.
pub(super) fn lease(
    connection: &Connection,
    id: i64,
    batch: Option<i64>,
    until_ms: i64,
) -> rusqlite::Result<ClaimedSend> {
    connection
        .prepare_cached(
            "UPDATE sends SET leased = 1, due_ms = ?2, attempt = attempt + 1, batch = coalesce(?3, batch),
                    absorber = NULL, absorber_attempt = NULL WHERE id = ?1",
        )?
        .execute(params![id, until_ms, batch])?;
    connection
        .prepare_cached(
            "SELECT sends.job, reason, attempt, items.kind, value, items.hard, purges.created_ms, sends.lane, since_ms
             FROM sends
             JOIN items ON items.job = sends.job AND items.n = sends.n
             JOIN jobs ON jobs.id = sends.job
             JOIN purges ON purges.n = jobs.purge
             JOIN accepted ON accepted.purge = jobs.purge
             WHERE sends.id = ?1",
        )?
        .query_row([id], |row| {
            let (Code(reason), Code(kind), Code(lane)) = (row.get(1)?, row.get(3)?, row.get(7)?);
            let item = Item { kind, value: row.get(4)?, hard: row.get(5)? };
            Ok(ClaimedSend {
                id,
                job: row.get(0)?,
                item,
                lane,
                reason,
                attempt: row.get(2)?,
                created_ms: row.get(6)?,
                since_ms: row.get(8)?,
            })
        })
}
