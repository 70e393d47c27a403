//! The versions of the schema, and the steps from each to the next. Two neighbouring versions of the program run
//! together: a step only adds what the former version does not miss, and what is no longer used is removed one
//! version later.

use super::db::{Db, get};
use super::error::Error;

/// The steps. A step never changes after it was on the main branch, because databases of its version exist.
const STEPS: [&str; 2] = [include_str!("migrations/0001.sql"), include_str!("migrations/0002.sql")];
/// The version of the schema that [`STEPS`] produce.
pub(super) const VERSION: i64 = STEPS.len() as i64;

/// The key of the advisory lock that only one migration at a time holds: "OShm".
const LOCK: i64 = 0x4f53_686d;

/// Brings the database to this version, in one transaction. A database of the next version stays as it is, because
/// its upgrade is in progress; one that is newer still is refused.
pub(super) async fn migrate(db: &Db) -> Result<(), Error> {
    db.batch("BEGIN").await?;
    let migrated = steps(db).await;
    db.batch(if migrated.is_ok() { "COMMIT" } else { "ROLLBACK" }).await?;
    migrated
}

async fn steps(db: &Db) -> Result<(), Error> {
    db.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await?;
    db.batch("CREATE TABLE IF NOT EXISTS schema_version (version bigint NOT NULL)").await?;
    let version: i64 = get(&db.one("SELECT coalesce(max(version), 0) FROM schema_version", &[]).await?, 0)?;
    if version > VERSION + 1 {
        return Err(Error::Newer { found: version, known: VERSION });
    }
    for (number, step) in (1_i64..).zip(STEPS).skip_while(|(number, _)| *number <= version) {
        db.batch(step).await?;
        db.execute("INSERT INTO schema_version VALUES ($1)", &[&number]).await?;
    }
    Ok(())
}
