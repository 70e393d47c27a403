//! Locks of the database that verbs take for the time of their transaction. All changes of one queue are made one
//! after the other, as SQLite's only writer makes them; those of different queues are not held up. Locks are taken
//! in one order: names, queues by number, purges by number, counters.

use super::db::{Db, get};
use super::error::Error;
use crate::store::CdnKey;

/// The first of the keys: "OShm", above the numbers of all queues. The key itself is that of the queues' names.
const NAMES: i64 = 0x4f53_686d << 32;

/// Keeps the names of queues as they are.
pub(super) async fn names(db: &Db) -> Result<(), Error> {
    db.execute("SELECT pg_advisory_xact_lock_shared($1)", &[&NAMES]).await.map(drop)
}

/// Keeps everyone else away from all queues.
pub(super) async fn all(db: &Db) -> Result<(), Error> {
    db.execute("SELECT pg_advisory_xact_lock($1)", &[&NAMES]).await.map(drop)
}

/// Locks the queue of a CDN, and returns its number. `None` if the CDN was never used.
pub(super) async fn queue(db: &Db, key: &CdnKey) -> Result<Option<i64>, Error> {
    names(db).await?;
    let row = db
        .find(
            "SELECT id, pg_advisory_xact_lock($3 + id)::text FROM cdns WHERE site = $1 AND name = $2",
            &[&key.site, &key.cdn, &NAMES],
        )
        .await?;
    row.map(|row| get(&row, 0)).transpose()
}

/// Locks the queues of these numbers, in their order.
pub(super) async fn queues(db: &Db, cdns: &[i64]) -> Result<(), Error> {
    names(db).await?;
    let mut cdns = cdns.to_vec();
    cdns.sort_unstable();
    cdns.dedup();
    db.execute("SELECT pg_advisory_xact_lock($2 + id) FROM unnest($1) AS id", &[&cdns, &NAMES])
        .await
        .map(drop)
}
