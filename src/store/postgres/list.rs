//! Lists of purges. The cost of a list is bounded by the purges that it examines, not only by those that match:
//! a filter for rare purges yields a short page and the place at which to continue.

use super::codes::Coded;
use super::db::{Db, count, get};
use super::error::Error;
use super::read::{self, LISTED, SEEN};
use crate::purge::State;
use crate::store::{Filter, Listed};

/// The most purges that one list examines in addition to those that it shows.
const LOOKED_AT: usize = 1_000;

/// A purge that may be shown: its id, its key, and whether it matches.
type Candidate = (String, i64, bool);

pub(super) async fn list(db: &Db, filter: &Filter) -> Result<Listed, Error> {
    let before = filter.before.as_deref();
    let (candidates, is_all) = match filter.state {
        None => newest(db, filter, before).await?,
        Some(State::Sending) => match sending(db, filter).await? {
            Some(all) => (all, true),
            None => walk(db, filter, State::Sending).await?,
        },
        Some(state) => walk(db, filter, state).await?,
    };
    let (mut keys, mut next, mut last) = (Vec::new(), None, None);
    for (id, key, matches) in candidates {
        if matches {
            // The purge matches, but the page is full.
            if keys.len() == filter.limit {
                next = last.clone();
                break;
            }
            keys.push(key);
        }
        last = Some(id);
    }
    if next.is_none() && !is_all {
        next = last;
    }
    Ok(Listed { purges: read::keyed(db, &keys, LISTED).await?, next })
}

/// Returns purges in any state, and that these are all that the page needs. Each site is a range of one index, however
/// many other purges there are.
async fn newest(db: &Db, filter: &Filter, before: Option<&str>) -> Result<(Vec<Candidate>, bool), Error> {
    let most = count(filter.limit.saturating_add(1));
    let rows = match &filter.sites {
        None => {
            let newest = format!(
                "SELECT id, key FROM purges WHERE ($1 IS NULL OR id < $1) AND {SEEN} ORDER BY id DESC LIMIT $2"
            );
            db.query(&newest, &[&before, &most]).await?
        }
        Some(sites) => {
            let newest = format!(
                "SELECT purges.id, purges.key FROM (SELECT DISTINCT unnest($3) AS site) AS sites,
                     LATERAL (SELECT id, key FROM purges
                         WHERE site = sites.site COLLATE \"C\" AND ($1 IS NULL OR id < $1) AND {SEEN}
                         ORDER BY id DESC LIMIT $2) AS purges
                 ORDER BY purges.id DESC LIMIT $2"
            );
            db.query(&newest, &[&before, &most, sites]).await?
        }
    };
    let found: Vec<Candidate> =
        rows.iter().map(|row| Ok((get(row, 0)?, get(row, 1)?, true))).collect::<Result<_, Error>>()?;
    Ok((found, true))
}

/// Examines one purge after the other. Returns whether these were all.
async fn walk(db: &Db, filter: &Filter, wanted: State) -> Result<(Vec<Candidate>, bool), Error> {
    // The condition of a partial index must appear word for word.
    let among = match wanted {
        State::Failed => "outcome IN ('failed', 'cancelled') AND outcome = 'failed'",
        State::Cancelled => "outcome IN ('failed', 'cancelled') AND outcome = 'cancelled'",
        State::Done => "true",
        State::Sending | State::Pending | State::Retrying | State::Paused => "outcome IS NULL",
    };
    let rows = db
        .query(
            &format!(
                "SELECT id, key, site, outcome FROM purges
                 WHERE {among} AND ($1 IS NULL OR id < $1) AND {SEEN} ORDER BY id DESC LIMIT $2"
            ),
            &[&filter.before.as_deref(), &count(LOOKED_AT + 1)],
        )
        .await?;
    let is_all = rows.len() <= LOOKED_AT;
    let rows = rows.iter().take(LOOKED_AT);
    let open: Vec<i64> = rows
        .clone()
        .filter(|row| matches!(State::read(row, 3), Ok(None)))
        .map(|row| get(row, 1))
        .collect::<Result<_, _>>()?;
    let states = read::states(db, &open).await?;
    let mut found = Vec::new();
    for row in rows {
        let key: i64 = get(row, 1)?;
        let state = State::read(row, 3)?.or_else(|| states.get(&key).copied());
        found.push((get(row, 0)?, key, state == Some(wanted) && is_of(filter, get(row, 2)?)));
    }
    Ok((found, is_all))
}

/// Returns the purges with leased sends, or `None` if there are too many to examine all.
async fn sending(db: &Db, filter: &Filter) -> Result<Option<Vec<Candidate>>, Error> {
    let Some(sending) = read::sending(db, LOOKED_AT).await? else { return Ok(None) };
    let is_next = |id: &str| filter.before.as_deref().is_none_or(|before| id < before);
    let found = sending.into_iter().filter(|(id, _, site)| is_next(id) && is_of(filter, site));
    Ok(Some(found.map(|(id, key, _)| (id, key, true)).collect()))
}

fn is_of(filter: &Filter, site: &str) -> bool {
    filter.sites.as_ref().is_none_or(|sites| sites.iter().any(|of| of == site))
}
