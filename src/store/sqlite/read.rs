//! Purges as people see them. States of what is under way are derived here and stored nowhere.

use super::codes::{Code, HOLD_UP};
use crate::purge::{PurgeRequest, SendReason, State};
use crate::store::{
    Attempt, Filter, JobView, LISTED_ITEMS, PurgeView, RecentPurge, Verification, WAITING_MS,
};
use rusqlite::types::{Type, Value};
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

pub(super) fn get(connection: &Connection, id: &str) -> rusqlite::Result<Option<PurgeView>> {
    let found = connection
        .prepare_cached(
            "SELECT n, id, site, created_ms, finished_ms, outcome, items, head, body FROM purges WHERE id = ?1",
        )?
        .query_row([id], purge)
        .optional()?;
    found.map(|(n, view)| with_jobs(connection, n, view, ALL)).transpose()
}

pub(super) fn list(connection: &Connection, filter: &Filter) -> rusqlite::Result<Vec<PurgeView>> {
    let mut found = Vec::new();
    match &filter.sites {
        None => candidates(connection, filter, None, &mut found)?,
        // Site by site, so that each is a range of one index, however many others there are.
        Some(sites) => {
            for site in sites {
                candidates(connection, filter, Some(site), &mut found)?;
            }
        }
    }
    found.sort_by(|one, other| other.id.cmp(&one.id));
    found.dedup_by(|one, other| one.id == other.id);
    found.truncate(filter.limit);
    Ok(found)
}

/// The latest purges, until together they have more items than this.
pub(super) fn recent(connection: &Connection, most_items: u64) -> rusqlite::Result<Vec<RecentPurge>> {
    let mut statement = connection.prepare_cached(
        "SELECT site, since_ms, items, head, body FROM purges JOIN accepted ON purge = n ORDER BY n DESC",
    )?;
    let mut rows = statement.query([])?;
    let (mut recent, mut items) = (Vec::new(), 0);
    while items <= most_items
        && let Some(row) = rows.next()?
    {
        items += row.get::<_, i64>(2)? as u64;
        let mut request: PurgeRequest = json(row, 3)?;
        (request.urls, request.paths, request.tags, request.prefixes) = json(row, 4)?;
        recent.push(RecentPurge { site: row.get(0)?, since_ms: row.get(1)?, request });
    }
    Ok(recent)
}

/// The newest purges of one site (or of all) that fit the filter, at most as many as it asks for.
fn candidates(
    connection: &Connection,
    filter: &Filter,
    site: Option<&str>,
    found: &mut Vec<PurgeView>,
) -> rusqlite::Result<()> {
    let mut sql = format!(
        "SELECT n, id, site, created_ms, finished_ms, outcome, items, head,
                CASE WHEN items <= {LISTED_ITEMS} THEN body END
         FROM purges WHERE 1"
    );
    let mut values: Vec<Value> = Vec::new();
    if let Some(site) = site {
        sql.push_str(" AND site = ?");
        values.push(site.to_owned().into());
    }
    if let Some(before) = &filter.before {
        sql.push_str(" AND id < ?");
        values.push(before.clone().into());
    }
    sql.push_str(match filter.state {
        None => "",
        Some(State::Done) => " AND outcome = 'done'",
        Some(State::Failed) => " AND outcome = 'failed'",
        Some(State::Cancelled) => " AND outcome = 'cancelled'",
        // Which of the four it is, is derived below.
        Some(State::Pending | State::Sending | State::Retrying | State::Paused) => " AND outcome IS NULL",
    });
    sql.push_str(" ORDER BY id DESC");

    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut taken = 0;
    while taken < filter.limit
        && let Some(row) = rows.next()?
    {
        let (n, view) = purge(row)?;
        let view = with_jobs(connection, n, view, 1)?;
        if filter.state.is_none_or(|state| state == view.state) {
            found.push(view);
            taken += 1;
        }
    }
    Ok(())
}

/// Its number, and all of it but the jobs.
fn purge(row: &Row<'_>) -> rusqlite::Result<(i64, PurgeView)> {
    let outcome: Option<Code<State>> = row.get(5)?;
    let mut request: PurgeRequest = json(row, 7)?;
    if row.get_ref(8)?.as_str_or_null()?.is_some() {
        (request.urls, request.paths, request.tags, request.prefixes) = json(row, 8)?;
    }
    let view = PurgeView {
        id: row.get(1)?,
        site: row.get(2)?,
        state: outcome.map_or(State::Pending, |Code(state)| state),
        reason: request.reason.clone(),
        mode: request.mode,
        created_ms: row.get(3)?,
        finished_ms: row.get(4)?,
        items: row.get::<_, i64>(6)? as u64,
        request,
        jobs: Vec::new(),
    };
    Ok((row.get(0)?, view))
}

fn json<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?.as_str()?;
    serde_json::from_str(text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.into()))
}

/// Every attempt that is remembered.
const ALL: i64 = -1;

