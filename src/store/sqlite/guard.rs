//! The guard of a database that is open in this process. A lock on the database itself keeps other instances
//! out, even if the lock file is removed. Closing any handle of a file drops all POSIX locks that the process
//! has on it, including SQLite's (<https://sqlite.org/howtocorrupt.html>, 2.2). Therefore the handle is closed
//! after SQLite's own, and a file that is already open here is not opened a second time, not even to find that
//! it is locked.

use super::files::OpenError;
use super::place::{FileId, id, id_of};
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The databases that are open in this process.
static OPEN: Mutex<Vec<FileId>> = Mutex::new(Vec::new());

/// A lock that keeps every other instance out of a database until it is dropped, which is after the last
/// connection.
pub(super) struct Guard {
    file: FileId,
    /// A lock of another kind (flock(2)), which does not interact with SQLite's.
    _lock: File,
}

impl Guard {
    /// Locks the database, and creates it if there is none.
    pub(super) fn of(path: &Path) -> Result<Self, OpenError> {
        let in_use = || OpenError::InUse { path: path.to_owned() };
        let failed = |source| OpenError::Files { path: path.to_owned(), source };
        let mut open = opened();
        if id(path).is_ok_and(|file| open.contains(&file)) {
            return Err(in_use());
        }
        // The mode is the one that SQLite gives a new database.
        let mut options = OpenOptions::new();
        let lock = options.create(true).truncate(false).read(true).write(true).mode(0o644).open(path);
        let lock = lock.map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use()),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let file = id_of(&lock).map_err(failed)?;
        open.push(file);
        Ok(Self { file, _lock: lock })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // The handle is closed after this. Once the file is out of the list, whoever opens it finds it locked or
        // free.
        opened().retain(|file| *file != self.file);
    }
}

fn opened() -> MutexGuard<'static, Vec<FileId>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}
