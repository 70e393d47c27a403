//! A mark beside the database: which purge was accepted last. A database that was put back from a backup, or is another one
//! than that in which purges were accepted, knows of fewer than the mark, and what it does not know was lost.

use super::open;
use rusqlite::{Connection, OptionalExtension};
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The mark of a store.
pub(super) struct Mark {
    file: File,
    /// Of the file that the mark stands beside.
    installation: String,
    /// What the mark says.
    last: i64,
    /// It says more than the database knows; it stays as it is until that is dealt with.
    is_behind: bool,
}

/// The installation of a mark that a database was behind, and that nobody has dealt with yet. No installation is called so.
const NOBODY: &str = "-";

/// What a mark says: the installation, and the number of the purge.
type Said = (String, i64);

impl Mark {
    /// Opens or makes the mark of the database in `path`.
    pub(super) fn open(path: &Path, connection: &Connection, installation: &str) -> io::Result<Self> {
        let path = open::beside(path, "-mark");
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let known = last_purge(connection).map_err(io::Error::other)?;
        let mut mark = Self { file, installation: installation.to_owned(), last: known, is_behind: false };
        match read(&text) {
            Some((of, last)) if last > 0 && (of != installation || last > known) => {
                (mark.last, mark.is_behind) = (last, true);
                // Purges that are accepted meanwhile may bring the database past the mark: were the process to end then,
                // the number alone would no longer tell.
                mark.write_as(NOBODY)?;
            }
            _ => mark.write()?,
        }
        Ok(mark)
    }

    /// Whether purges were accepted that the database does not know of.
    pub(super) fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// Notes what was committed. A mark that cannot be written is one that is behind itself: it hides a loss, but makes none.
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

    /// What was lost has been dealt with: from now on the database goes on with the numbers after it.
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

    /// In one piece of a fixed length, which replaces the former one. Not forced to the disk: after a power failure it may be
    /// older than the database, which only hides a loss.
    fn write(&self) -> io::Result<()> {
        self.write_as(&self.installation)
    }

    fn write_as(&self, installation: &str) -> io::Result<()> {
        let width = self.installation.len();
        self.file.write_all_at(format!("{installation:-<width$} {:020}\n", self.last).as_bytes(), 0)
    }
}

/// The mark, which the writer and who asks share.
pub(super) fn locked(mark: &Mutex<Mark>) -> MutexGuard<'_, Mark> {
    mark.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read(text: &str) -> Option<Said> {
    let (installation, number) = text.trim_end().split_once(' ')?;
    Some((installation.to_owned(), number.parse().ok()?))
}

/// The number of the last purge that was accepted, those that are removed among them.
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

    /// A database with this number of purges, the mark beside it, and whether it is behind.
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
