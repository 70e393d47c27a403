//! Purges as people see them. The states of purges and jobs under way are derived here and stored nowhere. All moments
//! of waiting are by the database's clock.

use super::codes::{Coded, HOLDS_UP, coded};
use super::db::{Db, count, counted, get};
use super::error::Error;
use crate::purge::State;
use crate::store::stored::{liveliest, request};
use crate::store::{Attempt, JobView, LISTED_ITEMS, PurgeView, RecentPurge, Verification, WAITING_MS};
use std::collections::HashMap;
use tokio_postgres::Row;

/// The condition on a row of `purges` that is not being removed.
pub(super) const SEEN: &str = "NOT purges.removing";

/// The level of detail of a purge.
#[derive(Clone, Copy)]
pub(super) struct Shown {
    /// A request with more items than this is shown without them.
    items: i64,
    /// The number of attempts shown for each job.
    attempts: i64,
}

/// The full detail.
pub(super) const ALL: Shown = Shown { items: i64::MAX, attempts: i64::MAX };
/// The detail of a list.
pub(super) const LISTED: Shown = Shown { items: LISTED_ITEMS as i64, attempts: 1 };

pub(super) async fn get_one(db: &Db, id: &str, shown: Shown) -> Result<Option<PurgeView>, Error> {
    let row = db.find(&format!("SELECT key FROM purges WHERE id = $1 AND {SEEN}"), &[&id]).await?;
    let Some(row) = row else { return Ok(None) };
    Ok(keyed(db, &[get(&row, 0)?], shown).await?.into_iter().next())
}

/// Returns the purges of these keys, in this order.
pub(super) async fn keyed(db: &Db, keys: &[i64], shown: Shown) -> Result<Vec<PurgeView>, Error> {
    let keys = keys.to_vec();
    let rows = db
        .query(
            "SELECT key, id, site, created_ms, finished_ms, outcome, items, head, CASE WHEN items <= $2 THEN body END
             FROM purges WHERE key = ANY ($1)",
            &[&keys, &shown.items],
        )
        .await?;
    let mut jobs = jobs(db, &keys, shown).await?;
    let mut views: HashMap<i64, PurgeView> = HashMap::new();
    for row in &rows {
        let key: i64 = get(row, 0)?;
        views.insert(key, purge(row, jobs.remove(&key).unwrap_or_default())?);
    }
    Ok(keys.iter().filter_map(|key| views.remove(key)).collect())
}

/// Returns the latest purges, until together they have more items than this.
pub(super) async fn recent(db: &Db, most_items: u64) -> Result<Vec<RecentPurge>, Error> {
    let most = i64::try_from(most_items).unwrap_or(i64::MAX);
    let rows = db
        .query(
            &format!(
                "SELECT site, since_ms, head, body FROM
                     (SELECT site, since_ms, head, body, n,
                             sum(items) OVER (ORDER BY n DESC) - items AS before
                      FROM (SELECT purges.*, n FROM log JOIN purges ON purges.key = log.purge
                            WHERE {SEEN} ORDER BY n DESC LIMIT $2) AS purges) AS latest
                 WHERE before <= $1 ORDER BY n DESC"
            ),
            &[&most, &most.saturating_add(1)],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let request = request(get(row, 2)?, get(row, 3)?)?;
            Ok(RecentPurge { site: get(row, 0)?, since_ms: get(row, 1)?, request })
        })
        .collect()
}

fn purge(row: &Row, jobs: Vec<JobView>) -> Result<PurgeView, Error> {
    let request = request(get(row, 7)?, get(row, 8)?)?;
    let finished_ms: Option<i64> = get(row, 4)?;
    let state = match (finished_ms, State::read(row, 5)?) {
        (Some(_), Some(state)) => state,
        _ => liveliest(jobs.iter().map(|job| job.state)),
    };
    Ok(PurgeView {
        id: get(row, 1)?,
        site: get(row, 2)?,
        state,
        reason: request.reason.clone(),
        mode: request.mode,
        created_ms: get(row, 3)?,
        finished_ms,
        items: counted(row, 6)?,
        request,
        jobs,
    })
}

/// The columns from which the state of a job under way is derived: whether something of it is being sent, whether
/// something waits for another attempt, and whether its CDN is paused.
const UNDER_WAY: &str = "EXISTS (SELECT 1 FROM sends WHERE job = jobs.id AND leased AND reason <> 2),
     EXISTS (SELECT 1 FROM sends WHERE job = jobs.id AND reason = 1), cdns.paused_by IS NOT NULL";

/// Returns the state of a job under way, whose columns begin here.
fn under_way(row: &Row, column: usize) -> Result<State, Error> {
    let (leased, retrying, paused) = (get(row, column)?, get(row, column + 1)?, get(row, column + 2)?);
    Ok(match (leased, paused, retrying) {
        (true, _, _) => State::Sending,
        (false, true, _) => State::Paused,
        (false, false, true) => State::Retrying,
        (false, false, false) => State::Pending,
    })
}

