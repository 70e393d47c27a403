//! The log of accepted purges, as a member reads it that must apply them.

use super::codes::coded;
use super::db::{Db, count, get};
use super::error::Error;
use crate::cdn::Item;
use crate::purge::{JobPlan, PurgeRequest};
use crate::store::Lane;
use crate::store::stored::request;
use std::collections::HashMap;
use uuid::Uuid;

/// A purge that some member accepted.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The purge's number.
    pub n: i64,
    /// The entry's own id, which tells it from one that had the same number before a failover.
    pub entry: Uuid,
    /// Whether this run accepted it, and applied it before.
    pub is_own: bool,
    /// The purge's id.
    pub id: String,
    /// The site's name.
    pub site: String,
    /// The request.
    pub request: PurgeRequest,
    /// The jobs as they were planned.
    pub jobs: Vec<JobPlan>,
}

/// The most items of one answer, unless a single purge has more.
const ITEMS: i64 = 100_000;

/// Returns the purges after number `seen`, in their order: at most `most`, with a limited number of items.
pub(super) async fn after(db: &Db, seen: i64, most: usize, run: Uuid) -> Result<Vec<Entry>, Error> {
    let rows = db
        .query(
            "SELECT n, entry, coalesce(log.run = $2, false), purges.id, site, head, body, key FROM
                 (SELECT *, sum(size) OVER (ORDER BY n) - size AS before FROM
                     (SELECT log.*, (SELECT coalesce(sum(items), 0)::int8 FROM jobs WHERE jobs.purge = log.purge)
                                 AS size
                      FROM log WHERE n > $1 ORDER BY n LIMIT $3) AS sized) AS log
                 JOIN purges ON purges.key = log.purge
             WHERE before < $4 ORDER BY n",
            &[&seen, &run, &count(most), &ITEMS],
        )
        .await?;
    let keys: Vec<i64> = rows.iter().map(|row| get(row, 7)).collect::<Result<_, _>>()?;
    let mut jobs = jobs(db, &keys).await?;
    rows.iter()
        .map(|row| {
            Ok(Entry {
                n: get(row, 0)?,
                entry: get(row, 1)?,
                is_own: get(row, 2)?,
                id: get(row, 3)?,
                site: get(row, 4)?,
                request: request(get(row, 5)?, get(row, 6)?)?,
                jobs: jobs.remove(&get(row, 7)?).unwrap_or_default(),
            })
        })
        .collect()
}

/// Returns the planned jobs of these purges, in their order.
async fn jobs(db: &Db, purges: &[i64]) -> Result<HashMap<i64, Vec<JobPlan>>, Error> {
    let purges = purges.to_vec();
    let items = db
        .query(
            "SELECT job, items.kind, items.hard, items.value
             FROM jobs JOIN items ON items.job = jobs.id AND items.n < jobs.items
             WHERE purge = ANY ($1) ORDER BY job, n",
            &[&purges],
        )
        .await?;
    let mut of_jobs: HashMap<i64, Vec<Item>> = HashMap::new();
    for row in &items {
        let item = Item { kind: coded(row, 1)?, hard: get(row, 2)?, value: get(row, 3)? };
        of_jobs.entry(get(row, 0)?).or_default().push(item);
    }
    let rows = db
        .query(
            "SELECT jobs.id, purge, cdns.name, identity, type, lane, untagged, fallback, repeat_after_ms
             FROM jobs JOIN cdns ON cdns.id = jobs.cdn WHERE purge = ANY ($1) ORDER BY jobs.id",
            &[&purges],
        )
        .await?;
    let mut jobs: HashMap<i64, Vec<JobPlan>> = HashMap::new();
    for row in &rows {
        let plan = JobPlan {
            cdn: get(row, 2)?,
            identity: get::<&str>(row, 3)?.into(),
            cdn_type: coded(row, 4)?,
            items: of_jobs.remove(&get(row, 0)?).unwrap_or_default(),
            everything: coded::<Lane>(row, 5)? == Lane::Site,
            untagged: get(row, 6)?,
            fallback: get(row, 7)?,
            repeat_after_ms: get(row, 8)?,
        };
        jobs.entry(get(row, 1)?).or_default().push(plan);
    }
    Ok(jobs)
}
