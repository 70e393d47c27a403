//! Opening the file: one instance only, durable settings, the schema of this version.

use super::guard::Guard;
use super::mark::Mark;
use super::place::Place;
use super::shrinking;
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The version of the schema that [`STEPS`] produce, kept in `user_version`.
const VERSION: i32 = STEPS.len() as i32;
/// "OShm", kept in `application_id`, which marks the file as ours.
pub(super) const APPLICATION: i32 = 0x4f53_686d;

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The lock file cannot be written.
    #[error("cannot create the lock file {path}")]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The store's files cannot be opened or examined.
    #[error("cannot open the files of the store {path}")]
    Files {
        /// The database.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Another instance has the store open.
    #[error("{path} is in use by another instance; each instance needs a store of its own")]
    InUse {
        /// The database.
        path: PathBuf,
    },
    /// SQLite cannot open the database.
    #[error("cannot open the store {path}")]
    Database {
        /// The database; `:memory:` if it has no file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: rusqlite::Error,
    },
    /// The database belongs to another program.
    #[error("{path} is a database, but not a store of origin-shim")]
    Foreign {
        /// The database.
        path: PathBuf,
    },
    /// A newer origin-shim wrote the database.
    #[error(
        "{path} has format {found}, but this version knows formats up to {VERSION}; use the newer version"
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// The version of its format.
        found: i32,
    },
    /// The file system has no shared memory (a network disk), which the write-ahead log needs.
    #[error("{path} is on a file system without the locks that a write-ahead log needs; use a local disk")]
    NoWal {
        /// The database.
        path: PathBuf,
    },
    /// The system cannot start another thread.
    #[error("cannot start a thread of the store")]
    Thread(#[source] io::Error),
}

/// The connections to a file, and the locks that keep others out while they exist.
pub(super) struct Opened {
    pub(super) writer: Connection,
    pub(super) readers: Vec<Connection>,
    pub(super) guard: Guard,
    pub(super) place: Place,
    pub(super) mark: Mark,
    pub(super) installation: String,
}

/// Opens or creates the store in `path`, with this number of read-only connections.
pub(super) fn file(path: &Path, readers: usize) -> Result<Opened, OpenError> {
    let lock = lock(path)?;
    let database = |source| OpenError::Database { path: path.to_owned(), source };
    let guard = Guard::of(path)?;
    check_ours(&Connection::open(path).map_err(database)?, path)?;
    let guard = if shrinking::enable(path) {
        // The old guard belongs to the file that was replaced.
        drop(guard);
        Guard::of(path)?
    } else {
        guard
    };
    let mut writer = Connection::open(path).map_err(database)?;
    // SQLite accepts this only before the file has its first page.
    writer.pragma_update(None, "auto_vacuum", "INCREMENTAL").map_err(database)?;
    let mode: String =
        writer.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(database)?;
    if mode != "wal" {
        return Err(OpenError::NoWal { path: path.to_owned() });
    }
    configure(&writer, 16_384).map_err(database)?;
    migrate(&mut writer).map_err(database)?;

    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let reader = || {
        let reader = Connection::open_with_flags(path, flags)?;
        configure(&reader, 8_192)?;
        reader.pragma_update(None, "query_only", true)?;
        Ok(reader)
    };
    let readers = (0..readers).map(|_| reader()).collect::<rusqlite::Result<_>>().map_err(database)?;
    let installation = installation(&writer).map_err(database)?;
    let files = |source| OpenError::Files { path: path.to_owned(), source };
    let place = Place::of(path, lock).map_err(files)?;
    let mark = Mark::open(path, &writer, &installation).map_err(files)?;
    Ok(Opened { writer, readers, guard, place, mark, installation })
}

/// Opens an existing store for reading only, even if another process has it open. Returns `None` if there is no
/// store. No file is left beside it: without a log, no process has the store open, and SQLite then treats the
/// file as one that is never written (<https://sqlite.org/c3ref/open.html>, `immutable`).
pub(super) fn look(path: &Path) -> Result<Option<Connection>, OpenError> {
    let database = |source| OpenError::Database { path: path.to_owned(), source };
    if !path.exists() {
        return Ok(None);
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let name = percent_encode(path.as_os_str().as_bytes(), NON_ALPHANUMERIC);
    let parameters = if beside(path, "-wal").exists() { "" } else { "?immutable=1" };
    let connection =
        Connection::open_with_flags(format!("file:{name}{parameters}"), flags).map_err(database)?;
    connection.busy_timeout(Duration::from_secs(5)).map_err(database)?;
    check_ours(&connection, path)?;
    Ok(Some(connection))
}

/// Returns the id that the file was given when it was created.
pub(super) fn installation(connection: &Connection) -> rusqlite::Result<String> {
    connection.query_row("SELECT id FROM installation", [], |row| row.get(0))
}

/// Creates a store that ends with the process.
pub(super) fn memory() -> Result<(Connection, String), OpenError> {
    let database = |source| OpenError::Database { path: PathBuf::from(":memory:"), source };
    let mut connection = Connection::open_in_memory().map_err(database)?;
    configure(&connection, 16_384).map_err(database)?;
    migrate(&mut connection).map_err(database)?;
    let installation = installation(&connection).map_err(database)?;
    Ok((connection, installation))
}

/// Appends `ending` to the path.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Locks a file beside the database. The lock ends with the process, however that ends. Older versions use no
/// other lock. [`Guard`] still holds if this file is removed.
pub(super) fn lock(path: &Path) -> Result<File, OpenError> {
    let name = beside(path, "-lock");
    let failed = |source| OpenError::Lock { path: name.clone(), source };
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&name).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

fn check_ours(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let database = |source| OpenError::Database { path: path.to_owned(), source };
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let version = pragma("user_version").map_err(database)?;
    let application = pragma("application_id").map_err(database)?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(database)?;
    match (application, tables) {
        (APPLICATION, _) | (0, 0) if version <= VERSION => Ok(()),
        (APPLICATION, _) => Err(OpenError::Newer { path: path.to_owned(), found: version }),
        _ => Err(OpenError::Foreign { path: path.to_owned() }),
    }
}

/// Configures a connection. `synchronous = FULL` puts a commit on the disk before it is answered, and macOS
/// needs `fullfsync` for that.
fn configure(connection: &Connection, cache_kib: i64) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(64);
    // Without this guarantee of stable plans, each new value of a parameter causes its statement to be prepared
    // again.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // The data that a savepoint needs to undo its verb stays out of files.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "fullfsync", true)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "cache_size", -cache_kib)?;
    // A bulk purge makes the log grow. It shrinks again at the next checkpoint.
    connection.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)
}

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
fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    let version: i32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    for step in STEPS.iter().skip(usize::try_from(version).unwrap_or_default()) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}
