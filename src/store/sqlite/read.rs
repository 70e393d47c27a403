//! Purges as people see them. The states of purges and jobs under way are derived here and stored nowhere.

use super::codes::{Code, HOLD_UP};
use super::sweep::SEEN;
use crate::purge::{PurgeRequest, SendReason, State};
use crate::store::stored::{self, liveliest};
use crate::store::{Attempt, JobView, LISTED_ITEMS, PurgeView, RecentPurge, Verification, WAITING_MS};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};

/// The level of detail of a purge.
#[derive(Clone, Copy)]
pub(super) struct Shown {
    /// A request with more items than this is shown without them.
    items: i64,
    /// The number of attempts shown for each job; -1 means all.
    attempts: i64,
}

/// The full detail.
pub(super) const ALL: Shown = Shown { items: i64::MAX, attempts: -1 };
/// The detail of a list.
pub(super) const LISTED: Shown = Shown { items: LISTED_ITEMS as i64, attempts: 1 };

pub(super) fn get(connection: &Connection, id: &str, shown: Shown) -> rusqlite::Result<Option<PurgeView>> {
    let n: Option<i64> = connection
        .prepare_cached(&format!("SELECT n FROM purges WHERE id = ?1 AND {SEEN}"))?
        .query_row([id], |row| row.get(0))
        .optional()?;
    n.map_or(Ok(None), |n| numbered(connection, n, shown))
}

/// Returns the purge of this number.
pub(super) fn numbered(connection: &Connection, n: i64, shown: Shown) -> rusqlite::Result<Option<PurgeView>> {
    let found = connection
        .prepare_cached(
            "SELECT n, id, site, created_ms, finished_ms, outcome, items, head,
                    CASE WHEN items <= ?2 THEN body END
             FROM purges WHERE n = ?1",
        )?
        .query_row([n, shown.items], purge)
        .optional()?;
    found.map(|view| with_jobs(connection, n, view, shown.attempts)).transpose()
}

/// Returns the latest purges, until together they have more items than this.
pub(super) fn recent(connection: &Connection, most_items: u64) -> rusqlite::Result<Vec<RecentPurge>> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT site, since_ms, items, head, body FROM purges JOIN accepted ON accepted.purge = n WHERE {SEEN} ORDER BY n DESC"
    ))?;
    let mut rows = statement.query([])?;
    let (mut recent, mut items) = (Vec::new(), 0);
    while items <= most_items
        && let Some(row) = rows.next()?
    {
        items += row.get::<_, i64>(2)? as u64;
        let request = request(row, 3)?;
        recent.push(RecentPurge { site: row.get(0)?, since_ms: row.get(1)?, request });
    }
    Ok(recent)
}

/// Reads a purge without its jobs.
fn purge(row: &Row<'_>) -> rusqlite::Result<PurgeView> {
    let outcome: Option<Code<State>> = row.get(5)?;
    let request = request(row, 7)?;
    Ok(PurgeView {
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
    })
}

/// Reads the request whose head is in this column, and its body, if that is to be shown, in the next one.
fn request(row: &Row<'_>, head: usize) -> rusqlite::Result<PurgeRequest> {
    let body = row.get_ref(head + 1)?.as_str_or_null()?;
    stored::request(row.get_ref(head)?.as_str()?, body).map_err(|error| not_json(head, error))
}

fn not_json(column: usize, error: serde_json::Error) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.into())
}

fn json<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?.as_str()?;
    serde_json::from_str(text).map_err(|error| not_json(column, error))
}

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
        view.state = liveliest(view.jobs.iter().map(|job| job.state));
    }
    Ok(view)
}

/// Returns only the state of a purge that is under way.
pub(super) fn state(connection: &Connection, n: i64) -> rusqlite::Result<State> {
    let states: Vec<State> = connection
        .prepare_cached(
            "SELECT jobs.id, cdns.paused_by IS NOT NULL FROM jobs JOIN cdns ON cdns.id = jobs.cdn
             WHERE purge = ?1 AND outcome IS NULL",
        )?
        .query_map([n], |row| under_way(connection, row.get(0)?, row.get(1)?))?
        .collect::<Result<_, _>>()?;
    Ok(liveliest(states.into_iter()))
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

/// Returns when the job's next send is due. The search makes one index lookup per reason, however many items the
/// job has.
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

/// Returns whether only follow-ups that wait for responses hold up the job.
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

/// Returns the last `limit` attempts, oldest first.
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
