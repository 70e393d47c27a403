//! Opening the file: one instance only, durable settings, the schema of this version.

use super::files::{OpenError, lock};
use super::guard::Guard;
use super::mark::Mark;
use super::migrations::{APPLICATION, VERSION, migrate};
use super::place::Place;
use super::shrinking;
use crate::base::beside;
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

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
