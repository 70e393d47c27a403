//! The files as they were when they were opened. SQLite continues to write to a file that has been removed:
//! commits succeed, but a restart finds nothing of them.

use super::files;
use crate::base::beside;
use rusqlite::{Connection, ffi};
use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Device and inode.
pub(super) type FileId = (u64, u64);

/// Returns the file that is now at this path.
pub(super) fn id(path: &Path) -> io::Result<FileId> {
    std::fs::metadata(path).map(|file| (file.dev(), file.ino()))
}

/// Returns the file of this handle.
pub(super) fn id_of(file: &File) -> io::Result<FileId> {
    file.metadata().map(|file| (file.dev(), file.ino()))
}

/// The store's files and their paths.
pub(super) struct Place {
    database: (PathBuf, FileId),
    /// The log and its index, which all connections share.
    beside: [(PathBuf, FileId); 2],
    lock: RefCell<File>,
}

impl Place {
    /// Records the files as they are now. Called after the first connection has opened the log. The holder of
    /// `lock` keeps other instances out.
    pub(super) fn of(path: &Path, lock: File) -> io::Result<Self> {
        let with_id = |path: PathBuf| id(&path).map(|id| (path, id));
        let beside = [with_id(beside(path, "-wal"))?, with_id(beside(path, "-shm"))?];
        Ok(Self { database: with_id(path.to_owned())?, beside, lock: RefCell::new(lock) })
    }

    /// Checks that the next start will find what is committed. Called outside of a transaction, before it and
    /// after it, and before the caller gets an answer.
    pub(super) fn check(&self, connection: &Connection) -> rusqlite::Result<()> {
        let (database, file) = &self.database;
        if id(database).ok() != Some(*file) {
            return Err(moved(format!(
                "{} was removed or replaced: put it back, or restart",
                database.display()
            )));
        }
        let gone = self.beside.iter().find(|(path, file)| id(path).ok() != Some(*file));
        if let Some((path, _)) = gone {
            let name = path.display();
            save_log(connection).map_err(|error| {
                moved(format!(
                    "{name} was removed or replaced, and its content cannot be saved ({error}): put it back"
                ))
            })?;
            self.put_aside();
            return Err(moved(format!(
                "{name} was removed or replaced; purges accepted before are saved: put it back, or restart"
            )));
        }
        self.keep_others_out()
    }

    /// Moves another log in the place of ours aside. The next start would otherwise use it, and its pages would
    /// overwrite newer ones.
    fn put_aside(&self) {
        let [(log, file), _] = &self.beside;
        if id(log).is_ok_and(|now| now != *file) {
            let aside = beside(log, "-foreign");
            match std::fs::rename(log, &aside) {
                Ok(()) => tracing::error!(
                    log = %log.display(), aside = %aside.display(),
                    "another file had replaced the store's log, and was moved aside"
                ),
                Err(error) => tracing::error!(
                    log = %log.display(), error = &error as &dyn std::error::Error,
                    "another file has replaced the store's log, and cannot be moved aside: remove it before a restart"
                ),
            }
        }
    }

    /// Creates a missing lock file again, so that no other instance can open the store.
    fn keep_others_out(&self) -> rusqlite::Result<()> {
        let name = beside(&self.database.0, "-lock");
        let held = id_of(&self.lock.borrow()).ok();
        if held.is_some() && id(&name).ok() == held {
            return Ok(());
        }
        match files::lock(&self.database.0) {
            Ok(lock) => {
                tracing::warn!(lock = %name.display(), "the store's lock file was removed or replaced, and was created again");
                drop(self.lock.replace(lock));
                Ok(())
            }
            Err(error) => {
                let why = crate::base::with_causes(&error);
                Err(moved(format!(
                    "{} was removed or replaced, and cannot be created again: {why}",
                    name.display()
                )))
            }
        }
    }
}

/// Moves the content of the log into the database, through the handles that are still open.
fn save_log(connection: &Connection) -> rusqlite::Result<()> {
    let (busy, left): (bool, i64) =
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if busy || left > 0 {
        let busy = ffi::Error::new(ffi::SQLITE_BUSY);
        return Err(rusqlite::Error::SqliteFailure(busy, Some("others are reading from it".to_owned())));
    }
    Ok(())
}

fn moved(message: String) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_READONLY_DBMOVED), Some(message))
}
