//! Accepting a purge: purge, jobs, items and sends in one transaction.

use super::codes::Code;
use super::new_sends::new_sends;
use super::{follow_up, naming};
use crate::purge::{JobPlan, SendReason, State};
use crate::store::stored::{IDEMPOTENCY_MS, body, head, lane};
use crate::store::{CdnKey, Enqueued, NewPurge};
use rusqlite::{Connection, OptionalExtension, params};

pub(super) fn enqueue(connection: &Connection, purge: &NewPurge) -> rusqlite::Result<Enqueued> {
    if let Some(earlier) = earlier(connection, purge)? {
        return Ok(earlier);
    }
    let request = &purge.request;
    let done = purge.jobs.iter().all(|job| job.items.is_empty());
    connection
        .prepare_cached(
            "INSERT INTO purges (id, site, caller, created_ms, finished_ms, outcome, items, head, body)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            purge.id,
            purge.site,
            purge.caller,
            purge.now_ms,
            done.then_some(purge.now_ms),
            done.then_some(Code(State::Done)),
            count(request.item_count()),
            json(head(request))?,
            json(body(request))?,
        ])?;
    let n = connection.last_insert_rowid();
    connection
        .prepare_cached("INSERT INTO accepted (purge, since_ms) VALUES (?1, ?2)")?
        .execute([n, purge.since_ms])?;
    for (number, job) in purge.jobs.iter().enumerate() {
        let id = insert_job(connection, purge, n, job)?;
        let follow_ups = &purge.follow_ups;
        if !follow_ups.items.is_empty() {
            let items = follow_ups.items.iter().filter(|(of, _)| *of == number).map(|(_, item)| *item);
            follow_up::insert(connection, id, items, follow_ups.margin_ms)?;
        }
    }
    if let Some((key, hash)) = &purge.idempotency {
        connection
            .prepare_cached(
                "INSERT OR REPLACE INTO idempotency (caller, key, hash, created_ms, purge)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![purge.caller, key, hash, purge.now_ms, n])?;
    }
    Ok(Enqueued::Created)
}

/// Returns the result if the idempotency key was used within the last 24 h.
fn earlier(connection: &Connection, purge: &NewPurge) -> rusqlite::Result<Option<Enqueued>> {
    let Some((key, hash)) = &purge.idempotency else { return Ok(None) };
    let found: Option<(String, String)> = connection
        .prepare_cached(
            "SELECT idempotency.hash, purges.id FROM idempotency JOIN purges ON purges.n = idempotency.purge
             WHERE idempotency.caller = ?1 AND idempotency.key = ?2 AND idempotency.created_ms > ?3",
        )?
        .query_row(params![purge.caller, key, purge.now_ms - IDEMPOTENCY_MS], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    Ok(found.map(|(then, id)| if then == *hash { Enqueued::Existing(id) } else { Enqueued::KeyReused }))
}

fn insert_job(connection: &Connection, purge: &NewPurge, n: i64, job: &JobPlan) -> rusqlite::Result<i64> {
    let key = CdnKey { site: purge.site.clone(), cdn: job.cdn.clone() };
    let cdn = naming::intern(connection, &key, &job.identity)?;
    let done = job.items.is_empty();
    connection
        .prepare_cached(
            "INSERT INTO jobs
                 (purge, cdn, type, items, fallback, repeat_after_ms, lane, due_ms, outcome, accepted_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .execute(params![
            n,
            cdn,
            Code(job.cdn_type),
            count(job.items.len()),
            json(serde_json::to_string(&job.fallback))?,
            job.repeat_after_ms,
            Code(lane(job)),
            purge.due_ms,
            done.then_some(Code(State::Done)),
            done.then_some(purge.now_ms),
        ])?;
    let id = connection.last_insert_rowid();
    if job.untagged {
        connection.prepare_cached("UPDATE jobs SET untagged = 1 WHERE id = ?1")?.execute([id])?;
    }

    let mut item = connection
        .prepare_cached("INSERT INTO items (job, n, kind, hard, value) VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for (n, planned) in job.items.iter().enumerate() {
        item.execute(params![id, count(n), Code(planned.kind), planned.hard, planned.value])?;
    }
    connection.prepare_cached(&new_sends(""))?.execute(params![id, Code(SendReason::First), purge.due_ms])?;
    connection
        .prepare_cached("UPDATE cdns SET jobs = jobs + ?2, pending = pending + ?3 WHERE id = ?1")?
        .execute(params![cdn, !done, count(job.items.len())])?;
    Ok(id)
}

/// Returns the id of a CDN, if it was ever used.
pub(super) fn number(connection: &Connection, key: &CdnKey) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT id FROM cdns WHERE site = ?1 AND name = ?2")?
        .query_row(params![key.site, key.cdn], |row| row.get(0))
        .optional()
}

/// Converts JSON for a parameter.
fn json(written: serde_json::Result<String>) -> rusqlite::Result<String> {
    written.map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

/// Converts a count to SQLite's `i64`, whose limit no count of ours approaches.
fn count(items: usize) -> i64 {
    i64::try_from(items).unwrap_or(i64::MAX)
}
