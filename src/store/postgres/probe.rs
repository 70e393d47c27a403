//! Whether the database still accepts purges: one is accepted for each of some CDNs and taken back, and a row is
//! committed. Committing alone would prove nothing about a table that is broken or of another shape.

use super::db::{Db, get};
use super::enqueue::enqueue;
use super::error::Error;
use crate::store::CdnKey;
use crate::store::stored::rehearsal;
use uuid::Uuid;

/// The most CDNs in a rehearsal.
const MOST: i64 = 64;

/// Accepts purges, which the caller rolls back.
pub(super) async fn accept(db: &Db, now_ms: i64, run: Uuid) -> Result<(), Error> {
    let rows = db.query("SELECT site, name FROM cdns ORDER BY id DESC LIMIT $1", &[&MOST]).await?;
    let keys = rows.iter().map(|row| Ok(CdnKey { site: get(row, 0)?, cdn: get(row, 1)? }));
    let purges = rehearsal(keys.collect::<Result<_, Error>>()?, now_ms);
    enqueue(db, &purges.iter().collect::<Vec<_>>(), (run, 0)).await.map(drop)
}

/// Commits a row.
pub(super) async fn commit(db: &Db, now_ms: i64) -> Result<(), Error> {
    db.execute("UPDATE installation SET seen = $1", &[&now_ms]).await.map(drop)
}
