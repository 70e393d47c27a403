//! Membership. An instance takes part as long as it renews its row in time, by the database's clock. Each purge waits
//! for all that take part (`awaited.rs`), so one that stays away holds up purges only until its row is removed.

use super::awaited;
use super::db::{Db, get};
use super::error::Error;
use super::follow_up;
use super::locks;
use std::time::Duration;
use uuid::Uuid;

/// How an instance takes part.
#[derive(Clone, Debug)]
pub struct Membership {
    /// How long it takes part without renewing this.
    pub lease: Duration,
    /// The version of the program.
    pub version: &'static str,
    /// A digest of the configuration, so that differing ones are seen.
    pub config_hash: Vec<u8>,
    /// How long a response may take that began within the lease, in milliseconds.
    pub max_response_ms: i64,
}

/// The end of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The number of the last purge.
    pub n: i64,
    /// The id of its entry.
    pub entry: Uuid,
}

/// An instance that takes part, as the others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The member's run.
    pub run: Uuid,
    /// The instance's name.
    pub instance: String,
    /// The version of its program.
    pub version: String,
    /// The digest of its configuration.
    pub config_hash: Vec<u8>,
    /// The number of the last purge that it has applied.
    pub seen: i64,
    /// How many milliseconds are left of its lease; negative if it has lapsed.
    pub left_ms: i64,
    /// Whether it is about to end.
    pub draining: bool,
}

/// Begins to take part, and returns the end of the log. A purge with a higher number waits for this run.
pub(super) async fn join(db: &Db, run: Uuid, instance: &str, how: &Membership) -> Result<Head, Error> {
    let row = db.one("SELECT n, entry FROM log_head FOR UPDATE", &[]).await?;
    let head = Head { n: get(&row, 0)?, entry: get(&row, 1)? };
    db.execute(
        "INSERT INTO members
             (run, instance, lease_until, seen, joined_n, version, config_hash, max_response_ms)
         VALUES ($1, $2, clock_timestamp() + $3 * interval '1 ms', $4, $4, $5, $6, $7)
         ON CONFLICT (run) DO UPDATE SET lease_until = excluded.lease_until, seen = excluded.seen,
             joined_n = excluded.joined_n, beat = members.beat + 1",
        &[&run, &instance, &lease_ms(how), &head.n, &how.version, &how.config_hash, &how.max_response_ms],
    )
    .await?;
    Ok(head)
}

fn lease_ms(how: &Membership) -> i64 {
    i64::try_from(how.lease.as_millis()).unwrap_or(i64::MAX)
}

/// Renews the lease, and tells the others what this run has applied. Returns the end of the log, or `None` if this run
/// takes part no more.
pub(super) async fn renew(db: &Db, run: Uuid, how: &Membership, seen: i64) -> Result<Option<Head>, Error> {
    let row = db
        .find(
            "UPDATE members SET lease_until = clock_timestamp() + $2 * interval '1 ms', seen = $3, beat = beat + 1
             FROM log_head WHERE run = $1 RETURNING n, entry",
            &[&run, &lease_ms(how), &seen],
        )
        .await?;
    row.map(|row| Ok(Head { n: get(&row, 0)?, entry: get(&row, 1)? })).transpose()
}

/// Returns all members, by name.
pub(super) async fn all(db: &Db) -> Result<Vec<Member>, Error> {
    let rows = db
        .query(
            "SELECT run, instance, version, config_hash, seen, draining,
                    (extract(epoch FROM lease_until - clock_timestamp()) * 1000)::int8
             FROM members ORDER BY instance, run",
            &[],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Member {
                run: get(row, 0)?,
                instance: get(row, 1)?,
                version: get(row, 2)?,
                config_hash: get(row, 3)?,
                seen: get(row, 4)?,
                draining: get(row, 5)?,
                left_ms: get(row, 6)?,
            })
        })
        .collect()
}

/// The condition on members whose lease has lapsed for so long that all their responses have ended. The lease is
/// counted twice, because a failover may have forgotten a renewal. Right after its start, a server does not know how
/// long it was away.
const GONE: &str =
    "lease_until + max_response_ms * interval '1 ms' + $1 * interval '1 ms' < clock_timestamp()
     AND pg_postmaster_start_time() + $1 * interval '1 ms' < clock_timestamp()";

/// Removes the members that are gone, and releases what waited for them. Returns their names.
pub(super) async fn remove_gone(db: &Db, how: &Membership, now_ms: i64) -> Result<Vec<String>, Error> {
    let rows = db
        .query(
            &format!("SELECT run, instance, beat FROM members WHERE {GONE} ORDER BY run"),
            &[&lease_ms(how)],
        )
        .await?;
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    locks::all(db).await?;
    let mut removed = Vec::new();
    for row in &rows {
        let run: Uuid = get(row, 0)?;
        // It may have renewed its lease meanwhile.
        let gone = db
            .execute("DELETE FROM members WHERE run = $1 AND beat = $2", &[&run, &get::<i64>(row, 2)?])
            .await?;
        if gone > 0 {
            release(db, run, (now_ms, now_ms)).await?;
            removed.push(get(row, 1)?);
        }
    }
    Ok(removed)
}

/// Ends taking part. `due_ms` is when everything that this run sent has arrived.
pub(super) async fn leave(db: &Db, run: Uuid, (now_ms, due_ms): (i64, i64)) -> Result<(), Error> {
    locks::all(db).await?;
    db.execute("DELETE FROM members WHERE run = $1", &[&run]).await?;
    release(db, run, (now_ms, due_ms)).await
}

/// Removes the former runs of this instance, which have ended. What they sent arrives within the given time.
pub(super) async fn succeed(
    db: &Db,
    (run, instance): (Uuid, &str),
    (now_ms, due_ms): (i64, i64),
) -> Result<(), Error> {
    let rows = db
        .query("DELETE FROM members WHERE instance = $1 AND run <> $2 RETURNING run", &[&instance, &run])
        .await?;
    for row in &rows {
        release(db, get(row, 0)?, (now_ms, due_ms)).await?;
    }
    Ok(())
}

/// Releases what waits for a run of which nothing is on its way any more at this moment.
async fn release(db: &Db, run: Uuid, (now_ms, due_ms): (i64, i64)) -> Result<(), Error> {
    let rows = db.query("SELECT DISTINCT job FROM awaited WHERE run = $1 ORDER BY job", &[&run]).await?;
    let jobs: Vec<i64> = rows.iter().map(|row| get(row, 0)).collect::<Result<_, _>>()?;
    awaited::applied(db, &jobs, run, (now_ms, due_ms)).await?;
    follow_up::nobody_waits(db, due_ms, &[run], 0).await?;
    db.execute(
        "UPDATE sends SET leased = false, run = NULL, due_ms = 0, absorber = NULL, absorber_attempt = NULL
         WHERE leased AND run = $1",
        &[&run],
    )
    .await
    .map(drop)
}
