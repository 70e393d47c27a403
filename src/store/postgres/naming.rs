//! The names of queues ([`crate::store::names`]) in the database.

use super::codes::Coded;
use super::db::{Db, get};
use super::error::Error;
use super::locks;
use crate::cdn::Identity;
use crate::rewrite::CdnType;
use crate::store::names::{Named, Queue, named};
use crate::store::{CdnKey, Moved};

/// Gives every queue its configured name, or that of an orphan. Returns the renamed queues that have jobs
/// waiting.
pub(super) async fn name(db: &Db, configured: &[(CdnKey, Identity)]) -> Result<Vec<Moved>, Error> {
    // Usually there is nothing to do, and nobody is held up.
    if named(queues(db).await?, configured).iter().all(|named| !changes(named)) {
        return Ok(Vec::new());
    }
    locks::all(db).await?;
    let named = named(queues(db).await?, configured);
    // All old names are freed before the first new one is given, because two queues may swap names.
    let old: Vec<i64> = named.iter().flat_map(Named::renamed).map(|queue| queue.id).collect();
    db.execute("UPDATE cdns SET name = ' ' || id WHERE id = ANY ($1)", &[&old]).await?;
    let mut moved = Vec::new();
    for of_name in named.iter().filter(|named| changes(named)) {
        moved.extend(of_name.moved());
        let [first, others @ ..] = of_name.queues.as_slice() else { continue };
        for other in others {
            merge(db, other.id, first.id).await?;
        }
        db.execute(
            "UPDATE cdns SET name = $2, identity = $3 WHERE id = $1",
            &[&first.id, &of_name.name.cdn, &of_name.identity.to_string()],
        )
        .await?;
    }
    Ok(moved)
}

/// Returns whether anything of these queues differs from what it should be.
fn changes(named: &Named) -> bool {
    named.queues.len() > 1
        || named.queues.iter().any(|queue| queue.key != named.name || queue.identity != named.identity)
}

async fn queues(db: &Db) -> Result<Vec<Queue>, Error> {
    let rows = db
        .query(
            "SELECT id, site, name, identity, jobs,
                    (SELECT type FROM jobs WHERE jobs.cdn = cdns.id AND outcome IS NULL LIMIT 1)
             FROM cdns ORDER BY id",
            &[],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Queue {
                id: get(row, 0)?,
                key: CdnKey { site: get(row, 1)?, cdn: get(row, 2)? },
                identity: get::<&str>(row, 3)?.into(),
                jobs: get(row, 4)?,
                waits_for: CdnType::read(row, 5)?,
            })
        })
        .collect()
}

/// Moves everything of one queue into another.
async fn merge(db: &Db, from: i64, into: i64) -> Result<(), Error> {
    for table in ["jobs", "sends", "works"] {
        db.execute(&format!("UPDATE {table} SET cdn = $2 WHERE cdn = $1"), &[&from, &into]).await?;
    }
    db.execute(
        "UPDATE cdns SET jobs = cdns.jobs + other.jobs, pending = cdns.pending + other.pending,
                paused_by = coalesce(cdns.paused_by, other.paused_by),
                paused_reason = coalesce(cdns.paused_reason, other.paused_reason)
         FROM cdns AS other WHERE other.id = $1 AND cdns.id = $2",
        &[&from, &into],
    )
    .await?;
    db.execute("DELETE FROM cdns WHERE id = $1", &[&from]).await?;
    Ok(())
}

/// Returns the id of the queue of a CDN for which a purge was planned, and creates the queue on first use. If
/// another CDN has its name by now, the queue is named after its identity.
pub(super) async fn intern(db: &Db, key: &CdnKey, identity: &Identity) -> Result<i64, Error> {
    let text = identity.to_string();
    if !identity.is_unknown()
        && let Some((id, _)) = find(db, key, "identity", &text).await?
    {
        return Ok(id);
    }
    match find(db, key, "name", &key.cdn).await? {
        None => insert(db, key, &key.cdn, &text).await,
        Some((id, known)) if known.is_unknown() && !identity.is_unknown() => {
            db.execute("UPDATE cdns SET identity = $2 WHERE id = $1 AND identity = ''", &[&id, &text])
                .await?;
            Ok(id)
        }
        Some((id, known)) if known.is_same(identity) => Ok(id),
        Some(_) => insert(db, key, &text, &text).await,
    }
}

async fn find(db: &Db, key: &CdnKey, column: &str, value: &str) -> Result<Option<(i64, Identity)>, Error> {
    let row = db
        .find(
            &format!(
                "SELECT id, identity FROM cdns WHERE site = $1 AND {column} = $2 ORDER BY name <> $3 LIMIT 1"
            ),
            &[&key.site, &value, &key.cdn],
        )
        .await?;
    row.map(|row| Ok((get(&row, 0)?, Identity::from(get::<&str>(&row, 1)?)))).transpose()
}

/// Creates a queue, or returns the one that another transaction created meanwhile.
async fn insert(db: &Db, key: &CdnKey, name: &str, identity: &str) -> Result<i64, Error> {
    let inserted = db
        .find(
            "INSERT INTO cdns (site, name, identity) VALUES ($1, $2, $3)
             ON CONFLICT (site, name) DO NOTHING RETURNING id",
            &[&key.site, &name, &identity],
        )
        .await?;
    match inserted {
        Some(row) => get(&row, 0),
        None => {
            let select = "SELECT id FROM cdns WHERE site = $1 AND name = $2";
            get(&db.one(select, &[&key.site, &name]).await?, 0)
        }
    }
}

/// Returns the id of a CDN, if it was ever used.
pub(super) async fn number(db: &Db, key: &CdnKey) -> Result<Option<i64>, Error> {
    let row = db.find("SELECT id FROM cdns WHERE site = $1 AND name = $2", &[&key.site, &key.cdn]).await?;
    row.map(|row| get(&row, 0)).transpose()
}

/// Adds to the numbers of jobs and of pending items of these CDNs, in the order of their numbers.
pub(super) async fn count(db: &Db, cdns: &[(i64, i64, i64)]) -> Result<(), Error> {
    if cdns.is_empty() {
        return Ok(());
    }
    let column = |of: fn(&(i64, i64, i64)) -> i64| cdns.iter().map(of).collect::<Vec<i64>>();
    db.execute(
        "WITH locked AS (SELECT id FROM cdns WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE)
         UPDATE cdns SET jobs = cdns.jobs + more.jobs, pending = cdns.pending + more.pending
         FROM unnest($1, $2, $3) AS more (id, jobs, pending) JOIN locked ON locked.id = more.id
         WHERE cdns.id = more.id",
        &[&column(|cdn| cdn.0), &column(|cdn| cdn.1), &column(|cdn| cdn.2)],
    )
    .await
    .map(drop)
}
