//! Transactions on a lane's connection. A transaction is run by the lane and never dropped midway, which would leave
//! it open.

use super::db::Db;
use super::error::Error;
use super::server::Link;
use std::pin::Pin;
use std::time::Duration;
use tokio::time::timeout;

/// The time for a commit, which may wait for a standby. After that, the caller is told that the outcome is not known.
/// The commit itself goes on: cancelling it would commit on the primary only
/// (<https://www.postgresql.org/docs/current/runtime-config-wal.html#GUC-SYNCHRONOUS-COMMIT>).
const COMMIT: Duration = Duration::from_secs(5);

/// How often a transaction is run again that another one made fail.
const TRIES: u32 = 8;

/// How a transaction begins. One that stops midway, because its process was stopped, must not hold up the others. A
/// commit is durable, whatever is configured for the role or the database.
const BEGIN: &str =
    "BEGIN; SET LOCAL idle_in_transaction_session_timeout = '5s'; SET LOCAL lock_timeout = '8s';
    SELECT set_config('synchronous_commit', 'on', true)
        WHERE current_setting('synchronous_commit') IN ('off', 'local')";

/// The result of a step of a transaction.
pub(super) type Step<'t, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 't>>;

/// What a transaction does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A change.
    Write,
    /// A change of which nothing may remain.
    Rehearsal,
    /// Statements that read, and that all see one state.
    Read,
    /// A single statement that reads.
    Statement,
}

/// Runs `work` in a transaction, again if it fails because of another transaction.
pub(super) async fn run<T: Send>(
    link: &mut Link,
    kind: Kind,
    work: &(dyn for<'t> Fn(&'t Db) -> Step<'t, T> + Send + Sync),
) -> Result<T, Error> {
    let mut tries = 0;
    loop {
        tries += 1;
        let db = link.take().await?;
        if let Some(begin) = begin(kind)
            && let Err(error) = db.batch(begin).await
        {
            // The connection ended while it was not in use: there will be another one.
            if error.is_fatal() && tries == 1 {
                continue;
            }
            return Err(error);
        }
        match work(&db).await {
            Ok(value) => {
                end(link, db, kind).await?;
                return Ok(value);
            }
            Err(error) => {
                if !error.is_fatal() && (kind == Kind::Statement || db.batch("ROLLBACK").await.is_ok()) {
                    link.put(db);
                }
                if !error.is_conflict() || tries == TRIES {
                    return Err(error);
                }
            }
        }
    }
}

fn begin(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Write | Kind::Rehearsal => Some(BEGIN),
        Kind::Read => Some("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"),
        Kind::Statement => None,
    }
}

async fn end(link: &mut Link, db: Db, kind: Kind) -> Result<(), Error> {
    match kind {
        Kind::Write => return commit(link, db).await,
        Kind::Rehearsal => db.batch("ROLLBACK").await?,
        Kind::Read => db.batch("COMMIT").await?,
        Kind::Statement => {}
    }
    link.put(db);
    Ok(())
}

/// Commits, within a limited time.
async fn commit(link: &mut Link, db: Db) -> Result<(), Error> {
    db.warnings();
    let mut committing = tokio::spawn(async move {
        let committed = db.batch("COMMIT").await;
        (db, committed)
    });
    let in_doubt = |error| Error::InDoubt(Box::new(error));
    let Ok(committed) = timeout(COMMIT, &mut committing).await else {
        return Err(in_doubt(Error::Undecided(COMMIT)));
    };
    let (db, committed) = committed.map_err(|_| in_doubt(Error::Closed))?;
    match committed {
        Err(error) if error.is_fatal() => return Err(in_doubt(error)),
        Err(error) => {
            link.put(db);
            return Err(error);
        }
        Ok(()) => {}
    }
    let warnings = db.warnings();
    link.put(db);
    if warnings.is_empty() { Ok(()) } else { Err(in_doubt(Error::NotDurable(warnings.join("; ")))) }
}