fn with_jobs(
    connection: &Connection,
    n: i64,
    mut view: PurgeView,
    attempts: i64,
) -> rusqlite::Result<PurgeView> {
    view.jobs = connection
        .prepare_cached(
            "SELECT jobs.id, cdns.name, type, items, fallback, accepted_ms, completed_ms, outcome, acknowledged,
                    cdns.paused_by IS NOT NULL, verification, verified_ms
             FROM jobs JOIN cdns ON cdns.id = jobs.cdn WHERE purge = ?1 ORDER BY jobs.id",
        )?
        .query_map([n], |row| job(connection, row, attempts))?
        .collect::<Result<_, _>>()?;
    if view.finished_ms.is_none() {
        view.state = [State::Sending, State::Retrying, State::Paused]
            .into_iter()
            .find(|state| view.jobs.iter().any(|job| job.state == *state))
            .unwrap_or(State::Pending);
    }
    Ok(view)
}

fn job(connection: &Connection, row: &Row<'_>, attempts: i64) -> rusqlite::Result<JobView> {
    let id = row.get(0)?;
    let outcome: Option<Code<State>> = row.get(7)?;
    let paused = row.get(9)?;
    let state = match outcome {
        Some(Code(state)) => state,
        None => under_way(connection, id, paused)?,
    };
    let Code(cdn_type) = row.get(2)?;
    Ok(JobView {
        cdn: row.get(1)?,
        cdn_type,
        state,
        items: row.get::<_, i64>(3)? as u64,
        fallback: json(row, 4)?,
        accepted_ms: row.get(5)?,
        completed_ms: row.get(6)?,
        verification: row.get::<_, Option<Code<Verification>>>(10)?.map(|Code(seen)| seen),
        verified_ms: row.get(11)?,
        next_attempt_ms: next_attempt(connection, id)?,
        waits: waits(connection, id)?,
        unacknowledged: state == State::Failed && !row.get::<_, bool>(8)?,
        attempts: history(connection, id, attempts)?,
    })
}

fn under_way(connection: &Connection, job: i64, paused: bool) -> rusqlite::Result<State> {
    let mut leased = connection
        .prepare_cached("SELECT 1 FROM sends WHERE job = ?1 AND reason = ?2 AND leased = 1 LIMIT 1")?;
    for reason in HOLD_UP {
        if leased.exists((job, Code(reason)))? {
            return Ok(State::Sending);
        }
    }
    if paused {
        return Ok(State::Paused);
    }
    let retrying = connection
        .prepare_cached("SELECT 1 FROM sends WHERE job = ?1 AND reason = ?2 LIMIT 1")?
        .exists((job, Code(SendReason::Retry)))?;
    Ok(if retrying { State::Retrying } else { State::Pending })
}

/// One look into the index per reason, however many items the job has.
fn next_attempt(connection: &Connection, job: i64) -> rusqlite::Result<Option<i64>> {
    let mut earliest = connection.prepare_cached(
        "SELECT min(due_ms) FROM sends WHERE job = ?1 AND reason = ?2 AND leased = 0 AND due_ms < ?3",
    )?;
    let mut next: Option<i64> = None;
    for reason in HOLD_UP.into_iter().chain([SendReason::Repeat]) {
        let due: Option<i64> = earliest.query_row((job, Code(reason), WAITING_MS), |row| row.get(0))?;
        next = next.into_iter().chain(due).min();
    }
    Ok(next)
}

/// Whether all that holds it up are follow-ups that wait for responses.
fn waits(connection: &Connection, job: i64) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM sends WHERE job = ?1 AND reason = ?2 AND leased = 0 AND due_ms >= ?3)
                AND NOT EXISTS (SELECT 1 FROM sends WHERE job = ?1 AND reason IN (?4, ?5))",
        )?
        .query_row(
            params![
                job,
                Code(SendReason::FollowUp),
                WAITING_MS,
                Code(SendReason::First),
                Code(SendReason::Retry)
            ],
            |row| row.get(0),
        )
}

/// The last `limit` attempts, oldest first.
fn history(connection: &Connection, job: i64, limit: i64) -> rusqlite::Result<Vec<(Attempt, u64)>> {
    let mut attempts: Vec<(Attempt, u64)> = connection
        .prepare_cached(
            "SELECT at_ms, status, request_id, duration_ms, outcome, message, items
             FROM attempts JOIN calls ON calls.id = attempts.call WHERE job = ?1 ORDER BY call DESC LIMIT ?2",
        )?
        .query_map([job, limit], |row| {
            let attempt = Attempt {
                at_ms: row.get(0)?,
                status: row.get(1)?,
                request_id: row.get(2)?,
                duration_ms: row.get(3)?,
                outcome: row.get(4)?,
                message: row.get(5)?,
            };
            Ok((attempt, row.get::<_, i64>(6)? as u64))
        })?
        .collect::<Result<_, _>>()?;
    attempts.reverse();
    Ok(attempts)
}
