//! A mark beside the database: the number of the last accepted purge. A database that was restored from a
//! backup, or that replaced the one in which purges were accepted, contains fewer purges than the mark states.
//! The missing ones were lost.

use crate::base::beside;
use rusqlite::{Connection, OptionalExtension};
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The mark of a store.
pub(super) struct Mark {
    file: File,
    /// The id of the database that the mark stands beside.
    installation: String,
    /// The number in the mark.
    last: i64,
    /// Whether the mark is ahead of the database. The mark then stays unchanged until this is resolved.
    is_behind: bool,
}

/// The placeholder for the installation in a mark that the database was behind, until this is resolved. No
/// installation has this name.
const NOBODY: &str = "-";

/// The content of a mark: the installation, and the number of the purge.
type Said = (String, i64);

impl Mark {
    /// Opens or creates the mark of the database in `path`.
    pub(super) fn open(path: &Path, connection: &Connection, installation: &str) -> io::Result<Self> {
        let path = beside(path, "-mark");
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let known = last_purge(connection).map_err(io::Error::other)?;
        let mut mark = Self { file, installation: installation.to_owned(), last: known, is_behind: false };
        match read(&text) {
            Some((of, last)) if last > 0 && (of != installation || last > known) => {
                (mark.last, mark.is_behind) = (last, true);
                // Purges that are accepted meanwhile may bring the database past the mark. If the process ended
                // then, the number alone would no longer reveal the loss.
                mark.write_as(NOBODY)?;
            }
            _ => mark.write()?,
        }
        Ok(mark)
    }

    /// Returns whether purges were accepted that the database does not contain.
    pub(super) fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// Records the purges that were committed. A mark that cannot be written lags behind: it may hide a loss,
    /// but causes none.
    pub(super) fn note(&mut self, connection: &Connection) {
        if self.is_behind {
            return;
        }
        if let Ok(last) = last_purge(connection)
            && last > self.last
        {
            self.last = last;
            if let Err(error) = self.write() {
                tracing::warn!(%error, "the mark beside the store cannot be written");
            }
        }
    }

    /// Records that the loss was resolved. From now on, the database continues with the numbers after the mark.
    pub(super) fn caught_up(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let last = last_purge(connection)?.max(self.last);
        let known =
            connection.execute("UPDATE sqlite_sequence SET seq = ?1 WHERE name = 'purges'", [last])?;
        if known == 0 {
            connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('purges', ?1)", [last])?;
        }
        (self.last, self.is_behind) = (last, false);
        self.write().map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
    }

    /// Writes the mark in one piece of a fixed length, which replaces the former one. The write is not forced to
    /// the disk: after a power failure the mark may be older than the database, which only hides a loss.
    fn write(&self) -> io::Result<()> {
        self.write_as(&self.installation)
    }

    fn write_as(&self, installation: &str) -> io::Result<()> {
        let width = self.installation.len();
        self.file.write_all_at(format!("{installation:-<width$} {:020}\n", self.last).as_bytes(), 0)
    }
}

/// Locks the mark, which the writer and readers share.
pub(super) fn locked(mark: &Mutex<Mark>) -> MutexGuard<'_, Mark> {
    mark.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read(text: &str) -> Option<Said> {
    let (installation, number) = text.trim_end().split_once(' ')?;
    Some((installation.to_owned(), number.parse().ok()?))
}

/// Returns the number of the last purge that was accepted, even if it has been removed.
fn last_purge(connection: &Connection) -> rusqlite::Result<i64> {
    let last = connection
        .prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'purges'")?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(last.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A database with this number of purges, and the mark beside it.
    fn open(dir: &Path, purges: i64, installation: &str) -> (Connection, Mark) {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE purges (n INTEGER PRIMARY KEY AUTOINCREMENT)").unwrap();
        for _ in 0..purges {
            connection.execute("INSERT INTO purges DEFAULT VALUES", []).unwrap();
        }
        let mark = Mark::open(&dir.join("store.db"), &connection, installation).unwrap();
        (connection, mark)
    }

    fn said(dir: &Path) -> Option<Said> {
        read(&std::fs::read_to_string(dir.join("store.db-mark")).unwrap())
    }

    #[test]
    fn a_database_that_knows_less_is_behind_until_that_is_dealt_with() {
        let dir = tempfile::tempdir().unwrap();
        let (connection, mut mark) = open(dir.path(), 2, "a");
        assert!(!mark.is_behind(), "there was no mark before");
        connection.execute("INSERT INTO purges DEFAULT VALUES", []).unwrap();
        mark.note(&connection);
        assert_eq!(said(dir.path()), Some(("a".into(), 3)));
        assert!(!open(dir.path(), 3, "a").1.is_behind());

        let (connection, mut mark) = open(dir.path(), 1, "a");
        assert!(mark.is_behind(), "a backup");
        connection.execute("INSERT INTO purges DEFAULT VALUES", []).unwrap();
        mark.note(&connection);
        assert!(open(dir.path(), 2, "a").1.is_behind(), "nobody has dealt with it");
        assert!(open(dir.path(), 4, "a").1.is_behind(), "nor has it been by purges that came since");
        mark.caught_up(&connection).unwrap();
        assert_eq!(
            (last_purge(&connection).unwrap(), mark.is_behind()),
            (3, false),
            "no number is given twice"
        );
        connection.execute("INSERT INTO purges DEFAULT VALUES", []).unwrap();
        mark.note(&connection);
        assert_eq!(said(dir.path()), Some(("a".into(), 4)));

        let (connection, mut mark) = open(dir.path(), 0, "b");
        assert!(mark.is_behind(), "another database");
        mark.caught_up(&connection).unwrap();
        assert_eq!(said(dir.path()), Some(("b".into(), 4)));
        assert_eq!(last_purge(&connection).unwrap(), 4);
    }

    #[test]
    fn what_is_no_mark_says_nothing() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["", "a", "a b\n", "\n\n"] {
            std::fs::write(dir.path().join("store.db-mark"), text).unwrap();
            assert!(!open(dir.path(), 1, "a").1.is_behind(), "{text:?}");
            assert_eq!(said(dir.path()), Some(("a".into(), 1)));
        }
    }
}
