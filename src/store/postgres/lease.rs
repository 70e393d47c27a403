//! Leasing sends.

use super::codes::coded;
use super::db::{Db, get};
use super::error::Error;
use crate::cdn::Item;
use crate::store::ClaimedSend;
use std::collections::HashMap;
use uuid::Uuid;

/// Leases sends for this run until this moment, and returns them in their order, with their items.
pub(super) async fn lease(
    db: &Db,
    ids: &[i64],
    batch: Option<i64>,
    until_ms: i64,
    run: Uuid,
) -> Result<Vec<ClaimedSend>, Error> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let rows = db
        .query(
            "UPDATE sends SET leased = true, due_ms = $2, attempt = attempt + 1, batch = coalesce($3, batch),
                    absorber = NULL, absorber_attempt = NULL, run = $4
             FROM items, jobs, purges
             WHERE sends.id = ANY ($1) AND items.job = sends.job AND items.n = sends.n
               AND jobs.id = sends.job AND purges.key = jobs.purge
             RETURNING sends.id, sends.job, reason, attempt, items.kind, value, items.hard, created_ms, sends.lane,
                       since_ms",
            &[&ids.to_vec(), &until_ms, &batch, &run],
        )
        .await?;
    let send = |row: &_| {
        Ok(ClaimedSend {
            id: get(row, 0)?,
            job: get(row, 1)?,
            reason: coded(row, 2)?,
            attempt: u32::try_from(get::<i64>(row, 3)?).unwrap_or(u32::MAX),
            item: Item { kind: coded(row, 4)?, value: get(row, 5)?, hard: get(row, 6)? },
            created_ms: get(row, 7)?,
            lane: coded(row, 8)?,
            since_ms: get(row, 9)?,
        })
    };
    let mut sends: Vec<ClaimedSend> = rows.iter().map(send).collect::<Result<_, Error>>()?;
    let places: HashMap<i64, usize> = ids.iter().enumerate().map(|(place, id)| (*id, place)).collect();
    sends.sort_by_key(|send| places.get(&send.id).copied());
    Ok(sends)
}
