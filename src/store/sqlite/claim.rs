//! Sends go out under a lease.

use super::codes::Code;
use super::enqueue::number;
use crate::cdn::{Item, ItemKind};
use crate::purge::SendReason;
use crate::store::{CdnKey, ClaimedSend};
use rusqlite::{Connection, OptionalExtension, params};

pub(super) fn claim(
    connection: &Connection,
    key: &CdnKey,
    now_ms: i64,
    lease_until_ms: i64,
    limit: usize,
) -> rusqlite::Result<Vec<ClaimedSend>> {
    let Some(cdn) = sending(connection, key)? else { return Ok(Vec::new()) };
    let mut small = due(connection, cdn, false, now_ms, limit)?;
    let mut bulk = due(connection, cdn, true, now_ms, limit)?;
    small.truncate(limit - bulk.len().min(limit / 4));
    bulk.truncate(limit - small.len());

    small.into_iter().chain(bulk).map(|id| lease(connection, id, lease_until_ms)).collect()
}

/// The number of a CDN that is not paused.
fn sending(connection: &Connection, key: &CdnKey) -> rusqlite::Result<Option<i64>> {
    let Some(cdn) = number(connection, key)? else { return Ok(None) };
    connection
        .prepare_cached("SELECT id FROM cdns WHERE id = ?1 AND paused_by IS NULL")?
        .query_row([cdn], |row| row.get(0))
        .optional()
}

/// Due sends, and leased ones whose lease has run out: `due_ms` holds for both, so one index answers.
fn due(
    connection: &Connection,
    cdn: i64,
    bulk: bool,
    now_ms: i64,
    limit: usize,
) -> rusqlite::Result<Vec<i64>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    connection
        .prepare_cached(
            "SELECT id FROM sends WHERE cdn = ?1 AND bulk = ?2 AND due_ms <= ?3 ORDER BY due_ms, id LIMIT ?4",
        )?
        .query_map(params![cdn, bulk, now_ms, limit], |row| row.get(0))?
        .collect()
}

fn lease(connection: &Connection, id: i64, until_ms: i64) -> rusqlite::Result<ClaimedSend> {
    connection
        .prepare_cached("UPDATE sends SET leased = 1, due_ms = ?2, attempt = attempt + 1 WHERE id = ?1")?
        .execute(params![id, until_ms])?;
    connection
        .prepare_cached(
            "SELECT sends.job, sends.reason, sends.attempt, items.kind, items.value, items.hard, purges.created_ms
             FROM sends
             JOIN items ON items.job = sends.job AND items.n = sends.n
             JOIN jobs ON jobs.id = sends.job
             JOIN purges ON purges.n = jobs.purge
             WHERE sends.id = ?1",
        )?
        .query_row([id], |row| {
            let Code(reason): Code<SendReason> = row.get(1)?;
            let Code(kind): Code<ItemKind> = row.get(3)?;
            let item = Item { kind, value: row.get(4)?, hard: row.get(5)? };
            Ok(ClaimedSend { id, job: row.get(0)?, item, reason, attempt: row.get(2)?, created_ms: row.get(6)? })
        })
}

pub(super) fn next_due(connection: &Connection, key: &CdnKey) -> rusqlite::Result<Option<i64>> {
    let Some(cdn) = sending(connection, key)? else { return Ok(None) };
    let mut earliest =
        connection.prepare_cached("SELECT min(due_ms) FROM sends WHERE cdn = ?1 AND bulk = ?2")?;
    let small: Option<i64> = earliest.query_row(params![cdn, false], |row| row.get(0))?;
    let bulk: Option<i64> = earliest.query_row(params![cdn, true], |row| row.get(0))?;
    Ok(small.into_iter().chain(bulk).min())
}

/// They were due before they were leased, so they are due now.
pub(super) fn release_leases(connection: &Connection) -> rusqlite::Result<u64> {
    let released = connection.execute("UPDATE sends SET leased = 0, due_ms = 0 WHERE leased = 1", [])?;
    Ok(released as u64)
}
