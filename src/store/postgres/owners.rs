//! Who sends to the CDNs of an account. One member does, so that the account's rate holds for the whole fleet. It owns
//! the account for the time of a lease, by the database's clock, and the accounts are spread over the members.

use super::db::{Db, get};
use super::error::Error;
use std::time::Duration;
use uuid::Uuid;

/// Renews the ownership of accounts, and takes those that nobody owns: as many as is this run's share, or any that
/// stayed unowned for another lease. Returns the accounts that this run owns.
pub(super) async fn renew(
    db: &Db,
    accounts: &[String],
    run: Uuid,
    lease: Duration,
) -> Result<Vec<String>, Error> {
    let lease_ms = i64::try_from(lease.as_millis()).unwrap_or(i64::MAX);
    let accounts = accounts.to_vec();
    db.execute(
        "INSERT INTO accounts (account, owner_until) SELECT name, clock_timestamp() FROM unnest($1) AS name
         WHERE NOT EXISTS (SELECT 1 FROM accounts WHERE account = name) ORDER BY name ON CONFLICT DO NOTHING",
        &[&accounts],
    )
    .await?;
    let rows = db
        .query(
            "WITH live AS (SELECT greatest(count(*), 1) AS members FROM members
                           WHERE lease_until > clock_timestamp() AND NOT draining),
                  free AS (SELECT account, owner_until,
                                  row_number() OVER (ORDER BY hashtext(account || $2::text)) AS place
                           FROM accounts
                           WHERE account = ANY ($1) AND owner IS DISTINCT FROM $2
                             AND owner_until < clock_timestamp()),
                  mine AS (SELECT count(*) AS accounts FROM accounts WHERE owner = $2 AND account = ANY ($1)),
                  wanted AS (SELECT account FROM free, live, mine
                             WHERE place + mine.accounts <= ceil(cardinality($1)::float8 / live.members)
                                OR owner_until < clock_timestamp() - $3 * interval '1 ms'),
                  locked AS (SELECT account FROM accounts
                             WHERE account = ANY ($1)
                               AND (owner = $2 OR account IN (SELECT account FROM wanted)
                                                  AND owner_until < clock_timestamp())
                             ORDER BY account FOR UPDATE SKIP LOCKED)
             UPDATE accounts SET owner = $2, owner_until = clock_timestamp() + $3 * interval '1 ms',
                                 term = CASE WHEN owner = $2 THEN term ELSE term + 1 END
             FROM locked WHERE accounts.account = locked.account
               AND (owner = $2 OR owner_until < clock_timestamp())
             RETURNING accounts.account",
            &[&accounts, &run, &lease_ms],
        )
        .await?;
    rows.iter().map(|row| get(row, 0)).collect()
}

/// Gives up all accounts, so that others can take them at once.
pub(super) async fn release(db: &Db, run: Uuid) -> Result<(), Error> {
    db.execute("UPDATE accounts SET owner = NULL, owner_until = clock_timestamp() WHERE owner = $1", &[&run])
        .await
        .map(drop)
}
