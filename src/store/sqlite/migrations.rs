//! The versions of the schema, and the steps from each to the next.

use rusqlite::Connection;

/// "OShm", kept in `application_id`, which marks the file as ours.
pub(super) const APPLICATION: i32 = 0x4f53_686d;
/// The version of the schema that [`STEPS`] produce, kept in `user_version`.
pub(super) const VERSION: i32 = STEPS.len() as i32;

/// Version 2: the results of verification.
const VERIFICATION: &str = "ALTER TABLE jobs ADD COLUMN verification TEXT;  -- fresh | stale | unknown
    ALTER TABLE jobs ADD COLUMN verified_ms INTEGER;";

/// Version 3: copies without our tags, and the jobs whose items reach them.
const UNTAGGED: &str = "CREATE TABLE untagged (
        site       TEXT NOT NULL,
        type       TEXT NOT NULL,     -- of the CDNs
        until_ms   INTEGER NOT NULL,  -- when the last of them ends
        longest_ms INTEGER NOT NULL,  -- the longest lifetime that one of them had
        PRIMARY KEY (site, type)
    ) WITHOUT ROWID;
    ALTER TABLE jobs ADD COLUMN untagged INTEGER NOT NULL DEFAULT 0;";

/// Version 4: a random id for each file, which names the installation in `CDN-Loop`. Also, for each purge, the
/// time of acceptance by the steady clock, which measures waiting.
const INSTALLATION_AND_STEADY: &str = "CREATE TABLE installation (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        id  TEXT NOT NULL
    );
    INSERT INTO installation VALUES (1, lower(hex(randomblob(8))));
    ALTER TABLE purges ADD COLUMN since_ms INTEGER NOT NULL DEFAULT 0;
    UPDATE purges SET since_ms = created_ms;
    ALTER TABLE heartbeat ADD COLUMN boot TEXT;      -- the machine's run
    ALTER TABLE heartbeat ADD COLUMN up_ms INTEGER;  -- for how long it ran by then";

/// Version 5: the times of acceptance move to a table of their own, because a claim would otherwise also read
/// the purge's body of up to 8 MiB. Also the identity of each CDN, the purges that are being removed in parts,
/// and an index of jobs with leased sends, newest first.
const IDENTITY_AND_REMOVING: &str = "CREATE TABLE accepted (
        purge    INTEGER PRIMARY KEY REFERENCES purges (n) ON DELETE CASCADE,
        since_ms INTEGER NOT NULL
    );
    INSERT INTO accepted SELECT n, since_ms FROM purges;
    ALTER TABLE purges DROP COLUMN since_ms;
    ALTER TABLE cdns ADD COLUMN identity TEXT NOT NULL DEFAULT '';  -- '': not known, its name decides
    CREATE TABLE removing (purge INTEGER PRIMARY KEY);
    DROP INDEX sends_leased;
    CREATE INDEX sends_leased ON sends (job) WHERE leased = 1;";

/// The additions of each version. A step never changes after it was on the main branch, because files of its
/// version exist.
pub(super) const STEPS: [&str; 5] =
    [include_str!("schema.sql"), VERIFICATION, UNTAGGED, INSTALLATION_AND_STEADY, IDENTITY_AND_REMOVING];

/// Migrates an older file to this version. All of its steps are one transaction, and each runs one time.
pub(super) fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    let version: i32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    for step in STEPS.iter().skip(usize::try_from(version).unwrap_or_default()) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}