/// Returns the jobs of these purges.
async fn jobs(db: &Db, purges: &[i64], shown: Shown) -> Result<HashMap<i64, Vec<JobView>>, Error> {
    let purges = purges.to_vec();
    let rows = db
        .query(
            &format!(
                "SELECT jobs.id, purge, cdns.name, type, items, fallback, accepted_ms, completed_ms, outcome,
                        acknowledged, verification, verified_ms,
                        (SELECT min(due_ms) FROM sends WHERE job = jobs.id AND NOT leased AND due_ms < $2),
                        (EXISTS (SELECT 1 FROM sends WHERE job = jobs.id AND reason = 3 AND NOT leased
                                     AND due_ms >= $2)
                                OR EXISTS (SELECT 1 FROM awaited WHERE awaited.job = jobs.id))
                            AND NOT EXISTS (SELECT 1 FROM sends WHERE job = jobs.id AND reason IN (0, 1)),
                        {UNDER_WAY}
                 FROM jobs JOIN cdns ON cdns.id = jobs.cdn WHERE purge = ANY ($1) ORDER BY jobs.id"
            ),
            &[&purges, &WAITING_MS],
        )
        .await?;
    let ids: Vec<i64> = rows.iter().map(|row| get(row, 0)).collect::<Result<_, _>>()?;
    let mut attempts = attempts(db, &ids, shown.attempts).await?;
    let mut jobs: HashMap<i64, Vec<JobView>> = HashMap::new();
    for row in &rows {
        let state = match State::read(row, 8)? {
            Some(state) => state,
            None => under_way(row, 14)?,
        };
        let view = JobView {
            cdn: get(row, 2)?,
            cdn_type: coded(row, 3)?,
            state,
            items: counted(row, 4)?,
            fallback: get(row, 5)?,
            accepted_ms: get(row, 6)?,
            completed_ms: get(row, 7)?,
            verification: Verification::read(row, 10)?,
            verified_ms: get(row, 11)?,
            next_attempt_ms: get(row, 12)?,
            waits: get(row, 13)?,
            unacknowledged: state == State::Failed && !get::<bool>(row, 9)?,
            attempts: attempts.remove(&get(row, 0)?).unwrap_or_default(),
        };
        jobs.entry(get(row, 1)?).or_default().push(view);
    }
    Ok(jobs)
}

/// Returns the last `most` attempts of each job, oldest first.
async fn attempts(db: &Db, jobs: &[i64], most: i64) -> Result<HashMap<i64, Vec<(Attempt, u64)>>, Error> {
    let rows = db
        .query(
            "SELECT of, at_ms, status, request_id, duration_ms, outcome, message, last.items
             FROM unnest($1) AS of,
                  LATERAL (SELECT call, items FROM attempts WHERE job = of ORDER BY call DESC LIMIT $2) AS last
                  JOIN calls ON calls.id = last.call
             ORDER BY of, last.call",
            &[&jobs.to_vec(), &most],
        )
        .await?;
    let mut attempts: HashMap<i64, Vec<(Attempt, u64)>> = HashMap::new();
    for row in &rows {
        let status: Option<i64> = get(row, 2)?;
        let attempt = Attempt {
            at_ms: get(row, 1)?,
            status: status.and_then(|status| u16::try_from(status).ok()),
            request_id: get(row, 3)?,
            duration_ms: get(row, 4)?,
            outcome: get(row, 5)?,
            message: get(row, 6)?,
        };
        attempts.entry(get(row, 0)?).or_default().push((attempt, counted(row, 7)?));
    }
    Ok(attempts)
}

/// Returns only the states of these purges, which are under way.
pub(super) async fn states(db: &Db, purges: &[i64]) -> Result<HashMap<i64, State>, Error> {
    let rows = db
        .query(
            &format!(
                "SELECT purge, {UNDER_WAY} FROM jobs JOIN cdns ON cdns.id = jobs.cdn
                 WHERE purge = ANY ($1) AND outcome IS NULL"
            ),
            &[&purges.to_vec()],
        )
        .await?;
    let mut jobs: HashMap<i64, Vec<State>> = purges.iter().map(|purge| (*purge, Vec::new())).collect();
    for row in &rows {
        jobs.entry(get(row, 0)?).or_default().push(under_way(row, 1)?);
    }
    Ok(jobs.into_iter().map(|(purge, states)| (purge, liveliest(states.into_iter()))).collect())
}

/// Returns the purges that have leased sends, newest job first, or `None` if there are more than `most` such jobs.
pub(super) async fn sending(db: &Db, most: usize) -> Result<Option<Vec<(String, i64, String)>>, Error> {
    let rows = db
        .query(
            &format!(
                "SELECT DISTINCT purges.id, key, site FROM
                     (SELECT DISTINCT job FROM sends WHERE leased AND {HOLDS_UP} LIMIT $1) AS leased
                     JOIN jobs ON jobs.id = leased.job JOIN purges ON purges.key = jobs.purge
                 WHERE purges.outcome IS NULL AND {SEEN} ORDER BY purges.id DESC"
            ),
            &[&count(most + 1)],
        )
        .await?;
    if rows.len() > most {
        return Ok(None);
    }
    rows.iter().map(|row| Ok((get(row, 0)?, get(row, 1)?, get(row, 2)?))).collect::<Result<_, _>>().map(Some)
}
