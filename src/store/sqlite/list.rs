//! Lists of purges. The cost of a list is bounded by the purges that it examines, not only by those that match:
//! a filter for rare purges yields a short page and the place at which to continue.

use super::codes::Code;
use super::read::{self, LISTED};
use super::sweep::SEEN;
use crate::purge::State;
use crate::store::{Filter, Listed};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::{BinaryHeap, HashSet};

/// The most purges that one list examines in addition to those that it shows.
pub(super) const LOOKED_AT: usize = 1_000;
/// An id greater than all others.
const LAST: &str = "\u{10ffff}";

pub(super) fn list(connection: &Connection, filter: &Filter) -> rusqlite::Result<Listed> {
    let page = find(connection, filter)?;
    let mut purges = Vec::with_capacity(page.numbers.len());
    for n in page.numbers {
        purges.extend(read::numbered(connection, n, LISTED)?);
    }
    Ok(Listed { purges, next: page.next })
}

/// The purges of a page.
#[derive(Default)]
struct Page {
    numbers: Vec<i64>,
    next: Option<String>,
}

const UNDER_WAY: &str = "purges INDEXED BY purges_under_way WHERE outcome IS NULL";
/// The condition of the index must appear word for word (<https://sqlite.org/partialindex.html>).
const UNSUCCESSFUL: &str = "purges INDEXED BY purges_unsuccessful WHERE outcome IN ('failed', 'cancelled')";

fn find(connection: &Connection, filter: &Filter) -> rusqlite::Result<Page> {
    match filter.state {
        None => newest(connection, filter),
        Some(State::Failed) => walk(connection, filter, &format!("{UNSUCCESSFUL} AND outcome = 'failed'")),
        Some(State::Cancelled) => {
            walk(connection, filter, &format!("{UNSUCCESSFUL} AND outcome = 'cancelled'"))
        }
        Some(State::Done) => walk(connection, filter, "purges WHERE 1"),
        Some(State::Sending) => match sending(connection, filter)? {
            Some(page) => Ok(page),
            None => walk(connection, filter, UNDER_WAY),
        },
        Some(State::Pending | State::Retrying | State::Paused) => walk(connection, filter, UNDER_WAY),
    }
}

fn is_of(filter: &Filter, site: &str) -> bool {
    filter.sites.as_ref().is_none_or(|sites| sites.iter().any(|of| of == site))
}

/// Lists purges in any state, site by site, so that each site is a range of one index, however many other purges
/// there are.
fn newest(connection: &Connection, filter: &Filter) -> rusqlite::Result<Page> {
    let mut next = connection.prepare_cached(&match filter.sites {
        None => format!(
            "SELECT id, n FROM purges WHERE id < ?2 AND {SEEN} AND ?1 IS NULL ORDER BY id DESC LIMIT 1"
        ),
        Some(_) => format!(
            "SELECT id, n FROM purges WHERE site = ?1 AND id < ?2 AND {SEEN} ORDER BY id DESC LIMIT 1"
        ),
    })?;
    let mut before = |site: Option<String>, id: &str| {
        let found =
            next.query_row(params![site, id], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)));
        Ok::<_, rusqlite::Error>(found.optional()?.map(|(id, n)| (id, n, site)))
    };
    let first = filter.before.as_deref().unwrap_or(LAST);
    let sites: HashSet<Option<String>> = match &filter.sites {
        None => HashSet::from([None]),
        Some(sites) => sites.iter().cloned().map(Some).collect(),
    };
    let mut heads = BinaryHeap::new();
    for site in sites {
        heads.extend(before(site, first)?);
    }
    let (mut page, mut last) = (Page::default(), None);
    while let Some((id, n, site)) = heads.pop() {
        if page.numbers.len() == filter.limit {
            page.next = last;
            break;
        }
        heads.extend(before(site, &id)?);
        page.numbers.push(n);
        last = Some(id);
    }
    Ok(page)
}

/// Examines one purge after the other.
fn walk(connection: &Connection, filter: &Filter, from: &str) -> rusqlite::Result<Page> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT n, id, site, outcome FROM {from} AND id < ?1 AND {SEEN} ORDER BY id DESC"
    ))?;
    let mut rows = statement.query([filter.before.as_deref().unwrap_or(LAST)])?;
    let (mut page, mut looked_at, mut last) = (Page::default(), 0, None);
    while let Some(row) = rows.next()? {
        if looked_at == LOOKED_AT {
            page.next = last;
            break;
        }
        looked_at += 1;
        let n = row.get(0)?;
        if is_of(filter, row.get_ref(2)?.as_str()?) {
            let outcome: Option<Code<State>> = row.get(3)?;
            let state = match outcome {
                Some(Code(state)) => state,
                None => read::state(connection, n)?,
            };
            if filter.state == Some(state) {
                // The purge matches, but the page is full.
                if page.numbers.len() == filter.limit {
                    page.next = last;
                    break;
                }
                page.numbers.push(n);
            }
        }
        last = Some(row.get(1)?);
    }
    Ok(page)
}

/// Lists purges with leased sends, or returns `None` if there are too many to examine all.
fn sending(connection: &Connection, filter: &Filter) -> rusqlite::Result<Option<Page>> {
    let mut leased = connection
        .prepare_cached("SELECT max(job) FROM sends INDEXED BY sends_leased WHERE leased = 1 AND job < ?1")?;
    let mut purge = connection.prepare_cached(&format!(
        "SELECT id, n, site FROM purges WHERE n = (SELECT purge FROM jobs WHERE id = ?1) AND outcome IS NULL AND {SEEN}"
    ))?;
    let (mut found, mut below) = (BinaryHeap::new(), i64::MAX);
    let mut seen = HashSet::new();
    for looked_at in 0.. {
        let Some(job) = leased.query_row([below], |row| row.get::<_, Option<i64>>(0))? else { break };
        if looked_at == LOOKED_AT {
            return Ok(None);
        }
        below = job;
        let of: Option<(String, i64, String)> =
            purge.query_row([job], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional()?;
        let Some((id, n, site)) = of else { continue };
        let is_next = filter.before.as_ref().is_none_or(|before| id < *before);
        if is_next && is_of(filter, &site) && seen.insert(n) && read::state(connection, n)? == State::Sending
        {
            found.push((id, n));
        }
    }
    let (mut page, mut last) = (Page::default(), None);
    while let Some((id, n)) = found.pop() {
        if page.numbers.len() == filter.limit {
            page.next = last;
            break;
        }
        page.numbers.push(n);
        last = Some(id);
    }
    Ok(Some(page))
}
